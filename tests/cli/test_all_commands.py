"""What holds for every `spacy multitask` command: help, errors, silence."""

import json
import re
import subprocess
import sys

import pytest
import spacy
import typer
from spacy.tokens import Doc, DocBin
from spacy.util import load_config
from typer.testing import CliRunner

from spacy_multitask.cli import app, command
from spacy_multitask.progress import progress, working

COMMANDS = typer.main.get_command(app).commands
every_command = pytest.mark.parametrize("name", COMMANDS)


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def fill(name, path):
    """RETURNS (List[str]): A command's first argument and those it demands, all about a path."""
    arguments = []
    for i, parameter in enumerate(COMMANDS[name].params):
        if parameter.required or i == 0:
            form = parameter.metavar or ""
            value = f"x:ner={path}" if ":" in form else f"x={path}" if "=" in form else str(path)
            option = parameter.param_type_name == "option"
            arguments += [parameter.opts[0], value] if option else [value]
    return arguments


@every_command
def test_help_ends_with_an_example(name):
    result = run(name, "--help")
    assert result.exit_code == 0
    assert "--verbose" in result.output
    last = " ".join(re.split(r"[─╯]", result.output)[-1].split())
    assert last.startswith(f"Example: python -m spacy multitask {name} ")
    assert run(name).output.count("Usage:") == 1, "without arguments it shows its help"


@every_command
def test_an_error_is_one_line_on_standard_error(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(name, *fill(name, tmp_path / "nowhere"))
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit) and result.stdout == ""
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    assert "nowhere" in result.stderr, "it says which path"


@every_command
def test_verbose_lets_the_traceback_through(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(name, *fill(name, tmp_path / "nowhere"), "--verbose")
    assert result.exit_code == 1 and not isinstance(result.exception, SystemExit)


@pytest.fixture
def file(tmp_path):
    doc = Doc(spacy.blank("en").vocab, words=["Rain", "fell"], tags=["NN", "VBD"])
    DocBin(docs=[doc]).to_disk(tmp_path / "pos.spacy")
    return tmp_path / "pos.spacy"


@pytest.mark.parametrize("name", ["evaluate", "report", "quantize"])
def test_a_model_that_is_not_there_or_damaged_gives_one_line(name, file, trained, tmp_path):
    rest = {
        "evaluate": ["--corpus", f"pos={file}"],
        "report": [tmp_path / "out.html", "--corpus", f"pos={file}"],
        "quantize": [tmp_path / "out"],
    }[name]
    missing = run(name, "en_nowhere", *rest)
    assert missing.exit_code == 1 and "Can't find model 'en_nowhere'" in missing.stderr
    trained.to_disk(tmp_path / "model")
    (weights,) = (tmp_path / "model" / "transformer").rglob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:1000])
    damaged = run(name, tmp_path / "model", *rest)
    assert damaged.exit_code == 1 and isinstance(damaged.exception, SystemExit)
    assert damaged.stderr.startswith("Error: ") and damaged.stderr.count("\n") == 1
    assert weights.name in damaged.stderr


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["pos"], "give NAME=PATH"),
        (["=."], "give NAME=PATH"),
        (["pos=nowhere"], "there is no nowhere"),
        (["pos=.", "pos=."], "the name pos is taken"),
    ],
)
def test_corpora_of_another_form_are_refused(items, message):
    result = run("evaluate", "x", *(word for item in items for word in ("-c", item)))
    assert result.exit_code == 1 and message in result.stderr


def test_errors_of_ours_show_their_type_and_the_way_to_more(monkeypatch):
    monkeypatch.setattr(app, "registered_commands", [])

    @command("fails", example="now")
    def fails(what: str) -> None:
        raise {"key": KeyError("x"), "empty": ValueError(), "exit": typer.Exit(3)}[what]

    @command("other", example="now")
    def other() -> None:
        """typer takes a single command for the app itself."""

    assert run("fails", "key").stderr.startswith(
        "Error: KeyError: 'x'. Repeat the command with --verbose"
    )
    assert run("fails", "empty").stderr.startswith("Error: ValueError: no message.")
    exited = run("fails", "exit")
    assert exited.exit_code == 3 and exited.output == ""


def test_an_option_that_is_none_is_one_line_where_overrides_are_taken(tmp_path):
    (tmp_path / "x.cfg").write_text("")
    result = run("train", tmp_path / "x.cfg", "--output", tmp_path, "--resumee", "3")
    assert result.exit_code == 2
    assert re.fullmatch("Error: No such option.*--resumee.*\n", result.stderr)


@pytest.mark.parametrize("rest", [["--bogus"], ["--bogus", "3"]])
def test_an_option_that_is_none_is_no_config(tmp_path, rest):
    DocBin().to_disk(tmp_path / "a.spacy")
    result = run("leaks", "--train", f"a={tmp_path / 'a.spacy'}", *rest)
    assert result.stderr == "Error: There is no option --bogus; --help lists them.\n"


