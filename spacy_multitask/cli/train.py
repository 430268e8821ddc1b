"""The command `spacy multitask train`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from . import command, say_next


@command(
    "train",
    example="config.cfg --output training --resume",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def train_cli(
    ctx: typer.Context,
    config_path: Annotated[Path, typer.Argument(metavar="CONFIG", help="Config file.")],
    output_path: Annotated[
        Path,
        typer.Option("--output", "--output-path", "-o", help="Folder for models and checkpoint."),
    ],
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on from the checkpoint in the folder, if there is one."),
    ] = False,
    extend: Annotated[
        bool,
        typer.Option(
            "--extend", help="With --resume: train longer, by a larger max_epochs or max_steps."
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the training that is in the folder.")
    ] = False,
    checkpoint_steps: Annotated[
        int,
        typer.Option(
            "--checkpoint-steps",
            min=0,
            help="Steps from one checkpoint to the next; 0: every few minutes.",
        ),
    ] = 0,
    save_last: Annotated[
        bool,
        typer.Option("--save-last", help="Save model-last after each evaluation, too."),
    ] = False,
    code_path: Annotated[
        Path | None,
        typer.Option("--code", "-c", help="Python file with functions that the config names."),
    ] = None,
    gpu_id: Annotated[
        int,
        typer.Option(
            "--gpu-id",
            "-g",
            help="Number of the GPU, or of the first one for several processes; -1 is the CPU.",
        ),
    ] = -1,
) -> None:
    """Train a pipeline as `spacy train` does, with checkpoints to go on from.

    Ctrl-C ends it after the step, with a checkpoint and a model. A second Ctrl-C ends it at once.
    On several devices: torchrun --nproc-per-node 4 -m spacy multitask train ...
    Override settings as in `spacy train`: --training.max_epochs 3
    """
    from spacy.cli._util import import_code, setup_gpu, show_validation_error
    from spacy.training.initialize import init_nlp
    from spacy.util import load_config
    from wasabi import msg

    from ..safe_files import check_writable
    from ..training.loop import train
    from ..training.output import check_start
    from ..training.ranks import gpu_of_rank, joined
    from .overrides import overrides_of

    if not config_path.is_file():
        raise ValueError(f"There is no config file {config_path}. Check the path.")
    import_code(code_path)
    overrides = overrides_of(config_path, ctx.args)
    with joined() as ranks:
        check: dict[str, Any] = {"resume": resume, "extend": extend, "overwrite": overwrite}
        ranks.on_first(lambda: check_start(output_path, **check))
        ranks.on_first(lambda: check_writable(output_path))
        gpu_id = gpu_of_rank(gpu_id)
        setup_gpu(gpu_id)
        with show_validation_error(config_path):
            config = load_config(config_path, overrides=overrides, interpolate=False)
        with show_validation_error(config_path, hint_fill=False):
            nlp = init_nlp(config, use_gpu=gpu_id)
        msg.good("Initialized pipeline")
        train(
            nlp,
            output_path,
            use_gpu=gpu_id,
            checkpoint_steps=checkpoint_steps,
            save_last=save_last,
            **check,
        )
        if ranks.is_first:
            best = output_path / "model-best"
            report = ("report", best, output_path / "report.html", "--corpus", "NAME=PATH")
            say_next("multitask", *report)
