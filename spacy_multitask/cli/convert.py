"""The command `spacy multitask convert`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from . import Overwrite, check_is_free, command, say_next

# Formats whose docs are made of sentences; help names the formats that take an option.
OF_SENTENCES = "conllu, conllup, conll2000, conll03, cleanconll, columns"
OF_TAGS = f"{OF_SENTENCES}, datasets"
TOOLS = "prodigy, label_studio, doccano, brat, argilla"


@command("convert", example="conll03 eng.train corpus/ner/train.spacy")
def convert_cli(
    format: Annotated[
        str,
        typer.Argument(
            help="conllu, conllup, conll2000, conll03, conll04, cleanconll, columns, ag_news, "
            "labels, texts, datasets, prodigy, label_studio, doccano, brat or argilla; or auto."
        ),
    ],
    input_path: Annotated[
        Path, typer.Argument(metavar="IN", help="File, which may be gzipped, or folder.")
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
            help=f"{OF_SENTENCES}: the most sentences in a doc; 0: whole documents. By default 0 "
            "for conll03 and cleanconll, and 1 for the others.",
        ),
    ] = None,
    sentences: Annotated[
        bool, typer.Option("--sentences", help="Make every sentence a doc: --n-sents 1.")
    ] = False,
    sample: Annotated[
        float, typer.Option("--sample", help="Share of the docs to keep, drawn at random.")
    ] = 1.0,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the sample.")] = 0,
    limit: Annotated[int | None, typer.Option("--limit", help="The most docs to write.")] = None,
    layers: Annotated[
        str | None,
        typer.Option("--layers", help="Layers to keep, such as ner,topic; all if left out."),
    ] = None,
    renamed: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="OLD=NEW", help="Rename a label. Repeat it for more."),
    ] = None,
    dropped: Annotated[
        list[str] | None,
        typer.Option("--drop", metavar="LABEL", help="Drop a label. Repeat it for more."),
    ] = None,
    map_file: Annotated[
        Path | None,
        typer.Option("--map-file", help="JSON file of new names by label; null drops a label."),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(
            "--label",
            help="columns: what the second of two columns is: tag, pos, lemma, chunk or ner.",
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            help="columns, texts, datasets, label_studio, argilla: what the columns are, such as "
            "word,pos,-,ner (- skips one), word=2,ner=5 or text=body,topic=kind.",
        ),
    ] = None,
    delimiter: Annotated[
        str | None,
        typer.Option(
            "--delimiter", help="columns: what separates them; a tab or blanks if left out."
        ),
    ] = None,
    ner: Annotated[
        str | None,
        typer.Option(
            "--ner",
            help="conllu, conllup: key of entity tags in MISC, such as name, or their column.",
        ),
    ] = None,
    merge_multiword: Annotated[
        bool,
        typer.Option(
            "--merge-multiword",
            help="conllu, conllup: keep multiword tokens whole, with joined tags.",
        ),
    ] = False,
    spans_key: Annotated[
        str | None,
        typer.Option(
            "--spans-key",
            help=f"conll2000, columns, datasets, {TOOLS}: group of doc.spans to write to.",
        ),
    ] = None,
    misaligned: Annotated[
        str | None,
        typer.Option(
            "--misaligned",
            help=f"{TOOLS}: what to do with spans that cut a token: expand, contract or unknown.",
        ),
    ] = None,
    rejected: Annotated[
        str | None,
        typer.Option(
            "--rejected",
            help="prodigy: what a rejected label is: unknown or negative.",
        ),
    ] = None,
    annotators: Annotated[
        str | None,
        typer.Option(
            "--annotators",
            help="label_studio, argilla: which of several annotations: first, majority or refuse.",
        ),
    ] = None,
    separator: Annotated[
        str | None,
        typer.Option("--separator", help="texts: what separates several topics in one cell."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option("--split", help="datasets, argilla: the part to read, such as train."),
    ] = None,
    subset: Annotated[
        str | None,
        typer.Option("--subset", help="datasets: the configuration of a data set of the hub."),
    ] = None,
    keep_tags: Annotated[
        bool,
        typer.Option(
            "--keep-tags", help="conll2000, conll03: keep column 2 as tags. It is not gold."
        ),
    ] = False,
    scheme: Annotated[
        str | None,
        typer.Option(
            "--scheme",
            help=f"{OF_TAGS}: scheme of the tags: auto, io, iob1, bio, bioes, bilou or bmewo.",
        ),
    ] = None,
    conll03: Annotated[
        Path | None,
        typer.Option("--conll03", help="cleanconll: the CoNLL-03 file of the same part."),
    ] = None,
    patch: Annotated[
        Path | None, typer.Option("--patch", help="cleanconll: the token patch of the same part.")
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(
            "--column",
            help="cleanconll: ner; or ner*, the labels before affiliations became MISC.",
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            help="ag_news, labels, texts, datasets: all topics, separated by commas.",
        ),
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

    Layers that the corpus does not annotate stay unknown. In the end it reports what it left out,
    and why. A malformed line is an error that names the line.
    """
    # Here and not above, so that other spaCy commands do not pay for it.
    from ..converters import ConversionError, convert
    from ..converters.formats import AUTO, check_options
    from ..converters.guess import guess_format
    from ..converters.select import join_label_maps

    options: dict[str, Any] = {
        "n_sents": n_sents,
        "label": label,
        "columns": columns,
        "delimiter": delimiter,
        "ner": ner,
        "merge_multiword": merge_multiword or None,
        "spans_key": spans_key,
        "misaligned": misaligned,
        "rejected": rejected,
        "annotators": annotators,
        "separator": separator,
        "split": split,
        "subset": subset,
        "keep_tags": keep_tags or None,
        "scheme": scheme,
        "conll03": conll03,
        "patch": patch,
        "column": column,
        "labels": _names(labels),
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
    written = {"n_sents": "--sentences"} if sentences else {}
    check_options(
        guess_format(input_path).format if format == AUTO else format,
        given,
        lambda name: written.get(name, _flag(name)),
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
        layers=_names(layers),
        label_map=join_label_maps(map_file, renamed or [], dropped or []),
        **given,
    )
    typer.echo(f"{input_path} -> {output_path}: {report.render()}")
    say_next("multitask", "look", output_path)


def _names(value: str | None) -> list[str] | None:
    return None if value is None else [name.strip() for name in value.split(",")]


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
