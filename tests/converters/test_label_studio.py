import json

import pytest

from spacy_multitask.converters import ConversionError, convert
from spacy_multitask.converters.label_studio import read_label_studio
from spacy_multitask.relations import get_relations
from tests.converters.conftest import ASSETS

SAMPLE = ASSETS / "label_studio.json"
TEXT = "Nora Falk left Elding."


def region(start, end, label="PER", **fields):
    value = {"start": start, "end": end, "labels": [label] if label else []}
    text = fields.pop("text", None)
    if text is not None:
        value["text"] = text
    return {"type": "labels", "id": f"r{start}", "value": value, **fields}


def choice(*labels, name="topic"):
    return {"type": "choices", "from_name": name, "value": {"choices": list(labels)}}


def relation(head, tail, **fields):
    return {"type": "relation", "from_id": head, "to_id": tail, **fields}


def task(*annotations, text=TEXT, **fields):
    """Each annotation is a list of results."""
    results = [{"result": list(annotation)} for annotation in annotations]
    return {"data": {"text": text}, "annotations": results, **fields}


@pytest.fixture
def read(write, nlp, report):
    def read_tasks(*tasks, **options):
        return list(read_label_studio(write(json.dumps(tasks)), nlp, report, **options))

    return read_tasks


def ents(doc):
    return [(ent.text, ent.label_) for ent in doc.ents]


def causes(report):
    return {cause: entry.count for cause, entry in report.causes.items()}


def test_the_sample_is_read_whole(nlp, report):
    led, gulls, match = read_label_studio(SAMPLE, nlp, report, annotators="majority")
    assert ents(led) == [("Nora Falk", "PER"), ("Port of Elding", "ORG")]
    assert [(r.head.text, r.label, r.tail.text) for r in get_relations(led)] == [
        ("Nora Falk", "leads", "Port of Elding")
    ]
    assert led.cats == {"Harbour": 1.0, "Sports": 0.0, "Weather": 0.0}
    # Looked at in a file that has regions and relations: there are none.
    assert ents(gulls) == [] and gulls.has_annotation("ENT_IOB")
    assert get_relations(gulls) == [] and gulls.user_data
    # All see Elding; two of three see something at Torvik, but not the same.
    assert ents(match) == [("Elding", "ORG")]
    assert [token.text for token in match if not token.ent_iob_] == ["Torvik", "in"]
    # One of three says weather; glad or sad is one to one.
    assert match.cats == {"Harbour": 0.0, "Sports": 1.0, "Weather": 0.0}
    assert causes(report) == {
        "prediction of a model: no gold": 1,
        "cancelled annotation: left out": 1,
        "task without annotation: left out": 2,
    }


def test_everything_survives_the_file(tmp_path, load):
    convert("label_studio", SAMPLE, tmp_path / "out.spacy", annotators="first")
    docs = load(tmp_path / "out.spacy")
    assert ents(docs[2]) == [("Elding", "ORG"), ("Torvik", "ORG")]
    assert docs[2].cats == {
        "Harbour": 0.0, "Sports": 1.0, "Weather": 1.0, "glad": 1.0, "sad": 0.0
    }  # fmt: skip
    assert len(get_relations(docs[0])) == 1


def test_several_annotators_are_refused_by_default(nlp, report):
    with pytest.raises(
        ConversionError, match=r"json, record 3: there are 3 annotations of one text"
    ):
        list(read_label_studio(SAMPLE, nlp, report))


def test_the_first_annotator_is_taken_on_demand(read, report):
    (doc,) = read(task([region(0, 4)], [region(5, 9)], []), annotators="first")
    assert ents(doc) == [("Nora", "PER")]
    assert causes(report) == {"annotation after the first: left out": 2}


@pytest.mark.parametrize(
    "annotations, entities, unknown",
    [
        # Half see it: nothing is known.
        (([region(0, 9)], []), [], ["Nora", "Falk"]),
        # Few see it: it is not there.
        (([region(0, 9)], [], []), [], []),
        # All see something, and not the same.
        (([region(0, 9)], [region(0, 4)], [region(0, 9, "ORG")]), [], ["Nora", "Falk"]),
        # Most agree; a shorter span within is overruled.
        (([region(0, 9)], [region(0, 9)], [region(0, 4)]), [("Nora Falk", "PER")], []),
    ],
)
def test_the_majority_decides_on_spans(read, annotations, entities, unknown):
    other = task([region(0, 4)])
    doc, _ = read(task(*annotations), other, annotators="majority")
    assert ents(doc) == entities
    assert [token.text for token in doc if not token.ent_iob_] == unknown


