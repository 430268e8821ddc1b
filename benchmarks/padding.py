"""Whether docs joined into rows without padding would be encoded faster than in sorted groups.

The bare encoder gets the sentences of the samples in batches of so many docs. `groups` are what
the pipeline makes: docs of like length side by side, with some padding. `joined` lays them end to
end in rows of so many pieces, where each doc sees itself alone, and next to nothing is padding. But
attention looks at all pairs of a row. Ways take turns, and the best of all rounds counts, in time
of the thread on a CPU. `real_pieces` is the share of pieces that are no padding: what it lacks is
all that could be saved.

Example: python -m benchmarks.padding --json benchmarks/results/padding.json
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor
from transformers import AutoModel

from spacy_multitask.encoder.budget import BUDGETS, OVERHEADS
from spacy_multitask.encoder.windows import micro_batches

from .common import arguments, machine, packaged_encoder, save, test_words
from .speed import bare_pieces

SIZES = (64, 256, 1000)  # docs
ROWS = (128, 256, 512)  # pieces
IS_5 = transformers.__version__.startswith("5.")

Docs = list[np.ndarray]  # pieces of each doc, special ones too
# Inputs of the network, and row, start and number of each doc.
Batch = tuple[dict[str, Tensor], list[tuple[int, int, int]]]


class Groups:
    """Docs of like length side by side, as the pipeline encodes them."""

    def __init__(self, budget: int, overhead: int):
        self.budget = budget
        self.overhead = overhead

    def __call__(self, docs: Docs) -> Iterator[Batch]:
        sizes = np.array([len(doc) for doc in docs])
        for group in micro_batches(sizes, 0, self.budget, self.overhead):
            ids = np.zeros((len(group), sizes[group].max()), np.int64)
            mask = np.zeros_like(ids)
            for row, i in enumerate(group):
                ids[row, : sizes[i]], mask[row, : sizes[i]] = docs[i], 1
            places = [(row, 0, int(i)) for row, i in enumerate(group)]
            yield {"input_ids": _tensor(ids), "attention_mask": _tensor(mask)}, places


class Joined:
    """Docs end to end in rows; each piece sees those of its own doc."""

    def __init__(self, budget: int, width: int):
        self.n_rows = max(1, budget // width)
        self.width = width

    def __call__(self, docs: Docs) -> Iterator[Batch]:
        rows: list[list[int]] = []
        room: list[int] = []
        # The longest first, each into the first row that has room.
        for i in sorted(range(len(docs)), key=lambda i: -len(docs[i])):
            size = len(docs[i])
            row = next((r for r, left in enumerate(room) if left >= size), len(rows))
            if row == len(rows):
                rows.append([])
                room.append(max(self.width, size))
            rows[row].append(i)
            room[row] -= size
        for first in range(0, len(rows), self.n_rows):
            yield self._inputs(docs, rows[first : first + self.n_rows])

    def _inputs(self, docs: Docs, rows: list[list[int]]) -> Batch:
        width = max(sum(len(docs[i]) for i in row) for row in rows)
        ids = np.zeros((len(rows), width), np.int64)
        positions, owner = np.zeros_like(ids), np.full_like(ids, -1)
        places = []
        for r, row in enumerate(rows):
            start = 0
            for i in row:
                end = start + len(docs[i])
                ids[r, start:end], owner[r, start:end] = docs[i], i
                positions[r, start:end] = np.arange(end - start)
                places.append((r, start, i))
                start = end
        sees = _tensor(owner[:, :, None] == owner[:, None, :])
        # Who sees whom, for all heads of attention: transformers 4 adds their dimension.
        mask = sees[:, None] if IS_5 else sees.long()
        inputs = {"input_ids": _tensor(ids), "position_ids": _tensor(positions)}
        return {**inputs, "attention_mask": mask}, places


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array)


@torch.inference_mode()
def encode(model: Any, way: Any, docs: Docs) -> tuple[float, list[Tensor], float]:
    """RETURNS (tuple): Seconds, vectors of each doc, and the share of real pieces."""
    found: list[Any] = [None] * len(docs)
    padded = 0
    started = time.thread_time()
    for inputs, places in way(docs):
        vectors = model(**inputs).last_hidden_state
        padded += inputs["input_ids"].numel()
        for row, start, i in places:
            found[i] = vectors[row, start : start + len(docs[i])]
    return time.thread_time() - started, found, sum(map(len, docs)) / padded


def compare(model: Any, ways: dict[str, Any], batches: list[Docs], rounds: int) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): Seconds and shares of real pieces by way."""
    best: dict[str, float] = {}
    real: dict[str, float] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            runs = [encode(model, way, batch) for batch in batches]
            seconds = sum(seconds for seconds, _, _ in runs)
            best[name] = min(seconds, best.get(name, seconds))
            real[name] = float(np.mean([share for _, _, share in runs]))
    return {
        name: {"seconds": round(best[name], 2), "real_pieces": round(real[name], 3)}
        for name in ways
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--docs", type=int, default=1000)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    encoder = args.encoder or packaged_encoder()
    model = AutoModel.from_pretrained(encoder).eval()
    words = test_words(args.samples)
    chosen = np.random.default_rng(0).permutation(len(words))[: args.docs]
    pieces = [np.array(ids) for ids in bare_pieces(encoder, [words[i] for i in chosen])]
    ways: dict[str, Any] = {"groups": Groups(BUDGETS["cpu"], OVERHEADS["cpu"])}
    ways |= {f"joined to {width}": Joined(BUDGETS["cpu"], width) for width in ROWS}
    results: dict[str, Any] = {"machine": machine(), "docs": {}}
    for size in SIZES:
        batches = [pieces[i : i + size] for i in range(0, len(pieces), size)]
        results["docs"][str(size)] = compare(model, ways, batches, args.rounds)
        save(results, args.json)


if __name__ == "__main__":
    main()
