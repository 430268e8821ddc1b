import csv

import pytest

from spacy_multitask.converters import ConversionError, convert
from spacy_multitask.converters.ag_news import clean_text, read_ag_news

TEXT = """"4","Robots","They ""walk"" now."
"1","","Talks, at last."
"""


def test_docs_have_all_four_labels(write, tmp_path, load):
    convert("ag_news", write(TEXT, "train.csv.gz"), tmp_path / "out.spacy")
    first, second = load(tmp_path / "out.spacy")
    assert first.text == 'Robots They "walk" now.'
    assert first.cats == {"World": 0.0, "Sports": 0.0, "Business": 0.0, "Sci/Tech": 1.0}
    assert second.text == "Talks, at last."
    assert second.cats == {"World": 1.0, "Sports": 0.0, "Business": 0.0, "Sci/Tech": 0.0}
    assert not any(first.has_annotation(a) for a in ("TAG", "ENT_IOB", "DEP", "SENT_START"))


def test_label_names_are_an_option(write, nlp, report):
    doc = next(read_ag_news(write(TEXT), nlp, report, labels=["W", "S", "B", "T"]))
    assert doc.cats == {"W": 0.0, "S": 0.0, "B": 0.0, "T": 1.0}


@pytest.mark.parametrize("labels", [["a", "b", "c"], ["a", "a", "b", "c"], ["a", "b", "c", ""]])
def test_label_names_must_be_four_different_ones(write, nlp, report, labels):
    with pytest.raises(ConversionError, match="must be 4 different names"):
        list(read_ag_news(write(TEXT), nlp, report, labels=labels))


def test_header_and_empty_texts_are_counted(write, nlp, report):
    path = write('Class Index,Title,Description\n"1","",""\n"1"," ","x"\n')
    assert [doc.text for doc in read_ag_news(path, nlp, report)] == ["  x"]
    assert report.causes["header line: skipped"].count == 1
    assert report.causes["empty text: skipped"].first.endswith("corpus.txt:2")


@pytest.mark.parametrize(
    "text, message",
    [
        ('"1","a","b"\n"5","a","b"\n', r"corpus.txt:2: class '5' is not 1, 2, 3 or 4"),
        ('"1","a"\n', r"corpus.txt:1: 2 fields instead of 3"),
        ('"1","a","b\n"2","c","d"\n', r"corpus.txt:1: the line is not valid CSV"),
        ('"1","a" x,"b"\n', r"corpus.txt:1: the line is not valid CSV"),
        ('"1","a","' + "b" * 140_000 + '"\n', r"corpus.txt:1: the line is not valid CSV: field la"),
        ('"1","a","b\0"\n', r"corpus.txt:1: the line has a NUL byte"),
    ],
)
def test_malformed_lines_are_errors(write, nlp, report, text, message):
    csv.field_size_limit(131_072)  # Python's own; the converter of tables raises it
    with pytest.raises(ConversionError, match=message):
        list(read_ag_news(write(text), nlp, report))


@pytest.mark.parametrize(
    "text, cleaned",
    [
        ("Ann #39;s dogs #39; toys", "Ann's dogs' toys"),
        ("she said  quot;no quot; twice", 'she said "no" twice'),
        (" quot;No quot;", '"No"'),
        ("quot;No quot;", '"No"'),
        ("for  #36;3\\billion or \\$4 million", "for $3 billion or $4 million"),
        ("B amp;B and A  amp; C", "B&B and A & C"),
        ("&lt;b&gt;Bold&lt;/b&gt; and&lt;br /&gt;new", "Bold and new"),
        ('&lt;A HREF="http://x.y/z"&gt;ABC.N&lt;/A&gt; rose', "ABC.N rose"),
        ("Acme &lt;ACM.O&gt; fell", "Acme <ACM.O> fell"),
        ("late  #151; or  hellip; never", "late \u2014 or \u2026 never"),
        ("a\\\\b\\c", "a b c"),
        ("a late; game", "a late; game"),
        ("plain text", "plain text"),
    ],
)
def test_cleaning_undoes_the_debris(text, cleaned):
    assert clean_text(text) == cleaned


def test_the_real_test_set_has_1900_docs_of_each_class(corpus_file, nlp, report, tmp_path):
    report = convert("ag_news", corpus_file("ag_news/test.csv.gz"), tmp_path / "test.spacy")
    assert report.docs == 7600
    assert set(report.labels["cats"].values()) == {1900}
    assert not report.causes
