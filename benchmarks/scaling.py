"""How time and memory grow with document length, number of documents and number of heads.

Each measurement runs in a process of its own, so that its peak memory is its own. Memory is the
growth of the resident set over the loaded pipeline, MiB.

Example: python -m benchmarks.scaling --json benchmarks/results/scaling.json
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import spacy
import torch
from spacy.tokens import Doc

from .common import (
    HEADS,
    arguments,
    machine,
    packaged_encoder,
    peak_mib,
    pipeline,
    save,
    test_words,
    training_examples,
)


def measure(model: str, samples: Path, n_docs: int, n_words: int, threads: int) -> dict:
    """RETURNS (Dict): Speed and memory for so many docs of so many words each."""
    torch.set_num_threads(threads)
    nlp = spacy.load(model)
    words = [word for sentence in test_words(samples) for word in sentence]
    for _ in nlp.pipe([Doc(nlp.vocab, words=words[:2000])]):
        pass
    before = peak_mib()

    def docs():
        for i in range(n_docs):
            start = i * n_words % len(words)
            times = n_words // len(words) + 2
            yield Doc(nlp.vocab, words=(words * times)[start : start + n_words])

    started = time.perf_counter()
    done = sum(len(doc) for doc in nlp.pipe(docs(), batch_size=1000 if n_words < 1000 else 1))
    seconds = time.perf_counter() - started
    return {
        "docs": n_docs,
        "words_per_doc": n_words,
        "words_per_s": round(done / seconds),
        "peak_mib": round(peak_mib()),
        "growth_mib": round(peak_mib() - before),
    }


def in_a_process(*values: object) -> dict:
    command = [sys.executable, "-m", "benchmarks.scaling", "--measure", *map(str, values)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def folder_mib(path: Path) -> float:
    return round(sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) / 2**20, 1)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--measure", nargs=5, metavar=("MODEL", "SAMPLES", "DOCS", "WORDS", "N"))
    parser.add_argument("--quick", action="store_true", help="A tenth of the largest sizes.")
    args = parser.parse_args()
    if args.measure:
        model, samples, *numbers = args.measure
        print(json.dumps(measure(model, Path(samples), *map(int, numbers))))
        return
    encoder = args.encoder or packaged_encoder()
    scale = 10 if args.quick else 1
    results: dict = {"machine": machine()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def make(path: str, heads: tuple[str, ...]) -> Path:
            nlp, _ = pipeline(
                encoder,
                lambda nlp: training_examples(nlp, args.samples),
                heads=heads,
                precision="bfloat16",
            )
            nlp.to_disk(folder / path)
            return folder / path

        def run(model: Path, n_docs: int, n_words: int) -> dict:
            found = in_a_process(model, args.samples, n_docs, n_words, args.threads)
            print(json.dumps(found), file=sys.stderr)
            return found

        four = make("four", HEADS)
        results["document_length"] = [
            run(four, max(1, 20_000 // n), n) for n in (10, 100, 1_000, 10_000, 100_000)
        ]
        results["documents"] = [run(four, n // scale, 10) for n in (1_000, 10_000, 100_000)]
        results["one_long_document"] = run(four, 1, 1_000_000 // scale)
        results["heads"] = [
            {"heads": n, **run(make(f"heads{n}", (HEADS * 2)[:n]), 2_000, 20)} for n in (1, 2, 4, 8)
        ]
        singles = [make(head, (head,)) for head in HEADS]
        runs = [run(single, 2_000, 20) for single in singles]
        together = run(four, 2_000, 20)
        results["four_pipelines_or_one"] = {
            "four": {
                "seconds_per_1000_words": round(sum(1000 / r["words_per_s"] for r in runs), 3),
                "peak_mib": sum(r["peak_mib"] for r in runs),
                "disk_mib": round(sum(map(folder_mib, singles)), 1),
            },
            "one": {
                "seconds_per_1000_words": round(1000 / together["words_per_s"], 3),
                "peak_mib": together["peak_mib"],
                "disk_mib": folder_mib(four),
            },
        }
    save(results, args.json)


if __name__ == "__main__":
    main()
