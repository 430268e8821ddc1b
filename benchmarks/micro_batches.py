"""What it brings that a CPU cuts micro-batches where they cost least, and not as few as may be.

A pipeline of four heads learns from batches of so many words, and predicts in batches of so many
docs, both from all samples mixed. The ways take turns, and the best of all rounds counts, in time
of the thread. `real_pieces` is the share of the pieces that are no padding.

Example: python -m benchmarks.micro_batches --json benchmarks/results/micro_batches.json
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from spacy_multitask.encoder import encode
from spacy_multitask.encoder.budget import OVERHEADS
from spacy_multitask.encoder.windows import micro_batches
from spacy_multitask.training.batching import group_by_words

from .common import arguments, in_a_mix, machine, save

# Ways -> what it costs to begin a micro-batch. One more is never worth so much.
WAYS = {"few": 10**9, "cheap": OVERHEADS["cpu"]}
WORDS, STEPS = (200, 800), 8
BATCHES, DOCS = (64, 256), 512


class Counted:
    """Stands in for `micro_batches`, and counts pieces."""

    def __init__(self) -> None:
        self.real = self.padded = 0

    def __call__(self, sizes: np.ndarray, extra: int, budget: int, overhead: int) -> Any:
        for group in micro_batches(sizes, extra, budget, overhead):
            self.real += int((sizes[group] + extra).sum())
            self.padded += (int(sizes[group].max()) + extra) * len(group)
            yield group


def in_turn(run: Callable[[], Any], rounds: int) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): Seconds and shares of real pieces by way, and the ratio of time."""
    seconds: dict[str, float] = {}
    real: dict[str, float] = {}
    for _ in range(rounds):
        for way, overhead in WAYS.items():
            OVERHEADS["cpu"] = overhead
            encode.micro_batches = counted = Counted()
            started = time.thread_time()
            run()
            took = time.thread_time() - started
            seconds[way] = min(took, seconds.get(way, took))
            real[way] = counted.real / counted.padded
    return {
        "seconds": {way: round(value, 2) for way, value in seconds.items()},
        "real_pieces": {way: round(value, 3) for way, value in real.items()},
        "times_as_fast": round(seconds["few"] / seconds["cheap"], 2),
    }


def train(nlp: Language, sgd: Any, batches: list[list[Example]]) -> None:
    for batch in batches:
        nlp.update(batch, sgd=sgd, losses={})


def predict(nlp: Language, docs: list[Doc], batch_size: int) -> None:
    for _ in nlp.pipe([doc.copy() for doc in docs], batch_size=batch_size):
        pass


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    nlp, sgd, examples = in_a_mix(args)
    results: dict[str, Any] = {"machine": machine(), "train": {}, "predict": {}}
    for words in WORDS:
        batches = list(group_by_words(examples, words, 1000))[:STEPS]
        results["train"][str(words)] = in_turn(partial(train, nlp, sgd, batches), args.rounds)
    docs = [eg.predicted for eg in examples[:DOCS]]
    for size in BATCHES:
        results["predict"][str(size)] = in_turn(partial(predict, nlp, docs, size), args.rounds)
    save(results, args.json)


if __name__ == "__main__":
    main()
