"""Attention that trains faster on a CPU than torch's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .dropout import byte_dropout


class TrainingAttention(TorchFunctionMode):
    """Within it, `scaled_dot_product_attention` is computed step by step.

    On a CPU torch does the same when there is dropout, but draws 64 random bits per value and looks
    for rows in which everything is masked. Without dropout its blocked attention is slow to
    backpropagate in bfloat16. This made a training step of MiniLM an eighth faster.
    """

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is nn.functional.scaled_dot_product_attention and not kwargs.get("is_causal"):
            return attention(*args, **kwargs)
        return func(*args, **kwargs)


class FittingFill(TorchFunctionMode):
    """Within it, `masked_fill` takes values that are out of the range of a tensor's type as its
    least or greatest. DeBERTa v1 fills bfloat16 with the least float32."""

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is Tensor.masked_fill and len(args) == 3 and isinstance(args[2], float):
            range_ = torch.finfo(args[0].dtype)
            args = (*args[:2], min(max(args[2], range_.min), range_.max))
        return func(*args, **(kwargs or {}))


class KnownPadding(TorchFunctionMode):
    """Within it, it is known without asking the device whether a mask masks something:
    transformers asks to leave out masks that do not, and waits for the answer.

    shape (Size): The mask's, one value for each piece.
    is_padded (bool): Whether it masks something. Of windows of one length models make a mask of
        their own, which does not.
    """

    def __init__(self, shape: torch.Size, *, is_padded: bool):
        super().__init__()
        self.shape = shape
        self.answer = torch.tensor(not is_padded)

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in (torch.all, Tensor.all) and len(args) == 1 and not kwargs:
            if args[0].shape == self.shape:
                return self.answer
        return func(*args, **(kwargs or {}))


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Compute what `torch.nn.functional.scaled_dot_product_attention` does.

    query, key, value (Tensor): Shape (..., n_pieces, width).
    attn_mask (Optional[Tensor]): True where a piece is looked at, or what to add to the scores;
        shape (..., n_pieces, n_pieces) or one that broadcasts to it.
    dropout_p (float): Rate of dropout on the weights.
    scale (Optional[float]): Factor on the scores; by default one over the root of the width.
    enable_gqa (bool): Whether several heads of the query share one of key and value.
    RETURNS (Tensor): Shape (..., n_pieces, width).
    RAISES (ValueError): If it is to be causal without a mask.
    """
    if is_causal:
        raise ValueError("Causal attention needs a mask here.")
    if enable_gqa:
        key, value = (
            shared.repeat_interleave(query.shape[-3] // shared.shape[-3], dim=-3)
            for shared in (key, value)
        )
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = (query * scale) @ key.transpose(-2, -1)
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, torch.finfo(scores.dtype).min)
        else:
            # The least float32 is -inf in bfloat16, and a row of these has no softmax.
            least = torch.finfo(scores.dtype).min
            scores = scores + attn_mask.clamp(min=least).to(scores.dtype)
    weights = scores.softmax(-1)
    return byte_dropout(weights, dropout_p).to(value.dtype) @ value


def both_ways(ids: Tensor, mask: Tensor | None, window: int) -> dict[str, Tensor]:
    """Make the masks of a Gemma that looks both ways.

    ids (Tensor): Piece ids, shape (n_windows, n_pieces).
    mask (Optional[Tensor]): 1 for pieces, 0 for padding, shape (n_windows, n_pieces).
    window (int): Layers with a sliding window look at pieces that are less than this away.
    RETURNS (Dict[str, Tensor]): For either kind of layer, True where a piece is looked at, shape
        (n_windows, 1, n_pieces, n_pieces).
    """
    n_windows, n_pieces = ids.shape
    places = torch.arange(n_pieces, device=ids.device)
    full = torch.ones(n_windows, 1, n_pieces, n_pieces, dtype=torch.bool, device=ids.device)
    if mask is not None:
        full = full & (mask > 0)[:, None, None]
    near = (places[:, None] - places).abs() < window
    return {"full_attention": full, "sliding_attention": full & near}
