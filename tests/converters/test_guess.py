"""The format of a file is told from its content."""

import pytest

from spacy_multitask.converters import FORMATS, ConversionError, convert
from spacy_multitask.converters.guess import guess_format
from tests.converters.conftest import ASSETS

DEMO = ASSETS.parent
SAMPLES = {
    DEMO / "pos" / "dev.conllu": ("conllu", {}),
    DEMO / "chunk" / "dev.txt": ("conll2000", {}),
    DEMO / "ner" / "dev.txt": ("conll03", {}),
    DEMO / "topic" / "dev.csv": ("ag_news", {}),
    ASSETS / "harbour.conllu": ("conllu", {}),
    ASSETS / "harbour.conllup": ("conllup", {}),
    ASSETS / "columns.tsv": ("columns", {"columns": "-,word,pos,chunk,ner"}),
    ASSETS / "prodigy.jsonl": ("prodigy", {}),
    ASSETS / "label_studio.json": ("label_studio", {}),
    ASSETS / "doccano_spans.jsonl": ("doccano", {}),
    ASSETS / "doccano_relations.jsonl": ("doccano", {}),
    ASSETS / "doccano_topics.jsonl": ("doccano", {}),
    ASSETS / "brat": ("brat", {}),
    ASSETS / "brat" / "port.txt": ("brat", {}),
    ASSETS / "brat" / "port.ann": ("brat", {}),
    ASSETS / "texts.csv": ("texts", {}),
    ASSETS / "texts.tsv": ("texts", {}),
    ASSETS / "texts.jsonl": ("texts", {}),
    ASSETS / "argilla.jsonl": ("argilla", {}),
}
# A separator, or what to do with several annotators.
NEED_OPTIONS = ("texts.tsv", "label_studio.json", "argilla.jsonl")
TEXTS = {
    "__label__A some text\n\n__label__B more\n": ("labels", {}),
    "#doc 1\n0\tAnna\tB-Peop\t['N']\t[0]\n": ("conll04", {}),
    "[TOKEN]\tNNP\tO\tB-LOC\tB-LOC\n": ("cleanconll", {}),
    "a DT B-NP O\nb NN I-NP B-X\n": ("conll03", {"n_sents": 1}),
    "a DT B-NP\nb NN I-NP\n": ("conll2000", {}),
    "a X O\nb Y B-PER\n": ("columns", {"columns": "word,-,ner"}),
    "# id 1\nsonny _ _ B-PER\n": ("columns", {"columns": "word,-,-,ner"}),
    "Mr O\nSmith S-PER\n": ("columns", {"columns": "word,ner"}),
    "Mr NOUN\nsleeps VERB\n": ("columns", {"columns": "word,pos"}),
    '{"text": "a", "spans": []}': ("prodigy", {}),
    '{"text": "a", "label": "b"}': ("texts", {}),
    '{"tokens": ["a"], "ner_tags": ["O"]}': ("datasets", {}),
    '{"text": "a", "annotation": "b", "status": "Validated"}': ("argilla", {}),
    '[{"data": {"text": "a"}, "annotations": []}]': ("label_studio", {}),
    "text;label\na;b\n": ("texts", {}),
}


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_every_sample_is_told(path):
    guess = guess_format(path)
    assert (guess.format, guess.options) == SAMPLES[path]
    assert guess.format in FORMATS and guess.why


@pytest.mark.parametrize("text", TEXTS)
def test_other_files_are_told(write, text):
    guess = guess_format(write(text))
    assert (guess.format, guess.options) == TEXTS[text]


def test_every_format_can_be_told():
    told = {format for format, _ in (*SAMPLES.values(), *TEXTS.values())}
    assert told == set(FORMATS)


def test_saved_data_sets_and_parquet_files_are_told(tmp_path):
    library = pytest.importorskip("datasets", reason="the extra 'formats' is not installed")
    words = library.Dataset.from_dict({"tokens": [["a"]], "ner_tags": [["O"]]})
    texts = library.Dataset.from_dict({"text": ["a"], "label": ["b"]})
    answers = library.Dataset.from_dict({"text": ["a"], "kind.responses": [["b"]]})
    parts = library.DatasetDict({"train": words})
    for name, data in {"words": words, "texts": texts, "answers": answers, "parts": parts}.items():
        data.save_to_disk(tmp_path / name)
    texts.to_parquet(tmp_path / "texts.parquet")
    words.to_parquet(tmp_path / "words.parquet")
    names = ("words", "texts", "answers", "parts", "texts.parquet", "words.parquet")
    assert [guess_format(tmp_path / name).format for name in names] == [
        "datasets", "datasets", "argilla", "datasets", "texts", "datasets"
    ]  # fmt: skip


def test_what_is_told_is_read_without_further_options(tmp_path):
    alone = [path for path in SAMPLES if path.name not in NEED_OPTIONS]
    for path in alone:
        report = convert("auto", path, tmp_path / "out.spacy")
        assert report.docs and report.taken_for.startswith(SAMPLES[path][0]), path


@pytest.mark.parametrize(
    "text, message",
    [
        (
            "Some text.\nMore text here.\n",
            "corpus.txt: this looks like none of the formats. Name th",
        ),
        ("a b c\nd e f\n", "this looks like none of the formats"),
        ('{"a": 1}', "this looks like none of the formats"),
        ("\n\n", "corpus.txt: the file is empty"),
        ('{"a": ', "corpus.txt:1: this is not JSON"),
    ],
)
def test_what_is_of_no_format_is_an_error(write, text, message):
    with pytest.raises(ConversionError, match=message):
        guess_format(write(text))


def test_what_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        guess_format(tmp_path / "none.txt")
    with pytest.raises(ConversionError, match="this looks like none of the formats"):
        guess_format(tmp_path)
