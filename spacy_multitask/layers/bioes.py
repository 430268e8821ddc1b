"""BIOES: labelled, non-overlapping spans as one label per token, and back.

Label 0 is O; type k has the four labels 1 + 4k + (0: B, 1: I, 2: E, 3: S). A legal sequence opens
with B, goes on with I and closes with E of one type; a span of one token is S.
"""

from __future__ import annotations

from functools import cache
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
    docs = np.unique(np.searchsorted(ends, wrong, side="right"))
    rows = np.concatenate([np.arange(ends[doc] - lengths[doc], ends[doc]) for doc in docs])
    labels[rows] = _decode_all(logits[rows], labels[rows], lengths[docs])
    return labels


def _decode_all(logits: np.ndarray, labels: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """As `decode`, for docs that all have faults."""
    starts = np.cumsum(lengths) - lengths
    wrong = illegal(labels, starts, logits.shape[1])
    cut = surely_outside(logits)
    # Parts: runs of tokens between cuts and doc borders.
    border = cut.copy()
    border[1:] |= cut[:-1]
    border[starts] = True
    part = np.cumsum(border) - 1
    faulty = np.unique(part[wrong & ~cut])
    first = np.flatnonzero(border)
    last = np.append(first[1:], len(labels))
    spans = list(zip(first[faulty], last[faulty]))
    spans.sort(key=lambda span: span[1] - span[0])
    # Parts of like length share a search, so that one long part does not pad a thousand short ones.
    while spans:
        longest = spans[-1][1] - spans[-1][0]
        group = [span for span in spans if span[1] - span[0] > longest // 2]
        del spans[-len(group) :]
        padded = np.full((longest, len(group), logits.shape[1]), -np.inf, logits.dtype)
        padded[:, :, O] = 0.0
        for column, (a, b) in enumerate(group):
            padded[: b - a, column] = logits[a:b]
        best = viterbi(padded)
        for column, (a, b) in enumerate(group):
            labels[a:b] = best[: b - a, column]
    return labels


def surely_outside(logits: np.ndarray) -> np.ndarray:
    """Find tokens that are O in every best legal sequence.

    A sequence with a span over token t can be repaired to have O there by closing the span before
    t and opening one after t. If O wins more at t than that can lose at its neighbours, no best
    sequence has a span over t.

    logits (ndarray): Scores, shape (n_tokens, n_labels).
    RETURNS (ndarray): bool, shape (n_tokens,).
    """
    margin = logits[:, O] - logits[:, 1:].max(axis=1)
    b, i, e, s = (logits[:, 1 + k :: 4] for k in (B, I, E, S))
    close = np.maximum(np.maximum(i - e, b - s).max(axis=1), 0.0)
    reopen = np.maximum(np.maximum(i - b, e - s).max(axis=1), 0.0)
    loss = np.zeros_like(margin)
    loss[1:] += close[:-1]
    loss[:-1] += reopen[1:]
    return margin > loss


def viterbi(logits: np.ndarray) -> np.ndarray:
    """Find the best legal sequences of a batch.

    Between two tokens a sequence is either outside or inside a span of one type; that is all the
    state there is, so a step costs O(n_types) and not O(n_labels ** 2).

    logits (ndarray): Scores, shape (n_tokens, n_sequences, n_labels); padding has 0 for O and
        -inf else.
    RETURNS (ndarray): Labels, int64, shape (n_tokens, n_sequences).
    """
    n_tokens, n_sequences, _ = logits.shape
    n_types = (logits.shape[2] - 1) // 4
    rows = np.arange(n_sequences)
    outside = np.zeros(n_sequences, logits.dtype)
    inside = np.full((n_sequences, n_types), -np.inf, logits.dtype)
    to_outside = np.empty((n_tokens, n_sequences), np.int64)  # the label that leads there
    goes_on = np.empty((n_tokens, n_sequences, n_types), bool)  # whether I led inside, or else B
    label_of = np.concatenate([[O], 1 + 4 * np.arange(n_types) + S, 1 + 4 * np.arange(n_types) + E])
    for t in range(n_tokens):
        x = logits[t]
        b, i, e, s = (x[:, 1 + k :: 4] for k in (B, I, E, S))
        options = np.concatenate([outside[:, None] + x[:, :1], outside[:, None] + s, inside + e], 1)
        best = options.argmax(axis=1)
        to_outside[t] = label_of[best]
        opened, continued = outside[:, None] + b, inside + i
        goes_on[t] = continued > opened
        inside = np.maximum(opened, continued)
        outside = options[rows, best]
    needs, _ = _open_around(logits.shape[2])
    labels = np.empty((n_tokens, n_sequences), np.int64)
    state = np.full(n_sequences, -1)
    for t in range(n_tokens - 1, -1, -1):
        k = np.maximum(state, 0)
        label = np.where(state < 0, to_outside[t], 1 + 4 * k + np.where(goes_on[t, rows, k], I, B))
        labels[t] = label
        state = needs[label]
    return labels
