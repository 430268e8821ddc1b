"""The trained layer for spans that may overlap: it scores a band of starts and widths.

A doc of n words has n * n spans. Those of up to `max_width` words are a band of that many columns
along the diagonal: row i, column k is the span of k + 1 words that starts at word i. No more than
some rows of it are in memory at once.
"""

from __future__ import annotations

from math import log
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, logsigmoid, pad, softplus

from .transfer import to_device, to_host

HIDDEN = 256
# Cells of the band that are scored in one go: 64 MiB of hidden values.
CELLS = 1 << 16
EXACT = 8  # widths up to here have a vector of their own
# Where training begins: of the many spans of a doc few are true (Lin et al. 2017,
# https://arxiv.org/abs/1708.02002).
SELDOM = 0.01
# Spans are looked at in prediction if some span may well start at their first word, and some end at
# their last: where a third of the words may, that takes a tenth of the time.
PLAUSIBLE = 0.01
NOT_KNOWN = -1  # in place of a label


class BandGold(NamedTuple):
    """What is known of the spans of some words.

    known (ndarray): Cells of the band that are learned from, bool (n_words, width), where width is
        that of the widest span there can be.
    edges (ndarray): Whether it is known if a span starts or ends at a word, bool (n_words, 2).
    spans (ndarray): Row, column and label of spans, int64 (n_spans, 3).
    probs (ndarray): How probable each of them is, float32 (n_spans,); 1 if it is gold.
    """

    known: np.ndarray
    edges: np.ndarray
    spans: np.ndarray
    probs: np.ndarray


class Found(NamedTuple):
    """Labelled spans over packed rows, sorted by start, all arrays (n_spans,).

    start, end (ndarray): First row, and the one after the last; int64.
    label (ndarray): Index of the label, int64.
    prob (ndarray): Its probability, float64.
    """

    start: np.ndarray
    end: np.ndarray
    label: np.ndarray
    prob: np.ndarray


def room(lengths: np.ndarray, max_width: int) -> np.ndarray:
    """RETURNS (ndarray): How many words the widest span has that starts at each word, int64
    (n_words,): it stays in its sequence.

    lengths (ndarray): Words per sequence, shape (n_sequences,).
    """
    rest = np.repeat(np.cumsum(lengths), lengths) - np.arange(lengths.sum())
    return np.minimum(rest, max_width)


def band_gold(
    lengths: np.ndarray,
    unknown: np.ndarray,
    spans: np.ndarray,
    max_width: int,
    probs: np.ndarray | None = None,
) -> BandGold:
    """Tell which spans are true, which are false, and of which nothing is known.

    lengths (ndarray): Words per sequence, shape (n_sequences,).
    unknown (ndarray): Words of which nothing is known, bool (n_words,). So is nothing of spans with
        such a word in them, unless they are among `spans`.
    spans (ndarray): First row, end row and label of each span, int64 (n_spans, 3). With the label
        NOT_KNOWN nothing is known of a span, since its label is none of these.
    probs (Optional[ndarray]): How probable they are, if they are not gold.
    RETURNS (BandGold): Spans wider than `max_width` are not in it.
    """
    n_words = len(unknown)
    spans = spans.reshape(-1, 3)
    probs = np.ones(len(spans), np.float32) if probs is None else probs.astype(np.float32)
    fits = spans[:, 1] - spans[:, 0] <= max_width
    spans, probs = spans[fits], probs[fits]
    before = np.append(0, np.cumsum(unknown))  # unknown words before each
    width = min(max_width, int(lengths.max(initial=1)))
    rows, columns = np.arange(n_words)[:, None], np.arange(width)
    ends = np.minimum(rows + columns + 1, n_words)
    known = (columns < room(lengths, width)[:, None]) & (before[ends] == before[rows])
    edges = np.repeat(~unknown[:, None], 2, axis=1)
    row, column = spans[:, 0], spans[:, 1] - spans[:, 0] - 1
    has_label = spans[:, 2] != NOT_KNOWN
    # A span that has a label is known, whatever other labels it has.
    for which, value in ((~has_label, False), (has_label, True)):
        known[row[which], column[which]] = value
        edges[row[which], 0] = value
        edges[spans[which, 1] - 1, 1] = value
    cells = np.stack([row, column, spans[:, 2]], axis=1)[has_label]
    return BandGold(known, edges, cells, probs[has_label])


