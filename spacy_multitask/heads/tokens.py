"""What heads that label words share: learning from a teacher where there is no gold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import numpy as np
import spacy
import torch
from spacy.attrs import ORTH
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from torch import Tensor, nn

from ..corpus.reader import unannotated
from ..encoder.batch import PackedBatch, blank_tokens
from ..encoder.listener import EncoderListener
from ..progress import progress
from .base import Head
from .gold import all_examples

# What `Recipe.initialize` is for heads that can learn from a teacher.
TAUGHT = {"teacher": None}
TAUGHT_PART = "taught "  # before the name of a part, in `counts`
TOGETHER = 256  # docs that a teacher looks at


class TokenHead(Head):
    """A head with a choice of labels for each word, or several choices."""

    teacher: Teacher | None = None
    teacher_weight = 1.0

    @property
    def choices(self) -> dict[str, slice]:
        """RETURNS (Dict[str, slice]): Columns of the logits that are one choice, by the part of the
        head's task."""
        raise NotImplementedError

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(self.choices)

    def rows_with_gold(self, gold: Any) -> dict[str, np.ndarray]:
        """RETURNS (Dict[str, ndarray]): Rows of words with gold, by the part of the task.

        gold (Any): What `gold` gave; not None.
        """
        raise NotImplementedError

    def word_probs(self, docs: list[Doc]) -> tuple[Tensor, np.ndarray]:
        """RETURNS (Tuple[Tensor, ndarray]): Probabilities (n_words, nO), which sum to 1 within each
        choice, and words per doc (n_docs,)."""
        logits, batch = self.logits_and_batch(docs)
        return self.probs_of(logits, batch), batch.lengths

    def probs_of(self, logits: Tensor, batch: PackedBatch) -> Tensor:
        """RETURNS (Tensor): Probabilities of words with these logits, both (n_words, nO)."""
        logits = self.logits_of_words(logits, batch)
        parts = [
            (logits[:, columns] / self.temperature(part)).softmax(1)
            for part, columns in self.choices.items()
        ]
        return torch.cat(parts, dim=1)

    def logits_of_words(self, logits: Tensor, batch: PackedBatch) -> Tensor:
        """RETURNS (Tensor): What the probabilities of single words come from, of the same shape."""
        return logits

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: dict[str, list[str]] | None = None,
        teacher: str | None = None,
        teacher_weight: float = 1.0,
    ) -> None:
        """Set the labels and make the trained layer.

        get_examples (Callable): Returns training examples; those without gold are passed over.
            Where a `MultiCorpus` gives some of its examples only, labels are those of all.
        labels (Optional[Dict[str, List[str]]]): What `spacy init labels` wrote, to save the pass.
        teacher (Optional[str]): A trained pipeline with a head for the same labels. Words without
            gold for this head, such as those of the other corpora, are learned from the
            probabilities that it gives them. It is needed in training only, and not saved.
        teacher_weight (float): Factor on the mean loss of the words that the teacher labels, where
            that of the words with gold has 1.
        RAISES (ValueError): If no example has gold for this head, it is at odds with another
            component, or the teacher has no head for these labels.

        Source: Hinton et al. (2015), https://arxiv.org/abs/1503.02531; from models of one task to
            one of many: Clark et al. (2019), https://arxiv.org/abs/1907.04829
        """
        super().initialize(get_examples, nlp=nlp, labels=labels)
        if teacher is not None:
            self.check_teachable()
        if teacher_weight < 0:
            raise ValueError(
                f"teacher_weight = {teacher_weight} of {self.name!r} must not be negative."
            )
        self.teacher = None if teacher is None else Teacher(teacher, self)
        self.teacher_weight = teacher_weight
        if self.teacher is not None and not _is_stream(nlp):
            # Beforehand, so that what it says of a doc does not depend on the others in a batch.
            examples = all_examples(get_examples)
            self.teacher.look([eg.predicted for eg in examples if not self._is_all_known(eg)])

    def _is_all_known(self, example: Example) -> bool:
        """RETURNS (bool): Whether there is nothing to learn from a teacher."""
        n_words = len(example.predicted)
        gold = self.gold([self._hide_foreign_gold(example)]) if n_words else None
        return not any(map(len, self._rows_without_gold([example.predicted], gold).values()))

    def _rows_without_gold(self, docs: list[Doc], gold: Any | None) -> dict[str, np.ndarray]:
        """RETURNS (Dict[str, ndarray]): Rows of the other words, by the part of the task; without
        blanks, which nobody learns from."""
        known = {} if gold is None else self.rows_with_gold(gold)
        blank = [blank_tokens(doc) for doc in docs]
        rows = np.flatnonzero(~np.concatenate([np.zeros(0, bool), *blank]))
        return {part: np.setdiff1d(rows, known.get(part, rows[:0])) for part in self.choices}

    def check_teachable(self) -> None:
        """RAISES (ValueError): If it does not learn word by word."""

    @property
    def is_taught(self) -> bool:
        return self.teacher is not None

    def counts(self, docs: list[Doc], gold: Any | None) -> dict[str, float]:
        own = super().counts(docs, gold)
        if self.teacher is not None:
            unknown = self._rows_without_gold(docs, gold)
            own.update({TAUGHT_PART + part: float(len(rows)) for part, rows in unknown.items()})
        return own

    def loss_of_teacher(
        self,
        module: Any,
        batch: PackedBatch,
        docs: list[Doc],
        gold: Any | None,
        share: Mapping[str, float],
    ) -> Tensor | None:
        if self.teacher is None:
            return None
        unknown = {
            part: rows for part, rows in self._rows_without_gold(docs, gold).items() if len(rows)
        }
        if not unknown:
            return None
        doc_of_word = np.repeat(np.arange(len(docs)), batch.lengths)
        taught = np.unique(np.concatenate([doc_of_word[rows] for rows in unknown.values()]))
        # Rows of the batch -> those of what is said of these docs.
        places = np.cumsum(np.isin(doc_of_word, taught)) - 1
        vectors = batch.word_vectors
        said = self.teacher.probs([docs[i] for i in taught])
        total: Any = 0.0
        for part, rows in unknown.items():
            columns = self.choices[part]
            words = vectors[torch.from_numpy(rows).to(vectors.device)]
            probs = said[places[rows], columns].to(vectors.device)
            loss = nn.functional.cross_entropy(module(words)[:, columns], probs)
            total = total + loss * share[TAUGHT_PART + part]
        return total * self.teacher_weight


