"""Rows of tables to docs: which column is what, and what stands in it."""

import ast
import math
from collections.abc import Sequence
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc

from .gold import PosColumn, TokenSpan, make_text_doc, set_entities, set_spans, trim_blanks
from .iob import IOBDecoder
from .records import Record, shorten
from .report import ConversionError, ConversionReport, PathLike
from .tables import Table

# What columns are called that need not be named, first come first served.
FOUND = {
    "word": ("tokens", "words"),
    "tag": ("xpos", "tags"),
    "pos": ("pos_tags", "upos", "pos"),
    "lemma": ("lemmas",),
    "chunk": ("chunk_tags",),
    "ner": ("ner_tags", "ner"),
    "text": ("text", "sentence"),
    "topic": ("label", "labels", "topic", "topics"),
    "group": (),
}
# Key of doc.user_data: `spacy multitask split` keeps docs of one group together.
GROUP = "group"
TOKEN_LAYERS = ("tag", "pos", "lemma", "chunk", "ner")


def parse_columns(columns: str | None, allowed: Sequence[str]) -> dict[str, list[str]]:
    """Read the option `columns`.

    columns (Optional[str]): Such as "text=body,topic=kind".
    allowed (Sequence[str]): The names that may stand before "=".
    RETURNS (Dict[str, List[str]]): Columns by name; several for topics only.
    RAISES (ConversionError): If it has another form.
    """
    found: dict[str, list[str]] = {}
    for item in columns.split(",") if columns else ():
        name, _, column = item.strip().partition("=")
        if name not in allowed or not column:
            raise ConversionError(
                f"the column {item.strip()!r} is not NAME=COLUMN, with one of the names "
                f"{', '.join(allowed)}. An example is '{allowed[0]}=column1'."
            )
        if name in found and name != "topic":
            raise ConversionError(f"there are two columns for {name!r}. Name one.")
        found.setdefault(name, []).append(column)
    return found


def find_columns(
    path: PathLike, table: Table, given: dict[str, list[str]], allowed: Sequence[str]
) -> dict[str, list[str]]:
    """RETURNS (Dict[str, List[str]]): Columns by what they are: those given, or else those found.

    RAISES (ConversionError): If a column that was given is not there.
    """
    for columns in given.values():
        for column in columns:
            if column not in table.columns:
                raise ConversionError(
                    f"{path}: there is no column {column!r}. The columns are "
                    f"{', '.join(map(str, table.columns))}."
                )
    found = dict(given)
    taken = {column for columns in given.values() for column in columns}
    by_lower = {str(column).lower(): column for column in table.columns}
    for name in allowed:
        for candidate in FOUND[name]:
            if name not in found and candidate in by_lower and by_lower[candidate] not in taken:
                found[name] = [by_lower[candidate]]
    return found


class TopicColumns:
    """Categories in one column, as a name or a list of names, or in several of 0 and 1.

    path (PathLike): The file, for errors.
    columns (List[str]): The columns.
    table (Table): Is read once to know all categories, unless they are known.
    labels (Optional[Sequence[str]]): All categories.
    separator (Optional[str]): What parts several categories in one cell.
    """

    def __init__(
        self,
        path: PathLike,
        columns: list[str],
        table: Table,
        labels: Sequence[str] | None,
        separator: str | None,
    ) -> None:
        self.columns = columns
        self.separator = separator
        self.names = table.class_names
        if len(columns) > 1:
            if labels is not None or separator is not None:
                raise ConversionError(
                    f"{path}: with a column for each category, leave out labels and the separator."
                )
            self.labels: list[str] = columns
        elif labels is not None:
            self.labels = list(labels)
        elif columns[0] in self.names:
            self.labels = self.names[columns[0]]
        else:
            self.labels = []
            seen = {label for row in table.rows() for label in self._read(row) or ()}
            self.labels = sorted(seen)

    def __call__(self, row: Record) -> dict[str, float]:
        """RETURNS (Dict[str, float]): The categories of a row; empty where nothing is known."""
        if len(self.columns) > 1:
            values = {column: _truth(row, column) for column in self.columns}
            return {column: value for column, value in values.items() if value is not None}
        chosen = self._read(row)
        if chosen is None:
            return {}
        for label in chosen:
            if label not in self.labels:
                raise row.error(
                    f"label {label!r} is not one of {', '.join(self.labels)}. "
                    "Add it to the labels option."
                )
        return {label: float(label in chosen) for label in self.labels}

    def _read(self, row: Record) -> list[str] | None:
        """RETURNS (Optional[List[str]]): The categories of a row; None where nothing is known."""
        column = self.columns[0]
        value = row.fields.get(column)
        if isinstance(value, str) and self.separator is not None:
            value = [part.strip() for part in value.split(self.separator) if part.strip()] or None
        elif isinstance(value, str) and value.startswith("[") and value.endswith("]"):
            value = _parse_list(row, column, value)
        if isinstance(value, list):
            labels = [class_name(row, column, item, self.names) for item in value]
            return [label for label in labels if label]
        label = class_name(row, column, value, self.names)
        return [label] if label else None


