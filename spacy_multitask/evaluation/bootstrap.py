"""How far a score would move on another test set of the same kind: bootstrap intervals.

Source: Efron and Tibshirani (1993), An Introduction to the Bootstrap; docs are drawn with
replacement, since the words of a doc are not independent of each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from spacy.training import Example

from ..heads.items import Counts, Items
from ..heads.kinds import score_named


def count_correct(example: Example, score: str, head: Any = None) -> Counts | None:
    """Count what a score is made of in one doc.

    example (Example): With predictions.
    score (str): One that is listed (see `heads/kinds.py`), with or without a prefix.
    head (Any): The component whose score it is: it may have labels, and a place for predictions, of
        its own.
    RETURNS (Optional[Tuple[int, int, int]]): Right, predicted and gold items; None without gold, or
        if the score is no count.
    """
    items = items_of(example, score, head, "items")
    return None if items is None else items.counts()


def count_labels(example: Example, score: str, head: Any = None) -> dict[str, Counts] | None:
    """RETURNS (Optional[Dict[str, Tuple[int, int, int]]]): As `count_correct`, per label. A mean
    over labels, which is no count, has labels that are counted."""
    items = items_of(example, score, head, "label_items")
    return None if items is None else items.counts_by_label()


def items_of(example: Example, score: str, head: Any, use: str = "items") -> Items | None:
    """RETURNS (Optional[Items]): What a score counts in a doc; as "label_items", what the scores of
    its labels count. None without gold, or if it is no count."""
    found = score_named(score, head)
    if found is None:
        return None
    read = getattr(found.score, use) or found.score.items
    return None if read is None else read(example, head, found.key)


def interval(
    counts: list[Counts], *, level: float = 0.95, n_samples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Draw docs again and again, and take the middle part of the scores.

    counts (List[Tuple[int, int, int]]): Of each doc, from `count_correct`.
    level (float): Part of the samples between the limits.
    RETURNS (Tuple[float, float]): Lower and upper limit of F, which for items that are all
        predicted is the accuracy.
    RAISES (ValueError): If there are no docs.
    """
    if not counts:
        raise ValueError("There are no docs to draw from.")
    limits = _intervals(np.array(counts)[:, None], level, n_samples, seed)
    return float(limits[0, 0]), float(limits[0, 1])


def _intervals(table: np.ndarray, level: float, n_samples: int, seed: int) -> np.ndarray:
    """
    table (ndarray): Counts, shape (n_docs, n, 3).
    RETURNS (ndarray): Limits of F, shape (n, 2); 0 where nothing is there and nothing found.
    """
    right, predicted, gold = _drawn_sums(table, n_samples, seed).transpose(2, 0, 1)
    total = predicted + gold
    # A draw without a rare label says nothing of it.
    scores = np.where(total > 0, 2 * right / np.maximum(1, total), np.nan)
    tail = (1 - level) / 2
    drawn = ~np.isnan(scores).all(0)
    limits = np.zeros((table.shape[1], 2))
    if drawn.any():
        limits[drawn] = np.nanquantile(scores[:, drawn], [tail, 1 - tail], axis=0).T
    return limits


def _drawn_sums(table: np.ndarray, n_samples: int, seed: int) -> np.ndarray:
    """
    table (ndarray): Counts, shape (n_docs, n, 3).
    RETURNS (ndarray): Sums over as many docs, drawn again and again, shape (n_samples, n, 3).
    """
    rng = np.random.default_rng(seed)
    flat = table.reshape(len(table), -1).astype(np.float64)
    sums = np.empty((n_samples, flat.shape[1]))
    for i in range(n_samples):
        drawn = rng.integers(len(flat), size=len(flat))
        sums[i] = np.bincount(drawn, minlength=len(flat)) @ flat
    return sums.reshape(n_samples, -1, 3)


def score_labels(
    examples: Iterable[Example],
    score: str,
    head: Any = None,
    *,
    level: float = 0.95,
    n_samples: int = 1000,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Score each label by itself.

    examples (Iterable[Example]): With predictions; those without gold do not count.
    score, head: As for `count_correct`.
    RETURNS (Dict[str, Dict]): By label precision "p", recall "r" and "f" from 0 to 1, the number of
        items as "gold", and the limits of F as "interval".
    """
    found = [c for eg in examples if (c := count_labels(eg, score, head)) is not None]
    labels = sorted({label for counts in found for label in counts})
    if not labels:
        return {}
    place = {label: k for k, label in enumerate(labels)}
    table = np.zeros((len(found), len(labels), 3), np.int32)
    for i, counts in enumerate(found):
        for label, count in counts.items():
            table[i, place[label]] = count
    right, own, gold = table.sum(0).T
    limits = _intervals(table, level, n_samples, seed)
    return {
        label: {
            "p": float(right[k] / max(1, own[k])),
            "r": float(right[k] / max(1, gold[k])),
            "f": float(2 * right[k] / (own[k] + gold[k])),
            "gold": int(gold[k]),
            "interval": (float(limits[k, 0]), float(limits[k, 1])),
        }
        for label, k in place.items()
    }


class Difference(NamedTuple):
    """How two systems differ on the same docs.

    value (float): Score of the first one less that of the second, from -1 to 1.
    low, high (float): Limits of the difference.
    p (float): How often a difference at least as far from zero would come about by the choice of
        docs alone, two-sided.
    """

    value: float
    low: float
    high: float
    p: float


def paired_difference(
    first: np.ndarray,
    second: np.ndarray,
    *,
    level: float = 0.95,
    n_samples: int = 2000,
    seed: int = 0,
) -> Difference:
    """Compare two systems by drawing the same docs for both, again and again.

    first, second (ndarray): Counts per doc, as of `count_correct`, shape (n_docs, 3) each.
    RETURNS (Difference): Of F, or accuracy.

    Source: Berg-Kirkpatrick, Burkett and Klein (2012), https://aclanthology.org/D12-1091
    """
    table = np.stack([first, second], axis=1)

    def difference(sums: np.ndarray) -> np.ndarray:
        right, own, gold = sums.transpose(2, 0, 1)
        scores = 2 * right / np.maximum(1, own + gold)
        return scores[:, 0] - scores[:, 1]

    value = float(difference(table.sum(0)[None])[0])
    drawn = difference(_drawn_sums(table, n_samples, seed))
    tail = (1 - level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    # One more of each, since no finite number of samples shows that there is no chance.
    beyond = min((drawn <= 0).sum(), (drawn >= 0).sum()) + 1
    return Difference(value, float(low), float(high), min(1.0, 2 * beyond / (n_samples + 1)))
