"""Parts of an encoder that do not learn."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..layers.network import TransformerNetwork

_RANGE = re.compile(r"(\d+)(?:-(\d+))?")
_EMBEDDINGS = "embeddings"


@dataclass(frozen=True)
class Frozen:
    """embeddings (bool): Whether the embeddings are frozen.
    layers (FrozenSet[int]): Layers that are, counted from 0.
    """

    embeddings: bool
    layers: frozenset[int]

    def has(self, layer: int | None) -> bool:
        """
        layer (Optional[int]): -1 for the embeddings, None for what is no layer's alone.
        """
        return self.embeddings if layer == -1 else layer in self.layers


def parse_freeze(text: str | None) -> Frozen:
    """Read the option `freeze`, such as "embeddings,0-5".

    RAISES (ValueError): If it is something else.
    """
    embeddings, layers = False, set[int]()
    for part in (text or "").replace(" ", "").split(",") if text else ():
        match = _RANGE.fullmatch(part)
        if part == _EMBEDDINGS:
            embeddings = True
        elif match and int(match[1]) <= int(match[2] or match[1]) < 1000:
            layers.update(range(int(match[1]), int(match[2] or match[1]) + 1))
        else:
            raise ValueError(
                f'freeze = {text!r}: {part!r} is neither "embeddings", a layer nor a range of '
                'layers, lower one first. Write, say, "embeddings,0-5".'
            )
    return Frozen(embeddings, frozenset(layers))


def freeze(network: TransformerNetwork, frozen: Frozen) -> None:
    """Let parts of a network learn no more. What is not pretrained learns on.

    RAISES (ValueError): If it has no such part, or none would be left that learns.
    """
    pretrained = {
        name: network.layer_of(name)
        for name, _ in network.named_parameters()
        if not network.is_new(name)
    }
    wanted = sorted(frozen.layers | ({-1} if frozen.embeddings else set()))
    missing = [layer for layer in wanted if layer not in pretrained.values()]
    if missing:
        what = "embeddings" if missing[0] == -1 else f"layer {missing[0]}"
        there = max((layer for layer in pretrained.values() if layer is not None), default=-1)
        has = f"It has layers 0 to {there}" if there >= 0 else "Its layers share their weights"
        raise ValueError(f"freeze: this encoder has no {what} that can be frozen. {has}.")
    for name, parameter in network.named_parameters():
        if name.startswith("transformer.") and frozen.has(network.layer_of(name)):
            parameter.requires_grad_(False)
    inside = [p for n, p in network.named_parameters() if n.startswith("transformer.")]
    if wanted and not any(p.requires_grad for p in inside):
        raise ValueError(
            "freeze leaves nothing of the encoder that learns. Take freeze out, and name the "
            "encoder in [training] frozen_components."
        )
