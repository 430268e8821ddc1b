"""Scores over examples of many corpora: docs without gold for a task do not count.

Counting is spaCy's; these scorers choose what it may count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from spacy.scorer import Scorer, get_ner_prf
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import registry


@registry.scorers("spacy_multitask.tagger_scorer.v1")
def make_tagger_scorer() -> Callable:
    return score_tags


@registry.scorers("spacy_multitask.chunk_scorer.v1")
def make_chunk_scorer() -> Callable:
    return score_chunks


@registry.scorers("spacy_multitask.ner_scorer.v1")
def make_ner_scorer() -> Callable:
    return score_ents


@registry.scorers("spacy_multitask.textcat_scorer.v1")
def make_textcat_scorer() -> Callable:
    return score_cats


def score_tags(examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): tag_acc and pos_acc over the tokens that have a gold tag; None
    where there is none."""
    examples = list(examples)
    scores: dict[str, Any] = {}
    for attr, name in (("TAG", "tag"), ("POS", "pos")):
        known = [eg for eg in examples if eg.reference.has_annotation(attr)]
        scores.update(Scorer.score_token_attr(known, name))
    return scores


def score_chunks(examples: Iterable[Example], *, spans_key: str, **kwargs: Any) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): Precision, recall and F of labelled spans as `spans_KEY_p` and so
    on, over docs that have the key; None where there is none."""
    return Scorer.score_spans(
        examples,
        attr=f"spans_{spans_key}",
        getter=lambda doc, _: doc.spans.get(spans_key, []),
        has_annotation=lambda doc: spans_key in doc.spans,
        allow_overlap=True,
        labeled=True,
    )


def score_ents(examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): ents_p, ents_r, ents_f and ents_per_type over docs with gold
    entities or with none; None where nothing is known."""
    return get_ner_prf([eg for eg in examples if eg.reference.has_annotation("ENT_IOB")])


def score_cats(
    examples: Iterable[Example],
    *,
    labels: Iterable[str],
    multi_label: bool,
    threshold: float,
    **kwargs: Any,
) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): spaCy's `cats_*` scores and, with exclusive classes, cats_acc,
    over docs with gold labels; None where there are none."""
    labels = list(labels)
    known = [eg for eg in examples if _knows_cats(eg.reference, labels, multi_label)]
    if not known:
        return {"cats_score": None, "cats_micro_f": None, "cats_macro_f": None, "cats_acc": None}
    scores = Scorer.score_cats(
        known, "cats", labels=labels, multi_label=multi_label, threshold=threshold
    )
    if not multi_label:
        right = sum(_best(eg.predicted) == _best(eg.reference) for eg in known)
        scores["cats_acc"] = right / len(known)
    return scores


def _knows_cats(doc: Doc, labels: list[str], multi_label: bool) -> bool:
    if multi_label:
        return any(label in doc.cats for label in labels)
    return any(value > 0 for value in doc.cats.values())


def _best(doc: Doc) -> str:
    return max(doc.cats, key=doc.cats.__getitem__) if doc.cats else ""
