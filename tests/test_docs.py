"""Every snippet of README.md and docs/ works: Python runs, commands parse, config sections load."""

import ast
import inspect
import random
import re
import shlex
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import spacy
import typer
from spacy.cli._util import app as spacy_app
from spacy.language import Language
from spacy.util import registry
from thinc.api import Config

import spacy_multitask.cli  # noqa: F401  adds its commands to spaCy's
from spacy_multitask.cli import app
from tests.integration.conftest import write_corpora

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)( no-test)?\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[tuple[bool, str]]:
    """RETURNS (List[Tuple[bool, str]]): Whether it is to be run, and its text."""
    found = BLOCK.findall(page.read_text(encoding="utf8"))
    return [(not no_test, text) for name, no_test, text in found if name == language]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_python(page, trained, encoder_path, tmp_path, monkeypatch):
    snippets = blocks(page, "python")
    if not snippets:
        pytest.skip("no Python on this page")
    if any("fastapi" in text for _, text in snippets):
        pytest.importorskip("fastapi", reason="FastAPI is not installed")
    monkeypatch.chdir(tmp_path)
    write_corpora(tmp_path / "corpus")
    trained.to_disk(tmp_path / "en_multitask")
    # Or an installed package of that name would take its place, such as the demo's.
    monkeypatch.setattr(spacy.util, "is_package", lambda name: False)
    # Fit for a tiny encoder and few sentences.
    from spacy_multitask.composing import config

    monkeypatch.setattr(config, "_TEMPLATE", config._TEMPLATE.replace(
        "name = ${{paths.encoder}}", "name = ${{paths.encoder}}\noverlap = 8"
    ))  # fmt: skip
    namespace: dict = {}
    for runs, text in snippets:
        if runs:
            text = text.replace('"distilbert-base-uncased"', repr(encoder_path))
            exec(compile(text, str(page), "exec"), namespace)
        else:
            ast.parse(text)


def commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for _, text in blocks(page, "bash"):
            for line in text.replace("\\\n", " ").splitlines():
                line = line.partition("  #")[0].strip()
                if line.startswith("python -m spacy "):
                    found.append((page.name, line))
    for name, command in typer.main.get_command(app).commands.items():
        found.append((f"--help of {name}", command.epilog.removeprefix("Example: ")))
    return found


@pytest.mark.parametrize(("page", "line"), commands(), ids=lambda value: value[:60])
def test_commands_take_these_options(page, line):
    # What typer builds is read as it is: its classes are click's or its own, by version.
    command = typer.main.get_command(spacy_app)
    words = shlex.split(line)[3:]
    while hasattr(command, "commands"):
        name, *words = words
        if name == "huggingface-hub" and name not in command.commands:
            pytest.skip("comes with a package of its own")
        assert name in command.commands, f"{page}: no command {name}"
        command = command.commands[name]
    options = {
        flag: parameter
        for parameter in command.params
        for flag in (*parameter.opts, *parameter.secondary_opts)
        if flag.startswith("-")
    }
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    n_arguments = 0
    missing = {p.opts[0] for p in command.params if p.required}
    while words:
        word = words.pop(0)
        flag, equals, _ = word.partition("=")
        if not flag.startswith("-"):
            assert n_arguments < len(arguments), f"{page}: too many arguments, {word}"
            missing.discard(arguments[n_arguments].opts[0])
            n_arguments += 1
        elif flag in options:
            missing.discard(options[flag].opts[0])
            if not equals and not getattr(options[flag], "is_flag", False):
                words.pop(0)
        elif flag != "--help":
            # These take overrides of the config or of project variables besides.
            assert command.name in ("train", "run", "evaluate") and "." in flag, f"{page}: {flag}"
            if not equals:
                words.pop(0)
        else:
            return
    assert not missing, f"{page}: {line} lacks {', '.join(sorted(missing))}"


def test_config_sections_parse():
    n = 0
    for page in PAGES:
        for _, text in blocks(page, "ini"):
            parents = {
                name.rsplit(".", depth)[0]
                for name in re.findall(r"^\[(.+)\]$", text, re.MULTILINE)
                for depth in range(1, name.count(".") + 1)
            }
            sections = "".join(f"[{name}]\n" for name in sorted(parents) if f"[{name}]" not in text)
            assert Config().from_str(sections + text, interpolate=False)
            n += 1
    assert n


def test_files_that_are_named_are_there():
    for page in PAGES:
        text = page.read_text(encoding="utf8")
        for name in re.findall(r"`((?:configs|docs|benchmarks)/[\w./-]+)`", text):
            assert (ROOT / name).exists(), f"{page.name} names {name}"
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
            assert (page.parent / link).exists(), f"{page.name} links {link}"


def test_every_page_is_linked():
    text = PAGES[0].read_text(encoding="utf8")
    for page in PAGES[1:]:
        assert f"docs/{page.name}" in text


def test_the_server_of_the_page_answers(trained, tmp_path, monkeypatch):
    pytest.importorskip("fastapi", reason="FastAPI is not installed")
    monkeypatch.chdir(tmp_path)
    trained.to_disk("en_multitask")
    (snippet,) = (text for _, text in blocks(ROOT / "docs" / "serving.md", "python"))
    namespace: dict = {}
    exec(compile(snippet, "serving.md", "exec"), namespace)
    assert "/annotate" in {route.path for route in namespace["app"].routes}
    first, second = namespace["annotate"](["Mr Smith loves New York", ""])
    assert first["entities"] == [("Smith", "PER"), ("New York", "LOC")]
    assert second["tags"] == []
    # FastAPI calls it from a pool of threads.
    rng = random.Random(0)
    requests = [
        [" ".join(f"w{rng.randrange(10**9)}" for _ in range(20)) for _ in range(3)]
        for _ in range(40)
    ]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(namespace["annotate"], requests))
    for texts, answer in zip(requests, answers, strict=True):
        assert [" ".join(word for word, _ in doc["tags"]) for doc in answer] == texts


def test_every_option_is_documented():
    """Of what is registered under our name: factories, and functions for configs."""
    text = (ROOT / "docs" / "configs.md").read_text(encoding="utf8")
    own = [name for name in registry.factories.get_all() if name.startswith("multitask_")]
    assert len(own) >= 6
    options = {name: Language.get_factory_meta(name).default_config for name in own}
    for kind in ("architectures", "readers", "batchers", "loggers", "optimizers", "schedules"):
        for name, function in getattr(registry, kind).get_all().items():
            if name.startswith("spacy_multitask."):
                options[name] = inspect.signature(function).parameters
    missing = [name for name in options if f"`{name}`" not in text]
    for name, parameters in options.items():
        for option in set(parameters) - {"model", "tok2vec", "homogeneous"}:  # the last is gone
            if f"`{option}`" not in text and f"`model.{option}`" not in text:
                missing.append(f"{option} of {name}")
    assert not missing, f"docs/configs.md does not mention {missing}"
