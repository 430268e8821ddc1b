"""Which texts are worth annotating, and what a pipeline suggests for them.

Sources: Lewis and Gale (1994), https://arxiv.org/abs/cmp-lg/9407020, for the least confidence; for
that of a text with many words the mean of their log probabilities, Shen et al. (2018),
https://arxiv.org/abs/1707.05928
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc

from ..converters.exports import Choice, Suggestion
from ..corpus.leaks import letters_of
from ..corpus.minhash import Distinct
from ..encoder.component import MultitaskTransformer
from ..heads.nested import SpanFinder
from ..heads.relations import RelationExtractor
from ..heads.span_classifier import SpanClassifier
from ..heads.spans import SpanHead
from ..heads.tagger import Tagger
from ..heads.textcat import TextCategorizer
from ..relations import get_relations

# Texts of which so large a part is the same are near-duplicates, see `corpus/leaks.py`.
ALIKE = 0.8
BATCH = 256  # docs
# From the probabilities of the classes of several items, (n_items, n_classes), to the uncertainty.
Measure = Callable[[np.ndarray], float]


def least_confidence(probs: np.ndarray) -> float:
    """RETURNS (float): What is missing to 1 from the (geometric) mean of the greatest."""
    return float(1 - np.exp(np.log(probs.max(axis=1).clip(1e-12)).mean()))


def margin(probs: np.ndarray) -> float:
    """RETURNS (float): What is missing to 1 from the mean distance of the greatest two."""
    if probs.shape[1] < 2:
        return 0.0
    top = np.partition(probs, -2, axis=1)[:, -2:]
    return float(1 - (top[:, 1] - top[:, 0]).mean())


ORDERS: dict[str, Measure] = {"uncertain": least_confidence, "margin": margin}


def suggest(
    nlp: Language, texts: Iterable[str], *, order: str, n: int, layer: str | None = None
) -> list[Suggestion]:
    """Choose the texts of which a pipeline is least sure, none of them much like another.

    texts (Iterable[str]): They are held in memory.
    order (str): "uncertain" for the least confidence, "margin" for the least distance between the
        two best classes. Of several heads the mean of a text's ranks counts.
    n (int): Most texts to choose.
    layer (Optional[str]): The head that counts, by name; None: all that give probabilities.
    RETURNS (List[Suggestion]): Most uncertain first, with what the heads predict.
    RAISES (ValueError): If the pipeline has no such head, or an option has no such value.
    """
    if order not in ORDERS:
        raise ValueError(f"order = {order!r} is not one of {', '.join(ORDERS)}.")
    if n < 1:
        raise ValueError(f"n = {n} must be at least 1.")
    heads = _heads_that_count(nlp, layer)
    known = [text for text in texts if text.strip()]
    found = np.concatenate(
        [np.zeros((0, len(heads))), *_uncertainties(nlp, heads, known, ORDERS[order])]
    )
    chosen: list[int] = []
    distinct = Distinct(ALIKE)
    for i in np.argsort(-_ranks(found).mean(axis=1), kind="stable").tolist():
        if len(chosen) == n:
            break
        if distinct.add(letters_of(known[i]) or known[i]):
            chosen.append(i)
    docs = nlp.pipe([known[i] for i in chosen])
    return [_suggestion(nlp, doc, float(found[i].mean()), layer) for i, doc in zip(chosen, docs)]


def _heads_that_count(nlp: Language, layer: str | None) -> dict[str, Any]:
    kinds = (Tagger, SpanHead, SpanFinder, TextCategorizer, SpanClassifier, RelationExtractor)
    heads = {name: pipe for name, pipe in nlp.pipeline if isinstance(pipe, kinds)}
    if not heads:
        raise ValueError(
            "The pipeline has no head whose doubts count. Take one with a tagger, spans, entities, "
            "topics or relations."
        )
    if layer is not None and layer not in heads:
        raise ValueError(f"layer = {layer!r} is not one of the heads {', '.join(heads)}.")
    return heads if layer is None else {layer: heads[layer]}


def _uncertainties(
    nlp: Language, heads: dict[str, Any], texts: list[str], measure: Measure
) -> Iterator[np.ndarray]:
    """YIELDS (ndarray): Uncertainty of each text of a batch by each head, (n_texts, n_heads)."""
    encoders = [pipe for _, pipe in nlp.pipeline if isinstance(pipe, MultitaskTransformer)]
    stream = iter(nlp.pipe(texts))
    while docs := list(islice(stream, BATCH)):
        for encoder in encoders:  # once for all heads
            encoder.set_annotations(docs, encoder.predict(docs))
        columns = [_of_head(head, docs, measure) for head in heads.values()]
        yield np.array(columns).reshape(len(heads), len(docs)).T


def _of_head(head: Any, docs: list[Doc], measure: Measure) -> list[float]:
    return [
        float(np.mean([measure(probs) for probs in of_doc if len(probs)] or [0.0]))
        for of_doc in _choices(head, docs)
    ]


def _choices(head: Any, docs: list[Doc]) -> list[list[np.ndarray]]:
    """RETURNS (List[List[ndarray]]): Per doc, probabilities of what the head chooses between, from
    each layer of its own (n_items, n_classes)."""
    if isinstance(head, RelationExtractor):  # those that it has found
        return [[_true_or_not([r.probability for r in get_relations(doc)])] for doc in docs]
    if isinstance(head, TextCategorizer):
        found = [row[None] for row in head.predict(docs)]
    else:
        found = head.probs(docs)
    if isinstance(found, dict):
        return [list(of_doc) for of_doc in zip(*found.values())]
    if isinstance(head, SpanFinder):  # of each word, the likeliest span that begins with it
        found = [_true_or_not(probs.max(axis=(1, 2), initial=0.0)) for probs in found]
    elif not getattr(head, "exclusive_classes", True):
        found = [_true_or_not(probs) for probs in found]
    return [[probs] for probs in found]


def _true_or_not(probs: Any) -> np.ndarray:
    flat = np.ravel(np.asarray(probs, np.float64))
    return np.stack([flat, 1 - flat], axis=1)


def _ranks(values: np.ndarray) -> np.ndarray:
    """RETURNS (ndarray): In each column, from 0 on. Heads differ in how sure they are."""
    return values.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")


def _suggestion(nlp: Language, doc: Doc, uncertainty: float, layer: str | None) -> Suggestion:
    found = Suggestion(doc, uncertainty)
    spans = {name: pipe for name, pipe in nlp.pipeline if isinstance(pipe, SpanHead | SpanFinder)}
    if spans:
        # Entities before chunks: tools have one layer of spans.
        entities = [name for name, head in spans.items() if _key(head) is None]
        name = layer if layer in spans else next(iter([*entities, *spans]))
        head = spans[str(name)]
        key = _key(head)
        found.spans = list(doc.ents if key is None else doc.spans.get(key, ()))
        found.span_labels = list(head.labels)
    for name, pipe in nlp.pipeline:
        if isinstance(pipe, TextCategorizer):
            labels, chosen = list(pipe.labels), pipe.true_labels(doc)
            found.choices.append(Choice(name, labels, chosen, pipe.exclusive_classes))
        elif isinstance(pipe, RelationExtractor) and found.spans is not None:
            found.relations = get_relations(doc)
    return found


def _key(head: SpanHead | SpanFinder) -> str | None:
    """RETURNS (Optional[str]): Key of `doc.spans` that a head writes to; None for `doc.ents`."""
    return head.score_options()["spans_key"]


def relation_labels(nlp: Language) -> list[str]:
    """RETURNS (List[str]): Those of the pipeline's heads for relations."""
    pipes = [pipe for _, pipe in nlp.pipeline if isinstance(pipe, RelationExtractor)]
    return [label for pipe in pipes for label in pipe.labels]
