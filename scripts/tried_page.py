"""Write docs/tried.md, the page of what was tried and what came out, from benchmarks/results/.

A setting that a result file holds is shown, with or without a sentence here. Figures come from the
files alone, but for the few runs that nobody kept: benchmarks/accuracy.py names those, too.

Example: python -m scripts.tried_page
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from math import sqrt
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from benchmarks.craft import APART, APART_WITH, BASES

ROOT = Path(__file__).parents[1]
PAGE = Path("docs") / "tried.md"
TASKS = {"pos": "tags", "chunk": "chunks", "ner": "entities", "topic": "topics"}
GONE = "removed in 0.2.0"
# What a score of craft.json is called when it is on a development part.
DEV = "dev_"


class Setting(NamedTuple):
    """One change to a training.

    against (str): The setting that it changes.
    what (str): What it changes in that.
    now (str): What became of it.
    """

    against: str
    what: str
    now: str = ""


# In the order of the page.
SETTINGS = {
    "weighted": Setting("together", "entities weigh 2, topics 0.5", "default"),
    "uncertainty": Setting("together", "weights learned from each task's uncertainty", "`balance`"),
    "uniform": Setting("together", "all corpora have the same share of an epoch", "`mixing`"),
    "temperature": Setting("together", "shares between proportional and uniform", "`mixing`"),
    "round_robin": Setting("together", "corpora take turns", GONE),
    "homogeneous": Setting("together", "each batch is of one corpus", GONE),
    "pcgrad": Setting("together", "gradients that conflict are projected (PCGrad)", GONE),
    "slow_shapes": Setting("together", "word shapes learn no faster than the rest", "not done"),
    "faster": Setting("together", "the encoder's rate is 0.0003, not 0.0002"),
    "lower_layers": Setting("weighted", "tags and chunks read lower layers", GONE),
    "longer": Setting("weighted", "6 passes, not 3, each over half of the topics", "your choice"),
    "longer_lower": Setting(
        "longer",
        "lower layers, and a decay towards the pretrained weights",
        GONE,
    ),
    "longest_lower": Setting("longer_lower", "8 passes, each over 3/8 of the topics", GONE),
    "taught": Setting("longer_lower", "a model of entities alone teaches entities", GONE),
    "taught_plain": Setting("longer", "a model of entities alone teaches entities", "`teacher`"),
    "apart_crf": Setting("apart", "a model per task, with `crf` for chunks and entities", "`crf`"),
    "apart_longer": Setting("apart", "a model per task, 4 passes, not 3", "your choice"),
    "apart_longest": Setting("apart_longer", "a model per task, 5 passes, not 4", "your choice"),
}
# Nothing is said of these: they are what others are compared with.
STARTS = ("apart", "together")

# Test scores of runs whose files nobody kept, as benchmarks/accuracy.py's docstring has them.
# Example, what was different, seeds, scores by task, what became of it.
NOT_KEPT: list[tuple[str, str, str, dict[str, str], str]] = [
    ("tags and chunks", "3 passes", "1", {"pos": "94.7", "chunk": "93.8"}, "5 passes"),
    ("entities and topics", "another mix of passes and weights", "3",
     {"ner": "83.7", "topic": "87.3"}, "dropped"),
    ("entities and topics", "the same, in batches of 100 words", "3",
     {"ner": "83.8", "topic": "87.7"}, "dropped"),
    ("entities and topics", "word shapes learn no faster than the rest", "3",
     {"ner": "84.2", "topic": "88.4"}, "`new_lr_scale` = 5"),
    ("entities and topics", "5 passes over all topics, equal weights, batches of 300 words", "3",
     {"ner": "84.96", "topic": "88.29"}, "7 passes, half of the topics"),
    ("entities and topics", "heads of topics first fit the encoder (`fit_heads`)", "3",
     {"ner": "85.1", "topic": "88.0"}, GONE),
    ("entities and topics", "no bag of words beside the encoder", "3", {"topic": "88.0"},
     "`linear_model`"),
    ("the same in a third of Flair's time", "no bag of words beside the encoder", "3",
     {"topic": "87.8"}, "`linear_model`"),
]  # fmt: skip

INTRO = """\
# What was tried, and what came out

Why is there no X? Is Y worth its time? This page answers such questions. `scripts/tried_page.py`
writes it from `benchmarks/results/`. Change the script, not the page.

All trainings are small. The encoder is MiniLM{layers}. Training docs are few{sizes}. The figures
are hints for such sizes. `spacy multitask compare` measures on your own corpora what tasks give
each other.
"""
IN_SHORT = """\
## In short

- **Weights** do most for one model of many tasks. Entities learn slowest and weigh more, topics
  weigh less. Weights cost nothing.
