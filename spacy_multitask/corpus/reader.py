"""Several corpora as one: each annotates something else, together they train one pipeline."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from spacy.training.corpus import FILE_TYPE, walk_corpus
from spacy.util import logger, registry

from ..training.plan import PLAN
from .leaks import check_leaks, paths_of

MIXINGS = ("proportional", "uniform", "temperature", "round_robin")
LEAKS = ("ignore", "warn", "drop")
# Options of one corpus, with their defaults.
OPTIONS: dict[str, Any] = {"path": None, "limit": 0, "max_length": 0, "gold_tokens": True}
# Where an example's reference says which corpus it is from.
CORPUS_KEY = "spacy_multitask_corpus"


@registry.readers("spacy_multitask.MultiCorpus.v1")
def make_multi_corpus(
    corpora: dict[str, dict[str, Any]],
    mixing: str = "proportional",
    temperature: float = 0.5,
    seed: int = 0,
    leaks: str = "ignore",
    held_out: dict[str, str] | None = None,
) -> MultiCorpus:
    """Read several corpora, for training or for evaluation.

    corpora (Dict[str, Dict]): Options per corpus name: `path` (a .spacy file or a folder of them),
        `limit` (most docs to read, 0 for all), `max_length` (longer docs are left out, in tokens,
        0 for none), `gold_tokens` (True: the pipeline sees the gold tokenization; False: it
        tokenizes the text itself and gold is aligned).
    mixing (str): How many examples of each corpus an epoch has. "proportional": each example once.
        "uniform": equal shares. "temperature": shares by size ** temperature. "round_robin": equal
        shares, one corpus after the other. All but the first keep the total number of examples.
    temperature (float): Exponent for "temperature", from 0 (uniform) to 1 (proportional).
    seed (int): For the choice and order of examples.
    leaks (str): For a training corpus: what to do about sentences that stand in the corpora of
        [training] dev_corpus, too. "ignore"; "warn": say how many; "drop": leave docs out that
        consist of them, see `check_leaks`.
    held_out (Optional[Dict[str, str]]): Paths of further parts to look for leaks in, by name: test
        sets.
    RETURNS (MultiCorpus): Maps the pipeline to examples.
    RAISES (ValueError): If an option has no such value.
    """
    return MultiCorpus(
        corpora,
        mixing=mixing,
        temperature=temperature,
        seed=seed,
        leaks=leaks,
        held_out=held_out,
    )


class MultiCorpus:
    """Maps a pipeline to the examples of all corpora. Each call is an epoch with its own order."""

    def __init__(
        self,
        corpora: dict[str, dict[str, Any]],
        *,
        mixing: str,
        temperature: float,
        seed: int,
        leaks: str,
        held_out: dict[str, str] | None,
    ):
        if mixing not in MIXINGS:
            raise ValueError(f"mixing = {mixing!r} is not one of {', '.join(MIXINGS)}.")
        if leaks not in LEAKS:
            raise ValueError(f"leaks = {leaks!r} is not one of {', '.join(LEAKS)}.")
        if not 0 <= temperature <= 1:
            raise ValueError(f"temperature = {temperature} must be from 0 to 1.")
        if not corpora:
            raise ValueError(
                "No corpora are named. Give each a section, such as [corpora.train.corpora.pos], "
                "with a path."
            )
        self.corpora: dict[str, dict[str, Any]] = {}
        for name, options in corpora.items():
            unknown = set(options) - set(OPTIONS)
            if unknown or not options.get("path"):
                raise ValueError(
                    f"Corpus {name!r} needs a path and takes the options {', '.join(OPTIONS)}; "
                    f"it was given {', '.join(sorted(options)) or 'nothing'}."
                )
            self.corpora[name] = {**OPTIONS, **options}
        self.mixing = mixing
        self.temperature = temperature
        self.seed = seed
        self.leaks = leaks
        self.held_out = held_out or {}
        self.epoch = 0
        # Indices of docs to leave out, by corpus.
        self.dropped: dict[str, frozenset[int]] = {}

    def __call__(self, nlp: Language) -> Iterator[Example]:
        """YIELDS (Example): Examples in the order of the mixing.
        RAISES (ValueError): If a path does not exist or a corpus is empty.
        """
        PLAN.read(nlp)
        if self.leaks != "ignore":
            self._look_for_leaks(nlp)
        rng = random.Random(f"{self.seed} {self.epoch}")
        self.epoch += 1
        sizes = {name: self._count(name) for name in self.corpora}
        shares = self.shares(sizes)
        streams = {
            name: _repeat(partial(self._examples, name, nlp), sizes[name], share, rng)
            for name, share in shares.items()
        }
        if len(streams) > 1:
            described = ", ".join(f"{name} {shares[name]} of {sizes[name]}" for name in sizes)
            logger.info("Mixing %s (seed %s): examples %s", self.mixing, self.seed, described)
        yield from _interleave(streams, shares, rng, in_turn=self.mixing == "round_robin")

    def _look_for_leaks(self, nlp: Language) -> None:
        paths = {name: options["path"] for name, options in self.corpora.items()}
        dev = paths_of(nlp.config.interpolate(), "dev_corpus")
        found = check_leaks(paths, [*dev.items(), *self.held_out.items()])
        if self.leaks == "drop":
            self.dropped = found.leaking
        if found.leaks:
            what = (
                "The docs that consist of them are left out of training."
                if self.leaks == "drop"
                else 'Set leaks = "drop" in the section of the training corpora to leave them out; '
                "`spacy multitask leaks --help` shows them."
            )
            warnings.warn(
                f"Training data leaks into held-out data:\n{found.describe()}\n{what}", stacklevel=3
            )

    def _files(self, name: str) -> list[Path]:
        path = Path(self.corpora[name]["path"])
        if not path.exists():
            raise ValueError(
                f"Corpus {name!r}: there is no {path}. Convert it first "
                "(`spacy multitask convert --help`), or correct its path in the config."
            )
        return walk_corpus(path, FILE_TYPE)

    def _count(self, name: str) -> int:
        """RETURNS (int): Examples in one pass over a corpus."""
        options = self.corpora[name]
        if options["max_length"] or self.dropped.get(name):
            # Which docs are too long can't be told without reading them.
            n = sum(1 for _ in self._docs(name, None))
        else:
            n = sum(len(DocBin().from_disk(path)) for path in self._files(name))
        n = min(n, options["limit"]) if options["limit"] else n
        if not n:
            raise ValueError(
                f"Corpus {name!r}: {options['path']} has no docs in files that end in {FILE_TYPE}."
            )
        return n

    def docs(self, name: str) -> Iterator[Doc]:
        """YIELDS (Doc): The gold docs of one pass over a corpus.
        RAISES (ValueError): If its path does not exist.
        """
        return islice(self._docs(name, None), self.corpora[name]["limit"] or None)

    def _docs(self, name: str, nlp: Language | None) -> Iterator[Doc]:
        from spacy.vocab import Vocab

        vocab = Vocab() if nlp is None else nlp.vocab
        options = self.corpora[name]
        dropped = self.dropped.get(name, ())
        files = map(DocBin().from_disk, self._files(name))
        for i, doc in enumerate(chain.from_iterable(file.get_docs(vocab) for file in files)):
            if len(doc) and not 0 < options["max_length"] < len(doc) and i not in dropped:
                yield doc

    def _examples(self, name: str, nlp: Language) -> Iterator[Example]:
        options = self.corpora[name]
        for i, reference in enumerate(self._docs(name, nlp)):
            if options["limit"] and i >= options["limit"]:
                return
            reference.user_data[CORPUS_KEY] = name
            if options["gold_tokens"] or reference.has_unknown_spaces:
                predicted = Doc(
                    nlp.vocab,
                    words=[token.text for token in reference],
                    spaces=[bool(token.whitespace_) for token in reference],
                )
            else:
                predicted = nlp.make_doc(reference.text)
            yield Example(predicted, reference)

    def shares(self, sizes: dict[str, int]) -> dict[str, int]:
        """RETURNS (Dict[str, int]): Examples of each corpus in an epoch, given all there are."""
        if self.mixing == "proportional":
            return dict(sizes)
        exponent = self.temperature if self.mixing == "temperature" else 0.0
        weights = {name: size**exponent for name, size in sizes.items()}
        total = sum(sizes.values())
        norm = sum(weights.values())
        return {name: max(1, round(total * w / norm)) for name, w in weights.items()}


def corpus_of(example: Example) -> str:
    """RETURNS (str): Name of the corpus that an example was read from; empty if not known."""
    return example.reference.user_data.get(CORPUS_KEY, "")


def _repeat(
    read: Callable[[], Iterator[Example]], size: int, share: int, rng: random.Random
) -> Iterator[Example]:
    """YIELDS (Example): `share` examples of a corpus of `size`: whole passes, then a random part
    of one more."""
    for _ in range(share // size):
        yield from read()
    rest = share % size
    if rest:
        chosen = set(rng.sample(range(size), rest))
        for i, example in enumerate(read()):
            if i in chosen:
                yield example


def _interleave(
    streams: dict[str, Iterator[Example]],
    shares: dict[str, int],
    rng: random.Random,
    *,
    in_turn: bool,
) -> Iterator[Example]:
    """YIELDS (Example): All streams mixed, evenly over the epoch."""
    left = dict(shares)
    if in_turn:
        while streams:
            for name in list(streams):
                example = next(streams[name], None)
                if example is None:
                    del streams[name]
                else:
                    yield example
        return
    names = list(left)
    while names:
        (name,) = rng.choices(names, [left[n] for n in names])
        example = next(streams[name], None)
        left[name] -= 1
        if example is not None:
            yield example
        if example is None or not left[name]:
            names.remove(name)
