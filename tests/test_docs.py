"""Every snippet of README.md and docs/ works: Python runs, commands parse, config sections load."""

import ast
import re
import shlex
from pathlib import Path

import click
import pytest
import typer
from spacy.cli._util import app as spacy_app
from thinc.api import Config

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
    monkeypatch.chdir(tmp_path)
    write_corpora(tmp_path / "corpus")
    trained.to_disk(tmp_path / "en_multitask")
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
    return found


@pytest.mark.parametrize(("page", "line"), commands(), ids=lambda value: value[:60])
def test_commands_take_these_options(page, line, monkeypatch, tmp_path):
    command: click.Command = typer.main.get_command(spacy_app)
    words = shlex.split(line)[3:]
    context = click.Context(command)
    while isinstance(command, click.Group):
        name, *words = words
        found = command.get_command(context, name)
        if found is None and name == "huggingface-hub":
            pytest.skip("comes with a package of its own")
        assert found is not None, f"{page}: no command {name}"
        command = found
    if "--help" in words:
        return
    # Parses, and does not run. Files that the page makes along the way are not here.
    for parameter in command.params:
        if isinstance(parameter.type, click.Path):
            parameter.type.exists = False
    extra = command.name in ("train", "project", "run")  # these take overrides besides
    try:
        command.make_context(command.name, words, ignore_unknown_options=extra)
    except click.exceptions.Exit:
        pass


def test_config_sections_parse():
    n = 0
    for page in PAGES:
        for _, text in blocks(page, "ini"):
            Config().from_str(text, interpolate=False)
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
