import pytest

from spacy_multitask.converters import ConversionError
from spacy_multitask.converters.conllup import read_conllup
from tests.converters.conftest import ASSETS


def test_the_columns_of_the_first_line_are_read(nlp, report):
    path = ASSETS / "harbour.conllup"
    first, second = read_conllup(path, nlp, report, ner="NE")
    assert first.text == "Nora Falk runs the harbour of Elding."
    assert [token.lemma_ for token in second] == ["gull", "sleep", "there", "."]
    assert [token.pos_ for token in second] == ["NOUN", "VERB", "ADV", "PUNCT"]
    assert [token.head.i for token in second] == [1, 1, 1, 1]
    assert [(ent.text, ent.label_) for ent in first.ents] == [
        ("Nora Falk", "PER"),
        ("Elding", "LOC"),
    ]
    assert list(second.ents) == [] and second.has_annotation("ENT_IOB")
    assert not second.has_annotation("TAG") and not second.has_annotation("MORPH")
    assert not report.causes


def test_columns_that_are_not_read_are_counted(nlp, report):
    docs = list(read_conllup(ASSETS / "harbour.conllup", nlp, report, n_sents=0))
    assert [len(doc) for doc in docs] == [12]
    assert list(report.causes) == ["column NE: not read"]


@pytest.mark.parametrize(
    "text, message",
    [
        ("# text = a\n1\ta\n", r"corpus.txt:1: the first line is not '# global.columns"),
        ("", r"corpus.txt:1: the first line is not"),
        ("# global.columns = ID LEMMA\n", r"corpus.txt:1: the columns 'ID LEMMA' have no ID or"),
        ("# global.columns = ID FORM ID\n", r"corpus.txt:1: the columns 'ID FORM ID' have no ID"),
        (
            "# global.columns = ID FORM\n1\ta\tb\n",
            r"corpus.txt:2: 3 tab columns instead of 2.*names",
        ),
        ("# global.columns = ID FORM\n2\ta\n", r"corpus.txt:2: ID '2' instead of 1"),
        ("# global.columns = ID FORM UPOS\n1\ta\tNN\n", r"corpus.txt:2: 'NN' is not a universal"),
    ],
)
def test_malformed_files_are_errors(write, nlp, report, text, message):
    with pytest.raises(ConversionError, match=message):
        list(read_conllup(write(text), nlp, report))
