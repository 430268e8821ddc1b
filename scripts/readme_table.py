"""Write the table of measured figures into README.md, from what the benchmarks have saved.

Run it after them, so that no figure is typed by hand; a figure that was not measured is left empty.
Example: python scripts/readme_table.py
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
START, END = "<!-- measured -->", "<!-- /measured -->"
SYSTEMS = ("spacy_multitask", "Flair", "stock spaCy")
# What a row is called, and under which names speed.json has its figures, by system.
SPEEDS = (
    ("predict, float32", "predict", ("ours_fp32", "flair", "stock")),
    ("predict, bfloat16", "predict", ("ours_bf16", None, None)),
    ("predict, int8", "predict", ("ours_int8", None, None)),
    ("train, float32", "train", ("ours_fp32", "flair", "stock")),
    ("train, bfloat16, larger batches", "train", ("ours_best", None, None)),
)
TASKS = (
    ("tags, accuracy", "pos"),
    ("chunks, F1", "chunk"),
    ("entities, F1", "ner"),
    ("topics, accuracy", "topic"),
)
# Sentences in a batch of training: benchmarks/speed.py, and the peers' scripts.
BATCHES = "4 sentences, as in Flair's; stock spaCy's hold 16, our larger ones 32"
# Corpus and score of project_full.json.
FULL = (
    ("tags", "pos", "tag_acc"),
    ("chunks", "chunk", "spans_np_f"),
    ("entities", "ner", "ents_f"),
    ("entities of CleanCoNLL", "cleanconll", "ents_f"),
    ("topics", "topic", "cats_acc"),
)
# What the systems of the field can do, as their documentation has it.
FEATURES = (
    ("", "spacy_multitask", "Flair", "stock spaCy", "EDS-NLP", "GLiNER2"),
    ("---", "---", "---", "---", "---", "---"),
    ("one encoder for several heads", "yes", "yes", "yes", "yes", "yes"),
    ("heads learn from different corpora", "yes", "yes", "no", "yes", "no"),
    ("no gold is not taken for negative", "yes", "yes", "in part", "in part", ""),
    ("tags, chunks, entities, topics, relations", "all", "all", "no chunks, no relations",
     "entities, spans, docs", "entities, topics, relations"),
    ("works without training data", "no", "topics, entities", "rules", "rules", "yes"),
    ("gives spaCy docs", "yes", "no", "yes", "yes", "no"),
)  # fmt: skip
RESULTS = ("speed", "accuracy", "project_full", "precision", "data")


def table(results: Mapping[str, Any]) -> str:
    """RETURNS (str): Markdown, with the conditions below the figures.

    results (Mapping[str, Any]): What the files of RESULTS hold, as far as they are there.
    """
    speed, accuracy, data = (results.get(name) for name in ("speed", "accuracy", "data"))
    rows = [*_speed_rows(speed), *_accuracy_rows(accuracy)]
    if not rows:
        return "Not measured yet; see `benchmarks/`."
    lines = [("", *SYSTEMS), ("---", "---:", "---:", "---:"), *rows]
    paragraphs = ["\n".join(f"| {' | '.join(cells)} |" for cells in lines)]
    if speed is not None:
        paragraphs.append(_speed_note(speed, data))
    if accuracy is not None:
        paragraphs.append(_accuracy_note(accuracy, data))
    if (full := results.get("project_full")) is not None:
        paragraphs.append(_whole_corpora(full, data, results.get("precision")))
    return "\n\n".join(paragraphs)


def comparison(results: Mapping[str, Any]) -> str:
    """RETURNS (str): A table for README.md: features and measured figures, without conditions."""
    measured = [*_speed_rows(results.get("speed")), *_accuracy_rows(results.get("accuracy"))]
    rows = [*FEATURES, *((*cells, "", "") for cells in measured)]
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    return "\n".join(lines)


def _speed_rows(speed: dict[str, Any] | None) -> list[tuple[str, ...]]:
    rows = []
    for title, part, names in SPEEDS if speed is not None else ():
        figures = [speed.get(part, {}).get(name) for name in names]
        if figures[0] is not None:
            cells = ("" if figure is None else f"{figure:,.0f}" for figure in figures)
            rows.append((f"{title}, words/s", *cells))
    return rows


def _accuracy_rows(accuracy: dict[str, Any] | None) -> list[tuple[str, ...]]:
    if accuracy is None:
        return []
    sides = (("ours", accuracy), ("flair", accuracy.get("flair", {})))
    return [
        (title, *(_score(accuracy, system, found, task) for system, found in sides), "")
        for title, task in TASKS
        if task in accuracy
    ]


def _score(accuracy: dict[str, Any], system: str, found: dict[str, Any], task: str) -> str:
    """RETURNS (str): A mean in percent, and the passes after which it was reached."""
    if task not in found:
        return ""
    n_passes = accuracy.get("passes", {}).get(system, {}).get(task)
    after = "" if n_passes is None else f" ({n_passes:g} passes)"
    return f"{_percent(found[task])}{after}"


def _speed_note(speed: dict[str, Any], data: dict[str, Any] | None) -> str:
    machine = speed["machine"]
    versions = ", ".join(f"{name} {v}" for name, v in machine["versions"].items())
    layers = "" if data is None else f", {data['encoder']['layers']} layers"
    return (
        f"Speed: four heads (Flair's two) on one encoder (MiniLM{layers}), the same text for all, "
        f"{machine['cpu']}, {machine['threads']} threads, {versions}. "
        f"Training batches hold {BATCHES}."
    )


def _accuracy_note(accuracy: dict[str, Any], data: dict[str, Any] | None) -> str:
    seeds = {len(accuracy[task]["seeds"]) for _, task in TASKS if task in accuracy}
    n_seeds = " to ".join(str(n) for n in sorted({min(seeds), max(seeds)}))
    notes = [f"Accuracy: two tasks per pipeline as in Flair's tutorial, mean of {n_seeds} seeds."]
    if data is not None:
        notes.append(_sample_note(data))
    ours, flair = accuracy.get("seconds"), accuracy.get("flair", {}).get("seconds")
    if ours and flair:
        times = [
            " and ".join(f"{sum(found[e]) / len(found[e]):.0f}" for e in ours if e in found)
            for found in (ours, flair)
        ]
        notes.append(
            f"Training took {times[0]} s per pipeline, Flair's {times[1]} s with its scoring of "
            "development parts."
        )
        notes.append(
            "Test scores had a say in both: Flair has the better of two learning rates, and we "
            "saw scores of settings that we then dropped ([what was tried](docs/tried.md))."
        )
    third = accuracy.get("ours_in_a_third", {})
    if third:
        scores = [
            f"{title.partition(',')[0]} {_percent(third[task])}"
            for title, task in TASKS
            if task in third
        ]
        notes.append(f"In a third of Flair's training time: {', '.join(scores)}.")
    return " ".join(notes)


def _sample_note(data: dict[str, Any]) -> str:
    """RETURNS (str): Sizes of the training samples, and which part of the corpora they are."""
    samples, corpora = data["samples"], data["corpora"]
    sizes = ", ".join(
        f"{samples[task]['train']:,} for {title.partition(',')[0]}" for title, task in TASKS
    )
    shares: dict[int, list[str]] = {}
    for _, task in TASKS:
        # What a corpus has for training and for what is held out, unless it has dev parts.
        held_out = corpora[task]["train"] < corpora[task]["all"]
        own = samples[task]["train"] + (samples[task]["dev"] if held_out else 0)
        shares.setdefault(round(corpora[task]["all"] / own), []).append(task)
    names = {10: "a tenth", 100: "a hundredth"}
    parts = [
        f"{names.get(share, f'1/{share}')} of {'AG News' if tasks == ['topic'] else 'each corpus'}"
        for share, tasks in shares.items()
    ]
    return f"Training docs: {sizes} ({', '.join(parts)})."


def _whole_corpora(
    full: dict[str, Any], data: dict[str, Any] | None, precision: dict[str, Any] | None
) -> str:
    scores = full["scores"]
    found = ", ".join(f"{title} {100 * scores[corpus][score]:.1f}" for title, corpus, score in FULL)
    minutes = full["train_seconds"] / 60
    n_passes = re.search(r"max_epochs (\d+)", full["command"])
    passes = "Training" if n_passes is None else f"Training for {n_passes[1]} epoch"
    texts = "" if data is None else f" ({data['corpora']['topic']['train']:,} texts of AG News)"
    notes = [
        f"One model for all four tasks, on the whole corpora{texts}: {found}. {passes} took "
        f"{minutes:.0f} minutes on {full['machine']['threads']} CPU thread."
    ]
    if precision is not None:
        costs = {
            name: max(0.0, *precision["cost_in_points"][name].values())
            for name in ("bfloat16", "int8")
        }
        notes.append(
            f"bfloat16 costs that model at most {costs['bfloat16']:.2f} points on a task, and "
            f"int8 at most {costs['int8']:.2f}."
        )
    return f"{' '.join(notes)} All figures are from `benchmarks/results/`."


def _percent(entry: dict[str, Any]) -> str:
    return f"{100 * entry['mean']:.1f}"


def replace(readme: str, text: str) -> str:
    """RETURNS (str): The page with new text between the marks.
    RAISES (ValueError): If the marks are not there, once each and in order.
    """
    before, start, rest = readme.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end) or START in rest or END in after:
        raise ValueError(f"README.md must have {START} and, below it, {END}, once each.")
    return f"{before}{START}\n{text}\n{END}{after}"


def read_results(root: Path) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): What the files of RESULTS hold, as far as they are there."""
    folder = root / "benchmarks" / "results"
    paths = {name: folder / f"{name}.json" for name in RESULTS}
    return {
        name: json.loads(path.read_text(encoding="utf8"))
        for name, path in paths.items()
        if path.exists()
    }


def main(root: Path = ROOT) -> None:
    """Rewrite README.md in a folder that has benchmarks/results."""
    readme = root / "README.md"
    text = comparison(read_results(root))
    readme.write_text(replace(readme.read_text(encoding="utf8"), text), encoding="utf8")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        raise SystemExit(__doc__)
    main()
