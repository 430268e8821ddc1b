"""Piece vectors of micro-batches to the vectors of words and docs, put back into order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from spacy.tokens import Doc
from torch import Tensor

from ..layers.transfer import Arriving, is_streaming, to_device
from .batch import PackedBatch
from .pieces import Pieces
from .windows import Windows

POOLINGS = ("first", "last", "mean")
DOC_POOLINGS = ("mean", "cls")


class Pooling:
    """Collects what the network gives for micro-batches, which come sorted by length.

    pieces, windows: Of the whole batch.
    n_prefix, n_suffix (int): Special pieces before and after those of a window.
    cls (int): Column of the special piece that stands for a window; below 0: from its end.
    words, docs (str): One of POOLINGS, of DOC_POOLINGS.
    width (int): Columns of a piece's vector.
    is_train (bool): Whether vectors keep their graph.
    projections (Dict[int, Projection]): Heads to apply to the words at once, keyed by listener.
        Prediction only.
    doc_projections (Dict[int, Projection]): The same of docs; only devices that stream do it here.
    keep_words (bool): Whether the batch gets word vectors besides.
    """

    def __init__(
        self,
        pieces: Pieces,
        windows: Windows,
        n_docs: int,
        *,
        n_prefix: int,
        n_suffix: int,
        cls: int,
        words: str,
        docs: str,
        width: int,
        device: torch.device,
        is_train: bool,
        projections: Mapping[int, Callable[[Tensor], Tensor]],
        doc_projections: Mapping[int, Callable[[Tensor], Tensor]],
        keep_words: bool,
    ):
        self.pieces, self.windows, self.n_prefix = pieces, windows, n_prefix
        self.n_special, self.cls = n_prefix + n_suffix, cls
        self.word_pooling, self.doc_pooling = words, docs
        self.n_words, self.n_docs = len(pieces.counts), n_docs
        self.width, self.device = width, device
        self.is_train = is_train
        self.projections, self.doc_projections = projections, doc_projections
        self.projected: dict[int, Tensor] = {}
        self.words: Tensor | None = None
        self.parts: list[Tensor] = []
        self.rows: list[np.ndarray] = []
        self.sums: list[Tensor] = []
        self.docs: list[np.ndarray] = []
        self.weights = np.zeros(n_docs)
        if is_train:
            return
        if keep_words:
            self.words = torch.zeros(self.n_words, width, device=device)
        with torch.no_grad():
            nothing = torch.zeros(1, width, device=device)
            is_full = bool(pieces.counts.all())
            for key, projection in projections.items():
                logits = projection(nothing).float()
                # Words without pieces have a zero vector; the head sees that, too.
                self.projected[key] = (
                    logits.new_empty(self.n_words, logits.shape[1])
                    if is_full
                    else logits.repeat(self.n_words, 1)
                )

    def add(self, hidden: Tensor, mask: Tensor | None, group: np.ndarray) -> None:
        """Take in a micro-batch.

        hidden (Tensor): Piece vectors, shape (n_windows, n_pieces, width).
        mask (Optional[Tensor]): 1 for pieces, 0 for padding, shape (n_windows, n_pieces); None
            where nothing is padded.
        group (ndarray): Which windows these are, shape (n_windows,).
        """
        self._add_docs(hidden, mask, group)
        rows, vectors = self._words_of(hidden, group)
        if self.is_train:
            self.parts.append(vectors)
            self.rows.append(rows)
            return
        (index,) = to_device(self.device, rows)
        if self.words is not None:
            self.words.index_copy_(0, index, vectors)
        for key, projection in self.projections.items():
            self.projected[key].index_copy_(0, index, projection(vectors).float())

    def _words_of(self, hidden: Tensor, group: np.ndarray) -> tuple[np.ndarray, Tensor]:
        """RETURNS (Tuple[ndarray, Tensor]): Rows of the words with pieces that the windows own, and
        their vectors (n_words, width)."""
        windows, n_columns = self.windows, hidden.shape[1]
        rows, window_of_row = _ranges(windows.own_start[group], windows.own_end[group])
        counts = self.pieces.counts[rows]
        if not counts.all():
            rows, window_of_row, counts = (a[counts > 0] for a in (rows, window_of_row, counts))
        column = self.pieces.starts[rows] - windows.start[group][window_of_row] + self.n_prefix
        place = window_of_row * n_columns + column
        flat = hidden.reshape(-1, self.width)
        if self.word_pooling == "mean":
            ranges = _ranges(place, place + counts)
            every, word, n_pieces = to_device(self.device, *ranges, counts)
            sums = flat.new_zeros(len(rows), self.width).index_add(0, word, flat[every])
            return rows, sums / n_pieces[:, None]
        if self.word_pooling == "last":
            place = place + counts - 1
        return rows, flat[to_device(self.device, place)[0]]

    def _add_docs(self, hidden: Tensor, mask: Tensor | None, group: np.ndarray) -> None:
        docs = self.windows.doc[group]
        sizes = self.windows.size[group] + self.n_special
        n_windows, n_columns, _ = hidden.shape
        if self.doc_pooling == "cls" and self.cls >= 0:
            sums = hidden[:, self.cls]
            weights = np.ones(n_windows)
        elif self.doc_pooling == "cls":
            places = np.arange(n_windows) * n_columns + sizes + self.cls
            sums = hidden.reshape(-1, self.width)[to_device(self.device, places)[0]]
            weights = np.ones(n_windows)
        elif mask is None:
            sums = hidden.sum(1)
            weights = np.full(n_windows, n_columns)
        else:
            sums = torch.bmm(mask.to(hidden.dtype)[:, None], hidden)[:, 0]
            weights = sizes
        np.add.at(self.weights, docs, weights)
        self.sums.append(sums)
        self.docs.append(docs)

    def batch(self, docs: list[Doc], lengths: np.ndarray, **others: Any) -> PackedBatch:
        """RETURNS (PackedBatch): All of it, in the order of the docs; arguments as there."""
        doc_vectors = self._doc_vectors()
        if not self.is_train:
            projected, of_docs = self._logits(doc_vectors)
            return PackedBatch(
                docs,
                lengths,
                self.words,
                doc_vectors,
                projected=projected,
                of_docs=of_docs,
                **others,
            )
        # Row of each word among the parts; words without pieces take the row of zeros at the end.
        zeros = torch.zeros(1, self.width, device=self.device)
        n_rows = sum(map(len, self.rows))
        source = np.full(self.n_words, n_rows, np.int64)
        if self.rows:
            source[np.concatenate(self.rows)] = np.arange(n_rows)
        words = torch.cat([*self.parts, zeros])[to_device(self.device, source)[0]]
        leaves = [t.detach().requires_grad_() for t in (words, doc_vectors)]
        graph = (words, doc_vectors) if words.requires_grad and n_rows else None
        return PackedBatch(docs, lengths, *leaves, graph=graph, **others)

    def _logits(self, doc_vectors: Tensor) -> tuple[Mapping[int, Tensor], Mapping[int, Tensor]]:
        """RETURNS (Tuple[Dict[int, Tensor], Dict[int, Tensor]]): Logits of words and of docs by
        listener. A device sends all of them to the host at once, while it goes on."""
        if not is_streaming(self.device):
            return self.projected, {}  # heads of docs have the vectors at hand
        of_docs = {key: f(doc_vectors).float() for key, f in self.doc_projections.items()}
        if not self.projected and not of_docs:
            return {}, {}
        arriving = Arriving({**self.projected, **of_docs})
        return arriving.only(self.projected), arriving.only(of_docs)

    def _doc_vectors(self) -> Tensor:
        vectors = torch.zeros(self.n_docs, self.width, device=self.device)
        if not self.docs:
            return vectors
        rows = np.concatenate(self.docs)
        index, weights = to_device(self.device, rows, np.maximum(self.weights, 1.0))
        return vectors.index_add(0, index, torch.cat(self.sums)) / weights[:, None].float()


def _ranges(starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """RETURNS (Tuple[ndarray, ndarray]): All integers of the ranges [start, end), end to end, and
    for each the index of its range."""
    sizes = ends - starts
    which = np.repeat(np.arange(len(sizes)), sizes)
    before = np.cumsum(sizes) - sizes
    return np.arange(len(which)) - before[which] + starts[which], which
