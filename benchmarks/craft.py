"""Does one model for four tasks lose to four models, and which mixing and balancing is best?

All on the samples, three passes over each task's data, last weights. "apart" is a model per task,
"together" one model for all with equal weights of the heads; the other settings change one thing in
that. "weighted" has the weights of configs/multitask.cfg. "longer" is "weighted" with more passes:
six, each over half of the topics; in about that time the models apart have four, "apart_longer",
with which it is compared. "taught_plain" is compared with "apart_longest", five passes of the
models apart. Its time is that of two trainings: four passes of a model for entities alone, then
"longer", which learns entities of the other tasks' texts from what that model says of them.

The results hold settings, too, whose options are gone: "lower_layers" had tags and chunks at lower
layers of the encoder. "longer_lower" was "longer" with these and a decay towards the pretrained
weights, "longest_lower" the same with eight passes, each over three eighths of the topics, and
"taught" the same with a teacher. docs/tried.md says what else they had.

Tried in place of "longer" and dropped: seven passes over a quarter of the topics, which weigh 0.3,
in batches of 300 words (two seeds, points over "apart_longer", tags, chunks, entities, topics: dev
0.1, 0.2, -0.7, 0.9; the one seed that was scored on test 0.0, 0.2, -1.2, 2.2).

Settings compare on dev parts: the samples' own have 120 topics, too few to tell settings apart, so
larger ones are made from the real corpora if they are there. The test parts are scored for
"together", the longer runs and the models apart alone.

The results are saved after every run, and runs that the file already holds are not repeated.

Example: python -m benchmarks.craft --seeds 0 1 2 --json benchmarks/results/craft.json
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import mean
from types import MappingProxyType
from typing import Any

import torch
from spacy.util import load_config
from thinc.api import Config

from .accuracy import CONFIGS, TASKS, convert_large_dev, convert_samples, run, train_last
from .common import Runs, about, arguments, packaged_encoder

# Task -> its head in configs/multitask.cfg.
HEAD_OF = {"pos": "tagger", "chunk": "chunker", "ner": "ner", "topic": "textcat"}
# Head -> factor on its loss, where configs/multitask.cfg has one.
WEIGHTS = {
    head: float(component["loss_weight"])
    for head, component in load_config(CONFIGS / "multitask.cfg")["components"].items()
    if "loss_weight" in component
}
WEIGHTED = {f"components.{head}.loss_weight": weight for head, weight in WEIGHTS.items()}
# What a setting changes in the config for all four tasks.
SETTINGS: dict[str, dict[str, Any]] = {
    "together": {},
    "uniform": {"corpora.train.mixing": "uniform"},
    "temperature": {"corpora.train.mixing": "temperature", "corpora.train.temperature": 0.5},
    # Each task has only a part in a step.
    "faster": {"training.optimizer.learn_rate.learn_rate": 3e-4},
    # At the rate of the rest of the encoder.
    "slow_shapes": {"training.optimizer.new_lr_scale": 1.0},
    "uncertainty": {
        f"components.{head}.balance": {"@misc": "spacy_multitask.uncertainty_weight.v1"}
        for head in HEAD_OF.values()
    },
    "weighted": WEIGHTED,
    # More time, and spent on what learns slowest.
    "longer": {
        **WEIGHTED,
        "training.max_epochs": 6,
        "corpora.train.corpora.topic.sample": 0.5,
    },
}
# Passes of the models apart; None: as many as the others have.
APART: dict[str, int | None] = {"apart": None, "apart_longer": 4, "apart_longest": 5}
# Models apart again, for some tasks, with an option of their heads.
APART_WITH: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "apart_crf": (("chunk", "ner"), {"crf": True}),
}
# Settings after another one's, with a teacher for a task: that, and its passes.
TAUGHT: dict[str, tuple[str, str, int]] = {"taught_plain": ("longer", "ner", 4)}
# Setting -> the models apart of about the same budget, where those are not "apart"; also of
# settings whose options are gone.
BASES = {
    "longer": "apart_longer",
    "longer_lower": "apart_longer",
    "longest_lower": "apart_longest",
    "taught": "apart_longest",
    "taught_plain": "apart_longest",
}
SCORED_ON_TEST = ("together", *BASES)


def make_config(
    encoder: str, folder: Path, seed: int, epochs: int, tasks: tuple[str, ...], changes: dict
) -> Config:
    """RETURNS (Config): The shipped config, with these tasks only, sized for the samples."""
    config = load_config(CONFIGS / "multitask.cfg")
    config["paths"].update(encoder=encoder, corpus=str(folder))
    config["system"]["seed"] = seed
    for task in set(TASKS) - set(tasks):
        config["nlp"]["pipeline"].remove(HEAD_OF[task])
        del config["components"][HEAD_OF[task]]
        for part in ("train", "dev"):
            del config["corpora"][part]["corpora"][task]
    # The settings are told apart by what they do to the encoder.
    if "textcat" in config["components"]:
        del config["components"]["textcat"]["model"]["linear_model"]
    for head in WEIGHTS.keys() & config["components"].keys():
        config["components"][head]["loss_weight"] = 1.0
    # The last weights count. spaCy scores the dev part before it starts, too.
    for corpus in config["corpora"]["dev"]["corpora"].values():
        corpus["limit"] = 5
    training = config["training"]
    training.update(max_epochs=epochs, eval_frequency=10**6, score_weights={})
    # Of each task about as much as alone, so that the number of steps is the same, too.
    training["batcher"]["max_words"] = 100 * len(tasks)
    training["optimizer"]["learn_rate"]["learn_rate"] = 2e-4
    training["optimizer"]["head_learn_rate"]["learn_rate"] = 0.003
    for place, value in changes.items():
        *sections, option = place.split(".")
        section = config
        for name in sections:
            section = section.setdefault(name, {})
        section[option] = value
    return config


def summarize(runs: dict[str, dict[str, dict]]) -> dict:
    """RETURNS (Dict): Mean scores and seconds by setting, and points over models apart, with the
    same seeds."""
    means: dict[str, dict[str, float]] = {}
    for setting, by_seed in runs.items():
        # The models apart come one by one.
        names = {name for found in by_seed.values() for name in found}
        means[setting] = {
            name: round(mean(found[name] for found in by_seed.values() if name in found), 4)
            for name in sorted(names)
        }
    won = {}
    for setting, by_seed in runs.items():
        if setting in APART:
            continue
        base = runs.get(BASES.get(setting, "apart"), {})
        differences: dict[str, list[float]] = {}
        for seed in by_seed.keys() & base.keys():
            for name in by_seed[seed].keys() & base[seed].keys():
                difference = by_seed[seed][name] - base[seed][name]
                differences.setdefault(name, []).append(difference)
        won[setting] = {
            name: round(100 * mean(values), 2)
            for name, values in sorted(differences.items())
            if "seconds" not in name
        }
    return {"means": means, "points_over_apart": won}


def apart(
    encoder: str,
    folder: Path,
    seed: int,
    epochs: int,
    tasks: Iterable[str] = tuple(TASKS),
    options: Mapping[str, Any] = MappingProxyType({}),
    parts: tuple[str, ...] = ("dev", "test"),
) -> dict[str, float]:
    """RETURNS (Dict[str, float]): Scores of a model per task, and the seconds of all of them.

    options (Mapping[str, Any]): Of each model's head.
    """
    found: dict[str, float] = {}
    for task in tasks:
        changes = {f"components.{HEAD_OF[task]}.{k}": v for k, v in options.items()}
        config = make_config(encoder, folder, seed, epochs, (task,), changes)
        for name, value in run(config, (task,), folder, parts=parts).items():
            found[name] = round(found.get(name, 0) + value, 4)
    return found


def taught(encoder: str, folder: Path, seed: int, setting: str) -> dict[str, float]:
    """RETURNS (Dict[str, float]): Scores, and the seconds of teacher and pupil."""
    pupil, task, epochs = TAUGHT[setting]
    with tempfile.TemporaryDirectory() as out:
        alone = make_config(encoder, folder, seed, epochs, (task,), {})
        _, seconds = train_last(alone, Path(out))
        teacher = {f"initialize.components.{HEAD_OF[task]}.teacher": str(Path(out, "model-last"))}
        config = make_config(encoder, folder, seed, 0, tuple(TASKS), {**SETTINGS[pupil], **teacher})
        found = run(config, tuple(TASKS), folder, parts=("dev", "test"))
    found["seconds"] = round(found["seconds"] + seconds, 1)
    return found


def as_markdown(results: dict) -> str:
    """RETURNS (str): Mean scores as a table, in percent, with the difference to "apart"."""
    means, won = results["means"], results["points_over_apart"]
    scores = [f"dev_{task}" for task in TASKS] + list(TASKS)
    lines = [
        "Means over seeds, in percent; in brackets points over models apart (over "
        f"{', '.join(f'{base} for {setting}' for setting, base in BASES.items())}), of the seeds "
        f"that both have. {about(results['machine'])}",
        "",
        f"| setting | seeds | {' | '.join(s.replace('_', ' ') for s in scores)} | seconds |",
        "|---" * (len(scores) + 3) + "|",
    ]
    for setting, found in means.items():
        cells = []
        for score in scores:
            value, points = found.get(score), won.get(setting, {}).get(score)
            cells.append("" if value is None else f"{100 * value:.2f}")
            if points is not None:
                cells[-1] += f" ({points:+.2f})"
        n_seeds = len(results["runs"][setting])
        lines.append(f"| {setting} | {n_seeds} | {' | '.join(cells)} | {found['seconds']:.0f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = arguments(__doc__)
    every = [*APART, *APART_WITH, *SETTINGS, *TAUGHT]
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--settings", nargs="+", default=every, choices=every)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    encoder = args.encoder or packaged_encoder()
    runs = Runs(args.json, summarize, as_markdown)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        convert_samples(args.samples, folder)
        if args.data.exists():
            convert_large_dev(args.data, folder)
        for seed in args.seeds:
            for setting in args.settings:
                keys = (setting, str(seed))
                if setting in APART:
                    epochs = APART[setting] or args.epochs
                    runs.once(keys, apart, encoder, folder, seed, epochs)
                    continue
                if setting in APART_WITH:
                    tasks, options = APART_WITH[setting]
                    parts = ("dev",)
                    runs.once(
                        keys, apart, encoder, folder, seed, args.epochs, tasks, options, parts
                    )
                    continue
                if setting in TAUGHT:
                    runs.once(keys, taught, encoder, folder, seed, setting)
                    continue
                changes = SETTINGS[setting]
                config = make_config(encoder, folder, seed, args.epochs, tuple(TASKS), changes)
                parts = ("dev", "test") if setting in SCORED_ON_TEST else ("dev",)
                runs.once(keys, run, config, tuple(TASKS), folder, parts=parts)


if __name__ == "__main__":
    main()
