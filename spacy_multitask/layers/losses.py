"""Losses that stay on the device until someone reads them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .transfer import is_streaming


def add_loss(losses: dict[str, Any], name: str, loss: Tensor) -> None:
    """Add a loss to those of a component.

    losses (Dict[str, float]): Where spaCy collects the losses. On a GPU it gets a `DeviceLoss`.
    loss (Tensor): A scalar.
    """
    loss = loss.detach()
    value = DeviceLoss(loss) if is_streaming(loss.device) else float(loss)
    losses[name] = losses.get(name, 0.0) + value


def settle_losses(losses: dict[str, Any]) -> None:
    """Put numbers in the place of losses on a device, with one wait for all of them."""
    waiting = {name: loss for name, loss in losses.items() if isinstance(loss, DeviceLoss)}
    if waiting:
        values = torch.stack([loss.value.double() for loss in waiting.values()]).tolist()
        losses.update(zip(waiting, values))


class DeviceLoss:
    """A number that the host has not asked for yet: asking makes it wait for the device, so that
    a training step that read its losses could not overlap with the next.

    It adds up without asking. `float()` asks, and so do comparisons and formats.
    """

    def __init__(self, value: Tensor):
        self.value = value

    def __add__(self, other: Any) -> DeviceLoss:
        return DeviceLoss(self.value + (other.value if isinstance(other, DeviceLoss) else other))

    __radd__ = __add__

    def __float__(self) -> float:
        return float(self.value)

    def __bool__(self) -> bool:
        return bool(float(self))

    def __truediv__(self, other: float) -> float:
        return float(self) / other

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int | float | DeviceLoss) and float(self) == float(other)

    def __lt__(self, other: float) -> bool:
        return float(self) < float(other)

    def __gt__(self, other: float) -> bool:
        return float(self) > float(other)

    def __hash__(self) -> int:
        return hash(float(self))

    def __round__(self, digits: int | None = None) -> float:
        return round(float(self), digits)

    def __repr__(self) -> str:
        return repr(float(self))

    def __format__(self, spec: str) -> str:
        return format(float(self), spec)
