"""CoNLL-2000 chunks: "word POS chunk" columns.

Source: https://www.clips.uantwerpen.be/conll2000/chunking/
"""

import re
from collections.abc import Iterator

from spacy.language import Language
from spacy.tokens import Doc, Span

from .base import (
    DOCSTART,
    ConversionReport,
    PathLike,
    Sentence,
    doc_from_sentences,
    error_at,
    group_sentences,
    read_lines,
    sentences_from_rows,
)
from .iob import IOBDecoder


def read_conll2000(
    path: PathLike,
    nlp: Language,
    report: ConversionReport,
    *,
    spans_key: str = "np",
    keep_tags: bool = False,
    scheme: str = "auto",
    n_sents: int = 1,
) -> Iterator[Doc]:
    """Read chunks of all types into `doc.spans[spans_key]`.

    A doc without chunks gets an empty group: there are none in it.

    path (PathLike): The file, plain or gzipped.
    nlp (Language): Gives the vocab.
    report (ConversionReport): Counts what is skipped.
    spans_key (str): Key of the chunks in `doc.spans`.
    keep_tags (bool): Keep the second column as `token.tag_`. It is the output of the Brill tagger
        and not gold, so by default the docs have no tags.
    scheme (str): "auto", "iob1" or "bio".
    n_sents (int): Most sentences in a doc; 0 for whole documents. The corpus itself marks none.
    YIELDS (Doc): The docs.
    RAISES (ConversionError): If a line is malformed.
    """
    decode = IOBDecoder(path, report, scheme, "chunk")
    sentences = sentences_from_rows(path, read_rows(path), report)
    for group in group_sentences(path, sentences, n_sents, "-DOCSTART- line"):
        tags = [tag for sentence in group for tag in sentence.column(1)] if keep_tags else None
        doc = doc_from_sentences(nlp, group, tags=tags)
        set_chunks(doc, group, decode, spans_key, column=2)
        yield doc


def read_rows(path: PathLike) -> Iterator[tuple[int, list[str] | None]]:
    for line_no, line in read_lines(path):
        line = line.strip(" \t")
        row = re.split("[ \t]+", line)
        if line and row[0] != DOCSTART and len(row) != 3:
            raise error_at(
                path,
                line_no,
                f"{len(row)} columns instead of 3. "
                "A CoNLL-2000 line is 'word POS chunk', a blank line ends a sentence.",
            )
        yield line_no, row if line else None


def set_chunks(
    doc: Doc, sentences: list[Sentence], decode: IOBDecoder, spans_key: str, column: int
) -> None:
    """Write the chunks in a column of the sentences to the doc made from them."""
    spans = []
    offset = 0
    for sentence in sentences:
        for start, end, label in decode(sentence.column(column), sentence.line):
            spans.append(Span(doc, offset + start, offset + end, label=label))
        offset += len(sentence.rows)
    doc.spans[spans_key] = spans
