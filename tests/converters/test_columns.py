import pytest

from spacy_multitask.converters import ConversionError, convert
from spacy_multitask.converters.columns import read_columns


def test_each_label_kind_fills_its_layer_only(write, tmp_path, load):
    layers = {"tag": ("A B", "TAG"), "pos": ("NOUN X", "POS"), "ner": ("B-X O", "ENT_IOB")}
    for label, (values, layer) in layers.items():
        value1, value2 = values.split()
        path = write(f"x {value1}\ny {value2}\n")
        convert("columns", path, tmp_path / "out.spacy", label=label)
        (doc,) = load(tmp_path / "out.spacy")
        annotated = [a for a in ("TAG", "POS", "ENT_IOB", "DEP", "LEMMA") if doc.has_annotation(a)]
        assert annotated == [layer]
        assert dict(doc.spans) == {}


def test_chunks_become_spans(write, nlp, report):
    path = write("a B-NP\nb I-NP\nc O\n\nd O\n")
    first, second = read_columns(path, nlp, report, label="chunk", spans_key="sc")
    assert [(s.start, s.end, s.label_) for s in first.spans["sc"]] == [(0, 2, "NP")]
    assert list(second.spans["sc"]) == []


def test_tabs_let_words_have_blanks(write, nlp, report):
    (doc,) = read_columns(write("10 000\tCD\n"), nlp, report, label="tag")
    assert [(token.text, token.tag_) for token in doc] == [("10 000", "CD")]


def test_docstart_lines_bound_docs(write, nlp, report):
    path = write("-DOCSTART- O\n\na O\n\nb O\n\n-DOCSTART- O\n\nc O\n")
    docs = list(read_columns(path, nlp, report, label="ner", n_sents=0))
    assert [len(doc) for doc in docs] == [2, 1]


@pytest.mark.parametrize(
    "text, label, message",
    [
        ("a X\nb\n", "tag", r"corpus.txt:2: 1 columns instead of 2"),
        ("a NN B-NP\n", "tag", r"corpus.txt:1: 3 columns instead of 2"),
        ("a\t\n", "tag", r"corpus.txt:1: 1 columns instead of 2"),
        ("a NN\n", "pos", r"corpus.txt:1: 'NN' is not a universal part of speech"),
        ("a NN\n", "chunk", r"corpus.txt:1: chunk tag 'NN' is not O"),
        ("a NN\n", "", r"the option label is '', but must say what the second column is"),
    ],
)
def test_malformed_lines_and_options_are_errors(write, nlp, report, text, label, message):
    with pytest.raises(ConversionError, match=message):
        list(read_columns(write(text), nlp, report, label=label))
