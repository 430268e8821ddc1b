"""The command `spacy multitask split`."""

import os

import pytest
import spacy
from spacy.cli._util import app
from spacy.tokens import Doc, DocBin
from typer.testing import CliRunner


@pytest.fixture
def file(tmp_path):
    vocab = spacy.blank("en").vocab
    docs = [Doc(vocab, words=[f"w{i}"]) for i in range(100)]
    DocBin(docs=docs).to_disk(tmp_path / "all.spacy")
    return tmp_path / "all.spacy"


def run(*arguments):
    spacy.util.registry.cli.get_all()
    return CliRunner().invoke(app, ["multitask", "split", *map(str, arguments)])


def words(path):
    return {doc.text for doc in DocBin().from_disk(path).get_docs(spacy.blank("en").vocab)}


def test_parts_do_not_overlap_and_the_seed_decides(file, tmp_path):
    def split(name, *options):
        train, dev = tmp_path / f"{name}-train.spacy", tmp_path / f"{name}-dev.spacy"
        result = run(file, train, dev, *options)
        assert result.exit_code == 0, result.output
        return words(train), words(dev), result.output

    train, dev, _ = split("a", "--fraction", 0.2)
    assert len(train) == 80 and len(dev) == 20 and not train & dev
    assert split("b", "--fraction", 0.2)[:2] == (train, dev)
    assert split("c", "--fraction", 0.2, "--seed", 1)[1] != dev
    small, same_dev, printed = split("d", "--fraction", 0.2, "--sample", 0.1)
    assert len(small) == 8 and same_dev == dev, "the sample does not change the dev part"
    assert "72 left out" in printed
    last = printed.splitlines()[-1]
    assert last.startswith("Next: python -m spacy multitask look ") and "d-train.spacy" in last


@pytest.mark.parametrize("options", [("--fraction", 0), ("--fraction", 1), ("--sample", 0)])
def test_wrong_shares_are_refused(file, tmp_path, options):
    result = run(file, tmp_path / "t.spacy", tmp_path / "d.spacy", *options)
    assert result.exit_code == 1 and options[0] in result.output


def test_a_missing_file_is_named(tmp_path):
    result = run(tmp_path / "no.spacy", tmp_path / "t.spacy", tmp_path / "d.spacy")
    assert result.exit_code == 1 and "no.spacy" in result.output


@pytest.mark.parametrize(
    ("train", "dev", "message"),
    [
        ("all.spacy", "d.spacy", "all.spacy: the output would replace an input"),
        ("t.spacy", "all.spacy", "all.spacy: the output would replace an input"),
        ("t.spacy", "link/t.spacy", "TRAIN and DEV are both"),
        ("t.bin", "d.spacy", "must end in '.spacy'"),
        ("t.spacy", "d", "must end in '.spacy'"),
    ],
)
def test_three_different_files_are_needed(file, tmp_path, train, dev, message):
    (tmp_path / "link").symlink_to(tmp_path)
    before = file.read_bytes()
    result = run(file, tmp_path / train, tmp_path / dev)
    assert result.exit_code == 1 and message in result.output
    assert file.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"all.spacy", "link"}


@pytest.mark.parametrize("n_docs", [0, 1])
def test_one_doc_cannot_be_split(tmp_path, n_docs):
    docs = [Doc(spacy.blank("en").vocab, words=["a"])] * n_docs
    DocBin(docs=docs).to_disk(tmp_path / "all.spacy")
    result = run(tmp_path / "all.spacy", tmp_path / "t.spacy", tmp_path / "d.spacy")
    assert result.exit_code == 1 and "at least 2 docs" in result.output
    assert not (tmp_path / "t.spacy").exists()


@pytest.mark.parametrize("fraction", [0.01, 0.99])
def test_both_parts_have_a_doc(tmp_path, fraction):
    vocab = spacy.blank("en").vocab
    docs = [Doc(vocab, words=[word]) for word in "ab"]
    DocBin(docs=docs).to_disk(tmp_path / "all.spacy")
    train, dev = tmp_path / "t.spacy", tmp_path / "d.spacy"
    result = run(tmp_path / "all.spacy", train, dev, "--fraction", fraction)
    assert result.exit_code == 0 and len(words(train)) == len(words(dev)) == 1


def test_a_failure_leaves_the_old_file_and_no_other(file, tmp_path, monkeypatch):
    def fail(source, target):
        raise OSError("disk full")

    (tmp_path / "t.spacy").write_bytes(b"old")
    monkeypatch.setattr(os, "replace", fail)
    result = run(file, tmp_path / "t.spacy", tmp_path / "d.spacy", "--overwrite")
    assert result.exit_code == 1 and "disk full" in result.output
    assert (tmp_path / "t.spacy").read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} == {"all.spacy", "t.spacy"}
