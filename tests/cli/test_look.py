"""The command `spacy multitask look`."""

import json

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


def test_a_page_and_json_hold_what_the_terminal_shows(tmp_path):
    vocab = spacy.blank("en").vocab
    DocBin(docs=[Doc(vocab, words=["<b>", "b"], tags=["<i>", "Y"])]).to_disk(tmp_path / "x.spacy")
    page = tmp_path / "look.html"
    result = run(tmp_path / "x.spacy", "--html", page, "--json", "-")
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout).values()
    assert found["docs"] == 1 and found["words"] == 2
    assert found["layers"]["tag"] == {"docs": 1, "labels": {"<i>": 1, "Y": 1}}
    assert found["warnings"] and found["lengths"] == {"1 to 4": 1}
    text = page.read_text()
    assert (
        "&lt;i&gt;" in text and "<i>" not in text and found["warnings"][0].startswith("tag: fewer")
    )
    assert "tag: fewer than 20" in text
    again = run(tmp_path / "x.spacy", "--html", page)
    assert again.exit_code == 1 and "already there" in again.stderr
