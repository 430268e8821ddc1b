import os

import pytest
import spacy
from spacy.training import Corpus

from spacy_multitask.converters import FORMATS, ConversionError, convert, formats
from spacy_multitask.safe_files import SavingError

SENTENCES = "".join(f"word{i} T{i}\n\n" for i in range(100))


def convert_tags(path, output, **options):
    return convert("columns", path, output, label="tag", **options)


def words(docs):
    return [token.text for doc in docs for token in doc]


def test_a_sample_is_random_and_the_same_for_a_seed(write, tmp_path, load):
    path, output = write(SENTENCES), tmp_path / "out.spacy"
    samples = []
    for seed in (0, 0, 1):
        report = convert_tags(path, output, sample=0.3, seed=seed)
        samples.append(words(load(output)))
        left_out = report.causes[f"doc left out by sample 0.3 (seed {seed})"].count
        assert report.docs + left_out == 100
        assert 15 <= report.docs <= 45
    assert samples[0] == samples[1] != samples[2]


def test_a_limit_counts_the_docs_that_are_kept(write, tmp_path, load):
    path, output = write(SENTENCES), tmp_path / "out.spacy"
    report = convert_tags(path, output, limit=3)
    assert words(load(output)) == ["word0", "word1", "word2"]
    assert "stop at the limit of 3 docs: the rest was not read" in report.causes
    assert convert_tags(path, output, limit=3, sample=0.5).docs == 3
    assert not convert_tags(path, output, limit=200).causes


def test_spacy_reads_the_file_with_the_gold_tokens(write, tmp_path):
    nlp = spacy.blank("en")
    convert_tags(write("can't VB\nx- NN\n"), tmp_path / "out.spacy")
    (example,) = Corpus(tmp_path / "out.spacy")(nlp)
    assert words([example.predicted]) == words([example.reference]) == ["can't", "x-"]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"sample": 0.0}, "sample is 0.0, but must be above 0 and at most 1"),
        ({"sample": 1.5}, "sample is 1.5"),
        ({"sample": float("nan")}, "sample is nan"),
        ({"limit": 0}, "limit is 0, but must be at least 1"),
        ({"clean": True}, "the format 'columns' has no option 'clean'. It has 'label', "),
        ({"n_sents": -2}, "n_sents is -2"),
        ({"lang": "qqq"}, "the language 'qqq' cannot be loaded"),
    ],
)
def test_bad_options_are_errors(write, tmp_path, options, message):
    with pytest.raises(ConversionError, match=message):
        convert_tags(write(SENTENCES), tmp_path / "out.spacy", **options)


def test_bad_formats_and_outputs_are_errors(write, tmp_path):
    path = write(SENTENCES, "in.spacy")
    with pytest.raises(ConversionError, match="the format 'conll' is not one of conllu, conllup"):
        convert("conll", path, tmp_path / "out.spacy")
    with pytest.raises(ConversionError, match=r"must end in '.spacy'"):
        convert_tags(path, tmp_path / "out.txt")
    with pytest.raises(ConversionError, match="would replace an input"):
        convert_tags(path, path)
    (tmp_path / "dir.spacy").mkdir()
    with pytest.raises(ConversionError, match="is a directory"):
        convert_tags(path, tmp_path / "dir.spacy")


@pytest.mark.parametrize("format", ["conllu", "conll2000", "conll03", "cleanconll", "ag_news"])
def test_an_empty_file_is_an_error(write, tmp_path, format):
    with pytest.raises(ConversionError, match="there is no doc to write"):
        convert(format, write("\n\n"), tmp_path / "out.spacy")
    assert not (tmp_path / "out.spacy").exists()


def test_a_failed_conversion_leaves_the_old_file_and_no_other(write, tmp_path, load, monkeypatch):
    output = tmp_path / "new" / "out.spacy"
    convert_tags(write("a X\n"), output)
    with pytest.raises(ConversionError):
        convert_tags(write("b X\n\nc\n"), output)

    def fail(source, target):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(SavingError, match=r"Can't save .*out\.spacy: disk full"):
        convert_tags(write("b X\n"), output)
    assert words(load(output)) == ["a"]
    assert os.listdir(output.parent) == ["out.spacy"]


def test_every_format_documents_its_options():
    n = 0
    for format, read in FORMATS.items():
        for option in formats.get_format_options(format):
            assert f"    {option} (" in read.__doc__, (format, option)
            n += 1
    assert n >= len(FORMATS)


def test_auto_says_what_it_took_a_file_for(write, tmp_path, load):
    path = write("Nora B-PER\nleft O\n")
    report = convert("auto", path, tmp_path / "out.spacy", lang="nb")
    (doc,) = load(tmp_path / "out.spacy")
    assert [ent.text for ent in doc.ents] == ["Nora"]
    assert "  taken for columns: columns word,ner\n" in report.render()
    with pytest.raises(ConversionError, match=r"no option 'clean'.*It was taken for columns: "):
        convert("auto", path, tmp_path / "out.spacy", clean=True)
    # What is given goes first.
    report = convert("auto", path, tmp_path / "out.spacy", label="tag")
    assert report.gold["tag"] == 2