@pytest.mark.parametrize("name", ["evaluate", "report"])
def test_corpora_without_gold_for_any_head_are_an_error(name, trained, tmp_path):
    trained.to_disk(tmp_path / "model")
    DocBin(docs=[Doc(trained.vocab, words=["Smith"])]).to_disk(tmp_path / "none.spacy")
    out = [tmp_path / "x.html"] if name == "report" else []
    result = run(name, tmp_path / "model", *out, "--corpus", f"wire={tmp_path / 'none.spacy'}")
    assert result.exit_code == 1
    assert "Error: No gold for any of tagger, chunker" in result.stderr
    assert "in the corpora wire." in result.stderr


# Command -> its arguments, with the place of what it writes.
WRITING = {
    "calibrate": "x OUT --corpus pos=FILE",
    "calibrate --json": "x new --corpus pos=FILE --json OUT",
    "compare --output": "CONFIG --output OUT",
    "compare --models": "CONFIG --models FOLDER",
    "convert": "conllu FILE OUT.spacy",
    "evaluate": "x --corpus pos=FILE --output OUT",
    "init-config": "OUT --encoder x --task pos:tagger=FILE",
    "leaks --output": "--train a=FILE --test b=FILE --output OUT",
    "leaks --drop": "--train a=FILE --test b=FILE --drop FOLDER",
    "quantize": "x FOLDER",
    "report": "x OUT --corpus pos=FILE",
    "split": "FILE OUT.spacy new.spacy",
    "train": "CONFIG --output FOLDER",
}


@pytest.mark.parametrize("name", WRITING)
def test_nothing_that_is_there_is_overwritten_unasked(name, file, tmp_path):
    places = {
        "FOLDER": tmp_path / "folder",
        "OUT.spacy": tmp_path / "out.spacy",
        "OUT": tmp_path / "out",
        "FILE": file,
        "CONFIG": tmp_path / "x.cfg",
    }
    (tmp_path / "folder").mkdir()
    (tmp_path / "x.cfg").write_text("")
    written = [tmp_path / "out", tmp_path / "out.spacy", tmp_path / "folder" / "a.spacy"]
    written.append(tmp_path / "folder" / "checkpoint.safetensors")
    for path in written:
        path.write_text("of hours")
    arguments = []
    for argument in WRITING[name].split():
        key = next((key for key in places if argument.endswith(key)), None)
        arguments.append(argument if key is None else argument.replace(key, str(places[key])))
    result = run(name.split()[0], *arguments)
    assert result.exit_code == 1, result.output
    assert result.stderr.count("\n") == 1 and "--overwrite" in result.stderr
    assert {path.read_text() for path in written} == {"of hours"}


def test_what_is_there_is_overwritten_if_asked_to(file, tmp_path):
    for part in ("train", "dev"):
        (tmp_path / f"{part}.spacy").write_text("old")
    vocab = spacy.blank("en").vocab
    two = DocBin(docs=[Doc(vocab, words=[word]) for word in ("Rain", "Snow")])
    two.to_disk(file)
    done = run("split", file, tmp_path / "train.spacy", tmp_path / "dev.spacy", "--overwrite")
    assert done.exit_code == 0, done.output
    assert len(DocBin().from_disk(tmp_path / "dev.spacy")) == 1


def test_ctrl_c_ends_any_command_with_its_own_code(monkeypatch):
    monkeypatch.setattr(app, "registered_commands", [])

    @command("waits", example="now")
    def waits(what: str) -> None:
        raise KeyboardInterrupt

    @command("other", example="now")
    def other() -> None:
        """typer takes a single command for the app itself."""

    result = run("waits", "x")
    assert (result.exit_code, result.stderr) == (130, "Interrupted.\n")


def test_an_empty_corpus_is_named(trained, tmp_path):
    trained.to_disk(tmp_path / "model")
    DocBin().to_disk(tmp_path / "none.spacy")
    result = run("evaluate", tmp_path / "model", "--corpus", f"wire={tmp_path / 'none.spacy'}")
    assert result.stderr.startswith("Error: Corpus 'wire':")


def test_a_command_line_prints_no_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "spacy", "multitask", "split", "no.spacy", "a.spacy", "b.spacy"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == "Error: There is no file no.spacy. Check the path.\n"


class Terminal:
    """Standard error that says that it is a terminal."""

    encoding = "utf8"

    def __init__(self, terminal: bool):
        self.terminal, self.text = terminal, ""

    def isatty(self):
        return self.terminal

    def write(self, text):
        self.text += text

    def flush(self):
        pass


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_shown_on_a_terminal_only(terminal, monkeypatch):
    monkeypatch.setitem(progress.__globals__["SETTINGS"], "delay", 0)
    stderr = Terminal(terminal)
    monkeypatch.setattr(sys, "stderr", stderr)
    assert list(progress(range(3), "Counting")) == [0, 1, 2]
    with working("Thinking"):
        pass
    assert ("Counting" in stderr.text and "Thinking... 00:00" in stderr.text) == terminal
    assert bool(stderr.text) == terminal


