"""The command `spacy multitask calibrate`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from . import Overwrite, check_is_free, command, corpus_paths, say_next


@command(
    "calibrate",
    example="training/model-best en_multitask --corpus pos=corpus/pos-dev.spacy",
    takes_code=True,
    json_options=("--json",),
)
def calibrate_cli(
    model: Annotated[str, typer.Argument(help="Pipeline: name of a package, or a folder.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the new pipeline.")],
    corpus: Annotated[
        list[str],
        typer.Option(
            "--corpus", "-c", metavar="NAME=PATH", help="Development part. Repeat it for more."
        ),
    ],
    gpu_id: Annotated[
        int, typer.Option("--gpu-id", "-g", help="Number of the GPU; -1 is the CPU.")
    ] = -1,
    overwrite: Overwrite = False,
) -> dict[str, Any]:
    """Make probabilities mean what they say, by development data.

    Fits a temperature for each head, and a threshold for each label where several may be true. The
    most probable label stays the same.
    """
    from spacy.cli._util import setup_gpu
    from wasabi import msg, table

    from ..evaluation.calibrate import calibrate
    from ..loading import load_pipeline
    from ..safe_files import new_folder

    paths = corpus_paths(corpus)
    check_is_free(output, overwrite=overwrite)
    setup_gpu(gpu_id, silent=True)
    nlp = load_pipeline(model)
    found = calibrate(nlp, paths)
    with new_folder(output) as folder:
        nlp.to_disk(folder)
    header = ("head", "items", "temperature", "error before", "error after")
    rows = [
        (
            name,
            str(result["items"]),
            f"{result['temperature']:.3f}",
            f"{100 * result['error_before']:.2f}",
            f"{100 * result['error_after']:.2f}",
        )
        for name, result in found.items()
    ]
    print("Expected calibration error, in points of percent:")
    print(table(rows, header=header, divider=True, aligns=("l", "r", "r", "r", "r")))
    for name, result in found.items():
        thresholds = result.get("thresholds", {})
        if thresholds:
            print(f"{name}:", ", ".join(f"{label} from {t:.3f}" for label, t in thresholds.items()))
    msg.good(f"Saved to {output}")
    say_next("multitask", "report", output, "report.html", "--corpus", corpus[0])
    return found
