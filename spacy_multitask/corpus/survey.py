"""What corpora hold: docs, words, and gold of each kind that is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from spacy.tokens import Doc
from spacy.training.corpus import FILE_TYPE, walk_corpus
from spacy.vocab import Vocab

from ..progress import progress
from .files import load_doc_bin

# Gold items of one kind in a doc that is not empty; None where nothing is known.
CountGold = Callable[[Doc], int | None]


@dataclass
class Survey:
    """What a corpus holds.

    counts (Mapping[str, CountGold]): What counts the gold items of a doc, by kind.
    docs, words (int): How many; empty docs are not counted.
    known (Counter): Docs with gold, per kind; and as "spans:KEY" per group of `doc.spans`.
    items (Counter): Gold items, the same way.
    exclusive (bool): Whether no doc has two topics that are true.
    topics (Set[str]): Labels of `doc.cats`.
    lengths (List[int]): Tokens of each doc.
    """

    counts: Mapping[str, CountGold]
    docs: int = 0
    words: int = 0
    known: Counter[str] = field(default_factory=Counter)
    items: Counter[str] = field(default_factory=Counter)
    exclusive: bool = True
    topics: set[str] = field(default_factory=set)
    lengths: list[int] = field(default_factory=list)

    def add(self, doc: Doc) -> None:
        """Count a doc; an empty one is passed over."""
        if not len(doc):
            return
        self.docs += 1
        self.words += len(doc)
        self.lengths.append(len(doc))
        for kind, count in self.counts.items():
            n = count(doc)
            if n is not None:
                self._add(kind, n)
        for key, spans in doc.spans.items():
            self._add(f"spans:{key}", len(spans))
        self.topics.update(doc.cats)
        if doc.cats and sum(value >= 0.5 for value in doc.cats.values()) != 1:
            self.exclusive = False

    def _add(self, kind: str, n: int) -> None:
        self.known[kind] += 1
        self.items[kind] += n


def survey_docs(docs: Iterable[Doc], counts: Mapping[str, CountGold]) -> Survey:
    """RETURNS (Survey): What docs hold."""
    found = Survey(counts)
    for doc in docs:
        found.add(doc)
    return found


def survey(path: str | Path, counts: Mapping[str, CountGold]) -> Survey:
    """Count what a corpus holds.

    path: A .spacy file, or a folder of them.
    counts (Mapping[str, CountGold]): What counts the gold items of a doc, by kind.
    RAISES (ValueError): If there are no docs.
    """
    path = Path(path)
    found = survey_docs(_read(path), counts)
    if not found.docs:
        raise ValueError(
            f"There are no docs in {path}. Give a .spacy file or a folder of them; "
            "`spacy multitask convert` and `spacy convert` make them."
        )
    return found


def _read(path: Path) -> Iterator[Doc]:
    vocab = Vocab()
    for file in walk_corpus(path, FILE_TYPE) if path.exists() else ():
        docs = load_doc_bin(file)
        yield from progress(docs.get_docs(vocab), f"Looking into {file.name}", total=len(docs))


def find_parts(path: str | Path) -> tuple[Path, Path]:
    """Find the training and the development part of a corpus.

    path: PATH may be a folder with train.spacy and dev.spacy (or folders train and dev), or the
        beginning of PATH-train.spacy and PATH-dev.spacy.
    RAISES (ValueError): If they are not there.
    """
    path = Path(path)
    candidates = [
        (path / "train.spacy", path / "dev.spacy"),
        (path / "train", path / "dev"),
        (
            path.with_name(f"{path.name}-train{FILE_TYPE}"),
            path.with_name(f"{path.name}-dev{FILE_TYPE}"),
        ),
    ]
    for train, dev in candidates:
        if train.exists() and dev.exists():
            return train, dev
    looked = ", ".join(f"{train} and {dev}" for train, dev in candidates)
    raise ValueError(
        f"{path} has no training and development part. Looked for {looked}. "
        "`spacy multitask split` cuts a development part off a corpus."
    )
