"""Text files, line by line: plain or gzipped, with any line ends."""

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from .report import ConversionError, PathLike, error_at

# Bytes. Lines of the corpora have some kilobytes; a file without newlines is no text file.
MAX_LINE_LENGTH = 10_000_000
# Text shrinks to a third or so; a file that unpacks to this much more was made to fill a machine.
MAX_RATIO = 200
MIN_SUSPICIOUS_SIZE = 100_000_000  # bytes; shorter ones do no harm


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


def read_lines(path: PathLike, max_length: int | None = None) -> Iterator[tuple[int, str]]:
    r"""Read a plain or gzipped UTF-8 text file line by line.

    "\n" and "\r\n" end a line, and "\r" in a file whose first line has no other end. The other line
    breaks of Unicode do occur inside tokens.

    path (PathLike): The file. Compression is recognised by content, not by name.
    max_length (Optional[int]): Most bytes of a line; None for MAX_LINE_LENGTH.
    YIELDS (Tuple[int, str]): Number of the line, from 1, and the line without its line break.
    RAISES (ConversionError): If the bytes are not text: bad UTF-8, NUL, absurdly long lines, or a
        gzip file that is damaged or made to unpack without end.
    """
    path = check_is_file(path)
    max_length = MAX_LINE_LENGTH if max_length is None else max_length
    line_no = 0
    n_bytes = 0
    limit = max(MIN_SUSPICIOUS_SIZE, MAX_RATIO * path.stat().st_size)
    with _open_bytes(path) as file_:
        try:
            read_one = _reader_of(file_, max_length + 1)
            while raw := read_one():
                line_no += 1
                n_bytes += len(raw)
                if n_bytes > limit:
                    raise error_at(
                        path,
                        line_no,
                        f"the gzip file unpacks to more than {MAX_RATIO} times its size, which no "
                        "text does. If it is what you want, unpack it first.",
                    )
                if len(raw) > max_length and not raw.endswith((b"\n", b"\r")):
                    raise error_at(
                        path,
                        line_no,
                        f"the line is longer than {max_length:,} bytes. "
                        "Check that this is a text file with line breaks.",
                    )
                line = _decode(path, line_no, raw)
                if line_no == 1:
                    line = line.removeprefix("\ufeff")
                yield line_no, line.removesuffix("\n").removesuffix("\r")
        except (EOFError, gzip.BadGzipFile, zlib.error) as err:
            raise error_at(
                path,
                line_no + 1,
                f"the gzip file is damaged or cut short ({err}). Download it again.",
            ) from err


def read_text(path: PathLike) -> str:
    """RETURNS (str): A file's text as it is, with its line ends, where places in it are counted.

    RAISES (ConversionError): As `read_lines` does.
    """
    for _ in read_lines(path):
        pass
    with _open_bytes(Path(path)) as file_:
        return file_.read().decode("utf8")


def _reader_of(file_: BinaryIO, size: int) -> Callable[[], bytes]:
    """RETURNS (Callable): Reads the next line, or its first `size` bytes; nothing at the end."""
    first = file_.readline(size)
    file_.seek(0)
    if first.endswith(b"\n") or b"\r" not in first:
        return lambda: file_.readline(size)
    # Latin-1 has a character for each byte, so that lines are as they were.
    text = io.TextIOWrapper(file_, encoding="latin-1", newline="\r")
    return lambda: text.readline(size).encode("latin-1")


def _decode(path: PathLike, line_no: int, raw: bytes) -> str:
    if b"\0" in raw:
        raise error_at(
            path,
            line_no,
            "the line has a NUL byte. Check that this is a text file, saved as UTF-8.",
        )
    try:
        return raw.decode("utf8")
    except UnicodeDecodeError as err:
        raise error_at(
            path,
            line_no,
            f"byte {raw[err.start]:#04x} at byte {err.start + 1} of the line is not UTF-8. "
            "Save the file as UTF-8.",
        ) from err
