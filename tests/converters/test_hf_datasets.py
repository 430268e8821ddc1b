import json
import sys

import pytest

from spacy_multitask.converters import ConversionError, convert, tables
from spacy_multitask.converters.hf_datasets import read_datasets
from spacy_multitask.converters.records import read_records
from spacy_multitask.converters.rows import class_name

library = pytest.importorskip("datasets", reason="the extra 'formats' is not installed")

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
ROWS = {
    "id": ["0", "1"],
    "tokens": [["Nora", "Falk", "left", "Elding"], ["Gulls", "sleep"]],
    "pos_tags": [[0, 0, 1, 0], [0, 1]],
    "chunk_tags": [["B-NP", "I-NP", "B-VP", "B-NP"], ["B-NP", "B-VP"]],
    "ner_tags": [[1, 2, 0, 3], [0, 0]],
    "label": [1, -1],
}


@pytest.fixture(scope="module")
def made():
    lists = getattr(library, "List", library.Sequence)
    features = library.Features(
        {
            "id": library.Value("string"),
            "tokens": lists(library.Value("string")),
            "pos_tags": lists(library.ClassLabel(names=["NNP", "VBD"])),
            "chunk_tags": lists(library.Value("string")),
            "ner_tags": lists(library.ClassLabel(names=TAGS)),
            "label": library.ClassLabel(names=["calm", "news"]),
        }
    )
    return library.Dataset.from_dict(ROWS, features=features)


@pytest.fixture
def folder(made, tmp_path):
    made.save_to_disk(tmp_path / "data")
    return tmp_path / "data"


def check(docs, report):
    first, second = docs
    assert [(ent.text, ent.label_) for ent in first.ents] == [
        ("Nora Falk", "PER"),
        ("Elding", "LOC"),
    ]
    assert [(s.text, s.label_) for s in first.spans["np"]] == [
        ("Nora Falk", "NP"), ("left", "VP"), ("Elding", "NP")
    ]  # fmt: skip
    assert [token.tag_ for token in first] == ["NNP", "NNP", "VBD", "NNP"]
    assert first.cats == {"calm": 0.0, "news": 1.0}
    assert second.cats == {}, "-1 is no label"
    assert list(second.ents) == [] and second.has_annotation("ENT_IOB")
    assert list(report.causes) == [
        "parts of speech such as 'NNP', which are not universal: kept as token.tag_"
    ]


def test_a_saved_folder_gives_all_layers(folder, tmp_path, load):
    report = convert("datasets", folder, tmp_path / "out.spacy")
    check(load(tmp_path / "out.spacy"), report)


def test_a_parquet_file_keeps_the_names_of_the_classes(made, tmp_path, nlp, report):
    made.to_parquet(tmp_path / "a.parquet")
    check(read_datasets(tmp_path / "a.parquet", nlp, report), report)


def test_json_lines_hold_the_names_themselves(write, nlp, report):
    row = {"words": ["a", "b"], "ner_tags": ["B-X", "O"], "upos": ["NOUN", "_"]}
    (doc,) = read_datasets(write(json.dumps(row)), nlp, report)
    assert [ent.text for ent in doc.ents] == ["a"]
    assert [token.pos_ for token in doc] == ["NOUN", ""]


def test_texts_with_categories_are_tokenized(tmp_path, nlp, report):
    features = library.Features(
        {"text": library.Value("string"), "label": library.ClassLabel(names=["neg", "pos"])}
    )
    data = {"text": ["It's good.", "Bad."], "label": [1, 0]}
    library.Dataset.from_dict(data, features=features).save_to_disk(tmp_path / "data")
    first, second = read_datasets(tmp_path / "data", nlp, report)
    assert [token.text for token in first] == ["It", "'s", "good", "."]
    assert first.cats == {"neg": 0.0, "pos": 1.0} and second.cats == {"neg": 1.0, "pos": 0.0}


