"""The command `spacy multitask merge`."""

from pathlib import Path
from typing import Annotated

import typer

from . import Overwrite, check_is_free, command, say_next


@command("merge", example="corpus/ner.spacy corpus/topics.spacy corpus/both.spacy")
def merge_cli(
    one_path: Annotated[Path, typer.Argument(metavar="ONE", help=".spacy file.")],
    other_path: Annotated[
        Path, typer.Argument(metavar="OTHER", help=".spacy file of the same texts.")
    ],
    output_path: Annotated[Path, typer.Argument(metavar="OUT", help=".spacy file to write.")],
    overwrite: Overwrite = False,
) -> None:
    """Join the layers of two files of the same texts.

    Each doc of ONE gets the layers that the doc with the same text has in OTHER. If both have a
    layer, that of ONE stays. Docs that only one file has are kept.
    """
    from collections import Counter

    from spacy.tokens import DocBin
    from spacy.vocab import Vocab

    from ..converters.formats import check_output
    from ..corpus.files import load_doc_bin
    from ..corpus.joining import merge_docs
    from ..progress import progress
    from ..safe_files import write_bytes

    for path in (one_path, other_path):
        if not path.is_file():
            raise ValueError(f"There is no file {path}. Check the path.")
    output = check_output(output_path, [one_path, other_path])
    check_is_free(output, overwrite=overwrite)
    vocab = Vocab()
    ones = load_doc_bin(one_path)
    counts: Counter[str] = Counter()
    docs = merge_docs(
        progress(ones.get_docs(vocab), "Merging", total=len(ones)),
        load_doc_bin(other_path).get_docs(vocab),
        counts,
    )
    merged = DocBin(docs=docs, store_user_data=True)
    if not counts["docs joined"]:
        raise ValueError(
            f"{one_path} and {other_path} have no text in common. Give two files of the same texts."
        )
    write_bytes(output, merged.to_bytes())
    lines = [f"  {count:,} {what}" for what, count in counts.items()]
    typer.echo("\n".join([f"{one_path} and {other_path} -> {output_path}:", *lines]))
    say_next("multitask", "look", output)
