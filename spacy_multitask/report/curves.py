"""Plots of a report: how training went, and whether probabilities mean what they say."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from spacy.language import Language
from spacy.training import Example

from ..evaluation.reliability import N_BINS, Reliability, reliability
from ..heads.base import Head
from ..heads.kinds import is_task_score

CALIBRATION_DOCS = 1000
FEWEST = 20  # predictions in a bin; of fewer the part that is right says nothing
VALUES = 60  # rows in the table beside a plot

# From a head or a score to the number of its colour.
ColorOf = Callable[[str], int]
Series = dict[str, Any]


def chart(
    id: str, title: str, x: list[dict[str, Any]], series: list[Series], **more: Any
) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): A plot as the page's script and template read it.

    x (List[Dict]): "name" and "values" of what can be on the x axis, each of the same length.
    series (List[Dict]): Lines, see `line`.
    more (Any): "unit" of the y axis, "note", and "limits" of both axes.
    """
    n = len(x[0]["values"])
    shown = sorted({round(k * (n - 1) / max(1, VALUES - 1)) for k in range(min(n, VALUES))})
    if n <= VALUES:
        shown = list(range(n))
    return {
        "id": id, "title": title, "x": x, "series": series, "shown": shown,
        "unit": "", "note": "", "limits": None, **more,
    }  # fmt: skip


def line(
    name: str,
    values: Sequence[float | None],
    color: int | None,
    *,
    dash: bool = False,
    spans: bool = False,
    drawn: bool = True,
) -> Series:
    """RETURNS (Dict[str, Any]): A line of a plot.

    color (Optional[int]): Number of its colour; None for a line that is no result.
    dash (bool): Whether it is broken, to be told from another of that colour.
    spans (bool): Whether it goes on over values that are not there.
    drawn (bool): Whether it is a line, and not only a value under the pointer.
    """
    rounded = [None if v is None else _round(v) for v in values]
    return {
        "name": name,
        "values": rounded,
        "color": color,
        "dash": dash,
        "spans": spans,
        "drawn": drawn,
    }


def _round(value: float) -> float:
    return float(f"{value:.4g}")


def training_curves(log: str | Path, color_of: ColorOf) -> list[dict[str, Any]]:
    """Draw what `spacy_multitask.Logger.v1` wrote.

    log (Path): Its JSONL file.
    RETURNS (List[Dict[str, Any]]): Plots of losses, scores and weights, as far as they were logged.
    RAISES (ValueError): If a line is none of such a file.
    """
    lines = read_log(Path(log))
    if not lines:
        return []
    x = [{"name": "step", "values": [entry["step"] for entry in lines]}]
    if all(is_number(entry.get("seconds")) for entry in lines):
        minutes = [_round(entry["seconds"] / 60) for entry in lines]
        x.append({"name": "minutes", "values": minutes})
    curves = []
    for key, title, unit, factor in (
        ("scores", "Scores on development docs", "percent", 100.0),
        ("losses", "Mean loss per step", "loss", 1.0),
        ("weights", "Loss weights", "weight", 1.0),
    ):
        drawn = _lines(lines, key, factor, color_of)
        if drawn:
            curves.append(chart(f"plot-{key}", title, x, drawn, unit=unit))
    return curves


def _lines(
    entries: list[dict[str, Any]], key: str, factor: float, color_of: ColorOf
) -> list[Series]:
    logged = [
        {name: factor * v for name, v in (entry.get(key) or {}).items() if is_number(v)}
        for entry in entries
    ]
    names = dict.fromkeys(name for values in logged for name in values)
    drawn, taken = [], set()
    for name in names:
        if name == "transformer" or (key == "scores" and not is_task_score(name)):
            continue
        color = color_of(name)
        values = [found.get(name) for found in logged]
        # What has a value at some steps only, such as a score, is drawn from one to the next.
        drawn.append(line(name, values, color, dash=color in taken, spans=True))
        taken.add(color)
    return drawn


