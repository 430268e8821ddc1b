"""The `spacy multitask` commands. spaCy loads this module through its entry point `spacy_cli`."""

import typer
from spacy.cli._util import app as spacy_app

app = typer.Typer(
    name="multitask",
    help="Convert corpora for spacy_multitask and work with its pipelines.",
    no_args_is_help=True,
)


@app.callback()
def multitask() -> None:
    """Convert corpora for spacy_multitask and work with its pipelines."""


def corpus_paths(items: list[str]) -> dict[str, str]:
    """RETURNS (Dict[str, str]): Paths by name, from NAME=PATH; else the command ends."""
    from pathlib import Path

    from wasabi import msg

    paths = {}
    for item in items:
        name, _, path = item.partition("=")
        if not path or not Path(path).exists():
            msg.fail(f"--corpus {item}: give NAME=PATH, where PATH exists.", exits=1)
        paths[name] = path
    return paths


# Each command is in a file of its own, which registers it with the app above.
from . import convert, evaluate, init_config, quantize, report, split  # noqa: E402, F401

spacy_app.add_typer(app, name="multitask")
