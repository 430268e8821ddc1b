"""What is wrong with a pipeline's folder is said in a line."""

import os
import shutil

import numpy as np
import pytest
import spacy
from typer.testing import CliRunner

from spacy_multitask.cli import app
from spacy_multitask.loading import load_pipeline

FILES = [
    "config.cfg",
    "meta.json",
    "tokenizer",
    "vocab/strings.json",
    "vocab/lookups.bin",
    "vocab/key2row",
    "vocab/vectors",
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    nlp = spacy.blank("en")
    nlp.vocab.set_vector("word", np.ones(4, dtype="f"))
    path = tmp_path_factory.mktemp("saved") / "model"
    nlp.to_disk(path)
    return path


@pytest.fixture
def folder(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "model")
    return tmp_path / "model"


def refusal(folder) -> str:
    with pytest.raises(ValueError) as caught:
        load_pipeline(folder)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_whole_folder_is_loaded(folder):
    assert load_pipeline(folder).vocab.has_vector("word")
    assert all((folder / name).is_file() for name in FILES)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["cut off", "garbage", "not UTF-8", "a pipe", "a loop", "deep"])
def test_a_damaged_file_is_named(folder, name, how):
    file = folder / name
    data = file.read_bytes()
    file.unlink()
    if how == "a pipe":
        os.mkfifo(file)
    elif how == "a loop":
        file.symlink_to(file.name)
    else:
        deep = b"[" * 10**6 if "." in name else b"\x91" * 10**6
        spoiled = {"cut off": data[: len(data) // 3], "garbage": b"\x00]garbage", "deep": deep}
        file.write_bytes(spoiled.get(how, b"\xff\xfe\xfa"))
    assert str(file) in refusal(folder)


def test_commands_name_it(folder):
    (folder / "meta.json").write_text("{")
    corpus = folder / "c.spacy"
    corpus.touch()
    done = CliRunner().invoke(app, ["evaluate", str(folder), "--corpus", f"a={corpus}"])
    assert done.exit_code == 1
    assert str(folder / "meta.json") in done.output
    assert len(done.output.strip().splitlines()) == 1


def test_what_is_nowhere_is_said_as_spacy_does(tmp_path):
    with pytest.raises(OSError, match=r"E05[02]"):
        load_pipeline(tmp_path / "none")
