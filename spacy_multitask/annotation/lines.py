"""Formats of lines: they are cut at bytes, so that a large file is not read to be cut."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from typing import IO, Any

import pyarrow as pa
from spacy.vocab import Vocab

from .addresses import BLOCK, File
from .inputs import Bad, Columns, Format, Range, Row, row_of

COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
SAMPLED_LINES, SAMPLED_FILES = 1000, 10


def is_compressed(file: File) -> bool:
    return file.name.endswith(COMPRESSED)


class Lines(Format):
    """A text per line; blank lines are none. A compressed file is one range."""

    suffixes: tuple[str, ...] = (".txt",)
    title = "txt"

    def cut(self, number: int, file: File, n_docs: int) -> Iterator[Range]:
        if is_compressed(file) or not file.size:
            yield Range(number, 0, -1, file.size)
            return
        with file.open() as stream:
            sample = stream.read(BLOCK)
        # Rounded up, lest some bytes are left for one more shard.
        step = -(-n_docs * len(sample) // max(1, sample.count(b"\n")))
        for start in range(0, file.size, step):
            end = min(start + step, file.size)
            yield Range(number, start, end, end - start)

    def read(
        self, files: Sequence[File], part: Range, columns: Columns, vocab: Vocab
    ) -> Iterator[Row | Bad]:
        file = files[part.file]
        for at, line in lines_of(file, part):
            place = f"{file.name}:{at}"
            try:
                text = line.decode("utf-8-sig").rstrip("\r\n")
            except UnicodeDecodeError as error:
                yield Bad(place, f"It is not UTF-8: {error}")
                continue
            if text.strip():
                yield self.row(text, columns, place)

    def row(self, line: str, columns: Columns, place: str) -> Row | Bad:
        return Row(place, line, {})


class JsonLines(Lines):
    """An object per line. Types of the columns that go along are those of the first lines."""

    suffixes = (".jsonl", ".ndjson")
    title = "jsonl"

    def fields(self, files: Sequence[File]) -> list[pa.Field]:
        rows = []
        for file in files[:SAMPLED_FILES]:
            whole = Range(0, 0, -1, file.size)
            for _, (_, line) in zip(range(SAMPLED_LINES), lines_of(file, whole)):
                try:
                    value = json.loads(line)
                except ValueError:
                    continue  # an error row, when its turn comes
                if isinstance(value, dict):
                    rows.append(value)
        names = dict.fromkeys(name for row in rows for name in row)
        return [pa.field(name, _type_of(name, rows)) for name in names]

    def row(self, line: str, columns: Columns, place: str) -> Row | Bad:
        try:
            values = json.loads(line)
        except ValueError as error:
            return Bad(place, f"It is not JSON: {error}")
        if not isinstance(values, dict):
            return Bad(place, "It is no JSON object.")
        if not isinstance(values.get(columns.text), str | None):
            return Bad(place, f"{columns.text!r} is no string.")
        return row_of(values, columns, place)


def _type_of(name: str, rows: list[dict[str, Any]]) -> pa.DataType:
    """RETURNS (DataType): That of all values; strings where there is none that holds them."""
    try:
        found = pa.array([row.get(name) for row in rows]).type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        found = pa.string()
    return pa.string() if pa.types.is_null(found) else found


class Csv(Lines):
    """Rows with a header. All columns are strings; a cell may hold line breaks between quotes."""

    suffixes = (".csv", ".tsv")
    title = "csv"

    def fields(self, files: Sequence[File]) -> list[pa.Field]:
        names = dict.fromkeys(name for file in files for name in self._header(file)[0])
        return [pa.field(name, pa.string()) for name in names]

    def _header(self, file: File) -> tuple[list[str], int]:
        """RETURNS (tuple): Names of the columns, and the byte where the first row starts."""
        for _, end, lines in self._records(file, Range(0, 0, -1, file.size)):
            return next(csv.reader(lines, delimiter=_delimiter(file))), end
        raise ValueError(f"{file.address} is empty; its first row must name the columns.")

    def _records(self, file: File, part: Range) -> Iterator[tuple[int, int, list[str]]]:
        """YIELDS (tuple): First byte, end byte and lines of each row; a row goes on while a quote
        is open."""
        lines: list[bytes] = []
        first = quotes = 0
        for at, line in lines_of(file, part):
            if not lines:
                first = at
            lines.append(line)
            quotes += line.count(b'"')
            if quotes % 2 == 0:
                yield first, at + len(line), [part.decode("utf-8-sig") for part in lines]
                lines, quotes = [], 0
        if lines:
            yield first, at + len(line), [part.decode("utf-8-sig") for part in lines]

    def cut(self, number: int, file: File, n_docs: int) -> Iterator[Range]:
        _, start = self._header(file)
        if is_compressed(file):
            yield Range(number, start, -1, file.size)
            return
        end, count = start, 0
        # Where rows end can't be told without reading from the top.
        for count, (_, end, _) in enumerate(self._records(file, Range(0, start, file.size, 0)), 1):
            if count % n_docs == 0:
                yield Range(number, start, end, end - start)
                start = end
        if end > start:
            yield Range(number, start, end, end - start)

    def read(
        self, files: Sequence[File], part: Range, columns: Columns, vocab: Vocab
    ) -> Iterator[Row | Bad]:
        file = files[part.file]
        names, _ = self._header(file)
        for first, _, lines in self._records(file, part):
            cells = next(csv.reader(lines, delimiter=_delimiter(file)), [])
            place = f"{file.name}:{first}"
            if not cells:
                continue
            if len(cells) != len(names):
                yield Bad(place, f"It has {len(cells)} cells, and the header {len(names)}.")
                continue
            yield row_of(dict(zip(names, cells)), columns, place)


def _delimiter(file: File) -> str:
    return "\t" if ".tsv" in file.name else ","


def lines_of(file: File, part: Range) -> Iterator[tuple[int, bytes]]:
    """YIELDS (Tuple[int, bytes]): First byte and bytes of each line that starts in a range."""
    with file.open("infer" if is_compressed(file) else None) as stream:
        at = part.start
        if at and not is_compressed(file):
            at -= 1
            stream.seek(at)
            at += len(stream.readline())  # a line that starts before, or the end of one
        elif at:
            stream.read(at)
        yield from _numbered(stream, at, part.end)


def _numbered(stream: IO[bytes], at: int, end: int) -> Iterator[tuple[int, bytes]]:
    for line in stream:
        if 0 <= end <= at:
            return
        yield at, line
        at += len(line)
