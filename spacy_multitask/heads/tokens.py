"""What heads that label words share: learning from a teacher where there is no gold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import spacy
import torch
from spacy.attrs import ORTH
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from torch import Tensor, nn

from ..encoder.batch import PackedBatch
from ..encoder.listener import EncoderListener
from ..progress import progress
from ..training.plan import PLAN
from .base import Head, all_examples

CHUNK = 256  # docs that a teacher looks at together


class TokenHead(Head):
    """A head with a choice of labels for each word, or several choices."""

    teacher: Teacher | None = None
    teacher_weight = 1.0

    @property
    def choices(self) -> dict[str, slice]:
        """RETURNS (Dict[str, slice]): Columns of the logits that are one choice, by the part of the
        head's task."""
        raise NotImplementedError

    def rows_with_gold(self, gold: Any) -> dict[str, np.ndarray]:
        """RETURNS (Dict[str, ndarray]): Rows of words with gold, by the part of the task.

        gold (Any): What `gold` gave; not None.
        """
        raise NotImplementedError

    def word_probs(self, docs: list[Doc]) -> tuple[Tensor, np.ndarray]:
        """RETURNS (Tuple[Tensor, ndarray]): Probabilities (n_words, nO), which sum to 1 within each
        choice, and words per doc (n_docs,)."""
        logits, lengths = self.word_logits(docs)
        logits = self.logits_of_words(logits, lengths)
        parts = [
            (logits[:, columns] / self.temperature(part)).softmax(1)
            for part, columns in self.choices.items()
        ]
        return torch.cat(parts, dim=1), lengths

    def logits_of_words(self, logits: Tensor, lengths: np.ndarray) -> Tensor:
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
        if self.teacher is not None and PLAN.max_epochs >= 0:
            # Beforehand, so that what it says of a doc does not depend on the batch in which the
            # doc comes first, which is another one where a training is resumed.
            self.teacher.look(
                [eg.predicted for eg in all_examples(get_examples) if not self._is_all_known(eg)]
            )

    def _is_all_known(self, example: Example) -> bool:
        """RETURNS (bool): Whether there is nothing to learn from a teacher."""
        gold = self.gold([self._hide_foreign_gold(example)]) if len(example.predicted) else None
        known = {} if gold is None else self.rows_with_gold(gold)
        n_words = len(example.predicted)
        return all(len(known.get(part, ())) == n_words for part in self.choices)

    def check_teachable(self) -> None:
        """RAISES (ValueError): If it does not learn word by word."""

    @property
    def is_taught(self) -> bool:
        return self.teacher is not None

    def loss_of_teacher(
        self, module: Any, batch: PackedBatch, docs: list[Doc], gold: Any | None
    ) -> Tensor | None:
        if self.teacher is None:
            return None
        known = {} if gold is None else self.rows_with_gold(gold)
        vectors = batch.word_vectors
        probs = self.teacher.probs(docs).to(vectors.device)
        total: Any = 0.0
        for part, columns in self.choices.items():
            is_unknown = np.ones(len(vectors), bool)
            is_unknown[known.get(part, [])] = False
            if is_unknown.any():
                rows = torch.from_numpy(np.flatnonzero(is_unknown)).to(vectors.device)
                logits = module(vectors[rows])[:, columns]
                total = total + nn.functional.cross_entropy(logits, probs[rows][:, columns])
        return total * self.teacher_weight if isinstance(total, Tensor) else None


class Teacher:
    """A head of a trained pipeline, and what it has said so far.

    name (str): The pipeline: a folder or the name of a package.
    pupil (TokenHead): The head that is to learn from it.
    RAISES (ValueError): If the pipeline has no such head, or one with other labels.
    """

    def __init__(self, name: str, pupil: TokenHead):
        try:
            self.nlp = spacy.load(name)
        except OSError as error:
            raise ValueError(
                f"teacher = {name!r} of {pupil.name!r} is neither a folder with a trained "
                "pipeline nor an installed one. Train it first, or correct the path."
            ) from error
        heads = {name: pipe for name, pipe in self.nlp.components if type(pipe) is type(pupil)}
        names = [pupil.name] if pupil.name in heads else list(heads)
        if len(names) != 1:
            found = ", ".join(heads) or "none"
            raise ValueError(
                f"teacher = {name!r} of {pupil.name!r} must have one {type(pupil).__name__}, "
                f"or one of that name. It has: {found}."
            )
        (self.name,) = names
        self.head: TokenHead = heads[self.name]
        if self.head.label_data != pupil.label_data:
            others = sorted(set(self.head.labels) ^ set(pupil.labels))
            raise ValueError(
                f"teacher = {name!r} of {pupil.name!r} was trained on other labels. Only one "
                f"of them has: {', '.join(others)}. Train it on the same corpus."
            )
        self._said: dict[bytes, np.ndarray] = {}

    def look(self, docs: list[Doc]) -> None:
        """Keep what it says of docs, unless it has been asked before."""
        new = {_key(doc): doc for doc in docs}
        keys = [key for key in new if key not in self._said]
        starts = range(0, len(keys), CHUNK)
        for start in progress(starts, f"Teacher: {self.name}", unit="chunk"):
            chunk = keys[start : start + CHUNK]
            probs, lengths = self.head.word_probs(self._prepared([new[key] for key in chunk]))
            parts = np.split(probs.half().cpu().numpy(), np.cumsum(lengths)[:-1])
            self._said.update(zip(chunk, parts))

    def _prepared(self, docs: list[Doc]) -> list[Doc]:
        """RETURNS (List[Doc]): Docs with all that the head looks at."""
        if isinstance(self.head.tok2vec, EncoderListener):
            return docs
        # The listeners of spaCy and spacy-transformers read what components before have left on
        # the docs, where those of the pupil have other things.
        copies = [
            Doc(
                self.nlp.vocab,
                words=[token.text for token in doc],
                spaces=[bool(token.whitespace_) for token in doc],
            )
            for doc in docs
        ]
        names = self.nlp.component_names
        behind = names[names.index(self.name) :]
        return list(self.nlp.pipe(copies, disable=behind))

    def probs(self, docs: list[Doc]) -> Tensor:
        """RETURNS (Tensor): Probabilities, float32 (n_words, nO), on the CPU."""
        if PLAN.max_epochs < 0:
            self._said.clear()  # of a stream it may be too much to keep
        self.look(docs)
        return torch.from_numpy(np.concatenate([self._said[_key(doc)] for doc in docs])).float()


def _key(doc: Doc) -> bytes:
    return doc.to_array(ORTH).tobytes()
