"""Topics and other labels of whole documents: `doc.cats`."""

from collections.abc import Container, Iterable
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.vocab import Vocab
from thinc.api import Model, xp2torch
from torch import Tensor, nn

from ..corpus.survey import Survey
from ..encoder.batch import PackedBatch
from ..layers.classifier import Classifier
from ..layers.transfer import to_device, to_host
from .architectures import (
    add_linear_logits,
    copy_of,
    default_model,
    give,
    initialized,
    take_outputs,
)
from .base import Head
from .cats import ABSENT, BOTH_TRUE, ROUNDING, TRUE_ALONE, check_choice, check_values
from .items import Items
from .kinds import HeadKind, Recipe, Score, Second, register
from .labelled import with_rows
from .learning import CPU
from .options import HeadOptions, head_factory
from .scorers import best_cat, knows_cats
from .teaching import TAUGHT
from .values import choices_of, filled, known_rows, loss_of_values, n_of_values

MANY_TOPICS = 50  # from which on a bag of words takes more than it is worth
# As in configs/multitask.cfg.
LINEAR_MODEL = """
[components.{name}.model]
@architectures = "spacy_multitask.DocClassifier.v1"

[components.{name}.model.tok2vec]
@architectures = "spacy_multitask.EncoderListener.v1"

# Topics from the words alone, learned beside those from the encoder and added to them.
[components.{name}.model.linear_model]
@architectures = "spacy.TextCatBOW.v3"
exclusive_classes = true
ngram_size = 1
no_output_layer = true
length = 65536
nO = null"""


def _best_items(example: Example, head: Any, key: str) -> Items | None:
    """The label that is most true."""
    reference, predicted = example.reference, example.predicted
    labels = [*reference.cats, *predicted.cats] if head is None else list(head.labels)
    if not knows_cats(reference, labels, multi_label=False):
        return None
    return Items({(best_cat(reference, labels),)}, {(best_cat(predicted, labels),)})


def _true_items(example: Example, head: Any, key: str) -> Items | None:
    """All labels that are true, where several may be."""
    if getattr(head, "exclusive_classes", True):
        return None
    cats = example.reference.cats
    known = [label for label in head.labels if label in cats]
    if not known:
        return None
    said = head.true_labels(example.predicted)
    true = {(label,) for label in known if cats[label] > 0}  # as spaCy's Scorer
    return Items(true, {(label,) for label in known if label in said})


def _scores(train: Survey, dev: Survey) -> tuple[str, ...]:
    return ("cats_acc", "cats_score") if train.exclusive else ("cats_score",)


def _linear_model(name: str, train: Survey) -> str:
    return LINEAR_MODEL.format(name=name) if len(train.topics) <= MANY_TOPICS else ""


KIND = register(
    HeadKind(
        name="textcat",
        factories=("multitask_textcat", "textcat", "textcat_multilabel")
        + ("partial_textcat", "partial_textcat_multilabel"),
        learns_from="doc.cats",
        items="labelled docs",
        count=lambda doc: 1 if doc.cats else None,
        scores_unknown=True,
        scores=(
            Score("cats_acc", _best_items, title="topics", unit="doc"),
            # A mean over labels, which are scored one by one where several may be true.
            Score(
                "cats_score",
                label_items=_true_items,
                title="topics",
                unit="doc",
            ),
        ),
        place=60,
        recipe=Recipe(
            loss_weight=0.5,
            options=lambda train: {"exclusive_classes": train.exclusive},
            sections=_linear_model,
            scores=_scores,
            second=Second(),
            initialize=TAUGHT,
        ),
    )
)


