"""What is written: a file per shard."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
from spacy.tokens import Doc, DocBin

from ..plain import to_json


class Writer:
    """Writes the rows of a shard.

    stream (IO[bytes]): Where to.
    schema (Schema): Of the tables.
    """

    suffix = ""
    takes_docs = False  # whether tables are of no use to it

    def __init__(self, stream: IO[bytes], schema: pa.Schema):
        self.stream, self.schema = stream, schema

    def write(self, table: pa.Table) -> None:
        raise NotImplementedError

    def write_docs(self, docs: Sequence[Doc], kept: list[dict[str, Any]]) -> None:
        """
        kept (List[Dict]): Id and columns that go along, of each doc.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Write what is left. The stream stays open."""

    @classmethod
    def join(cls, parts: Iterable[IO[bytes]], stream: IO[bytes], schema: pa.Schema) -> None:
        """Write several files as one."""
        raise NotImplementedError


class ParquetWriter(Writer):
    suffix = ".parquet"

    def __init__(self, stream: IO[bytes], schema: pa.Schema):
        super().__init__(stream, schema)
        self._writer = pq.ParquetWriter(stream, schema, compression="zstd")

    def write(self, table: pa.Table) -> None:
        self._writer.write_table(table)

    def close(self) -> None:
        self._writer.close()

    @classmethod
    def join(cls, parts: Iterable[IO[bytes]], stream: IO[bytes], schema: pa.Schema) -> None:
        writer = cls(stream, schema)
        for part in parts:
            for batch in pq.ParquetFile(part).iter_batches(1024):
                writer.write(pa.Table.from_batches([batch], schema))
        writer.close()


class JsonLinesWriter(Writer):
    suffix = ".jsonl"

    def write(self, table: pa.Table) -> None:
        for row in table.to_pylist():
            self.stream.write(to_json(_jsonable(row)).encode("utf8") + b"\n")

    @classmethod
    def join(cls, parts: Iterable[IO[bytes]], stream: IO[bytes], schema: pa.Schema) -> None:
        for part in parts:
            shutil.copyfileobj(part, stream)


def _jsonable(value: Any) -> Any:
    """RETURNS (Any): The same, with strings for dates and other values that JSON has not."""
    if isinstance(value, dict):
        return {key: _jsonable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_jsonable(inner) for inner in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


class DocBinWriter(Writer):
    """Docs with all that the pipeline has set. Their id and the columns that go along are in
    `doc.user_data`. A shard is in memory until it is written."""

    suffix = ".spacy"
    takes_docs = True

    def __init__(self, stream: IO[bytes], schema: pa.Schema):
        super().__init__(stream, schema)
        self._docs = DocBin(store_user_data=True)

    def write_docs(self, docs: Sequence[Doc], kept: list[dict[str, Any]]) -> None:
        for doc, values in zip(docs, kept):
            doc.user_data.update({key: _jsonable(value) for key, value in values.items()})
            self._docs.add(doc)

    def close(self) -> None:
        self.stream.write(self._docs.to_bytes())

    @classmethod
    def join(cls, parts: Iterable[IO[bytes]], stream: IO[bytes], schema: pa.Schema) -> None:
        writer = cls(stream, schema)
        for part in parts:
            writer._docs.merge(DocBin(store_user_data=True).from_bytes(part.read()))
        writer.close()


WRITERS: dict[str, type[Writer]] = {
    "parquet": ParquetWriter,
    "jsonl": JsonLinesWriter,
    "spacy": DocBinWriter,
}
