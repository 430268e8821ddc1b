"""The command `spacy multitask suggest`."""

from pathlib import Path
from typing import Annotated

import typer

from . import Overwrite, check_is_free, command


@command(
    "suggest",
    example="en_multitask texts.jsonl tasks.jsonl --to prodigy --n 500",
    takes_code=True,
)
def suggest_cli(
    model: Annotated[str, typer.Argument(help="Pipeline: name of a package, or a folder.")],
    texts: Annotated[
        Path,
        typer.Argument(
            metavar="TEXTS",
            help="A .txt file with a text in each line; CSV, TSV, JSON lines or Parquet with a "
            'column "text"; or a .spacy file.',
        ),
    ],
    output: Annotated[
        Path, typer.Argument(metavar="OUT", help="File to write, which the tool imports.")
    ],
    to: Annotated[
        str, typer.Option("--to", help="The tool: prodigy, labelstudio, doccano or argilla.")
    ] = "prodigy",
    order: Annotated[
        str,
        typer.Option(
            "--order",
            help="uncertain: least confident first. margin: first those whose two best labels are "
            "closest.",
        ),
    ] = "uncertain",
    n: Annotated[int, typer.Option("--n", min=1, help="The most texts to write.")] = 500,
    layer: Annotated[
        str | None,
        typer.Option("--layer", help="Name of the head whose doubts count; all heads if left out."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the texts of which a pipeline is least sure, for an annotation tool.

    The file holds the predictions, too. Texts that are nearly the same come once. `convert` reads
    what annotators make of them.
    """
    from wasabi import msg

    from ..converters.exports import TOOLS, label_studio_config, write_suggestions
    from ..corpus.plain_texts import read_plain_texts
    from ..evaluation.suggesting import relation_labels, suggest
    from ..loading import load_pipeline

    if to not in TOOLS:
        raise ValueError(f"--to {to} is not one of {', '.join(TOOLS)}.")
    check_is_free(output, overwrite=overwrite)
    nlp = load_pipeline(model)
    found = suggest(nlp, read_plain_texts(texts), order=order, n=n, layer=layer)
    if not found:
        raise ValueError(f"{texts} has no text. Give a file with some.")
    write_suggestions(found, output, to)
    msg.good(f"{len(found)} texts, least sure first -> {output}")
    if to == "labelstudio":
        print("Label Studio shows them with this labelling interface:")
        print(label_studio_config(found[0], relation_labels(nlp)))
