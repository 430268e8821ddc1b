"""What is read: files cut into ranges, and ranges read in batches of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from spacy.tokens import Doc, DocBin
from spacy.vocab import Vocab

from ..corpus.reader import unannotated
from .addresses import File

BATCH_CHARS = 4_000_000  # of texts that are in memory together; a longer one is alone
ID_COLUMN = "id"


@dataclass
class Batch:
    """Rows of a file.

    ids (List[str]): One per row.
    texts (List): Texts, docs without annotation, or None.
    kept (Dict[str, List]): Values of the columns that go along.
    errors (List[Tuple[str, str]]): Ids and reasons of rows that could not be read; they are not
        among the others.
    left_out (Dict[str, int]): Fields that no column was planned for, and how often.
    """

    ids: list[str] = field(default_factory=list)
    texts: list[str | Doc | None] = field(default_factory=list)
    kept: dict[str, list] = field(default_factory=dict)
    errors: list[tuple[str, str]] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    n_chars: int = 0

    def add(self, row: Row) -> None:
        self.ids.append(row.id)
        self.texts.append(row.text)
        for name, value in row.kept.items():
            self.kept.setdefault(name, []).append(value)
        for name in row.left_out:
            self.left_out[name] = self.left_out.get(name, 0) + 1
        self.n_chars += 0 if row.text is None else len(row.text)

    def is_full(self, batch_size: int) -> bool:
        n_rows = len(self.ids) + len(self.errors)
        return n_rows >= batch_size or self.n_chars >= BATCH_CHARS

    def part(self, rows: Sequence[int]) -> Batch:
        """RETURNS (Batch): Some of the rows, without errors."""
        kept = {name: [values[row] for row in rows] for name, values in self.kept.items()}
        return Batch([self.ids[row] for row in rows], [self.texts[row] for row in rows], kept)


class Row(NamedTuple):
    """
    text (str | Doc | None): A doc has tokens and no annotation.
    kept (Dict[str, Any]): Values of the columns that go along.
    left_out (Tuple[str, ...]): Fields that no column was planned for.
    """

    id: str
    text: str | Doc | None
    kept: dict[str, Any]
    left_out: tuple[str, ...] = ()


class Bad(NamedTuple):
    """A row that can't be read."""

    id: str
    reason: str


class Range(NamedTuple):
    """A part of the input.

    file (int): Index of the file; of whole-file docs, of the first one.
    start, end (int): Rows of Parquet, bytes of lines, files of whole-file docs; the end is
        exclusive, and -1 is that of the file.
    weight (int): Bytes, about, for progress.
    """

    file: int
    start: int
    end: int
    weight: int


@dataclass(frozen=True)
class Columns:
    """Which column is what.

    text (str): Of the texts.
    id (Optional[str]): Of the ids; None if each row is named after its place.
    kept (Tuple[str, ...]): Those that go along.
    all (bool): Whether these are all others that were found.
    """

    text: str
    id: str | None
    kept: tuple[str, ...]
    all: bool


class Format:
    """A format of input files. Formats without columns have `text` alone."""

    suffixes: tuple[str, ...] = ()
    title = ""

    def fields(self, files: Sequence[File]) -> list[pa.Field]:
        """RETURNS (List[Field]): Columns of the files.
        RAISES (ValueError): If there is none, or files disagree on a type.
        """
        return [pa.field("text", pa.string())]

    def cut(self, number: int, file: File, n_docs: int) -> Iterator[Range]:
        """YIELDS (Range): Parts of a file of about so many docs each."""
        yield Range(number, 0, -1, file.size)

    def read(
        self, files: Sequence[File], part: Range, columns: Columns, vocab: Vocab
    ) -> Iterator[Row | Bad]:
        """YIELDS (Row | Bad): What can be read, and what can't."""
        raise NotImplementedError


