"""The table of formats, and the writing of `.spacy` files."""

import inspect
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language
from spacy.tokens import Doc, DocBin

from ..packing import remember_packers
from ..progress import progress
from ..safe_files import write_bytes
from .ag_news import read_ag_news
from .argilla import read_argilla
from .brat import read_brat
from .cleanconll import read_cleanconll
from .columns import read_columns
from .conll03 import read_conll03
from .conll04 import read_conll04
from .conll2000 import read_conll2000
from .conllu import read_conllu
from .conllup import read_conllup
from .doccano import read_doccano
from .guess import guess_format
from .hf_datasets import read_datasets
from .label_studio import read_label_studio
from .labels import read_labels
from .lines import check_is_file
from .prodigy import read_prodigy
from .report import ConversionError, ConversionReport, PathLike
from .select import Selection
from .texts import read_texts

# Each reader takes (path, nlp, report) and its options by keyword.
FORMATS: dict[str, Callable[..., Iterator[Doc]]] = {
    "conllu": read_conllu,
    "conllup": read_conllup,
    "conll2000": read_conll2000,
    "conll03": read_conll03,
    "conll04": read_conll04,
    "cleanconll": read_cleanconll,
    "ag_news": read_ag_news,
    "columns": read_columns,
    "labels": read_labels,
    "prodigy": read_prodigy,
    "label_studio": read_label_studio,
    "doccano": read_doccano,
    "brat": read_brat,
    "texts": read_texts,
    "datasets": read_datasets,
    "argilla": read_argilla,
}
# Those that look themselves at what they are given: a folder will do, too.
OF_FOLDERS = ("brat", "datasets", "argilla")
AUTO = "auto"


def get_format_options(format: str) -> list[str]:
    """RETURNS (List[str]): Names of the options that a format's reader takes."""
    parameters = inspect.signature(FORMATS[format]).parameters.values()
    return [param.name for param in parameters if param.kind is param.KEYWORD_ONLY]


def convert(
    format: str,
    input: PathLike,
    output: PathLike,
    *,
    lang: str = "en",
    sample: float = 1.0,
    seed: int = 0,
    limit: int | None = None,
    layers: Sequence[str] | None = None,
    label_map: Mapping[str, str | None] | None = None,
    **options: Any,
) -> ConversionReport:
    """Convert one corpus file to a `.spacy` file.

    format (str): A name in FORMATS, or "auto" to look at the file.
    input (PathLike): The corpus file, plain or gzipped; for some formats a folder.
    output (PathLike): The file to write; its name ends in ".spacy". It is replaced if it exists.
    lang (str): Language whose tokenizer and vocab are used.
    sample (float): Fraction of the docs to keep, in (0, 1]. Each doc is drawn on its own.
    seed (int): Seed of the sample. One seed and one file give one sample.
    limit (Optional[int]): Most docs to write, after sampling; None for all.
    layers (Optional[Sequence[str]]): Layers to keep, of tag, pos, morph, lemma, dep, ner, chunk
        (all of `doc.spans`), topic and relations; None for all.
    label_map (Optional[Mapping[str, Optional[str]]]): New names of labels; None for those to drop.
    options (Any): Options of the format's reader.
    RETURNS (ConversionReport): What was written and what was not.
    RAISES (ConversionError): If the file or an option is malformed, or no doc would be written.
    RAISES (OSError): If a file can't be read, or can't be written; an older one is then as it was.
    """
    if format == AUTO:
        guess = guess_format(input)
        guessed = {} if {"label", "columns"} & options.keys() else guess.options
        settings: dict[str, Any] = {"lang": lang, "sample": sample, "seed": seed, "limit": limit}
        settings |= {"layers": layers, "label_map": label_map, **guessed, **options}
        try:
            report = convert(guess.format, input, output, **settings)
        except ConversionError as err:
            raise ConversionError(f"{err} It was taken for {guess.format}: {guess.why}.") from err
        report.taken_for = f"{guess.format}: {guess.why}"
        return report
    check_options(format, options)
    if not 0.0 < sample <= 1.0:
        raise ConversionError(
            f"sample is {sample}, but must be above 0 and at most 1: the fraction of docs to keep."
        )
    if limit is not None and limit < 1:
        raise ConversionError(f"limit is {limit}, but must be at least 1 doc.")
    path = Path(input) if format in OF_FOLDERS else check_is_file(input)
    output = check_output(output, [path, *(v for v in options.values() if isinstance(v, Path))])
    report = ConversionReport()
    select = Selection(report, layers, label_map)
    docs = FORMATS[format](path, make_blank(lang), report, **options)
    selected = (kept for doc in docs if (kept := select(doc)) is not None)
    remember_packers()
    # Relations are in the docs' user data.
    doc_bin = DocBin(store_user_data=True)
    rng = random.Random(seed)
    for doc in progress(selected, f"Converting {path.name}"):
        if sample < 1.0 and rng.random() >= sample:
            report.add_cause(f"doc left out by sample {sample:g} (seed {seed})")
            continue
        doc_bin.add(doc)
        report.add_doc(doc)
        if report.docs == limit:
            report.add_cause(f"stop at the limit of {limit:,} docs: the rest was not read")
            break
    else:
        select.report_unused()
    if not report.docs:
        raise ConversionError(
            f"{path}: there is no doc to write. Check the format, and the options that leave out "
            "docs."
        )
    write_bytes(output, doc_bin.to_bytes())
    return report


def check_options(format: str, options: Iterable[str], flag: Callable[[str], str] = repr) -> None:
    """Check that there is a format, and that it has these options.

    flag (Callable): How a name is written, for errors.
    RAISES (ConversionError): If not.
    """
    if format not in FORMATS:
        raise ConversionError(
            f"the format {format!r} is not one of {', '.join(FORMATS)}, or {AUTO}."
        )
    allowed = get_format_options(format)
    for name in options:
        if name not in allowed:
            raise ConversionError(
                f"the format {format!r} has no option {flag(name)}. "
                f"It has {', '.join(map(flag, allowed)) or 'none of its own'}."
            )


def make_blank(lang: str) -> Language:
    """RAISES (ConversionError): If spaCy lacks the language, or a package that it needs."""
    try:
        return spacy.blank(lang)
    except ImportError as err:
        raise ConversionError(f"the language {lang!r} cannot be loaded: {err}") from err


def check_output(output: PathLike, inputs: list[Path]) -> Path:
    """Return the path to write to, links resolved.

    RAISES (ConversionError): If it has the wrong suffix, is a directory, is one of the inputs, or
        is in a folder that is one.
    """
    output = Path(output)
    if output.suffix != ".spacy":
        raise ConversionError(
            f"{output}: the output's name must end in '.spacy', or spaCy's readers pass over it."
        )
    if output.is_dir():
        raise ConversionError(f"{output}: this is a directory. Give the name of a file.")
    output = output.resolve()
    if any(output.is_relative_to(path.resolve()) for path in inputs):
        raise ConversionError(
            f"{output}: the output would replace an input, or add to a folder that is one. "
            "Choose another place."
        )
    return output
