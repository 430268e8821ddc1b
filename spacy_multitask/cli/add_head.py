"""The command `spacy multitask add-head`."""

from pathlib import Path
from typing import Annotated

import typer

from . import Overwrite, check_is_free, command, say_next


@command(
    "add-head",
    example="en_multitask topic:textcat=corpus/topic --output config.cfg",
    takes_code=True,
)
def add_head_cli(
    model: Annotated[str, typer.Argument(help="Pipeline: name of a package, or a folder.")],
    task: Annotated[
        str,
        typer.Argument(
            metavar="NAME:KIND=PATH", help="The new head and its corpus, as in init-config."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", dir_okay=False, help="Config file to write.")
    ],
    tune: Annotated[
        bool,
        typer.Option(
            "--tune",
            help="Train the encoder and the old heads, too, with the old corpora that are still "
            "there. Without it they stay as they are.",
        ),
    ] = False,
    gpu: Annotated[bool, typer.Option("--gpu", help="Choose sizes for a GPU.")] = False,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs", help="Passes over the data; chosen by the size of the corpora if left out."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the training.")] = 0,
    force: Annotated[
        bool, typer.Option("--force", "-F", help="The same as --overwrite.", hidden=True)
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Write a training config that adds a head to a trained pipeline."""
    from wasabi import msg

    from ..composing.adding import add_head
    from ..composing.config import parse_task
    from ..safe_files import write_text

    check_is_free(output, overwrite=overwrite or force)
    config = add_head(model, parse_task(task), tune=tune, gpu=gpu, seed=seed, epochs=epochs)
    write_text(output, config.to_str())
    frozen = config["training"]["frozen_components"]
    if frozen:
        print(f"Frozen: {', '.join(frozen)}. They predict as before.")
    else:
        print(f"Encoder and heads learn, from {', '.join(config['corpora']['train']['corpora'])}.")
    msg.good(f"Saved to {output}")
    gpu_id = ("--gpu-id", "0") if gpu else ()
    say_next("multitask", "train", output, "--output", "training", *gpu_id)
