"""Layers to keep, and labels to rename or drop, are the same for all formats."""

import json

import pytest
from spacy.tokens import Doc, Span

from spacy_multitask.converters import ConversionError, ConversionReport, convert
from spacy_multitask.converters.select import LAYERS, Selection, join_label_maps, layers_in
from spacy_multitask.relations import get_relations, set_relations
from tests.converters.conftest import ASSETS


@pytest.fixture
def doc(nlp):
    words = ["Nora", "Falk", "left", "Elding", "."]
    doc = Doc(
        nlp.vocab,
        words=words,
        spaces=[True, True, True, False, False],
        tags=["NNP", "NNP", "VBD", "NNP", "."],
        pos=["PROPN", "PROPN", "VERB", "PROPN", "PUNCT"],
        lemmas=words,
        morphs=["", "", "Tense=Past", "", ""],
        heads=[2, 0, 2, 2, 2],
        deps=["nsubj", "flat", "ROOT", "obj", "punct"],
    )
    ents = [Span(doc, 0, 2, label="PER"), Span(doc, 3, 4, label="LOC")]
    doc.set_ents(ents, missing=[doc[4:5]])
    doc.spans["np"] = [Span(doc, 0, 2, label="NP"), Span(doc, 2, 3, label="VP")]
    doc.cats = {"Harbour": 1.0, "Sports": 0.0}
    set_relations(doc, [(ents[0], ents[1], "LEFT", 1.0)])
    return doc


def ents(doc):
    return [(ent.text, ent.label_) for ent in doc.ents]


def causes(report):
    return {cause: entry.count for cause, entry in report.causes.items()}


@pytest.mark.parametrize("layer", LAYERS)
def test_one_layer_is_kept_as_it_is(doc, report, layer):
    assert layers_in(doc) == set(LAYERS)
    kept = Selection(report, [layer], None)(doc)
    assert layers_in(kept) == {layer}
    assert kept.text == doc.text
    assert [sent.start for sent in kept.sents] == [0]
    for attr in ("tag_", "pos_", "lemma_", "dep_", "ent_iob_"):
        name = attr.split("_")[0].replace("ent", "ner")
        expected = [getattr(token, attr) if name == layer else "" for token in doc]
        assert [getattr(token, attr) for token in kept] == expected
    if layer == "morph":
        assert str(kept[2].morph) == "Tense=Past"
    if layer == "dep":
        assert [token.head.i for token in kept] == [2, 0, 2, 2, 2]
    if layer == "chunk":
        assert [span.label_ for span in kept.spans["np"]] == ["NP", "VP"]
    if layer == "topic":
        assert kept.cats == doc.cats
    if layer == "relations":
        assert [r.label for r in get_relations(kept)] == ["LEFT"]


def test_spaces_that_are_not_known_stay_unknown(nlp, report):
    doc = Doc(nlp.vocab, words=["a", "b"], tags=["X", "Y"], sent_starts=[True, True])
    kept = Selection(report, ["tag"], None)(doc)
    assert kept.has_unknown_spaces and [sent.start for sent in kept.sents] == [0, 1]


def test_docs_without_gold_in_these_layers_are_left_out_and_counted(nlp, report):
    select = Selection(report, ["ner", "topic"], None)
    assert select(Doc(nlp.vocab, words=["a"], tags=["X"])) is None
    select.report_unused()
    assert causes(report) == {
        "doc without gold in the layers to keep: left out": 1,
        "layer ner to keep: is in no doc": 1,
        "layer topic to keep: is in no doc": 1,
    }


