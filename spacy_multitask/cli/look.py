"""The command `spacy multitask look`."""

from pathlib import Path
from typing import Annotated

import typer

from . import command


@command("look", example="corpus/train.spacy corpus/dev.spacy")
def look_cli(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="CORPUS...", help=".spacy files, or folders of them."),
    ],
) -> None:
    """Show what corpora hold: docs, words, gold by layer and label, and what looks wrong."""
    from spacy.training.corpus import FILE_TYPE
    from spacy.vocab import Vocab

    from ..corpus.files import load_doc_bin
    from ..corpus.overview import Look
    from ..progress import progress

    for path in paths:
        files = [path] if path.is_file() else sorted(path.rglob(f"*{FILE_TYPE}"))
        if not files:
            raise ValueError(
                f"There are no docs in {path}. Give a .spacy file or a folder of them; "
                "`spacy multitask convert` makes them."
            )
        look = Look()
        vocab = Vocab()
        for file in files:
            docs = load_doc_bin(file)
            for doc in progress(docs.get_docs(vocab), f"Looking at {file.name}", total=len(docs)):
                look.add(doc)
        typer.echo(f"{path}: {look.render()}")
