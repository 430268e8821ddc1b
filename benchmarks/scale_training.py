"""What a second process brings to a training on CPUs: words per second, and time spent on exchange.

A part of `benchmarks.scale`. All heads have gold in each doc; a process has one thread.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from spacy.training.loop import train_while_improving

from spacy_multitask.training.batching import group_by_words
from spacy_multitask.training.ranks import Ranks, joined
from spacy_multitask.training.run import Run
from spacy_multitask.training.stopping import Stop

from .common import packaged_encoder, pipeline, training_examples

BATCH_WORDS = 800  # of all processes
WARM_UP, STEPS = 5, 40


def training(options: argparse.Namespace) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): Words per second by number of processes, and the ratio."""
    found = {str(n): _measure(n, options) for n in (1, 2)}
    ratio = found["2"]["words_per_second"] / found["1"]["words_per_second"]
    return {"batch_words": BATCH_WORDS, "processes": found, "ratio": ratio}


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {"training": training}


def _measure(n: int, options: argparse.Namespace) -> dict[str, float]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    results: Any = context.Queue()
    processes = [
        context.Process(target=_train, args=(rank, n, port, options, results)) for rank in range(n)
    ]
    for process in processes:
        process.start()
    found = results.get()
    for process in processes:
        process.join()
    return found


def _train(rank: int, n: int, port: int, options: argparse.Namespace, results: Any) -> None:
    torch.set_num_threads(1)
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "RANK": rank, "WORLD_SIZE": n}
    os.environ.update({name: str(value) for name, value in address.items()})
    encoder = options.encoder or packaged_encoder()
    examples: list = []

    def read(nlp: Any) -> list:
        examples[:] = training_examples(nlp, options.samples)
        return examples

    nlp, sgd = pipeline(encoder, read)
    random.Random(0).shuffle(examples)
    batches = list(group_by_words(examples * 20, BATCH_WORDS, 1000))[: WARM_UP + STEPS]
    with joined() as ranks, _timed_exchange() as spent:
        run = Run(nlp, sgd, {}, None, Stop(), ranks=ranks)  # type: ignore[arg-type]
        steps = train_while_improving(
            run,  # type: ignore[arg-type]
            sgd,  # type: ignore[arg-type]
            run.batches((0, batch) for batch in batches),
            lambda: (0.0, {}),
            dropout=0.1,
            eval_frequency=10_000,
            accumulate_gradient=1,
            patience=0,
            max_steps=0,
            exclude=[],
            annotating_components=[],
            before_update=None,
        )
        started = words = 0.0
        for batch, info, _ in steps:
            if info["step"] == WARM_UP - 1:
                started, spent[0] = time.perf_counter(), 0.0
            elif info["step"] >= WARM_UP:
                words += sum(len(eg.predicted) for eg in batch)
        seconds = time.perf_counter() - started
    if rank == 0:
        results.put({"words_per_second": words / seconds, "share_of_exchange": spent[0] / seconds})


@contextmanager
def _timed_exchange() -> Iterator[list[float]]:
    """YIELDS (List[float]): Seconds that this process has spent on exchange, waiting included."""
    spent = [0.0]
    exchange = Ranks._exchange

    @contextmanager
    def timed(self: Ranks) -> Iterator[None]:
        started = time.perf_counter()
        with exchange(self):
            yield
        spent[0] += time.perf_counter() - started

    Ranks._exchange = timed  # type: ignore[method-assign]
    try:
        yield spent
    finally:
        Ranks._exchange = exchange  # type: ignore[method-assign]
