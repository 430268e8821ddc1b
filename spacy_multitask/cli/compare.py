"""The command `spacy multitask compare`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from . import Overwrite, check_is_free, command, corpus_paths


@command(
    "compare",
    example="config.cfg --output compare.json --seed 0 --seed 1 --epochs 3",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    takes_code=True,
)
def compare_cli(
    ctx: typer.Context,
    config_path: Annotated[Path, typer.Argument(metavar="CONFIG", help="Training config.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", dir_okay=False, help="JSON file to write.")
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            "--task", "-t", help="Component to train alone and to leave out; may be repeated. All."
        ),
    ] = None,
    runs: Annotated[
        list[str] | None,
        typer.Option("--runs", help="alone, all or without; may be repeated. All three."),
    ] = None,
    seed: Annotated[
        list[int] | None, typer.Option("--seed", help="Seed; may be repeated. 0.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", help="In place of [training] max_epochs.")
    ] = None,
    test: Annotated[
        list[str] | None,
        typer.Option(
            "--test", metavar="NAME=PATH", help="Test docs; may be repeated. The dev_corpus."
        ),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--models", help="Folder to keep models and logs in.")
    ] = None,
    gpu_id: Annotated[int, typer.Option("--gpu-id", "-g", help="GPU, or -1 for CPU.")] = -1,
    overwrite: Overwrite = False,
) -> None:
    """Find out whether tasks gain from each other.

    Trains each task alone, all together and all but one, each corpus as many times, and compares
    them on the same test docs with a paired bootstrap. Settings can be overridden as in
    `spacy train`.
    """
    from spacy.util import load_config
    from wasabi import msg, table

    from ..safe_files import write_json
    from ..sharing.compare import RUNS, Comparison, compare
    from .overrides import overrides_of

    if not config_path.is_file():
        raise ValueError(f"There is no config file {config_path}.")
    check_is_free(output, folder, overwrite=overwrite)
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
    if output is not None:
        write_json(output, result)
        msg.good(f"Saved to {output}")


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
