"""The command `spacy multitask annotate`."""

from typing import Annotated, Any

import typer

from . import Code, Overwrite, command


@command(
    "annotate",
    example="en_multitask texts/*.parquet --output annotated",
    json_options=("--json",),
)
def annotate_cli(
    model: Annotated[str, typer.Argument(help="Pipeline: name of a package, or a folder.")],
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help='Files, folders, globs, or addresses such as s3://. "-" is standard input.',
        ),
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", help="Folder to write to, or an address.")
    ],
    layers: Annotated[
        str | None,
        typer.Option("--layers", help="Layers to write, separated by commas; all if left out."),
    ] = None,
    probs: Annotated[
        bool, typer.Option("--probs", help="Write probabilities of tags and spans, too.")
    ] = False,
    format: Annotated[
        str,
        typer.Option(
            "--format", help="Format of the input: auto, parquet, jsonl, csv, txt, spacy or files."
        ),
    ] = "auto",
    to: Annotated[
        str, typer.Option("--to", help="Format of the output: parquet, jsonl or spacy.")
    ] = "parquet",
    text: Annotated[str, typer.Option("--text", help="Column of the texts.")] = "text",
    id: Annotated[
        str | None, typer.Option("--id", help="Column of the ids; id if left out.")
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option("--keep", help="Columns to copy, separated by commas; all if left out."),
    ] = None,
    long: Annotated[
        str,
        typer.Option(
            "--long",
            help="For texts longer than nlp.max_length: error, or split at blank lines.",
        ),
    ] = "error",
    shard_docs: Annotated[
        int,
        typer.Option(
            "--shard-docs", help="Docs in a shard. A process that dies loses its shard.", min=1
        ),
    ] = 5000,
    engine: Annotated[
        str, typer.Option("--engine", help="What does the work: local, ray or spark.")
    ] = "local",
    processes: Annotated[
        int,
        typer.Option(
            "--processes", help="Number of processes; 0: one, or one for each GPU.", min=0
        ),
    ] = 0,
    gpu_id: Annotated[
        str,
        typer.Option("--gpu-id", "-g", help="Numbers of GPUs, separated by commas; -1 is the CPU."),
    ] = "-1",
    gpus_per_worker: Annotated[
        float, typer.Option("--gpus-per-worker", help="ray: GPUs for each worker.", min=0)
    ] = 0.0,
    max_errors: Annotated[
        int | None, typer.Option("--max-errors", help="End when more docs than this fail.", min=0)
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only say what there is to do, and how long it may take."),
    ] = False,
    code: Code = None,
    overwrite: Overwrite = False,
) -> dict[str, Any]:
    """Annotate a corpus of any size, shard by shard.

    If it was interrupted, the same command goes on. errors.jsonl lists the docs that failed.
    """
    from ..annotation.run import annotate

    found = annotate(
        model,
        inputs,
        output,
        layers=_names(layers),
        probs=probs,
        format=format,
        to=to,
        text=text,
        id=id,
        keep=_names(keep),
        long=long,
        shard_docs=shard_docs,
        engine=engine,
        processes=processes,
        gpus=_numbers(gpu_id),
        gpus_per_worker=gpus_per_worker,
        max_errors=max_errors,
        overwrite=overwrite,
        dry_run=dry_run,
        code=code,
    )
    print(found.render())
    return found.as_dict()


def _names(value: str | None) -> list[str] | None:
    return None if value is None else [x.strip() for x in value.split(",") if x.strip()]


def _numbers(value: str) -> list[int]:
    try:
        return [number for number in map(int, value.split(",")) if number >= 0]
    except ValueError as error:
        raise typer.BadParameter(f"{value!r} is not a list of numbers, such as 0,1.") from error
