import gzip

import pytest

from spacy_multitask.converters import ConversionError, lines
from spacy_multitask.converters.lines import read_lines


def test_lines_of_plain_and_gzipped_files_are_numbered_from_one(write):
    assert list(read_lines(write("a\n\nb"))) == [(1, "a"), (2, ""), (3, "b")]
    assert list(read_lines(write("a\n\nb", "c.gz"))) == [(1, "a"), (2, ""), (3, "b")]


def test_gzip_is_recognised_without_its_suffix(write):
    assert list(read_lines(write(gzip.compress(b"a\n", mtime=0)))) == [(1, "a")]


def test_windows_line_breaks_and_byte_order_mark_are_dropped(write):
    assert list(read_lines(write(b"\xef\xbb\xbfa\r\nb\r\n"))) == [(1, "a"), (2, "b")]


@pytest.mark.parametrize("name", ["mac.txt", "mac.txt.gz"])
def test_carriage_returns_alone_end_lines_too(write, name):
    assert list(read_lines(write(b"a b\r\rc\xc3\xa9\r", name))) == [(1, "a b"), (2, ""), (3, "cé")]
    # In a file with other line ends they are part of the line.
    assert list(read_lines(write(b"a\n\rb\r\n", name))) == [(1, "a"), (2, "\rb")]


def test_an_error_behind_carriage_returns_names_its_line(write):
    with pytest.raises(ConversionError, match=r"corpus.txt:3: byte 0xe9 at byte 2 of the line"):
        list(read_lines(write(b"a\rb\rc\xe9\r")))


def test_line_breaks_of_unicode_do_not_end_a_line(write):
    text = "a\u2028b\x0bc\x85d\x1ce"
    assert list(read_lines(write(text))) == [(1, text)]


@pytest.mark.parametrize(
    "data, message",
    [
        (b"a\nb\xe9b\n", r"corpus.txt:2: byte 0xe9 at byte 2 of the line is not UTF-8"),
        (b"a\nb\0\n", r"corpus.txt:2: the line has a NUL byte"),
        ("a\n".encode("utf16"), r"corpus.txt:1: the line has a NUL byte"),
        (gzip.compress(b"a\n" * 5000, mtime=0)[:-9], r"corpus.txt:\d+: the gzip file is damaged"),
        (
            gzip.compress(b"a\nb\n", mtime=0)[:12] + b"xxxxxxxxxxxx",
            r"corpus.txt:\d: the gzip file is dam",
        ),
    ],
)
def test_bytes_that_are_not_text_are_errors_with_their_line(write, data, message):
    with pytest.raises(ConversionError, match=message):
        list(read_lines(write(data)))


def test_an_absurdly_long_line_is_an_error(write, monkeypatch):
    monkeypatch.setattr(lines, "MAX_LINE_LENGTH", 5)
    with pytest.raises(ConversionError, match=r"corpus.txt:2: the line is longer than 5 bytes"):
        list(read_lines(write("12345\n123456\n")))


def test_a_missing_file_and_a_directory_are_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        list(read_lines(tmp_path / "none.txt"))
    with pytest.raises(ConversionError, match=r"is a directory\. Convert its files one by one"):
        list(read_lines(tmp_path))


def test_a_gzip_file_that_unpacks_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "MIN_SUSPICIOUS_SIZE", 100_000)
    path = tmp_path / "bomb.txt.gz"
    path.write_bytes(gzip.compress(b"a\n" * 1_000_000, mtime=0))
    with pytest.raises(ConversionError, match=r"bomb\.txt\.gz:[0-9]+: .*200 times its size"):
        for line_no, _ in read_lines(path):
            assert line_no < 300_000, "it is noticed long before the end"