@pytest.mark.parametrize(
    "annotations, cats",
    [
        (([choice("A")], [choice("A")], [choice("B")]), {"A": 1.0, "B": 0.0, "C": 0.0}),
        (([choice("A")], [choice("B")], [choice("C")]), {}),
        (([choice("A")], [choice("B")]), {}),
        (([choice("A", "B")], [choice("A")]), {"A": 1.0, "C": 0.0}),
        # Who did not choose does not vote.
        (([choice("A")], [], []), {"A": 1.0, "B": 0.0, "C": 0.0}),
    ],
)
def test_the_majority_decides_on_choices(read, annotations, cats):
    docs = read(task(*annotations), task([choice("A", "B", "C")]), annotators="majority")
    assert [doc.cats for doc in docs[:-1]] == ([cats] if cats else [])


def test_the_majority_decides_on_relations(read):
    both = [region(0, 4), region(15, 21, "LOC")]
    with_it = [*both, relation("r0", "r15", labels=["left"])]
    (doc,) = read(task(with_it, with_it, both), annotators="majority")
    assert [(r.head.text, r.label) for r in get_relations(doc)] == [("Nora", "left")]
    (doc,) = read(task(with_it, both, both), annotators="majority")
    assert get_relations(doc) == [] and doc.user_data


@pytest.mark.parametrize(
    "fields, expected",
    [
        ({"labels": ["x", "y"]}, [("Nora", "x", "Elding"), ("Nora", "y", "Elding")]),
        ({"labels": ["x"], "direction": "left"}, [("Elding", "x", "Nora")]),
        ({"direction": "bi"}, [("Nora", "related", "Elding"), ("Elding", "related", "Nora")]),
    ],
)
def test_relations_have_directions_and_labels(read, fields, expected):
    (doc,) = read(task([region(0, 4), region(15, 21), relation("r0", "r15", **fields)]))
    assert [(r.head.text, r.label, r.tail.text) for r in get_relations(doc)] == expected


def test_what_is_not_read_is_counted(read, report):
    other = {"type": "textarea", "value": {"text": ["a note"]}}
    for_region = {"type": "choices", "from_name": "x", "value": {"start": 0, "choices": ["A"]}}
    unlabelled = [region(0, 4), region(5, 9, label=""), relation("r0", "r5")]
    (doc,) = read(task([*unlabelled, other, for_region]))
    assert ents(doc) == [("Nora", "PER")] and doc.cats == {}
    assert causes(report) == {
        "region without a label: left out": 1,
        "result of the type textarea: left out": 1,
        "result of the type choices for a region: left out": 1,
        "relation of what is no span, or none that was kept: left out": 1,
    }


def test_a_file_without_regions_says_nothing_of_entities(read):
    first, second = read(task([choice("A")]), task([choice("B")]))
    assert first.cats == {"A": 1.0, "B": 0.0} and second.cats == {"A": 0.0, "B": 1.0}
    assert not first.has_annotation("ENT_IOB")


def test_places_that_count_halves_of_characters_are_understood(read):
    # To a browser the emoji has the length 2, so that Elding begins at 6 and not at 5.
    (doc,) = read(task([region(6, 12, "LOC", text="Elding")], text="😀 in Elding"))
    assert ents(doc) == [("Elding", "LOC")]


def test_the_text_stands_under_the_key_that_is_given_or_the_only_one(read):
    (doc,) = read({"data": {"body": "a b", "n": 3}, "annotations": [{"result": [choice("A")]}]})
    assert doc.text == "a b"
    two = {"data": {"body": "a b", "by": "x"}, "annotations": [{"result": [choice("A")]}]}
    (doc,) = read(two, columns="text=body")
    assert doc.text == "a b"
    with pytest.raises(
        ConversionError, match=r"data holds body, by\. Say which of them is the text"
    ):
        read(two)


@pytest.mark.parametrize(
    "bad, message",
    [
        (
            {"id": 1, "text": "a", "label": []},
            "the task has no annotations, only id, text, label. Exp",
        ),
        ({"annotations": []}, "there is no data, which must be an object with the text"),
        (task([{"value": {}}]), r"there is no .*result\[0\].type, which must be a text"),
        (task([{"type": "labels"}]), r"there is no .*result\[0\].value"),
        (task([region("0", 4)]), r"result\[0\].value.start is '0', but must be a whole number"),
        (task([region(0, 99)]), "the span from character 0 to 99 with the label 'PER' is empty"),
        (task([region(0, 4, text="Nore")]), r"value.text is 'Nore', but from .* there is 'Nora'"),
        (task([relation("r1", "r2")]), r"result\[0\].from_id is 'r1', which is no result of the"),
        (
            task([region(0, 4), relation("r0", "r0", direction="up")]),
            r"result\[1\].direction is 'up', but must be one of right, left, bi",
        ),
    ],
)
def test_malformed_tasks_are_errors(read, bad, message):
    with pytest.raises(ConversionError, match=f"corpus.txt, record 2: .*{message}"):
        read(task([choice("A")]), bad)


def test_another_way_with_annotators_is_refused(read):
    with pytest.raises(ConversionError, match="must be one of refuse, first, majority"):
        read(task(), annotators="last")
