import json

import pytest

from spacy_multitask.converters import ConversionError, convert
from spacy_multitask.converters.prodigy import read_prodigy
from spacy_multitask.relations import get_relations
from tests.converters.conftest import ASSETS

SAMPLE = ASSETS / "prodigy.jsonl"


def ents(doc):
    return [(ent.text, ent.label_) for ent in doc.ents]


def causes(report):
    return {cause: entry.count for cause, entry in report.causes.items()}


@pytest.fixture
def read(write, nlp, report):
    def read_examples(*examples, **options):
        text = "".join(json.dumps(example) + "\n" for example in examples)
        return list(read_prodigy(write(text), nlp, report, **options))

    return read_examples


def test_the_sample_is_read_whole(nlp, report):
    led, gulls, match, council, left = read_prodigy(SAMPLE, nlp, report)
    assert ents(led) == [("Nora Falk", "PERSON"), ("Port of Elding", "ORG")]
    assert [(r.head.text, r.label, r.tail.text) for r in get_relations(led)] == [
        ("Nora Falk", "LEADS", "Port of Elding")
    ]
    assert ents(gulls) == [] and gulls.has_annotation("ENT_IOB")
    assert match.cats == {"Sports": 1.0, "Weather": 1.0, "Politics": 0.0}
    assert not match.has_annotation("ENT_IOB")
    assert council.cats == {"Politics": 1.0}
    assert [(token.text, token.ent_iob_) for token in left] == [
        ("Falk", ""), ("left", ""), ("Torvik", "B"), (".", "")
    ]  # fmt: skip
    # Of relations only the interface of relations says something.
    assert [bool(doc.user_data) for doc in (led, gulls, match, council, left)] == [True] + [
        False
    ] * 4
    assert causes(report) == {
        "answer reject: left out (see the option rejected)": 1,
        "answer ignore: left out": 1,
    }


def test_a_rejected_label_is_false_on_demand(nlp, report):
    docs = list(read_prodigy(SAMPLE, nlp, report, rejected="negative"))
    assert docs[4].text == "The bakery opens at six." and docs[4].cats == {"Politics": 0.0}
    assert causes(report) == {"answer ignore: left out": 1}


def test_everything_survives_the_file(tmp_path, load):
    report = convert("prodigy", SAMPLE, tmp_path / "out.spacy")
    docs = load(tmp_path / "out.spacy")
    assert (report.docs, report.gold["ents"], report.gold["cats"]) == (5, 3, 2)
    assert [token.text for token in docs[0]][-2:] == ["Elding", "."]
    assert len(get_relations(docs[0])) == 1


def test_rejected_spans_are_unknown_and_not_negative(read, report):
    example = {"text": "a b", "spans": [{"start": 0, "end": 1, "label": "X"}], "answer": "reject"}
    assert read(example, rejected="negative") == []
    assert causes(report) == {"answer reject: left out": 1}


def test_examples_without_interface_say_what_they_hold(read):
    with_spans = {"text": "a b", "spans": [{"start": 0, "end": 1, "label": "X"}]}
    (both,) = read({**with_spans, "options": [{"id": 1}, {"id": 2}], "accept": [2]})
    assert ents(both) == [("a", "X")] and both.cats == {"1": 0.0, "2": 1.0}
    assert [token.ent_iob_ for token in both] == ["B", "O"]
    (labelled,) = read({**with_spans, "label": "L"})
    assert labelled.cats == {"L": 1.0} and ents(labelled) == [("a", "X")]


def test_highlights_are_no_spans(read, report):
    (doc,) = read(
        {"text": "a b", "spans": [{"start": 0, "end": 1, "label": "X"}], "label": "L",
         "_view_id": "classification"}
    )  # fmt: skip
    assert doc.cats == {"L": 1.0} and not doc.has_annotation("ENT_IOB")
    assert list(report.causes) == [
        "example with highlights in the interface classification: no spans taken"
    ]


@pytest.mark.parametrize(
    "config, cats",
    [({}, None), ({"choice_style": "single"}, None), ({"choice_style": "multiple"}, {"A": 0.0})],
)
def test_none_chosen_is_unknown_where_one_had_to_be(read, report, config, cats):
    docs = read({"text": "a", "options": [{"id": "A"}], "accept": [], "config": config})
    assert [doc.cats for doc in docs] == ([cats] if cats else [])
    assert causes(report) == ({} if cats else {"example without gold: left out": 1})


def test_relations_between_tokens_are_left_out_and_counted(read, report):
    place = {"start": 0, "end": 1, "label": "X"}
    (doc,) = read(
        {
            "text": "a b",
            "spans": [place],
            "relations": [{"head": 0, "child": 1, "head_span": place, "label": "R"}],
        }
    )
    assert get_relations(doc) == [] and doc.user_data
    assert causes(report) == {"relation of what is no span, or none that was kept: left out": 1}


SPAN = {"start": 0, "end": 9, "label": "X"}


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"text": None, "spans": []}, "there is no text, which must be a text. The record has "),
        ({"answer": "yes"}, "answer is 'yes', but must be one of accept, reject, ignore"),
        (
            {"spans": [{"start": 0, "end": 1}]},
            r"there is no spans\[0\].label, which must be a text",
        ),
        ({"spans": [SPAN]}, "the span from character 0 to 9 with the label 'X' is empty, has no"),
        ({"options": [{"id": "A"}], "accept": ["B"]}, "accept holds 'B', which is none of A"),
        ({"tokens": [{"start": "0"}]}, r"tokens\[0\].start is '0', but must be a whole number"),
        ({"spans": [], "relations": [{}]}, r"there is no relations\[0\].label"),
    ],
)
def test_malformed_examples_are_errors(read, fields, message):
    with pytest.raises(ConversionError, match=f"corpus.txt:1: {message}"):
        read({"text": "a", **fields})


def test_another_way_with_rejected_examples_is_refused(read):
    with pytest.raises(ConversionError, match="rejected is 'no', but must be unknown or negative"):
        read({"text": "a"}, rejected="no")
