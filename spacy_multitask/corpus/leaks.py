"""Leaks: sentences of a training part that stand in a development or test part, too.

Docs are compared sentence by sentence, since one corpus may come in documents and another in single
sentences. Letter case, spacing and punctuation do not count. Near duplicates are found by MinHash
and compared exactly, so that no pair is reported that is not alike.

Source: Leskovec, Rajaraman and Ullman (2014), Mining of Massive Datasets, chapter 3.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from spacy.pipeline import Sentencizer
from spacy.tokens import Doc
from spacy.training.corpus import FILE_TYPE, walk_corpus
from spacy.vocab import Vocab

from ..progress import progress
from .files import load_doc_bin
from .minhash import BANDS, SHINGLE, band_keys, jaccard, signatures

MIN_WORDS = 10  # shorter sentences repeat by themselves
THRESHOLD = 0.8  # least part of the shingles that near duplicates share
SHARE = 0.5  # least part of a doc's words in leaking sentences for it to be dropped

# Most held-out sentences of one band that a training sentence is compared with, so that a corpus
# of form letters costs no quadratic time.
MAX_BUCKET = 20
CHUNK = 20_000  # training sentences at a time
_NOT_LETTERS = re.compile(r"[\W_]+")


class Sentence(NamedTuple):
    """A sentence long enough to count.

    doc (int): Index of its doc in the corpus.
    words (int): Its tokens.
    text (str): As it stands there.
    letters (str): Letters and digits alone, in lower case.
    """

    doc: int
    words: int
    text: str
    letters: str


class Leak(NamedTuple):
    """A training sentence and a sentence like it that was held out.

    train, held (str): Names of the corpora.
    sentence, source (Sentence): The training sentence and the one held out.
    similarity (float): Jaccard similarity of their shingles; 1 where the letters are the same.
    """

    train: str
    held: str
    sentence: Sentence
    source: Sentence
    similarity: float


class Leaks(NamedTuple):
    """What a check found.

    leaks (List[Leak]): The best one per training sentence and held-out corpus.
    leaking (Dict[str, FrozenSet[int]]): Training docs to drop, as indices, per corpus.
    docs (Dict[str, int]): Docs per training corpus.
    """

    leaks: list[Leak]
    leaking: dict[str, frozenset[int]]
    docs: dict[str, int]

    def summary(self) -> list[dict[str, Any]]:
        """RETURNS (List[Dict]): Per pair of corpora that has leaks: their names, the number of
        sentences that are the same and that are nearly the same, training docs and held-out docs
        that have them, and the five longest examples."""
        pairs: dict[tuple[str, str], list[Leak]] = {}
        for leak in self.leaks:
            pairs.setdefault((leak.train, leak.held), []).append(leak)
        return [
            {
                "train": train,
                "held_out": held,
                "same": sum(leak.similarity == 1 for leak in found),
                "similar": sum(leak.similarity < 1 for leak in found),
                "train_docs": len({leak.sentence.doc for leak in found}),
                "held_out_docs": len({leak.source.doc for leak in found}),
                "examples": [
                    {
                        "train_doc": leak.sentence.doc,
                        "held_out_doc": leak.source.doc,
                        "train": leak.sentence.text,
                        "held_out": leak.source.text,
                        "similarity": round(leak.similarity, 3),
                    }
                    for leak in sorted(found, key=lambda leak: -leak.sentence.words)[:5]
                ],
            }
            for (train, held), found in sorted(pairs.items())
        ]

    def describe(self) -> str:
        """RETURNS (str): One line for each pair of corpora that has leaks, and one per corpus
        about docs to drop; empty without leaks."""
        lines = [
            f"{pair['same'] + pair['similar']} training sentences of {pair['train']!r} "
            f"({pair['same']} the same, {pair['similar']} nearly) are in "
            f"{pair['held_out_docs']} held-out docs of {pair['held_out']!r}."
            for pair in self.summary()
        ]
        lines += [
            f"{len(docs)} of {self.docs[name]} training docs of {name!r} consist of such sentences."
            for name, docs in self.leaking.items()
            if docs
        ]
        return "\n".join(lines)


def check_leaks(
    train: Mapping[str, str | Path],
    held_out: Iterable[tuple[str, str | Path]],
    *,
    min_words: int = MIN_WORDS,
    threshold: float = THRESHOLD,
    share: float = SHARE,
) -> Leaks:
    """Look for leaks between files.

    train (Mapping[str, Path]): .spacy file, or folder of them, per training corpus.
    held_out (Iterable[Tuple[str, Path]]): Name and path of development and test parts, see
        `held_out_parts`.
    min_words (int): Shorter sentences do not count, in tokens.
    threshold (float): Least similarity of a near duplicate, from 0 to 1; 1 leaves exact ones.
    share (float): Least part of a doc's tokens in leaking sentences for it to count as leaking.
    RETURNS (Leaks): What was found. The result of the last check is kept.
    RAISES (ValueError): If an option is out of range, a path does not exist, or two held-out parts
        have one name.
    """
    if min_words < 1 or not 0 < threshold <= 1 or not 0 <= share <= 1:
        raise ValueError(
            f"min_words = {min_words} must be at least 1, threshold = {threshold} more than 0 and "
            f"at most 1, share = {share} from 0 to 1."
        )
    held_out = list(held_out)
    names = [name for name, _ in held_out]
    twins = {name for name in names if names.count(name) > 1}
    if twins:
        raise ValueError(
            f"Two held-out parts are named {', '.join(map(repr, sorted(twins)))}. Leaks are "
            "counted by name: give one of them another."
        )
    parts = [
        tuple((name, tuple(_files(name, Path(path)))) for name, path in part)
        for part in (train.items(), held_out)
    ]
    return _check(*parts, min_words=min_words, threshold=threshold, share=share)


# spaCy makes the readers once to initialise and once to train, each of which would ask again.
@lru_cache(maxsize=1)
def _check(
    train: tuple, held_out: tuple, *, min_words: int, threshold: float, share: float
) -> Leaks:
    index = HeldOut(
        ((name, _read(name, files)) for name, files in held_out),
        min_words=min_words,
        threshold=threshold,
    )
    leaks, leaking, n_docs = [], {}, {}
    for name, files in train:
        lengths: list[int] = []
        found = list(index.find(name, _counted(_read(name, files), lengths)))
        leaks += found
        leaking[name] = leaking_docs(found, lengths, share)
        n_docs[name] = len(lengths)
    return Leaks(leaks, leaking, n_docs)


def held_out_parts(
    dev: Mapping[str, str | Path], test: Mapping[str, str | Path]
) -> list[tuple[str, str | Path]]:
    """RETURNS (List[Tuple[str, Path]]): Names and paths of development and test parts. A name that
    is in both says which of them it is."""
    both = dev.keys() & test.keys()
    return [
        (f"{name} ({kind})" if name in both else name, path)
        for kind, part in (("dev", dev), ("test", test))
        for name, path in part.items()
    ]


def paths_of(config: Mapping[str, Any], part: str) -> dict[str, str]:
    """Look corpora up in a training config.

    config (Mapping): Interpolated.
    part (str): "train_corpus" or "dev_corpus".
    RETURNS (Dict[str, str]): Path of each corpus; spaCy's own reader has one, named after the part.
    """
    section = config.get("training", {}).get(part, "")
    block: Any = config
    for key in section.split("."):
        block = block.get(key, {}) if isinstance(block, Mapping) else {}
    if not isinstance(block, Mapping):
        return {}
    corpora = block.get("corpora", {part.removesuffix("_corpus"): block})
    # Readers of others may have something else under that name.
    found = corpora.items() if isinstance(corpora, Mapping) else ()
    return {
        name: options["path"]
        for name, options in found
        if isinstance(options, Mapping) and options.get("path")
    }


def _files(name: str, path: Path) -> list[tuple[Path, int]]:
    """RETURNS (List[Tuple[Path, int]]): Files, and when they were changed, in nanoseconds."""
    if not path.exists():
        raise ValueError(f"Corpus {name!r}: there is no {path}. Correct its path.")
    return [(file, file.stat().st_mtime_ns) for file in walk_corpus(path, FILE_TYPE)]


def _read(name: str, files: Iterable[tuple[Path, int]]) -> Iterator[Doc]:
    vocab = Vocab()
    for path, _ in files:
        docs = load_doc_bin(path)
        yield from progress(docs.get_docs(vocab), f"Leaks: {name}", total=len(docs))


def _counted(docs: Iterable[Doc], lengths: list[int]) -> Iterator[Doc]:
    for doc in docs:
        lengths.append(len(doc))
        yield doc


def leaking_docs(leaks: Iterable[Leak], lengths: list[int], share: float) -> frozenset[int]:
    """RETURNS (FrozenSet[int]): Docs of which so large a part, in tokens, is in leaks."""
    # A sentence that is in two held-out corpora counts once.
    sentences = {id(leak.sentence): leak.sentence for leak in leaks}
    words: dict[int, int] = {}
    for sentence in sentences.values():
        words[sentence.doc] = words.get(sentence.doc, 0) + sentence.words
    return frozenset(doc for doc, n in words.items() if n >= share * lengths[doc])


def sentences(docs: Iterable[Doc], min_words: int) -> Iterator[Sentence]:
    """YIELDS (Sentence): Sentences that have enough words. Docs without sentence boundaries are
    cut at final punctuation."""
    cut = Sentencizer()
    for i, doc in enumerate(docs):
        if doc.has_annotation("SENT_START"):
            starts = [sent.start for sent in doc.sents]
        else:
            (flags,) = cut.predict([doc])
            starts = [k for k, is_start in enumerate(flags) if is_start]
        for start, end in zip(starts, [*starts[1:], len(doc)]):
            if end - start >= min_words:
                text = doc[start:end].text
                letters = letters_of(text)
                if len(letters) >= max(min_words, SHINGLE):
                    yield Sentence(i, end - start, text, letters)


def letters_of(text: str) -> str:
    """RETURNS (str): Letters and digits, without what differs between two copies of a text."""
    return _NOT_LETTERS.sub("", unicodedata.normalize("NFKC", text).casefold())


class HeldOut:
    """Finds sentences that are like one of the held-out sentences.

    corpora (Iterable[Tuple[str, Iterable[Doc]]]): Docs by name of the corpus.
    min_words (int), threshold (float): As for `check_leaks`.
    """

    def __init__(
        self,
        corpora: Iterable[tuple[str, Iterable[Doc]]],
        *,
        min_words: int,
        threshold: float,
    ):
        self.min_words, self.threshold = min_words, threshold
        self.letters: list[str] = []
        # Where each of the letters stands first, by corpus.
        self.places: list[dict[str, Sentence]] = []
        self.index: dict[str, int] = {}
        for name, docs in corpora:
            for sentence in sentences(docs, min_words):
                k = self.index.setdefault(sentence.letters, len(self.letters))
                if k == len(self.letters):
                    self.letters.append(sentence.letters)
                    self.places.append({})
                self.places[k].setdefault(name, sentence)
        self.signatures = signatures(self.letters)
        keys = band_keys(self.signatures)
        self.order = np.argsort(keys, axis=0)
        self.keys = np.take_along_axis(keys, self.order, axis=0)

    def find(self, name: str, docs: Iterable[Doc]) -> Iterator[Leak]:
        """YIELDS (Leak): For each sentence of a training corpus the most similar held-out one of
        each corpus, if it is similar enough."""
        stream = sentences(docs, self.min_words)
        while chunk := list(islice(stream, CHUNK)):
            for sentence, found in zip(chunk, self._matches(chunk)):
                best: dict[str, tuple[float, Sentence]] = {}
                for k, similarity in found.items():
                    for held, source in self.places[k].items():
                        if similarity > best.get(held, (0.0,))[0]:
                            best[held] = similarity, source
                for held, (similarity, source) in best.items():
                    yield Leak(name, held, sentence, source, similarity)

    def _matches(self, chunk: list[Sentence]) -> list[dict[int, float]]:
        """RETURNS (List[Dict[int, float]]): Per sentence the held-out letters that are like its
        own, with their similarity."""
        matches: list[dict[int, float]] = [{} for _ in chunk]
        for row, sentence in enumerate(chunk):
            if sentence.letters in self.index:
                matches[row][self.index[sentence.letters]] = 1.0
        if self.threshold == 1 or not self.letters:
            return matches
        signature = signatures([sentence.letters for sentence in chunk])
        for row, k in self._candidates(signature).tolist():
            if k not in matches[row]:
                # Never 1: the letters differ.
                similarity = min(jaccard(chunk[row].letters, self.letters[k]), 1 - 1e-6)
                if similarity >= self.threshold:
                    matches[row][k] = similarity
        return matches

    def _candidates(self, signature: np.ndarray) -> np.ndarray:
        """RETURNS (ndarray): Pairs that share a band and may be similar enough, (n_pairs, 2)."""
        keys = band_keys(signature)
        pairs = []
        for band in range(BANDS):
            first = np.searchsorted(self.keys[:, band], keys[:, band], "left")
            end = np.searchsorted(self.keys[:, band], keys[:, band], "right")
            n = np.minimum(end - first, MAX_BUCKET)
            row = np.repeat(np.arange(len(n)), n)
            within = np.arange(len(row)) - np.repeat(np.cumsum(n) - n, n)
            pairs.append(np.stack([row, self.order[first[row] + within, band]], axis=1))
        found = np.unique(np.concatenate(pairs), axis=0)
        # The part of equal hashes has a standard deviation of at most 0.08 around the similarity.
        alike = (signature[found[:, 0]] == self.signatures[found[:, 1]]).mean(axis=1)
        return found[alike >= self.threshold - 0.25]
