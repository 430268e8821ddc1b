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


# Each command is in a file of its own, which registers it with the app above.
from . import convert, evaluate, init_config, quantize, split  # noqa: E402, F401

spacy_app.add_typer(app, name="multitask")
