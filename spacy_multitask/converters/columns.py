"""Columns of words and labels, of any width, with a blank line between sentences."""

import re
from collections.abc import Iterator

from spacy.language import Language
from spacy.tokens import Doc

from .gold import PosColumn, set_entities, set_spans, spans_of
from .iob import IOBDecoder
from .lines import read_lines
from .report import ConversionError, ConversionReport, PathLike, error_at
from .sentences import (
    DOCSTART,
    Sentence,
    doc_from_sentences,
    group_sentences,
    sentences_from_rows,
)

LABELS = ("tag", "pos", "lemma", "chunk", "ner")
PASSED_OVER = ("-", "_")
# "# sent_id = 1", "# id 5f2c domain=en", "# newdoc": what files of columns have as comments.
COMMENT = re.compile(r"#\s*([\w.:-]+\s*=|(id|newdoc|newpar|sent_id|text)\b)")
DELIMITERS = {"tab": "\t", "\\t": "\t", "space": " ", "comma": ","}


def read_columns(
    path: PathLike,
    nlp: Language,
    report: ConversionReport,
    *,
    label: str | None = None,
    columns: str | None = None,
    delimiter: str | None = None,
    spans_key: str = "np",
    scheme: str = "auto",
    n_sents: int = 1,
) -> Iterator[Doc]:
    """Read each column that is named into its layer, all in one pass; the others stay missing.

    A line that begins with -DOCSTART- begins a document and is not a token; nor are comments, which
    begin with "#" and stand before a sentence. An empty cell, or "_", is unknown for a tag, a part
    of speech and a lemma.

    path (PathLike): The file, plain or gzipped.
    nlp (Language): Gives the vocab.
    report (ConversionReport): Counts what is skipped.
    label (Optional[str]): What the second of two columns is; short for columns "word,<label>".
    columns (Optional[str]): What the columns are: "word", and "tag" (`token.tag_`), "pos"
        (`token.pos_`; `token.tag_` if they are not universal), "lemma", "chunk" (chunk tags, to
        `doc.spans[spans_key]`) and "ner" (entity tags, to `doc.ents`). In their order, with "-" or
        "_" for one to pass over: "word,pos,-,ner". Or by number from 1, with the others passed
        over: "word=2,ner=5".
    delimiter (Optional[str]): What parts the columns; "tab" is a tab. By default a tab, or blanks
        where the line has no tab.
    spans_key (str): Key of the chunks in `doc.spans`.
    scheme (str): For chunks and entities: "auto", "io", "iob1", "bio", "bioes", "bilou" or "bmewo".
    n_sents (int): Most sentences in a doc; 0 for whole documents.
    YIELDS (Doc): The docs.
    RAISES (ConversionError): If a line is malformed or an option is.
    """
    layout = Layout(label, columns)
    split = Splitter(delimiter, layout)
    decoders = {
        "chunk": IOBDecoder(path, report, scheme, "chunk"),
        "ner": IOBDecoder(path, report, scheme, "entity"),
    }
    read_pos = PosColumn(path, report)
    rows = read_rows(path, split, report)
    for group in group_sentences(
        path, sentences_from_rows(path, rows, report), n_sents, "-DOCSTART- line"
    ):
        layers = {
            name: values
            for name, values in _token_layers(group, layout, read_pos).items()
            if any(values)
        }
        doc = doc_from_sentences(nlp, group, **layers)
        for name in layout.names:
            if name in decoders:
                spans = spans_of(path, group, decoders[name], layout.field(name), report)
                if name == "ner":
                    set_entities(doc, spans, report, path, group[0].line)
                else:
                    set_spans(doc, spans_key, spans)
        yield doc


class Layout:
    """Which columns of a line are read, and as what.

    places (Dict[str, int]): Column, from 0, by name: "word" and labels.
    width (int): Columns of a line; with numbers, the fewest that it may have.
    by_number (bool): Whether the columns were given by number.
    """

    def __init__(self, label: str | None, columns: str | None) -> None:
        if (label is None) == (columns is None):
            raise ConversionError(
                "give one of the options label (what the second of two columns is: "
                f"{', '.join(LABELS)}) and columns (what all are, such as 'word,pos,-,ner')."
            )
        if label is not None and label not in LABELS:
            raise ConversionError(
                f"the option label is {label!r}, but must say what the second column is: "
                f"one of {', '.join(LABELS)}."
            )
        names = [name.strip() for name in (columns or f"word,{label}").split(",")]
        self.by_number = any("=" in name for name in names)
        if self.by_number:
            pairs = [_numbered(name) for name in names]
        else:
            pairs = [(name, i) for i, name in enumerate(names) if name not in PASSED_OVER]
        self.places: dict[str, int] = {}
        for name, place in pairs:
            if name not in ("word", *LABELS):
                raise ConversionError(
                    f"the column {name!r} is not word, {', '.join(LABELS)}, or '-' for one to "
                    "pass over. Separate them by commas: 'word,pos,-,ner', or 'word=2,ner=5'."
                )
            if name in self.places:
                raise ConversionError(f"the column {name!r} is named twice. Name it once.")
            self.places[name] = place
        if "word" not in self.places or len(self.places) < 2:
            raise ConversionError(
                f"the columns are {columns!r}, but must hold 'word' and one of {', '.join(LABELS)}."
            )
        self.width = 1 + max(self.places.values()) if self.by_number else len(names)

    @property
    def names(self) -> list[str]:
        """RETURNS (List[str]): The labels, in the order of their fields behind the word."""
        return [name for name in self.places if name != "word"]

    def field(self, name: str) -> int:
        return 1 + self.names.index(name)

    def fits(self, row: list[str]) -> bool:
        return len(row) >= self.width if self.by_number else len(row) == self.width