@head_factory(
    "multitask_textcat",
    assigns=["doc.cats"],
    default_config={
        "model": default_model("DocClassifier"),
        "exclusive_classes": True,
        "threshold": 0.5,
        "absent": "unknown",
        "scorer": {"@scorers": "spacy_multitask.textcat_scorer.v1"},
    },
    default_score_weights={
        "cats_score": 1.0,
        "cats_acc": 0.0,
        "cats_micro_f": 0.0,
        "cats_macro_f": 0.0,
        "cats_score_desc": None,
    },
)
def make_textcat(
    nlp: Language,
    name: str,
    model: Model,
    options: HeadOptions,
    exclusive_classes: bool,
    threshold: float,
    absent: str,
) -> "TextCategorizer":
    """Create a text categorizer that writes `doc.cats`.

    model (Model): See `spacy_multitask.DocClassifier.v1`.
    exclusive_classes (bool): Whether exactly one label is true of each doc.
    threshold (float): Probability from which a label counts as true where several may be, if
        `spacy multitask calibrate` has not found one for the label.
    absent (str): What a label is that a doc with others lacks, where several may be true:
        "unknown", or "false" for data that gives true labels alone.
    options (HeadOptions): What all heads take. With exclusive classes a doc gets none of the labels
        in `doc.cats` if none reaches `abstain`; else each label whose truth and falsehood both stay
        below is left out. `class_weights` are of labels that are true.
    """
    return TextCategorizer(
        nlp.vocab,
        model,
        name,
        options,
        exclusive_classes=exclusive_classes,
        threshold=threshold,
        absent=absent,
    )