class Parquet(Format):
    suffixes = (".parquet", ".pq")
    title = "parquet"

    def fields(self, files: Sequence[File]) -> list[pa.Field]:
        found: dict[str, pa.Field] = {}
        for file in files:
            with file.open() as stream:
                for one in _opened(file, stream).schema_arrow:
                    before = found.setdefault(one.name, one)
                    if before.type != one.type:
                        raise ValueError(
                            f"{file.address}: the column {one.name!r} has the type {one.type}, but "
                            f"{before.type} in other files. Annotate them apart."
                        )
        return [one.with_nullable(True).remove_metadata() for one in found.values()]

    def cut(self, number: int, file: File, n_docs: int) -> Iterator[Range]:
        with file.open() as stream:
            n_rows = _opened(file, stream).metadata.num_rows
        for start in range(0, n_rows, n_docs):
            end = min(start + n_docs, n_rows)
            yield Range(number, start, end, file.size * (end - start) // n_rows)

    def read(
        self, files: Sequence[File], part: Range, columns: Columns, vocab: Vocab
    ) -> Iterator[Row | Bad]:
        file = files[part.file]
        wanted = {columns.text, *columns.kept} | ({columns.id} if columns.id else set())
        with file.open() as stream:
            reader = _opened(file, stream)
            names = [name for name in reader.schema_arrow.names if name in wanted]
            row = 0
            for group in range(reader.num_row_groups):
                n_rows = reader.metadata.row_group(group).num_rows
                if row + n_rows <= part.start or row >= part.end:
                    row += n_rows
                    continue
                for batch in reader.iter_batches(1024, row_groups=[group], columns=names):
                    skipped = max(0, part.start - row)
                    rows = batch.slice(skipped, max(0, part.end - row - skipped)).to_pylist()
                    for place, values in enumerate(rows, row + skipped):
                        yield row_of(values, columns, f"{file.name}:{place}")
                    row += len(batch)


def _opened(file: File, stream: Any) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(stream)
    except pa.ArrowInvalid as error:
        raise ValueError(
            f"{file.address} is not a Parquet file: {error}. Check it, or give its --format."
        ) from error


def row_of(values: dict[str, Any], columns: Columns, place: str) -> Row:
    """RETURNS (Row): From the values of a row by column; `place` is its id where it has none."""
    id = values.get(columns.id) if columns.id else None
    text = values.get(columns.text)
    kept = {name: values.get(name) for name in columns.kept}
    others = values.keys() - kept.keys() - {columns.text, columns.id} if columns.all else ()
    return Row(
        place if id is None else str(id),
        text if text is None else str(text),
        kept,
        tuple(others),
    )


class DocBins(Format):
    """Docs of `.spacy` files are annotated with the tokens that they have. A file is one range."""

    suffixes = (".spacy",)
    title = "spacy"

    def read(
        self, files: Sequence[File], part: Range, columns: Columns, vocab: Vocab
    ) -> Iterator[Row | Bad]:
        file = files[part.file]
        with file.open() as stream:
            data = stream.read()
        try:
            docs = DocBin().from_bytes(data)
        except Exception as error:  # whatever zlib and msgpack raise
            raise ValueError(
                f"{file.address} has no docs of spaCy: {error}. Check it, or give its --format."
            ) from error
        for row, doc in enumerate(docs.get_docs(vocab)):
            id = doc.user_data.get(ID_COLUMN)
            place = f"{file.name}:{row}" if id is None else str(id)
            yield Row(place, unannotated(doc, vocab), {})


class WholeFiles(Format):
    """Each file is a doc, and its name is the id. A range is of files."""

    suffixes = ()
    title = "files"

    def cut_files(self, files: Sequence[File], n_docs: int) -> Iterator[Range]:
        for start in range(0, len(files), n_docs):
            end = min(start + n_docs, len(files))
            yield Range(start, start, end, sum(file.size for file in files[start:end]))

    def read(
        self, files: Sequence[File], part: Range, columns: Columns, vocab: Vocab
    ) -> Iterator[Row | Bad]:
        for file in files[part.start : part.end]:
            with file.open("infer") as stream:
                data = stream.read()
            try:
                yield Row(file.name, data.decode("utf8"), {})
            except UnicodeDecodeError as error:
                yield Bad(file.name, f"It is not UTF-8: {error}")


def batches(
    rows: Iterator[Row | Bad],
    batch_size: int,
    *,
    first: int = 0,
    end: int | None = None,
) -> Iterator[Batch]:
    """
    batch_size (int): Most rows in a batch.
    first, end (int): Rows to take.
    YIELDS (Batch): The rows.
    """
    batch = Batch()
    for place, row in enumerate(rows):
        if place < first:
            continue
        if end is not None and place >= end:
            break
        if isinstance(row, Bad):
            batch.errors.append((row.id, row.reason))
        else:
            batch.add(row)
        if batch.is_full(batch_size):
            yield batch
            batch = Batch()
    if batch.ids or batch.errors:
        yield batch
