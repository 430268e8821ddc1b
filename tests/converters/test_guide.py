"""The commands of docs/data.md do what they say, on the samples of assets/."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import spacy
from spacy.cli._util import app
from spacy.tokens import DocBin
from typer.testing import CliRunner

import spacy_multitask.cli  # noqa: F401  adds its commands to spaCy's
from spacy_multitask.converters import FORMATS
from tests.converters.conftest import ASSETS

GUIDE = ASSETS.parents[1] / "docs" / "data.md"
# Files of the demo under the names that the corpora have.
DEMO = {
    "my.conllu": "pos/dev.conllu",
    "train.txt": "chunk/dev.txt",
    "eng.train": "ner/dev.txt",
    "train.csv": "topic/dev.csv",
}


def commands() -> list[list[str]]:
    text = GUIDE.read_text(encoding="utf8").replace("\\\n", " ")
    lines = re.findall(r"^python -m spacy (multitask convert .*)$", text, re.MULTILINE)
    return [shlex.split(line) for line in lines]


@pytest.fixture
def samples(tmp_path, monkeypatch):
    shutil.copytree(ASSETS, tmp_path, dirs_exist_ok=True)
    for name, source in DEMO.items():
        shutil.copyfile(ASSETS.parent / source, tmp_path / name)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("command", commands(), ids=lambda words: " ".join(words[2:]))
def test_the_command_converts_the_sample(command, samples):
    if "datasets" in command:
        library = pytest.importorskip("datasets", reason="the extra 'formats' is not installed")
        data = library.Dataset.from_dict({"tokens": [["Oslo"]], "ner_tags": [["B-LOC"]]})
        library.DatasetDict({"train": data, "test": data}).save_to_disk("dataset")
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "gold " in result.output
    output = next(word for word in command if word.endswith(".spacy"))
    docs = list(DocBin().from_disk(output).get_docs(spacy.blank("en").vocab))
    assert docs and all(len(doc) for doc in docs)


def test_every_format_has_a_command():
    shown = {command[2] for command in commands()}
    # The one needs three files that are not ours to show.
    assert shown == {*FORMATS, "auto"} - {"cleanconll"}


def test_every_sample_is_used():
    words = {word for command in commands() for word in command}
    unused = {path.name for path in Path(ASSETS).iterdir()} - words
    assert unused == {"texts.jsonl", "doccano_spans.jsonl", "doccano_topics.jsonl"}
