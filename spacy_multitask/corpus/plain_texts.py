"""Texts without annotation, in any of the forms that people keep them in."""

from collections.abc import Iterator
from pathlib import Path

from spacy.vocab import Vocab

from ..converters.lines import check_is_file, read_lines
from ..converters.report import ConversionError
from ..converters.tables import open_table
from .files import load_doc_bin


def read_plain_texts(path: Path) -> Iterator[str]:
    """Read the texts of a file: a line each, the column "text" of a table, or docs.

    YIELDS (str): The texts.
    RAISES (ConversionError): If there is no such file or column, or it is damaged.
    """
    check_is_file(path)
    kind = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if kind == ".spacy":
        yield from (doc.text for doc in load_doc_bin(path).get_docs(Vocab()))
    elif kind in (".txt", ""):
        yield from (line for _, line in read_lines(path))
    else:
        table = open_table(path)
        if "text" not in table.columns:
            raise ConversionError(
                f"{path}: none of the columns {', '.join(map(str, table.columns))} is called "
                "'text'. Rename it, or give a .txt file with a text in each line."
            )
        yield from (row.get("text", str, "") for row in table.rows())
