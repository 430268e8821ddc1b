"""What the converters share: opening files, grouping sentences, counting, errors."""

import gzip
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy
from spacy.language import Language
from spacy.tokens import Doc

PathLike = str | Path

# Bytes. Lines of the corpora have some kilobytes; a file without newlines is no text file.
MAX_LINE_LENGTH = 10_000_000
# Text shrinks to a third or so; a file that unpacks to this much more was made to fill a machine.
MAX_RATIO = 200
MIN_SUSPICIOUS_SIZE = 100_000_000  # bytes; shorter ones do no harm

DOCSTART = "-DOCSTART-"

# Where `heads/relations.py` keeps doc._.relations.
RELATIONS_KEY = "spacy_multitask_relations"

# Token attributes that are counted in the report, under the name they have there.
TOKEN_LAYERS = {"tag": "TAG", "pos": "POS", "morph": "MORPH", "lemma": "LEMMA", "dep": "DEP"}


class ConversionError(ValueError):
    """A file or an option that cannot be converted; the message says where and what to do."""


def error_at(path: PathLike, line: int, message: str) -> ConversionError:
    """Make the error for one line of a file.

    path (PathLike): The file.
    line (int): Number of the line, counted from 1.
    message (str): What is wrong and what to do about it.
    RETURNS (ConversionError): The error, to be raised by the caller.
    """
    return ConversionError(f"{path}:{line}: {message}")


@dataclass
class Cause:
    """How often something was skipped, cut or noted, and where it was first seen."""

    count: int = 0
    first: str = ""


@dataclass
class ConversionReport:
    """Counts of what was written and, by cause, of what was not.

    docs (int): Docs written.
    sentences (int): Sentences in them; 0 where the corpus does not mark sentences.
    tokens (int): Tokens in them.
    gold (Counter): Items by layer: tokens for "tag", "pos", "morph", "lemma" and "dep", spans for
        "ents" and "spans[<key>]", docs for "cats".
    labels (Dict[str, Counter]): Items by layer and label, for ents, spans and cats.
    causes (Dict[str, Cause]): What was skipped, cut or noted. It covers the whole part of the
        file that was read, also the docs that `sample` left out.
    """

    docs: int = 0
    sentences: int = 0
    tokens: int = 0
    gold: Counter = field(default_factory=Counter)
    labels: dict[str, Counter] = field(default_factory=dict)
    causes: dict[str, Cause] = field(default_factory=dict)

    def add_doc(self, doc: Doc) -> None:
        """Count a doc that is written, with the gold in it."""
        self.docs += 1
        self.tokens += len(doc)
        attrs: list[int | str] = ["SENT_START", *TOKEN_LAYERS.values()]
        columns = doc.to_array(attrs).reshape((len(doc), len(attrs))).astype("int64")
        # A tokenized text has a start at its first token without being split into sentences.
        if not doc.cats and doc.has_annotation("SENT_START"):
            self.sentences += int((columns[:, 0] == 1).sum())
        for name, n_tokens in zip(TOKEN_LAYERS, numpy.count_nonzero(columns[:, 1:], axis=0)):
            if n_tokens:
                self.gold[name] += int(n_tokens)
        if len(doc) and doc.has_annotation("ENT_IOB"):
            self._add_labels("ents", [ent.label_ for ent in doc.ents])
        for key, spans in doc.spans.items():
            self._add_labels(f"spans[{key}]", [span.label_ for span in spans])
        if RELATIONS_KEY in doc.user_data:
            relations = doc.user_data[RELATIONS_KEY]
            self._add_labels("relations", [label for _, _, label, _ in relations])
        if doc.cats:
            self.gold["cats"] += 1
            positive = [label for label, value in doc.cats.items() if value >= 0.5]
            self.labels.setdefault("cats", Counter()).update(positive)

    def _add_labels(self, layer: str, labels: list[str]) -> None:
        self.gold[layer] += len(labels)
        self.labels.setdefault(layer, Counter()).update(labels)

    def add_cause(self, cause: str, path: PathLike | None = None, line: int = 0) -> None:
        """Count one thing that was skipped, cut or is worth knowing.

        cause (str): What happened, in a few words; the counts are kept by this text.
        path (Optional[PathLike]): The file it happened in, if one place can be named.
        line (int): Number of the line in it, counted from 1.
        """
        entry = self.causes.setdefault(cause, Cause())
        entry.count += 1
        if entry.count == 1 and path is not None:
            entry.first = f"{path}:{line}"

    def render(self) -> str:
        """RETURNS (str): The report for people, several lines."""
        sentences = f", {self.sentences:,} sentences" if self.sentences else ""
        lines = [f"{self.docs:,} docs{sentences}, {self.tokens:,} tokens"]
        for layer, count in self.gold.items():
            labels = self.labels.get(layer, Counter())
            by_label = ", ".join(f"{label} {n:,}" for label, n in labels.most_common())
            lines.append(f"  gold {layer}: {count:,}" + (f" ({by_label})" if by_label else ""))
        for cause, entry in self.causes.items():
            first = f" (first at {entry.first})" if entry.first else ""
            lines.append(f"  {entry.count:,} x {cause}{first}")
        return "\n".join(lines)


