"""Write the table of measured figures into README.md, from what the benchmarks have saved.

Run it after them, so that no figure is typed by hand; a figure that was not measured is left empty.
Example: python scripts/readme_table.py
"""

from __future__ import annotations

import json
import sys
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
    ("train", "train", ("ours_best", "flair", "stock")),
)
TASKS = (
    ("tags, accuracy", "pos"),
    ("chunks, F1", "chunk"),
    ("entities, F1", "ner"),
    ("topics, accuracy", "topic"),
)


# Corpus and score of project_full.json.
FULL = (
    ("tags", "pos", "tag_acc"),
    ("chunks", "chunk", "spans_np_f"),
    ("entities", "ner", "ents_f"),
    ("entities of CleanCoNLL", "cleanconll", "ents_f"),
    ("topics", "topic", "cats_acc"),
)


def table(
    speed: dict[str, Any] | None,
    accuracy: dict[str, Any] | None,
    full: dict[str, Any] | None = None,
    precision: dict[str, Any] | None = None,
) -> str:
    """RETURNS (str): Markdown, with the conditions below the figures.

    full (Optional[Dict]): What a training on whole corpora has scored.
    precision (Optional[Dict]): What other precisions cost it.
    """
    rows: list[tuple[str, ...]] = []
    notes = []
    if speed is not None:
        for title, part, names in SPEEDS:
            figures = [speed.get(part, {}).get(name) for name in names]
            if figures[0] is not None:
                rows.append(
                    (f"{title}, words/s", *("" if f is None else f"{f:,.0f}" for f in figures))
                )
        machine = speed["machine"]
        versions = ", ".join(f"{name} {v}" for name, v in machine["versions"].items())
        notes.append(
            f"Speed: four heads, the same text and encoder (MiniLM, 6 layers), {machine['cpu']}, "
            f"{machine['threads']} threads, {versions}."
        )
    if accuracy is not None:
        flair = accuracy.get("flair", {})
        found = [(title, task) for title, task in TASKS if task in accuracy]
        for title, task in found:
            rows.append((title, _percent(accuracy[task]), _percent(flair.get(task)), ""))
        seeds = {len(accuracy[task]["seeds"]) for _, task in found}
        n_seeds = " to ".join(str(n) for n in sorted({min(seeds), max(seeds)}))
        notes.append(
            f"Accuracy: two tasks per pipeline as in Flair's tutorial, a tenth of each corpus, "
            f"test parts, mean of {n_seeds} seeds."
        )
        third = accuracy.get("ours_in_a_third", {})
        if third:
            scores = [
                f"{title.partition(',')[0]} {_percent(third[task])}"
                for title, task in TASKS
                if task in third
            ]
            notes.append(f"In a third of Flair's training time: {', '.join(scores)}.")
    if not rows:
        return "Not measured yet; see `benchmarks/`."
    lines = [("", *SYSTEMS), ("---", "---:", "---:", "---:"), *rows]
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    text = f"{text}\n\n{' '.join(notes)} From `benchmarks/results/`."
    if full is not None:
        text += f"\n\n{_whole_corpora(full)}"
    if precision is not None:
        cost = precision["cost_in_points"]
        highest = {name: max(0.0, *cost[name].values()) for name in ("bfloat16", "int8")}
        most = ", ".join(f"{name} {points:.2f}" for name, points in highest.items())
        text += f" Points that other precisions cost it, at most on any task: {most}."
    return text


def _whole_corpora(full: dict[str, Any]) -> str:
    scores = full["scores"]
    found = ", ".join(f"{title} {100 * scores[corpus][score]:.1f}" for title, corpus, score in FULL)
    minutes = full["train_seconds"] / 60
    return (
        f"All four tasks in one model, the whole corpora (AG News: 4,500 topics), one epoch on "
        f"{full['machine']['threads']} CPU thread in {minutes:.0f} minutes: {found}. "
        "From `benchmarks/results/project_full.json`."
    )


def _percent(entry: dict[str, Any] | None) -> str:
    return "" if entry is None else f"{100 * entry['mean']:.1f}"


def replace(readme: str, text: str) -> str:
    """RETURNS (str): The page with new text between the marks.
    RAISES (ValueError): If the marks are not there, once each and in order.
    """
    before, start, rest = readme.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end) or START in rest or END in after:
        raise ValueError(f"README.md must have {START} and, below it, {END}, once each.")
    return f"{before}{START}\n{text}\n{END}{after}"


def main(root: Path = ROOT) -> None:
    """Rewrite README.md in a folder that has benchmarks/results."""
    results = []
    for name in ("speed", "accuracy", "project_full", "precision"):
        path = root / "benchmarks" / "results" / f"{name}.json"
        results.append(json.loads(path.read_text(encoding="utf8")) if path.exists() else None)
    readme = root / "README.md"
    readme.write_text(replace(readme.read_text(encoding="utf8"), table(*results)), encoding="utf8")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        raise SystemExit(__doc__)
    main()
