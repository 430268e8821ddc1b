"""The bridge between the encoder and thinc."""

from __future__ import annotations

import copy
from typing import Any, cast

import srsly
import torch

from ..layers.network import TransformerNetwork
from ..layers.onnx import OnnxNetwork, export, quantize_graph
from ..layers.peft_adapter import is_adapted
from ..layers.shim import TorchShim
from .encode import Encoder, EncoderOptions, Network
from .files import from_files, is_saved, load_saved, to_files
from .pretrained import load_pretrained


class EncoderShim(TorchShim):
    """Holds an encoder that may not exist yet: it comes from a hub, a folder or saved files.

    thinc and the optimizer see the parameters of its network, which is the shim's module.
    """

    def __init__(self, name: str, options: EncoderOptions):
        super().__init__()
        self.name = name
        self.options = options
        self._encoder: Encoder | None = None

    @property
    def encoder(self) -> Encoder:
        """RETURNS (Encoder): The encoder.
        RAISES (ValueError): If the pipeline was neither initialised nor loaded.
        """
        if self._encoder is None:
            assert self.module is not None  # says what is missing
            raise AssertionError
        return self._encoder

    @property
    def module(self) -> Network:
        return cast(Network, super().module)

    def _set(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.set_module(encoder.network)

    def load_pretrained(self) -> None:
        """Load weights and tokenizer by name.

        RAISES (ValueError): If no encoder is named or it can't be loaded.
        """
        load = load_saved if is_saved(self.name) else load_pretrained
        self._set(load(self.name, self.options))

    def quantize(self, **options: Any) -> None:
        """Put an int8 graph in place of the weights; options as for `quantize_graph`."""
        encoder = self.encoder
        network = cast(TransformerNetwork, copy.deepcopy(encoder.network).to("cpu"))
        if is_adapted(network.transformer):
            network.merge_adapter()
        quantized = OnnxNetwork(
            quantize_graph(export(network), **options),
            width=encoder.width,
            longest_input=encoder.traits.longest_input,
        )
        self._set(Encoder(quantized, encoder.tokenizer, encoder.traits, self.options))

    def differs_from(self, other: EncoderShim) -> bool:
        """RETURNS (bool): Whether the other has other weights; False if that can't be known, as
        between weights and an int8 graph."""
        if not (self.has_module and other.has_module):
            return False
        a, b = self.module, other.module
        if isinstance(a, OnnxNetwork) and isinstance(b, OnnxNetwork):
            return a.graph != b.graph
        if isinstance(a, OnnxNetwork) or isinstance(b, OnnxNetwork):
            return False
        own, others = a.state_dict(), b.state_dict()
        return own.keys() != others.keys() or not all(
            value.shape == others[name].shape and torch.equal(value, others[name].to(value.device))
            for name, value in own.items()
        )

    # Saving and loading

    def to_files(self) -> dict[str, bytes]:
        """RETURNS (Dict[str, bytes]): File names and contents; empty if nothing was loaded yet."""
        return to_files(self.encoder) if self.has_module else {}

    def from_files(self, files: dict[str, bytes], source: str) -> EncoderShim:
        """Load what `to_files` gave.

        source (str): Where the files come from, for error messages.
        RAISES (ValueError): If a file is missing or damaged.
        """
        if files:
            self._set(from_files(files, source, self.options))
        return self

    def to_bytes(self) -> bytes:
        return srsly.msgpack_dumps(self.to_files())

    def from_bytes(self, data: bytes) -> EncoderShim:
        return self.from_files(srsly.msgpack_loads(data), "encoder")
