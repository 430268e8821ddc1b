"""Named entities: `doc.ents`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from spacy.attrs import ENT_IOB, ENT_TYPE
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import filter_spans
from thinc.api import Model

from .base import DEFAULT_TOKEN_MODEL, same_tokens
from .spans import SpanHead, SpanPredictions, SpanTuple, align_spans

IOB_INSIDE, IOB_OUTSIDE, IOB_BEGIN = 1, 2, 3  # spaCy's token.ent_iob; 0 is "not known"


@Language.factory(
    "multitask_ner",
    assigns=["doc.ents", "token.ent_iob", "token.ent_type"],
    default_config={
        "model": DEFAULT_TOKEN_MODEL,
        "loss_weight": 1.0,
        "label_smoothing": 0.0,
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
    loss_weight: float,
    label_smoothing: float,
    scorer: Callable | None,
) -> EntityRecognizer:
    """Create an entity recogniser that writes `doc.ents`.

    model (Model): See `spacy_multitask.TokenClassifier.v1`.
    loss_weight (float): Factor on this head's loss.
    label_smoothing (float): Probability mass spread over all labels in training.
    scorer (Optional[Callable]): Scores examples.
    """
    return EntityRecognizer(
        nlp.vocab,
        model,
        name,
        loss_weight=loss_weight,
        label_smoothing=label_smoothing,
        scorer=scorer,
    )


class EntityRecognizer(SpanHead):
    """Finds named entities that do not overlap.

    A doc without `ENT_IOB` is unknown and neither trains nor counts; one with `doc.ents = []` has
    no entities. Tokens whose `ent_iob` is missing in a doc that has others are unknown, too.
    Entities that a component before has set are kept; what overlaps them is left out.
    """

    labels_doc = "doc.ents"

    def gold_labels(self, doc: Doc) -> set[str]:
        return {ent.label_ for ent in doc.ents}

    def gold_spans(self, example: Example) -> tuple[list[SpanTuple], list[int]] | None:
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
        for doc, spans in self.doc_spans(docs, predictions):
            if doc.ents:
                ents = [Span(doc, start, end, label=label) for start, end, label in spans]
                taken = {token.i for ent in doc.ents for token in ent}
                ents = [ent for ent in ents if not any(token.i in taken for token in ent)]
                doc.set_ents(filter_spans([*doc.ents, *ents]), default="outside")
            elif len(doc):
                array = np.zeros((len(doc), 2), np.uint64)
                array[:, 0] = IOB_OUTSIDE
                for start, end, label in spans:
                    array[start:end, 0] = IOB_INSIDE
                    array[start, 0] = IOB_BEGIN
                    array[start:end, 1] = label
                doc.from_array([ENT_IOB, ENT_TYPE], array)