class SpanBand(nn.Module):
    """A span is its first word, its last word, the mean of its words, and its width; each label is
    true of it or false.

    Words go through one linear layer, whose outputs a span adds up before the nonlinearity: what a
    layer on all these vectors would compute for each span is computed once for each word.

    Source: the representation of Zhong and Chen (2021), https://arxiv.org/abs/2010.12812; all
    starts and ends at once as in Su et al. (2022), https://arxiv.org/abs/2208.03054
    """

    def __init__(self, n_in: int, n_out: int, max_width: int, hidden: int = HIDDEN):
        super().__init__()
        self.max_width = max_width
        self.register_buffer("limit", torch.tensor(max_width))  # to be found in what is saved
        self.dropout = nn.Dropout(0.0)
        # As the start of spans, as their end, within them, and whether it is plausible as either
        # edge.
        self.words = nn.Linear(n_in, 3 * hidden + 2)
        self.widths = nn.Parameter(torch.zeros(int(bucket(np.array([max_width]))[0]) + 1, hidden))
        self.output = nn.Linear(hidden, n_out)
        nn.init.constant_(self.output.bias, log(SELDOM / (1 - SELDOM)))

    @classmethod
    def from_state(cls, state: dict[str, Tensor], config: dict[str, Any]) -> SpanBand:
        """RETURNS (SpanBand): One of the size that the saved weights have."""
        n_out, hidden = state["output.weight"].shape
        return cls(state["words.weight"].shape[1], n_out, int(state["limit"]), hidden)

    @property
    def hidden(self) -> int:
        return self.output.in_features

    def set_dropout(self, rate: float) -> None:
        self.dropout.p = rate

    def forward(self, X: Tensor) -> Tensor:
        """RETURNS (Tensor): What spans are added up from, shape (n_words, 3 * hidden + 2)."""
        return self.words(self.dropout(X))

    @torch.no_grad()
    def project(self, X: Tensor) -> Tensor:
        """RETURNS (Tensor): As from `forward`, without dropout."""
        return self.words(X)

    def blocks(self, n_words: int, width: int) -> list[range]:
        """RETURNS (List[range]): Rows of a band of so many columns that are scored in one go."""
        size = max(1, CELLS // width)
        return [range(i, min(i + size, n_words)) for i in range(0, n_words, size)]

    def cells(self, words: Tensor, rows: range, width: int) -> Tensor:
        """Score all spans of up to so many words that start in some rows, without dropout.

        words (Tensor): From `project`.
        RETURNS (Tensor): Logits, shape (n_rows, width, n_labels). Those of spans that leave their
            sequence mean nothing.
        """
        return self.output(self._hidden(words, rows, width))

    def _hidden(self, words: Tensor, rows: range, width: int) -> Tensor:
        """RETURNS (Tensor): Vectors of spans, shape (n_rows, width, hidden)."""
        missing = max(0, rows.stop + width - 1 - len(words))
        words = pad(words[rows.start : rows.stop + width - 1], (0, 0, 0, missing))
        start, end, within = words[:, :-2].split(self.hidden, dim=1)
        # Shape (n_rows, width, hidden), without a copy.
        ends, words_within = (x.unfold(0, width, 1).transpose(1, 2) for x in (end, within))
        n_words = torch.arange(1, width + 1, device=words.device)[:, None]
        means = words_within.cumsum(1) / n_words
        widths = self._width_vectors(words.device)[:width]
        return gelu(start[: len(rows), None] + ends + means + widths)

    def _width_vectors(self, device: torch.device) -> Tensor:
        columns = bucket(np.arange(1, self.max_width + 1))
        return self.widths[to_device(device, columns)[0]]

    @torch.no_grad()
    def scores(self, words: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Score single spans, without dropout.

        words (Tensor): From `project`.
        rows, columns (Tensor): Where each span is in the band, int64 (n_spans,).
        RETURNS (Tensor): Logits, shape (n_spans, n_labels).
        """
        start, end, within = words[:, :-2].split(self.hidden, dim=1)
        # In double precision, so that the words of other docs leave no trace in a difference.
        sums = pad(within.double().cumsum(0), (0, 0, 1, 0))
        widths = self._width_vectors(words.device)
        found = [words.new_zeros(0, self.output.out_features)]
        for r, c in zip(rows.split(CELLS), columns.split(CELLS)):
            means = (sums[r + c + 1] - sums[r]).to(words.dtype) / (c + 1)[:, None]
            found.append(self.output(gelu(start[r] + end[r + c] + means + widths[c])))
        return torch.cat(found)

    def loss(self, words: Tensor, gold: BandGold, weights: Tensor | None = None) -> Tensor:
        """Compare all known spans with gold.

        words (Tensor): From `forward`.
        weights (Optional[Tensor]): Factors on the loss of true labels, shape (n_labels,).
        RETURNS (Tensor): Sum over spans and labels of the binary cross entropy, and over starts and
            ends, per word; a scalar.
        """
        device = words.device
        total = words.new_zeros(())
        row, column, label = gold.spans.T
        width = gold.known.shape[1]
        for rows in self.blocks(len(words), width):
            logits = self.output(self.dropout(self._hidden(words, rows, width)))
            here = np.flatnonzero((row >= rows.start) & (row < rows.stop))
            places = [a[here] for a in (row - rows.start, column, label)]
            unknown = ~gold.known[rows.start : rows.stop]
            no, probs, *at = to_device(device, unknown, gold.probs[here], *places)
            # Filled, not picked: the host would wait to hear how many there are.
            total = total + softplus(logits).masked_fill(no[..., None], 0.0).sum()
            true = logits[tuple(at)]
            factor = 1.0 if weights is None else weights[at[2]]
            # These were taken for false.
            total = total - (probs * (factor * logsigmoid(true) + softplus(true))).sum()
        targets = np.zeros(gold.edges.shape, np.float32)
        np.maximum.at(targets[:, 0], row, gold.probs)
        np.maximum.at(targets[:, 1], row + column, gold.probs)
        targets_, weights_ = to_device(device, targets, gold.edges)
        edges = nn.functional.binary_cross_entropy_with_logits(
            words[:, -2:],
            targets_,
            weight=weights_,
            reduction="sum",
        )
        return (total + edges) / max(1, int(gold.edges.any(1).sum()))

    @torch.no_grad()
    def plausible(self, words: Tensor, room: np.ndarray) -> tuple[Tensor, Tensor]:
        """RETURNS (Tuple[Tensor, Tensor]): Rows and columns, int64 (n_spans,), of the spans that
        prediction looks at, in order.

        words (Tensor): From `project`.
        room (ndarray): From the function `room`.
        """
        width = int(room.max(initial=1))
        good = words[:, -2:] > log(PLAUSIBLE / (1 - PLAUSIBLE))
        ends = pad(good[:, 1], (0, width)).unfold(0, width, 1)
        (widest,) = to_device(words.device, room)
        index = torch.arange(width, device=words.device)
        nothing = index[:0]
        rows, columns = [], []
        for block in self.blocks(len(words), width):
            at = slice(block.start, block.stop)
            fits = good[at, :1] & ends[at] & (index < widest[at, None])
            r, c = fits.nonzero(as_tuple=True)
            rows.append(r + block.start)
            columns.append(c)
        return torch.cat([nothing, *rows]), torch.cat([nothing, *columns])

    @torch.no_grad()
    def find(
        self, words: Tensor, room: np.ndarray, thresholds: list[float], temperature: float = 1.0
    ) -> Found:
        """Find the spans whose probability reaches the threshold of their label.

        words (Tensor): From `project`.
        room (ndarray): From the function `room`.
        thresholds (List[float]): One per label.
        temperature (float): What logits are divided by.
        """
        (least,) = to_device(words.device, np.array(thresholds, np.float32))
        places, found = [], []
        for rows, columns in zip(*(t.split(CELLS) for t in self.plausible(words, room))):
            probs = (self.scores(words, rows, columns) / temperature).sigmoid()
            which, labels = (probs >= least).nonzero(as_tuple=True)
            start = rows[which]
            places.append(torch.stack([start, start + columns[which] + 1, labels]))
            found.append(probs[which, labels])
        (start, end, label), sure = to_host(torch.cat(places, dim=1), torch.cat(found).double())
        return Found(start, end, label, sure)


def bucket(widths: np.ndarray) -> np.ndarray:
    """RETURNS (ndarray): Index of the vector that stands for each width, int64: one for each up to
    EXACT words, then two for each time that it doubles."""
    wide = EXACT - 1 + np.ceil(2 * np.log2(np.maximum(widths, EXACT) / EXACT)).astype(np.int64)
    return np.where(widths <= EXACT, widths - 1, wide)


def choose(found: Found, *, nested: bool) -> np.ndarray:
    """Choose spans that do not overlap, or of which one may be within another: the most probable
    first.

    nested (bool): Whether spans may be within each other, or have the same place.
    RETURNS (ndarray): Which to keep, bool (n_spans,).
    """
    kept = np.ones(len(found.start), bool)
    if len(kept) < 2:
        return kept
    order = np.argsort(found.start, kind="stable")
    start, end = found.start[order], found.end[order]
    # Runs of spans that overlap: most have one span only.
    apart = np.append(True, start[1:] >= np.maximum.accumulate(end)[:-1])
    first = np.flatnonzero(apart)
    for begin, size in zip(first.tolist(), np.diff(np.append(first, len(start))).tolist()):
        if size == 1:
            continue
        run = order[begin : begin + size]
        taken: list[tuple[int, int]] = []
        for k in run[np.argsort(-found.prob[run], kind="stable")].tolist():
            s, e = int(found.start[k]), int(found.end[k])
            if any(_clash(s, e, *other, nested) for other in taken):
                kept[k] = False
            else:
                taken.append((s, e))
    return kept


def _clash(start: int, end: int, other_start: int, other_end: int, nested: bool) -> bool:
    if start >= other_end or other_start >= end:
        return False
    if not nested:
        return True
    return start < other_start < end < other_end or other_start < start < other_end < end