- **Passes** come next. One model for four tasks needs more of them than a model for one task.
- **A teacher** closes the gap that is left for entities.
- Nothing else that was tried gains a point for any task.
"""
CRAFT = """\
## One change at a time

`python -m benchmarks.craft` trains one model for four tasks, without a bag of words. A cell is
the gain in points over the setting under "against". It is the mean over the seeds that both have.
The lowest and the highest seed follow in brackets. Scores are on the development parts.

Trainings that differ by their seed alone have a standard deviation of {deviations} points. A gain
in **bold** is more than two standard errors away from 0. Chance alone makes one in twenty bold.
"""
APART_TEXT = """\
## One model for all tasks, or one for each

Here each setting is compared with a model for each task. The models apart had about as much time:

{bases}

Cells are gains in points, on development parts (dev) and on test parts. The machine was busy, so
seconds are a rough guide. Those of `taught` include the teacher's training.
"""
# benchmarks/craft.py's docstring has these figures, too.
CRAFT_NOT_KEPT = """\
One more setting was tried in place of `longer`: seven passes over a quarter of the topics, which
weigh 0.3, in batches of 300 words. Its gains over `apart_longer`, on development parts and two
seeds, were: tags +0.1, chunks +0.2, entities -0.7, topics +0.9. It was not kept.
"""
NOT_KEPT_TEXT = """\
## Two tasks, as in Flair's tutorial

`python -m benchmarks.accuracy` trains tags with chunks, and entities with topics. The last row is
what the benchmark does now. These scores are on test parts, and were seen before the setting was
chosen. So the last row is a little too good. Most choices were made on larger development parts,
as the first lines of the script tell. The files of the dropped runs were not kept.
"""
# The files of both runs are in the history of benchmarks/results/project_full.json.
WHOLE = """\
With more data a bag of words gives topics nothing. On {n} texts of AG News the accuracy is 89.5
without it and 89.3 with it, one run each.
"""
CONTEXT_TEXT = """\
## Documents or sentences

Train on docs of the kind that the model will see. If you can't know that, train on both.

`python -m benchmarks.context` trains on a tenth of the documents of CoNLL-03. The table has
entity F1 on the development part: the mean of {seeds} seeds, with the lowest and the highest.
"""
RELATIONS_TEXT = """\
## Entities and relations

`python -m benchmarks.relations` trains one model that learns both, and two models one after the
other. The table has strict F1 on the test part of CoNLL-04.
"""
PADDING_TEXT = """\
## Without padding

Docs of like length are encoded side by side, and the shorter ones are padded. Instead, docs can be
joined into long rows in which each sees itself alone. That leaves next to no padding, but attention
looks at all pairs of a row. On a CPU it pays in small batches alone. It was not kept: the
pipeline's batches have 1,000 docs, and not every kind of encoder takes such rows.

`python -m benchmarks.padding` gives the bare encoder the same sentences in both ways. `groups` are
what the pipeline makes on a CPU. Kernels for rows of several docs need a GPU, and were not tried.
"""

PRECISION_TEXT = """\
## Precision

bfloat16 costs nothing. int8 costs little. The command `quantize` has a scale per column.

`python -m benchmarks.precision` predicts with one model for four tasks, trained on whole corpora.
The table has what each precision costs, in points, on at most {limit:,} test docs per task. Below
0 is a gain.
"""
INT8 = {
    "float32": "",
    "int8": "int8, a scale per column",
    "int8_per_matrix": "int8, a scale per matrix",
    "int8_full_range": "int8, weights with the range of 8 bits",
    "int8_float_down_projections": "int8, second feed-forward matrices in float32",
}
GONE_TEXT = """\
## What version 0.2.0 removed

- **PCGrad** more than doubled the time of a training, and gained nothing beyond chance.
- **`round_robin`** did what `uniform` does: each corpus has the same share.
- **Homogeneous batches** helped entities less than fixed weights do, and cost chunks.
- **`fit_heads`** seemed to help in one comparison. More runs on larger development parts showed
  no gain.
- **`layer`** of a head and **`pretrained_decay`** are what `taught` has and `taught_plain` lacks.
  To do without them costs or gains, in points on development parts: {gains}.
