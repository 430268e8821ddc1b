"""The command `spacy multitask merge`."""

import pytest
import spacy
from spacy.tokens import Doc, DocBin
from typer.testing import CliRunner

from spacy_multitask.cli import app


def run(*arguments):
    return CliRunner().invoke(app, ["merge", *map(str, arguments)])


@pytest.fixture
def files(tmp_path):
    vocab = spacy.blank("en").vocab
    tagged = Doc(vocab, words=["a", "b"], tags=["X", "Y"])
    labelled = Doc(vocab, words=["a", "b"])
    labelled.cats = {"A": 1.0}
    for name, doc in (("one", tagged), ("two", labelled), ("far", Doc(vocab, words=["z"]))):
        DocBin(docs=[doc], store_user_data=True).to_disk(tmp_path / f"{name}.spacy")
    return tmp_path


def test_both_layers_are_in_the_file_that_is_written(files):
    result = run(files / "one.spacy", files / "two.spacy", files / "out.spacy")
    assert result.exit_code == 0, result.output
    assert "1 docs joined" in result.output
    (doc,) = DocBin().from_disk(files / "out.spacy").get_docs(spacy.blank("en").vocab)
    assert doc.cats == {"A": 1.0} and [token.tag_ for token in doc] == ["X", "Y"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("one", "far", "out"), "have no text in common"),
        (("one", "none", "out"), "There is no file"),
        (("one", "two", "two"), "the output would replace an input"),
    ],
)
def test_files_that_do_not_fit_are_refused(files, names, message):
    result = run(*(files / f"{name}.spacy" for name in names))
    assert result.exit_code == 1 and message in result.output
    assert not (files / "out.spacy").exists()
