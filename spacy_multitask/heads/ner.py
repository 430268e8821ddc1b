"""Named entities: `doc.ents`."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from spacy.attrs import ENT_IOB, ENT_TYPE
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import filter_spans
from spacy.vocab import Vocab
from thinc.api import Model

from ..probabilities import SPANS_KEY
from .architectures import default_model
from .gold import SpanTuple, align_spans, gold_group, same_tokens
from .groups import HashedSpan, set_group
from .items import Items, group_items, span_items
from .kinds import HeadKind, Recipe, Score, Second, register
from .options import HeadOptions, head_factory
from .scorers import known_ents
from .spans import SpanHead, SpanPredictions
from .teaching import TAUGHT

IOB_INSIDE, IOB_OUTSIDE, IOB_BEGIN = 1, 2, 3  # spaCy's token.ent_iob; 0 is "not known"


def _count(doc: Doc) -> int | None:
    return len(doc.ents) if doc.has_annotation("ENT_IOB") else None


def _items(example: Example, head: Any, key: str) -> Items | None:
    return _items_among(example, example.predicted.ents)


def _second_items(example: Example, head: Any, key: str) -> Items | None:
    """Gold is where the predictions are, or in `doc.ents`."""
    if key in example.reference.spans:
        return group_items(example, head, key)
    return _items_among(example, example.predicted.spans.get(key, []))


def _items_among(example: Example, ents: Iterable[Span]) -> Items | None:
    if not example.reference.has_annotation("ENT_IOB"):
        return None
    return span_items(example, example.reference.ents, known_ents(example, ents))


KIND = register(
    HeadKind(
        name="ner",
        factories=("multitask_ner", "ner", "beam_ner"),
        learns_from="doc.ents",
        items="entities",
        count=_count,
        scores=(Score("ents_f", _items, title="entities", unit="span"),),
        place=70,
        recipe=Recipe(
            loss_weight=2.0,
            second=Second(
                option="spans_key",
                score=Score("spans_*_f", _second_items, title="entities", unit="span"),
            ),
            initialize=TAUGHT,
        ),
    )
)


@head_factory(
    "multitask_ner",
    assigns=["doc.ents", "token.ent_iob", "token.ent_type"],
    default_config={
        "model": default_model("TokenClassifier"),
        "spans_key": None,
        "crf": False,
        "cross_sentences": False,
        "scorer": {"@scorers": "spacy_multitask.ner_scorer.v1"},
    },
    default_score_weights={
        "ents_f": 1.0,
        "ents_p": 0.0,
        "ents_r": 0.0,
        "ents_per_type": None,
    },
)
def make_ner(
    nlp: Language,
    name: str,
    model: Model,
    options: HeadOptions,
    spans_key: str | None,
    crf: bool,
    cross_sentences: bool,
) -> "EntityRecognizer":
    """Create an entity recogniser that writes `doc.ents`, or a span group.

    model (Model): See `spacy_multitask.TokenClassifier.v1`.
    spans_key (Optional[str]): Write entities to `doc.spans[spans_key]` in place of `doc.ents`: for
        a second recogniser with other labels. It learns from that group where a doc has it, and
        else from `doc.ents`, so name its `corpora`.
    crf (bool): Whether to learn which label follows which, and to take the loss over whole
        sequences. Goes with neither `label_smoothing` nor `class_weights`.
    cross_sentences (bool): Whether spans may go on where a component before has set the start of a
        sentence. As with spaCy's recogniser they may not.
    options (HeadOptions): What all heads take. `abstain` is about the least probable word of an
        entity. "O" in `class_weights` is a token outside all entities.
    """
    return EntityRecognizer(
        nlp.vocab,
        model,
        name,
        options,
        spans_key=spans_key,
        crf=crf,
        cross_sentences=cross_sentences,
    )


class EntityRecognizer(SpanHead):
    """Finds named entities that do not overlap.

    A doc without `ENT_IOB` is unknown and neither trains nor counts; one with `doc.ents = []` has
    no entities. Tokens whose `ent_iob` is missing in a doc that has others are unknown, too.
    Entities that a component before has set are kept, and so are tokens that it has blocked; what
    overlaps either is left out.
    """

    kind = KIND

    def __init__(
        self,
        vocab: Vocab,
        model: Model,
        name: str,
        options: HeadOptions,
        *,
        spans_key: str | None,
        crf: bool,
        cross_sentences: bool,
    ):
        super().__init__(vocab, model, name, options, crf=crf, cross_sentences=cross_sentences)
        self.spans_key = spans_key

    def score_options(self) -> dict[str, Any]:
        return {"spans_key": self.spans_key}

    def spans_in_gold(self, doc: Doc) -> Iterable[Span]:
        return entities_of(doc, self.spans_key)

    def gold_spans(self, example: Example) -> tuple[list[SpanTuple], list[int]] | None:
        if self.spans_key is not None and self.spans_key in example.reference.spans:
            return gold_group(example, self.spans_key)
        iob = example.reference.to_array(ENT_IOB)
        if not iob.any():
            return None
        missing = np.flatnonzero(iob == 0)
        if same_tokens(example):
            spans = [(ent.start, ent.end, ent.label_) for ent in example.reference.ents]
            return spans, missing.tolist()
        spans, unknown = align_spans(example, example.reference.ents)
        y2x = example.alignment.y2x
        unknown.extend(int(i) for j in missing for i in y2x[int(j)])
        return spans, unknown

    def set_annotations(self, docs: Iterable[Doc], predictions: SpanPredictions) -> None:
        """Write the predicted entities into the docs."""
        docs = list(docs)
        is_new = self.spans_key is None and predictions.probs is None
        if not is_new or any(
            doc.has_annotation(ENT_IOB) or SPANS_KEY in doc.user_data for doc in docs
        ):
            super().set_annotations(docs, predictions)
            return
        array: Any = self._iob(predictions, sum(map(len, docs)))
        for doc, start in zip(docs, predictions.starts.tolist()):
            if len(doc):
                self.lend_labels(doc)
                doc.from_array([ENT_IOB, ENT_TYPE], array[start : start + len(doc)])

    def _iob(self, predictions: SpanPredictions, n_words: int) -> np.ndarray:
        """RETURNS (ndarray): `ent_iob` and `ent_type` of all words, uint64 (n_words, 2)."""
        start, end, types = predictions.spans
        array = np.zeros((n_words, 2), np.uint64)
        array[:, 0] = IOB_OUTSIDE
        if len(start):
            which = np.repeat(np.arange(len(start)), end - start)
            rows = np.arange(len(which)) - (np.cumsum(end - start) - end)[which]
            hashes = np.array([self.vocab.strings.add(x) for x in self.cfg["labels"]], np.uint64)
            array[rows, 0] = IOB_INSIDE
            array[start, 0] = IOB_BEGIN
            array[rows, 1] = hashes[types[which]]
        return array

    def write_spans(self, doc: Doc, spans: list[HashedSpan]) -> None:
        if self.spans_key is not None:
            set_group(doc, self.spans_key, spans)
        elif doc.has_annotation(ENT_IOB):
            blocked = blocked_tokens(doc)
            taken = {token.i for ent in doc.ents for token in ent}.union(blocked)
            ents = [
                Span(doc, start, end, label=label)
                for start, end, label in spans
                if taken.isdisjoint(range(start, end))
            ]
            doc.set_ents(
                filter_spans([*doc.ents, *ents]),
                blocked=[doc[i : i + 1] for i in blocked],
                default="outside",
            )
        elif len(doc):
            array: Any = np.zeros((len(doc), 2), np.uint64)
            array[:, 0] = IOB_OUTSIDE
            for start, end, label in spans:
                array[start:end, 0] = IOB_INSIDE
                array[start, 0] = IOB_BEGIN
                array[start:end, 1] = label
            doc.from_array([ENT_IOB, ENT_TYPE], array)


def blocked_tokens(doc: Doc) -> list[int]:
    """RETURNS (List[int]): Tokens that must not be in an entity: `doc.set_ents(blocked=...)`."""
    iob, types = doc.to_array([ENT_IOB, ENT_TYPE]).T
    return np.flatnonzero((iob == IOB_BEGIN) & (types == 0)).tolist()


def entities_of(doc: Doc, spans_key: str | None) -> Iterable[Span]:
    """RETURNS (Iterable[Span]): The spans under the key if the doc has it, or `doc.ents`."""
    if spans_key is not None and spans_key in doc.spans:
        return doc.spans[spans_key]
    return doc.ents
