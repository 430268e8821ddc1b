"""What corpora hold: docs, words, and gold for each kind of head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from spacy.attrs import ENT_IOB, POS, TAG
from spacy.tokens import Doc, DocBin
from spacy.training.corpus import FILE_TYPE, walk_corpus
from spacy.vocab import Vocab

from ..heads.relations import KEY as RELATIONS
from ..progress import progress


def _tags(doc: Doc) -> int:
    attrs = doc.to_array([TAG, POS])
    return int((attrs != 0).any(axis=1).sum()) if len(doc) else 0


def _chunks(doc: Doc) -> int | None:
    return len(doc.spans["np"]) if "np" in doc.spans else None


def _entities(doc: Doc) -> int | None:
    return len(doc.ents) if len(doc) and doc.to_array(ENT_IOB).any() else None


def _topics(doc: Doc) -> int | None:
    return 1 if doc.cats else None


def _relations(doc: Doc) -> int | None:
    return len(doc.user_data[RELATIONS]) if RELATIONS in doc.user_data else None


# Kind of head -> gold items in a doc; None or, for tags, 0 where nothing is known.
GOLD: dict[str, Callable[[Doc], int | None]] = {
    "tagger": _tags,
    "chunker": _chunks,
    "ner": _entities,
    "textcat": _topics,
    "relations": _relations,
}
# What one gold item is called.
ITEMS = {
    "tagger": "tagged words",
    "chunker": "chunks",
    "ner": "entities",
    "textcat": "labelled docs",
    "relations": "relations",
}
LAYERS = {
    "tagger": "token.tag_ or token.pos_",
    "chunker": 'doc.spans["np"]',
    "ner": "doc.ents",
    "textcat": "doc.cats",
    "relations": "doc._.relations",
}


@dataclass
class Survey:
    """What a corpus holds.

    docs, words (int): How many; empty docs are not counted.
    known (Dict[str, int]): Docs with gold, per kind of head.
    items (Dict[str, int]): Gold items, per kind of head.
    exclusive (bool): Whether no doc has two topics that are true.
    """

    docs: int = 0
    words: int = 0
    known: dict[str, int] = field(default_factory=lambda: dict.fromkeys(GOLD, 0))
    items: dict[str, int] = field(default_factory=lambda: dict.fromkeys(GOLD, 0))
    exclusive: bool = True


def survey(path: str | Path) -> Survey:
    """Count what a corpus holds.

    path: A .spacy file, or a folder of them.
    RAISES (ValueError): If there are no docs.
    """
    path = Path(path)
    found = Survey()
    vocab = Vocab()
    for file in walk_corpus(path, FILE_TYPE) if path.exists() else ():
        doc_bin = DocBin().from_disk(file)
        docs = progress(doc_bin.get_docs(vocab), f"Looking into {file.name}", total=len(doc_bin))
        for doc in docs:
            if not len(doc):
                continue
            found.docs += 1
            found.words += len(doc)
            for kind, count in GOLD.items():
                n = count(doc)
                if n or (n == 0 and kind != "tagger"):
                    found.known[kind] += 1
                    found.items[kind] += n
            if doc.cats and sum(value >= 0.5 for value in doc.cats.values()) != 1:
                found.exclusive = False
    if not found.docs:
        raise ValueError(
            f"There are no docs in {path}. Give a .spacy file or a folder of them; "
            "`spacy multitask convert` and `spacy convert` make them."
        )
    return found


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
