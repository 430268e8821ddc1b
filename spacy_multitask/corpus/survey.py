"""What corpora hold: docs, words, and gold for each kind of head."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from spacy.attrs import DEP, ENT_IOB, LEMMA, MORPH, POS, SENT_START, TAG
from spacy.tokens import Doc
from spacy.training.corpus import FILE_TYPE, walk_corpus
from spacy.vocab import Vocab

from ..progress import progress
from ..relations import KEY as RELATIONS
from .files import load_doc_bin


def _words_with(*attrs: int) -> Callable[[Doc], int | None]:
    def count(doc: Doc) -> int | None:
        columns = doc.to_array(list(attrs)).reshape(len(doc), -1)
        return int((columns != 0).any(axis=1).sum()) or None

    return count


def _chunks(doc: Doc) -> int | None:
    return len(doc.spans["np"]) if "np" in doc.spans else None


def _entities(doc: Doc) -> int | None:
    return len(doc.ents) if doc.to_array(ENT_IOB).any() else None


def _sentences(doc: Doc) -> int | None:
    # The first word begins a sentence in any case.
    rest = doc.to_array(SENT_START)[1:]
    return 1 + int((rest == 1).sum()) if rest.any() else None


def _topics(doc: Doc) -> int | None:
    return 1 if doc.cats else None


def _relations(doc: Doc) -> int | None:
    return len(doc.user_data[RELATIONS]) if RELATIONS in doc.user_data else None


# Kind of head -> gold items in a doc that is not empty; None where nothing is known.
GOLD: dict[str, Callable[[Doc], int | None]] = {
    "tagger": _words_with(TAG, POS),
    "chunker": _chunks,
    "ner": _entities,
    "textcat": _topics,
    "relations": _relations,
    "morphologizer": _words_with(MORPH, POS),
    "parser": _words_with(DEP),
    "trainable_lemmatizer": _words_with(LEMMA),
    "senter": _sentences,
}
# What gold items are called.
ITEMS = {
    "tagger": "tagged words",
    "chunker": "chunks",
    "ner": "entities",
    "textcat": "labelled docs",
    "relations": "relations",
    "morphologizer": "words with features",
    "parser": "words with a relation",
    "trainable_lemmatizer": "lemmas",
    "senter": "sentences",
}
# Under which docs with token.tag_ are counted, apart from those with token.pos_ alone.
TAGS = "token.tag_"
# Kinds that a config can be composed of.
LAYERS = {
    "tagger": "token.tag_ or token.pos_",
    "chunker": 'doc.spans["np"]',
    "ner": "doc.ents",
    "textcat": "doc.cats",
    "relations": "doc._.relations",
}


_TAGGED = _words_with(TAG)


@dataclass
class Survey:
    """What a corpus holds.

    docs, words (int): How many; empty docs are not counted.
    known (Counter): Docs with gold, per kind of head; as "spans:KEY" per group of `doc.spans`; and
        under `TAGS`.
    items (Counter): Gold items, the same way.
    exclusive (bool): Whether no doc has two topics that are true.
    topics (Set[str]): Labels of `doc.cats`.
    lengths (List[int]): Tokens of each doc.
    """

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
        for kind, count in GOLD.items():
            n = count(doc)
            if n is not None:
                self._add(kind, n)
        if (n := _TAGGED(doc)) is not None:
            self._add(TAGS, n)
        for key, spans in doc.spans.items():
            self._add(f"spans:{key}", len(spans))
        self.topics.update(doc.cats)
        if doc.cats and sum(value >= 0.5 for value in doc.cats.values()) != 1:
            self.exclusive = False

    def _add(self, kind: str, n: int) -> None:
        self.known[kind] += 1
        self.items[kind] += n


def survey_docs(docs: Iterable[Doc]) -> Survey:
    """RETURNS (Survey): What docs hold."""
    found = Survey()
    for doc in docs:
        found.add(doc)
    return found


def survey(path: str | Path) -> Survey:
    """Count what a corpus holds.

    path: A .spacy file, or a folder of them.
    RAISES (ValueError): If there are no docs.
    """
    path = Path(path)
    found = survey_docs(_read(path))
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