def test_work_of_less_than_a_second_shows_no_progress(monkeypatch):
    stderr = Terminal(True)
    monkeypatch.setattr(sys, "stderr", stderr)
    assert list(progress(range(3), "Counting")) == [0, 1, 2]
    with working("Thinking"):
        pass
    assert "Counting" not in stderr.text and "Thinking" not in stderr.text


@pytest.mark.parametrize("name", ["evaluate", "report", "leaks", "compare", "calibrate"])
def test_a_folder_in_place_of_a_file_to_write_is_told_of_at_once(name, tmp_path):
    (tmp_path / "folder").mkdir()
    arguments = fill(name, tmp_path / "nowhere")
    if name == "report":
        arguments[1] = str(tmp_path / "folder")
    else:
        option = "--json" if name == "calibrate" else "--output"
        arguments += [option, str(tmp_path / "folder")]
    result = run(name, *arguments)
    assert result.exit_code == 2, result.output
    assert "is a directory" in " ".join(re.sub("[│╭╮╰╯─]", " ", result.output).split())


TAKE_CODE = [
    "add-head",
    "calibrate",
    "compare",
    "evaluate",
    "init-config",
    "leaks",
    "quantize",
    "report",
]


@pytest.mark.parametrize("name", TAKE_CODE)
def test_a_file_with_code_runs_before_the_command(name, tmp_path):
    (tmp_path / "code.py").write_text("raise KeyError('mine')")
    arguments = fill(name, tmp_path / "nowhere")
    result = run(name, *arguments, "--code", tmp_path / "code.py")
    assert result.stderr == f"Error: --code {tmp_path / 'code.py'}: KeyError: 'mine'\n"
    result = run(name, *arguments, "--code", tmp_path / "none.py")
    assert (
        result.stderr
        == f"Error: --code {tmp_path / 'none.py'}: there is no such file. Check the path.\n"
    )


@pytest.mark.parametrize("name", ["evaluate", "report", "calibrate", "quantize"])
def test_a_pipeline_with_functions_of_its_own_loads_with_their_file(name, trained, tmp_path):
    if name == "quantize":
        pytest.importorskip("onnxscript")
    function = f"tests.tokenizer_for_{name}.v1"  # not known to another of these tests
    (tmp_path / "code.py").write_text(
        "from spacy.tokenizer import Tokenizer\nfrom spacy.util import registry\n\n\n"
        f'@registry.tokenizers("{function}")\ndef make():\n'
        "    return lambda nlp: Tokenizer(nlp.vocab)\n"
    )
    trained.to_disk(tmp_path / "model")
    config = load_config(tmp_path / "model" / "config.cfg")
    config["nlp"]["tokenizer"] = {"@tokenizers": function}
    config.to_disk(tmp_path / "model" / "config.cfg")
    words = ["Mr", "Smith", "loves", "New", "York"]
    tags = ["NNP", "NNP", "VBZ", "NNP", "NNP"]
    DocBin(docs=[Doc(trained.vocab, words=words, tags=tags)]).to_disk(tmp_path / "pos.spacy")
    arguments = [name, tmp_path / "model"]
    arguments += [] if name == "evaluate" else [tmp_path / "out"]
    arguments += [] if name == "quantize" else ["--corpus", f"pos={tmp_path / 'pos.spacy'}"]
    without = run(*arguments)
    assert without.exit_code == 1 and function in without.stderr
    done = run(*arguments, "--code", tmp_path / "code.py")
    assert done.exit_code == 0, done.output


@pytest.fixture
def leaking(tmp_path):
    words = "the rain fell on the old town by the river all night long".split()
    doc = Doc(spacy.blank("en").vocab, words=words, tags=["X"] * len(words))
    DocBin(docs=[doc]).to_disk(tmp_path / "pos.spacy")
    return [
        "leaks",
        "--train",
        f"a={tmp_path / 'pos.spacy'}",
        "--test",
        f"b={tmp_path / 'pos.spacy'}",
    ]


def test_leaks_can_fail(leaking, tmp_path):
    assert run(*leaking).exit_code == 0
    result = run(*leaking, "--fail", "--json", tmp_path / "leaks.json")
    assert result.exit_code == 1 and "a  " in result.stdout and not result.stderr
    assert json.loads((tmp_path / "leaks.json").read_text())["leaks"][0]["same"] == 1
    assert run(*leaking, "--min-words", 20, "--fail").exit_code == 0, "there are none"


def test_json_on_standard_output_stands_alone(leaking, tmp_path):
    result = run(*leaking, "--json", "-")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["leaking_docs"] == {"a": 1}
    assert "held out" in result.stderr, "the table"
    assert run(*leaking, "--fail", "--json", "-").stdout == result.stdout
    run(*leaking, "--output", tmp_path / "old_name.json")
    assert json.loads((tmp_path / "old_name.json").read_text()) == json.loads(result.stdout)


@pytest.mark.parametrize("name", ["calibrate", "compare", "evaluate", "leaks"])
def test_results_are_written_by_one_option(name):
    (option,) = (p for p in COMMANDS[name].params if p.name == "json_path")
    assert option.opts[0] == "--json"
