"""CoNLL-2000 chunks: "word POS chunk" columns.

Source: https://www.clips.uantwerpen.be/conll2000/chunking/
"""

import re
from collections.abc import Iterator

from spacy.language import Language
from spacy.tokens import Doc

from .gold import set_spans, spans_of
from .iob import IOBDecoder
from .lines import read_lines
from .report import ConversionReport, PathLike, error_at
from .sentences import DOCSTART, doc_from_sentences, group_sentences, sentences_from_rows


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
    scheme (str): "auto", "io", "iob1", "bio", "bioes", "bilou" or "bmewo".
    n_sents (int): Most sentences in a doc; 0 for whole documents. The corpus itself marks none.
    YIELDS (Doc): The docs.
    RAISES (ConversionError): If a line is malformed.
    """
    decode = IOBDecoder(path, report, scheme, "chunk")
    sentences = sentences_from_rows(path, read_rows(path), report)
    for group in group_sentences(path, sentences, n_sents, "-DOCSTART- line"):
        tags = [tag for sentence in group for tag in sentence.column(1)] if keep_tags else None
        doc = doc_from_sentences(nlp, group, tags=tags)
        set_spans(doc, spans_key, spans_of(path, group, decode, 2, report))
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
