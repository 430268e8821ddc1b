"""spaCy's own heads that would learn from unknown as from negative, taught to tell them apart.

spaCy's tagger, morphologizer, lemmatizer, parser and ner leave out what is not annotated. Its
textcat, spancat and senter do not: a doc of a corpus without topics counts as a doc of no topic,
one without sentence boundaries as one sentence. Those are here again, with the same options.
"""

from collections.abc import Callable, Iterable
from typing import Any

from spacy.attrs import DEP, LEMMA, MORPH, POS, SENT_START
from spacy.language import Language
from spacy.pipeline import SentenceRecognizer as SpacySentenceRecognizer
from spacy.pipeline.spancat import SpanCategorizer as SpacySpanCategorizer
from spacy.pipeline.spancat import Suggester
from spacy.pipeline.textcat import TextCategorizer as SpacyTextCategorizer
from spacy.pipeline.textcat_multilabel import (
    MultiLabel_TextCategorizer as SpacyMultiLabelTextCategorizer,
)
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import Model

from ..registering import refuse_quoted_numbers
from .items import Items, group_items, span_items, token_items
from .kinds import HeadKind, Score, register, spans_in, words_with

try:
    from spacy.pipeline.factories import register_factories
except ImportError:  # an older spaCy, which registers its factories on import
    pass
else:
    register_factories()  # else they come with the first pipeline, which may not be there yet


# The parser is not scored on punctuation.
PUNCTUATION = ("p", "punct")


def _tree_items(example: Example, head: Any, key: str) -> Items | None:
    if not example.reference.has_annotation("DEP"):
        return None
    heads, deps = example.get_aligned_parse(projectivize=False)
    gold = {(i, h, d.lower()) for i, (h, d) in enumerate(zip(heads, deps)) if d}
    own = {(t.i, t.head.i, t.dep_.lower()) for t in example.predicted if deps[t.i]}
    gold, own = ({item for item in x if item[-1] not in PUNCTUATION} for x in (gold, own))
    return Items(gold, own)


def _bare_tree_items(example: Example, head: Any, key: str) -> Items | None:
    items = _tree_items(example, head, key)
    if items is None:
        return None
    gold, own = ({(i, h, "") for i, h, _ in side} for side in items[:2])
    return Items(gold, own)


def _sentence_items(example: Example, head: Any, key: str) -> Items | None:
    reference, predicted = example.reference, example.predicted
    if not reference.has_annotation("SENT_START"):
        return None
    own = predicted.sents if predicted.has_annotation("SENT_START") else ()
    return span_items(example, reference.sents, own)


def _sentences(doc: Doc) -> int | None:
    # The first word begins a sentence in any case.
    rest = doc.to_array(SENT_START)[1:]
    return 1 + int((rest == 1).sum()) if rest.any() else None


MORPHOLOGIZER = register(
    HeadKind(
        name="morphologizer",
        factories=("morphologizer",),
        learns_from="token.morph or token.pos_",
        items="words with features",
        count=words_with(MORPH, POS),
        scores=(
            Score("pos_acc", token_items("POS"), title="parts of speech", unit="word"),
            Score(
                "morph_acc",
                token_items("MORPH", has_labels=False),
                title="morphology",
                unit="word",
            ),
        ),
        place=20,
    )
)
LEMMATIZER = register(
    HeadKind(
        name="trainable_lemmatizer",
        factories=("trainable_lemmatizer",),
        learns_from="token.lemma_",
        items="lemmas",
        count=words_with(LEMMA),
        scores=(
            Score(
                "lemma_acc",
                token_items("LEMMA", has_labels=False),
                title="lemmas",
                unit="word",
            ),
        ),
        place=30,
    )
)
PARSER = register(
    HeadKind(
        name="parser",
        factories=("parser", "beam_parser"),
        learns_from="token.head and token.dep_",
        items="words with a relation",
        count=words_with(DEP),
        scores=(
            Score("dep_uas", _bare_tree_items, is_main=False),
            Score("dep_las", _tree_items, title="dependencies", unit="word"),
        ),
        place=40,
    )
)
SENTER = register(
    HeadKind(
        name="senter",
        factories=("senter", "partial_senter"),
        learns_from="token.is_sent_start",
        items="sentences",
        count=_sentences,
        scores=(Score("sents_f", _sentence_items, title="sentences", unit="span"),),
        place=50,
    )
)
SPANCAT = register(
    HeadKind(
        name="spancat",
        factories=("spancat", "spancat_singlelabel", "partial_spancat"),
        learns_from='doc.spans["sc"]',
        items="spans",
        count=spans_in("sc"),
        is_in_groups=True,
        scores=(Score("spans_*_f", group_items, title="spans", unit="span"),),
        place=95,
    )
)


