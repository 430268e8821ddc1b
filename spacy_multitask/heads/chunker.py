"""Syntactic chunks: flat, labelled spans in `doc.spans`."""

from collections.abc import Iterable
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab
from thinc.api import Model

from .architectures import default_model
from .gold import SpanTuple, gold_group
from .groups import HashedSpan, placed_spans, set_group
from .items import group_items
from .kinds import HeadKind, Recipe, Score, register, spans_in
from .options import HeadOptions, head_factory
from .spans import SpanHead
from .teaching import TAUGHT

KEY = "np"  # of doc.spans, by default
KIND = register(
    HeadKind(
        name="chunker",
        factories=("multitask_chunker",),
        learns_from=f'doc.spans["{KEY}"]',
        items="chunks",
        count=spans_in(KEY),
        is_in_groups=True,
        scores=(Score("spans_*_f", group_items, title="chunks", unit="span"),),
        place=90,
        recipe=Recipe(spans_key=KEY, initialize=TAUGHT),
    )
)


@head_factory(
    "multitask_chunker",
    assigns=["doc.spans"],
    default_config={
        "model": default_model("TokenClassifier"),
        "spans_key": KEY,
        "crf": False,
        "cross_sentences": False,
        "scorer": {"@scorers": "spacy_multitask.chunk_scorer.v1"},
    },
    default_score_weights={"spans_np_f": 1.0, "spans_np_p": 0.0, "spans_np_r": 0.0},
)
def make_chunker(
    nlp: Language,
    name: str,
    model: Model,
    options: HeadOptions,
    spans_key: str,
    crf: bool,
    cross_sentences: bool,
) -> "Chunker":
    """Create a chunker that writes flat, labelled spans to `doc.spans[spans_key]`.

    model (Model): See `spacy_multitask.TokenClassifier.v1`.
    spans_key (str): Key of `doc.spans`, for gold and for predictions.
    crf (bool): Whether to learn which label follows which, and to take the loss over whole
        sequences. Goes with neither `label_smoothing` nor `class_weights`.
    cross_sentences (bool): Whether spans may go on where a component before has set the start of a
        sentence. As with spaCy's recogniser they may not.
    options (HeadOptions): What all heads take. `abstain` is about the least probable word of a
        chunk. "O" in `class_weights` is a token outside all chunks.
    """
    return Chunker(
        nlp.vocab,
        model,
        name,
        options,
        spans_key=spans_key,
        crf=crf,
        cross_sentences=cross_sentences,
    )


# Where a chunker says in doc.user_data that it has another key.
OTHER_KEY = "spacy_multitask_chunks"


def _chunks(doc: Doc) -> list[Span]:
    return placed_spans(doc, doc.user_data.get(OTHER_KEY, KEY))


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

    kind = KIND

    def __init__(
        self,
        vocab: Vocab,
        model: Model,
        name: str,
        options: HeadOptions,
        *,
        spans_key: str,
        crf: bool,
        cross_sentences: bool,
    ):
        super().__init__(vocab, model, name, options, crf=crf, cross_sentences=cross_sentences)
        self.spans_key = spans_key

    @property
    def learns_from(self) -> str:
        return f'doc.spans["{self.spans_key}"]'

    def score_options(self) -> dict[str, Any]:
        return {"spans_key": self.spans_key}

    def spans_in_gold(self, doc: Doc) -> Iterable[Span]:
        return doc.spans.get(self.spans_key, [])

    def gold_spans(self, example: Example) -> tuple[list[SpanTuple], list[int]] | None:
        return gold_group(example, self.spans_key)

    def write_spans(self, doc: Doc, spans: list[HashedSpan]) -> None:
        set_group(doc, self.spans_key, spans)
        if self.spans_key != KEY and KEY not in doc.spans:
            doc.user_data.setdefault(OTHER_KEY, self.spans_key)
