"""The command `spacy multitask tune`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from . import Overwrite, command


@command(
    "tune",
    example="config.cfg --trials 20 --output tuning",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    takes_code=True,
    json_options=("--json",),
)
def tune_cli(
    ctx: typer.Context,
    config_path: Annotated[Path, typer.Argument(metavar="CONFIG", help="Training config.")],
    output_path: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder for the study, the best config and a page."),
    ] = Path("tuning"),
    n_trials: Annotated[
        int, typer.Option("--trials", min=1, help="Trainings in all, with those of earlier runs.")
    ] = 20,
    gpu_id: Annotated[
        int, typer.Option("--gpu-id", "-g", help="Number of the GPU; -1 is the CPU.")
    ] = -1,
    overwrite: Overwrite = False,
) -> dict[str, Any]:
    """Search for better rates, batch words, passes and loss weights, on the development part.

    Each trial is a training with a seed of its own. A trial ends early if its worst task is below
    the median. The same command goes on after an interruption, and with more trials. Override
    settings as in `spacy train`: --training.max_epochs 3
    """
    from spacy.cli._util import setup_gpu, show_validation_error
    from wasabi import msg

    from ..training.tuning import BEST_FILE, PAGE_FILE, tune
    from .overrides import overrides_of

    if not config_path.is_file():
        raise ValueError(f"There is no config file {config_path}. Check the path.")
    overrides = overrides_of(config_path, ctx.args)
    setup_gpu(gpu_id)
    with show_validation_error(config_path):
        result = tune(
            config_path,
            output_path,
            n_trials=n_trials,
            overrides=overrides,
            use_gpu=gpu_id,
            overwrite=overwrite,
        )
    if "best" not in result:
        raise ValueError(f"No trial came to its end; {output_path / PAGE_FILE} shows them.")
    msg.good(f"Best config: {output_path / BEST_FILE}. What mattered: {output_path / PAGE_FILE}")
    return result
