"""The command `spacy multitask quantize`."""

from pathlib import Path
from typing import Annotated

import typer

from . import Overwrite, check_is_free, command, say_next


@command("quantize", example="en_multitask en_multitask_int8", takes_code=True)
def quantize_cli(
    model: Annotated[str, typer.Argument(help="Pipeline: a package's name or a folder.")],
    output: Annotated[Path, typer.Argument(help="Folder for the quantized pipeline.")],
    per_channel: Annotated[
        bool, typer.Option(help="A scale for each column of a matrix: slower to load, more exact.")
    ] = True,
    down_projections: Annotated[
        bool, typer.Option(help="Quantize the second matrix of the feed-forward layers, too.")
    ] = True,
    overwrite: Overwrite = False,
) -> None:
    """Make the shared encoder of a pipeline run in int8 on a CPU, by ONNX Runtime.

    The output loads with spacy.load, holds no other weights of the encoder, and only predicts.
    """
    from wasabi import msg

    from ..encoder.quantize import quantize
    from ..progress import working

    check_is_free(output, overwrite=overwrite)
    with working("Quantizing"):
        before, after = quantize(
            model, output, per_channel=per_channel, down_projections=down_projections
        )
    msg.good(f"Saved to {output}: encoder {before / 1e6:.1f} MB -> {after / 1e6:.1f} MB")
    say_next("multitask", "report", output, "report.html", "--corpus", "NAME=PATH")
