"""The command `spacy multitask convert`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from . import Overwrite, check_is_free, command


@command("convert", example="conll03 eng.train corpus/ner/train.spacy")
def convert_cli(
    format: Annotated[
        str,
        typer.Argument(
            help="conllu, conll2000, conll03, conll04, cleanconll, ag_news, columns or labels."
        ),
    ],
    input_path: Annotated[
        Path, typer.Argument(metavar="IN", help="Corpus file, plain or gzipped.")
    ],
    output_path: Annotated[
        Path, typer.Argument(metavar="OUT", help="File to write; its name ends in .spacy.")
    ],
    lang: Annotated[
        str, typer.Option("--lang", "-l", help="Language of the tokenizer and vocab.")
    ] = "en",
    n_sents: Annotated[
        int | None,
        typer.Option(
            "--n-sents",
            "-n",
            help="conllu, conll2000, conll03, cleanconll, columns: most sentences in a doc; 0 for "
            "whole documents, which is the default of conll03 and cleanconll. Else it is 1.",
        ),
    ] = None,
    sentences: Annotated[
        bool, typer.Option("--sentences", help="Make every sentence a doc: --n-sents 1.")
    ] = False,
    sample: Annotated[
        float, typer.Option("--sample", help="Fraction of the docs to keep, drawn at random.")
    ] = 1.0,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the sample.")] = 0,
    limit: Annotated[int | None, typer.Option("--limit", help="Most docs to write.")] = None,
    label: Annotated[
        str | None,
        typer.Option("--label", help="columns: what column 2 is: tag, pos, chunk or ner."),
    ] = None,
    spans_key: Annotated[
        str | None,
        typer.Option("--spans-key", help="conll2000, columns: key of the chunks in doc.spans."),
    ] = None,
    keep_tags: Annotated[
        bool,
        typer.Option(
            "--keep-tags", help="conll2000, conll03: keep column 2 as tags, though it is not gold."
        ),
    ] = False,
    scheme: Annotated[
        str | None,
        typer.Option(
            "--scheme", help="conll2000, conll03, cleanconll, columns: auto, iob1 or bio."
        ),
    ] = None,
    conll03: Annotated[
        Path | None,
        typer.Option("--conll03", help="cleanconll: CoNLL-03 file of the same split."),
    ] = None,
    patch: Annotated[
        Path | None, typer.Option("--patch", help="cleanconll: token patch of the same split.")
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(
            "--column",
            help="cleanconll: ner, or ner* for labels before affiliations were put back to MISC.",
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option("--labels", help="ag_news, labels: all categories, with commas between."),
    ] = None,
    clean: Annotated[
        bool,
        typer.Option(
            "--clean", help="ag_news, labels: remove backslashes, broken HTML entities and tags."
        ),
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Convert a corpus file to a .spacy file for training.

    Layers that the corpus does not annotate stay missing in the docs. What is skipped is counted
    and reported at the end; a malformed line is an error that names it.
    """
    # Here and not above, so that other spaCy commands do not pay for it.
    from ..converters import FORMATS, ConversionError, convert
    from ..converters.formats import get_format_options

    options: dict[str, Any] = {
        "n_sents": n_sents,
        "label": label,
        "spans_key": spans_key,
        "keep_tags": keep_tags or None,
        "scheme": scheme,
        "conll03": conll03,
        "patch": patch,
        "column": column,
        "labels": None if labels is None else [name.strip() for name in labels.split(",")],
        "clean": clean or None,
    }
    if sentences:
        if n_sents not in (None, 1):
            raise ConversionError(
                f"--sentences makes docs of one sentence, but --n-sents is {n_sents}. "
                "Give one of them."
            )
        options["n_sents"] = 1
    given = {name: value for name, value in options.items() if value is not None}
    allowed = get_format_options(format) if format in FORMATS else given
    for name in given:
        if name not in allowed:
            flag = "--sentences" if name == "n_sents" and sentences else _flag(name)
            raise ConversionError(
                f"the format {format!r} has no option {flag}. "
                f"It has {', '.join(map(_flag, allowed)) or 'none of its own'}."
            )
    check_is_free(output_path, overwrite=overwrite)
    report = convert(
        format,
        input_path,
        output_path,
        lang=lang,
        sample=sample,
        seed=seed,
        limit=limit,
        **given,
    )
    typer.echo(f"{input_path} -> {output_path}: {report.render()}")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
