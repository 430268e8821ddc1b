"""Files and folders that are either the old ones or the new ones."""

import json
import os
import resource
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest

from spacy_multitask import safe_files
from spacy_multitask.safe_files import (
    SavingError,
    check_manifest,
    last_good,
    locked,
    manifest,
    new_file,
    new_folder,
    recover,
    write_json,
    write_text,
)


def write_folder(path, text: str) -> None:
    with new_folder(path) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "file").write_text(text)


def content(path) -> str:
    assert [p.name for p in path.rglob("*") if p.is_file()] == ["file"]
    return (path / "sub" / "file").read_text()


@pytest.fixture(params=[True, False], ids=["exchange", "two renames"])
def either_way(request, monkeypatch):
    if not request.param:
        monkeypatch.setattr(safe_files, "_exchange", lambda a, b: False)


def test_a_folder_replaces_another(tmp_path, either_way):
    for text in ("old", "new"):
        write_folder(tmp_path / "model", text)
        assert content(tmp_path / "model") == text
        assert os.listdir(tmp_path) == ["model"], "nothing is left beside it"


def test_folders_change_places_at_one_stroke(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    if not safe_files._exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this system or file system can't")
    assert (tmp_path / "a" / "file").read_text() == "b"
    assert (tmp_path / "b" / "file").read_text() == "a"


def test_a_folder_that_failed_leaves_the_old_one(tmp_path, either_way):
    write_folder(tmp_path / "model", "old")
    with pytest.raises(KeyError), new_folder(tmp_path / "model") as folder:
        (folder / "file").write_text("half")
        raise KeyError("in mid-write")
    assert content(tmp_path / "model") == "old"
    assert os.listdir(tmp_path) == ["model"]


def test_a_crash_between_two_renames_leaves_the_last_good_folder(tmp_path, monkeypatch):
    path = tmp_path / "model"
    write_folder(path, "old")
    monkeypatch.setattr(safe_files, "_exchange", lambda a, b: False)

    class Crash(BaseException):
        pass

    rename = os.rename

    def crash_at_second(source, target):
        if target == path:
            raise Crash
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", crash_at_second)
        patch.setattr(safe_files, "_remove_quietly", lambda path: None)  # a crash cleans nothing
        with pytest.raises(Crash):
            write_folder(path, "new")
    assert not path.exists()
    assert content(last_good(path)) == "old"
    recover(path)
    assert content(path) == "old"
    assert os.listdir(tmp_path) == ["model"]
    assert last_good(path) == path


def test_a_file_replaces_another(tmp_path):
    path = tmp_path / "made" / "file"
    for text in ("old", "new"):
        with new_file(path) as aside:
            aside.write_text(text)
            assert not path.exists() or path.read_text() == "old"
        assert path.read_text() == text
    assert os.listdir(path.parent) == ["file"]


@contextmanager
def small_files():
    """No file may grow over 1,000 bytes: writing fails half-way, as on a full disk. Nor may a log
    to which pytest writes, so this must end before the test does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_write_that_fails_half_way_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with (
        small_files(),
        pytest.raises(SavingError, match=r"Can't save .*file: File too large\. .* as it was"),
    ):
        with new_file(path) as aside:
            aside.write_bytes(b"x" * 2000)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_write_that_fails_half_way_leaves_the_old_folder(tmp_path):
    write_folder(tmp_path / "model", "old")
    with small_files(), pytest.raises(SavingError, match=r"Can't save .*model: File too large"):
        write_folder(tmp_path / "model", "x" * 2000)
    assert content(tmp_path / "model") == "old"
    assert os.listdir(tmp_path) == ["model"]


def test_of_folders_in_folders_the_outer_one_is_named(tmp_path):
    with (
        small_files(),
        pytest.raises(SavingError, match=rf"Can't save {tmp_path}/model: File too large"),
    ):
        with new_folder(tmp_path / "model") as folder:
            write_folder(folder / "transformer", "x" * 2000)
    assert os.listdir(tmp_path) == []


def test_a_place_that_takes_no_files_is_named(tmp_path):
    (tmp_path / "plain").write_text("a file where a folder should be")
    for new in (new_file, new_folder):
        with pytest.raises(SavingError, match=r"Can't save .*plain/model: Not a directory\."):
            with new(tmp_path / "plain" / "model"):
                pass


def test_a_folder_replaces_a_file(tmp_path, either_way):
    (tmp_path / "model").write_text("a file")
    write_folder(tmp_path / "model", "new")
    assert content(tmp_path / "model") == "new"
    assert os.listdir(tmp_path) == ["model"]


def test_a_folder_is_written_by_one_at_a_time(tmp_path):
    with locked(tmp_path / "out"):
        with pytest.raises(SavingError, match=r"Another process is writing to .*out\. Wait"):
            with locked(tmp_path / "out"):
                pass
        with locked(tmp_path / "other"):
            pass
    with locked(tmp_path / "out"):
        pass


def test_a_process_that_has_died_holds_no_lock(tmp_path):
    code = (
        "import os, pathlib; from spacy_multitask.safe_files import locked; "
        f"locked(pathlib.Path({str(tmp_path)!r})).__enter__(); print(1, flush=True); os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (9, b"1\n"), done.stderr
    with locked(tmp_path):
        pass


def test_a_device_is_written_to_and_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_text(tmp_path / "pipe", "Grüße")
    assert os.read(reader, 100).decode() == "Grüße"
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo() and os.listdir(tmp_path) == ["pipe"]


def test_json_holds_numbers_of_numpy_and_none_for_what_is_no_number(tmp_path):
    value = {"a": np.float32(0.5), "b": [np.int64(3), float("nan")], "c": (1.0, float("inf"))}
    write_json(tmp_path / "new" / "a.json", {**value, "d": np.array([1.0, np.nan])})
    found = json.loads((tmp_path / "new" / "a.json").read_text())
    assert found == {"a": 0.5, "b": [3, None], "c": [1.0, None], "d": [1.0, None]}
    with pytest.raises(TypeError, match="can't hold <object"):
        write_json(tmp_path / "b.json", [object()])
    assert not (tmp_path / "b.json").exists()


FILES = {"config.json": b"{}", "model.safetensors": b"weights"}


def test_a_manifest_is_satisfied_by_the_files_it_was_made_of():
    check_manifest({**FILES, "manifest.json": manifest(FILES)}, "here")
    check_manifest({**FILES, "manifest.json": manifest(FILES), "README": b"added"}, "here")


def test_files_without_a_manifest_are_taken():
    check_manifest(FILES, "here")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, r"here: the file model\.safetensors is missing"),
        (b"weight", r"model\.safetensors has 6 bytes and had 7"),
        (b"Weights", r"model\.safetensors is not what it was"),
    ],
)
def test_a_file_that_does_not_fit_the_manifest_is_named(data, message):
    files = {**FILES, "manifest.json": manifest(FILES), "model.safetensors": data}
    with pytest.raises(ValueError, match=message):
        check_manifest({name: data for name, data in files.items() if data is not None}, "here")


@pytest.mark.parametrize("data", [b"", b"[]", b'{"a": 1}', b'{"a": {"size": 1}}', b"\xff"])
def test_a_damaged_manifest_is_named(data):
    with pytest.raises(ValueError, match=r"here: manifest\.json is damaged"):
        check_manifest({**FILES, "manifest.json": data}, "here")
