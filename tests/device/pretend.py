"""A pretended device: it says that it is a GPU, and holds real values on the CPU.

Operations that mix devices raise, as on a GPU. What would let the host wait for the device is
counted, with the line that asked for it: copies to and from memory that is not pinned, scalars
that are asked for, results whose size depends on values. thinc's side is NumPy's.
"""

from __future__ import annotations

import linecache
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

import spacy_multitask
from spacy_multitask.layers import shim, transfer

OURS = str(Path(spacy_multitask.__file__).parent)
# Operations that ask nothing of a device.
FREE = ("view", "aten.t.", "transpose", "expand", "slice", "select", "unsqueeze", "squeeze")
FREE += ("detach", "split", "alias", "permute", "unbind", "as_strided", "chunk", "size")
BY_VALUE = ("nonzero", "masked_select", "unique", "repeat_interleave")


def set_up() -> torch.device | None:
    """RETURNS (Optional[device]): The device; None where this torch can't pretend one."""
    try:
        from torch.utils import backend_registration as registration

        module = type("Module", (registration._DummyBackendModule,), {})
        module.get_amp_supported_dtype = lambda self: [torch.bfloat16, torch.float16]
        module.get_rng_state = lambda self, device=0: torch.get_rng_state()
        module.set_rng_state = lambda self, state, device=0: None
        registration._setup_privateuseone_for_python_backend("pretended", backend_module=module())
    except (ImportError, AttributeError):
        return None
    return torch.device("pretended:0")


DEVICE = set_up()


class Pretended(Tensor):
    """A tensor of the device. `held` has its values."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Pretended:
        made = Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride() if held.layout == torch.strided else None,
            storage_offset=held.storage_offset() if held.layout == torch.strided else 0,
            dtype=held.dtype,
            device=DEVICE,
        )
        made.held = held
        return made

    def __repr__(self, **options: Any) -> str:  # type: ignore[override]
        return f"Pretended({self.held})"

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return MACHINE.run(func, args, kwargs or {})


class Machine:
    """Runs operations, and counts.

    waits (Counter): How often the host would have waited, by reason and line.
    launches (int): Operations that ask something of the device.
    """

    def __init__(self) -> None:
        self.pinned: dict[int, Tensor] = {}  # buffers, by where they begin
        self.reset()

    def reset(self) -> None:
        self.waits: Counter[str] = Counter()
        self.launches = 0

    def wait(self, reason: str) -> None:
        self.waits[f"{reason}: {_where()}"] += 1

    def run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        name = str(func)
        tensors = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        there = [x for x in tensors if isinstance(x, Pretended)]
        device = kwargs.get("device")
        to = None if device is None else torch.device(device).type
        own = {id(x.held): x for x in there}
        args_, kwargs_ = pytree.tree_map(_held, (args, kwargs))
        if "device" in kwargs_:
            kwargs_["device"] = None if device is None else torch.device("cpu")
        if name.startswith("aten._to_copy"):
            return self._copied(func, args_, kwargs_, bool(there), to)
        if name.startswith("aten.copy_"):
            if len(there) == 1:
                self._note_copy(args_[0] if args[1] is there[0] else args_[1], kwargs, args)
            func(*args_, **kwargs_)
            return args[0]
        if name.startswith("aten._local_scalar_dense"):
            if there:
                self.wait("a scalar is asked for")
            return func(*args_, **kwargs_)
        is_there = to == DEVICE.type if to is not None else bool(there)
        if there:
            self._check(name, args, tensors)
        if not is_there:
            return func(*args_, **kwargs_)
        self.launches += not any(part in name for part in FREE)

        def wrapped(x: Any) -> Any:
            return own.get(id(x), x) if id(x) in own or not isinstance(x, Tensor) else Pretended(x)

        return pytree.tree_map(wrapped, func(*args_, **kwargs_))

    def _copied(
        self, func: Any, args: Any, kwargs: dict[str, Any], was_there: bool, to: str | None
    ) -> Tensor:
        goes_there = was_there if to is None else to == DEVICE.type
        if was_there and not goes_there:
            self.wait("a copy to the host")
        elif goes_there and not was_there:
            self._note_copy(args[0], kwargs, ())
        kwargs = {k: v for k, v in kwargs.items() if k not in ("non_blocking", "pin_memory")}
        result = func(*args, **kwargs)
        return Pretended(result) if goes_there else result

    def _note_copy(self, on_host: Tensor, kwargs: dict[str, Any], args: Any) -> None:
        non_blocking = kwargs.get("non_blocking") or (len(args) > 2 and args[2])
        is_pinned = on_host.untyped_storage().data_ptr() in self.pinned
        if not (non_blocking and is_pinned):
            self.wait("a copy of memory that is not pinned, or that is waited for")

    def _check(self, name: str, args: Any, tensors: list[Tensor]) -> None:
        others = [x for x in tensors if not isinstance(x, Pretended) and x.dim() > 0]
        if others and name.startswith(("aten.index.Tensor", "aten.index_put")):
            if all(x.dtype in (torch.int64, torch.bool) for x in others):
                self.wait("an index on the host")
                others = []
        if others:
            shapes = [(tuple(x.shape), x.device) for x in tensors]
            raise RuntimeError(f"{name} mixes devices: {shapes} at {_where()}")
        indices = args[1] if name.startswith("aten.index.Tensor") else []
        by_mask = any(isinstance(i, Tensor) and i.dtype == torch.bool for i in indices)
        if by_mask or any(part in name for part in BY_VALUE):
            self.wait(f"the size of a result depends on values ({name})")


MACHINE = Machine()


class _Mode(TorchDispatchMode):
    """For operations that make tensors from nothing."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return MACHINE.run(func, args, kwargs or {})


