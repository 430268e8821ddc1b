"""Where spans can be: runs of words that no span leaves, without the blanks among them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..encoder.batch import PackedBatch
from ..layers.bioes import Spans


class Sequences(NamedTuple):
    """The words of a batch as sequences to be labelled.

    lengths (ndarray): Words per sequence, int64 (n_sequences,); some may have none.
    rows (Optional[ndarray]): Row of each word among all tokens of the batch, int64 (n_words,);
        None if all tokens are words.
    """

    lengths: np.ndarray
    rows: np.ndarray | None

    def of_words(self, values: Tensor) -> Tensor:
        """RETURNS (Tensor): Of values of all tokens those of words, (n_words, ...)."""
        if self.rows is None:
            return values
        return values[torch.from_numpy(self.rows).to(values.device)]

    def to_tokens(self, spans: Spans) -> Spans:
        """RETURNS (Spans): Spans over words as spans over all tokens: blanks are within them, and
        never at their edges."""
        if self.rows is None or not len(spans.start):
            return spans
        return Spans(self.rows[spans.start], self.rows[spans.end - 1] + 1, spans.type)


def sequences_of(batch: PackedBatch) -> Sequences:
    """RETURNS (Sequences): One for each doc."""
    if batch.blank is None:
        return Sequences(batch.lengths, None)
    rows = np.flatnonzero(~batch.blank)
    lengths = np.diff(np.searchsorted(rows, np.append(0, batch.ends)))
    return Sequences(lengths, rows)