class Teacher:
    """A head of a trained pipeline, and what it has said of the training docs.

    name (str): The pipeline: a folder or the name of a package.
    pupil (TokenHead): The head that is to learn from it.
    RAISES (ValueError): If the pipeline has no such head, or one with other labels.
    """

    def __init__(self, name: str, pupil: TokenHead):
        self.title = f"teacher = {name!r} of {pupil.name!r}"
        try:
            # Loading draws random weights first; those of the heads to come stay what they are.
            with torch.random.fork_rng():
                self.nlp = spacy.load(name)
        except OSError as error:
            raise ValueError(
                f"{self.title} is neither a folder with a trained pipeline nor an installed one. "
                "Train it first, or correct the path."
            ) from error
        heads = {name: pipe for name, pipe in self.nlp.components if type(pipe) is type(pupil)}
        names = [pupil.name] if pupil.name in heads else list(heads)
        if len(names) != 1:
            raise ValueError(
                f"{self.title} must have one {type(pupil).__name__} of spacy_multitask, or one of "
                f"that name. It has: {', '.join(heads) or 'none'}."
            )
        (self.name,) = names
        self.head: TokenHead = heads[self.name]
        own, others = (
            {layer: labels for layer, labels in head.label_data.items() if labels}
            for head in (pupil, self.head)
        )
        if own != others:
            pairs = [{(layer, x) for layer in data for x in data[layer]} for data in (own, others)]
            found = sorted(f"{label} ({layer})" for layer, label in pairs[0] ^ pairs[1])
            raise ValueError(
                f"{self.title} was trained on other labels. Only one of them has: "
                f"{', '.join(found)}. Train it on the same corpus."
            )
        self._said: dict[bytes, np.ndarray] = {}

    def __reduce__(self) -> tuple[Callable, tuple]:
        return _nobody, ()  # a pipeline in another process only predicts

    def look(self, docs: list[Doc]) -> None:
        """Keep what it says of docs."""
        new = {_key(doc): doc for doc in docs}
        keys = list(new)
        starts = range(0, len(keys), TOGETHER)
        for start in progress(starts, f"Teacher: {self.name}", unit="part"):
            part = keys[start : start + TOGETHER]
            self._said.update(zip(part, self._ask([new[key] for key in part])))

    def probs(self, docs: list[Doc]) -> Tensor:
        """RETURNS (Tensor): Probabilities, float32 (n_words, nO), on the CPU."""
        said = [self._said.get(_key(doc)) for doc in docs]
        # Docs of a stream, or changed ones: they may be too many to be kept.
        new = [i for i, found in enumerate(said) if found is None]
        if new:
            for i, found in zip(new, self._ask([docs[i] for i in new])):
                said[i] = found
        return torch.from_numpy(np.concatenate(cast(Any, said))).float()

    def _ask(self, docs: list[Doc]) -> list[np.ndarray]:
        """RETURNS (List[ndarray]): Probabilities of each doc, float16 (n_tokens, nO)."""
        probs, lengths = self.head.word_probs(self._prepared(docs))
        return np.split(probs.half().cpu().numpy(), np.cumsum(lengths)[:-1])

    def _prepared(self, docs: list[Doc]) -> list[Doc]:
        """RETURNS (List[Doc]): Docs with all that the head looks at."""
        if isinstance(self.head.tok2vec, EncoderListener):
            return docs
        # The listeners of spaCy and spacy-transformers read what components before have left on
        # the docs, where those of the pupil have other things.
        copies = [unannotated(doc, self.nlp.vocab) for doc in docs]
        names = self.nlp.component_names
        behind = names[names.index(self.name) :]
        prepared = list(self.nlp.pipe(copies, disable=behind))
        if list(map(len, prepared)) != list(map(len, docs)):
            raise ValueError(
                f"{self.title} has components before {self.name!r} that change tokens, so it "
                "can't label those of another pipeline."
            )
        return prepared


def _key(doc: Doc) -> bytes:
    return doc.to_array(ORTH).tobytes()


def _nobody() -> None:
    return None


def _is_stream(nlp: Language | None) -> bool:
    """RETURNS (bool): Whether the training takes examples as they come, without an end."""
    training = {} if nlp is None else nlp.config.interpolate().get("training", {})
    return training.get("max_epochs", 0) < 0
