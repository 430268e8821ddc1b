"""The state of all random number generators that a training draws from."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor

RandomState = dict[str, Tensor]


class Snapshot:
    """The generators of Python, NumPy and torch's CPU as they are now.

    Taken at each step, which must cost next to nothing, so that tensors are made only on demand.
    """

    def __init__(self) -> None:
        self.python = random.getstate()
        self.numpy: dict[str, Any] = np.random.get_state(legacy=False)
        self.torch = torch.get_rng_state()

    def is_now(self) -> bool:
        """RETURNS (bool): Whether nothing was drawn since then."""
        now = Snapshot()
        return (
            self.python == now.python
            and self.numpy["state"]["pos"] == now.numpy["state"]["pos"]
            and self.numpy["has_gauss"] == now.numpy["has_gauss"]
            and np.array_equal(self.numpy["state"]["key"], now.numpy["state"]["key"])
            and torch.equal(self.torch, now.torch)
        )

    def tensors(self) -> RandomState:
        """RETURNS (Dict[str, Tensor]): What `set_random_state` takes."""
        _, words, gauss = self.python
        twister = self.numpy["state"]
        return {
            "python": torch.tensor(words),
            "python_gauss": torch.tensor([] if gauss is None else [gauss], dtype=torch.float64),
            "numpy": torch.tensor(
                [*twister["key"].tolist(), twister["pos"], self.numpy["has_gauss"]]
            ),
            "numpy_gauss": torch.tensor([self.numpy["gauss"]], dtype=torch.float64),
            "torch": self.torch,
        }


def random_state() -> RandomState:
    """RETURNS (Dict[str, Tensor]): All generators, those of the GPUs too, if they are in use."""
    state = Snapshot().tensors()
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        for i, device_state in enumerate(torch.cuda.get_rng_state_all()):
            state[f"cuda{i}"] = device_state
    return state


def set_random_state(state: RandomState) -> None:
    """Put the generators where they were. Those of GPUs that are not here are left out."""
    gauss = state["python_gauss"].tolist()
    random.setstate((3, tuple(state["python"].tolist()), gauss[0] if gauss else None))
    *keys, position, has_gauss = state["numpy"].tolist()
    np.random.set_state(
        ("MT19937", np.array(keys, np.uint32), position, has_gauss, state["numpy_gauss"].item())
    )
    torch.set_rng_state(state["torch"])
    for i in range(torch.cuda.device_count()):
        if f"cuda{i}" in state:
            torch.cuda.set_rng_state(state[f"cuda{i}"], i)
