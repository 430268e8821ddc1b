"""A linear chain over BIOES labels: learned scores for what follows what."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .bioes import B, E, I, O, S
from .transfer import to_device

UNKNOWN = -1
# Score of what can't be. Finite, so that gradients are, and far below what docs come to.
IMPOSSIBLE = -1e6


class Transitions(nn.Module):
    """Scores of the legal transitions between labels, and nothing else: what is illegal has no
    parameter and no path.

    The closing labels are O and each type's E and S, in this order; the opening ones are O and each
    type's B and S. A closing label is followed by an opening one, B and I by I or E of their type.

    Source: Lafferty, McCallum and Pereira (2001), with the legal labels of `layers/bioes.py`.
    """

    def __init__(self, n_types: int):
        super().__init__()
        n = 1 + 2 * n_types
        self.n_types = n_types
        self.start = nn.Parameter(torch.zeros(n))  # of the opening labels
        self.between = nn.Parameter(torch.zeros(n, n))  # from closing to opening
        self.inside = nn.Parameter(torch.zeros(2, 2, n_types))  # from B, I to I, E
        self.end = nn.Parameter(torch.zeros(n))  # of the closing labels

    @torch.no_grad()
    def with_type(self) -> Transitions:
        """RETURNS (Transitions): The same with one type more, which is as likely among others as O
        is."""
        new = Transitions(self.n_types + 1).to(self.start.device)
        n = self.n_types
        # Where the labels of the one with fewer types stand: O, then n of one kind, n of the other.
        at = [O, *range(1, 1 + n), O, *range(1 + n, 1 + 2 * n), O]
        new.start.copy_(self.start[at])
        new.end.copy_(self.end[at])
        new.between.copy_(self.between[at][:, at])
        new.inside[:, :, :n] = self.inside
        new.inside[:, :, n] = self.between[O, O]
        return new

    def log_likelihood(self, logits: Tensor, targets: np.ndarray, lengths: np.ndarray) -> Tensor:
        """Get the probability of all legal sequences that have the known labels.

        logits (Tensor): Scores of labels, docs end to end, shape (n_tokens, n_labels).
        targets (ndarray): Labels, UNKNOWN for those to sum over, shape (n_tokens,).
        lengths (ndarray): Tokens per doc, none of them 0, shape (n_docs,).
        RETURNS (Tensor): Logarithms of probabilities, shape (n_docs,); less than IMPOSSIBLE / 2
            where no legal sequence has the known labels.
        """
        chains = _Chains(np.concatenate([lengths, lengths]))
        known, rows, place = to_device(logits.device, targets, chains.rows, chains.place)
        labels = torch.arange(logits.shape[1], device=logits.device)
        excluded = (known[:, None] != labels) & (known[:, None] != UNKNOWN)
        # The same probabilities, in numbers that stay small over long docs.
        logits = logits.log_softmax(1)
        both = torch.cat([logits.masked_fill(excluded, IMPOSSIBLE), logits])
        sums = _LogSums.apply(chains, *map(_widened, (_by_column(both)[rows], *self._weights())))
        of_gold, of_all = sums[place].chunk(2)
        return (of_gold - of_all).to(logits.dtype)

    @torch.no_grad()
    def marginals(self, logits: Tensor, lengths: np.ndarray) -> Tensor:
        """RETURNS (Tensor): Probability of each label of each token given all tokens of its doc,
        shape (n_tokens, n_labels). Docs may be empty."""
        if not len(logits):
            return logits
        chains = _Chains(lengths[lengths > 0])
        (rows,) = to_device(logits.device, chains.rows)
        scores = _by_column(logits.log_softmax(1))[rows]
        probs = _sum_up(chains, *map(_widened, (scores, *self._weights()))).probs()
        out = torch.empty_like(logits)
        out[rows] = _by_label(probs).to(logits.dtype)
        return out

    @torch.no_grad()
    def decode(self, logits: Tensor, lengths: np.ndarray) -> np.ndarray:
        """Find the best legal sequence of each doc.

        logits (Tensor): Scores of labels, docs end to end, shape (n_tokens, n_labels), on the CPU.
        lengths (ndarray): Tokens per doc, shape (n_docs,).
        RETURNS (ndarray): Labels, int64, shape (n_tokens,).
        """
        if not len(logits):
            return np.zeros(0, np.int64)
        chains = _Chains(lengths[lengths > 0])
        columns = _Columns(self.n_types)
        start, between, inside, end = self._weights()
        best = _by_column(logits)[torch.from_numpy(chains.rows)]
        steps = best.split(chains.counts)
        columns.begin(steps[0], start)
        came_from: list[tuple[Tensor, Tensor]] = []
        for before, now in pairwise(steps):
            before = before[: len(now)]
            opened, closing = (before[:, columns.closing, None] + between).max(1)
            going_on, open_ = (columns.open_of(before) + inside).max(1)
            columns.add(now, opened, going_on)
            came_from.append((closing, open_))
        last = best[torch.from_numpy(chains.last)]
        ends = columns.closing.start + (last[:, columns.closing] + end).argmax(1).numpy()
        out = np.empty(len(best), np.int64)
        out[chains.rows] = columns.labels[_back(ends, came_from, chains, columns)]
        return out

    def _weights(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """RETURNS (tuple): `start`, `between`, `inside` and `end` in the order of `_Columns`."""
        n = self.n_types

        def opening(values: Tensor) -> Tensor:
            outside, begin, single = values.split([1, n, n], -1)
            return torch.cat([begin, outside, single], -1)

        def closing(values: Tensor) -> Tensor:
            outside, end, single = values.split([1, n, n], -1)
            return torch.cat([outside, single, end], -1)

        between = closing(opening(self.between).mT).mT
        return opening(self.start), between, self.inside.flip(0), closing(self.end)


class _Columns:
    """Where labels stand while sequences are summed up: I, B, O, S, E, each of all types together.
    So labels with the same neighbours are next to each other.

    Read from the end of a doc, E opens and B closes: with these two exchanged, the same code goes
    backwards.

    opening, closing (slice): B, O and S; O, S and E.
    labels (ndarray): The label of each column.
    """

    def __init__(self, n_types: int):
        n = self.n_types = n_types
        self.inside, self.end = slice(0, n), slice(3 * n + 1, 4 * n + 1)
        self.opening, self.closing = slice(n, 3 * n + 1), slice(2 * n, 4 * n + 1)
        first = 1 + 4 * np.arange(n)
        self.labels = np.concatenate([first + I, first + B, [O], first + S, first + E])

    def open_of(self, scores: Tensor) -> Tensor:
        """RETURNS (Tensor): Scores (..., n_labels) of I and B, to be added to what they lead to,
        shape (..., 2, 1, n_types)."""
        return scores[..., : 2 * self.n_types].unflatten(-1, (2, 1, self.n_types))

    def begin(self, scores: Tensor, start: Tensor) -> None:
        """Let first tokens, with scores (..., n_labels), have opening labels only."""
        scores[..., self.opening].add_(start)
        scores[..., self.inside].add_(IMPOSSIBLE)
        scores[..., self.end].add_(IMPOSSIBLE)

    def add(self, scores: Tensor, opening: Tensor, going_on: Tensor) -> None:
        """Add to scores (..., n_labels) of tokens what comes before them: that of opening labels,
        and that of I and E, (..., 2, n_types)."""
        scores[..., self.opening].add_(opening)
        scores[..., self.inside].add_(going_on[..., 0, :])
        scores[..., self.end].add_(going_on[..., 1, :])


def _widened(values: Tensor) -> Tensor:
    """RETURNS (Tensor): In double precision, so that sums over long docs lose nothing when they are
    compared; Apple's devices have none."""
    return values if values.device.type == "mps" else values.double()


