import pytest

from spacy_multitask.converters import ConversionError, convert
from spacy_multitask.converters.conll03 import read_conll03

TEXT = """-DOCSTART- -X- -X- O

Ann NNP I-NP I-PER
Lee NNP I-NP I-PER
met VBD I-VP O
Bo NNP I-NP I-PER

Oslo NNP I-NP I-LOC
Oslo NNP I-NP B-LOC

-DOCSTART- -X- -X- O

No DT O O
news NN I-NP O
"""


def entities(doc):
    return [(ent.start, ent.end, ent.label_) for ent in doc.ents]


def test_a_doc_is_a_document_and_docstart_is_no_token(write, nlp, report):
    first, second = read_conll03(write(TEXT), nlp, report)
    assert [token.text for token in first] == ["Ann", "Lee", "met", "Bo", "Oslo", "Oslo"]
    assert entities(first) == [(0, 2, "PER"), (3, 4, "PER"), (4, 5, "LOC"), (5, 6, "LOC")]
    assert [sent.start for sent in first.sents] == [0, 4]
    assert entities(second) == []


def test_bio_gives_the_same_entities(write, nlp, report):
    text = TEXT.replace("Ann NNP I-NP I", "Ann NNP I-NP B").replace("Bo NNP I-NP I", "Bo N N B")
    text = text.replace("I-LOC", "B-LOC")
    first, _ = read_conll03(write(text), nlp, report, scheme="bio")
    assert entities(first) == [(0, 2, "PER"), (3, 4, "PER"), (4, 5, "LOC"), (5, 6, "LOC")]


def test_sentences_of_one_document_fill_docs_up_to_n_sents(write, nlp, report):
    docs = list(read_conll03(write(TEXT), nlp, report, n_sents=1))
    assert [len(doc) for doc in docs] == [4, 2, 2]
    docs = list(read_conll03(write(TEXT), nlp, report, n_sents=2))
    assert [len(doc) for doc in docs] == [6, 2]
    docs = list(read_conll03(write(TEXT), nlp, report, n_sents=9))
    assert [len(doc) for doc in docs] == [6, 2]


def test_docs_without_entities_are_annotated_as_outside_in_the_file(write, tmp_path, load):
    convert("conll03", write(TEXT), tmp_path / "out.spacy")
    first, second = load(tmp_path / "out.spacy")
    assert entities(first) == [(0, 2, "PER"), (3, 4, "PER"), (4, 5, "LOC"), (5, 6, "LOC")]
    assert [token.ent_iob_ for token in second] == ["O", "O"]
    assert second.has_annotation("ENT_IOB", require_complete=True)
    for doc in (first, second):
        assert not any(doc.has_annotation(a) for a in ("TAG", "POS", "DEP", "LEMMA", "MORPH"))
        assert dict(doc.spans) == {} and doc.cats == {}
        assert doc.has_unknown_spaces
    assert [sent.start for sent in first.sents] == [0, 4]


def test_tags_are_kept_on_demand(write, nlp, report):
    first, _ = read_conll03(write(TEXT), nlp, report, keep_tags=True)
    assert [token.tag_ for token in first] == ["NNP", "NNP", "VBD", "NNP", "NNP", "NNP"]


def test_other_spaces_of_unicode_belong_to_the_word(write, nlp, report):
    (doc,) = read_conll03(write("a\xa0b NN I-NP O\n"), nlp, report, n_sents=1)
    assert [token.text for token in doc] == ["a\xa0b"]


def test_documents_without_sentences_are_counted(write, nlp, report):
    docstart = "-DOCSTART- -X- O O\n\n"
    docs = list(read_conll03(write(docstart * 2 + "a NN O O\n\n" + docstart), nlp, report))
    assert [len(doc) for doc in docs] == [1]
    cause = report.causes["document without sentences: skipped"]
    assert cause.count == 2 and cause.first.endswith("corpus.txt:1")


@pytest.mark.parametrize(
    "text, message",
    [
        ("-DOCSTART- -X- O O\n\na NN O\n", r"corpus.txt:3: 3 columns instead of 4"),
        ("-DOCSTART- -X- O O\n\na NN O X-Y\n", r"corpus.txt:3: entity tag 'X-Y' is not O"),
        ("a NN O O\n", r"corpus.txt:1: n_sents is 0 .* 1 makes every sentence a doc"),
    ],
)
def test_malformed_lines_are_errors(write, nlp, report, text, message):
    with pytest.raises(ConversionError, match=message):
        list(read_conll03(write(text), nlp, report))


def test_negative_n_sents_is_an_error(write, nlp, report):
    with pytest.raises(ConversionError, match="n_sents is -1"):
        list(read_conll03(write(TEXT), nlp, report, n_sents=-1))


@pytest.mark.parametrize(
    "name, n_docs, n_sents, n_ents",
    [("train", 946, 14041, 23499), ("testa", 216, 3250, 5942), ("testb", 231, 3453, 5648)],
)
def test_the_real_corpus_has_its_published_counts(
    corpus_file, nlp, report, name, n_docs, n_sents, n_ents
):
    for doc in read_conll03(corpus_file(f"conll03/eng.{name}.gz"), nlp, report):
        report.add_doc(doc)
    assert (report.docs, report.sentences, report.gold["ents"]) == (n_docs, n_sents, n_ents)
