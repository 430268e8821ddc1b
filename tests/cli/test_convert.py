import inspect
import subprocess
import sys
import typing

import pytest
import spacy
from spacy.cli._util import app as spacy_app
from spacy.tokens import DocBin
from typer.testing import CliRunner

from spacy_multitask import cli
from spacy_multitask.cli.convert import convert_cli
from spacy_multitask.converters import FORMATS, ConversionError
from spacy_multitask.converters.formats import get_format_options


def run(*args):
    return CliRunner().invoke(spacy_app, ["multitask", "convert", *map(str, args)])


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("-DOCSTART- -X- O O\n\nAnn NNP I-NP I-PER\n\nran VBD I-VP O\n")
    return path


def test_the_command_converts_and_reports(corpus, tmp_path):
    result = run("conll03", corpus, tmp_path / "out.spacy")
    assert result.exit_code == 0, result.output
    assert "1 docs, 2 sentences, 2 tokens" in result.output
    assert "gold ents: 1 (PER 1)" in result.output
    (doc,) = DocBin().from_disk(tmp_path / "out.spacy").get_docs(spacy.blank("en").vocab)
    assert [(ent.text, ent.label_) for ent in doc.ents] == [("Ann", "PER")]


def test_options_reach_the_converter(corpus, tmp_path):
    result = run("conll03", corpus, tmp_path / "out.spacy", "--sentences", "--keep-tags")
    assert "2 docs, 2 sentences, 2 tokens" in result.output and "gold tag: 2" in result.output
    csv = tmp_path / "news.csv"
    csv.write_text('"2","a","x \\\\ y"\n')
    result = run("ag_news", csv, tmp_path / "o.spacy", "--labels", "a, b, c, d", "--clean")
    assert "gold cats: 1 (b 1)" in result.output


def test_bad_data_gives_one_line_and_exit_code_1(corpus, tmp_path):
    corpus.write_text("Ann NNP\n")
    result = run("conll03", corpus, tmp_path / "out.spacy", "-n", 1)
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {corpus}:1: 2 columns instead of 4.")
    assert result.output.count("\n") == 1


@pytest.mark.parametrize(
    "args, message",
    [
        (("conll03", "none.txt", "out.spacy"), "none.txt: there is no such file"),
        (("conll", "none.txt", "out.spacy"), "the format 'conll' is not one of"),
    ],
)
def test_missing_files_and_formats_give_one_line(args, message):
    result = run(*args)
    assert result.exit_code == 1
    assert message in result.output and result.output.count("\n") == 1


def test_options_of_other_formats_and_contradictions_are_errors(corpus, tmp_path):
    result = run("conll03", corpus, tmp_path / "out.spacy", "--clean")
    assert result.exit_code == 1
    message = "the format 'conll03' has no option --clean. It has --keep-tags, --scheme, --n-sents."
    assert message in result.output
    result = run("conll03", corpus, tmp_path / "out.spacy", "--sentences", "-n", 5)
    assert result.exit_code == 1 and "--n-sents is 5" in result.output


@pytest.mark.parametrize(
    ("format", "arguments", "message"),
    [
        (
            "conll04",
            ("--sentences",),
            "'conll04' has no option --sentences. It has none of its own.",
        ),
        ("conll04", ("-n", 1), "'conll04' has no option --n-sents. It has none of its own."),
        ("labels", ("--keep-tags",), "'labels' has no option --keep-tags. It has --labels, --cl"),
        ("conllu", ("--spans-key", "x"), "'conllu' has no option --spans-key. It has --ner, "),
    ],
)
def test_options_are_named_as_they_were_written(corpus, tmp_path, format, arguments, message):
    result = run(format, corpus, tmp_path / "out.spacy", *arguments)
    assert result.exit_code == 1 and message in result.output


def test_help_names_the_formats_that_take_each_option():
    """All of them, and no others."""
    n = 0
    for param in inspect.signature(convert_cli).parameters.values():
        hint = typing.get_args(param.annotation)[1].help
        formats = hint.partition(": ")[0]
        takers = [f for f in FORMATS if param.name in get_format_options(f)]
        if takers:
            assert sorted(formats.split(", ")) == sorted(takers), hint
            n += 1
    assert n >= 5


def test_verbose_lets_the_error_through(corpus, tmp_path):
    result = run("conll03", corpus, tmp_path / "out.spacy", "--scheme", "x", "--verbose")
    assert isinstance(result.exception, ConversionError)


def test_help_shows_an_example():
    result = run("--help")
    assert result.exit_code == 0
    assert "spacy multitask convert conll03" in result.output


def test_the_app_is_registered_once():
    names = [group.name for group in spacy_app.registered_groups]
    assert names.count("multitask") == 1
    assert cli.app.info.name == "multitask"


def test_the_cli_does_not_import_the_converters():
    code = (
        "import sys, spacy.cli; before = set(sys.modules); import spacy_multitask.cli;"
        "new = set(sys.modules) - before;"
        "assert not {m for m in new if m.startswith(('torch', 'transformers'))}, new;"
        "assert 'spacy_multitask.converters' not in new"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_layers_and_labels_are_chosen(corpus, tmp_path):
    (tmp_path / "map.json").write_text('{"LOC": "PLACE"}')
    result = run(
        "conll03", corpus, tmp_path / "out.spacy", "--keep-tags", "--layers", "ner, tag",
        "--map", "PER=PERSON", "--map", "ORG=FIRM", "--drop", "VBD",
        "--map-file", tmp_path / "map.json",
    )  # fmt: skip
    assert "gold ents: 1 (PERSON 1)" in result.output and "gold tag: 1" in result.output
    for label in ("ORG", "LOC"):
        assert f"1 x label {label} to map or drop: is in no doc" in result.output


def test_auto_names_the_format_and_its_options(corpus, tmp_path):
    result = run("auto", corpus, tmp_path / "out.spacy", "--sentences")
    assert "taken for conll03: words with parts of speech, chunk and" in result.output
    assert "2 docs, 2 sentences" in result.output
    result = run("auto", corpus, tmp_path / "out.spacy", "--clean")
    assert result.exit_code == 1 and "'conll03' has no option --clean" in result.output
