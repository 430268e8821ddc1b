"""How far a score would move on another test set of the same kind: bootstrap intervals.

Source: Efron and Tibshirani (1993), An Introduction to the Bootstrap; docs are drawn with
replacement, since the words of a doc are not independent of each other.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from spacy.tokens import Span
from spacy.training import Example

from ..heads.ner import EntityRecognizer
from ..heads.relations import aligned_relations
from ..heads.scorers import best_cat, known_ents, knows_cats
from ..heads.tagger import Tagger
from ..heads.textcat import TextCategorizer
from ..relations import get_relations

# What a score counts, after the prefix of a second head.
KIND = re.compile(
    r"(?:^|_)((?:tag|pos|morph|lemma|cats)_acc|cats_micro_f|dep_uas|dep_las|sents_f|ents_f|rels_f|"
    r"spans_(.+)_f)$"
)
# spaCy's parser is not scored on punctuation.
PUNCTUATION = ("p", "punct")

# Per doc: right, predicted, gold. Accuracy is right / gold.
Counts = tuple[int, int, int]


class _Items(NamedTuple):
    """What one doc has of what a score counts; the last entry of each item is its label, or "".

    gold, own (Set[tuple]): Gold and predicted items, on the predicted doc's tokens.
    cut (Counter): Labels of gold items that the tokenization cuts: they can't be predicted, but
        are missed all the same.
    """

    gold: set[tuple]
    own: set[tuple]
    cut: Counter[str]


def count_correct(example: Example, score: str, head: Any = None) -> Counts | None:
    """Count what a score is made of in one doc.

    example (Example): With predictions.
    score (str): "tag_acc", "pos_acc", "morph_acc", "lemma_acc", "dep_uas", "dep_las", "sents_f",
        "cats_acc", "cats_micro_f" where several labels may be true, "ents_f", "rels_f" or
        "spans_KEY_f", or one of them with a prefix.
    head (Any): The component whose score it is: it may have labels, and a place for predictions, of
        its own.
    RETURNS (Optional[Tuple[int, int, int]]): Right, predicted and gold items; None without gold, or
        if the score is of another kind.
    """
    items = _items(example, score, head)
    if items is None:
        return None
    return len(items.gold & items.own), len(items.own), len(items.gold) + items.cut.total()


def count_labels(example: Example, score: str, head: Any = None) -> dict[str, Counts] | None:
    """RETURNS (Optional[Dict[str, Tuple[int, int, int]]]): As `count_correct`, per label."""
    items = _items(example, score, head)
    if items is None:
        return None
    right, own, gold = (
        Counter(item[-1] for item in group)
        for group in (items.gold & items.own, items.own, items.gold)
    )
    gold += items.cut
    # A head that abstains predicts "".
    return {label: (right[label], own[label], gold[label]) for label in own | gold if label}


def label_pairs(example: Example, score: str, head: Any = None) -> Counter[tuple[str, str]]:
    """Count what a head took for what.

    score (str): Of what has one label per word or doc: "tag_acc", "pos_acc" or "cats_acc", or one
        of them with a prefix.
    RETURNS (Counter[Tuple[str, str]]): Gold and predicted labels. Where the head abstained it took
        nothing for anything.
    """
    items = _items(example, score, head)
    if items is None:
        return Counter()
    own = {item[:-1]: item[-1] for item in items.own if item[-1]}
    return Counter((item[-1], own[item[:-1]]) for item in items.gold if item[:-1] in own)


def _items(example: Example, score: str, head: Any) -> _Items | None:
    reference, predicted = example.reference, example.predicted
    found = KIND.search(score)
    if found is None:
        return None
    kind, key = found.groups()
    if kind in ("tag_acc", "pos_acc", "morph_acc", "lemma_acc"):
        return _token_items(example, kind.removesuffix("_acc").upper(), head)
    if kind in ("dep_uas", "dep_las"):
        return _dep_items(example, labeled=kind == "dep_las")
    if kind == "sents_f":
        if not reference.has_annotation("SENT_START"):
            return None
        own = predicted.sents if predicted.has_annotation("SENT_START") else ()
        return _span_items(example, reference.sents, own)
    if kind == "cats_acc":
        labels = [*reference.cats, *predicted.cats]
        if isinstance(head, TextCategorizer):
            labels = list(head.labels)
        if not knows_cats(reference, labels, multi_label=False):
            return None
        best = [best_cat(doc, labels) for doc in (reference, predicted)]
        return _Items({(best[0],)}, {(best[1],)}, Counter())
    if kind == "cats_micro_f":
        if not isinstance(head, TextCategorizer) or head.exclusive_classes:
            return None
        known = [label for label in head.labels if label in reference.cats]
        if not known:
            return None
        said = head.true_labels(predicted)
        true = {(label,) for label in known if reference.cats[label] > 0}  # as spaCy's Scorer
        return _Items(true, {(label,) for label in known if label in said}, Counter())
    if kind == "ents_f":
        if not reference.has_annotation("ENT_IOB"):
            return None
        return _span_items(example, reference.ents, known_ents(example, predicted.ents))
    if kind == "rels_f":
        aligned = aligned_relations(example)
        if aligned is None:
            return None
        cut = Counter(r.label for r in get_relations(reference))
        cut -= Counter(label for _, _, label in aligned)
        related = {(_key(r.head), _key(r.tail), r.label) for r in get_relations(predicted)}
        return _Items(set(aligned), related, cut)
    spans = predicted.spans.get(key, [])
    if key in reference.spans:
        return _span_items(example, reference.spans[key], spans)
    if isinstance(head, EntityRecognizer) and reference.has_annotation("ENT_IOB"):
        return _span_items(example, reference.ents, known_ents(example, spans))
    return None


def _token_items(example: Example, attr: str, head: Any) -> _Items | None:
    if not example.reference.has_annotation(attr):
        return None
    predicted = example.predicted
    gold = example.get_aligned(attr, as_string=True)
    if isinstance(head, Tagger) and head.extension is not None:
        own = [token._.get(head.extension) for token in predicted]
    else:
        own = [predicted.vocab.strings[i] for i in predicted.to_array(attr).tolist()]
    # There are too many lemmas and sets of features to tell them apart.
    labels = (lambda value: (value,)) if attr in ("TAG", "POS") else (lambda value: (value, ""))
    return _Items(
        {(i, *labels(value)) for i, value in enumerate(gold) if value},
        {(i, *labels(value)) for i, value in enumerate(own) if gold[i]},
        Counter(),
    )


def _dep_items(example: Example, *, labeled: bool) -> _Items | None:
    if not example.reference.has_annotation("DEP"):
        return None
    heads, deps = example.get_aligned_parse(projectivize=False)
    gold = {(i, h, d.lower()) for i, (h, d) in enumerate(zip(heads, deps)) if d}
    own = {(t.i, t.head.i, t.dep_.lower()) for t in example.predicted if deps[t.i]}
    gold, own = (
        {(i, h, d if labeled else "") for i, h, d in items if d not in PUNCTUATION}
        for items in (gold, own)
    )
    return _Items(gold, own, Counter())


def _span_items(example: Example, gold: Iterable[Span], own: Iterable[Span]) -> _Items:
    gold = list(gold)
    aligned = example.get_aligned_spans_y2x(gold, allow_overlap=True)
    cut = Counter(s.label_ for s in gold)
    cut -= Counter(s.label_ for s in aligned)
    return _Items(set(map(_key, aligned)), set(map(_key, own)), cut)


def _key(span: Span) -> tuple[int, int, str]:
    return span.start, span.end, span.label_


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
    rng = np.random.default_rng(seed)
    n_docs, n, _ = table.shape
    flat = table.reshape(n_docs, n * 3).astype(np.float64)
    scores = np.empty((n_samples, n))
    for i in range(n_samples):
        times = np.bincount(rng.integers(n_docs, size=n_docs), minlength=n_docs)
        right, predicted, gold = (times @ flat).reshape(n, 3).T
        total = predicted + gold
        # A draw without a rare label says nothing of it.
        scores[i] = np.where(total > 0, 2 * right / np.maximum(1, total), np.nan)
    tail = (1 - level) / 2
    drawn = ~np.isnan(scores).all(0)
    limits = np.zeros((n, 2))
    if drawn.any():
        limits[drawn] = np.nanquantile(scores[:, drawn], [tail, 1 - tail], axis=0).T
    return limits


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
    flat = np.concatenate([first, second], axis=1).astype(np.float64)
    n_docs = len(flat)
    rng = np.random.default_rng(seed)

    def difference(sums: np.ndarray) -> np.ndarray:
        right, own, gold = sums.reshape(-1, 2, 3).transpose(2, 0, 1)
        scores = 2 * right / np.maximum(1, own + gold)
        return scores[:, 0] - scores[:, 1]

    value = float(difference(flat.sum(0))[0])
    drawn = np.empty(n_samples)
    for i in range(n_samples):
        times = np.bincount(rng.integers(n_docs, size=n_docs), minlength=n_docs)
        drawn[i] = difference(times @ flat)[0]
    tail = (1 - level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    # One more of each, since no finite number of samples shows that there is no chance.
    beyond = min((drawn <= 0).sum(), (drawn >= 0).sum()) + 1
    return Difference(value, float(low), float(high), min(1.0, 2 * beyond / (n_samples + 1)))
