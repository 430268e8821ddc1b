"""Does memory stay flat? Streams short and long docs through a pipeline, and weighs the process.

Each measurement runs in a process of its own. Text is drawn from a fixed vocabulary; only the docs
in memory zones bring new words, which is what spaCy's string store grows by.

In bfloat16 on a CPU oneDNN, which PyTorch multiplies matrices with, keeps code for up to 1,024
shapes of them, some 70 MB, and takes long to have met so many. That is not ours to bound, but
whoever runs the process can, as a service should:

Example: ONEDNN_PRIMITIVE_CACHE_CAPACITY=64 python -m benchmarks.robustness
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from transformers import AutoModel, AutoTokenizer

from . import common

VOCABULARY = 20_000
SHORT = (2, 8)  # words in a short doc, from and to
CAPACITY = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
PARTS = 100  # of a stream, after each of which the process is weighed


def resident_mib() -> float:
    """RETURNS (float): Memory that the process holds now, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def make_words(n: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    syllables = [a + b for a in "bdfgklmnprst" for b in ("a", "en", "i", "or", "us")]
    return ["".join(rng.choices(syllables, k=rng.randint(1, 3))) for _ in range(n)]


def make_docs(nlp: Language, args: argparse.Namespace, *, new_words: bool) -> Iterator[Doc]:
    """YIELDS (Doc): Short docs, with a long one at equal distances."""
    rng = random.Random(0)
    words = make_words(VOCABULARY, 0)
    distance = args.docs // max(1, args.long)
    for i in range(args.docs):
        if args.long and i % distance == distance // 2:
            yield Doc(nlp.vocab, words=rng.choices(words, k=args.long_words))
        chosen = rng.choices(words, k=rng.randint(*SHORT))
        yield Doc(nlp.vocab, words=[*chosen, f"new{i}"] if new_words else chosen)


def stream(
    docs: Iterable[Doc], args: argparse.Namespace, kept: list[Doc] | None = None
) -> dict[str, Any]:
    """Consume docs.

    kept (Optional[List[Doc]]): Where they go, if they are not dropped.
    RETURNS (Dict[str, Any]): MiB over the stream, and how the last quarter compares to the second.
    """
    sizes = []
    started = time.perf_counter()
    start = resident_mib()
    n_words = 0
    for i, doc in enumerate(docs, 1):
        n_words += len(doc)
        if kept is not None:
            kept.append(doc)
        if i % max(1, args.docs // PARTS) == 0:
            sizes.append(resident_mib())
    gc.collect()
    second, last = np.array_split(sizes, 4)[1].mean(), np.array_split(sizes, 4)[3].mean()
    return {
        "docs": args.docs,
        "long_docs": args.long,
        "words": n_words,
        "seconds": round(time.perf_counter() - started, 1),
        "start_mib": round(start, 1),
        "second_quarter_mib": round(second, 1),
        "last_quarter_mib": round(last, 1),
        "last_to_second": round(last / second, 4),
        "end_mib": round(resident_mib(), 1),
        "mib": [round(size, 1) for size in sizes[:: max(1, PARTS // 20)]],
    }


def measure_dropped(nlp: Language, args: argparse.Namespace) -> dict[str, Any]:
    docs = make_docs(nlp, args, new_words=False)
    return stream(nlp.pipe(docs, batch_size=args.batch_size), args)


def measure_kept(nlp: Language, args: argparse.Namespace) -> dict[str, Any]:
    """The docs' own size is what docs weigh that the encoder never saw, with as much in them."""
    docs = make_docs(nlp, args, new_words=False)
    kept: list[Doc] = []
    ours = stream(nlp.pipe(docs, batch_size=args.batch_size), args, kept)
    ours["vectors"] = sum(doc.tensor.size for doc in kept)
    before = resident_mib()
    copies = [copy_layers(doc) for doc in kept]
    ours["docs_mib"] = round(ours["end_mib"] - ours["start_mib"], 1)
    ours["same_docs_without_pipeline_mib"] = round(resident_mib() - before, 1)
    assert len(copies) == len(kept)
    return ours


def copy_layers(doc: Doc) -> Doc:
    """RETURNS (Doc): One made from words, with the same annotations set by hand."""
    copy = Doc(
        doc.vocab,
        words=[token.text for token in doc],
        tags=[token.tag_ for token in doc],
        ents=[f"{t.ent_iob_}-{t.ent_type_}" if t.ent_type_ else "O" for t in doc],
    )
    copy.spans["np"] = [copy[s.start : s.end] for s in doc.spans["np"]]
    copy.cats = dict(doc.cats)
    return copy


def measure_zone(nlp: Language, args: argparse.Namespace) -> dict[str, Any]:
    """Every doc brings a word never seen; spaCy's memory zones let go of it."""
    strings = len(nlp.vocab.strings)

    def in_zones() -> Iterator[Doc]:
        docs = make_docs(nlp, args, new_words=True)
        n_left = args.docs + args.long
        while n_left > 0:
            with nlp.memory_zone():
                # Docs, too, must be made inside of the zone that they are used in.
                yield from nlp.pipe(list(islice(docs, args.batch_size)))
            n_left -= args.batch_size

    result = stream(in_zones(), args)
    result["new_strings"] = len(nlp.vocab.strings) - strings
    cache = nlp.get_pipe("transformer").shim.encoder.cache
    result["cached_words"] = len(cache)
    result["cache_limit"] = cache.max_words
    return result


MEASUREMENTS = {"dropped": measure_dropped, "kept": measure_kept, "zone": measure_zone}


def run_one(name: str, args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        encoder = args.encoder or common.packaged_encoder()
        if args.layers:
            encoder = cut_encoder(encoder, args.layers, folder)
        nlp, _ = common.pipeline(encoder, made_examples, precision=args.precision)
    print(json.dumps(MEASUREMENTS[name](nlp, args)))


def cut_encoder(encoder: str, n_layers: int, folder: str) -> str:
    """RETURNS (str): The folder, now with a smaller encoder. Its words, pieces, vectors and labels
    take the memory that those of the whole one take."""
    AutoModel.from_pretrained(encoder, num_hidden_layers=n_layers).save_pretrained(folder)
    AutoTokenizer.from_pretrained(encoder).save_pretrained(folder)
    return folder


def made_examples(nlp: Language) -> list:
    """RETURNS (List[Example]): Gold for every head; what is predicted does not matter here."""
    examples = []
    for label in "ABCD":
        reference = Doc(nlp.vocab, words=["a", "b"], tags=[label, "X"])
        reference.set_ents([Span(reference, 0, 1, label=label)])
        reference.spans["np"] = [Span(reference, 0, 2, label=label)]
        reference.cats = {other: float(other == label) for other in "ABCD"}
        examples.append(Example(Doc(nlp.vocab, words=["a", "b"]), reference))
    return examples


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--docs", type=int, default=200_000, help="Short docs.")
    parser.add_argument("--long", type=int, default=20, help="Long docs among them.")
    parser.add_argument("--long-words", type=int, default=100_000, help="Words in a long doc.")
    parser.add_argument("--batch-size", type=int, default=256, help="Docs in a batch.")
    parser.add_argument("--layers", type=int, help="Use the encoder's first layers only.")
    parser.add_argument("--precision", default="bfloat16")
    parser.set_defaults(json=common.RESULTS / "robustness.json")
    parser.add_argument("--only", choices=list(MEASUREMENTS), nargs="+", help="Default: all.")
    parser.add_argument("--run", choices=list(MEASUREMENTS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        torch.set_num_threads(args.threads)
        run_one(args.run, args)
        return
    results: dict[str, Any] = {
        "machine": common.machine(),
        "onednn_primitive_cache_capacity": int(os.environ.get(CAPACITY, 1024)),
    }
    for name in args.only or MEASUREMENTS:
        command = [sys.executable, "-m", "benchmarks.robustness", *sys.argv[1:], "--run", name]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        results[name] = json.loads(output.splitlines()[-1])
    common.merge({"memory": results}, args.json)


if __name__ == "__main__":
    main()
