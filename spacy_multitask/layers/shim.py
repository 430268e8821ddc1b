"""The bridge between a torch module and thinc: parameters, optimizer steps and serialisation."""

from __future__ import annotations

import contextlib
import copy
import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from thinc.api import Optimizer, get_torch_default_device, torch2xp, xp2torch
from thinc.shims.shim import Shim
from torch import nn

from .transfer import as_tensor

_MOST_HEADER = 100_000_000  # bytes; safetensors itself takes no more


class TorchShim(Shim):
    """Holds a torch module that may not exist yet: its shape is known only from data or a file.

    `build` makes the module from the state read from bytes; the component sets the module itself
    when it initialises. Weights travel as safetensors, so that loading runs no pickle.
    """

    def __init__(
        self,
        module: nn.Module | None = None,
        build: Callable[[dict[str, torch.Tensor], dict[str, Any]], nn.Module] | None = None,
        config: dict[str, Any] | None = None,
    ):
        super().__init__(None, config)
        self._build = build
        self._copies: dict[str, nn.Module] = {}  # of parts, for `part_on`
        if module is not None:
            self.set_module(module)

    @property
    def module(self) -> nn.Module:
        """RETURNS (nn.Module): The module.
        RAISES (ValueError): If the pipeline was neither initialised nor loaded.
        """
        if self._model is None:
            raise ValueError(
                "This model has no weights yet. Call nlp.initialize() to train it, "
                "or load a trained pipeline with spacy.load()."
            )
        return self._model

    @property
    def has_module(self) -> bool:
        return self._model is not None

    @property
    def device(self) -> torch.device:
        parameter = next(self.module.parameters(), None)
        return get_torch_default_device() if parameter is None else parameter.device

    def set_module(self, module: nn.Module) -> None:
        self._model = module.to(get_torch_default_device())
        self.weights_changed()

    def weights_changed(self) -> None:
        """Forget copies of older weights."""
        self._copies = {}

    def part_on(self, device: torch.device, name: str) -> Any:
        """RETURNS (Optional[Module]): A part of the module; a copy of it if it is to work on
        another device, which is kept until the weights change."""
        part = getattr(self.module, name)
        if part is None or next(part.parameters()).device == device:
            return part
        if name not in self._copies:
            self._copies[name] = copy.deepcopy(part).to(device)
        return self._copies[name]

    def copy(self) -> TorchShim:
        """RETURNS (TorchShim): One of its own for optimizers, which keep moments and averages by
        id; thinc's copy would share them."""
        copied = super().copy()
        copied._copies = {}
        copied.renew_id()
        return copied

    def renew_id(self) -> None:
        """Let optimizers begin anew with it, as with weights of another shape."""
        with Shim.global_id_lock:
            Shim.global_id += 1
            self.id = Shim.global_id

    def finish_update(self, optimizer: Optimizer) -> None:
        """Take one optimizer step with the accumulated gradients, then clear them."""
        self.weights_changed()
        step_module = getattr(optimizer, "step_module", None)  # of our AdamW
        if step_module is not None:
            step_module(self.id, self.module)
            return
        for name, parameter in self.module.named_parameters():
            if parameter.grad is None:
                continue
            gradient = parameter.grad.to_dense() if parameter.grad.is_sparse else parameter.grad
            arrays: Any = torch2xp(parameter.data), torch2xp(gradient)
            weights, _ = optimizer((self.id, name), *arrays)
            parameter.data = xp2torch(weights, device=parameter.device)
            parameter.grad = None

    @contextlib.contextmanager
    def use_params(self, params: dict) -> Iterator[None]:
        """Swap in other weights (an optimizer's averages), keyed (shim id, parameter name)."""
        own = {
            name: params[self.id, name]
            for name, _ in (self._model.named_parameters() if self._model is not None else ())
            if (self.id, name) in params
        }
        if not own:
            yield
            return
        backup = {}
        with torch.no_grad():
            for name, parameter in self.module.named_parameters():
                if name in own:
                    backup[name] = parameter.detach().clone()
                    value = own[name]
                    parameter.copy_(value if torch.is_tensor(value) else as_tensor(value))
        self.weights_changed()
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in self.module.named_parameters():
                    if name in backup:
                        parameter.copy_(backup[name])
            self.weights_changed()

    def to_device(self, device_type: str, device_id: int) -> None:
        if self._model is not None:
            self._model.to("cpu" if device_type == "cpu" else f"cuda:{device_id}")

    def to_bytes(self) -> bytes:
        """RETURNS (bytes): The module's tensors as safetensors; empty if there is no module."""
        return b"" if self._model is None else tensors_to_bytes(self._model.state_dict())

    def from_bytes(self, data: bytes) -> TorchShim:
        if data:
            self.load_state(tensors_from_bytes(data, "the model's weights"))
        return self

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        if self._build is not None:
            with torch.device("meta"):  # which takes no memory, whatever sizes the state tells of
                sketch = self._build(state, self.cfg)
            check_shapes(sketch, state)
            self._model = self._build(state, self.cfg)
        self.module.load_state_dict(state)
        self.set_module(self.module)


def tensors_to_bytes(state: dict[str, torch.Tensor]) -> bytes:
    """RETURNS (bytes): A module's state as safetensors. Tied weights are written once each."""
    return save_tensors({k: v.detach().cpu().contiguous() for k, v in state.items()})


def check_header(file: Path) -> None:
    """See that a file of safetensors is as long as its start says, without reading the rest.

    RAISES (ValueError): If not.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        n_header = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        header = stream.read(n_header) if n_header < min(size, _MOST_HEADER) else b""
    try:
        ends = [entry["data_offsets"][1] for n, entry in json.loads(header).items() if n[:1] != "_"]
        whole = 8 + n_header + max(ends, default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        raise ValueError(f"{file} is damaged or was cut off. Download or copy it again.") from None
    if size != whole:
        raise ValueError(
            f"{file} has {size} bytes of {whole}: it was cut off. Download or copy it again."
        )


def check_shapes(module: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """RAISES (ValueError): If weights are missing, too many or of another shape."""
    expected = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in state.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise ValueError(
                f"{name} has shape {found.get(name)} and should have {expected.get(name)}"
            )


def tensors_from_bytes(data: bytes, source: str) -> dict[str, torch.Tensor]:
    """Read safetensors.

    source (str): What the error message calls the data: a file name.
    RAISES (ValueError): If the data is cut off or not safetensors.
    """
    try:
        return load_tensors(data)
    except SafetensorError as error:
        raise ValueError(
            f"Can't read {source}: {error}. The file is damaged or was cut off; "
            "copy or download the pipeline again."
        ) from error
