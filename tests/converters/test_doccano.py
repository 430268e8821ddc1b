import json

import pytest

from spacy_multitask.converters import ConversionError, convert
from spacy_multitask.converters.doccano import read_doccano
from spacy_multitask.relations import get_relations
from tests.converters.conftest import ASSETS


@pytest.fixture
def read(write, nlp, report):
    def read_texts(*records, **options):
        text = "".join(json.dumps(record) + "\n" for record in records)
        return list(read_doccano(write(text), nlp, report, **options))

    return read_texts


def ents(doc):
    return [(ent.text, ent.label_) for ent in doc.ents]


def causes(report):
    return {cause: entry.count for cause, entry in report.causes.items()}


def test_spans_in_lists_are_read(nlp, report):
    led, gulls = read_doccano(ASSETS / "doccano_spans.jsonl", nlp, report)
    assert ents(led) == [("Nora Falk", "PER"), ("Port of Elding", "ORG")]
    assert ents(gulls) == [] and gulls.has_annotation("ENT_IOB")
    assert led.cats == {} and not led.user_data
    assert causes(report) == {"text without spans: taken for 'there are none'": 1}


def test_entities_and_relations_are_read(tmp_path, load):
    report = convert("doccano", ASSETS / "doccano_relations.jsonl", tmp_path / "out.spacy")
    led, left = load(tmp_path / "out.spacy")
    assert ents(led) == [("Nora Falk", "PER"), ("Port of Elding", "ORG")]
    assert [(r.head.text, r.label, r.tail.text) for r in get_relations(led)] == [
        ("Nora Falk", "leads", "Port of Elding")
    ]
    assert get_relations(left) == [] and left.user_data
    assert not report.causes


def test_categories_are_read(nlp, report):
    docs = list(read_doccano(ASSETS / "doccano_topics.jsonl", nlp, report))
    assert [doc.cats for doc in docs] == [
        {"Politics": 0.0, "Sports": 1.0, "Weather": 1.0},
        {"Politics": 1.0, "Sports": 0.0, "Weather": 0.0},
        # Others have several, so that none is an answer, too.
        {"Politics": 0.0, "Sports": 0.0, "Weather": 0.0},
    ]
    assert not any(doc.has_annotation("ENT_IOB") for doc in docs)


def test_a_text_without_its_one_category_is_unknown(read, report):
    docs = read({"text": "a", "labels": ["A"]}, {"text": "b", "labels": []})
    assert [doc.cats for doc in docs] == [{"A": 1.0}]
    assert causes(report) == {"text without gold: left out": 1}


def test_intents_and_slots_are_read_from_one_record(read):
    first, second = read(
        {"text": "to Oslo", "entities": [[3, 7, "LOC"]], "cats": ["go"]},
        {"text": "hi", "entities": [], "cats": ["greet"]},
    )
    assert ents(first) == [("Oslo", "LOC")] and first.cats == {"go": 1.0, "greet": 0.0}
    assert second.has_annotation("ENT_IOB") and second.cats == {"go": 0.0, "greet": 1.0}


def test_relations_that_no_text_has_are_unknown(read):
    (doc,) = read(
        {
            "text": "a",
            "entities": [{"id": 1, "label": "X", "start_offset": 0, "end_offset": 1}],
            "relations": [],
        }
    )
    assert not doc.user_data


ENTITY = {"id": 1, "label": "X", "start_offset": 0, "end_offset": 1}


@pytest.mark.parametrize(
    "record, message",
    [
        ({"data": "a"}, "there is no text, which must be a text. The record has data"),
        (
            {"text": "a", "label": [[0, 1]]},
            r"label\[0\] is \[0, 1\], but must be \[first character,",
        ),
        (
            {"text": "a", "label": [[0, 2, "X"]]},
            "the span from character 0 to 2 with the label 'X'",
        ),
        (
            {"text": "a", "label": ["X", [0, 1, "X"]]},
            "label holds spans, which are lists, and something else",
        ),
        ({"text": "a", "label": [""]}, "label holds '', but must hold texts that are not empty"),
        ({"text": "a", "entities": [{"id": 1}]}, r"there is no entities\[0\].start_offset"),
        (
            {"text": "a", "entities": [ENTITY], "relations": [{"from_id": 1, "to_id": 2}]},
            r"relations\[0\].to_id is 2, which is the id of no entity of the record",
        ),
    ],
)
def test_malformed_records_are_errors(read, record, message):
    with pytest.raises(ConversionError, match=f"corpus.txt:1: {message}"):
        read(record)
