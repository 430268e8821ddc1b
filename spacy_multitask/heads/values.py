"""Labels of which one is true of an item, or several: what heads of docs and of spans share.

Values are float32 arrays (n_items, n_labels): 1 for true, 0 for false, something in between, or NaN
where nothing is known.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from ..layers.transfer import to_device


def loss_of_values(
    logits: Tensor,
    values: np.ndarray,
    *,
    exclusive: bool,
    weight: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Compare logits with values.

    logits (Tensor): Shape (n_items, n_labels).
    exclusive (bool): Whether one label is true of each item; then one value of each is above 0.
    weight (Optional[Tensor]): Factors on the loss of labels that are true, shape (n_labels,).
    RETURNS (Tensor): Mean over items or, where several labels may be true, over what is known; a
        scalar.
    """
    (targets,) = to_device(logits.device, values)
    if exclusive:
        targets = targets.nan_to_num(0.0)
        targets = targets / targets.sum(1, keepdim=True)
        total = nn.functional.cross_entropy(
            logits, targets, weight=weight, label_smoothing=label_smoothing, reduction="sum"
        )
        # As torch has it for class indices; for probabilities it would divide by the items.
        return total / (targets if weight is None else targets * weight).sum()
    # By place: with a mask the host would wait to hear how many there are.
    (known,) = to_device(logits.device, np.flatnonzero(~np.isnan(values)))
    smooth = targets.view(-1)[known] * (1 - label_smoothing) + label_smoothing / 2
    if weight is not None:
        weight = weight.expand_as(targets).reshape(-1)[known]
    return nn.functional.binary_cross_entropy_with_logits(
        logits.reshape(-1)[known], smooth, pos_weight=weight
    )


def n_of_values(values: np.ndarray, *, exclusive: bool, weight: Tensor | None = None) -> float:
    """RETURNS (float): What `loss_of_values` is a mean over; options as there."""
    if not exclusive:
        return float((~np.isnan(values)).sum())
    if weight is None:
        return float(len(values))
    targets = np.nan_to_num(values)
    return float((targets / targets.sum(1, keepdims=True) @ weight.cpu().numpy()).sum())


def choices_of(
    logits: np.ndarray, values: np.ndarray, *, exclusive: bool
) -> tuple[np.ndarray, np.ndarray]:
    """RETURNS (Tuple[ndarray, ndarray]): Logits (n, n_classes) and classes (n,) of single choices:
    one for each item or, where several labels may be true, one between false and true for each
    value that is known."""
    if exclusive:
        return logits, np.nan_to_num(values).argmax(1)
    known = ~np.isnan(values)
    true = logits[known]
    return np.stack([np.zeros_like(true), true], axis=1), values[known] >= 0.5


def known_rows(values: np.ndarray, *, exclusive: bool) -> np.ndarray:
    """RETURNS (ndarray): Items from which something is learned, int64 (n,)."""
    if exclusive:
        return np.flatnonzero((np.nan_to_num(values) > 0).any(axis=1))
    return np.flatnonzero(~np.isnan(values).all(axis=1))


def filled(values: np.ndarray, *, exclusive: bool, is_complete: bool) -> np.ndarray | None:
    """Take what a teacher says of one item for values.

    values (ndarray): Shape (n_labels,); some are known.
    is_complete (bool): Whether it knows all labels: where one is true of each item, those that it
        does not name share what is left.
    RETURNS (Optional[ndarray]): None if most of what it says is for other labels.
    """
    if not exclusive:
        return values
    said = np.nansum(values)
    if said < 0.5 and not is_complete:
        return None
    others = np.isnan(values)
    rest = max(0.0, 1.0 - said) if is_complete else 0.0
    return np.where(others, rest / max(1, others.sum()), values).astype(np.float32)