def _by_column(values: Tensor) -> Tensor:
    """RETURNS (Tensor): Values of labels (n, n_labels) in the order of `_Columns`."""
    b, i, e, s = (values[:, 1 + offset :: 4] for offset in (B, I, E, S))
    return torch.cat([i, b, values[:, :1], s, e], 1)


def _by_label(values: Tensor) -> Tensor:
    """RETURNS (Tensor): Values of columns (n, n_labels) in the order of labels."""
    n = values.shape[1] // 4
    i, b, o, s, e = values.split([n, n, 1, n, n], 1)
    return torch.cat([o, torch.stack([b, i, e, s], 2).flatten(1)], 1)


def _mirrored(values: Tensor) -> Tensor:
    """RETURNS (Tensor): Values of columns (n, n_labels) with B and E exchanged."""
    n = values.shape[1] // 4
    i, b, os, e = values.split([n, n, n + 1, n], 1)
    return torch.cat([i, e, os, b], 1)


class _Sums(NamedTuple):
    """Log of summed scores. A row is a place among `rows` of `_Chains`.

    scores (Tensor): Of labels, shape (n_rows, n_labels).
    until (Tensor): Of all beginnings that end with a label, its own score included, (n_rows,
        n_labels).
    since (Tensor): Of all endings that start with a label, its own score included, the same shape.
    of_docs (Tensor): Of all sequences of a doc, longest doc first, shape (n_docs,).
    doc (Tensor): Of each row, int64 (n_rows,).
    """

    scores: Tensor
    until: Tensor
    since: Tensor
    of_docs: Tensor
    doc: Tensor

    def probs(self) -> Tensor:
        """RETURNS (Tensor): Probability of each label of each row, shape (n_rows, n_labels)."""
        with_label = self.until + self.since - self.scores
        return (with_label - self.of_docs[self.doc, None]).exp()


