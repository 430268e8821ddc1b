"""Where spans can be: runs of words that no span leaves, without the blanks among them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from spacy.attrs import SENT_START
from spacy.tokens import Doc
from torch import Tensor

from ..encoder.batch import PackedBatch
from ..layers.bioes import Spans
from ..layers.transfer import to_device


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
        return values[to_device(values.device, self.rows)[0]]

    def to_tokens(self, spans: Spans) -> Spans:
        """RETURNS (Spans): Spans over words as spans over all tokens: blanks are within them, and
        never at their edges."""
        if self.rows is None or not len(spans.start):
            return spans
        return Spans(self.rows[spans.start], self.rows[spans.end - 1] + 1, spans.type)


def sequences_of(batch: PackedBatch, *, by_sentence: bool = False) -> Sequences:
    """Cut a batch into sequences.

    by_sentence (bool): Whether to cut docs where they say that a sentence starts.
    RETURNS (Sequences): One for each doc, or sentence.
    """
    borders = np.append(0, batch.ends)
    if by_sentence:
        borders = np.union1d(borders, np.flatnonzero(_sentence_starts(batch.docs)))
    if batch.blank is None:
        return Sequences(np.diff(borders), None)
    rows = np.flatnonzero(~batch.blank)
    return Sequences(np.diff(np.searchsorted(rows, borders)), rows)


def _sentence_starts(docs: list[Doc]) -> np.ndarray:
    """RETURNS (ndarray): Whether a sentence starts at each token of all docs, bool (n_tokens,); no
    values if no doc says so."""
    # To ask a doc takes a third of the time that reading it takes, and most say nothing.
    say_so = [len(doc) > 0 and doc.has_annotation(SENT_START) for doc in docs]
    if not any(say_so):
        return np.zeros(0, bool)
    starts = [
        doc.to_array(SENT_START) == 1 if says_so else np.zeros(len(doc), bool)
        for doc, says_so in zip(docs, say_so)
    ]
    return np.concatenate(starts)