class TextCategorizer(Head):
    """Gives each doc a probability per label: they sum to one, or each stands for itself.

    A label that is absent from `doc.cats` is unknown, unless `absent` says otherwise. With
    exclusive classes a doc trains and counts if one of its labels is true; else each label that is
    present, true or false, does.
    """

    kind = KIND
    model_name = "doc_classifier"

    def __init__(
        self,
        vocab: Vocab,
        model: Model,
        name: str,
        options: HeadOptions,
        *,
        exclusive_classes: bool,
        threshold: float,
        absent: str,
    ):
        super().__init__(vocab, model, name, options)
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold = {threshold} of {name!r} must be in [0, 1].")
        if absent not in ABSENT:
            raise ValueError(f"absent = {absent!r} of {name!r} is not one of {', '.join(ABSENT)}.")
        self.exclusive_classes = exclusive_classes
        self.absent = absent
        self.cfg["labels"] = []
        # Not in cfg or the model, where what was saved takes the place of what is asked for.
        self.default_threshold = threshold
        self.linear_weight = model.attrs.get("linear_weight")
        self._blank_linear_model = self.linear_model and copy_of(self.linear_model)

    @property
    def n_out(self) -> int:
        return len(self.cfg["labels"])

    def grow(self, entry: str, label: str) -> None:
        if self.linear_model is not None:
            new = initialized(self._blank_linear_model, self.n_out + 1, self.name)
            if not take_outputs(self.linear_model, new, like_others=self.exclusive_classes):
                super().grow(entry, label)  # says that it can't
            self.model.replace_node(self.linear_model, new)
        others = slice(0, self.n_out) if self.exclusive_classes else None
        self.module.linear = with_rows(self.module.linear, self.n_out, 1, others)

    @property
    def linear_model(self) -> Model | None:
        """RETURNS (Optional[Model]): What labels docs by their words alone."""
        return self.model.maybe_get_ref("linear_model")

    def make_module(self, width: int) -> nn.Module:
        if self.linear_model is not None:
            new = initialized(self._blank_linear_model, self.n_out, self.name)
            self.model.replace_node(self.linear_model, new)
        return super().make_module(width)

    def _settle_in(self) -> None:
        super()._settle_in()
        if self.linear_weight is not None:
            self.model.attrs["linear_weight"] = self.linear_weight

    def score_options(self) -> dict[str, Any]:
        return {
            "labels": self.labels,
            "multi_label": not self.exclusive_classes,
            "absent": self.absent,
            "threshold": self.default_threshold,
            "thresholds": self.cfg.get("thresholds", {}),
        }

    def collect_labels(self, examples: Iterable[Example]) -> dict[str, list[str]]:
        labels: set[str] = set()
        has_gold = has_false = False
        for example in examples:
            cats = example.reference.cats
            labels |= cats.keys()
            if both := self._both_true(example.reference, labels):
                raise ValueError(BOTH_TRUE.format(name=self.name, both=both))
            check_values(self.name, cats)
            has_gold |= not self.exclusive_classes or any(v > 0 for v in cats.values())
            has_false |= any(value < 0.5 for value in cats.values())
        if self.exclusive_classes:
            check_choice(self.name, labels)
        elif labels and not has_false and self.absent != "false":
            self.warn_once("absent", TRUE_ALONE.format(name=self.name))
        # Of labels that exclude each other one must be true somewhere.
        return {"labels": sorted(labels) if has_gold else []}

    def _both_true(self, doc: Doc, labels: Container[str]) -> str:
        """RETURNS (str): Labels that can't be true of one doc, but are; "" if there are none."""
        if not self.exclusive_classes or len(doc.cats) < 2:
            return ""
        # Not where annotators were of two minds, with a half for each.
        true = [label for label, value in doc.cats.items() if value > 0.5 and label in labels]
        return " and ".join(map(repr, sorted(true)[:2])) if len(true) > 1 else ""

    def gold(self, examples: list[Example]) -> tuple[np.ndarray, np.ndarray] | None:
        """RETURNS (Optional[tuple]): Rows of docs with gold, int64 (n,), and their values per
        label, float32 (n, n_labels), NaN where unknown."""
        labels = self.cfg["labels"]
        values = np.full((len(examples), len(labels)), np.nan, np.float32)
        for row, example in enumerate(examples):
            cats = example.reference.cats
            if not cats or not len(example.predicted):
                continue
            if self.absent == "false" and not self.exclusive_classes:
                values[row] = 0.0
            for column, label in enumerate(labels):
                if label in cats:
                    values[row, column] = cats[label]
            if both := self._both_true(example.reference, labels):
                self.warn_once("exclusive", BOTH_TRUE.format(name=self.name, both=both))
            if not cats.keys() <= set(labels):
                self.meet(min(cats.keys() - set(labels)))
        if (np.abs(values - 0.5) > 0.5 + ROUNDING).any():
            for example in examples:
                own = {k: v for k, v in example.reference.cats.items() if k in labels}
                check_values(self.name, own)
        rows = known_rows(values, exclusive=self.exclusive_classes)
        return (rows, values[rows]) if len(rows) else None

    def loss(
        self, module: Classifier, batch: PackedBatch, gold: tuple[np.ndarray, np.ndarray]
    ) -> Tensor:
        rows, values = gold
        (index,) = to_device(batch.doc_vectors.device, rows)
        return self._loss_of(module(batch.doc_vectors[index]), values)

    def check_teachable(self) -> None:
        pass

    def is_all_known(self, example: Example) -> bool:
        gold = self.gold([self._hide_foreign_gold(example)])
        is_known = gold is not None and (self.exclusive_classes or not np.isnan(gold[1]).any())
        return not len(example.predicted) or is_known

    def lesson(self, example: Example, is_complete: bool) -> np.ndarray | None:
        """RETURNS (Optional[ndarray]): Values as in `gold`, (n_labels,)."""
        gold = self.gold([example])
        if gold is None:
            return None
        return filled(gold[1][0], exclusive=self.exclusive_classes, is_complete=is_complete)

    def taught(
        self, docs: list[Doc], gold: Any | None, lessons: dict[int, np.ndarray]
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """RETURNS (Dict[str, tuple]): Rows of docs and values, as in `gold`."""
        values = np.full((len(docs), self.n_out), np.nan, np.float32)
        values[list(lessons)] = np.stack(list(lessons.values()))
        if gold is not None:
            rows, known = gold
            values[rows] = np.where(np.isnan(known), values[rows], np.nan)
        rows = known_rows(values, exclusive=self.exclusive_classes)
        return {"": (rows, values[rows])} if len(rows) else {}

    def n_taught(self, items: tuple[np.ndarray, np.ndarray]) -> float:
        return n_of_values(items[1], exclusive=self.exclusive_classes)

    def loss_of_taught(
        self, module: Any, batch: PackedBatch, part: str, items: tuple[np.ndarray, np.ndarray]
    ) -> Tensor:
        rows, values = items
        (index,) = to_device(batch.doc_vectors.device, rows)
        logits = module(batch.doc_vectors[index])
        return loss_of_values(logits, values, exclusive=self.exclusive_classes)

    def loss_apart(self, docs: list[Doc], gold: tuple[np.ndarray, np.ndarray]) -> Tensor | None:
        # Of its own: what learns from the sum learns little once the encoder has fitted the gold.
        if self.linear_model is None:
            return None
        rows, values = gold
        array, backprop = self.linear_model.begin_update([docs[row] for row in rows.tolist()])
        logits = xp2torch(array).requires_grad_()
        logits.register_hook(lambda gradient: give(backprop, gradient))
        return self._loss_of(logits.to(self.shim.device), values)

    def _loss_of(self, logits: Tensor, values: np.ndarray) -> Tensor:
        return loss_of_values(
            logits,
            values,
            exclusive=self.exclusive_classes,
            weight=self.class_factors(self.cfg["labels"], logits.device),
            label_smoothing=self.label_smoothing,
        )

    def n_items(self, gold: tuple[np.ndarray, np.ndarray]) -> float:
        weight = self.class_factors(self.cfg["labels"], CPU)
        return n_of_values(gold[1], exclusive=self.exclusive_classes, weight=weight)

    def logits_at(self, docs: list[Doc], gold: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        rows, values = gold
        logits = self.doc_logits(docs).cpu().numpy()[rows]
        return {"": choices_of(logits, values, exclusive=self.exclusive_classes)}

    def gold_values(self, examples: list[Example]) -> tuple[np.ndarray, np.ndarray] | None:
        gold = self.gold(list(map(self._hide_foreign_gold, examples)))
        if gold is None or self.exclusive_classes:
            return None
        rows, values = gold
        return self.doc_logits([eg.predicted for eg in examples]).cpu().numpy()[rows], values

    def doc_logits(self, docs: list[Doc]) -> Tensor:
        """RETURNS (Tensor): Logits (n_docs, n_labels)."""
        module = self.module
        logits = self.packed(docs).project_docs(id(self.tok2vec), module.project)
        return add_linear_logits(self.model, docs, logits, is_train=False)[0]

    def predict(self, docs: Iterable[Doc]) -> np.ndarray:
        """RETURNS (ndarray): Probabilities, float32 (n_docs, n_labels)."""
        logits = self.doc_logits(list(docs)) / self.temperature()
        probs = logits.softmax(1) if self.exclusive_classes else logits.sigmoid()
        return to_host(probs)[0]

    def set_annotations(self, docs: Iterable[Doc], probs: np.ndarray) -> None:
        """Write the probabilities into the docs, in place of older ones of these labels."""
        labels = self.cfg["labels"]
        if not self.abstain and not np.isnan(probs).any():
            for doc, row in zip(docs, probs.tolist()):
                own = dict(zip(labels, row))
                if doc.cats:
                    own = {**{label: p for label, p in doc.cats.items() if label not in own}, **own}
                doc.cats = own
            return
        certain = probs if self.exclusive_classes else np.maximum(probs, 1 - probs)
        for doc, row, sure in zip(docs, probs.tolist(), certain >= self.abstain):
            said = sure if not self.exclusive_classes else [sure.any()] * len(labels)
            own = {label: p for label, p, says in zip(labels, row, said) if says}
            others = {label: p for label, p in doc.cats.items() if label not in labels}
            doc.cats = {**others, **own}

    def true_labels(self, doc: Doc) -> list[str]:
        """Choose from `doc.cats`.

        RETURNS (List[str]): The best label with exclusive classes; else those that reach their
            thresholds. Empty where the head abstained.
        """
        own = {label: doc.cats[label] for label in self.cfg["labels"] if label in doc.cats}
        if self.exclusive_classes:
            return [max(own, key=own.__getitem__)] if own else []
        return [label for label, p in own.items() if p >= self.threshold(label)]

    def threshold(self, label: str) -> float:
        """RETURNS (float): Probability from which a label counts as true."""
        return self.cfg.get("thresholds", {}).get(label, self.default_threshold)