def test_one_of_several_parts_is_chosen(made, tmp_path, nlp, report):
    parts = library.DatasetDict({"train": made, "test": made.select([0])})
    parts.save_to_disk(tmp_path / "data")
    assert len(list(read_datasets(tmp_path / "data", nlp, report, split="test"))) == 1
    for options, message in [
        ({}, "has several parts. Choose one with the option split: train, test"),
        ({"split": "dev"}, "has no part 'dev'. Choose one with the option split: train, test"),
    ]:
        with pytest.raises(ConversionError, match=message):
            list(read_datasets(tmp_path / "data", nlp, report, **options))


def test_the_name_of_a_data_set_is_passed_on_to_the_hub(made, nlp, report, monkeypatch):
    asked = []

    def load_dataset(name, subset, streaming):
        asked.append((name, subset, streaming))
        return library.IterableDatasetDict({"train": made.to_iterable_dataset()})

    monkeypatch.setattr(library, "load_dataset", load_dataset)
    check(read_datasets("who/what", nlp, report, subset="en"), report)
    assert asked == [("who/what", "en", True)]


def test_what_cannot_be_loaded_is_an_error_of_one_line(tmp_path, nlp, report, monkeypatch):
    with pytest.raises(
        ConversionError, match="this folder of a data set cannot be loaded: "
    ) as error:
        list(read_datasets(tmp_path, nlp, report))
    assert "\n" not in str(error.value)

    def load_dataset(*args, **kwargs):
        raise ConnectionError("no\nnetwork")

    monkeypatch.setattr(library, "load_dataset", load_dataset)
    with pytest.raises(ConversionError, match=r"who/what: this file, folder .*: no network$"):
        list(read_datasets("who/what", nlp, report))


def test_without_its_package_the_extra_is_named(folder, nlp, report, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConversionError) as error:
        list(read_datasets(folder, nlp, report))
    assert tables.EXTRA in str(error.value) and "\n" not in str(error.value)


def test_columns_may_be_named(write, nlp, report):
    row = {"forms": ["a", ""], "entities": ["PER", "O"], "kind": "K", "tokens": 3}
    options = {"columns": "word=forms,ner=entities,topic=kind", "scheme": "io"}
    with pytest.raises(ConversionError, match=r"corpus.txt:1: forms holds an empty word"):
        list(read_datasets(write(json.dumps(row)), nlp, report, **options))
    row["forms"] = ["a", "b"]
    (doc,) = read_datasets(write(json.dumps(row)), nlp, report, **options)
    assert [ent.label_ for ent in doc.ents] == ["PER"] and doc.cats == {"K": 1.0}


@pytest.mark.parametrize(
    "row, options, message",
    [
        ({"a": 1}, {}, r"of the columns a, too few are known. Name words and their labels"),
        ({"tokens": ["a"]}, {}, r"of the columns tokens, too few are known"),
        (
            {"tokens": ["a"], "ner_tags": []},
            {},
            r"txt:1: ner_tags has 0 labels, but there are 1 words",
        ),
        (
            {"tokens": ["a"], "ner_tags": ["X"]},
            {},
            r"txt:1: entity tag 'X' is not O, B-<type> or I-",
        ),
        ({"tokens": "a", "ner_tags": ["O"]}, {}, r"txt:1: tokens is 'a', but must be a list"),
        (
            {"tokens": ["a"], "ner_tags": [{}]},
            {},
            r"txt:1: ner_tags is {}, but must be a name or a",
        ),
        (
            {"text": "a", "label": "b"},
            {"split": "train"},
            r"a file has no parts. Leave out split and",
        ),
    ],
)
def test_malformed_rows_are_errors(write, nlp, report, row, options, message):
    with pytest.raises(ConversionError, match=message):
        list(read_datasets(write(json.dumps(row)), nlp, report, **options))


def test_a_number_without_a_class_is_an_error(write, nlp, report):
    (row,) = read_records(write('{"label": 1}'))
    with pytest.raises(ConversionError, match="label is 1, but there are 1 classes, from 0 on"):
        class_name(row, "label", 1, {"label": ["neg"]})