def test_labels_are_renamed_in_all_layers(doc, report):
    names = {"PER": "PERSON", "NP": "N", "Harbour": "Port", "LEFT": "WENT", "NNP": "NE"}
    select = Selection(report, None, {**names, "NONE": "X"})
    kept = select(doc)
    assert ents(kept) == [("Nora Falk", "PERSON"), ("Elding", "LOC")]
    assert [token.ent_iob_ for token in kept] == ["B", "I", "O", "B", ""]
    assert [span.label_ for span in kept.spans["np"]] == ["N", "VP"]
    assert kept.cats == {"Port": 1.0, "Sports": 0.0}
    assert [(r.head.label_, r.label) for r in get_relations(kept)] == [("PERSON", "WENT")]
    assert [token.tag_ for token in kept] == ["NE", "NE", "VBD", "NE", "."]
    select.report_unused()
    assert causes(report) == {"label NONE to map or drop: is in no doc": 1}


def test_what_was_dropped_is_outside_and_unknown_as_a_topic(doc, report):
    kept = Selection(report, None, dict.fromkeys(("PER", "NP", "Harbour", ".")))(doc)
    assert ents(kept) == [("Elding", "LOC")]
    assert [token.ent_iob_ for token in kept] == ["O", "O", "O", "B", ""]
    assert [span.label_ for span in kept.spans["np"]] == ["VP"]
    assert kept.cats == {}, "it was of none of the others, but of the one that is no longer asked"
    assert get_relations(kept) == [] and kept.user_data
    assert kept[4].tag_ == ""


@pytest.mark.parametrize(
    "before, after",
    [
        ({"A": 0.0, "B": 1.0}, {"C": 1.0}),
        ({"A": 0.0, "B": 0.0, "D": 1.0}, {"C": 0.0, "D": 1.0}),
        # Of B nothing is known, and so of C.
        ({"A": 0.0, "D": 1.0}, {"D": 1.0}),
        ({"A": 1.0}, {"C": 1.0}),
    ],
)
def test_topics_that_become_one_are_false_only_together(nlp, report, before, after):
    doc = Doc(nlp.vocab, words=["a"])
    doc.cats = before
    assert Selection(report, None, {"A": "C", "B": "C"})(doc).cats == after


def test_convert_takes_both(tmp_path, load):
    report = convert(
        "prodigy",
        ASSETS / "prodigy.jsonl",
        tmp_path / "out.spacy",
        layers=["ner"],
        label_map={"PERSON": "PER", "PLACE": None},
    )
    docs = load(tmp_path / "out.spacy")
    assert [ents(doc) for doc in docs] == [
        [("Nora Falk", "PER"), ("Port of Elding", "ORG")], [], []
    ]  # fmt: skip
    assert not any(doc.cats or doc.user_data for doc in docs)
    assert report.labels["ents"] == {"PER": 1, "ORG": 1}


def test_maps_come_from_a_file_and_singly(write):
    path = write(json.dumps({"A": "B", "C": None, "D": "E"}), "map.json")
    found = join_label_maps(path, ["A=X=1", "Q=R"], ["D"])
    assert found == {"A": "X=1", "C": None, "D": None, "Q": "R"}


@pytest.mark.parametrize(
    "text, renamed, dropped, message",
    [
        ("[]", [], [], r"map.json: the label map is \[\], but must be an object"),
        ("{", [], [], r"map.json: the label map is not JSON: "),
        (
            '{"A": 1}',
            [],
            [],
            r"map.json: the label map has 1 for 'A', but must have a name, or null",
        ),
        ("{}", ["A"], [], "the map 'A' is not OLD=NEW"),
        ("{}", ["A=B", "A=C"], [], "the label 'A' is mapped or dropped twice"),
        ("{}", ["A=B"], ["A"], "the label 'A' is mapped or dropped twice"),
    ],
)
def test_maps_of_another_form_are_errors(write, text, renamed, dropped, message):
    with pytest.raises(ConversionError, match=message):
        join_label_maps(write(text, "map.json"), renamed, dropped)


def test_a_layer_that_is_none_is_an_error():
    with pytest.raises(
        ConversionError, match="the layer 'ents' is not one of tag, pos, morph, lem"
    ):
        Selection(ConversionReport(), ["ents"], None)
