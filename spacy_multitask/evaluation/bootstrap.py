"""How far a score would move on another test set of the same kind: bootstrap intervals.

Source: Efron and Tibshirani (1993), An Introduction to the Bootstrap; docs are drawn with
replacement, since the words of a doc are not independent of each other.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from spacy.tokens import Span
from spacy.training import Example

from ..heads.relations import count_relations

# Per doc: right, predicted, gold. Accuracy is right / gold.
Counts = tuple[int, int, int]


def count_correct(example: Example, score: str) -> Counts | None:
    """Count what a score is made of in one doc.

    example (Example): With predictions.
    score (str): "tag_acc", "pos_acc", "cats_acc", "ents_f", "rels_f" or "spans_KEY_f".
    RETURNS (Optional[Tuple[int, int, int]]): Right, predicted and gold items; None without gold.
    """
    reference, predicted = example.reference, example.predicted
    if score in ("tag_acc", "pos_acc"):
        name = score.removesuffix("_acc").upper()
        if not reference.has_annotation(name):
            return None
        gold = example.get_aligned(name, as_string=True)
        own = [token.tag_ if name == "TAG" else token.pos_ for token in predicted]
        pairs = [(g, o) for g, o in zip(gold, own, strict=True) if g]
        return sum(g == o for g, o in pairs), len(pairs), len(pairs)
    if score == "cats_acc":
        if not any(value > 0 for value in reference.cats.values()):
            return None
        best = [max(doc.cats, key=doc.cats.__getitem__) for doc in (predicted, reference)]
        return int(best[0] == best[1]), 1, 1
    if score == "ents_f":
        if not reference.has_annotation("ENT_IOB"):
            return None
        return _overlap(example, reference.ents, predicted.ents)
    if score == "rels_f":
        return count_relations(example)
    key = score.removeprefix("spans_").removesuffix("_f")
    if key not in reference.spans:
        return None
    return _overlap(example, reference.spans[key], predicted.spans.get(key, []))


def _overlap(example: Example, gold: Iterable[Span], own: Iterable[Span]) -> Counts:
    aligned = example.get_aligned_spans_y2x(list(gold), allow_overlap=True)
    # A span that the tokenization cuts can't be predicted, but is missed all the same.
    keys = {(s.start, s.end, s.label_) for s in aligned}
    found = {(s.start, s.end, s.label_) for s in own}
    return len(keys & found), len(found), len(keys) + len(list(gold)) - len(aligned)


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
    table = np.array(counts)
    rng = np.random.default_rng(seed)
    scores = np.empty(n_samples)
    for i in range(n_samples):
        right, predicted, gold = table[rng.integers(len(table), size=len(table))].sum(0)
        scores[i] = 2 * right / max(1, predicted + gold)
    tail = (1 - level) / 2
    low, high = np.quantile(scores, [tail, 1 - tail])
    return float(low), float(high)
