"""How documents are cut into windows the encoder can take, and windows into micro-batches."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np


class Windows(NamedTuple):
    """Windows over the pieces of a batch, all arrays int64 of shape (n_windows,).

    Every word of the batch is owned by exactly one window, the one where it has most context on
    its shorter side; windows of one document overlap, what they own does not.

        words    |--------------------------|
        window 0 [===========...]
        window 1          [...======...]          = owned   . read as context only
        window 2                   [...=====]
    """

    doc: np.ndarray
    start: np.ndarray  # first piece
    size: np.ndarray  # pieces
    own_start: np.ndarray  # first owned word
    own_end: np.ndarray  # after the last owned word


def cut_windows(
    starts: np.ndarray, counts: np.ndarray, lengths: np.ndarray, capacity: int, overlap: int
) -> Windows:
    """Cut documents at word boundaries. Documents without pieces get no window.

    starts, counts (ndarray): First piece and number of pieces of each word, shape (n_words,).
    lengths (ndarray): Words per document, shape (n_docs,).
    capacity (int): Most pieces a window may hold; no word may have more.
    overlap (int): Pieces that neighbouring windows of a document share, about.
    """
    word_ends = np.cumsum(lengths)
    word_starts = word_ends - lengths
    edges = np.concatenate([starts, [starts[-1] + counts[-1] if len(starts) else 0]])
    piece_starts, piece_ends = edges[word_starts], edges[word_ends]
    sizes = piece_ends - piece_starts
    fits = np.flatnonzero((sizes > 0) & (sizes <= capacity))
    windows = Windows(fits, piece_starts[fits], sizes[fits], word_starts[fits], word_ends[fits])
    long = np.flatnonzero(sizes > capacity)
    if not len(long):
        return windows
    cut = [
        row
        for doc in long
        for row in _cut_one(edges, int(doc), word_starts[doc], word_ends[doc], capacity, overlap)
    ]
    columns = np.array(cut, dtype=np.int64).T
    return Windows(*(np.concatenate([a, b]) for a, b in zip(windows, columns)))


def _cut_one(
    edges: np.ndarray, doc: int, first: int, end: int, capacity: int, overlap: int
) -> list[list[int]]:
    """RETURNS (List[List[int]]): Rows of `Windows` for one document longer than a window.

    edges (ndarray): First piece of each word of the batch, and the end of the last.
    """
    spans = []  # (first word, end word) of each window
    word = first
    while True:
        last = int(np.searchsorted(edges, edges[word] + capacity, side="right")) - 1
        last = min(last, end)
        spans.append((word, last))
        if last == end:
            break
        # Step back by the overlap, yet always forward by one word at least.
        back = int(np.searchsorted(edges, edges[last] - overlap, side="left"))
        word = max(word + 1, min(back, last))
    rows = []
    own = first
    for i, (a, b) in enumerate(spans):
        own_end = b
        if i + 1 < len(spans):
            # A word of the overlap moves on once its context on the left of the next window is as
            # long as its context on the right of this one.
            next_a = spans[i + 1][0]
            shared = np.arange(next_a, b)
            left = edges[shared] - edges[next_a]
            right = edges[b] - edges[shared + 1]
            later = np.flatnonzero(left >= right)
            own_end = int(shared[later[0]]) if len(later) else b
            own_end = max(own_end, own)
        rows.append([doc, edges[a], edges[b] - edges[a], own, own_end])
        own = own_end
    return rows


def micro_batches(
    sizes: np.ndarray, extra: int, budget: int, overhead: int
) -> Iterator[np.ndarray]:
    """Group windows of like size, longest first, so that the groups cost least: their padded
    pieces, and the overhead of each.

    sizes (ndarray): Pieces per window, shape (n_windows,).
    extra (int): Special pieces that every window gets besides.
    budget (int): Most padded pieces in a micro-batch; a single window may exceed it.
    overhead (int): What it costs to begin a micro-batch, in padded pieces; 0: only windows of one
        size share a micro-batch.
    YIELDS (ndarray): Indices of windows.
    """
    order = np.argsort(-sizes, kind="stable")
    cuts = _cheapest_cuts(sizes[order] + extra, budget, overhead)
    for start, end in pairwise(cuts):
        # A group that exceeds the budget is cut once more.
        n = max(1, budget // int(sizes[order[start]] + extra))
        yield from (order[i : min(end, i + n)] for i in range(start, end, n))


def _cheapest_cuts(sizes: np.ndarray, budget: int, overhead: int) -> list[int]:
    """Cut windows into groups that cost least.

    sizes (ndarray): Pieces per window, falling, shape (n_windows,).
    RETURNS (List[int]): Where groups start, and the end of the last. None starts within windows of
        one size.
    """
    if not len(sizes):
        return []
    places = np.concatenate([[0], np.flatnonzero(np.diff(sizes)) + 1, [len(sizes)]])
    cost = np.zeros(len(places))  # of all windows before each place
    came_from = np.zeros(len(places), np.int64)
    for j in range(1, len(places)):
        padded = sizes[places[:j]] * (places[j] - places[:j])
        total = cost[:j] + padded + overhead * np.ceil(padded / budget)
        came_from[j] = int(total.argmin())
        cost[j] = total[came_from[j]]
    cuts = [len(places) - 1]
    while cuts[-1]:
        cuts.append(int(came_from[cuts[-1]]))
    return places[cuts[::-1]].tolist()
