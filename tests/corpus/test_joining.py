from collections import Counter

import pytest
import spacy
from spacy.tokens import Doc, Span

from spacy_multitask.corpus.joining import merge_docs
from spacy_multitask.relations import get_relations, set_relations


@pytest.fixture
def vocab():
    return spacy.blank("en").vocab


def merge(one, other):
    counts = Counter()
    return list(merge_docs([one], [other], counts)), dict(counts)


def with_entities(vocab, words, *spans, missing=()):
    doc = Doc(vocab, words=words)
    ents = [Span(doc, start, end, label=label) for start, end, label in spans]
    doc.set_ents(ents, missing=[doc[i : i + 1] for i in missing])
    return doc


def ents(doc):
    return [(ent.text, ent.label_) for ent in doc.ents]


def test_layers_of_the_same_tokens_are_joined(vocab):
    one = Doc(vocab, words=["Nora", "left"], spaces=[True, False], tags=["NNP", "VBD"])
    other = with_entities(vocab, ["Nora", "left"], (0, 1, "PER"))
    other.spans["np"] = [Span(other, 0, 1, label="NP")]
    other.cats = {"A": 1.0}
    set_relations(other, [])
    (doc,), counts = merge(one, other)
    assert [token.tag_ for token in doc] == ["NNP", "VBD"] and doc.text == "Nora left"
    assert ents(doc) == [("Nora", "PER")] and doc[1].ent_iob_ == "O"
    assert [span.label_ for span in doc.spans["np"]] == ["NP"]
    assert doc.cats == {"A": 1.0} and doc.user_data and get_relations(doc) == []
    assert counts == {"docs joined": 1}


def test_trees_and_lemmas_go_over(vocab):
    one = with_entities(vocab, ["a", "b"], (0, 1, "X"))
    other = Doc(vocab, words=["a", "b"], lemmas=["A", "B"], heads=[1, 1], deps=["x", "ROOT"])
    (doc,), _ = merge(one, other)
    assert [(t.lemma_, t.head.i, t.dep_) for t in doc] == [("A", 1, "x"), ("B", 1, "ROOT")]
    assert ents(doc) == [("a", "X")]


def test_what_both_have_stays_as_in_the_first(vocab):
    one = with_entities(vocab, ["a", "b"], (0, 1, "X"))
    one.cats = {"A": 1.0, "B": 0.0}
    other = with_entities(vocab, ["a", "b"], (1, 2, "X"))
    other.cats = {"A": 0.0, "C": 1.0}
    (doc,), counts = merge(one, other)
    assert ents(doc) == [("a", "X")]
    assert doc.cats == {"A": 1.0, "B": 0.0, "C": 1.0}
    assert counts == {
        "topics that differ: kept as in the first file": 1,
        "docs with ner in both files: kept as in the first": 1,
        "docs joined": 1,
    }


def test_spans_go_over_to_other_tokens(vocab):
    one = Doc(vocab, words=["New", "York-based", " ", "firm"], tags=["A", "B", "_SP", "C"])
    words = ["New", "York", "-", "based", "firm"]
    other = with_entities(vocab, words, (0, 2, "LOC"), (4, 5, "ORG"))
    other.spans["np"] = [Span(other, 0, 4, label="NP")]
    other.spans["sc"] = [Span(other, 1, 2, label="X")]
    (doc,), counts = merge(one, other)
    assert ents(doc) == [("firm", "ORG")]
    assert [token.ent_iob_ for token in doc] == ["", "", "O", "B"]
    assert [(span.start, span.end) for span in doc.spans["np"]] == [(0, 2)]
    assert "sc" not in doc.spans
    assert counts == {
        "docs whose spans sc cut a token of the first file: left out": 1,
        "entities that cut a token of the first file: unknown": 1,
        "docs joined": 1,
    }


def test_tags_of_other_tokens_are_left_out_and_counted(vocab):
    one = with_entities(vocab, ["ab"], (0, 1, "X"))
    other = Doc(vocab, words=["a", "b"], spaces=[False, False], tags=["A", "B"])
    (doc,), counts = merge(one, other)
    assert not doc.has_annotation("TAG")
    assert counts == {"docs whose tag is of other tokens: left out": 1, "docs joined": 1}


def test_unknown_tokens_stay_unknown(vocab):
    one = Doc(vocab, words=["a", "bc"], tags=["A", "B"])
    other = with_entities(vocab, ["a", "b", "c"], (0, 1, "X"), missing=[2])
    (doc,), _ = merge(one, other)
    assert [token.ent_iob_ for token in doc] == ["B", ""]


def test_docs_of_one_file_alone_are_kept_and_the_same_text_is_joined_in_turn(vocab):
    ones = [Doc(vocab, words=[word]) for word in "aab"]
    others = [Doc(vocab, words=[word], tags=[tag]) for word, tag in ("aX", "aY", "cZ")]
    counts = Counter()
    docs = list(merge_docs(ones, others, counts))
    assert [(doc.text.strip(), doc[0].tag_) for doc in docs] == [
        ("a", "X"), ("a", "Y"), ("b", ""), ("c", "Z")
    ]  # fmt: skip
    assert counts == {
        "docs joined": 2,
        "docs of the first file alone": 1,
        "docs of the second file alone": 1,
    }
