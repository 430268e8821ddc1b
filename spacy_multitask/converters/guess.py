"""The format of a file, told from its content."""

import csv
import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from spacy.parts_of_speech import IDS as POS_IDS

from .columns import COMMENT
from .conllu_rows import GLOBAL_COLUMNS
from .lines import check_is_file, read_lines
from .records import read_records
from .report import ConversionError, PathLike
from .sentences import DOCSTART
from .tables import PARQUET, open_table

N_LINES = 500
N_RECORDS = 100

TAG = re.compile(r"O|[BIESLUMW]-\S+")
CHUNK = re.compile(r"O|[BI]-(?:NP|VP|PP|ADVP|ADJP|SBAR|PRT|CONJP|INTJ|LST|UCP)")
TOKEN_KEYS = ("tokens", "words")


class Guess(NamedTuple):
    """What a file was taken for.

    format (str): Name of the format.
    why (str): What it was told from, for people.
    options (Dict[str, Any]): Options that the format needs to read it.
    """

    format: str
    why: str
    options: dict[str, Any] = {}


def guess_format(path: PathLike) -> Guess:
    """Look at the beginning of a file, or into a folder.

    path (PathLike): What is to be converted.
    RETURNS (Guess): What it is taken for.
    RAISES (ConversionError): If it looks like none of the formats.
    """
    path = Path(path)
    if path.is_dir():
        guess = _folder(path)
    else:
        check_is_file(path)
        guess = _file(path)
    if guess is None:
        raise ConversionError(
            f"{path}: this looks like none of the formats. Name the format in place of auto; "
            "'columns' reads most files of words with labels, 'texts' those of texts."
        )
    return guess


def _folder(path: Path) -> Guess | None:
    names = {file.name for file in path.iterdir()}
    if names & {"dataset_dict.json", "state.json"}:
        from .tables import open_dataset

        parts = "dataset_dict.json" in names
        columns = [] if parts else open_dataset(path, None, None).columns
        return _columns_of_table(columns, "a folder of save_to_disk")
    if next(path.rglob("*.ann"), None) is not None:
        return Guess("brat", "there are .ann files")
    return None


def _file(path: Path) -> Guess | None:
    if path.suffix == ".ann" or (path.suffix == ".txt" and path.with_suffix(".ann").is_file()):
        return Guess("brat", "there is a .ann file")
    with path.open("rb") as file_:
        if file_.read(4) == PARQUET:
            return _columns_of_table(open_table(path).columns, "a Parquet file")
    lines = [line for _, line in islice(read_lines(path, 2_000_000_000), N_LINES)]
    filled = [line for line in lines if line.strip()]
    if not filled:
        raise ConversionError(f"{path}: the file is empty.")
    if filled[0].lstrip()[0] in "{[" and not filled[0].startswith("[TOKEN]"):
        return _json(path)
    looks: tuple[Callable[[list[str]], Guess | None], ...] = (
        _conllu,
        _labels,
        _conll04,
        _cleanconll,
        _ag_news,
        _table,
        _columns,
    )
    return next((guess for look in looks if (guess := look(lines)) is not None), None)


def _columns_of_table(columns: list[str], what: str) -> Guess:
    if any(name.endswith(".responses") for name in columns):
        return Guess("argilla", f"{what} with a column of responses")
    if columns and not set(columns) & set(TOKEN_KEYS) and what != "a folder of save_to_disk":
        return Guess("texts", what)
    return Guess("datasets", what)


def _json(path: Path) -> Guess | None:
    """Tell JSON formats by the keys of the records."""
    records = [record.fields for record in islice(read_records(path), N_RECORDS)]
    keys = {key for record in records for key in record}
    if "data" in keys and keys & {"annotations", "completions"}:
        return Guess("label_studio", "JSON with data and annotations")
    if keys & {"_view_id", "_input_hash", "_task_hash", "answer"}:
        return Guess("prodigy", "JSON with Prodigy's keys")
    if any(key.endswith(".responses") for key in keys) or {"annotation", "status"} <= keys:
        return Guess("argilla", "JSON with responses")
    if keys & set(TOKEN_KEYS) and "spans" not in keys:
        return Guess("datasets", "JSON with lists of words")
    listed = [
        item
        for record in records
        for key in ("label", "labels")
        if isinstance(record.get(key), list)
        for item in record[key]
    ]
    if "entities" in keys or "Comments" in keys or any(isinstance(item, list) for item in listed):
        return Guess("doccano", "JSON with text and labels in Doccano's form")
    if "spans" in keys:
        return Guess("prodigy", "JSON with text and spans")
    if "text" in keys and keys & {"label", "labels"}:
        return Guess("texts", "JSON with text and label")
    return None


