"""BIOES: labelled, non-overlapping spans as one label per token, and back.

Label 0 is O; type k has the four labels 1 + 4k + (0: B, 1: I, 2: E, 3: S). A legal sequence opens
with B, goes on with I and closes with E of one type; a span of one token is S.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

O, B, I, E, S = 0, 0, 1, 2, 3  # O is a label, the others are offsets within a type  # noqa: E741


class Spans(NamedTuple):
    """Spans over packed rows, sorted, all arrays int64 of shape (n_spans,)."""

    start: np.ndarray  # first row
    end: np.ndarray  # after the last row
    type: np.ndarray  # index of the type


def n_labels(n_types: int) -> int:
    return 1 + 4 * n_types


def write_span(labels: np.ndarray, start: int, end: int, k: int) -> None:
    """Write a span of type k over tokens [start, end) into labels, shape (n_tokens,)."""
    base = 1 + 4 * k
    if end - start == 1:
        labels[start] = base + S
    else:
        labels[start] = base + B
        labels[start + 1 : end - 1] = base + I
        labels[end - 1] = base + E


def read_spans(labels: np.ndarray) -> Spans:
    """Read a legal sequence, shape (n_tokens,), that may run over several docs."""
    offset = (labels - 1) % 4
    used = labels > 0
    start = np.flatnonzero(used & ((offset == B) | (offset == S)))
    last = np.flatnonzero(used & ((offset == E) | (offset == S)))
    return Spans(start, last + 1, (labels[start] - 1) // 4)


@cache
def _open_around(n: int) -> tuple[np.ndarray, np.ndarray]:
    """RETURNS (Tuple[ndarray, ndarray]): For each of n labels the type that must be open before it,
    and the type that is open after it; -1 for none."""
    labels = np.arange(n)
    offset, type_ = (labels - 1) % 4, (labels - 1) // 4
    before = np.where((labels > 0) & ((offset == I) | (offset == E)), type_, -1)
    after = np.where((labels > 0) & ((offset == B) | (offset == I)), type_, -1)
    return before, after


def illegal(labels: np.ndarray, starts: np.ndarray, n: int | None = None) -> np.ndarray:
    """Find where greedy labels break the rules.

    labels (ndarray): Labels of all docs end to end, shape (n_tokens,).
    starts (ndarray): First rows of the docs that have tokens.
    n (Optional[int]): How many labels there are, if that is known.
    RETURNS (ndarray): True at both tokens of an illegal pair, shape (n_tokens,).
    """
    needs, leaves = _open_around(int(labels.max(initial=0)) + 1 if n is None else n)
    opened = leaves[labels]
    before = np.empty_like(opened)
    before[1:] = opened[:-1]
    before[starts] = -1
    wrong = before != needs[labels]
    is_first = np.zeros(len(labels), bool)
    is_first[starts] = True
    out = wrong.copy()
    # The pair's first token too, unless the fault is at a doc's start.
    out[:-1] |= wrong[1:] & ~is_first[1:]
    is_last = np.append(is_first[1:], True)
    return out | (is_last & (opened >= 0))


def decode(logits: np.ndarray, labels: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Get the best legal sequence of each doc.

    Where the greedy sequence is legal it is the best. Elsewhere the doc is cut at tokens that are
    O in every best sequence, and a Viterbi search runs over the faulty parts only, all at once.

    logits (ndarray): Scores, shape (n_tokens, 1 + 4 * n_types).
    labels (ndarray): Their argmax, shape (n_tokens,). Changed in place.
    lengths (ndarray): Tokens per doc, shape (n_docs,).
    RETURNS (ndarray): Legal labels, shape (n_tokens,).
    """
    if not len(labels):
        return labels
    ends = np.cumsum(lengths)
    starts = (ends - lengths)[lengths > 0]
    wrong = np.flatnonzero(illegal(labels, starts, logits.shape[1]))
    if not len(wrong):
        return labels
    is_faulty = np.zeros(len(lengths), bool)
    is_faulty[np.searchsorted(ends, wrong, side="right")] = True
    rows = np.flatnonzero(np.repeat(is_faulty, lengths))
    labels[rows] = _decode_all(logits[rows], labels[rows], lengths[is_faulty])
    return labels


