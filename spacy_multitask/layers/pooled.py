"""The trained layer that labels spans which are there already."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .pairs import BLOCK, pool_max
from .transfer import to_device


class SpanClassifier(nn.Module):
    """A span is its first and its last word, and the largest values of all its words."""

    def __init__(self, n_in: int, n_out: int, hidden: int):
        super().__init__()
        self.dropout = nn.Dropout(0.0)
        self.hidden = nn.Linear(3 * n_in, hidden)
        self.output = nn.Linear(hidden, n_out)

    @classmethod
    def from_state(cls, state: dict[str, Tensor], config: dict[str, Any]) -> SpanClassifier:
        """RETURNS (SpanClassifier): One of the size that the saved weights have."""
        n_out, hidden = state["output.weight"].shape
        return cls(state["hidden.weight"].shape[1] // 3, n_out, hidden)

    def set_dropout(self, rate: float) -> None:
        self.dropout.p = rate

    def forward(self, words: Tensor, spans: np.ndarray) -> Tensor:
        """Label spans.

        words (Tensor): Word vectors, shape (n_words, width).
        spans (ndarray): First row and end row of each, int64 (n_spans, 2); none is empty.
        RETURNS (Tensor): Logits, shape (n_spans, n_labels).
        """
        features = self.dropout(self.features(words, spans))
        return self.output(self.dropout(nn.functional.gelu(self.hidden(features))))

    def features(self, words: Tensor, spans: np.ndarray) -> Tensor:
        """RETURNS (Tensor): What spans are, shape (n_spans, 3 * n_in)."""
        first, end = to_device(words.device, spans)[0].T
        pooled = pool_max(words, spans, words.new_zeros(words.shape[1]))
        return torch.cat([words[first], words[end - 1], pooled], dim=1)

    @torch.no_grad()
    def project(self, words: Tensor, spans: np.ndarray) -> Tensor:
        """RETURNS (Tensor): As from `forward`, without dropout, in bounded memory."""
        sizes = np.cumsum(spans[:, 1] - spans[:, 0])
        parts = np.split(spans, np.flatnonzero(np.diff(sizes // BLOCK)) + 1)
        hidden = (nn.functional.gelu(self.hidden(self.features(words, part))) for part in parts)
        return torch.cat([self.output(part) for part in hidden])
