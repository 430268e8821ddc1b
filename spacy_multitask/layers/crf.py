"""A linear chain over BIOES labels: learned scores for what follows what."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from .bioes import B, E, I, O, S
from .transfer import to_device, to_host

UNKNOWN = -1
# Score of what can't be. Finite, so that gradients are, and beyond any sum over a document.
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
        # The same probabilities, in numbers that stay small over long docs.
        logits = logits.log_softmax(1)
        known = to_device(logits.device, targets)[0][:, None]
        labels = torch.arange(logits.shape[1], device=logits.device)
        excluded = (known != labels) & (known != UNKNOWN)
        both = torch.cat([logits.masked_fill(excluded, IMPOSSIBLE), logits])
        chains = _Chains(np.concatenate([lengths, lengths]))
        of_gold, of_all = self._sums(both, chains).chunk(2)
        return of_gold - of_all

    def marginals(self, logits: Tensor, lengths: np.ndarray) -> Tensor:
        """RETURNS (Tensor): Probability of each label of each token given all tokens of its doc,
        shape (n_tokens, n_labels). Docs may be empty."""
        if not len(logits):
            return logits
        with torch.enable_grad():
            # The derivative of a log partition is the expectation of what it sums over.
            leaf = logits.detach().log_softmax(1).requires_grad_()
            total = self._sums(leaf, _Chains(lengths[lengths > 0])).sum()
            return torch.autograd.grad(total, leaf)[0]

    @torch.no_grad()
    def decode(self, logits: Tensor, lengths: np.ndarray) -> np.ndarray:
        """Find the best legal sequence of each doc.

        logits (Tensor): Scores of labels, docs end to end, shape (n_tokens, n_labels).
        lengths (ndarray): Tokens per doc, shape (n_docs,).
        RETURNS (ndarray): Labels, int64, shape (n_tokens,).
        """
        if not len(logits):
            return np.zeros(0, np.int64)
        chains = _Chains(lengths[lengths > 0])
        came_from: list[Tensor] = []

        def best(scores: Tensor) -> Tensor:
            values, where = scores.max(1)
            came_from.append(where)
            return values

        ends = (self._run(logits, chains, best) + self.end).argmax(1)
        # From here on labels: what came before label j of a doc at a step.
        k = torch.arange(self.n_types, device=logits.device)
        closing = torch.cat([k[:1] * O, 1 + 4 * k + E, 1 + 4 * k + S])
        opening = torch.cat([k[:1] * O, 1 + 4 * k + B, 1 + 4 * k + S])
        last = closing[ends]
        labels = last.clone()
        steps = []
        for t in range(len(chains.counts) - 1, -1, -1):
            n = chains.counts[t]
            steps.append(labels[:n].clone())
            if not t:
                break
            between, inside = came_from[2 * t - 2], came_from[2 * t - 1]
            before = torch.empty(n, logits.shape[1], dtype=torch.int64, device=logits.device)
            before[:, opening] = closing[between]
            before[:, 1 + 4 * k + I] = 1 + 4 * k + inside[:, 0]  # offset 0 is B, 1 is I
            before[:, 1 + 4 * k + E] = 1 + 4 * k + inside[:, 1]
            labels[:n] = before.gather(1, labels[:n, None])[:, 0]
        out = np.empty(len(logits), np.int64)
        (out[chains.rows],) = to_host(torch.cat(steps[::-1]))
        return out

    def _sums(self, logits: Tensor, chains: _Chains) -> Tensor:
        """RETURNS (Tensor): Log of the summed scores of all legal sequences, shape (n_docs,)."""
        total = (self._run(logits, chains, lambda x: x.logsumexp(1)) + self.end).logsumexp(1)
        return total[to_device(total.device, chains.place)[0]]

    def _run(self, logits: Tensor, chains: _Chains, reduce: Callable[[Tensor], Tensor]) -> Tensor:
        """Go through all docs at once, token by token.

        reduce (Callable): Takes scores (n_docs, n_before, ...) to (n_docs, ...); called twice a
            step, for opening labels and for those inside.
        RETURNS (Tensor): Scores of the closing labels at each doc's last token, longest doc first,
            shape (n_docs, 1 + 2 * n_types).
        """
        X = logits[to_device(logits.device, chains.rows)[0]]
        b, i, e, s = (X[:, 1 + offset :: 4] for offset in (B, I, E, S))
        to_opening = torch.cat([X[:, :1], b, s], 1).split(chains.counts)
        to_inside = torch.stack([i, e], 1).split(chains.counts)
        n_types = self.n_types
        opened = self.start + to_opening[0]
        inside = torch.full_like(to_inside[0], IMPOSSIBLE)
        closing = torch.cat([opened[:, :1], inside[:, 1], opened[:, 1 + n_types :]], 1)
        finished = []
        for t, n in enumerate(chains.counts[1:], 1):
            finished.append(closing[n:])
            inside_before = torch.stack([opened[:n, 1 : 1 + n_types], inside[:n, 0]], 1)
            opened = reduce(closing[:n, :, None] + self.between) + to_opening[t]
            inside = reduce(inside_before[:, :, None] + self.inside) + to_inside[t]
            closing = torch.cat([opened[:, :1], inside[:, 1], opened[:, 1 + n_types :]], 1)
        return torch.cat([closing, *finished[::-1]])


class _Chains:
    """Docs side by side, longest first, so that those with a token t are the first of them.

    lengths (ndarray): Tokens per doc, none of them 0, shape (n_docs,).
    rows (ndarray): Row of each token, all first tokens before all second ones.
    counts (List[int]): Docs that have a token t.
    place (ndarray): Place of each doc, shape (n_docs,).
    """

    def __init__(self, lengths: np.ndarray):
        order = np.argsort(-lengths, kind="stable")
        starts = (np.cumsum(lengths) - lengths)[order]
        self.place = np.empty_like(order)
        self.place[order] = np.arange(len(order))
        steps = np.arange(lengths.max())
        counts = np.searchsorted(-lengths[order], -steps, side="left")
        self.counts: list[int] = counts.tolist()
        step = np.repeat(steps, counts)
        doc = np.arange(len(step)) - np.repeat(np.cumsum(counts) - counts, counts)
        self.rows = starts[doc] + step
