"""CoNLL-U Plus: CoNLL-U with other columns, which the first line names.

Source: https://universaldependencies.org/ext-format.html
"""

from collections.abc import Iterator

from spacy.language import Language
from spacy.tokens import Doc

from .conllu import read_docs
from .conllu_rows import GLOBAL_COLUMNS, Layout
from .lines import read_lines
from .report import ConversionReport, PathLike, error_at


def read_conllup(
    path: PathLike,
    nlp: Language,
    report: ConversionReport,
    *,
    ner: str | None = None,
    scheme: str = "auto",
    merge_multiword: bool = False,
    n_sents: int = 1,
) -> Iterator[Doc]:
    """Read the columns that CoNLL-U has, too, and on demand one of entity tags.

    path (PathLike): The file, plain or gzipped.
    nlp (Language): Gives the vocab.
    report (ConversionReport): Counts what is skipped: columns that are not read, too.
    ner (Optional[str]): Column of entity tags, or their key in MISC. They are read into `doc.ents`.
        Of a word without a tag nothing is known if others have the tag O; else it is outside.
    scheme (str): Of these tags: "auto", "io", "iob1", "bio", "bioes", "bilou" or "bmewo".
    merge_multiword (bool): Keep multiword tokens whole: the tags of their words are joined.
    n_sents (int): Most sentences in a doc; 0 for whole documents, which "# newdoc" begins.
    YIELDS (Doc): The docs.
    RAISES (ConversionError): If a line is malformed.
    """
    layout = Layout(read_columns_line(path), ner)
    for name in layout.not_read:
        report.add_cause(f"column {name}: not read", path, 1)
    yield from read_docs(path, nlp, report, layout, scheme, merge_multiword, n_sents)


def read_columns_line(path: PathLike) -> tuple[str, ...]:
    """RETURNS (Tuple[str, ...]): The columns that the file's first line names."""
    _, line = next(read_lines(path), (1, ""))
    columns = GLOBAL_COLUMNS.match(line)
    if columns is None:
        raise error_at(
            path,
            1,
            "the first line is not '# global.columns = ID FORM ...'. Convert a file without it "
            "with the format conllu.",
        )
    names = tuple(columns[1].split())
    if len(set(names)) < len(names) or not {"ID", "FORM"} <= set(names):
        raise error_at(
            path, 1, f"the columns {' '.join(names)!r} have no ID or FORM, or a name twice."
        )
    return names
