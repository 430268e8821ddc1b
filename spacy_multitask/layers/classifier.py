"""The heads' only trained layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .crf import Transitions


class Classifier(nn.Module):
    """Dropout and a linear layer: vectors (n, nI) to logits (n, nO).

    transitions (Optional[Transitions]): Scores of neighbouring labels, for those who want them.
    """

    def __init__(self, n_in: int, n_out: int, transitions: Transitions | None = None):
        super().__init__()
        self.dropout = nn.Dropout(0.0)
        self.linear = nn.Linear(n_in, n_out)
        self.transitions = transitions

    def forward(self, X: Tensor) -> Tensor:
        return self.linear(self.dropout(X))

    @classmethod
    def from_state(cls, state: dict[str, Tensor], config: dict[str, Any]) -> Classifier:
        """RETURNS (Classifier): One of the size that the saved weights have."""
        n_out, n_in = state["linear.weight"].shape
        inside = state.get("transitions.inside")
        return cls(n_in, n_out, None if inside is None else Transitions(inside.shape[2]))

    @property
    def n_out(self) -> int:
        return self.linear.out_features

    def set_dropout(self, rate: float) -> None:
        self.dropout.p = rate

    @torch.no_grad()
    def project(self, X: Tensor) -> Tensor:
        """RETURNS (Tensor): Logits without dropout."""
        return self.linear(X)