def _parse_list(row: Record, column: str, text: str) -> Any:
    """Read a list as it comes out of JSON, or of Python, in a cell of CSV."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as err:
        raise row.error(f"{column} is {shorten(text)}, which is no list that can be read.") from err


def _truth(row: Record, column: str) -> float | None:
    value = row.fields.get(column)
    text = str(value).strip().lower()
    if value is None or text in ("", "nan"):
        return None
    if text in ("0", "0.0", "false", "1", "1.0", "true"):
        return float(text in ("1", "1.0", "true"))
    raise row.error(
        f"{column} is {shorten(value)}, but must be 0 or 1, as there are several columns of "
        "categories."
    )


def class_name(row: Record, column: str, value: Any, names: dict[str, list[str]]) -> str:
    """RETURNS (str): A label, by its name or number; empty where it is missing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # pandas makes them of numbers where one is missing
    if not isinstance(value, int):
        raise row.error(f"{column} is {shorten(value)}, but must be a name or a number.")
    if column not in names or isinstance(value, bool):
        return str(value)
    if value == -1:  # the library's own sign for "no label"
        return ""
    if not 0 <= value < len(names[column]):
        raise row.error(
            f"{column} is {value}, but there are {len(names[column])} classes, from 0 on."
        )
    return names[column][value]


class TokenColumns:
    """Words and their labels, each a list in a column.

    path (PathLike): The file, for errors.
    columns (Dict[str, List[str]]): The column of each layer; "word" is there.
    names (Dict[str, List[str]]): What numbers stand for, by column.
    """

    def __init__(
        self,
        path: PathLike,
        nlp: Language,
        report: ConversionReport,
        columns: dict[str, list[str]],
        names: dict[str, list[str]],
        scheme: str,
        spans_key: str,
    ) -> None:
        self.path, self.nlp, self.report = path, nlp, report
        self.columns = {
            name: columns[name][0] for name in ("word", *TOKEN_LAYERS) if name in columns
        }
        self.names = names
        self.spans_key = spans_key
        self.decode = {
            "chunk": IOBDecoder(path, report, scheme, "chunk"),
            "ner": IOBDecoder(path, report, scheme, "entity"),
        }
        self.read_pos = PosColumn(path, report)

    def __call__(self, row: Record) -> Doc | None:
        """RETURNS (Optional[Doc]): The doc, or None for a row without words, which is counted."""
        words = self._values(row, "word")
        if not words:
            self.report.add_cause("row without words: skipped", self.path, row.line)
            return None
        if not all(words):
            raise row.error(f"{self.columns['word']} holds an empty word.")
        places = [row.line] * len(words)
        layers: dict[str, Any] = {}
        spans: dict[str, list[TokenSpan]] = {}
        for name in self.columns:
            values = self._values(row, name)
            if name == "word" or values is None:
                continue
            if len(values) != len(words):
                raise row.error(
                    f"{self.columns[name]} has {len(values)} labels, but there are {len(words)} "
                    "words."
                )
            if name in self.decode:
                spans[name] = self._spans(words, self.decode[name](values, places), row)
                continue
            values = ["" if value == "_" else value for value in values]
            if name == "pos":
                name, _ = self.read_pos(values, places)
            if any(values):
                layers.setdefault(name if name == "pos" else f"{name}s", values)
        doc = Doc(self.nlp.vocab, words=words, **layers)
        if "ner" in spans:
            set_entities(doc, spans["ner"], self.report, self.path, row.line)
        if "chunk" in spans:
            set_spans(doc, self.spans_key, spans["chunk"])
        return doc

    def _values(self, row: Record, name: str) -> list[str] | None:
        column = self.columns[name]
        values = row.get(column, list, None)
        if values is None:
            return None
        return [
            value
            if name == "word" and isinstance(value, str)
            else class_name(row, column, value, self.names)
            for value in values
        ]

    def _spans(self, words: list[str], found: list[TokenSpan], row: Record) -> list[TokenSpan]:
        trimmed = [trim_blanks(words, span, self.report, self.path, row.line) for span in found]
        return [span for span in trimmed if span is not None]


def make_row_doc(
    row: Record,
    nlp: Language,
    report: ConversionReport,
    columns: dict[str, list[str]],
    tokens: TokenColumns | None,
    topics: TopicColumns | None,
) -> Doc | None:
    """Make the doc of a row.

    columns (Dict[str, List[str]]): The columns of "text", where there are no tokens, and "group".
    RETURNS (Optional[Doc]): The doc, or None for a row without words or gold, which is counted.
    """
    cats = {} if topics is None else topics(row)
    if tokens is None and not cats:
        report.add_cause("text without a label: left out", row.path, row.line)
        return None
    if tokens is None:
        text = row.get(columns["text"][0], str, "")
        doc = make_text_doc(row.path, row.line, nlp, text, cats, report)
    else:
        doc = tokens(row)
    if doc is not None:
        doc.cats = cats
        if "group" in columns:
            doc.user_data[GROUP] = str(row.get(columns["group"][0], (str, int)))
    return doc
