"""CoNLL-03 named entities: "word POS chunk NER" columns, in IOB1 or BIO.

Source: https://www.clips.uantwerpen.be/conll2003/ner/
"""

import re
from collections.abc import Iterator

from spacy.language import Language
from spacy.tokens import Doc

from .gold import set_entities, spans_of
from .iob import IOBDecoder
from .lines import read_lines
from .report import ConversionReport, PathLike, error_at
from .sentences import DOCSTART, doc_from_sentences, group_sentences, sentences_from_rows


def read_conll03(
    path: PathLike,
    nlp: Language,
    report: ConversionReport,
    *,
    keep_tags: bool = False,
    scheme: str = "auto",
    n_sents: int = 0,
) -> Iterator[Doc]:
    """Read entities into `doc.ents`, a doc for each -DOCSTART- document.

    In a doc without entities every token is outside: there are none in it.

    path (PathLike): The file, plain or gzipped.
    nlp (Language): Gives the vocab.
    report (ConversionReport): Counts what is skipped.
    keep_tags (bool): Keep the second column as `token.tag_`. It is the output of a tagger and not
        gold, so by default the docs have no tags.
    scheme (str): "auto", "io", "iob1", "bio", "bioes", "bilou" or "bmewo".
    n_sents (int): Most sentences in a doc; 0 for whole documents.
    YIELDS (Doc): The docs.
    RAISES (ConversionError): If a line is malformed.
    """
    decode = IOBDecoder(path, report, scheme, "entity")
    sentences = sentences_from_rows(path, read_rows(path), report)
    for group in group_sentences(path, sentences, n_sents, "-DOCSTART- line"):
        tags = [tag for sentence in group for tag in sentence.column(1)] if keep_tags else None
        doc = doc_from_sentences(nlp, group, tags=tags)
        spans = spans_of(path, group, decode, 3, report)
        set_entities(doc, spans, report, path, group[0].line)
        yield doc


def split_fields(line: str) -> list[str]:
    """Split a line at blanks and tabs; other spaces of Unicode belong to the words."""
    line = line.strip(" \t")
    return re.split("[ \t]+", line) if line else []


def read_rows(path: PathLike) -> Iterator[tuple[int, list[str] | None]]:
    for line_no, line in read_lines(path):
        row = split_fields(line)
        if row and row[0] != DOCSTART and len(row) != 4:
            raise error_at(
                path,
                line_no,
                f"{len(row)} columns instead of 4. "
                "A CoNLL-03 line is 'word POS chunk NER', a blank line ends a sentence.",
            )
        yield line_no, row or None
