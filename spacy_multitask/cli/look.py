"""The command `spacy multitask look`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from . import Overwrite, check_is_free, command


@command("look", example="corpus/train.spacy corpus/dev.spacy", json_options=("--json",))
def look_cli(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="CORPUS...", help=".spacy files, or folders with some."),
    ],
    html: Annotated[
        Path | None,
        typer.Option("--html", dir_okay=False, help="Write a page with all labels to this file."),
    ] = None,
    overwrite: Overwrite = False,
) -> dict[str, Any]:
    """Show what corpora hold: docs, words, gold by layer and label, and what looks wrong."""
    from spacy.training.corpus import FILE_TYPE
    from spacy.vocab import Vocab
    from wasabi import msg

    from ..corpus.files import load_doc_bin
    from ..corpus.overview import Look
    from ..progress import progress
    from ..report.look import build_look
    from ..safe_files import write_text

    check_is_free(html, overwrite=overwrite)
    looks = []
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
        print(f"{path}: {look.render()}")
        looks.append((str(path), look))
    if html is not None:
        write_text(html, build_look(looks))
        msg.good(f"Saved to {html}. Open it in a browser.")
    return {path: look.summary() for path, look in looks}
