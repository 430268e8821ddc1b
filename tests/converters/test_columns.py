import pytest

from spacy_multitask.converters import ConversionError, convert
from spacy_multitask.converters.columns import read_columns
from tests.converters.conftest import ASSETS


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
        ("a NN B-NP\n", "tag", r"corpus.txt:1: 3 columns instead of 2.*the option columns, such"),
        ("\tNN\n", "tag", r"corpus.txt:1: the word is empty"),
        ("a X\n\nb NN\n", "pos", r"corpus.txt:3: 'NN' is not a universal part of speech, as all"),
        ("a NN\n", "chunk", r"corpus.txt:1: chunk tag 'NN' is not O"),
        ("a NN\n", "", r"the option label is '', but must say what the second column is"),
        ("a\t\n", "ner", r"corpus.txt:1: entity tag '' is not O"),
    ],
)
def test_malformed_lines_and_options_are_errors(write, nlp, report, text, label, message):
    with pytest.raises(ConversionError, match=message):
        list(read_columns(write(text), nlp, report, label=label))


WIDE = """# sent_id = 1
1	George	George	PROPN	B-NP	B-PER
2	went	go	VERB	B-VP	O

-DOCSTART-	-	-	-	-	-

1	Hm	_		O	O
"""


def test_every_named_column_fills_its_layer_in_one_pass(write, nlp, report):
    columns = "-,word,lemma,pos,chunk,ner"
    first, second = read_columns(write(WIDE), nlp, report, columns=columns)
    assert [(t.text, t.lemma_, t.pos_) for t in first] == [
        ("George", "George", "PROPN"), ("went", "go", "VERB")
    ]  # fmt: skip
    assert [(s.start, s.end, s.label_) for s in first.spans["np"]] == [(0, 1, "NP"), (1, 2, "VP")]
    assert [(e.start, e.end, e.label_) for e in first.ents] == [(0, 1, "PER")]
    # An empty cell, or "_", is a missing value; O is a known one.
    assert not second.has_annotation("POS") and not second.has_annotation("LEMMA")
    assert second.has_annotation("ENT_IOB") and "np" in second.spans
    assert {cause: entry.count for cause, entry in report.causes.items()} == {
        "comment line: skipped": 1
    }


def test_columns_by_number_pass_over_the_others(write, nlp, report):
    docs = list(read_columns(write(WIDE), nlp, report, columns="word=2,ner=6"))
    assert [[token.text for token in doc] for doc in docs] == [["George", "went"], ["Hm"]]
    assert [ent.text for ent in docs[0].ents] == ["George"]
    assert not docs[0].has_annotation("POS") and not docs[0].spans


@pytest.mark.parametrize(
    "text, delimiter",
    [
        ("a,NN,O\nb c,VB,O\n", "comma"),
        ("a;NN;O\nb c;VB;O\n", ";"),
        ("a\tNN\tO\nb c\tVB\tO\n", None),
    ],
)
def test_any_delimiter_parts_the_columns(write, nlp, report, text, delimiter):
    (doc,) = read_columns(write(text), nlp, report, columns="word,tag,_", delimiter=delimiter)
    assert [(token.text, token.tag_) for token in doc] == [("a", "NN"), ("b c", "VB")]


def test_a_word_that_begins_like_a_comment_is_a_word(write, nlp, report):
    docs = list(
        read_columns(write("# NN\n#1 NN\n\n# id 5f domain=en\n#2 NN\n"), nlp, report, label="tag")
    )
    assert [[token.text for token in doc] for doc in docs] == [["#", "#1"], ["#2"]]


def test_parts_of_speech_that_are_not_universal_are_kept_as_tags_and_reported(write, nlp, report):
    (doc,) = read_columns(write("a NN\nb VERB\n"), nlp, report, label="pos")
    assert [(token.tag_, token.pos_) for token in doc] == [("NN", ""), ("VERB", "")]
    assert list(report.causes) == [
        "parts of speech such as 'NN', which are not universal: kept as token.tag_"
    ]


def test_blanks_at_the_edges_of_a_span_are_trimmed_and_counted(write, nlp, report):
    text = "Oslo\tB-LOC\n\xa0\tI-LOC\n\nrose\tO\n\u3000\tB-PER\n"
    first, second = read_columns(write(text), nlp, report, label="ner")
    assert [(e.start, e.end) for e in first.ents] == [(0, 1)]
    assert list(second.ents) == [] and second.has_annotation("ENT_IOB")
    assert {cause: (entry.count, entry.first[-12:]) for cause, entry in report.causes.items()} == {
        "span with blanks at its edges: trimmed": (1, "corpus.txt:1"),
        "span of blanks alone: left out": (1, "corpus.txt:5"),
    }
    (doc,) = read_columns(write(text.replace("\n\n", "\n")), nlp, report, label="chunk")
    assert [(s.start, s.end) for s in doc.spans["np"]] == [(0, 1)]


@pytest.mark.parametrize(
    "options, message",
    [
        ({}, "give one of the options label"),
        ({"label": "ner", "columns": "word,ner"}, "give one of the options label"),
        ({"columns": "word,-"}, "must hold 'word' and one of tag, pos, lemma, chunk, ner"),
        ({"columns": "tag,ner"}, "the columns are 'tag,ner', but must hold 'word'"),
        (
            {"columns": "word,nerd"},
            "the column 'nerd' is not word, tag, pos, lemma, chunk, ner, or",
        ),
        ({"columns": "word,ner,ner"}, "the column 'ner' is named twice"),
        ({"columns": "word=1,ner"}, "the column 'ner' is not NAME=NUMBER with a number from 1"),
        ({"columns": "word=0,ner=1"}, "the column 'word=0' is not NAME=NUMBER"),
        ({"columns": "word=1,ner=3"}, r"corpus.txt:1: 2 columns instead of at least 3"),
        ({"label": "ner", "delimiter": ""}, "the delimiter is empty"),
        ({"columns": "pos,tag,word"}, r"corpus.txt:1: 2 columns instead of 3"),
    ],
)
def test_layouts_that_do_not_fit_are_refused(write, nlp, report, options, message):
    with pytest.raises(ConversionError, match=message):
        list(read_columns(write("a NN\n"), nlp, report, **options))


def test_two_columns_of_tags_that_are_not_universal_are_refused(write, nlp, report):
    with pytest.raises(
        ConversionError, match=r"corpus.txt:1: the column pos holds tags .*, and th"
    ):
        list(read_columns(write("a NN X\n"), nlp, report, columns="word,pos,tag"))


def test_the_sample_is_read_whole(nlp, report):
    path = ASSETS / "columns.tsv"
    first, second = read_columns(path, nlp, report, columns="-,word,pos,chunk,ner")
    assert [(e.text, e.label_) for e in first.ents] == [("Nora", "PER"), ("Port Elding", "ORG")]
    assert [s.text for s in first.spans["np"]] == ["Nora", "runs", "the Port Elding"]
    assert [token.pos_ for token in second] == ["NOUN", "VERB"]
