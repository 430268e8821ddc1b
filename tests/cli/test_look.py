"""The command `spacy multitask look`."""

import spacy
from spacy.tokens import Doc, DocBin
from typer.testing import CliRunner

from spacy_multitask.cli import app


def run(*arguments):
    return CliRunner().invoke(app, ["look", *map(str, arguments)])


def test_each_corpus_is_shown(tmp_path):
    vocab = spacy.blank("en").vocab
    for name, tags in (("one", ["X", "Y"]), ("two", ["Z", "Z"])):
        doc = Doc(vocab, words=["a", "b"], tags=tags)
        (tmp_path / name).mkdir()
        DocBin(docs=[doc]).to_disk(tmp_path / name / "train.spacy")
    result = run(tmp_path / "one", tmp_path / "two" / "train.spacy")
    assert result.exit_code == 0, result.output
    one, two = result.output.split(f"{tmp_path / 'two' / 'train.spacy'}: ")
    assert one.startswith(f"{tmp_path / 'one'}: 1 docs, 2 words")
    assert "X" in one and "Z" not in one and "Z" in two


def test_a_folder_without_docs_is_an_error(tmp_path):
    result = run(tmp_path)
    assert result.exit_code == 1 and f"There are no docs in {tmp_path}" in result.stderr
