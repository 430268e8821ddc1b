"""Files of docs that can't be read are named, whoever opens them."""

import zlib

import pytest
import spacy
import srsly
from spacy.tokens import Doc, DocBin
from typer.testing import CliRunner

from spacy_multitask.cli import app
from spacy_multitask.corpus.files import load_doc_bin
from spacy_multitask.corpus.leaks import check_leaks
from spacy_multitask.corpus.reader import make_multi_corpus
from spacy_multitask.corpus.survey import survey

MESSAGE = r"part\.spacy is damaged, cut short, or no \.spacy file\. Convert its corpus again"


@pytest.fixture
def damaged(tmp_path):
    vocab = spacy.blank("en").vocab
    data = DocBin(docs=[Doc(vocab, words=[f"w{i}"]) for i in range(100)]).to_bytes()
    (tmp_path / "part.spacy").write_bytes(data[:200])
    return tmp_path / "part.spacy"


def test_a_whole_file_is_opened(tmp_path):
    vocab = spacy.blank("en").vocab
    DocBin(docs=[Doc(vocab, words=["a", "b"])]).to_disk(tmp_path / "part.spacy")
    (doc,) = load_doc_bin(tmp_path / "part.spacy").get_docs(vocab)
    assert [token.text for token in doc] == ["a", "b"]


@pytest.mark.parametrize(
    "data",
    [b"", b"word NN\n", *(zlib.compress(srsly.msgpack_dumps(x)) for x in ({}, [], {"attrs": 1}))],
)
def test_other_files_are_refused(tmp_path, data):
    (tmp_path / "part.spacy").write_bytes(data)
    with pytest.raises(ValueError, match=MESSAGE):
        load_doc_bin(tmp_path / "part.spacy")


def test_every_reader_names_a_damaged_file(damaged):
    reader = make_multi_corpus({"a": {"path": str(damaged)}})
    for read in (
        lambda: check_leaks({"a": damaged}, []),
        lambda: check_leaks({}, [("a", damaged)]),
        lambda: list(reader.docs("a")),
        lambda: list(reader(spacy.blank("en"))),
        lambda: survey(damaged, {}),
    ):
        with pytest.raises(ValueError, match=MESSAGE):
            read()


def test_split_names_a_damaged_file(damaged, tmp_path):
    arguments = ["split", str(damaged), str(tmp_path / "a.spacy"), str(tmp_path / "b.spacy")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1 and "part.spacy is damaged" in done.output
