"""What heads that label words share: learning from a teacher where there is no gold."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from spacy.tokens import Doc
from spacy.training import Example
from torch import Tensor, nn

from ..encoder.batch import PackedBatch, blank_tokens
from ..layers.transfer import to_device
from .base import Head


class TokenHead(Head):
    """A head with a choice of labels for each word, or several choices."""

    @property
    def choices(self) -> dict[str, slice]:
        """RETURNS (Dict[str, slice]): Columns of the logits that are one choice, by the part of the
        head's task."""
        raise NotImplementedError

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(self.choices)

    def parts_of(self, gold: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """RETURNS (Dict[str, Tuple[ndarray, ndarray]]): Rows of words with gold, and their classes
        within the choice, by the part of the task.

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

    # Learning from a teacher

    has_probs_as_lessons = True

    def check_teachable(self) -> None:
        pass

    def is_all_known(self, example: Example) -> bool:
        n_words = len(example.predicted)
        gold = self.gold([self._hide_foreign_gold(example)]) if n_words else None
        blank = blank_tokens(example.predicted)
        return not any(map(len, self._rows_without_gold(gold, blank).values()))

    def _rows_without_gold(self, gold: Any | None, blank: np.ndarray) -> dict[str, np.ndarray]:
        """RETURNS (Dict[str, ndarray]): Rows of the other words, by the part of the task.

        blank (ndarray): Whether each token is a blank, which nobody learns from, (n_words,).
        """
        known = {} if gold is None else self.parts_of(gold)
        rows = np.flatnonzero(~blank)
        nothing = rows[:0], rows[:0]
        return {part: np.setdiff1d(rows, known.get(part, nothing)[0]) for part in self.choices}

    def lessons(self, docs: list[Doc]) -> list[np.ndarray]:
        """RETURNS (List[ndarray]): Probabilities of each doc, float16 (n_tokens, nO)."""
        probs, lengths = self.word_probs(docs)
        return np.split(probs.half().cpu().numpy(), np.cumsum(lengths)[:-1])

    def widened(self, lesson: np.ndarray, choices: dict[str, slice]) -> np.ndarray:
        """Bring what a head with the same labels says to the columns of this one, which may have
        got more labels since.

        lesson (ndarray): One of its `lessons`, (n_tokens, n_columns).
        choices (Dict[str, slice]): As `choices`, of that head.
        RETURNS (ndarray): Shape (n_tokens, nO), NaN for labels that it lacks.
        """
        if choices == self.choices:
            return lesson
        wide = np.full((len(lesson), self.n_out), np.nan, lesson.dtype)
        for part, columns in self.choices.items():
            own = lesson[:, choices[part]]
            # New labels are the last of their list.
            wide[:, columns.start : columns.start + own.shape[1]] = own
        return wide

    def lesson(self, example: Example, is_complete: bool) -> np.ndarray | None:
        """RETURNS (Optional[ndarray]): As one of `lessons`; NaN where nothing is said."""
        gold = self.gold([example])
        if gold is None:
            return None
        probs = np.full((len(example.predicted), self.n_out), np.nan, np.float16)
        for part, (rows, targets) in self.parts_of(gold).items():
            columns = self.choices[part]
            probs[rows, columns] = 0.0
            probs[rows, columns.start + targets] = 1.0
        return probs

    def taught(
        self, docs: list[Doc], gold: Any | None, lessons: dict[int, np.ndarray]
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """RETURNS (Dict[str, tuple]): Rows of words (n,) and probabilities (n, n_classes), NaN in
        the columns of labels that the teacher lacks."""
        blank = np.concatenate(list(map(blank_tokens, docs)))
        doc_of_word = np.repeat(np.arange(len(docs)), list(map(len, docs)))
        # Rows of the batch -> those of what is said of these docs.
        is_taught = np.isin(doc_of_word, list(lessons))
        row_of = np.cumsum(is_taught) - 1
        said = np.concatenate([lessons[i] for i in sorted(lessons)]).astype(np.float32)
        found = {}
        for part, rows in self._rows_without_gold(gold, blank).items():
            rows = rows[is_taught[rows]]
            probs = said[row_of[rows], self.choices[part]]
            is_said = ~np.isnan(probs).all(1)
            if is_said.any():
                found[part] = rows[is_said], probs[is_said]
        return found

    def n_taught(self, items: tuple[np.ndarray, np.ndarray]) -> float:
        return float(len(items[0]))

    def loss_of_taught(
        self, module: Any, batch: PackedBatch, part: str, items: tuple[np.ndarray, np.ndarray]
    ) -> Tensor:
        rows, probs = items
        # How probable labels are that the teacher lacks is left to gold: it says only how the
        # others are to each other.
        known = np.flatnonzero(~np.isnan(probs).any(0))
        vectors = batch.word_vectors
        index, targets, columns = to_device(
            vectors.device, rows, np.ascontiguousarray(probs[:, known]), known
        )
        logits = module(vectors[index])[:, self.choices[part]][:, columns]
        return nn.functional.cross_entropy(logits, targets)
