import json

import pytest

from spacy_multitask.converters import ConversionError, convert
from spacy_multitask.converters.argilla import read_argilla
from tests.converters.conftest import ASSETS

SAMPLE = ASSETS / "argilla.jsonl"
QUESTIONS = "ner=entities,topic=kind"


@pytest.fixture
def read(write, nlp, report):
    def read_records(*records, **options):
        text = "".join(json.dumps(record) + "\n" for record in records)
        return list(read_argilla(write(text), nlp, report, **options))

    return read_records


def ents(doc):
    return [(ent.text, ent.label_) for ent in doc.ents]


def causes(report):
    return {cause: entry.count for cause, entry in report.causes.items()}


def check(docs, report):
    led, match, gulls = docs
    assert ents(led) == [("Nora Falk", "PER"), ("Port of Elding", "ORG")]
    assert led.cats == {"Harbour": 1.0, "Sports": 0.0}
    # One of two sees an entity at Torvik: nothing is known of it.
    assert ents(match) == [("Elding", "ORG")]
    assert [token.text for token in match if not token.ent_iob_] == ["Torvik"]
    assert match.cats == {"Harbour": 0.0, "Sports": 1.0}
    # None, and of the topic there is only a draft.
    assert ents(gulls) == [] and gulls.has_annotation("ENT_IOB") and gulls.cats == {}
    assert causes(report) == {
        "question clear: not read": 1,
        "answer that is draft: left out": 1,
        "answer that is discarded: left out": 1,
        "record without a submitted answer: left out": 1,
    }


def test_the_sample_is_read_whole(nlp, report):
    docs = read_argilla(SAMPLE, nlp, report, columns=QUESTIONS, annotators="majority")
    check(docs, report)


def test_a_saved_data_set_gives_the_same(tmp_path, load):
    library = pytest.importorskip("datasets", reason="the extra 'formats' is not installed")
    rows = [json.loads(line) for line in SAMPLE.read_text(encoding="utf8").splitlines()]
    library.Dataset.from_list(rows).save_to_disk(tmp_path / "data")
    options = {"columns": QUESTIONS, "annotators": "majority"}
    report = convert("argilla", tmp_path / "data", tmp_path / "out.spacy", **options)
    check(load(tmp_path / "out.spacy"), report)


def test_several_answers_are_refused_by_default(nlp, report):
    with pytest.raises(
        ConversionError, match=r"argilla.jsonl:2: there are 2 annotations of one text"
    ):
        list(read_argilla(SAMPLE, nlp, report, columns=QUESTIONS))


def test_several_labels_may_be_true(read):
    first, second = read(
        {"prompt": "a", "kind.responses": [["X", "Y"]]},
        {"prompt": "b", "kind.responses": [["X"]]},
        columns="text=prompt",
    )
    assert first.cats == {"X": 1.0, "Y": 1.0} and second.cats == {"X": 1.0, "Y": 0.0}


def test_exports_of_version_1_are_read(read, report):
    spans = [{"start": 0, "end": 4, "label": "LOC"}]
    (doc,) = read(
        {"text": "Oslo", "annotation": spans, "prediction": None, "status": "Validated"},
        {"text": "Oslo", "annotation": None, "prediction": spans, "status": "Default"},
    )
    assert ents(doc) == [("Oslo", "LOC")]
    assert causes(report) == {"record without a submitted answer: left out": 1}
    (doc,) = read({"text": "Oslo", "annotation": "place", "status": "Validated"})
    assert doc.cats == {"place": 1.0}


@pytest.mark.parametrize(
    "record, options, message",
    [
        ({"text": "a", "label": "b"}, {}, "none of the columns text, label holds answers, such as"),
        ({"kind.responses": ["A"]}, {}, "txt:1: there is no text, which must be a text"),
        (
            {"text": "a", "n.responses": [3]},
            {},
            "txt:1: n.responses holds 3, which is no label and",
        ),
        ({"text": "a", "k.responses": "A"}, {}, "txt:1: k.responses is 'A', but must be a list"),
        (
            {"text": "a", "k.responses": ["A"], "k.responses.status": []},
            {},
            "txt:1: k.responses has 1 answers, but 0 states",
        ),
        (
            {"text": "a", "k.responses": ["A"]},
            {"columns": "topic=kind"},
            "there is no question 'kind'. The questions are k",
        ),
        (
            {"text": "a", "e.responses": [[{"start": 0, "end": 1}]]},
            {},
            r"txt:1: there is no e.responses\[0\].label",
        ),
    ],
)
def test_malformed_records_are_errors(read, record, options, message):
    with pytest.raises(ConversionError, match=message):
        read(record, **options)