class _Event:
    def synchronize(self) -> None:
        MACHINE.wait("a copy that is on its way")


def _held(x: Any) -> Any:
    return x.held if isinstance(x, Pretended) else x


def _where() -> str:
    frame: Any = sys._getframe()
    while frame is not None:
        name, line = frame.f_code.co_filename, frame.f_lineno
        if name.startswith(OURS) or "/transformers/" in name:
            text = linecache.getline(name, line).strip()
            return f"{name.split('site-packages/')[-1].removeprefix(OURS)}:{line} {text}"
        frame = frame.f_back
    return "elsewhere"


def _pinned(n_bytes: int) -> Tensor:
    buffer = torch.empty(n_bytes, dtype=torch.uint8)
    MACHINE.pinned[buffer.untyped_storage().data_ptr()] = buffer
    return buffer


def move(nlp: Any) -> Any:
    """Move all torch modules of a pipeline to the device; layers of thinc stay where they are."""
    for _, pipe in nlp.components:
        for node in pipe.model.walk() if getattr(pipe, "model", None) is not None else ():
            for part in node.shims:
                if getattr(part, "_model", None) is not None:
                    to_device(part._model)
                    part.weights_changed()
    return nlp


def to_device(module: nn.Module) -> nn.Module:
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                held = Pretended(parameter.detach().clone())
                part._parameters[name] = nn.Parameter(held, parameter.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = Pretended(buffer.clone())
    return module


@contextmanager
def pretended(patch: Any) -> Iterator[Machine]:
    """Within it, the device is there and is the one in use.

    patch (MonkeyPatch): Takes back what is changed.
    """
    patch.setattr(transfer, "STREAMING", {*transfer.STREAMING, DEVICE.type})
    patch.setattr(transfer, "pinned", _pinned)
    patch.setattr(transfer, "mark", lambda device: _Event())
    original = Tensor.tolist

    def tolist(tensor: Tensor) -> Any:
        if not isinstance(tensor, Pretended):
            return original(tensor)
        MACHINE.wait("a list")
        return original(tensor.held)

    patch.setattr(Tensor, "tolist", tolist)
    patch.setattr(nn.Module, "to", _to(nn.Module.to))
    use_device(patch, DEVICE)
    MACHINE.reset()
    with _Mode():
        yield MACHINE


def use_device(patch: Any, device: torch.device) -> None:
    """Let thinc say that a device is the one in use."""
    from spacy_multitask.encoder import encode
    from spacy_multitask.training import state

    for module in (shim, encode, state):
        patch.setattr(module, "get_torch_default_device", lambda: device)


def _to(original: Any) -> Any:
    def to(module: nn.Module, device: Any = None, *args: Any, **kwargs: Any) -> nn.Module:
        found = torch.device(device) if isinstance(device, str | torch.device) else None
        if found is not None and found.type == DEVICE.type:
            return to_device(module)
        parameters = (p for p in module.parameters() if isinstance(p, Pretended))
        if found is not None and next(parameters, None) is not None:
            for part in module.modules():
                for name, parameter in part._parameters.items():
                    if isinstance(parameter, Pretended):
                        MACHINE.wait("a parameter is fetched")
                        value = nn.Parameter(parameter.held.clone(), parameter.requires_grad)
                        part._parameters[name] = value
            return module
        return original(module, device, *args, **kwargs)

    return to
