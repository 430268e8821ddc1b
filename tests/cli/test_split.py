"""The command `spacy multitask split`."""

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


@pytest.mark.parametrize("options", [("--fraction", 0), ("--fraction", 1), ("--sample", 0)])
def test_wrong_shares_are_refused(file, tmp_path, options):
    result = run(file, tmp_path / "t.spacy", tmp_path / "d.spacy", *options)
    assert result.exit_code == 1 and options[0] in result.output


def test_a_missing_file_is_named(tmp_path):
    result = run(tmp_path / "no.spacy", tmp_path / "t.spacy", tmp_path / "d.spacy")
    assert result.exit_code == 1 and "no.spacy" in result.output
