"""A few words' pieces and vectors, saved with an encoder: another version of transformers must give
the same, or what the heads have learned does not hold."""

from __future__ import annotations

from copy import copy
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from spacy.tokens import Doc
from spacy.vocab import Vocab

from ..layers.network import TransformerNetwork
from ..layers.transfer import to_device
from .encode import Encoder

# Words, and whether a space follows.
_WORDS = [("Anna", True), ("Smith", False), (",", True), ("(", False), ("York", False), (")", True)]
_WORDS += [("naïve", True), ("1996", False), ("-", False), ("97", True), ("東京", False)]
_N_COLUMNS = 4
# Vectors may differ by so much of the greatest value.
_TOLERANCE = 1e-3


def take(encoder: Encoder) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): Pieces, the first columns of their vectors, and the version of
    transformers that they come from. Graphs have no vectors here: int8 depends on the machine."""
    words, spaces = zip(*_WORDS)
    doc = Doc(Vocab(), words=list(words), spaces=list(spaces))
    # A cache of its own, so that the encoder's stays as it is.
    ids = copy(encoder.cache).pieces_of([doc]).ids[: encoder.capacity]
    pieces = [*encoder.prefix.tolist(), *ids.tolist(), *encoder.suffix.tolist()]
    found: dict[str, Any] = {"transformers": version("transformers"), "pieces": pieces}
    network = encoder.network
    if isinstance(network, TransformerNetwork):
        (inputs,) = to_device(encoder.device, np.array([pieces]))
        with encoder.gate.training(), torch.no_grad():
            # Not called as a module: that would translate it, if it is to be compiled.
            vectors = network.forward(inputs, torch.zeros_like(inputs), None)[0]
        if not bool(vectors.isfinite().all()):  # JSON has no such numbers, and they equal nothing
            return found
        found["scale"] = round(float(vectors.abs().max()), 4)
        found["vectors"] = [
            [round(value, 5) for value in row] for row in vectors[:, :_N_COLUMNS].tolist()
        ]
    return found


def check(encoder: Encoder, saved: dict[str, Any], source: str) -> None:
    """Compare an encoder with what it was when it was saved.

    RAISES (ValueError): If it gives other pieces or vectors here, or what was saved is damaged.
    """
    found = take(encoder)
    try:
        there, what = str(saved["transformers"])[:20], _difference(found, saved)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{source}: the encoder's fingerprint is damaged: {error!r}") from error
    here = found["transformers"]
    if what:
        raise ValueError(
            f"{source}: the encoder was saved with transformers {there}. Here, with transformers "
            f"{here}, {what}, so that its heads would be wrong. Install transformers {there}, or "
            "train the pipeline with the version that is here."
        )


def _difference(found: dict[str, Any], saved: dict[str, Any]) -> str:
    """RETURNS (str): What differs, in words; "" if nothing does."""
    if found["pieces"] != saved["pieces"]:
        return "words are cut into other pieces"
    if "vectors" in saved and "vectors" in found:
        difference = np.abs(np.array(found["vectors"]) - np.array(saved["vectors"])).max()
        if not difference <= _TOLERANCE * max(1.0, saved["scale"]):
            return f"vectors differ by up to {difference:.2g}"
    return ""
