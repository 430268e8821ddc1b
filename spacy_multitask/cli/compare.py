"""The command `spacy multitask compare`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from . import Overwrite, check_is_free, command, corpus_paths


@command(
    "compare",
    example="config.cfg --json compare.json --seed 0 --seed 1 --epochs 3",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    takes_code=True,
    json_options=("--json", "--output", "-o"),
)
def compare_cli(
    ctx: typer.Context,
    config_path: Annotated[Path, typer.Argument(metavar="CONFIG", help="Training config.")],
    task: Annotated[
        list[str] | None,
        typer.Option(
            "--task",
            "-t",
            help="Component to train alone, and to leave out. Repeat it for more; all if left out.",
        ),
    ] = None,
    runs: Annotated[
        list[str] | None,
        typer.Option(
            "--runs", help="alone, all or without. Repeat it for more; all three if left out."
        ),
    ] = None,
    seed: Annotated[
        list[int] | None, typer.Option("--seed", help="Seed. Repeat it for more; 0 if left out.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", help="Passes, in place of [training] max_epochs.")
    ] = None,
    test: Annotated[
        list[str] | None,
        typer.Option(
            "--test",
            metavar="NAME=PATH",
            help="Test part. Repeat it for more; the dev_corpus if left out.",
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--models", help="Folder for the models and their logs. Without it they are not kept."
        ),
    ] = None,
    gpu_id: Annotated[
        int, typer.Option("--gpu-id", "-g", help="Number of the GPU; -1 is the CPU.")
    ] = -1,
    overwrite: Overwrite = False,
) -> dict[str, Any]:
    """Find out whether tasks gain from each other.

    Trains each task alone, all tasks together, and all but one. Compares them on the same test docs
    with a paired bootstrap. Override settings as in `spacy train`: --training.max_epochs 3
    """
    from spacy.util import load_config
    from wasabi import table

    from ..sharing.compare import RUNS, Comparison, compare
    from .overrides import overrides_of

    if not config_path.is_file():
        raise ValueError(f"There is no config file {config_path}. Check the path.")
    check_is_free(folder, overwrite=overwrite)
    overrides = overrides_of(config_path, ctx.args)
    config = load_config(config_path, overrides=overrides, interpolate=True)
    tests = corpus_paths(test, "--test") if test else None
    comparison = Comparison(
        config, tasks=task or None, kinds=runs or RUNS, epochs=epochs, tests=tests
    )
    result = compare(comparison, seed or [0], folder=folder, gpu_id=gpu_id)
    rows = [
        (run, name, score["score"], " ".join(f"{100 * value:.2f}" for value in score["seeds"]))
        for run, found in result["scores"].items()
        for name, score in found.items()
    ]
    print(table(rows, header=("run", "task", "score", "by seed"), divider=True))
    if result["effects"]:
        header = ("task", "together with", "difference", "95 %", "p", "")
        effects = [_effect(effect) for effect in result["effects"]]
        print(table(effects, header=header, divider=True, aligns=("l", "l", "r", "r", "r", "l")))
    for run, pairs in result["conflict"].items():
        cosines = ", ".join(f"{pair} {cosine:+.2f}" for pair, cosine in pairs.items())
        print(f"Cosines of gradients, {run}: {cosines}")
    return result


def _effect(effect: dict[str, Any]) -> tuple[str, ...]:
    low_high = " - ".join(f"{100 * limit:+.2f}" for limit in effect.get("interval", ()))
    p = f"{effect['p']:.3f}" if "p" in effect else ""
    return (
        effect["task"],
        effect["with"],
        f"{100 * effect['difference']:+.2f}",
        low_high,
        p,
        effect.get("verdict", ""),
    )