def _sum_up(
    chains: _Chains, scores: Tensor, start: Tensor, between: Tensor, inside: Tensor, end: Tensor
) -> _Sums:
    """Sum up all legal sequences of all docs: from their starts and from their ends at once, token
    by token, since each token takes a dozen small steps of a device however many docs there are.

    Source: Rabiner (1989), forward-backward algorithm; logarithms in place of scaled numbers.
    """
    columns = _Columns(between.shape[0] // 2)
    n = columns.n_types
    reverse, last, doc = to_device(scores.device, chains.reverse, chains.last, chains.doc)
    both = torch.stack([scores, _mirrored(scores)[reverse]])
    starts = torch.stack([start, end.roll(n)])
    highest, factors = _as_factors(between)
    factors = torch.stack([factors, factors.mT.roll((-n, n), (0, 1))])
    inside = torch.stack([inside, inside.transpose(0, 1)])
    steps = both.split(chains.counts, 1)
    columns.begin(steps[0], starts[:, None])
    both[:, len(chains.last) :, columns.opening].add_(highest)
    for before, now in pairwise(steps):
        before = before[:, : now.shape[1]]
        closing = before[:, :, columns.closing]
        best = closing.amax(2, keepdim=True)
        opened = ((closing - best).exp_() @ factors).log_().add_(best)
        going_on = columns.open_of(before) + inside[:, None]
        inner = torch.logaddexp(going_on[:, :, 0], going_on[:, :, 1])
        columns.add(now, opened, inner)
    until, since = both[0], _mirrored(both[1])[reverse]
    of_docs = (until[last][:, columns.closing] + end).logsumexp(1)
    return _Sums(scores, until, since, of_docs, doc)


def _as_factors(between: Tensor) -> tuple[Tensor, Tensor]:
    """So that a product of matrices sums up what closing labels lead to. RETURNS (tuple): The
    highest of the scores, and exponentials of all, divided by its own: none is 0, so that there is
    a way to each opening label."""
    highest = between.amax()
    return highest, (between - highest).exp().clamp(min=torch.finfo(between.dtype).tiny)


class _LogSums(torch.autograd.Function):
    """Log of the summed scores of all legal sequences of each doc, longest first.

    Their derivatives are probabilities, known from the sums that end and start at each token.
    Autograd would keep all that each step has computed, and go through the steps once more.
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        """As `_sum_up`. RETURNS (Tensor): Shape (n_docs,)."""
        sums = _sum_up(*arguments)
        ctx.chains = arguments[0]
        ctx.save_for_backward(*sums, *arguments[3:5])
        return sums.of_docs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (of_docs,) = gradients
        *sums, between, inside = ctx.saved_tensors
        sums = _Sums(*sums)
        columns = _Columns(between.shape[0] // 2)
        last, previous = to_device(of_docs.device, ctx.chains.last, ctx.chains.previous)
        of_labels = sums.probs() * of_docs[sums.doc, None]
        n_docs = len(of_docs)
        of_start = of_labels[:n_docs, columns.opening].sum(0)
        of_end = of_labels[last][:, columns.closing].sum(0)
        # Pairs of neighbours.
        before, after, doc = sums.until[previous], sums.since[n_docs:], sums.doc[n_docs:]
        total, weight = sums.of_docs[doc, None], of_docs[doc, None]
        closing, opening = before[:, columns.closing], after[:, columns.opening]
        best_closing, best_opening = (x.amax(1, keepdim=True) for x in (closing, opening))
        # Beyond 1 if what leads from one to the other is improbable, which comes in below.
        highest, factors = _as_factors(between)
        of_best = best_closing + best_opening + highest - total
        largest = math.log(torch.finfo(of_best.dtype).max)
        weight_of_best = weight * of_best.clamp(max=largest).exp()
        weighted = (opening - best_opening).exp() * weight_of_best
        of_between = factors * ((closing - best_closing).exp().mT @ weighted)
        into = torch.stack([after[:, columns.inside], after[:, columns.end]], 1)[:, None]
        going_on = columns.open_of(before) + inside + into - total[..., None, None]
        of_inside = (going_on.exp() * weight[..., None, None]).sum(0)
        return None, of_labels, of_start, of_between, of_inside, of_end


def _back(
    ends: np.ndarray,
    came_from: list[tuple[Tensor, Tensor]],
    chains: _Chains,
    columns: _Columns,
) -> np.ndarray:
    """Go back from the last tokens to the first ones.

    ends (ndarray): Columns of the last tokens, longest doc first, int64 (n_docs,).
    came_from (List[tuple]): For each step but the first, which closing label leads to an opening
        one, (n_docs, 1 + 2 * n_types), and whether B rather than I leads to I and E, (n_docs, 2,
        n_types).
    RETURNS (ndarray): Column of each row, int64 (n_rows,).
    """
    found = np.empty(len(chains.rows), np.int64)
    previous = np.empty((len(found), 4 * columns.n_types + 1), np.int64)
    if came_from:
        closing, open_ = (torch.cat(steps).numpy() for steps in zip(*came_from))
        later = previous[len(ends) :]
        later[:, columns.opening] = columns.closing.start + closing
        open_ = open_ * columns.n_types + np.arange(columns.n_types)
        later[:, columns.inside], later[:, columns.end] = open_[:, 0], open_[:, 1]
    current, docs = ends.copy(), np.arange(len(ends))
    row = len(found)
    for n in reversed(chains.counts):
        row -= n
        found[row : row + n] = current[:n]
        current[:n] = previous[row + docs[:n], current[:n]]
    return found


class _Chains:
    """Docs side by side, longest first, so that those with a token t are the first of them.

    lengths (ndarray): Tokens per doc, none of them 0, shape (n_docs,).
    rows (ndarray): Row of each token, all first tokens before all second ones.
    counts (List[int]): Docs that have a token t.
    place (ndarray): Place of each doc, shape (n_docs,).
    doc (ndarray): Place of the doc of each of `rows`.
    last (ndarray): Where the last token of each doc is among `rows`, longest doc first.
    previous (ndarray): Where the token before is, for all but first tokens.
    reverse (ndarray): Where the token is that is as far from the end as this one from the start.
    """

    def __init__(self, lengths: np.ndarray):
        order = np.argsort(-lengths, kind="stable")
        starts = (np.cumsum(lengths) - lengths)[order]
        lengths = lengths[order]
        self.place = np.empty_like(order)
        self.place[order] = np.arange(len(order))
        steps = np.arange(lengths[0])
        counts = np.searchsorted(-lengths, -steps, side="left")
        self.counts: list[int] = counts.tolist()
        first = np.cumsum(counts) - counts
        step = np.repeat(steps, counts)
        self.doc = np.arange(len(step)) - np.repeat(first, counts)
        self.rows = starts[self.doc] + step
        self.last = first[lengths - 1] + np.arange(len(lengths))
        self.previous = (first[step - 1] + self.doc)[len(lengths) :]
        self.reverse = first[lengths[self.doc] - 1 - step] + self.doc