def _conllu(lines: list[str]) -> Guess | None:
    if GLOBAL_COLUMNS.match(lines[0]):
        return Guess("conllup", "the first line names the columns")
    words = [line.split("\t") for line in lines if line.strip() and not line.startswith("#")]
    if words and all(len(row) == 10 and re.match(r"[0-9]+([-.][0-9]+)?$", row[0]) for row in words):
        return Guess("conllu", "ten columns with tabs, of which the first counts the words")
    return None


def _labels(lines: list[str]) -> Guess | None:
    filled = [line for line in lines if line.strip()]
    if all("__label__" in line for line in filled):
        return Guess("labels", "each line has a __label__")
    return None


def _conll04(lines: list[str]) -> Guess | None:
    rows = [line.split("\t") for line in lines if line.strip() and not line.startswith("#doc")]
    if rows and all(len(row) == 5 and row[0].isdigit() and row[3][:1] == "[" for row in rows):
        return Guess("conll04", "five columns, of which the last two are lists")
    return None


def _cleanconll(lines: list[str]) -> Guess | None:
    rows = [line.split("\t") for line in lines if line.strip()]
    if all(len(row) == 5 for row in rows) and any(row[0] == "[TOKEN]" for row in rows):
        return Guess("cleanconll", "five columns, with masked tokens")
    return None


def _ag_news(lines: list[str]) -> Guess | None:
    rows = _csv_rows(lines, ",")
    if rows[:1] and rows[0][:1] and rows[0][0].lower().startswith("class"):
        rows = rows[1:]
    if rows and all(len(row) == 3 and row[0] in ("1", "2", "3", "4") for row in rows):
        return Guess("ag_news", "CSV of a class from 1 to 4, title and description")
    return None


def _csv_rows(lines: list[str], delimiter: str) -> list[list[str]]:
    try:
        return [row for row in csv.reader(lines, delimiter=delimiter) if row]
    except csv.Error:
        return []


def _table(lines: list[str]) -> Guess | None:
    """Tell a table by a first line with the names that its columns have by themselves."""
    header = next(line for line in lines if line.strip())
    for delimiter in ",\t;|":
        rows = _csv_rows([header], delimiter)
        names = {cell.strip().lower() for row in rows for cell in row}
        if names & {"text", "sentence"} and names & {"label", "labels", "topic", "topics"}:
            return Guess("texts", "the first line names a text and a label")
    return None


def _columns(lines: list[str]) -> Guess | None:
    """Tell files of words and tags by their width and what the last columns hold."""
    with_documents = any(line.startswith(DOCSTART) for line in lines)
    rows = list(_word_rows(lines))
    widths = {len(row) for row in rows}
    if len(widths) != 1 or min(widths) < 2:
        return None
    width = widths.pop()
    tagged = [all(TAG.fullmatch(row[i]) for row in rows) for i in range(width)]
    chunks = [tagged[i] and all(CHUNK.fullmatch(row[i]) for row in rows) for i in range(width)]
    # A column of O alone says little.
    told = [tagged[i] and any(row[i] != "O" for row in rows) for i in range(width)]
    if width == 4 and tagged[2] and tagged[3]:
        why = "words with parts of speech, chunk and entity tags"
        return Guess("conll03", why, {} if with_documents else {"n_sents": 1})
    if width == 3 and told[2] and chunks[2] and not told[1]:
        return Guess("conll2000", "words with parts of speech and chunk tags")
    names = ["-"] * width
    for i in range(width):
        name = "chunk" if chunks[i] and told[i] else "ner" if told[i] else "-"
        if all(row[i] in POS_IDS for row in rows):
            name = "pos"
        names[i] = name if name not in names else "-"
    if set(names) == {"-"}:
        return None
    word = 1 if rows[0][0] in ("0", "1") and all(row[0].isdigit() for row in rows) else 0
    names[word] = "word"
    columns = ",".join(names)
    return Guess("columns", f"columns {columns}", {"columns": columns})


def _word_rows(lines: list[str]) -> Iterator[list[str]]:
    before_sentence = True
    for line in lines:
        if not line.strip(" \t"):
            before_sentence = True
        elif line.startswith(DOCSTART) or (before_sentence and COMMENT.match(line)):
            continue
        else:
            before_sentence = False
            yield line.split("\t") if "\t" in line else line.split()