def _numbered(item: str) -> tuple[str, int]:
    name, _, number = item.partition("=")
    if not re.fullmatch("[1-9][0-9]{0,3}", number):
        raise ConversionError(
            f"the column {item!r} is not NAME=NUMBER with a number from 1, as 'word=2,ner=5' has "
            "it. Give a number to each, or to none."
        )
    return name, int(number) - 1


class Splitter:
    """Parts a line into its columns."""

    def __init__(self, delimiter: str | None, layout: Layout) -> None:
        if delimiter == "":
            raise ConversionError("the delimiter is empty. Give a character, or 'tab'.")
        self.delimiter = None if delimiter is None else DELIMITERS.get(delimiter, delimiter)
        self.layout = layout

    def __call__(self, line: str) -> list[str]:
        if self.delimiter not in (None, " "):
            return [cell.strip(" \t") for cell in line.split(self.delimiter)]
        if "\t" in line and self.delimiter is None:
            row = line.split("\t")
            # Several tabs may stand for an empty cell between them, or be there for the looks.
            return row if self.layout.fits(row) else re.split("\t+", line.strip("\t"))
        return re.split("[ \t]+", line.strip(" \t"))

    def pick(self, path: PathLike, line_no: int, row: list[str]) -> list[str]:
        """RETURNS (List[str]): The word, then the labels in the order of the layout."""
        if not self.layout.fits(row):
            least = "at least " if self.layout.by_number else ""
            raise error_at(
                path,
                line_no,
                f"{len(row)} columns instead of {least}{self.layout.width}. A blank line ends a "
                "sentence. Say which columns there are with the option columns, such as "
                "'word,-,ner' or 'word=1,ner=3', and what parts them with delimiter.",
            )
        picked = [row[place] for place in self.layout.places.values()]
        word = picked.pop(list(self.layout.places).index("word"))
        if not word:
            raise error_at(path, line_no, "the word is empty. Check the columns and the delimiter.")
        return [word, *picked]


def read_rows(
    path: PathLike, split: Splitter, report: ConversionReport
) -> Iterator[tuple[int, list[str] | None]]:
    before_sentence = True
    for line_no, line in read_lines(path):
        if not line.strip(" \t"):
            before_sentence = True
            yield line_no, None
            continue
        row = split(line)
        if row[0].strip(" \t") == DOCSTART:
            before_sentence = True
            yield line_no, [DOCSTART]
        elif before_sentence and line.startswith("#") and _is_comment(line, row, split.layout):
            report.add_cause("comment line: skipped", path, line_no)
        else:
            before_sentence = False
            yield line_no, split.pick(path, line_no, row)


def _is_comment(line: str, row: list[str], layout: Layout) -> bool:
    """Tell a comment from the word "#"."""
    return not layout.fits(row) or COMMENT.match(line) is not None


def _token_layers(
    group: list[Sentence], layout: Layout, read_pos: PosColumn
) -> dict[str, list[str]]:
    """RETURNS (Dict[str, List[str]]): Arguments of `Doc.__init__` for tags and lemmas."""
    layers: dict[str, list[str]] = {}
    for name in layout.names:
        if name in ("chunk", "ner"):
            continue
        column = [value for sentence in group for value in sentence.column(layout.field(name))]
        values = ["" if value == "_" else value for value in column]
        if name == "pos":
            lines = [line for sentence in group for line in sentence.lines]
            name, _ = read_pos(values, lines)
            if name == "tag" and "tag" in layout.places:
                raise error_at(
                    read_pos.path,
                    lines[0],
                    "the column pos holds tags that are not universal, and there is a column tag, "
                    "too. Call the one to pass over '-'.",
                )
        layers[f"{name}s" if name != "pos" else name] = values
    return layers
