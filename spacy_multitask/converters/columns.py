"""Two columns, "word label", with a blank line between sentences."""

import re
from collections.abc import Iterator

from spacy.language import Language
from spacy.parts_of_speech import IDS as POS_IDS
from spacy.tokens import Doc

from .base import (
    DOCSTART,
    ConversionError,
    ConversionReport,
    PathLike,
    doc_from_sentences,
    error_at,
    group_sentences,
    read_lines,
    sentences_from_rows,
)
from .conll03 import entity_tags
from .conll2000 import set_chunks
from .iob import IOBDecoder

LABELS = ("tag", "pos", "chunk", "ner")


def read_columns(
    path: PathLike,
    nlp: Language,
    report: ConversionReport,
    *,
    label: str = "",
    spans_key: str = "np",
    scheme: str = "auto",
    n_sents: int = 1,
) -> Iterator[Doc]:
    """Read a label per word into the layer that the option names; the others stay missing.

    The columns are parted by a tab, or by blanks where the line has no tab. A line that begins with
    -DOCSTART- begins a document and is not a token.

    path (PathLike): The file, plain or gzipped.
    nlp (Language): Gives the vocab.
    report (ConversionReport): Counts what is skipped.
    label (str): What the label is: "tag" (`token.tag_`), "pos" (`token.pos_`), "chunk" (chunk tags,
        to `doc.spans[spans_key]`) or "ner" (entity tags, to `doc.ents`). It has to be given.
    spans_key (str): Key of the chunks in `doc.spans`.
    scheme (str): "auto", "iob1" or "bio", for chunks and entities.
    n_sents (int): Most sentences in a doc; 0 for whole documents.
    YIELDS (Doc): The docs.
    RAISES (ConversionError): If a line is malformed or the label option is none of these.
    """
    if label not in LABELS:
        raise ConversionError(
            f"the option label is {label!r}, but must say what the second column is: "
            f"one of {', '.join(LABELS)}."
        )
    decode = IOBDecoder(path, report, scheme, "chunk" if label == "chunk" else "entity")
    sentences = sentences_from_rows(path, read_rows(path, label), report)
    for group in group_sentences(path, sentences, n_sents, "-DOCSTART- line"):
        labels = [value for sentence in group for value in sentence.column(1)]
        if label == "tag":
            yield doc_from_sentences(nlp, group, tags=labels)
        elif label == "pos":
            yield doc_from_sentences(nlp, group, pos=labels)
        elif label == "ner":
            yield doc_from_sentences(nlp, group, ents=entity_tags(group, decode, column=1))
        else:
            doc = doc_from_sentences(nlp, group)
            set_chunks(doc, group, decode, spans_key, column=1)
            yield doc


def read_rows(path: PathLike, label: str) -> Iterator[tuple[int, list[str] | None]]:
    for line_no, line in read_lines(path):
        line = line.strip(" \t")
        row = re.split("\t+", line) if "\t" in line else re.split(" +", line)
        if line and row[0] != DOCSTART:
            if len(row) != 2:
                raise error_at(
                    path,
                    line_no,
                    f"{len(row)} columns instead of 2. "
                    "A line is 'word label', a blank line ends a sentence.",
                )
            if label == "pos" and row[1] not in POS_IDS:
                raise error_at(
                    path,
                    line_no,
                    f"{row[1]!r} is not a universal part of speech. "
                    "Use the label 'tag' for other tag sets.",
                )
        yield line_no, row if line else None
