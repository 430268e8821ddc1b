"""Texts with one or several categories, in rows of CSV, TSV, JSON lines or Parquet."""

from collections.abc import Iterator, Sequence

from spacy.language import Language
from spacy.tokens import Doc

from .report import ConversionError, ConversionReport, PathLike
from .rows import TopicColumns, find_columns, make_row_doc, parse_columns
from .tables import open_table

NEEDED = ("text", "topic")
NAMES = (*NEEDED, "group")


def read_texts(
    path: PathLike,
    nlp: Language,
    report: ConversionReport,
    *,
    columns: str | None = None,
    separator: str | None = None,
    labels: Sequence[str] | None = None,
) -> Iterator[Doc]:
    """Read the categories of each text into `doc.cats`, where the others are 0.0.

    An empty cell is unknown, and its text is left out; an empty list says that there are none. A
    cell with a list as JSON or Python writes it is one of several categories.

    path (PathLike): A CSV, TSV, JSON or JSON lines file, plain or gzipped, or a Parquet file.
    nlp (Language): Tokenizes the texts.
    report (ConversionReport): Counts what is skipped.
    columns (Optional[str]): What the columns are, where they are not called "text" and "label" or
        "labels": "text=body,topic=kind". Of a CSV file without a line of names, by number from 1:
        "text=2,topic=1". With a column of 0 and 1 for each category: "text=body,topic=a,topic=b".
        The column "group" goes to `doc.user_data`, for `spacy multitask split`.
    separator (Optional[str]): What parts several categories in one cell.
    labels (Optional[Sequence[str]]): All categories. None to gather them from the file, which is
        then read twice; a part of a corpus may lack some.
    YIELDS (Doc): The docs.
    RAISES (ConversionError): If a row is malformed.
    """
    given = parse_columns(columns, NAMES)
    by_number = bool(given) and all(name.isdigit() for named in given.values() for name in named)
    table = open_table(path, with_header=not by_number)
    found = find_columns(path, table, given, NAMES)
    for name in NEEDED:
        if name not in found:
            raise ConversionError(
                f"{path}: none of the columns {', '.join(map(str, table.columns))} is known as the "
                f"{name}. Name them with the option columns, such as 'text=body,topic=kind'."
            )
    topics = TopicColumns(path, found["topic"], table, labels, separator)
    for row in table.rows():
        doc = make_row_doc(row, nlp, report, found, None, topics)
        if doc is not None:
            yield doc
