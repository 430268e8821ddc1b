import pytest

from spacy_multitask.converters import ConversionError, convert
from spacy_multitask.converters.conll2000 import read_conll2000

TEXT = """She PRP B-NP
gave VBD B-VP
the DT B-NP
dog NN I-NP
a DT B-NP
bone NN I-NP
. . O

Well UH O
"""


def chunks(doc, key="np"):
    return [(span.start, span.end, span.label_) for span in doc.spans[key]]


def test_chunks_become_spans_of_all_types(write, nlp, report):
    first, second = read_conll2000(write(TEXT), nlp, report)
    assert [token.text for token in first] == ["She", "gave", "the", "dog", "a", "bone", "."]
    assert chunks(first) == [(0, 1, "NP"), (1, 2, "VP"), (2, 4, "NP"), (4, 6, "NP")]
    assert chunks(second) == []


def test_only_the_chunk_layer_is_annotated(write, nlp, report):
    docs = list(read_conll2000(write(TEXT), nlp, report))
    assert docs
    for doc in docs:
        assert not any(doc.has_annotation(a) for a in ("TAG", "POS", "ENT_IOB", "DEP", "LEMMA"))
        assert doc.cats == {}
        assert doc.has_unknown_spaces


def test_tags_are_kept_on_demand(write, nlp, report):
    doc = next(read_conll2000(write(TEXT), nlp, report, keep_tags=True))
    assert [token.tag_ for token in doc] == ["PRP", "VBD", "DT", "NN", "DT", "NN", "."]


def test_chunks_keep_their_place_in_docs_of_several_sentences(write, nlp, report):
    (doc,) = read_conll2000(write(TEXT + "\nI PRP B-NP\n"), nlp, report, n_sents=3)
    assert chunks(doc) == [(0, 1, "NP"), (1, 2, "VP"), (2, 4, "NP"), (4, 6, "NP"), (8, 9, "NP")]
    assert [sent.start for sent in doc.sents] == [0, 7, 8]


def test_an_empty_layer_stays_present_in_the_file(write, tmp_path, load):
    convert("conll2000", write(TEXT), tmp_path / "out.spacy", spans_key="chunks")
    first, second = load(tmp_path / "out.spacy")
    assert chunks(first, "chunks") == [(0, 1, "NP"), (1, 2, "VP"), (2, 4, "NP"), (4, 6, "NP")]
    assert "chunks" in second.spans and chunks(second, "chunks") == []
    assert "np" not in second.spans
    assert not first.has_annotation("TAG") and not first.has_annotation("ENT_IOB")


@pytest.mark.parametrize("line", ["-DOCSTART-", "-DOCSTART- -X-", "-DOCSTART- -X- O O"])
def test_document_lines_may_have_any_columns(write, nlp, report, line):
    text = f"{line}\n\nI PRP B-NP\n\nHe PRP B-NP\n\n{line}\n\nWell UH O\n"
    docs = list(read_conll2000(write(text), nlp, report, n_sents=0))
    assert [doc.text.split() for doc in docs] == [["I", "He"], ["Well"]]


@pytest.mark.parametrize(
    "text, message",
    [
        ("a DT B-NP\nb NN\n", r"corpus.txt:2: 2 columns instead of 3"),
        ("a DT B-NP x\n", r"corpus.txt:1: 4 columns instead of 3"),
        ("\n\na DT NP\n", r"corpus.txt:3: chunk tag 'NP' is not O, B-<type> or I-<type>"),
    ],
)
def test_malformed_lines_are_errors(write, nlp, report, text, message):
    with pytest.raises(ConversionError, match=message):
        list(read_conll2000(write(text), nlp, report))


def test_whole_documents_cannot_be_asked_of_a_file_without_any(write, nlp, report):
    with pytest.raises(ConversionError, match=r"corpus.txt:1: n_sents is 0 .* no -DOCSTART- line"):
        list(read_conll2000(write(TEXT), nlp, report, n_sents=0))


@pytest.mark.parametrize(
    "name, n_sents, n_tokens", [("train", 8936, 211727), ("test", 2012, 47377)]
)
def test_the_real_corpus_has_its_published_counts(
    corpus_file, nlp, report, name, n_sents, n_tokens
):
    for doc in read_conll2000(corpus_file(f"conll2000/{name}.txt.gz"), nlp, report):
        report.add_doc(doc)
    assert (report.docs, report.sentences, report.tokens) == (n_sents, n_sents, n_tokens)
    assert not report.causes
