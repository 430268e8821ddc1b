"""Rows with named columns, of CSV, TSV, JSON, Parquet, or of a data set of Hugging Face."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .lines import MAX_LINE_LENGTH, check_is_file, read_lines
from .records import Record, read_records
from .report import ConversionError, PathLike, error_at

DELIMITERS = "\t,;|"
PARQUET = b"PAR1"
EXTRA = 'Install it: pip install "spacy_multitask[formats]".'


class Table(NamedTuple):
    """Rows that can be read several times, one by one.

    columns (List[str]): Names of the columns; those of the first row where rows have their own.
    class_names (Dict[str, List[str]]): What the numbers in a column stand for.
    rows (Callable[[], Iterator[Record]]): Reads the rows.
    """

    columns: list[str]
    class_names: dict[str, list[str]]
    rows: Callable[[], Iterator[Record]]


def open_table(path: PathLike, with_header: bool = True) -> Table:
    """Open a file, whose content tells what it is.

    path (PathLike): A CSV, TSV, JSON or JSON lines file, plain or gzipped, or a Parquet file.
    with_header (bool): Whether the first line of CSV and TSV names the columns; else they are
        called "1", "2" and so on.
    RETURNS (Table): Its rows.
    RAISES (ConversionError): If it is damaged or has no rows.
    """
    path = check_is_file(path)
    with path.open("rb") as file_:
        if file_.read(4) == PARQUET:
            return open_parquet(path)
    line = next((line for _, line in read_lines(path, MAX_LINE_LENGTH * 100) if line.strip()), "")
    if not line:
        raise ConversionError(f"{path}: the file is empty.")
    if line.lstrip()[0] in "{[":
        first = next(read_records(path), None)
        columns = [] if first is None else list(first.fields)
        return Table(columns, {}, lambda: read_records(path))
    return open_csv(path, max(DELIMITERS, key=line.count), with_header)


def open_csv(path: Path, delimiter: str, with_header: bool) -> Table:
    line_no, header = next(read_csv(path, delimiter))
    if not with_header:
        header = [str(i) for i in range(1, len(header) + 1)]
    if len(set(header)) < len(header) or not all(header):
        raise error_at(
            path,
            line_no,
            f"the columns {', '.join(header)} are not all different and named. The first line "
            "names the columns; of a file without such a line, name them by number: "
            "'text=2,topic=1'.",
        )

    rule = "In TSV no cell holds a tab or a line break."
    if delimiter != "\t":
        rule = f"A cell that holds {delimiter!r} or a line break stands in double quotes."

    def rows() -> Iterator[Record]:
        for line, cells in read_csv(path, delimiter):
            if with_header and line == line_no:
                continue
            if len(cells) != len(header):
                raise error_at(
                    path,
                    line,
                    f"{len(cells)} cells instead of {len(header)}. {rule}",
                )
            yield Record(path, line, dict(zip(header, cells)))

    return Table(header, {}, rows)


def read_csv(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """YIELDS (Tuple[int, List[str]]): The line where a row begins, and its cells."""
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE_LENGTH))
    # In TSV, quotes are mostly a part of the text.
    lines = (f"{line}\n" for _, line in read_lines(path))
    if delimiter == "\t":
        reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as err:
            raise error_at(
                path,
                start,
                f"the row that begins here is not valid CSV: {err}. A quote inside of quotes is "
                "doubled, and each is closed.",
            ) from err
        if cells is None:
            return
        if cells:
            yield start, cells


def open_parquet(path: Path) -> Table:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as err:
        raise ConversionError(f"{path}: Parquet needs the package pyarrow. {EXTRA}") from err

    def damaged(err: Exception) -> ConversionError:
        return ConversionError(f"{path}: the Parquet file is damaged or cut short ({err}).")

    try:
        schema = ParquetFile(path).schema_arrow
    except (ArrowException, OSError) as err:
        raise damaged(err) from err

    def rows() -> Iterator[Record]:
        number = 0
        try:
            with ParquetFile(path) as file_:
                for batch in file_.iter_batches(batch_size=1000):
                    for row in batch.to_pylist():
                        number += 1
                        yield Record(path, f"row {number}", row)
        except (ArrowException, OSError) as err:
            raise damaged(err) from err

    names = {}
    if b"huggingface" in (schema.metadata or {}):
        names = class_names_of(import_datasets().Features.from_arrow_schema(schema))
    return Table(schema.names, names, rows)


def open_dataset(source: PathLike, split: str | None, subset: str | None) -> Table:
    """Open a data set of Hugging Face.

    source (PathLike): A folder that `save_to_disk` wrote, a file as `open_table` takes it, or the
        name of a data set of the hub.
    split (Optional[str]): Which part; None where there is one.
    subset (Optional[str]): Name of the configuration of a data set of the hub.
    RETURNS (Table): Its rows.
    RAISES (ConversionError): If it cannot be loaded or has several parts of which none is chosen.
    """
    path = Path(source)
    if path.is_file():
        if split is not None or subset is not None:
            raise ConversionError(f"{source}: a file has no parts. Leave out split and subset.")
        return open_table(path)
    library = import_datasets()
    try:
        if path.is_dir():
            data = library.load_from_disk(str(path))
        else:
            data = library.load_dataset(str(source), subset, streaming=True)
    # Whatever the library or its connection to the hub says.
    except Exception as err:
        kind = "folder of a data set" if path.is_dir() else "file, folder or data set of the hub"
        reason = " ".join(str(err).split())
        raise ConversionError(f"{source}: this {kind} cannot be loaded: {reason}") from err
    data = choose_split(source, data, split)
    columns = data.column_names or list(next(iter(data), {}))

    def rows() -> Iterator[Record]:
        for number, row in enumerate(data, start=1):
            yield Record(source, f"row {number}", row)

    return Table(list(columns), class_names_of(data.features or {}), rows)


def choose_split(source: PathLike, data: Any, split: str | None) -> Any:
    if not isinstance(data, dict):
        if split is not None:
            raise ConversionError(f"{source}: the data set has no parts. Leave out split.")
        return data
    if split is None and len(data) == 1:
        return next(iter(data.values()))
    if split not in data:
        chosen = "several parts" if split is None else f"no part {split!r}"
        raise ConversionError(
            f"{source}: the data set has {chosen}. Choose one with the option split: "
            f"{', '.join(data)}."
        )
    return data[split]


def import_datasets() -> Any:
    """RAISES (ConversionError): If the package is missing."""
    try:
        import datasets
    except ImportError as err:
        raise ConversionError(
            f"data sets of Hugging Face need the package datasets. {EXTRA}"
        ) from err
    return datasets


def class_names_of(features: Any) -> dict[str, list[str]]:
    """RETURNS (Dict[str, List[str]]): The names of the classes of columns that hold numbers of
    classes, or lists of them.
    """
    names = {}
    for column, feature in features.items():
        inner = feature[0] if isinstance(feature, list) else getattr(feature, "feature", feature)
        if getattr(inner, "names", None):
            names[column] = list(inner.names)
    return names
