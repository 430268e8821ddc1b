"""How time and memory grow with document length, number of documents and number of heads.

Each measurement runs in a process of its own, so that its peak memory is its own. Memory is the
growth of the resident set over the loaded pipeline, MiB.

Example: python -m benchmarks.scaling --json benchmarks/results/scaling.json
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import spacy
import torch
from spacy.tokens import Doc

from .common import (
    HEADS,
    about,
    arguments,
    machine,
    packaged_encoder,
    peak_mib,
    peer,
    pipeline,
    save,
    test_words,
    training_examples,
)


def measure(model: str, samples: Path, n_docs: int, n_words: int, threads: int) -> dict:
    """RETURNS (Dict): Speed and memory for so many docs of so many words each."""
    torch.set_num_threads(threads)
    nlp = spacy.load(model)
    once = [word for sentence in test_words(samples) for word in sentence]
    words = once * (n_words // len(once) + 2)
    for _ in nlp.pipe([Doc(nlp.vocab, words=words[:2000])]):
        pass
    before = peak_mib()

    def docs():
        for i in range(n_docs):
            start = i * n_words % len(once)
            yield Doc(nlp.vocab, words=words[start : start + n_words])

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


def folder_mib(path: Path) -> float:
    return round(sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) / 2**20, 1)


def as_markdown(results: dict) -> str:
    """RETURNS (str): Speed and memory as tables."""
    lines = [f"Prediction in bfloat16. {about(results['machine'])}"]

    def table(title: str, rows: list[dict]) -> None:
        lines.extend(["", title, "", f"| {' | '.join(rows[0])} |", "|---" * len(rows[0]) + "|"])
        lines.extend(f"| {' | '.join(map(str, row.values()))} |" for row in rows)

    titles = {
        "document_length": "Four heads, docs of growing length:",
        "documents": "Four heads, more and more docs:",
        "one_long_document": "Four heads, one long doc:",
        "heads": "More and more heads:",
    }
    for part, title in titles.items():
        if part in results:
            table(title, results[part] if isinstance(results[part], list) else [results[part]])
    compared = results.get("four_pipelines_or_one", {})
    names = {"four": "four pipelines of one head", "one": "one pipeline of four heads"}
    if compared:
        rows = [{"": name, **compared[system]} for system, name in names.items()]
        table("Four tasks; the memory of four pipelines is that of all together:", rows)
    return "\n".join(lines) + "\n"


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
            values = (model, args.samples, n_docs, n_words, args.threads)
            found = peer(sys.executable, "-m", "benchmarks.scaling", "--measure", *values)
            print(json.dumps(found), file=sys.stderr)
            return found

        def keep(part: str, found: Any) -> None:
            results[part] = found
            save(results, args.json, as_markdown(results))

        four = make("four", HEADS)
        lengths = (10, 100, 1_000, 10_000, 100_000 // scale)
        keep("document_length", [run(four, max(1, 20_000 // n), n) for n in lengths])
        counts = (1_000 // scale, 10_000 // scale, 100_000 // scale)
        keep("documents", [run(four, n, 10) for n in counts])
        keep("one_long_document", run(four, 1, 1_000_000 // scale))
        heads = [
            {"heads": n, **run(make(f"heads{n}", (HEADS * 2)[:n]), 2_000, 20)} for n in (1, 2, 4, 8)
        ]
        keep("heads", heads)
        singles = [make(head, (head,)) for head in HEADS]
        runs = [run(single, 2_000, 20) for single in singles]
        together = run(four, 2_000, 20)
        compared = {
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
        keep("four_pipelines_or_one", compared)


if __name__ == "__main__":
    main()
