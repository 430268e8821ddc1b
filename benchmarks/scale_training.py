"""What a second process brings to a training on CPUs: words per second, and time spent on exchange.

A part of `benchmarks.scale`. All heads have gold in each doc; a process has one thread.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import torch
from spacy.language import Language
from spacy.training import Example
from spacy.training.loop import create_evaluation_callback, train_while_improving

from spacy_multitask.training.batching import group_by_words
from spacy_multitask.training.evaluation import SharedEvaluation
from spacy_multitask.training.ranks import Ranks, joined
from spacy_multitask.training.run import Run
from spacy_multitask.training.stopping import Stop

from .common import in_a_mix

BATCH_WORDS = 800  # of all processes
WARM_UP, STEPS = 5, 20
EVALUATED = 500  # docs
WANTED = 1.5  # two processes to one


def training(options: argparse.Namespace) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): Words per second by number of processes, and the ratio. `apart` are
    two trainings that know nothing of each other, each on half a batch: what the cores can do."""
    rounds = []
    for _ in range(options.rounds):
        one, two = (_measure(n, n, BATCH_WORDS, options) for n in (1, 2))
        rounds.append({"1": one, "2": two, "apart": _measure(2, 1, BATCH_WORDS // 2, options)})
    speeds = {
        name: [found[name]["words_per_second"] for found in rounds] for name in ("1", "2", "apart")
    }

    def ratio(other: str) -> dict[str, Any]:
        each = [round(a / b, 3) for a, b in zip(speeds["2"], speeds[other])]
        return {"median": median(each), "rounds": each}

    return {
        "batch_words": BATCH_WORDS,
        "words_per_second": {name: median(each) for name, each in speeds.items()},
        "share_of_exchange": median(found["2"]["share_of_exchange"] for found in rounds),
        "ratio": ratio("1"),
        "ratio_to_apart": ratio("apart"),
        "wanted": WANTED,
    }


def evaluation(options: argparse.Namespace) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): Seconds of an evaluation of the same docs by number of processes,
    and the share that the second one saves."""
    found = {n: _in_processes(n, n, _evaluate, options) for n in (1, 2)}
    seconds = {n: max(one["seconds"] for one in each) for n, each in found.items()}
    return {
        "docs": EVALUATED,
        "words": found[1][0]["words"],
        "seconds": {str(n): round(value, 2) for n, value in seconds.items()},
        "share_saved_by_two": round(1 - seconds[2] / seconds[1], 3),
    }


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "training": training,
    "evaluation": evaluation,
}


def _measure(
    n: int, n_ranks: int, batch_words: int, options: argparse.Namespace
) -> dict[str, float]:
    """Train in several processes at once.

    n_ranks (int): Processes of one training: all, or 1 for as many trainings as processes.
    RETURNS (Dict[str, float]): Words per second of all, and the first one's share of exchange.
    """
    found = _in_processes(n, n_ranks, _train, batch_words, options)
    # Each rank sees the batches of all.
    speeds = [one["words_per_second"] for one in found]
    return {
        "words_per_second": round(sum(speeds) / n_ranks, 1),
        "share_of_exchange": round(found[0]["share_of_exchange"], 4),
    }


def _in_processes(
    n: int, n_ranks: int, function: Callable[..., dict[str, float]], *args: Any
) -> list[dict[str, float]]:
    """RETURNS (List[Dict[str, float]]): What a function gives in each process, in any order."""
    context = multiprocessing.get_context("spawn")
    results: Any = context.Queue()
    port = _free_port()
    processes = []
    for k in range(n):
        place = (k, n, port) if n_ranks == n else (0, 1, _free_port())
        work = (results, place, function, args)
        processes.append(context.Process(target=_as_process, args=work))
    for process in processes:
        process.start()
    found = [results.get() for _ in processes]
    for process in processes:
        process.join()
    return found


def _as_process(results: Any, place: tuple[int, int, int], function: Callable, args: tuple) -> None:
    torch.set_num_threads(1)
    rank, n, port = place
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "RANK": rank, "WORLD_SIZE": n}
    os.environ.update({name: str(value) for name, value in address.items()})
    results.put(function(*args))


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _evaluate(options: argparse.Namespace) -> dict[str, float]:
    nlp, _, examples = in_a_mix(options)

    def docs(nlp: Language) -> list[Example]:
        return examples[:EVALUATED]

    with joined() as ranks:
        evaluate = create_evaluation_callback(nlp, docs, {})
        if isinstance(ranks, Ranks):
            evaluate = SharedEvaluation(nlp, ranks, Stop(), docs, {})
        seconds = []
        for _ in range(3):
            started = time.perf_counter()
            evaluate()
            seconds.append(time.perf_counter() - started)
    return {"seconds": min(seconds), "words": sum(len(eg.predicted) for eg in docs(nlp))}


def _train(batch_words: int, options: argparse.Namespace) -> dict[str, float]:
    nlp, sgd, examples = in_a_mix(options)
    batches = list(group_by_words(examples * 20, batch_words, 1000))[: WARM_UP + STEPS]
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
    return {"words_per_second": words / seconds, "share_of_exchange": spent[0] / seconds}


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
