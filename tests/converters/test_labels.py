import pytest

from spacy_multitask.converters import ConversionError, convert
from spacy_multitask.converters.labels import read_labels

TEXT = "__label__Sci_Tech New chips cost \\$5.\n__label__Sports They won.\n"


def test_every_doc_has_all_labels_of_the_file(write, tmp_path, load):
    convert("labels", write(TEXT), tmp_path / "out.spacy")
    first, second = load(tmp_path / "out.spacy")
    assert first.cats == {"Sci_Tech": 1.0, "Sports": 0.0}
    assert second.cats == {"Sci_Tech": 0.0, "Sports": 1.0}
    assert second.text == "They won." and [t.text for t in second] == ["They", "won", "."]
    assert not any(second.has_annotation(a) for a in ("TAG", "ENT_IOB", "DEP", "SENT_START"))


def test_given_labels_are_used_for_all_docs(write, nlp, report):
    labels = ["Sports", "Sci_Tech", "World"]
    docs = list(read_labels(write(TEXT), nlp, report, labels=labels))
    assert docs[0].cats == {"Sports": 0.0, "Sci_Tech": 1.0, "World": 0.0}


def test_a_line_may_have_several_labels(write, nlp, report):
    (doc,) = read_labels(write("__label__a __label__b text\n"), nlp, report, labels=["a", "b", "c"])
    assert doc.cats == {"a": 1.0, "b": 1.0, "c": 0.0}


@pytest.mark.parametrize(
    "line",
    [
        "__label__a  __label__b hello  world",
        "__label__a \t__label__b\t  hello  world \t",
        " \t__label__a hello  world __label__b",
        "hello  __label__b world\t__label__a __label__a",
    ],
)
def test_labels_may_stand_anywhere_and_stay_out_of_the_text(write, nlp, report, line):
    (doc,) = read_labels(write(line + "\n"), nlp, report, labels=["a", "b", "c"])
    assert (doc.text, doc.cats) == ("hello  world", {"a": 1.0, "b": 1.0, "c": 0.0})


def test_a_label_begins_a_word(write, nlp, report):
    (doc,) = read_labels(write("__label__a__label__b x__label__c\n"), nlp, report)
    assert (doc.text, doc.cats) == ("x__label__c", {"a__label__b": 1.0})


def test_tabs_may_follow_labels(write, nlp, report):
    (doc,) = read_labels(write("__label__a\tsome text\n"), nlp, report)
    assert (doc.text, doc.cats) == ("some text", {"a": 1.0})


@pytest.mark.parametrize("labels", [["a", ""], ["a", "a"]])
def test_given_labels_must_be_different_names(write, nlp, report, labels):
    with pytest.raises(ConversionError, match="must be different names that are not empty"):
        list(read_labels(write("__label__a x\n"), nlp, report, labels=labels))


def test_backslashes_stay_unless_cleaned(write, nlp, report):
    assert next(read_labels(write(TEXT), nlp, report)).text == "New chips cost \\$5."
    assert next(read_labels(write(TEXT), nlp, report, clean=True)).text == "New chips cost $5."


def test_texts_without_words_are_counted(write, nlp, report):
    docs = list(read_labels(write("__label__a \n__label__b\n__label__a x\n"), nlp, report))
    assert [doc.text for doc in docs] == ["x"]
    cause = report.causes["empty text: skipped"]
    assert cause.count == 2 and cause.first.endswith("corpus.txt:1")


@pytest.mark.parametrize(
    "text, message",
    [
        ("__label__a x\nb y\n", r"corpus.txt:2: there is no label in the line 'b y'"),
        ("__label__ x\n", r"corpus.txt:1: there is a '__label__' without a name in the line '__l"),
        ("__label__a the prefix __label__ is\n", r"corpus.txt:1: there is a '__label__' without"),
        ("__label__a x\n__label__d y\n", r"corpus.txt:2: label 'd' is not one of a, b"),
    ],
)
def test_malformed_lines_are_errors(write, nlp, report, text, message):
    with pytest.raises(ConversionError, match=message):
        list(read_labels(write(text), nlp, report, labels=["a", "b"]))
