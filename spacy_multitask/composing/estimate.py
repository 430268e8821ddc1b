"""What a training will take, before it starts: steps, passes, memory, time.

Operations and activations per layer are counted as by Korthikanti et al. (2022),
https://arxiv.org/abs/2205.05198. How fast the device is, is measured with a matrix product.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from .config import Composition, Sizes
from .survey import ITEMS

PIECES_PER_WORD = 1.3
# Part of the measured speed that a whole training step reaches, on MiniLM and 2 CPU cores.
EFFICIENCY = 0.4


@dataclass(frozen=True)
class Estimate:
    """Steps of the whole training, seconds on this device, bytes at the peak."""

    steps: int
    seconds: float
    memory: float


def estimate(composition: Composition, sizes: Sizes) -> Estimate:
    """Say what a training will take.

    RETURNS (Estimate): Good to a factor of two; the time is that of the device named in the
        composition, if it is here.
    """
    encoder = composition.encoder_size
    words = composition.words * sizes.epochs
    pieces = words * PIECES_PER_WORD
    parameters = 12 * encoder.layers * encoder.width**2
    on_gpu = composition.gpu and torch.cuda.is_available()
    speed = measure_speed("cuda" if on_gpu else "cpu", torch.bfloat16 if on_gpu else torch.float32)
    total = parameters + encoder.vocab * encoder.width
    batch_pieces = sizes.batch_words * PIECES_PER_WORD
    bytes_per_value = 1 if composition.gpu else 2  # the paper counts 16 bits
    activations = batch_pieces * encoder.layers * encoder.width * 34 * bytes_per_value
    return Estimate(
        steps=max(1, composition.words // sizes.batch_words) * sizes.epochs,
        seconds=6 * parameters * pieces / (speed * EFFICIENCY),
        # Weights, gradients and AdamW's two moments, 4 bytes each; and Python with its libraries.
        memory=16 * total + activations + 1e9,
    )


def measure_speed(device: str, dtype: torch.dtype) -> float:
    """RETURNS (float): Operations per second in matrix products of an encoder's size."""
    a, b = (torch.randn(1024, 1024, device=device, dtype=dtype) for _ in range(2))
    a @ b
    n = 0
    started = time.perf_counter()
    while time.perf_counter() - started < 0.2:
        a @ b
        n += 1
        if device != "cpu":
            torch.cuda.synchronize()
    return n * 2 * 1024**3 / (time.perf_counter() - started)


def describe(composition: Composition, sizes: Sizes) -> tuple[list[tuple[str, ...]], str]:
    """RETURNS (tuple): A row per task (task, head, corpus, docs, words, gold, passes), and a
    sentence about steps, memory and time."""
    rows = []
    for task in composition.tasks:
        corpus = composition.corpus[task.name]
        found = composition.surveys[corpus]
        rows.append(
            (
                task.name,
                task.kind,
                corpus,
                str(found.known[task.kind]),
                str(found.words),
                f"{found.items[task.kind]} {ITEMS[task.kind]}",
                str(sizes.epochs),
            )
        )
    guess = estimate(composition, sizes)
    text = (
        f"{guess.steps} steps of at most {sizes.batch_words} words, about "
        f"{_duration(guess.seconds)} and {guess.memory / 2**30:.1f} GiB."
    )
    if not composition.encoder_size.known:
        text += " The encoder is not at hand; it is taken to be as large as BERT-base."
    return rows, text


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
