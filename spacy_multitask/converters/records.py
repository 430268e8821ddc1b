"""JSON records, one in a line or all in a list, with checked access to their fields."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from .lines import read_lines
from .report import ConversionError, PathLike, error_at

# Bytes. A list of records may stand in one line.
MAX_JSON_LENGTH = 2_000_000_000
_NEEDED = object()
_KINDS: dict[type | tuple[type, ...], str] = {
    str: "a text",
    int: "a whole number",
    list: "a list",
    dict: "an object",
    bool: "true or false",
    (str, int): "a text or a number",
}


class Record(NamedTuple):
    """A JSON object of a file, or one within it.

    path (PathLike): The file.
    line (Union[int, str]): Its line, or "record 3".
    fields (Dict[str, Any]): What it holds.
    name (str): What it is called in errors, such as "spans[0]."; empty for a whole record.
    """

    path: PathLike
    line: int | str
    fields: dict[str, Any]
    name: str = ""

    def error(self, message: str) -> ConversionError:
        return error_at(self.path, self.line, message)

    def get(self, key: str, kind: Any, default: Any = _NEEDED) -> Any:
        """Return a field of a kind; null counts as missing.

        RAISES (ConversionError): If it is missing without a default, or of another kind.
        """
        value = self.fields.get(key)
        if value is None:
            if default is not _NEEDED:
                return default
            raise self.error(
                f"there is no {self.name}{key}, which must be {_KINDS[kind]}. The record has "
                f"{', '.join(self.fields) or 'nothing'}."
            )
        # JSON's true is no number, though Python takes it for 1.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(f"{self.name}{key} is {shorten(value)}, but must be {_KINDS[kind]}.")
        return value

    def within(self, key: str) -> "Record | None":
        """RETURNS (Optional[Record]): The object under a key, if there is one."""
        value = self.get(key, dict, None)
        return None if value is None else self._replace(fields=value, name=f"{self.name}{key}.")

    def items(self, key: str) -> "list[Record]":
        """RETURNS (List[Record]): The objects in the list under a key; none if it is missing."""
        return [self.item(f"{key}[{i}]", value) for i, value in enumerate(self.get(key, list, []))]

    def item(self, key: str, value: Any) -> "Record":
        if not isinstance(value, dict):
            raise self.error(f"{self.name}{key} is {shorten(value)}, but must be an object.")
        return self._replace(fields=value, name=f"{self.name}{key}.")

    def texts(self, key: str) -> list[str]:
        """RETURNS (List[str]): The texts in the list under a key; numbers become texts."""
        values = self.get(key, list)
        for value in values:
            if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
                raise self.error(
                    f"{self.name}{key} holds {shorten(value)}, but must hold texts that are not "
                    "empty."
                )
        return [str(value) for value in values]


def shorten(value: Any) -> str:
    """RETURNS (str): A value as Python writes it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def read_records(path: PathLike) -> Iterator[Record]:
    """Read the objects of a JSON lines file, or of a JSON file that holds a list of them.

    path (PathLike): The file, plain or gzipped.
    YIELDS (Record): The objects, one by one; a list is read whole.
    RAISES (ConversionError): If it is not JSON, or something stands in an object's place.
    """
    in_list = None
    for line_no, line in read_lines(path, MAX_JSON_LENGTH):
        if not line.strip():
            continue
        if in_list is None:
            in_list = line.lstrip().startswith("[")
        if in_list:
            yield from _read_list(path)
            return
        value = _parse(path, line_no, line)
        if not isinstance(value, dict):
            raise error_at(path, line_no, f"{shorten(value)} is not an object: {{...}}.")
        yield Record(path, line_no, value)


def _read_list(path: PathLike) -> Iterator[Record]:
    text = "\n".join(line for _, line in read_lines(path, MAX_JSON_LENGTH))
    for number, value in enumerate(_parse(path, None, text), start=1):
        place = f"record {number}"
        if not isinstance(value, dict):
            raise error_at(path, place, f"{shorten(value)} is not an object: {{...}}.")
        yield Record(path, place, value)


def _parse(path: PathLike, line_no: int | None, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as err:
        raise error_at(
            path,
            line_no or err.lineno,
            f"this is not JSON: {err.msg} at character {err.colno}. Save the records one in a "
            "line, or all in one list.",
        ) from err
    except (ValueError, RecursionError) as err:
        raise error_at(path, line_no or 1, f"this JSON can't be read: {err}.") from err
