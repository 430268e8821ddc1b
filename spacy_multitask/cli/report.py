"""The command `spacy multitask report`."""

from pathlib import Path
from typing import Annotated

import typer

from . import Overwrite, check_is_free, command, corpus_paths


@command(
    "report",
    example="training/model-best report.html "
    "--corpus pos=corpus/pos-test.spacy --log training/log.jsonl",
    takes_code=True,
)
def report_cli(
    model: Annotated[str, typer.Argument(help="Pipeline: name of a package, or a folder.")],
    output: Annotated[
        Path, typer.Argument(metavar="OUT", dir_okay=False, help="HTML file to write.")
    ],
    corpus: Annotated[
        list[str],
        typer.Option("--corpus", "-c", metavar="NAME=PATH", help="Corpus. Repeat it for more."),
    ],
    log: Annotated[
        Path | None,
        typer.Option("--log", help="JSONL file of the logger, for learning curves."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", help="Another pipeline to compare with, on the same docs."),
    ] = None,
    title: Annotated[str, typer.Option("--title", help="Heading of the page.")] = "",
    gpu_id: Annotated[
        int, typer.Option("--gpu-id", "-g", help="Number of the GPU; -1 is the CPU.")
    ] = -1,
    overwrite: Overwrite = False,
) -> None:
    """Write an HTML page about a pipeline: how good and how fast it is, and what to mend."""
    from spacy.cli._util import setup_gpu
    from wasabi import msg

    from ..loading import load_pipeline
    from ..report.page import build_report
    from ..safe_files import write_text

    paths = corpus_paths(corpus)
    check_is_free(output, overwrite=overwrite)
    if log is not None and not log.is_file():
        raise ValueError(f"There is no file {log}. Check the path.")
    setup_gpu(gpu_id, silent=True)
    other = load_pipeline(baseline) if baseline else None
    page = build_report(load_pipeline(model), paths, title=title, log=log, baseline=other)
    write_text(output, page)
    msg.good(f"Saved to {output}. Open it in a browser.")
