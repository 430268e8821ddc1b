"""The relation head's trained layer: pairs of spans to logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .transfer import to_device

# Distances between two spans are told apart up to 2 ** (N_DISTANCES - 2) tokens.
N_DISTANCES = 8
SIZE_EMBEDDING = 32
# In prediction pairs are scored in blocks of so many word vectors: those between each pair, and
# what else a pair takes, which is as much as some vectors.
BLOCK = 16384
VECTORS_PER_PAIR = 4


class PairClassifier(nn.Module):
    """A pair is the largest values of its head, its tail and of what is between them, the types of
    both, which comes first, and how far they are apart.

    Source: after Eberts and Ulges (2020), https://arxiv.org/abs/1909.07755
    """

    def __init__(self, n_in: int, n_types: int, n_out: int, hidden: int):
        super().__init__()
        self.types = nn.Embedding(n_types + 1, SIZE_EMBEDDING)  # the last: a type never seen
        self.distances = nn.Embedding(2 * N_DISTANCES, SIZE_EMBEDDING)
        self.empty = nn.Parameter(torch.zeros(n_in))  # between neighbours
        self.dropout = nn.Dropout(0.0)
        self.hidden = nn.Linear(3 * n_in + 3 * SIZE_EMBEDDING, hidden)
        self.output = nn.Linear(hidden, n_out)

    @classmethod
    def from_state(cls, state: dict[str, Tensor], config: dict[str, Any]) -> PairClassifier:
        """RETURNS (PairClassifier): One of the size that the saved weights have."""
        n_out, hidden = state["output.weight"].shape
        return cls(state["empty"].shape[0], state["types.weight"].shape[0] - 1, n_out, hidden)

    @property
    def n_out(self) -> int:
        return self.output.out_features

    def set_dropout(self, rate: float) -> None:
        self.dropout.p = rate

    def forward(
        self, words: Tensor, spans: np.ndarray, types: np.ndarray, pairs: np.ndarray
    ) -> Tensor:
        pooled = pool_max(words, spans, self.empty)
        features = self.dropout(self.features(words, pooled, spans, types, pairs))
        return self.output(self.dropout(nn.functional.gelu(self.hidden(features))))

    @torch.no_grad()
    def project(
        self, words: Tensor, spans: np.ndarray, types: np.ndarray, pairs: np.ndarray
    ) -> Tensor:
        """RETURNS (Tensor): As from `forward`, without dropout, in bounded memory."""
        pooled = pool_max(words, spans, self.empty)
        between = span_between(spans[pairs])
        n_vectors = VECTORS_PER_PAIR + np.maximum(0, between[:, 1] - between[:, 0])
        borders = np.flatnonzero(np.diff(np.cumsum(n_vectors) // BLOCK)) + 1
        logits = []
        for block in np.split(pairs, borders):
            features = self.features(words, pooled, spans, types, block)
            logits.append(self.output(nn.functional.gelu(self.hidden(features))))
        return torch.cat(logits)

    def features(
        self,
        words: Tensor,
        pooled: Tensor,
        spans: np.ndarray,
        types: np.ndarray,
        pairs: np.ndarray,
    ) -> Tensor:
        """Describe pairs of spans.

        words (Tensor): Word vectors, shape (n_words, width).
        pooled (Tensor): Largest values of each span, shape (n_spans, width).
        spans (ndarray): First row and end row of each span, int64, shape (n_spans, 2).
        types (ndarray): Index of each span's type, int64, shape (n_spans,).
        pairs (ndarray): Head and tail, indices of spans, int64, shape (n_pairs, 2).
        RETURNS (Tensor): Shape (n_pairs, 3 * n_in + 3 * SIZE_EMBEDDING).
        """
        device = words.device
        ends = spans[pairs]
        head_first = ends[:, 0, 0] <= ends[:, 1, 0]
        between = span_between(ends)
        distance = np.maximum(0, between[:, 1] - between[:, 0])
        bucket = np.minimum(np.ceil(np.log2(distance + 1)).astype(np.int64), N_DISTANCES - 1)
        index, types_, buckets = to_device(device, pairs, types, bucket + N_DISTANCES * head_first)
        kinds = self.types(types_)
        return torch.cat(
            [
                pooled[index[:, 0]],
                pooled[index[:, 1]],
                pool_max(words, between, self.empty),
                kinds[index[:, 0]],
                kinds[index[:, 1]],
                self.distances(buckets),
            ],
            dim=1,
        )


def span_between(ends: np.ndarray) -> np.ndarray:
    """Find what is between the spans of pairs.

    ends (ndarray): First row and end row of head and tail, shape (n_pairs, 2, 2).
    RETURNS (ndarray): First row and end row, shape (n_pairs, 2); the end is not after the first
        row if there is nothing between.
    """
    return np.stack([ends[:, :, 1].min(1), ends[:, :, 0].max(1)], axis=1)


def pool_max(words: Tensor, ranges: np.ndarray, empty: Tensor) -> Tensor:
    """RETURNS (Tensor): The largest values of the words in each range, shape (n_ranges, width);
    `empty` for ranges without words."""
    sizes = np.maximum(0, ranges[:, 1] - ranges[:, 0])
    which = np.repeat(np.arange(len(ranges)), sizes)
    rows = np.arange(len(which)) - (np.cumsum(sizes) - sizes)[which] + ranges[which, 0]
    index, places = to_device(words.device, which, rows)
    index = index[:, None].expand(-1, words.shape[1])
    values = words[places]
    start = empty.to(words.dtype).expand(len(ranges), -1)
    return start.scatter_reduce(0, index, values, "amax", include_self=False)
