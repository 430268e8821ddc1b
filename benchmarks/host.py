"""What the host costs: prediction and training with a network that costs nothing, on one core.

A GPU is done with a batch before the next one is ready, so that there the host decides. `ours` is a
pipeline of four trained heads whose network gives zeros, or with `--recorded` at once what it gave
for the same words before, so that heads predict what they have learned. `spacy` makes the same docs
and writes the same annotations with spaCy alone. Both work from raw text and from Docs. They take
turns, and the best of all rounds counts, in time of the thread. `train` is `nlp.update` without the
network, on docs that have gold for one head each.

Example: python -m benchmarks.host --json benchmarks/results/host.json
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from spacy.attrs import TAG
from spacy.language import Language
from spacy.tokens import Doc, Span, SpanGroup
from spacy.training import Example, biluo_tags_to_spans, iob_to_biluo

from spacy_multitask.encoder import encode
from spacy_multitask.encoder.budget import BUDGETS, OF_DEVICES, OVERHEAD_OF_DEVICES, OVERHEADS

from .common import HEADS, arguments, machine, packaged_encoder, pipeline, save, sentences

BATCH = 1000  # docs
WIDTH = 32  # of the vectors
WANTED = 0.75


def write_tiny_encoder(folder: Path) -> str:
    """Save an encoder that costs next to nothing, with the packaged tokenizer."""
    from transformers import AutoTokenizer, BertConfig, BertModel

    tokenizer = AutoTokenizer.from_pretrained(packaged_encoder())
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=2 * WIDTH,
    )
    BertModel(config).save_pretrained(folder)
    return str(folder)


def examples_of(nlp: Language, samples: Path) -> list[Example]:
    """RETURNS (List[Example]): Docs of four corpora, each with gold for one head, mixed."""
    docs = []
    for words, tags in sentences(samples / "ud/train.txt"):
        docs.append(Doc(nlp.vocab, words=words, tags=tags))
    for words, tags in sentences(samples / "chunk/train.txt"):
        docs.append(Doc(nlp.vocab, words=words))
        docs[-1].spans["np"] = biluo_tags_to_spans(docs[-1], iob_to_biluo(tags))
    for words, tags in sentences(samples / "ner/train.txt"):
        docs.append(Doc(nlp.vocab, words=words))
        docs[-1].set_ents(biluo_tags_to_spans(docs[-1], iob_to_biluo(tags)))
    lines = (samples / "topic/train.txt").read_text(encoding="utf8").splitlines()
    topics = [line.split(" ", 1) for line in lines]
    for topic, text in topics:
        docs.append(nlp.make_doc(text))
        docs[-1].cats = {label: float(label == topic) for label, _ in topics}
    order = np.random.default_rng(0).permutation(len(docs)).tolist()
    return [_example(nlp, docs[i]) for i in order]


def _example(nlp: Language, doc: Doc) -> Example:
    return Example(Doc(nlp.vocab, words=[token.text for token in doc]), doc)


def test_texts(samples: Path) -> list[str]:
    """RETURNS (List[str]): Sentences of news and web text."""
    return [
        " ".join(words)
        for name in ("ud/test.txt.gz", "chunk/test.txt.gz")
        for words, _ in sentences(samples / name)
    ]


@contextmanager
def as_on_a_device() -> Iterator[None]:
    """Cut micro-batches as for a GPU within, and give no memory back."""
    with (
        patch.dict(BUDGETS, cpu=OF_DEVICES),
        patch.dict(OVERHEADS, cpu=OVERHEAD_OF_DEVICES),
        patch.object(encode, "MANY_WORDS", sys.maxsize),
    ):
        yield


class Silent:
    """Stands in for the network's `forward`: zeros, or what it gave when it was listened to."""

    def __init__(self, network: Any):
        self.network = network
        self.forward = network.forward
        self.heard: list[torch.Tensor] = []
        self.place = 0

    def listen(self, nlp: Language, docs: list[Doc]) -> None:
        """Keep what the network gives for docs, in the order that it is asked."""

        def forward(*inputs: Any) -> torch.Tensor:
            self.heard.append(self.forward(*inputs))
            return self.heard[-1]

        self.network.forward = forward
        for _ in nlp.pipe(docs, batch_size=BATCH):
            pass

    def repeat(self) -> None:
        def forward(*inputs: Any) -> torch.Tensor:
            self.place += 1
            return self.heard[(self.place - 1) % len(self.heard)]

        self.network.forward = forward

    def zeros(self) -> None:
        def forward(ids: torch.Tensor, *others: Any) -> torch.Tensor:
            return torch.zeros(*ids.shape, WIDTH)

        self.network.forward = forward

    def zeros_that_learn(self) -> None:
        # Not of the embeddings, whose gradients are sparse.
        weight = next(self.network.transformer.encoder.parameters())

        def forward(ids: torch.Tensor, *others: Any) -> torch.Tensor:
            return (weight.view(-1)[:WIDTH] * 0.0).expand(*ids.shape, WIDTH)

        self.network.forward = forward


