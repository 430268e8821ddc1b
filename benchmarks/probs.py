"""What probabilities cost: words per second with `probs = true` of all heads, and without.

One pipeline predicts the same sentences with and without, in turn, in one process; the median
counts, as the machine may be busy otherwise. Tagger, chunker and recogniser, with and without a
linear chain.

Example: python -m benchmarks.probs --json benchmarks/results/probs.json
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import torch
from spacy.language import Language

from .common import (
    HEADS,
    arguments,
    machine,
    packaged_encoder,
    pipeline,
    save,
    test_words,
    training_examples,
)
from .speed import predict_seconds, quantize

WORD_HEADS = HEADS[:3]
WANTED = 0.95  # of the speed without


def ratio(nlp: Language, words: list[list[str]], rounds: int) -> dict[str, float]:
    """RETURNS (Dict[str, float]): Words per second with and without, and the ratio of the two."""
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for round_ in range(rounds + 1):
        for is_on in (False, True) if round_ % 2 else (True, False):
            for name in WORD_HEADS:
                head: Any = nlp.get_pipe(name)
                head.writes_probs = is_on
            took = predict_seconds(nlp, words)
            if round_:  # the first one warms up
                seconds[is_on].append(took)
    n_words = sum(map(len, words))
    without, with_them = (n_words / median(seconds[key]) for key in (False, True))
    ratios = [a / b for a, b in zip(seconds[False], seconds[True])]
    return {
        "without": round(without),
        "with": round(with_them),
        "ratio": round(median(ratios), 3),
    }


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=20, help="Training steps beforehand.")
    parser.add_argument("--sentences", type=int, default=1000, help="How many are predicted.")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    words = test_words(args.samples)[: args.sentences]
    results: dict[str, Any] = {"machine": machine(), "wanted": WANTED}
    for chain in (False, True):
        nlp, sgd = pipeline(
            args.encoder or packaged_encoder(),
            lambda nlp: training_examples(nlp, args.samples),
            options={name: {"crf": chain} for name in ("chunker", "ner")},
        )
        # So that labels are legal for the most part, and not spans everywhere.
        examples = training_examples(nlp, args.samples)
        for start in range(0, args.steps * 32, 32):
            nlp.update(examples[start : start + 32], sgd=sgd)
        found = {"float32": nlp}
        with tempfile.TemporaryDirectory() as name:
            nlp.to_disk(Path(name, "model"))
            found["int8"] = quantize(Path(name)) or nlp
            for precision, pipe in found.items():
                key = precision + "_crf" * chain
                results[key] = ratio(pipe, words, args.rounds)
                save(results, args.json)


if __name__ == "__main__":
    main()
