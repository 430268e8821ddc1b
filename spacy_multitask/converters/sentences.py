"""Sentences of column files: gathering them, grouping them into docs."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc

from .report import ConversionError, ConversionReport, PathLike, error_at

DOCSTART = "-DOCSTART-"


@dataclass
class Sentence:
    """A sentence of a column file.

    rows (List[List[str]]): The fields of each token.
    line (int): Number of the first token's line; the tokens stand on consecutive lines.
    starts_doc (bool): Whether a document begins here, as far as the file says.
    """

    rows: list[list[str]]
    line: int
    starts_doc: bool

    @property
    def words(self) -> list[str]:
        return [row[0] for row in self.rows]

    @property
    def lines(self) -> range:
        return range(self.line, self.line + len(self.rows))

    def column(self, index: int) -> list[str]:
        return [row[index] for row in self.rows]


def sentences_from_rows(
    path: PathLike, rows: Iterable[tuple[int, list[str] | None]], report: ConversionReport
) -> Iterator[Sentence]:
    """Gather the rows of a column file into sentences.

    path (PathLike): The file, for the report.
    rows (Iterable[Tuple[int, Optional[List[str]]]]): Line numbers and fields, None for blank lines.
        A row with "-DOCSTART-" in its first field begins a document and is not a token.
    report (ConversionReport): Counts documents without sentences.
    YIELDS (Sentence): The sentences.
    """
    sentence: list[list[str]] = []
    first_line = 0
    docstart_line = 0
    for line_no, row in rows:
        is_docstart = row is not None and row[0] == DOCSTART
        if row is not None and not is_docstart:
            first_line = first_line if sentence else line_no
            sentence.append(row)
            continue
        if sentence:
            yield Sentence(sentence, first_line, starts_doc=bool(docstart_line))
            sentence, docstart_line = [], 0
        if is_docstart:
            if docstart_line:
                report.add_cause("document without sentences: skipped", path, docstart_line)
            docstart_line = line_no
    if sentence:
        yield Sentence(sentence, first_line, starts_doc=bool(docstart_line))
    elif docstart_line:
        report.add_cause("document without sentences: skipped", path, docstart_line)


def group_sentences(
    path: PathLike, sentences: Iterable[Any], n_sents: int, boundary: str
) -> Iterator[list[Any]]:
    """Gather sentences into docs, which never cross a document boundary of the corpus.

    path (PathLike): The file, for errors.
    sentences (Iterable[Any]): Sentences with the attributes `starts_doc` and `line`.
    n_sents (int): Most sentences in a doc; 0 for whole documents.
    boundary (str): What begins a document in this format, for errors.
    YIELDS (List[Any]): The sentences of one doc.
    RAISES (ConversionError): If n_sents is negative, or 0 in a file that marks no documents.
    """
    if n_sents < 0:
        raise ConversionError(
            f"n_sents is {n_sents}, but must be 0 (whole documents) or a number of sentences."
        )
    group: list[Any] = []
    knows_docs = False
    for sentence in sentences:
        knows_docs = knows_docs or sentence.starts_doc
        if n_sents == 0 and not knows_docs:
            raise error_at(
                path,
                sentence.line,
                f"n_sents is 0 (whole documents), but there is no {boundary} before this sentence. "
                "Give the number of sentences in a doc: 1 makes every sentence a doc.",
            )
        if group and (sentence.starts_doc or len(group) == n_sents):
            yield group
            group = []
        group.append(sentence)
    if group:
        yield group


def doc_from_sentences(nlp: Language, sentences: list[Sentence], **layers: Any) -> Doc:
    """Make a doc from sentences whose spacing is not known.

    nlp (Language): Gives the vocab.
    sentences (List[Sentence]): The sentences; they are marked in the doc.
    layers (Any): Token layers, as `Doc.__init__` takes them.
    RETURNS (Doc): The doc, with unknown spaces, so that the gold tokens are kept in training.
    """
    words = [word for sentence in sentences for word in sentence.words]
    starts: list[bool | int | None] = [
        i == 0 for sentence in sentences for i in range(len(sentence.rows))
    ]
    return Doc(nlp.vocab, words=words, sent_starts=starts, **layers)
