"""What the site has besides docs/: MkDocs calls the functions `on_...`.

Pages of the reference are written from the commands, the registered functions and their docstrings,
and the default configs, so that they cannot say something else than the code. Results are written
from benchmarks/results, changes and contributing are the files of the repository.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OUR = "spacy_multitask."
KINDS = {
    "architectures": "Architectures",
    "readers": "Readers of corpora",
    "batchers": "Batchers",
    "loggers": "Loggers",
    "optimizers": "Optimizers",
    "schedules": "Schedules",
    "scorers": "Scorers",
    "misc": "Others",
}
EXIT_CODES = """\
## Exit codes

| code | meaning |
| --- | --- |
| 0 | It is done. |
| 1 | An error, told in one line on standard error. So does `leaks --fail` that finds some. |
| 2 | The command line is wrong: an option that there is not, an argument that is missing. |
| 130, 143 | Ended by Ctrl-C, or by SIGTERM. `train` saves a model and says how to go on. |

## Completion

`spacy --install-completion` makes the shell complete commands, ours among them, and options. It
knows Bash, Zsh, Fish and PowerShell. Then type `spacy multitask `, and press the tab key twice.
"""


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are generated."""
    from mkdocs.structure.files import File

    for name, make in PAGES.items():
        files.append(File.generated(config, name, content=make()))
    return files


def on_page_markdown(markdown: str, page: Any, **kwargs: Any) -> str:
    """Mend what is written for a reader of the repository."""
    markdown = re.sub(r"^```(\w+) no-test$", r"```\1", markdown, flags=re.MULTILINE)
    markdown = markdown.replace("](../README.md#compared)", "](results.md)")
    return re.sub(
        r"\]\(\.\./(CHANGELOG|CONTRIBUTING)\.md", lambda m: f"]({m[1].lower()}.md", markdown
    )


def commands_page() -> str:
    """RETURNS (str): Every command with its arguments and options, as `--help` has them."""
    import typer.main

    from spacy_multitask.cli import app

    parts = [
        "# Commands",
        "Run them as `python -m spacy multitask NAME`. Each has `--help`, and `--verbose` for the "
        "place where an error came from.",
    ]
    for name, command in sorted(typer.main.get_command(app).commands.items()):
        parts += [f"## {name}", inspect.cleandoc(command.help or "")]
        parts.append("\n".join(_parameters(command)))
        parts.append(f"```bash\n{(command.epilog or '').removeprefix('Example: ')}\n```")
    return "\n\n".join([*parts, EXIT_CODES])


def _parameters(command: Any) -> Iterator[str]:
    yield "| | what it is | default |\n| --- | --- | --- |"
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            names = f"`{parameter.metavar or parameter.name.upper()}`"
        else:
            names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
        default = parameter.default
        shown = "required" if parameter.required else ""
        if not (default is None or default == () or callable(default) or isinstance(default, bool)):
            shown = f"`{default}`" if str(default) not in ("", "[]") else ""
        text = " ".join((getattr(parameter, "help", None) or "").split()).replace("|", "\\|")
        yield f"| {names} | {text} | {shown} |"


def components_page() -> str:
    """RETURNS (str): Every factory of ours, with its docstring and its default config."""
    from importlib.metadata import entry_points

    from spacy.language import Language
    from thinc.api import Config

    parts = ["# Components", "Each can stand in `[components.NAME]` as `factory`."]
    factories = [e for e in entry_points(group="spacy_factories") if e.value.startswith(OUR)]
    for name, entry in sorted((entry.name, entry) for entry in factories):
        entry.load()
        meta = Language.get_factory_meta(name)
        parts.append(f"## {name}")
        if meta.assigns:
            parts.append(f"Writes {', '.join(f'`{place}`' for place in meta.assigns)}.")
        scores = [score for score, weight in meta.default_score_weights.items() if weight]
        if scores:
            parts.append(f"Is judged by {', '.join(f'`{score}`' for score in scores)}.")
        parts.append(_docstring(entry.value.replace(":", ".")))
        config = Config({"components": {name: {"factory": name, **meta.default_config}}})
        parts.append(f"Its default config:\n\n```ini\n{config.to_str(interpolate=False)}\n```")
    return "\n\n".join(parts)


def registered_page() -> str:
    """RETURNS (str): Every function that a config can name, by kind."""
    from spacy.util import registry

    parts = ["# Functions for configs", "A config names them behind an `@`."]
    for kind, title in KINDS.items():
        own = {
            name: function
            for name, function in getattr(registry, kind).get_all().items()
            if name.startswith(OUR) and ".gone" not in function.__module__
        }
        if not own:
            continue
        parts.append(f"## {title}")
        for name, function in sorted(own.items()):
            parts += [f"### {name}", f'`@{kind} = "{name}"`', _docstring(_path(function), level=4)]
    return "\n\n".join(parts)


def python_page() -> str:
    """RETURNS (str): What is imported from the package."""
    import spacy_multitask

    parts = ["# Python", "All of it is imported from `spacy_multitask`."]
    functions = [getattr(spacy_multitask, name) for name in spacy_multitask.__all__]
    parts += [f"{_docstring(_path(function), level=2)}" for function in functions]
    return "\n\n".join(parts)


def _path(function: Callable) -> str:
    """RETURNS (str): Where the docstring of a function is."""
    function = inspect.unwrap(function)
    if "<locals>" in function.__qualname__:  # a scorer: made around what scores
        function = inspect.getclosurevars(function).nonlocals["score"]
    return f"{function.__module__}.{function.__qualname__}"


def _docstring(path: str, level: int = 3) -> str:
    return f"::: {path}\n    options:\n      heading_level: {level}"


def results_page() -> str:
    """RETURNS (str): The table of README.md, and the conditions of each file of results."""
    from scripts.readme_table import read_results, table

    parts = [
        "# What was measured",
        "Every figure on this page is read from `benchmarks/results/`.",
        table(read_results(ROOT)).replace("docs/tried.md", "tried.md"),
        "## Where each figure comes from",
        "| file | command | machine | versions |\n| --- | --- | --- | --- |",
    ]
    rows = []
    for path in sorted((ROOT / "benchmarks" / "results").glob("*.json")):
        found = json.loads(path.read_text(encoding="utf8"))
        machine = found.get("machine") or found.get("crash_machine") or {}
        commands = machine.get("commands") or [found.get("command", "")]
        told = f"{machine.get('cpu', '')}, {machine.get('threads', '')} threads" if machine else ""
        versions = ", ".join(f"{k} {v}" for k, v in machine.get("versions", {}).items())
        shown = "<br>".join(f"`{command}`" for command in commands if command)
        rows.append(f"| {path.name} | {shown} | {told} | {versions} |")
    parts[-1] += "\n" + "\n".join(rows)
    parts.append("What was tried without gain is on [a page of its own](tried.md).")
    return "\n\n".join(parts)


def _file_page(name: str) -> Callable[[], str]:
    def read() -> str:
        text = (ROOT / name).read_text(encoding="utf8")
        text = re.sub(r"\]\(docs/", "](", text)
        return re.sub(r"\]\((CHANGELOG|CONTRIBUTING)\.md", lambda m: f"]({m[1].lower()}.md", text)

    return read


PAGES: dict[str, Callable[[], str]] = {
    "reference/commands.md": commands_page,
    "reference/components.md": components_page,
    "reference/registered.md": registered_page,
    "reference/python.md": python_page,
    "results.md": results_page,
    "changelog.md": _file_page("CHANGELOG.md"),
    "contributing.md": _file_page("CONTRIBUTING.md"),
}