def read_log(path: Path) -> list[dict[str, Any]]:
    """RETURNS (List[Dict[str, Any]]): The lines of a log.
    RAISES (ValueError): If one is not as `spacy_multitask.Logger.v1` writes it.
    """
    lines = []
    with path.open(encoding="utf8") as file:
        for line_no, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                entry = json.loads(text)  # takes NaN, which other loggers may write
            except ValueError:
                entry = None
            if not isinstance(entry, dict) or not is_number(entry.get("step")):
                raise ValueError(
                    f"{path}:{line_no}: {text.strip()[:60]!r} is not a line of a training log: "
                    "JSON with a step. Give the file that output_file of spacy_multitask.Logger.v1 "
                    "names."
                )
            lines.append(entry)
    return lines


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


SPARK_WIDTH, SPARK_HEIGHT = 200, 40


def sparkline(values: Sequence[float], what: str) -> Markup:
    """Draw how a score rose, in a small line without axes.

    values (Sequence[float]): From 0 to 1.
    what (str): Of what, for those who do not see it.
    RETURNS (Markup): An SVG element; nothing for fewer than two values.
    """
    if len(values) < 2:
        return Markup()
    low, high = min(values), max(values)
    points = " ".join(
        f"{4 + k * (SPARK_WIDTH - 8) / (len(values) - 1):.1f},"
        f"{SPARK_HEIGHT - 4 - (v - low) / ((high - low) or 1) * (SPARK_HEIGHT - 8):.1f}"
        for k, v in enumerate(values)
    )
    return Markup(
        '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<polyline points="{}" fill="none" stroke="var(--own)" stroke-width="2" '
        'vector-effect="non-scaling-stroke"/></svg>'
    ).format(
        SPARK_WIDTH,
        SPARK_HEIGHT,
        f"{what} while it was trained: from {100 * values[0]:.1f} to {100 * values[-1]:.1f} %",
        points,
    )


def calibration_charts(
    name: str, nlp: Language, examples: list[Example], color_of: ColorOf
) -> list[dict[str, Any]]:
    """RETURNS (List[Dict[str, Any]]): A plot for each head with probabilities and gold, with its
    calibration errors from 0 to 1 as "before" and "after", and the "head" it is of."""
    charts = []
    for head_name, head in nlp.pipeline:
        if not isinstance(head, Head):
            continue
        for part, (logits, targets) in head.gold_logits(examples[:CALIBRATION_DOCS]).items():
            temperature = head.temperature(part)
            before = reliability(logits, targets)
            after = reliability(logits, targets, temperature=temperature)
            x = [round(100 * (k + 0.5) / N_BINS, 1) for k in range(N_BINS)]
            color = color_of(head_name)
            series = [line("as they say", x, None, dash=True)]
            note = f"ECE {100 * after.error:.1f}"
            if temperature != 1:
                series.append(line("before calibration", _rights(before), color, dash=True))
                series.append(line("right", _rights(after), color))
                note = f"ECE {100 * before.error:.1f} before, {100 * after.error:.1f} calibrated"
            else:
                series.append(line("right", _rights(after), color))
                note += ", not calibrated"
            series.append(line("predictions", _sizes(after), None, drawn=False))
            title = f"{name}: {head_name} {part}".strip()
            found = chart(
                f"plot-calibration-{name}-{head_name}-{part}".replace(" ", "-"),
                title,
                [{"name": "probability, percent", "values": x}],
                series,
                unit="right, percent",
                note=note,
                limits=[0, 100],
            )
            found.update(before=before.error, after=after.error, head=head_name)
            found.update(sureness=float((after.confidence * after.size).sum() / after.size.sum()))
            found.update(right=float((after.accuracy * after.size).sum() / after.size.sum()))
            charts.append(found)
    return charts


def _by_bin(found: Reliability, values: np.ndarray) -> list[float | None]:
    bins: list[float | None] = [None] * N_BINS
    for confidence, value in zip(found.confidence, values):
        bins[min(int(confidence * N_BINS), N_BINS - 1)] = float(value)
    return bins


def _rights(found: Reliability) -> list[float | None]:
    rights = np.where(found.size >= FEWEST, 100 * found.accuracy, np.nan)
    return [None if v is None or math.isnan(v) else v for v in _by_bin(found, rights)]


def _sizes(found: Reliability) -> list[float | None]:
    return _by_bin(found, found.size)
