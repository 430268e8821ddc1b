"""Labels of spans that are there already, such as whether an entity is negated: `span._.NAME`."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab
from thinc.api import Model
from torch import Tensor

from ..corpus.survey import Survey
from ..encoder.batch import PackedBatch
from ..given import given_docs
from ..layers.pooled import SpanClassifier as SpanLayer
from .architectures import default_model
from .base import Head
from .cats import check_choice
from .gold import same_tokens
from .items import Items
from .kinds import HeadKind, Recipe, Score, Second, register
from .labelled import with_rows
from .learning import CPU
from .options import HeadOptions, head_factory
from .values import choices_of, known_rows, loss_of_values, n_of_values

HIDDEN = 256
FLAGS = {"True": True, "False": False}  # labels that stand for values of their own
SEVERAL = "spans with several labels"  # a part of the gold
# What spaCy makes of an attribute of a span in doc.user_data: first and last character follow.
PREFIX = "._."
Place = tuple[int, int]


def _values(doc: Doc) -> list[Any]:
    """RETURNS (List[Any]): Labels in any attribute of any span."""
    data = doc.user_data.items()
    return [
        value
        for key, value in data
        if isinstance(key, tuple) and key[0] == PREFIX and key[2] is not None
        if not key[1].endswith("_prob")
        if isinstance(value, str | bool | list | tuple | dict) and value != ""
    ]


def _count_several(doc: Doc) -> int | None:
    return sum(isinstance(value, list | tuple | dict) for value in _values(doc)) or None


def _best_items(example: Example, head: Any, key: str) -> Items | None:
    return None if getattr(head, "exclusive_classes", False) is not True else head.items(example)


def _true_items(example: Example, head: Any, key: str) -> Items | None:
    return None if getattr(head, "exclusive_classes", True) is not False else head.items(example)


def _scores(train: Survey, dev: Survey) -> tuple[str, ...]:
    return ("attr_f",) if train.known[SEVERAL] else ("attr_acc",)


KIND = register(
    HeadKind(
        name="span_classifier",
        factories=("multitask_span_classifier",),
        learns_from="attributes of spans, span._.NAME",
        items="spans with a label",
        count=lambda doc: len(_values(doc)) or None,
        parts={SEVERAL: _count_several},
        scores=(
            Score("attr_acc", _best_items, title="labels of spans", unit="span"),
            Score("attr_f", _true_items, title="labels of spans", unit="span"),
        ),
        place=75,
        recipe=Recipe(
            name_option="attribute",
            options=lambda train: {"exclusive_classes": not train.known[SEVERAL]},
            scores=_scores,
            second=Second(),
        ),
    )
)


@head_factory(
    "multitask_span_classifier",
    requires=["doc.ents"],
    default_config={
        "model": default_model("SpanClassifier"),
        "spans_key": None,
        "exclusive_classes": True,
        "threshold": 0.5,
        "scorer": {"@scorers": "spacy_multitask.span_classifier_scorer.v1"},
    },
    default_score_weights={"attr_acc": 1.0, "attr_f": 0.0},
)
def make_span_classifier(
    nlp: Language,
    name: str,
    model: Model,
    options: HeadOptions,
    attribute: str,
    spans_key: str | None,
    exclusive_classes: bool,
    threshold: float,
) -> "SpanClassifier":
    """Create a head that labels spans which are there already, in `span._.ATTRIBUTE`.

    model (Model): See `spacy_multitask.SpanClassifier.v1`.
    attribute (str): Name of the attribute, for gold and for predictions.
    spans_key (Optional[str]): The spans are those of `doc.spans[spans_key]`; None for `doc.ents`.
    exclusive_classes (bool): Whether exactly one label is true of each span. Then the attribute is
        a string, or True or False; else a list of those that are true.
    threshold (float): Probability from which a label counts as true where several may be, if
        `spacy multitask calibrate` has not found one for the label.
    options (HeadOptions): What all heads take. With exclusive classes a span gets None if no label
        reaches `abstain`; else that is a lower limit on the thresholds. `class_weights` are of
        labels that are true.
    """
    return SpanClassifier(
        nlp.vocab,
        model,
        name,
        options,
        attribute=attribute,
        spans_key=spans_key,
        exclusive_classes=exclusive_classes,
        threshold=threshold,
    )


class Labelling(NamedTuple):
    """Spans of a batch with what is known of them.

    spans (ndarray): Rows of each in the packed batch, int64 (n_spans, 2).
    values (ndarray): As in `values.py`, (n_spans, n_labels).
    """

    spans: np.ndarray
    values: np.ndarray


class SpanClassifier(Head):
    """Labels spans: in training those of the gold doc, in prediction those that the doc has.

    A span whose attribute was never set, or is None, is unknown and neither trains nor counts. In a
    list of labels those that are not in it are false; in a dict of labels, as in `doc.cats`, those
    that are not in it are unknown. Spans with the same place share their attributes, as spaCy keeps
    them.
    """

    kind = KIND
    model_name = "span_classifier"

    def __init__(
        self,
        vocab: Vocab,
        model: Model,
        name: str,
        options: HeadOptions,
        *,
        attribute: str,
        spans_key: str | None,
        exclusive_classes: bool,
        threshold: float,
    ):
        super().__init__(vocab, model, name, options)
        if not attribute.isidentifier():
            raise ValueError(
                f"attribute = {attribute!r} of {name!r} is no name for span._.NAME: it must be "
                "made of letters, digits and _, and not begin with a digit."
            )
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold = {threshold} of {name!r} must be in [0, 1].")
        if not Span.has_extension(attribute):
            Span.set_extension(attribute, default=None)
        _, method, getter, setter = Span.get_extension(attribute)
        if method is not None or (getter is not None and setter is None):
            raise ValueError(
                f"attribute = {attribute!r} of {name!r} is computed by a function, so that nothing "
                "can be written to it. Choose another name."
            )
        self.attribute, self.prob = attribute, f"{attribute}_prob"
        if not Span.has_extension(self.prob):
            Span.set_extension(self.prob, default=None)
        # Not `spans_key`, where gold of others is.
        self.source = spans_key
        self.exclusive_classes = exclusive_classes
        self.default_threshold = threshold
        self.cfg["labels"] = []

    @property
    def learns_from(self) -> str:
        where = "doc.ents" if self.source is None else f'doc.spans["{self.source}"]'
        return f"span._.{self.attribute} of {where}"

    @property
    def n_out(self) -> int:
        return len(self.cfg["labels"])

    def make_module(self, width: int) -> SpanLayer:
        return SpanLayer(width, self.n_out, HIDDEN)

    def grow(self, entry: str, label: str) -> None:
        module = self.module
        others = slice(0, self.n_out) if self.exclusive_classes else None
        module.output = with_rows(module.output, self.n_out, 1, others)

    def score_options(self) -> dict[str, Any]:
        return {"items": self.items, "exclusive": self.exclusive_classes}

    # Training

    def spans_of(self, doc: Doc) -> list[Span]:
        """RETURNS (List[Span]): Spans that are labelled, those without tokens apart."""
        spans = doc.ents if self.source is None else doc.spans.get(self.source, [])
        return [span for span in spans if len(span)]

    def said_of(self, span: Span) -> dict[str, float] | None:
        """RETURNS (Optional[Dict[str, float]]): What a gold doc says of a span: a value for each
        label, 0 for those that are not in it only if the attribute is a list; None if nothing.
        RAISES (ValueError): If the attribute holds something else.
        """
        if Span.get_extension(self.attribute)[2] is not None:
            value = span._.get(self.attribute)
        else:
            # What was never set is unknown, whatever others have made the default.
            key = PREFIX, self.attribute, span.start_char, span.end_char
            data: dict[Any, Any] = span.doc.user_data
            value = data.get(key)
        if value is None or value == "":
            return None
        if self.exclusive_classes:
            if isinstance(value, str | bool | np.bool_):
                return {str(value): 1.0}
        elif isinstance(value, dict):
            return {str(label): float(p) for label, p in value.items()}
        elif isinstance(value, list | tuple | set | frozenset):
            return {**dict.fromkeys(self.cfg["labels"], 0.0), **dict.fromkeys(map(str, value), 1.0)}
        wanted = "a string, True or False" if self.exclusive_classes else "a list or a dict"
        raise ValueError(
            f"span._.{self.attribute} of {span.text!r} is {value!r}, but {self.name!r} takes "
            f"{wanted}. Set exclusive_classes = {str(not self.exclusive_classes).lower()}, or "
            "correct the data."
        )

    def collect_labels(self, examples: Iterable[Example]) -> dict[str, list[str]]:
        labels: set[str] = set()
        self.cfg["labels"] = []
        for example in examples:
            for span in self.spans_of(example.reference):
                labels.update(self.said_of(span) or ())
        if self.exclusive_classes and labels:
            check_choice(self.name, labels)
        return {"labels": sorted(labels)}

    def known_spans(self, example: Example) -> list[tuple[Place, dict[str, float]]]:
        """RETURNS (List[tuple]): First and end token in the predicted doc of gold spans, with what
        is known of them. Spans that the tokenization cuts are left out."""
        is_same = same_tokens(example)
        found = []
        for span in self.spans_of(example.reference):
            said = self.said_of(span)
            if said is None:
                continue
            aligned = [span]
            if not is_same:
                aligned = example.get_aligned_spans_y2x([span], allow_overlap=True)
            found += [((own.start, own.end), said) for own in aligned]
        return found

    def gold(self, examples: list[Example]) -> Labelling | None:
        index = {label: k for k, label in enumerate(self.cfg["labels"])}
        spans, rows = [], []
        offset = 0
        for example in examples:
            for (start, end), said in self.known_spans(example):
                row = np.full(len(index), np.nan, np.float32)
                for label, value in said.items():
                    if label in index:
                        row[index[label]] = value
                    else:
                        self.meet(label)
                spans.append((offset + start, offset + end))
                rows.append(row)
            offset += len(example.predicted)
        if not rows:
            return None
        values = np.stack(rows)
        known = known_rows(values, exclusive=self.exclusive_classes)
        return Labelling(np.array(spans)[known], values[known]) if len(known) else None

    def loss(self, module: SpanLayer, batch: PackedBatch, gold: Labelling) -> Tensor:
        logits = module(batch.word_vectors, gold.spans)
        return loss_of_values(
            logits,
            gold.values,
            exclusive=self.exclusive_classes,
            weight=self.class_factors(self.cfg["labels"], logits.device),
            label_smoothing=self.label_smoothing,
        )

    def n_items(self, gold: Labelling) -> float:
        weight = self.class_factors(self.cfg["labels"], CPU)
        return n_of_values(gold.values, exclusive=self.exclusive_classes, weight=weight)

    # Prediction

    def threshold(self, label: str) -> float:
        """RETURNS (float): Probability from which a label counts as true."""
        own = self.cfg.get("thresholds", {}).get(label, self.default_threshold)
        return max(own, self.abstain)

    def predict(self, docs: Iterable[Doc]) -> list[np.ndarray]:
        """RETURNS (List[ndarray]): For each doc the probability of each label of each of its spans,
        float32 (n_spans, n_labels)."""
        docs = list(docs)
        batch = self.packed(docs)  # without spans, too: the encoder counts who has read it
        places = [[(span.start, span.end) for span in self.spans_of(doc)] for doc in docs]
        rows = [(s + o, e + o) for own, o in zip(places, batch.starts.tolist()) for s, e in own]
        probs = np.zeros((0, self.n_out), np.float32)
        if rows:
            logits = self.module.project(batch.word_vectors, np.array(rows)) / self.temperature()
            probs = (
                (logits.softmax(1) if self.exclusive_classes else logits.sigmoid()).cpu().numpy()
            )
        return np.split(probs, np.cumsum(list(map(len, places)))[:-1])

    def probs(self, docs: Doc | Iterable[Doc]) -> list[np.ndarray]:
        """RETURNS (List[ndarray]): As `predict`."""
        return self.predict(given_docs(docs, "probs"))

    def set_annotations(self, docs: Iterable[Doc], predictions: list[np.ndarray]) -> None:
        """Write the predicted labels to the attributes of the spans, and if it is asked for the
        probabilities to `span._.NAME_prob`: of several labels that may be true that of each."""
        for doc, probs in zip(docs, predictions):
            for span, row in zip(self.spans_of(doc), probs):
                span._.set(self.attribute, self._value(row))
                sure = row.max() if self.exclusive_classes else row
                span._.set(self.prob, sure.tolist() if self.writes_probs else None)

    def _value(self, probs: np.ndarray) -> str | bool | list[str] | None:
        """RETURNS (Union[str, bool, List[str], None]): What is written for these probabilities,
        (n_labels,)."""
        labels = self.cfg["labels"]
        if not self.exclusive_classes:
            return [label for label, p in zip(labels, probs) if p >= self.threshold(label)]
        best = int(probs.argmax())
        if probs[best] < self.abstain:
            return None
        return FLAGS[labels[best]] if set(labels) <= FLAGS.keys() else labels[best]

    def logits_at(self, docs: list[Doc], gold: Labelling) -> dict[str, Any]:
        logits = self._logits(docs, gold)
        return {"": choices_of(logits, gold.values, exclusive=self.exclusive_classes)}

    def gold_values(self, examples: list[Example]) -> tuple[np.ndarray, np.ndarray] | None:
        gold = self.gold(list(map(self._hide_foreign_gold, examples)))
        if gold is None or self.exclusive_classes:
            return None
        return self._logits([eg.predicted for eg in examples], gold), gold.values

    def _logits(self, docs: list[Doc], gold: Labelling) -> np.ndarray:
        return self.module.project(self.packed(docs).word_vectors, gold.spans).cpu().numpy()

    def items(self, example: Example) -> Items | None:
        """RETURNS (Optional[Items]): Spans with their labels. Gold spans that the predicted doc
        lacks are the mistakes of whoever finds spans, and not in it."""
        there = {(span.start, span.end): span for span in self.spans_of(example.predicted)}
        gold: set[tuple] = set()
        own: set[tuple] = set()
        for place, said in self.known_spans(example):
            if place not in there:
                continue
            value = there[place]._.get(self.attribute)
            labels = value if isinstance(value, list | tuple) else [value]
            mine = {"" if label is None else str(label) for label in labels}
            gold |= {(*place, label) for label, p in said.items() if p > 0}
            own |= {(*place, x) for x in mine if self.exclusive_classes or x in said}
        return Items(gold, own) if gold or own else None
