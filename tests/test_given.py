"""What the functions for Python say of arguments that they can't use."""

import pytest
import spacy

import spacy_multitask
from spacy_multitask.given import given_docs


def test_one_doc_is_taken_as_well_as_several():
    doc = spacy.blank("en")("Rain fell")
    assert given_docs(doc, "f") == [doc]
    assert given_docs(iter([doc, doc]), "f") == [doc, doc]


@pytest.mark.parametrize("wrong", ["Rain fell", ["Rain fell"], b"Rain", 3, None])
def test_anything_else_is_refused(wrong):
    with pytest.raises(ValueError, match=r"f takes a Doc, or several, not .*nlp\(text\)"):
        given_docs(wrong, "f")


def test_a_text_is_not_drawn():
    with pytest.raises(ValueError, match="visualize takes a Doc"):
        spacy_multitask.visualize("Rain fell")


def test_probabilities_of_a_single_doc(trained):
    doc = trained.make_doc("Mr Smith")
    for name in ("ner", "chunker"):
        (one,), (other,) = (trained.get_pipe(name).probs(docs) for docs in (doc, [doc]))
        assert one.shape == other.shape and (one == other).all()
    assert [len(found) for found in trained.get_pipe("tagger").probs(doc)["tags"]] == [2]


def test_a_config_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"no config file .*nowhere\.cfg"):
        spacy_multitask.train(tmp_path / "nowhere.cfg", tmp_path / "out")
    assert not (tmp_path / "out").exists()
