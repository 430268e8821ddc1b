import pytest
import spacy
from spacy.tokens import Doc, Span

from spacy_multitask.corpus.overview import Look
from spacy_multitask.relations import set_relations


@pytest.fixture
def vocab():
    return spacy.blank("en").vocab


def look_at(*docs):
    look = Look()
    for doc in docs:
        look.add(doc)
    return look


def full(vocab):
    doc = Doc(vocab, words=["Nora", "left", "Elding"], tags=["NNP", "VBD", ""])
    ents = [Span(doc, 0, 1, label="PER"), Span(doc, 2, 3, label="LOC")]
    doc.set_ents(ents, missing=[doc[1:2]])
    doc.spans["np"] = [Span(doc, 0, 1, label="NP")]
    doc.cats = {"A": 1.0, "B": 0.0}
    set_relations(doc, [(ents[0], ents[1], "LEFT", 1.0)])
    return doc


def test_gold_is_counted_by_layer_and_label_with_an_example(vocab):
    look = look_at(full(vocab))
    shown = look.render()
    assert shown.startswith(
        "1 docs, 3 words\n  words in a doc:\n           1 to 4          1  ####"
    )
    for line in (
        "  tag: known of 1 docs, 2 items",
        "    NNP                     1  Nora",
        "  ner: known of 1 docs, 2 items",
        "    LOC                     1  Elding",
        "  spans np: known of 1 docs, 1 items",
        "  topic: known of 1 docs, 1 items",
        "    A                       1  Nora left Elding",
        "    B                       0",
        "    LEFT                    1  Nora -> Elding",
        "  ! tag: nothing is known of 33.3% of the words in its docs.",
        "  ! ner: nothing is known of 33.3% of the words in its docs.",
        "  ! topic: fewer than 20 of A, B. They are hard to learn, and their scores say little.",
    ):
        assert f"{line}\n" in f"{shown}\n", line


def test_layers_that_say_that_there_is_nothing_are_known(vocab):
    doc = Doc(vocab, words=["a"])
    doc.ents = []
    doc.spans["np"] = []
    shown = look_at(doc).render()
    assert "  ner: known of 1 docs\n  spans np: known of 1 docs" in shown


def test_lengths_are_shown_as_bars(vocab):
    docs = [Doc(vocab, words=["a"] * n) for n in (1, 4, 5, 1000, 2000)]
    lines = look_at(*docs).render().splitlines()[2:5]
    assert [line.split() for line in lines] == [
        ["1", "to", "4", "2", "#" * 30],
        ["5", "to", "9", "1", "#" * 15],
        ["1000", "and", "more", "2", "#" * 30],
    ]


def test_what_looks_wrong_is_said(vocab):
    frequent = [Doc(vocab, words=[f"w{i}"]) for i in range(400)]
    for i, doc in enumerate(frequent):
        doc.cats = {"A": float(i >= 20), "B": float(i < 20)}
    twin = Doc(vocab, words=["w0"])
    twin.cats = {"A": 1.0, "B": 0.0}
    docs = [*frequent, twin, Doc(vocab, words=["x"]), Doc(vocab, words=[])]
    assert look_at(*docs).warnings() == [
        "1 docs are empty.",
        "1 docs have no gold of any layer.",
        "1 docs have the words of another, 1 of them with other entities or topics.",
        "topic: 95% are A; the others are rare beside it.",
    ]
    assert look_at(*frequent[:1], *frequent[:1]).warnings()[0] == (
        "1 docs have the words of another, 0 of them with other entities or topics."
    )


def test_many_labels_are_cut(vocab):
    doc = Doc(vocab, words=["a"] * 30, tags=[f"T{i:02}" for i in range(30)])
    shown = look_at(doc).render()
    assert "    and 5 other labels\n" in shown
    assert (
        "fewer than 20 of T00, T01, T02, T03, T04, T05, T06, T07, T08, T09 and 20 others." in shown
    )


def test_labels_that_look_the_same_and_single_ones_are_named(vocab):
    doc = Doc(vocab, words=["a", "b", "c", "d"], tags=["PRP$", "PRP", "B-X", "b_x"])
    doc.cats = {"only": 1.0}
    found = look_at(doc).warnings()
    assert "tag: B-X and b_x differ in their spelling alone. Are they one label?" in found
    assert "topic: only is the only label." in found
