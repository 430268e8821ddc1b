"""The script that unpacks corpora."""

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts/unpack.py"
TEXT = "".join(f"word {i}\n" for i in range(1000)).encode()


def unpack(source, target):
    command = [sys.executable, str(SCRIPT), str(source), str(target)]
    return subprocess.run(command, capture_output=True, text=True)


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source" / "a").mkdir(parents=True)
    return tmp_path / "source"


def test_packed_files_are_unpacked_and_others_copied_once(source, tmp_path):
    (source / "a" / "one.txt.gz").write_bytes(gzip.compress(TEXT, mtime=0))
    (source / "two.txt").write_bytes(TEXT)
    done = unpack(source, tmp_path / "target")
    assert done.returncode == 0 and done.stdout.startswith("2 files unpacked")
    assert files(tmp_path / "target") == {"a/one.txt", "two.txt"}
    assert (tmp_path / "target" / "a" / "one.txt").read_bytes() == TEXT
    assert unpack(source, tmp_path / "target").stdout.startswith("0 files unpacked")


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(TEXT, mtime=0)[:100],
        b"no gzip file",
        gzip.compress(TEXT, mtime=0)[:-8] + b"01234567",
        gzip.compress(TEXT, mtime=0)[:20] + b"\xff" * 50,
    ],
    ids=["cut short", "another kind", "wrong checksum", "damaged"],
)
def test_a_damaged_file_is_named_and_nothing_of_it_left(source, tmp_path, data):
    (source / "a" / "one.txt.gz").write_bytes(data)
    for target in (tmp_path / "target", source):
        done = unpack(source, target)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1 and "a/one.txt.gz" in done.stderr
        assert "get it again" in done.stderr
        assert files(target) - {"a/one.txt.gz"} == set()


def test_a_target_that_is_a_file_is_named(source, tmp_path):
    (source / "two.txt").write_bytes(TEXT)
    (tmp_path / "target").write_bytes(b"")
    done = unpack(source, tmp_path / "target")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert str(tmp_path / "target") in done.stderr


def test_a_folder_without_files_is_an_error(source, tmp_path):
    for folder in (source, source / "nowhere"):
        done = unpack(folder, tmp_path / "target")
        assert done.returncode == 1 and done.stderr.startswith(f"No files are in {folder}. ")
