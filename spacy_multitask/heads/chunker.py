"""Syntactic chunks: flat, labelled spans in `doc.spans`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab
from thinc.api import Model
from torch import nn

from ..registering import with_types
from .base import DEFAULT_TOKEN_MODEL
from .spans import SpanHead, SpanPredictions, SpanTuple, gold_group, set_group


@Language.factory(
    "multitask_chunker",
    assigns=["doc.spans"],
    default_config={
        "model": DEFAULT_TOKEN_MODEL,
        "spans_key": "np",
        "crf": False,
        "loss_weight": 1.0,
        "balance": None,
        "label_smoothing": 0.0,
        "class_weights": None,
        "abstain": 0.0,
        "corpora": None,
        "scorer": {"@scorers": "spacy_multitask.chunk_scorer.v1"},
    },
    default_score_weights={"spans_np_f": 1.0, "spans_np_p": 0.0, "spans_np_r": 0.0},
)
@with_types
def make_chunker(
    nlp: Language,
    name: str,
    model: Model,
    spans_key: str,
    crf: bool,
    loss_weight: float,
    balance: nn.Module | None,
    label_smoothing: float,
    class_weights: dict[str, float] | None,
    abstain: float,
    corpora: list[str] | None,
    scorer: Callable | None,
) -> Chunker:
    """Create a chunker that writes flat, labelled spans to `doc.spans[spans_key]`.

    model (Model): See `spacy_multitask.TokenClassifier.v1`.
    spans_key (str): Key of `doc.spans`, for gold and for predictions.
    crf (bool): Whether to learn which label follows which, and to take the loss over whole
        sequences. Goes with neither `label_smoothing` nor `class_weights`.
    loss_weight (float): Factor on this head's loss.
    balance (Optional[Module]): What learns a factor on this head's loss besides, such as
        `spacy_multitask.uncertainty_weight.v1`.
    label_smoothing (float): Probability mass spread over all labels in training.
    class_weights (Optional[Dict[str, float]]): Factors on the loss of gold items, by label;
        "O" is a token outside all chunks. Labels that are not named have 1.
    abstain (float): Probability below which a chunk is left out: that of its least probable word.
    corpora (Optional[List[str]]): Names of the training corpora that this head learns from and is
        scored on, if not all: for corpora that annotate one layer after different schemes.
    scorer (Optional[Callable]): Scores examples.
    """
    return Chunker(
        nlp.vocab,
        model,
        name,
        spans_key=spans_key,
        crf=crf,
        loss_weight=loss_weight,
        balance=balance,
        label_smoothing=label_smoothing,
        class_weights=class_weights,
        abstain=abstain,
        corpora=corpora,
        scorer=scorer,
    )


def _chunks(doc: Doc) -> list[Span]:
    return list(doc.spans.get("np", []))


def _noun_chunks(doc: Doc) -> list[Span]:
    return [span for span in _chunks(doc) if span.label_ == "NP"]


# `doc.noun_chunks` itself is spaCy's and needs a parse.
for _name, _getter in (("chunks", _chunks), ("noun_chunks", _noun_chunks)):
    if not Doc.has_extension(_name):
        Doc.set_extension(_name, getter=_getter)


class Chunker(SpanHead):
    """Finds chunks (NP, VP, PP ...) that do not overlap.

    A doc without `doc.spans[spans_key]` is unknown and neither trains nor counts; one where the
    group is empty has no chunks.
    """

    def __init__(
        self,
        vocab: Vocab,
        model: Model,
        name: str,
        *,
        spans_key: str,
        crf: bool,
        loss_weight: float,
        balance: nn.Module | None,
        label_smoothing: float,
        class_weights: dict[str, float] | None,
        abstain: float,
        corpora: list[str] | None,
        scorer: Callable | None,
    ):
        super().__init__(
            vocab,
            model,
            name,
            crf=crf,
            loss_weight=loss_weight,
            balance=balance,
            label_smoothing=label_smoothing,
            class_weights=class_weights,
            abstain=abstain,
            corpora=corpora,
            scorer=scorer,
        )
        self.spans_key = spans_key
        self.labels_doc = f'doc.spans["{spans_key}"]'

    def score_options(self) -> dict[str, Any]:
        return {"spans_key": self.spans_key}

    def gold_labels(self, doc: Doc) -> set[str]:
        return {span.label_ for span in doc.spans.get(self.spans_key, [])}

    def gold_spans(self, example: Example) -> tuple[list[SpanTuple], list[int]] | None:
        return gold_group(example, self.spans_key)

    def set_annotations(self, docs: Iterable[Doc], predictions: SpanPredictions) -> None:
        """Write the predicted chunks into the docs."""
        for doc, spans in self.doc_spans(docs, predictions):
            set_group(doc, self.spans_key, spans)
