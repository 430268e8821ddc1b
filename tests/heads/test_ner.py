"""Entities beside those that a component before has set."""

import pytest
from spacy.tokens import Doc, Span

SMITH = ["Mr", "Smith", "loves", "New", "York"]


def found(doc):
    return [(ent.text, ent.label_) for ent in doc.ents]


def test_entities_that_are_there_stay(trained):
    doc = Doc(trained.vocab, words=SMITH)
    doc.set_ents([Span(doc, 0, 2, label="TITLE")])
    assert found(trained(doc)) == [("Mr Smith", "TITLE"), ("New York", "LOC")]


@pytest.mark.parametrize("blocked", [(4, 5), (3, 5), (2, 4)])
def test_blocked_tokens_stay_outside(trained, blocked):
    doc = Doc(trained.vocab, words=SMITH)
    doc.set_ents([], blocked=[doc[slice(*blocked)]], default="missing")
    doc = trained(doc)
    assert found(doc) == [("Smith", "PER")]
    # They stay blocked, as spaCy's recogniser leaves them.
    expected = ["O", "B", "O", "O", "O"]
    expected[slice(*blocked)] = ["B"] * (blocked[1] - blocked[0])
    assert [token.ent_iob_ for token in doc] == expected


def test_blocked_tokens_beside_entities_that_are_there(trained):
    doc = Doc(trained.vocab, words=SMITH)
    doc.set_ents([Span(doc, 0, 1, label="TITLE")], blocked=[doc[1:2]], default="missing")
    doc = trained(doc)
    assert found(doc) == [("Mr", "TITLE"), ("New York", "LOC")]
    assert [token.ent_iob_ for token in doc] == ["B", "B", "O", "B", "I"]


def test_a_doc_that_is_blocked_whole_has_no_entities(trained):
    doc = Doc(trained.vocab, words=SMITH)
    doc.set_ents([], blocked=[doc[:]])
    assert found(trained(doc)) == []
