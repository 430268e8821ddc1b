"""The command `spacy multitask evaluate`."""

from typing import Annotated, Any

import typer

from . import command, corpus_paths


@command(
    "evaluate",
    example="en_multitask --corpus pos=corpus/pos-test.spacy",
    json_options=("--json", "--output", "-o"),
    takes_code=True,
)
def evaluate_cli(
    model: Annotated[str, typer.Argument(help="Pipeline: name of a package, or a folder.")],
    corpus: Annotated[
        list[str],
        typer.Option("--corpus", "-c", metavar="NAME=PATH", help="Corpus. Repeat it for more."),
    ],
    labels: Annotated[
        bool, typer.Option("--labels", help="Show the scores of each label, too.")
    ] = False,
    gpu_id: Annotated[
        int, typer.Option("--gpu-id", "-g", help="Number of the GPU; -1 is the CPU.")
    ] = -1,
) -> dict[str, Any]:
    """Score a pipeline on corpora, each for the layers that it annotates."""
    from spacy.cli._util import setup_gpu
    from wasabi import table

    from ..evaluation.evaluate import evaluate, main_scores
    from ..loading import load_pipeline

    paths = corpus_paths(corpus)
    setup_gpu(gpu_id, silent=True)
    scores = evaluate(load_pipeline(model), paths)
    rows = [
        (
            name,
            key,
            f"{100 * value:.2f}",
            "-".join(f"{100 * limit:.1f}" for limit in result["intervals"].get(key, ())),
            result["docs"],
            result["words"],
        )
        for name, result in scores.items()
        for key, value in main_scores(result).items()
    ]
    print(
        table(
            rows,
            header=("corpus", "score", "value", "95 %", "docs", "words"),
            divider=True,
            aligns=("l", "l", "r", "r", "r", "r"),
        )
    )
    for name, result in scores.items() if labels else ():
        for score, found in result["labels"].items():
            rows = [
                (
                    label,
                    *(f"{100 * one[key]:.2f}" for key in "prf"),
                    "-".join(f"{100 * limit:.1f}" for limit in one["interval"]),
                    str(one["gold"]),
                )
                for label, one in found.items()
            ]
            header = (f"{name} {score}", "precision", "recall", "F", "95 %", "gold")
            print(table(rows, header=header, divider=True, aligns=("l", "r", "r", "r", "r", "r")))
    return scores
