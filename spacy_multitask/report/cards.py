"""A score card for each task: how good, how sure, better or worse than another pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from spacy.training import Example

from ..evaluation.bootstrap import count_correct, paired_difference
from ..evaluation.evaluate import main_scores
from ..heads.kinds import score_named
from .curves import ColorOf, sparkline

CHANCE = 0.05
# Examples with predictions, by score the component whose it is, and all scores.
Scored = tuple[list[Example], dict[str, Any], dict[str, Any]]


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def interval_text(limits: Sequence[float]) -> str:
    return " – ".join(map(percent, limits))


def title_of(score: str, head: Any) -> str:
    named = score_named(score, head)
    return (named.title if named else "") or score


def measure_of(score: str) -> str:
    return {"acc": "accuracy", "f": "F1", "las": "attachment"}.get(score.rpartition("_")[2], "")


def make_cards(
    name: str,
    result: dict[str, Any],
    owners: dict[str, Any],
    history: dict[str, list[float]],
    changes: dict[str, dict[str, Any]],
    color_of: ColorOf,
) -> list[dict[str, Any]]:
    """RETURNS (List[Dict[str, Any]]): Cards of a corpus, one for each title: of the scores with one
    title the first sums it up."""
    cards: dict[str, dict[str, Any]] = {}
    for score, value in main_scores(result).items():
        named = score_named(score, owners[score])
        title = title_of(score, owners[score])
        if named is None or not named.score.is_main or title in cards:
            continue
        cards[title] = {
            "title": title[0].upper() + title[1:],
            "corpus": name,
            "value": percent(value),
            "measure": measure_of(score),
            "interval": interval_text(result["intervals"].get(score, ())),
            "words": _in_words(score, named.score.unit, title, result),
            "change": changes.get(score),
            "spark": sparkline(history.get(score, []), title),
            "color": color_of(score),
        }
    return list(cards.values())


def _in_words(score: str, unit: str, title: str, result: dict[str, Any]) -> str:
    """RETURNS (str): A score as it would be told; "" if it has no such words."""
    stem, _, kind = score.rpartition("_")
    if kind == "f" and all(isinstance(result.get(f"{stem}_{k}"), float) for k in "pr"):
        found, right = (round(100 * result[f"{stem}_{k}"]) for k in "rp")
        return f"{found} of 100 {title} are found. {right} of 100 found ones are right."
    if kind == "acc":
        what = "docs get the right topic" if unit == "doc" else f"words have the right {title}"
        return f"{round(100 * result[score])} of 100 {what}."
    return ""


def changes_from(own: Scored, other: Scored, name: str) -> dict[str, dict[str, Any]]:
    """Compare with another pipeline on the same docs.

    own, other (Scored): Of the two pipelines.
    name (str): What the other one is called.
    RETURNS (Dict[str, Dict]): By score what has changed, in words, with the other one's value as
        "other".
    """
    examples, owners, result = own
    others, other_owners, other_result = other
    found = {}
    for score, value in main_scores(result).items():
        before = other_result.get(score)
        if not isinstance(before, float):
            continue
        change = 100 * (value - before)
        pairs = [
            (new, old)
            for eg, other_eg in zip(examples, others, strict=True)
            if (new := count_correct(eg, score, owners[score])) is not None
            and (old := count_correct(other_eg, score, other_owners[score])) is not None
        ]
        kind, words = "same", f"points against {name}"
        if not change:
            words += ": the same"
        elif pairs:
            mine, theirs = (np.array(side) for side in zip(*pairs))
            difference = paired_difference(mine, theirs)
            limits = f"{100 * difference.low:+.1f} to {100 * difference.high:+.1f}"
            if difference.p < CHANCE:
                kind = "up" if difference.value > 0 else "down"
                words += f" ({limits}): {'better' if kind == 'up' else 'worse'}"
            else:
                words += f" ({limits}): may be chance"
        found[score] = {"value": f"{change:+.1f}", "words": words, "kind": kind, "other": before}
    return found
