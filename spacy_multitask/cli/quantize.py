"""The command `spacy multitask quantize`."""

from pathlib import Path
from typing import Annotated

import typer

from . import app


@app.command("quantize", no_args_is_help=True)
def quantize_cli(
    model: Annotated[str, typer.Argument(help="Pipeline: a package's name or a folder.")],
    output: Annotated[Path, typer.Argument(help="Folder for the quantized pipeline.")],
    per_channel: Annotated[
        bool, typer.Option(help="A scale for each column of a matrix: slower to load, more exact.")
    ] = True,
    down_projections: Annotated[
        bool, typer.Option(help="Quantize the second matrix of the feed-forward layers, too.")
    ] = True,
) -> None:
    """Make the shared encoder of a pipeline run in int8 on a CPU, by ONNX Runtime.

    The output loads with spacy.load, holds no other weights of the encoder, and only predicts.

    Example: python -m spacy multitask quantize en_multitask en_multitask_int8
    """
    from wasabi import msg

    from ..encoder.quantize import quantize

    if output.exists() and any(output.iterdir()):
        msg.fail(f"{output} is not empty. Name a new folder.", exits=1)
    with msg.loading("Quantizing..."):
        before, after = quantize(
            model, output, per_channel=per_channel, down_projections=down_projections
        )
    msg.good(f"Saved to {output}: encoder {before / 1e6:.1f} MB -> {after / 1e6:.1f} MB")