def _decode_all(logits: np.ndarray, labels: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """As `decode`, for docs that all have faults."""
    starts = np.cumsum(lengths) - lengths
    wrong = illegal(labels, starts, logits.shape[1])
    scores = Scores.of(logits)
    cut = surely_outside(scores)
    # Parts: runs of tokens between cuts and doc borders.
    border = cut.copy()
    border[1:] |= cut[:-1]
    border[starts] = True
    first = np.flatnonzero(border)
    size = np.diff(first, append=len(labels))
    is_faulty = np.zeros(len(first), bool)
    is_faulty[np.cumsum(border)[wrong & ~cut] - 1] = True
    first, size = first[is_faulty], size[is_faulty]
    order = np.argsort(-size, kind="stable")
    first, size = first[order], size[order]
    # All first tokens of the parts, then all second ones.
    steps = np.arange(size[0])
    counts = np.searchsorted(-size, -steps, side="left")
    step = np.repeat(steps, counts)
    rows = first[np.arange(len(step)) - np.repeat(np.cumsum(counts) - counts, counts)] + step
    labels[rows] = viterbi(scores.at(rows), counts)
    return labels


class Scores(NamedTuple):
    """Scores of labels, by what they say of a token. A type has a row, a token a column: with few
    types numpy finds the best of each column faster than it would in short rows."""

    outside: np.ndarray  # (n_tokens,)
    begin: np.ndarray  # (n_types, n_tokens)
    inside: np.ndarray  # (n_types, n_tokens)
    end: np.ndarray  # (n_types, n_tokens)
    single: np.ndarray  # (n_types, n_tokens)

    @classmethod
    def of(cls, logits: np.ndarray) -> Scores:
        """
        logits (ndarray): Shape (n_tokens, 1 + 4 * n_types).
        """
        typed = logits[:, 1:].reshape(len(logits), -1, 4).transpose(2, 1, 0)
        return cls(logits[:, O], *np.ascontiguousarray(typed))

    def at(self, rows: np.ndarray) -> Scores:
        """RETURNS (Scores): Of these tokens."""
        return Scores(*(values.take(rows, axis=-1) for values in self))


def surely_outside(scores: Scores) -> np.ndarray:
    """Find tokens that are O in every best legal sequence.

    A sequence with a span over token t can be repaired to have O there by closing the span before
    t and opening one after t. If O wins more at t than that can lose at its neighbours, no best
    sequence has a span over t.

    scores (Scores): Of tokens end to end.
    RETURNS (ndarray): bool, shape (n_tokens,).
    """
    outside, b, i, e, s = scores
    margin = outside - np.maximum(np.maximum(b, i), np.maximum(e, s)).max(axis=0)
    close = np.maximum(np.maximum(i - e, b - s).max(axis=0), 0.0)
    reopen = np.maximum(np.maximum(i - b, e - s).max(axis=0), 0.0)
    loss = np.zeros_like(margin)
    loss[1:] += close[:-1]
    loss[:-1] += reopen[1:]
    return margin > loss


def viterbi(scores: Scores, counts: np.ndarray) -> np.ndarray:
    """Find the best legal sequences of a batch.

    Between two tokens a sequence is either outside or inside a span of one type; that is all the
    state there is, so a step costs O(n_types) and not O(n_labels ** 2).

    scores (Scores): Of the first tokens of all sequences, longest sequence first, then of their
        second tokens, and so on.
    counts (ndarray): How many sequences have a token t, shape (longest,).
    RETURNS (ndarray): Labels, int64, shape (n_tokens,), in this order.
    """
    # What leads from outside to outside is the same wherever it starts.
    best_single = scores.single.max(axis=0)
    stays = np.maximum(scores.outside, best_single)
    closed = np.empty_like(scores.end)  # the best with a span that ends here
    goes_on = np.empty(closed.shape, bool)  # whether I leads inside, or else B
    closes = np.empty(closed.shape[1], bool)  # whether E leads outside
    outside = np.zeros(counts[0], stays.dtype)
    inside = np.full((len(closed), counts[0]), -np.inf, stays.dtype)
    borders = np.append(0, np.cumsum(counts)).tolist()
    for a, b in pairwise(borders):
        outside, inside = outside[: b - a], inside[:, : b - a]
        best = np.add(inside, scores.end[:, a:b], out=closed[:, a:b]).max(axis=0)
        stayed = outside + stays[a:b]
        np.greater(best, stayed, out=closes[a:b])
        opened, continued = outside + scores.begin[:, a:b], inside + scores.inside[:, a:b]
        np.greater(continued, opened, out=goes_on[:, a:b])
        inside, outside = np.maximum(opened, continued), np.maximum(best, stayed)
    to_outside = np.where(best_single > scores.outside, 1 + 4 * scores.single.argmax(axis=0) + S, O)
    to_outside[closes] = 1 + 4 * closed[:, closes].argmax(axis=0) + E
    needs, _ = _open_around(1 + 4 * len(closed))
    labels = to_outside
    state = np.full(counts[0], -1)
    for b, a in pairwise(borders[::-1]):
        open_ = np.flatnonzero(state[: b - a] >= 0)
        type_ = state[open_]
        labels[a + open_] = 1 + 4 * type_ + np.where(goes_on[type_, a + open_], I, B)
        state[: b - a] = needs[labels[a:b]]
    return labels