Said = tuple[np.ndarray, list[tuple[int, int, int]], list[tuple[int, int, int]], dict[str, float]]


def said_of(doc: Doc) -> Said:
    """RETURNS (tuple): Tags, entities, chunks and topics, as a predictor would have them."""
    ents = [(span.start, span.end, span.label) for span in doc.ents]
    chunks = [(span.start, span.end, span.label) for span in doc.spans["np"]]
    return doc.to_array([TAG]), ents, chunks, dict(doc.cats)


def write(doc: Doc, said: Said) -> None:
    """Write annotations with spaCy alone, as its own components do."""
    tags, ents, chunks, cats = said
    doc.from_array([TAG], tags)
    doc.set_ents([Span(doc, start, end, label=label) for start, end, label in ents])
    spans = [Span(doc, start, end, label=label) for start, end, label in chunks]
    doc.spans["np"] = SpanGroup(doc, name="np", spans=spans)
    for label, value in cats.items():
        doc.cats[label] = value


def thread_seconds(run: Callable[[], Any]) -> float:
    started = time.thread_time()
    run()
    return time.thread_time() - started


def speeds(nlp: Language, texts: list[str], silent: Silent, rounds: int) -> dict[str, int]:
    """RETURNS (Dict[str, int]): Words per second of ours and of spaCy alone."""
    docs = [nlp.make_doc(text) for text in texts]
    n_words = sum(map(len, docs))
    said = list(map(said_of, nlp.pipe(docs, batch_size=BATCH)))
    words = [([t.text for t in doc], [bool(t.whitespace_) for t in doc]) for doc in docs]

    def fresh() -> list[Doc]:
        return [Doc(nlp.vocab, words=w, spaces=s) for w, s in words]

    def spacy_text() -> None:
        for text, found in zip(texts, said):
            write(nlp.make_doc(text), found)

    def spacy_docs(docs: list[Doc]) -> None:
        for doc, found in zip(docs, said):
            write(doc, found)

    def ours(given: list) -> None:
        for _ in nlp.pipe(given, batch_size=BATCH):
            pass

    best: dict[str, float] = {}
    for _ in range(rounds):
        silent.place = 0
        found = {"ours_text": thread_seconds(partial(ours, texts))}
        found["spacy_text"] = thread_seconds(spacy_text)
        silent.place = 0
        found["ours_docs"] = thread_seconds(partial(ours, fresh()))
        found["spacy_docs"] = thread_seconds(partial(spacy_docs, fresh()))
        best = {name: min(value, best.get(name, value)) for name, value in found.items()}
    return {name: round(n_words / seconds) for name, seconds in best.items()}


def train_speed(nlp: Language, sgd: Any, examples: list[Example], size: int, rounds: int) -> int:
    """RETURNS (int): Words per second of `nlp.update`, for batches of so many docs."""
    batches = [examples[i : i + size] for i in range(0, len(examples) - size, size)]

    def run() -> None:
        for batch in batches:
            nlp.update(batch, sgd=sgd, losses={})

    run()
    seconds = min(thread_seconds(run) for _ in range(rounds))
    return round(sum(len(eg.x) for batch in batches for eg in batch) / seconds)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60, help="Steps that the heads learn.")
    parser.add_argument("--docs", type=int, default=4000)
    parser.add_argument("--recorded", action="store_true", help="Vectors as the network gave them.")
    parser.add_argument("--skip-training", action="store_true", help="Do not measure it.")
    args = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, Any] = {"machine": machine(), "unit": "words per second", "heads": HEADS}
    with tempfile.TemporaryDirectory() as folder:
        encoder = write_tiny_encoder(Path(folder))
        nlp, sgd = pipeline(encoder, lambda nlp: examples_of(nlp, args.samples))
    examples = examples_of(nlp, args.samples)
    sgd.learn_rate = sgd.head_learn_rate = 3e-3
    for step in range(args.steps):
        nlp.update(examples[64 * step : 64 * step + 64], sgd=sgd)
    silent = Silent(nlp.get_pipe("transformer").shim.module)
    texts = test_texts(args.samples)[: args.docs]
    if args.recorded:
        with as_on_a_device():
            silent.listen(nlp, [nlp.make_doc(text) for text in texts])
        silent.repeat()
    else:
        silent.zeros()
    with as_on_a_device():
        results["host"] = speeds(nlp, texts, silent, args.rounds)
    results["ratios"] = {
        f"{part}": {
            "reached": round(results["host"][f"ours_{part}"] / results["host"][f"spacy_{part}"], 3),
            "wanted": WANTED,
        }
        for part in ("text", "docs")
    }
    if not args.skip_training:
        silent.zeros_that_learn()
        nlp.get_pipe("transformer").max_batch_pieces = OF_DEVICES
        with as_on_a_device():
            results["train"] = {
                str(size): train_speed(nlp, sgd, examples[:1024], size, args.rounds)
                for size in (16, 64)
            }
    save(results, args.json)


if __name__ == "__main__":
    main()
