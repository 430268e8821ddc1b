from collections import Counter

import pytest
import spacy
from spacy.tokens import Doc, Span

from spacy_multitask.corpus.hold_out import groups_of, hold_out, labels_of


@pytest.fixture(scope="module")
def vocab():
    return spacy.blank("en").vocab


def topics(vocab, names):
    docs = []
    for i, name in enumerate(names):
        doc = Doc(vocab, words=[f"w{i}"])
        doc.cats = {label: float(label in name.split("+")) for label in "ABC"}
        docs.append(doc)
    return docs


@pytest.mark.parametrize("seed", range(5))
def test_each_label_has_its_share_in_both_parts(vocab, seed):
    docs = topics(vocab, ["A"] * 80 + ["B"] * 15 + ["C"] * 5)
    out = hold_out(docs, 0.2, seed)
    assert Counter(label for i in out for label in labels_of(docs[i])) == {
        "topic A": 16, "topic B": 3, "topic C": 1
    }  # fmt: skip


def test_a_rare_label_beside_a_frequent_one_has_its_share(vocab):
    docs = topics(vocab, ["A"] * 40 + ["A+C"] * 10)
    out = hold_out(docs, 0.2, 0)
    assert len(out) == 10
    assert sum(docs[i].cats["C"] for i in out) == 2


def test_entities_and_chunks_count_as_labels(vocab):
    doc = Doc(vocab, words=["a", "b"])
    doc.ents = [Span(doc, 0, 1, label="PER")]
    doc.spans["np"] = [Span(doc, 0, 2, label="NP")]
    doc.cats = {"A": 1.0, "B": 0.0}
    assert labels_of(doc) == {"topic A", "entity PER", "np NP"}


def test_groups_stay_together(vocab):
    docs = topics(vocab, ["A"] * 60)
    for i, doc in enumerate(docs):
        doc.user_data["group"] = i // 6
    out = hold_out(docs, 0.2, 0)
    assert len(out) == 12
    assert len({i // 6 for i in out}) == 2, "two whole groups of six"


def test_docs_of_the_same_words_or_one_group_are_joined_over_others(vocab):
    docs = [Doc(vocab, words=[word]) for word in "abcad"]
    docs[1].user_data["group"] = docs[3].user_data["group"] = "x"
    assert groups_of(docs) == [[0, 1, 3], [2], [4]]


def test_a_large_group_does_not_take_all(vocab):
    docs = topics(vocab, ["A"] * 10)
    for doc in docs[:9]:
        doc.user_data["group"] = 1
    for fraction in (0.01, 0.5, 0.99):
        assert 0 < len(hold_out(docs, fraction, 0)) < 10


def test_one_group_cannot_be_split(vocab):
    with pytest.raises(ValueError, match="all are of one group, or have the same words"):
        hold_out([Doc(vocab, words=["a"])] * 3, 0.5, 0)
