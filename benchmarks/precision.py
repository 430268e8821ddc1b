"""What bfloat16 and int8 cost in accuracy, on a trained pipeline and its test corpora.

For int8 also the ways not chosen: one scale per matrix instead of one per column, weights with the
full range of 8 bits, which overflow on processors without VNNI, and with the second matrix of the
feed-forward layers left in float32.

Example: python -m benchmarks.precision training/all/model-last \
  --corpus pos=corpus/real/pos-test.spacy --json benchmarks/results/precision.json
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import spacy
from spacy.tokens import DocBin

from spacy_multitask.encoder import encode
from spacy_multitask.encoder.quantize import quantize
from spacy_multitask.evaluation.evaluate import evaluate, main_scores

from .common import machine, save

INT8 = {
    "int8": {},
    "int8_per_matrix": {"per_channel": False},
    "int8_full_range": {"reduce_range": False},
    "int8_float_down_projections": {"down_projections": False},
}


def limited(path: str, limit: int, folder: Path) -> str:
    docs = list(DocBin(store_user_data=True).from_disk(path).get_docs(spacy.blank("en").vocab))
    if len(docs) <= limit:
        return path
    DocBin(docs=docs[:limit]).to_disk(folder / Path(path).name)
    return str(folder / Path(path).name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--corpus", action="append", required=True, metavar="NAME=PATH")
    parser.add_argument("--limit", type=int, default=2500, help="Most docs of a corpus.")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    results: dict = {"machine": machine(), "limit": args.limit, "scores": {}, "cost_in_points": {}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pairs = [item.split("=", 1) for item in args.corpus]
        corpora = {name: limited(path, args.limit, folder) for name, path in pairs}

        def measure(label: str, nlp) -> None:
            started = time.perf_counter()
            scores = {n: main_scores(s) for n, s in evaluate(nlp, corpora).items()}
            scores["seconds"] = {"all": time.perf_counter() - started}
            results["scores"][label] = scores
            base = results["scores"]["float32"]
            results["cost_in_points"][label] = {
                f"{corpus}.{score}": round(100 * (base[corpus][score] - value), 2)
                for corpus, found in scores.items()
                for score, value in found.items()
                if corpus != "seconds"
            }

        # Also where this processor is slow in it.
        encode.computes_bfloat16 = lambda device: True
        for precision in ("float32", "bfloat16"):
            config = {"components": {"transformer": {"precision": precision}}}
            measure(precision, spacy.load(args.model, config=config))
        for label, options in INT8.items():
            quantize(args.model, folder / label, **options)
            measure(label, spacy.load(folder / label))
    save(results, args.json)


if __name__ == "__main__":
    main()