"""


def page(results: Mapping[str, Any]) -> str:
    """Write the page.

    results (Mapping[str, Any]): What the files of benchmarks/results hold, by name without ".json".
        A section whose file is not there is left out.
    RETURNS (str): Markdown.
    """
    data = results.get("data")
    sections = [introduction(data)]
    if craft := results.get("craft"):
        sections += [IN_SHORT, one_change(craft["runs"]), apart(craft["runs"])]
    sections.append(two_tasks(results.get("accuracy")))
    if data is not None:
        sections.append(WHOLE.format(n=f"{data['corpora']['topic']['train']:,}"))
    if context := results.get("context"):
        sections.append(documents(context["runs"]))
    if found := results.get("relations"):
        sections.append(relations(found["runs"]))
    if found := results.get("precision"):
        sections.append(precisions(found))
    if found := results.get("padding"):
        sections.append(padding(found["docs"]))
    runs = craft["runs"] if craft else {}
    gains = {
        title: gains_of(runs, "taught_plain", "taught", DEV + task) if runs else []
        for task, title in TASKS.items()
    }
    found = ", ".join(f"{title} {mean(each):+.2f}" for title, each in gains.items() if each)
    return "\n".join([*sections, GONE_TEXT.format(gains=found or "not measured")])


def introduction(data: Mapping[str, Any] | None) -> str:
    """RETURNS (str): What the page is, and on how much data all of it was measured."""
    if data is None:
        return INTRO.format(layers="", sizes="")
    sizes = ", ".join(
        f"{data['samples'][task]['train']:,} for {title}" for task, title in TASKS.items()
    )
    layers = f", with {data['encoder']['layers']} layers"
    return INTRO.format(layers=layers, sizes=f": {sizes}")


def one_change(runs: Mapping[str, Any]) -> str:
    """RETURNS (str): Each setting of craft.json against the one that it changes."""
    deviation = {task: deviation_of(runs, DEV + task) for task in TASKS}
    rows = []
    known = [name for name in SETTINGS if name in runs]
    for name in [*known, *(name for name in runs if name not in SETTINGS and name not in STARTS)]:
        setting = SETTINGS.get(name, Setting("together", ""))
        gains = {task: gains_of(runs, name, setting.against, DEV + task) for task in TASKS}
        n_seeds = max(len(values) for values in gains.values())
        rows.append(
            (
                f"`{name}`: {setting.what}" if setting.what else f"`{name}`",
                f"`{setting.against}`",
                str(n_seeds),
                *(cell(gains[task], deviation[task]) for task in TASKS),
                setting.now,
            )
        )
    names = ", ".join(f"{deviation[task]:.2f} ({title})" for task, title in TASKS.items())
    header = ("what was tried", "against", "seeds", *TASKS.values(), "now")
    return f"{CRAFT.format(deviations=names)}\n{table(header, rows)}"


def apart(runs: Mapping[str, Any]) -> str:
    """RETURNS (str): Settings of craft.json that were scored on test, against models apart."""
    rows = []
    for name in runs:
        if name in APART or name in APART_WITH:
            continue
        base = BASES.get(name, "apart")
        for part, prefix in (("dev", DEV), ("test", "")):
            gains = {task: gains_of(runs, name, base, prefix + task) for task in TASKS}
            if not any(gains.values()) or not gains_of(runs, name, base, "pos"):
                continue
            deviation = {task: deviation_of(runs, prefix + task) for task in TASKS}
            rows.append(
                (
                    f"`{name}`",
                    part,
                    str(max(len(values) for values in gains.values())),
                    *(cell(gains[task], deviation[task]) for task in TASKS),
                    seconds(runs, name),
                )
            )
    by_base: dict[str, list[str]] = {}
    for name in runs:
        if name in BASES or name == "together":
            by_base.setdefault(BASES.get(name, "apart"), []).append(f"`{name}`")
    passes = {"apart": 3, **{name: n for name, n in APART.items() if n}}
    bases = "\n".join(
        f"- `{base}` ({passes[base]} passes, {seconds(runs, base)} s) with {', '.join(names)}"
        for base, names in by_base.items()
        if base in runs
    )
    header = ("setting", "part", "seeds", *TASKS.values(), "seconds")
    return f"{APART_TEXT.format(bases=bases)}\n{table(header, rows)}\n{CRAFT_NOT_KEPT}"


def two_tasks(accuracy: Mapping[str, Any] | None) -> str:
    """RETURNS (str): Runs that were not kept, and what the benchmark has now."""
    rows = [
        (example, what, seeds, *(scores.get(task, "") for task in TASKS), now)
        for example, what, seeds, scores, now in NOT_KEPT
    ]
    if accuracy is not None:
        scores = {task: accuracy[task] for task in TASKS if task in accuracy}
        n_seeds = max(len(entry["seeds"]) for entry in scores.values())
        cells = [f"{100 * scores[t]['mean']:.1f}" if t in scores else "" for t in TASKS]
        rows.append(("both", "as it is now", str(n_seeds), *cells, ""))
    header = ("example", "what was tried", "seeds", *TASKS.values(), "in its place")
    return f"{NOT_KEPT_TEXT}\n{table(header, rows)}"


def documents(runs: Mapping[str, Any]) -> str:
    """RETURNS (str): What context.json says of training on documents and on sentences."""
    cuts = ("documents", "sentences")
    rows = [
        (name, *(spread([100 * run[cut] for run in by_seed.values()]) for cut in cuts))
        for name, by_seed in runs.items()
    ]
    n_seeds = max(len(by_seed) for by_seed in runs.values())
    header = ("trained on", *(f"predicts {cut}" for cut in cuts))
    return f"{CONTEXT_TEXT.format(seeds=n_seeds)}\n{table(header, rows)}"


def relations(runs: Mapping[str, Any]) -> str:
    """RETURNS (str): What relations.json says of one model and of two."""
    titles = {"joint": "one model", "separate": "two models"}
    rows = [
        (
            titles.get(name, name),
            str(len(by_seed)),
            *(
                spread([100 * run[score] for run in by_seed.values()])
                for score in ("ents_f", "rels_f")
            ),
        )
        for name, by_seed in runs.items()
    ]
    return f"{RELATIONS_TEXT}\n{table(('what', 'seeds', 'entities', 'relations'), rows)}"


def precisions(found: Mapping[str, Any]) -> str:
    """RETURNS (str): What precision.json says that precisions cost."""
    scores = {"pos": "tag_acc", "chunk": "spans_np_f", "ner": "ents_f", "topic": "cats_acc"}
    rows = []
    for name, costs in found["cost_in_points"].items():
        if title := INT8.get(name, name):
            cells = [f"{costs[f'{task}.{score}'] + 0.0:.2f}" for task, score in scores.items()]
            rows.append((title, *cells, f"{found['scores'][name]['seconds']['all']:.0f}"))
    header = ("way", *TASKS.values(), "seconds")
    return f"{PRECISION_TEXT.format(limit=found['limit'])}\n{table(header, rows)}"


def padding(docs: Mapping[str, Any]) -> str:
    """RETURNS (str): What padding.json says of docs that are joined into rows."""
    rows = [
        (size, way, f"{100 * found['real_pieces']:.0f} %", f"{found['seconds']:.1f}")
        for size, ways in docs.items()
        for way, found in ways.items()
    ]
    return f"{PADDING_TEXT}\n{table(('docs in a batch', 'way', 'real pieces', 'seconds'), rows)}"


def gains_of(runs: Mapping[str, Any], name: str, against: str, score: str) -> list[float]:
    """RETURNS (List[float]): Points by which a setting is better, by seed that both have."""
    own, other = runs[name], runs.get(against, {})
    return [
        100 * (own[seed][score] - other[seed][score])
        for seed in own
        if seed in other and score in own[seed] and score in other[seed]
    ]


def deviation_of(runs: Mapping[str, Any], score: str) -> float:
    """RETURNS (float): Standard deviation of a score between seeds, in points, pooled over all
    settings with several seeds; 0 if there is none."""
    squares, freedom = 0.0, 0
    for by_seed in runs.values():
        values = [100 * found[score] for found in by_seed.values() if score in found]
        squares += sum((value - mean(values)) ** 2 for value in values)
        freedom += max(0, len(values) - 1)
    return sqrt(squares / freedom) if freedom else 0.0


def cell(gains: list[float], deviation: float) -> str:
    """RETURNS (str): The mean gain, bold beyond two standard errors, and its range over seeds."""
    if not gains:
        return ""
    text = f"{mean(gains):+.2f}"
    # The difference of two means over as many seeds.
    if abs(mean(gains)) > 2 * deviation * sqrt(2 / len(gains)):
        text = f"**{text}**"
    return text if len(gains) == 1 else f"{text} ({min(gains):+.2f}, {max(gains):+.2f})"


def spread(values: list[float]) -> str:
    """RETURNS (str): The mean, and the lowest and the highest of several."""
    text = f"{mean(values):.1f}"
    return text if len(values) == 1 else f"{text} ({min(values):.1f}, {max(values):.1f})"


def seconds(runs: Mapping[str, Any], name: str) -> str:
    return f"{mean(found['seconds'] for found in runs[name].values()):,.0f}"


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """RETURNS (str): Markdown."""
    header = tuple(header)
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def main(root: Path = ROOT) -> None:
    """Write the page of a folder that has benchmarks/results."""
    results = {
        path.stem: json.loads(path.read_text(encoding="utf8"))
        for path in sorted((root / "benchmarks" / "results").glob("*.json"))
    }
    (root / PAGE).write_text(page(results), encoding="utf8")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        raise SystemExit(__doc__)
    main()