def _partial(factory: str) -> Callable:
    """Register a factory of another name, with the options of spaCy's."""
    meta = Language.get_factory_meta(factory)
    register_factory = Language.factory(
        f"partial_{factory}",
        assigns=meta.assigns,
        default_config=dict(meta.default_config or {}),
        default_score_weights=dict(meta.default_score_weights or {}),
    )
    return lambda make: register_factory(refuse_quoted_numbers(make))


@_partial("textcat")
def make_partial_textcat(
    nlp: Language, name: str, model: Model, threshold: float, scorer: Callable | None
) -> "PartialTextCategorizer":
    """Create spaCy's `textcat` for training data in which some docs have no `cats`.

    Options are those of `textcat`, https://spacy.io/api/textcategorizer
    """
    return PartialTextCategorizer(nlp.vocab, model, name, threshold=threshold, scorer=scorer)


@_partial("textcat_multilabel")
def make_partial_textcat_multilabel(
    nlp: Language, name: str, model: Model, threshold: float, scorer: Callable | None
) -> "PartialMultiLabelTextCategorizer":
    """Create spaCy's `textcat_multilabel` for training data in which some docs have no `cats`.

    Options are those of `textcat_multilabel`, https://spacy.io/api/textcategorizer
    """
    return PartialMultiLabelTextCategorizer(
        nlp.vocab, model, name, threshold=threshold, scorer=scorer
    )


@_partial("spancat")
def make_partial_spancat(
    nlp: Language,
    name: str,
    suggester: Suggester,
    model: Model,
    spans_key: str,
    scorer: Callable | None,
    threshold: float,
    max_positive: int | None,
) -> "PartialSpanCategorizer":
    """Create spaCy's `spancat` for training data in which some docs lack `doc.spans[spans_key]`.

    Options are those of `spancat`, https://spacy.io/api/spancategorizer
    """
    return PartialSpanCategorizer(
        nlp.vocab,
        model=model,
        suggester=suggester,
        name=name,
        spans_key=spans_key,
        negative_weight=None,
        allow_overlap=True,
        max_positive=max_positive,
        threshold=threshold,
        scorer=scorer,
        add_negative_label=False,
    )


@_partial("senter")
def make_partial_senter(
    nlp: Language, name: str, model: Model, overwrite: bool, scorer: Callable | None
) -> "PartialSentenceRecognizer":
    """Create spaCy's `senter` for training data in which some docs have no sentence boundaries.

    Options are those of `senter`, https://spacy.io/api/sentencerecognizer
    """
    return PartialSentenceRecognizer(nlp.vocab, model, name, overwrite=overwrite, scorer=scorer)


class _PartialCats(SpacyTextCategorizer):
    """Docs without `cats` give no gradient and do not count in the score."""

    def get_loss(self, examples: Iterable[Example], scores: Any) -> tuple[float, Any]:
        examples = list(examples)
        d_scores = self.model.ops.xp.zeros_like(scores)
        rows = [row for row, example in enumerate(examples) if example.reference.cats]
        if not rows:
            return 0.0, d_scores
        # Of these alone: the loss is a mean, whose count must not grow with docs that know nothing.
        loss, d_known = super().get_loss([examples[row] for row in rows], scores[rows])
        d_scores[rows] = d_known
        return loss, d_scores

    def score(self, examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
        known = [example for example in examples if example.reference.cats]
        if not known:
            return {"cats_score": None, "cats_micro_f": None, "cats_macro_f": None}
        return super().score(known, **kwargs)


class PartialTextCategorizer(_PartialCats):
    """spaCy's `textcat`; a doc without `cats` is unknown."""


class PartialMultiLabelTextCategorizer(_PartialCats, SpacyMultiLabelTextCategorizer):
    """spaCy's `textcat_multilabel`; a doc without `cats` is unknown."""


class PartialSpanCategorizer(SpacySpanCategorizer):
    """spaCy's `spancat`; a doc without its spans key is unknown. Its scorer knows that already."""

    def get_loss(
        self, examples: Iterable[Example], spans_scores: tuple[Any, Any]
    ) -> tuple[float, Any]:
        examples = list(examples)
        d_scores: Any = super().get_loss(examples, spans_scores)[1]
        lengths = self.model.ops.to_numpy(spans_scores[0].lengths).tolist()
        start = 0
        for example, n_spans in zip(examples, lengths, strict=True):
            if self.key not in example.reference.spans:
                d_scores[start : start + n_spans] = 0
            start += n_spans
        return float((d_scores**2).sum()), d_scores


class PartialSentenceRecognizer(SpacySentenceRecognizer):
    """spaCy's `senter`; a doc without sentence boundaries is unknown. Its scorer knows already."""

    def get_loss(self, examples: Iterable[Example], scores: list[Any]) -> tuple[float, list[Any]]:
        examples = list(examples)
        _, d_scores = super().get_loss(examples, scores)
        for i, example in enumerate(examples):
            if not example.reference.has_annotation("SENT_START"):
                d_scores[i] = self.model.ops.alloc2f(*d_scores[i].shape)
        return sum(float((d**2).sum()) for d in d_scores), d_scores