def check_is_file(path: PathLike) -> Path:
    """Return the path if it is an existing regular file.

    path (PathLike): The path of an input file.
    RETURNS (Path): The same path.
    RAISES (FileNotFoundError): If there is nothing there.
    RAISES (ConversionError): If it is a directory or another thing that cannot be read twice.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file. Check the path.")
    if path.is_dir():
        raise ConversionError(f"{path}: this is a directory. Convert its files one by one.")
    if not path.is_file():
        raise ConversionError(f"{path}: this is not a regular file. Save the data to one first.")
    return path


def _open_bytes(path: Path) -> BinaryIO:
    with path.open("rb") as file_:
        is_gzip = file_.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if is_gzip else path.open("rb")  # type: ignore[return-value]


def read_lines(path: PathLike) -> Iterator[tuple[int, str]]:
    r"""Read a plain or gzipped UTF-8 text file line by line.

    Only "\n" and "\r\n" end a line: the other line breaks of Unicode do occur inside tokens.

    path (PathLike): The file. Compression is recognised by content, not by name.
    YIELDS (Tuple[int, str]): Number of the line, from 1, and the line without its line break.
    RAISES (ConversionError): If the bytes are not text: bad UTF-8, NUL, absurdly long lines, or a
        gzip file that is damaged or made to unpack without end.
    """
    path = check_is_file(path)
    line_no = 0
    n_bytes = 0
    limit = max(MIN_SUSPICIOUS_SIZE, MAX_RATIO * path.stat().st_size)
    with _open_bytes(path) as file_:
        while True:
            try:
                raw = file_.readline(MAX_LINE_LENGTH + 1)
            except (EOFError, gzip.BadGzipFile, zlib.error) as err:
                raise error_at(
                    path,
                    line_no + 1,
                    f"the gzip file is damaged or cut short ({err}). Download it again.",
                ) from err
            if not raw:
                return
            line_no += 1
            n_bytes += len(raw)
            if n_bytes > limit:
                raise error_at(
                    path,
                    line_no,
                    f"the gzip file unpacks to more than {MAX_RATIO} times its size, which no text "
                    "does. If it is what you want, unpack it first.",
                )
            if len(raw) > MAX_LINE_LENGTH and not raw.endswith(b"\n"):
                raise error_at(
                    path,
                    line_no,
                    f"the line is longer than {MAX_LINE_LENGTH:,} bytes. "
                    "Check that this is a text file with line breaks.",
                )
            if b"\0" in raw:
                raise error_at(
                    path,
                    line_no,
                    "the line has a NUL byte. Check that this is a text file, saved as UTF-8.",
                )
            try:
                line = raw.decode("utf8")
            except UnicodeDecodeError as err:
                raise error_at(
                    path,
                    line_no,
                    f"byte {raw[err.start]:#04x} at byte {err.start + 1} of the line is not UTF-8. "
                    "Save the file as UTF-8.",
                ) from err
            if line_no == 1:
                line = line.removeprefix("\ufeff")
            yield line_no, line.removesuffix("\n").removesuffix("\r")


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


def make_text_doc(
    path: PathLike,
    line: int,
    nlp: Language,
    text: str,
    cats: dict[str, float],
    report: ConversionReport,
) -> Doc | None:
    """Tokenize a text and give it its categories.

    RETURNS (Optional[Doc]): The doc, or None for a text without words, which is counted.
    RAISES (ConversionError): If the text is longer than `nlp.max_length` characters.
    """
    if not text.strip():
        report.add_cause("empty text: skipped", path, line)
        return None
    if len(text) > nlp.max_length:
        raise error_at(
            path,
            line,
            f"the text has {len(text):,} characters, more than the {nlp.max_length:,} that spaCy "
            "tokenizes. Check that lines end where texts do.",
        )
    doc = nlp.make_doc(text)
    doc.cats = cats
    return doc
