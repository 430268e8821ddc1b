"""Dropout whose random numbers cost little on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def byte_dropout(X: Tensor, rate: float) -> Tensor:
    """Drop values in training, drawing one byte per value; the rate is a multiple of 1/256.

    On a CPU torch draws 64 bits per value, one after the other, which took a sixth of a training
    step of MiniLM.
    """
    cut = round(rate * 256)
    if X.device.type != "cpu" or not 0 < cut < 256:
        return nn.functional.dropout(X, rate)
    n = X.numel()
    # Any 64 bits, as eight bytes.
    bits = torch.empty((n + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
    kept = (bits.view(torch.uint8)[:n] >= cut).view(X.shape)
    return X * kept.to(X.dtype).mul_(256 / (256 - cut))


class ByteDropout(nn.Dropout):
    """Dropout as a module, by `byte_dropout`."""

    def forward(self, X: Tensor) -> Tensor:
        return byte_dropout(X, self.p) if self.training else X


def replace_dropout(module: nn.Module) -> None:
    """Put ByteDropout in the place of every torch dropout inside a module."""
    for part in list(module.modules()):
        for name, child in part.named_children():
            if type(child) is nn.Dropout:
                setattr(part, name, ByteDropout(child.p))
