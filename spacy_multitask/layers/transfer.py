"""Between host and device without waiting for each other: pinned memory, one copy for many arrays.

A copy from or to ordinary memory makes the host wait until the device has done all that it was
asked to do before. On a CPU nothing is copied here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from typing import Any

import numpy as np
import torch
from thinc.api import xp2torch
from torch import Tensor

# Devices that work on their own, and copy from and to pinned memory meanwhile.
STREAMING = {"cuda"}
ALIGNMENT = 16  # bytes


def is_streaming(device: torch.device) -> bool:
    """RETURNS (bool): Whether the device works while the host goes on."""
    return device.type in STREAMING


def pinned(n_bytes: int) -> Tensor:
    """RETURNS (Tensor): Memory that a device can reach, uint8 (n_bytes,)."""
    return torch.empty(n_bytes, dtype=torch.uint8, pin_memory=True)


def mark(device: torch.device) -> Any:
    """RETURNS (Event): What to wait for until the device has done what it was asked so far."""
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(device))
    return event


def to_device(device: torch.device, *arrays: np.ndarray) -> list[Tensor]:
    """Bring arrays to a device, all in one copy.

    arrays (ndarray): Of any shapes and types.
    RETURNS (List[Tensor]): The same; on a CPU they share memory.
    """
    if not is_streaming(device):
        return [torch.from_numpy(array).to(device) for array in arrays]
    places = _places([array.nbytes for array in arrays])
    buffer = pinned(places[-1])
    view = buffer.numpy()
    for start, array in zip(places, arrays):
        view[start : start + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    there = buffer.to(device, non_blocking=True)
    return [
        there[start : start + array.nbytes].view(_TYPES[array.dtype.name]).view(array.shape)
        for start, array in zip(places, arrays)
    ]


_TYPES = {
    "bool": torch.bool,
    "float32": torch.float32,
    "float64": torch.float64,
    "int32": torch.int32,
    "int64": torch.int64,
}


class OnTheWay:
    """Tensors on their way to the host, in one copy that was begun and not waited for."""

    def __init__(self, *tensors: Tensor):
        device = tensors[0].device
        self._host = list(tensors)
        self._event: Any = None
        if not is_streaming(device):
            self._host = [tensor.cpu() for tensor in tensors]
            return
        parts = [tensor.detach().contiguous().view(-1).view(torch.uint8) for tensor in tensors]
        places = _places([part.numel() for part in parts])
        joined = torch.zeros(places[-1], dtype=torch.uint8, device=device)
        for start, part in zip(places, parts):
            joined[start : start + part.numel()] = part
        buffer = pinned(places[-1])
        buffer.copy_(joined, non_blocking=True)
        self._event = mark(device)
        self._host = [
            buffer[start : start + part.numel()].view(tensor.dtype).view(tensor.shape)
            for start, part, tensor in zip(places, parts, tensors)
        ]

    def tensors(self) -> list[Tensor]:
        """RETURNS (List[Tensor]): The same, on the CPU, once they are there."""
        if self._event is not None:
            self._event.synchronize()
            self._event = None
        return self._host

    def arrays(self) -> list[np.ndarray]:
        """RETURNS (List[ndarray]): As `tensors`."""
        return [tensor.numpy() for tensor in self.tensors()]


class Arriving(Mapping[int, Tensor]):
    """Tensors by key that are on their way to the host; whoever takes the first waits for all."""

    def __init__(self, tensors: Mapping[int, Tensor]):
        self._keys = {key: i for i, key in enumerate(tensors)}
        self._on_the_way = OnTheWay(*tensors.values())

    def only(self, keys: Iterable[int]) -> Arriving:
        """RETURNS (Arriving): Some of them."""
        part = copy(self)
        part._keys = {key: self._keys[key] for key in keys}
        return part

    def __getitem__(self, key: int) -> Tensor:
        return self._on_the_way.tensors()[self._keys[key]]

    def __contains__(self, key: object) -> bool:
        return key in self._keys  # that of a mapping would wait

    def __iter__(self) -> Iterator[int]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def to_host(*tensors: Tensor) -> list[np.ndarray]:
    """RETURNS (List[ndarray]): Tensors on the host, with one wait for all of them."""
    return OnTheWay(*tensors).arrays()


def as_tensor(array: Any) -> Tensor:
    """RETURNS (Tensor): An array of NumPy or CuPy, where it is: what thinc takes for the device in
    use is one for each thread."""
    device = torch.device("cpu")
    if not isinstance(array, np.ndarray):
        device = torch.device("cuda", array.device.id)
    return xp2torch(array, device=device)


def _places(sizes: list[int]) -> list[int]:
    """RETURNS (List[int]): Where parts of so many bytes start, and the end of the last."""
    places = [0]
    for size in sizes:
        places.append(places[-1] + -(-size // ALIGNMENT) * ALIGNMENT)
    return places
