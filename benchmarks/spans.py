"""Spans that may overlap: our head, spaCy's spancat, and our recogniser where spans are flat.

Three corpora. `assets`: the bundled sentences, whose spans are chunks, entities within them, and
prepositional phrases around them (a PP chunk with the NP behind it). `synthetic`: sentences of
names within names, made from a seed. `flat`: entities of the samples, for which `overlap = "flat"`
is compared with `multitask_ner`. All heads listen to the same encoder and see the same batches.
Scores are strict F on the development part of `assets` and `synthetic`, and on the test part of
`flat`, by the last weights. Seconds are processor time: of the updates, and for words per second of
the whole prediction.

Example: python -m benchmarks.spans --seeds 0 --threads 1 --json benchmarks/results/spans.json
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import fix_random_seed
from thinc.api import warmup_linear

from spacy_multitask.training.optimizer import make_adamw

from .common import Runs, arguments, packaged_encoder, sentences

ASSETS = Path(__file__).parents[1] / "assets" / "ner"
KEY = "sc"
# Words, and spans as first word, end and label.
Sentence = tuple[list[str], list[tuple[int, int, str]]]
LISTENER = {"@architectures": "spacy_multitask.EncoderListener.v1"}
SYSTEMS = {
    "assets": ("spans", "spancat"),
    "synthetic": ("spans", "spancat"),
    "flat": ("spans", "ner"),
}


def spans_of(tags: Iterable[str]) -> list[tuple[int, int, str]]:
    """RETURNS (List[tuple]): Spans in IOB1 or IOB2 tags."""
    found: list[tuple[int, int, str]] = []
    before = "O"
    for i, tag in enumerate(tags):
        label = tag[2:]
        if tag != "O" and (tag[0] == "B" or before[2:] != label):
            found.append((i, i + 1, label))
        elif tag != "O":
            found[-1] = (found[-1][0], i + 1, label)
        before = tag
    return found


def assets(part: str) -> Iterator[Sentence]:
    """YIELDS (tuple): Sentences with chunks, entities, and phrases of a preposition."""
    for block in (ASSETS / f"{part}.txt").read_text(encoding="utf8").split("\n\n"):
        rows = [line.split() for line in block.splitlines() if line.strip()]
        rows = [row for row in rows if row[0] != "-DOCSTART-"]
        if not rows:
            continue
        chunks = spans_of(row[2] for row in rows)
        phrases = [
            (one[0], other[1], "PHRASE")
            for one, other in itertools.pairwise(chunks)
            if one[2] == "PP" and other[2] == "NP" and one[1] == other[0]
        ]
        entities = spans_of(row[3] for row in rows)
        yield [row[0] for row in rows], [*chunks, *phrases, *entities]


def synthetic(part: str) -> Iterator[Sentence]:
    """YIELDS (tuple): Sentences of names within names. Those of the development part are made of
    other words."""
    draw = random.Random(part)
    half = slice(0, None, 2) if part == "train" else slice(1, None, 2)
    syllables = ["ba", "ken", "lo", "mir", "sta", "ven", "dor", "gil", "hart", "nes"]
    names = [(a + b).title() for a in syllables for b in syllables][half]

    def place() -> Sentence:
        words = [draw.choice(names)]
        if draw.random() < 0.3:
            words.insert(0, draw.choice(["New", "Upper", "South"]))
        return words, [(0, len(words), "LOC")]

    def person() -> Sentence:
        words = [draw.choice(names), draw.choice(names)]
        return words, [(0, 2, "PER"), (1, 2, "SURNAME")]

    def join(*parts: Sentence | str, label: str = "") -> Sentence:
        words: list[str] = []
        spans: list[tuple[int, int, str]] = []
        for one in parts:
            own, inner = (one.split(), []) if isinstance(one, str) else one
            spans += [(s + len(words), e + len(words), x) for s, e, x in inner]
            words += own
        return words, [*spans, (0, len(words), label)] if label else spans

    def organisation() -> Sentence:
        kind = draw.randrange(4)
        if kind == 0:
            return join(draw.choice(["University", "Bank", "Port"]), "of", place(), label="ORG")
        if kind == 1:
            return join(place(), draw.choice(["City Council", "Daily News"]), label="ORG")
        if kind == 2:
            return join(person(), "Foundation", label="ORG")
        faculty = draw.choice(["Faculty of Law", "Board"])
        return join(faculty, "of the", organisation(), label="ORG")

    def title() -> Sentence:
        role = draw.choice(["head", "mayor", "founder"])
        return join("the", role, "of", draw.choice([place, organisation])(), label="ROLE")

    someone = (person, title, organisation)
    for _ in range(300 if part == "train" else 150):
        verb = draw.choice(["met", "wrote to", "left", "praised"])
        first, other = (draw.choice(someone)() for _ in range(2))
        yield join(first, verb, other, draw.choice(["in", "near"]), place(), ".")


def flat(samples: Path, part: str) -> Iterator[Sentence]:
    name = "train.txt" if part == "train" else "test.txt.gz"
    for words, tags in sentences(samples / "ner" / name):
        yield words, spans_of(tags)


def examples(nlp: Language, found: Iterable[Sentence]) -> list[Example]:
    """RETURNS (List[Example]): Spans are in the group; those that are flat in `doc.ents`, too."""
    made = []
    for words, spans in found:
        reference = Doc(nlp.vocab, words=words)
        own = [Span(reference, s, e, label=label) for s, e, label in spans]
        reference.spans[KEY] = own
        if sum(map(len, own)) == len({t.i for span in own for t in span}):
            reference.set_ents(own, default="outside")
        made.append(Example(Doc(nlp.vocab, words=words), reference))
    return made


def pipeline(encoder: str, system: str, is_flat: bool, widest: int) -> Language:
    """RETURNS (Language): The encoder with one head."""
    nlp = spacy.blank("en")
    model: dict[str, Any] = {"@architectures": "spacy_multitask.Encoder.v1", "name": encoder}
    nlp.add_pipe("multitask_transformer", name="transformer", config={"model": model})
    if system == "spancat":
        config: dict[str, Any] = {
            "spans_key": KEY,
            "suggester": {
                "@misc": "spacy.ngram_range_suggester.v1",
                "min_size": 1,
                "max_size": widest,
            },
        }
        meta = Language.get_factory_meta("spancat")
        config["model"] = {**(meta.default_config or {})["model"], "tok2vec": LISTENER}
        nlp.add_pipe("spancat", name="head", config=config)
    elif system == "spans":
        options = {"spans_key": KEY, "overlap": "flat" if is_flat else "all", "max_width": widest}
        nlp.add_pipe("multitask_spans", name="head", config=options)
    else:
        nlp.add_pipe("multitask_ner", name="head")
    return nlp


def batches(data: list[Example], max_words: int) -> Iterator[list[Example]]:
    """YIELDS (List[Example]): Fresh ones, up to so many words."""
    part: list[Example] = []
    n_words = 0
    for eg in data:
        if part and n_words + len(eg.predicted) > max_words:
            yield part
            part, n_words = [], 0
        words = [token.text for token in eg.predicted]
        part.append(Example(Doc(eg.predicted.vocab, words=words), eg.reference))
        n_words += len(words)
    if part:
        yield part


def run(corpus: str, system: str, seed: int, encoder: str, args: Any) -> dict[str, float]:
    """RETURNS (Dict[str, float]): Scores, seconds of training, words per second in prediction."""
    fix_random_seed(seed)
    read = {
        "assets": assets,
        "synthetic": synthetic,
        "flat": lambda part: flat(args.samples, part),
    }[corpus]
    train, dev = (list(read(part)) for part in ("train", "dev"))
    widest = max(e - s for _, spans in train for s, e, _ in spans)
    nlp = pipeline(encoder, system, corpus == "flat", widest)
    data = examples(nlp, train)
    epochs = args.flat_epochs if corpus == "flat" else args.epochs
    n_words = sum(len(words) for words, _ in train)
    steps = int(n_words * epochs / args.max_words)
    sgd = make_adamw(
        learn_rate=warmup_linear(args.learn_rate, steps // 10, steps),
        head_learn_rate=warmup_linear(args.head_learn_rate, steps // 10, steps),
    )
    nlp.initialize(lambda: data, sgd=sgd)
    draw = random.Random(seed)
    started = time.process_time()
    for _ in range(epochs):
        draw.shuffle(data)
        for part in batches(data, args.max_words):
            nlp.update(part, sgd=sgd, drop=0.1)
            sgd.step_schedules()
    seconds = time.process_time() - started
    test = examples(nlp, dev)
    docs = [eg.predicted for eg in test]
    started = time.process_time()
    predicted = list(nlp.pipe([doc.copy() for doc in docs], batch_size=256))
    speed = sum(map(len, docs)) / (time.process_time() - started)
    scores = _score([Example(doc, eg.reference) for doc, eg in zip(predicted, test)], system)
    return {**scores, "train_seconds": round(seconds, 1), "words_per_second": round(speed)}


def _score(found: list[Example], system: str) -> dict[str, float]:
    """RETURNS (Dict[str, float]): Precision, recall and F over labelled spans."""
    right = n_own = n_gold = 0
    for eg in found:
        own, gold = (
            {(s.start, s.end, s.label_) for s in spans}
            for spans in (
                eg.predicted.ents if system == "ner" else eg.predicted.spans[KEY],
                eg.reference.spans[KEY],
            )
        )
        right, n_own, n_gold = right + len(own & gold), n_own + len(own), n_gold + len(gold)
    p, r = right / max(1, n_own), right / n_gold
    return {"p": round(p, 4), "r": round(r, 4), "f": round(2 * right / (n_own + n_gold), 4)}


def summarize(runs: dict[str, dict[str, dict]]) -> dict:
    """RETURNS (Dict): Means over seeds, by corpus and system."""
    summary: dict = {}
    for corpus, systems in runs.items():
        for system, seeds in systems.items():
            names = next(iter(seeds.values()), {})
            means = {name: round(mean(run[name] for run in seeds.values()), 4) for name in names}
            summary.setdefault(corpus, {})[system] = means
    return summary


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--flat-epochs", type=int, default=3)
    parser.add_argument("--max-words", type=int, default=100)
    parser.add_argument("--learn-rate", type=float, default=2e-4)
    parser.add_argument("--head-learn-rate", type=float, default=3e-3)
    parser.add_argument("--only", nargs="+", default=list(SYSTEMS), choices=list(SYSTEMS))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    encoder = args.encoder or packaged_encoder()
    names = ("epochs", "flat_epochs", "max_words", "learn_rate", "head_learn_rate")
    settings = {name: getattr(args, name) for name in names}
    runs = Runs(args.json, lambda found: {"settings": settings, **summarize(found)})
    for seed in args.seeds:
        for corpus in args.only:
            for system in SYSTEMS[corpus]:
                runs.once((corpus, system, str(seed)), run, corpus, system, seed, encoder, args)


if __name__ == "__main__":
    main()
