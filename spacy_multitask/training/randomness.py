"""The state of all random number generators that a training draws from."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor

RandomState = dict[str, Tensor]


def random_state(*, devices: bool = True) -> RandomState:
    """Take down the generators of Python, NumPy and torch.

    devices (bool): Whether to include torch's generators of the GPUs, if they are in use.
    RETURNS (Dict[str, Tensor]): What `set_random_state` takes.
    """
    _, words, gauss = random.getstate()
    numpy_state: dict[str, Any] = np.random.get_state(legacy=False)
    twister = numpy_state["state"]
    state = {
        "python": torch.tensor(words),
        "python_gauss": torch.tensor([] if gauss is None else [gauss], dtype=torch.float64),
        "numpy": torch.tensor([*twister["key"].tolist(), twister["pos"], numpy_state["has_gauss"]]),
        "numpy_gauss": torch.tensor([numpy_state["gauss"]], dtype=torch.float64),
        "torch": torch.get_rng_state(),
    }
    if devices and torch.cuda.is_available() and torch.cuda.is_initialized():
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


def same(a: RandomState, b: RandomState) -> bool:
    """RETURNS (bool): Whether nothing was drawn between the two."""
    return all(torch.equal(a[name], b[name]) for name in a)
