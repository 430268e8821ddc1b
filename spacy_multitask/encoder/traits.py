"""What is to be known of an encoder before it is used: how long its input may be, which way it
looks, whether padding changes what it gives. Found out once, and saved with the weights."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..layers.network import TransformerNetwork
from .tokenizer import NO_LENGTH

NO_LIMIT = 1_000_000
# Vectors may differ by so much of the greatest value, for all that floats are rounded.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Traits:
    """pieces (str): How words are cut into pieces, one of `contexts.STYLES`. Heads that were
        trained on one style predict worse on another.
    longest_input (int): Most pieces at once, special ones included.
    causal (bool): Whether a piece sees only those before it.
    pads (bool): Whether inputs of different length may be put together, padded.
    """

    pieces: str
    longest_input: int
    causal: bool = False
    pads: bool = True


def longest_input(transformer: Any, tokenizer: Any) -> int:
    """RETURNS (int): Most pieces that a model takes at once, special ones included; NO_LIMIT if it
    has no positions that could run out, and nobody says what it was made for."""
    limits = [NO_LIMIT]
    if tokenizer.model_max_length < NO_LENGTH:
        limits.append(int(tokenizer.model_max_length))
    if positions := positions_of(transformer):
        limits.append(positions)
    return min(limits)


def positions_of(transformer: Any) -> int | None:
    """RETURNS (Optional[int]): Positions that a model has for pieces, if its config says."""
    config = transformer.config
    positions = getattr(config, "max_position_embeddings", None)
    if not positions or positions < 0:  # XLNet says -1
        return None
    # RoBERTa counts positions from after the padding id.
    padding = getattr(getattr(transformer, "embeddings", None), "padding_idx", None)
    return positions if padding is None else positions - padding - 1


@dataclass(frozen=True)
class Probe:
    """causal (bool): Whether a piece sees only those before it.
    padding (float): How much padding changes a piece's vector, at most; infinite if the model takes
        no mask.
    scale (float): The greatest value in a vector, for comparison.
    """

    causal: bool
    padding: float
    scale: float

    @property
    def takes_mask(self) -> bool:
        return self.padding != float("inf")

    @property
    def pads(self) -> bool:
        """RETURNS (bool): Whether padding changes nothing."""
        return self.padding <= TOLERANCE * self.scale


def probe(network: TransformerNetwork, pieces: np.ndarray, pad: int) -> Probe:
    """Try a network out.

    pieces (ndarray): Ids of some text with special pieces, int64, shape (n_pieces,).
    pad (int): Id of the piece for padding.
    RETURNS (Probe): What was found.
    """
    device = next(network.parameters()).device
    whole = torch.from_numpy(pieces).to(device)[None]
    half = whole[:, : len(pieces) // 2]

    def run(ids: Tensor, mask: Tensor | None = None) -> Tensor:
        # Not called as a module: that would translate it, if it is to be compiled.
        return network.forward(ids, torch.zeros_like(ids), mask)

    network.eval()
    with torch.no_grad():
        alone = run(half)
        scale = float(alone.abs().max())
        n_before = half.shape[1] - 1
        changed = half.clone()
        changed[:, -1] = whole[:, 0]
        moved = float((run(changed) - alone)[:, :n_before].abs().max())
        padding = float("inf")
        if "attention_mask" in inspect.signature(network.transformer.forward).parameters:
            padded = torch.full_like(whole, pad)
            padded[:, : half.shape[1]] = half
            mask = (torch.arange(whole.shape[1], device=device) < half.shape[1]).long()[None]
            together = run(torch.cat([padded, whole]), torch.cat([mask, torch.ones_like(mask)]))
            padding = float((together[:1, : half.shape[1]] - alone).abs().max())
    return Probe(moved <= TOLERANCE * scale, padding, scale)


def cls_column(
    tokenizer: Any, prefix: np.ndarray, suffix: np.ndarray, *, causal: bool
) -> int | None:
    """Find the special piece whose vector stands for a whole text.

    prefix, suffix (ndarray): Ids of what the tokenizer puts around a text.
    causal (bool): Whether a piece sees only those before it.
    RETURNS (Optional[int]): Its column, counted from the start or, below 0, from the end of the
        input; None if there is none.
    """
    if causal:
        return -1 if len(suffix) else None
    for ids, offset in ((prefix, 0), (suffix, -len(suffix))):
        found = np.flatnonzero(ids == tokenizer.cls_token_id)
        if len(found):
            return int(found[0]) + offset
    return 0 if len(prefix) else None
