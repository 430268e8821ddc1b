"""The lines of CoNLL-U and CoNLL-U Plus files: sentences of checked rows.

Source: https://universaldependencies.org/format.html and /ext-format.html
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from spacy.parts_of_speech import IDS as POS_IDS

from .gold import TokenSpan
from .lines import read_lines
from .report import ConversionError, ConversionReport, PathLike, error_at

NAMES = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
ID, FORM, LEMMA, UPOS, XPOS, FEATS, HEAD, DEPREL, DEPS, MISC = range(10)
# Behind them stands the entity tag of a row; empty where there is none.
NER = 10

GLOBAL_COLUMNS = re.compile(r"#\s*global\.columns\s*=(.*)")
# What entity tags are called in MISC by NorNE, Stanza and the Japanese GSD treebank.
MISC_TAG = re.compile(r"(?:^|\|)(name|ner|ne|entity)=(?:O|[BIESLUMW]-[^|\s]+)(?:\||$)", re.I)


@dataclass
class ConlluSentence:
    """The syntactic words of a sentence, which are the doc's tokens.

    line (int): Number of the line of the first word.
    starts_doc (bool): Whether "# newdoc" stands before it.
    text (Optional[str]): The "# text" of the sentence.
    rows (List[List[str]]): The ten fields of each word, and its entity tag.
    lines (List[int]): The line number of each word.
    ranges (Dict[int, Tuple[int, List[str], int]]): Multiword tokens by the index of their first
        word: end (exclusive), fields, line number.
    entities (List[TokenSpan]): Where entity tags are read, the entities, by words.
    unknown (List[int]): Words without an entity tag in a file whose other words have one.
    """

    line: int = 0
    starts_doc: bool = False
    text: str | None = None
    rows: list[list[str]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    ranges: dict[int, tuple[int, list[str], int]] = field(default_factory=dict)
    entities: list[TokenSpan] = field(default_factory=list)
    unknown: list[int] = field(default_factory=list)


class Layout:
    """Which columns a file has, and where the entity tags of its words stand.

    names (Sequence[str]): The columns; those of CoNLL-U, or of "# global.columns".
    ner (Optional[str]): The key of entity tags in MISC, or a column of CoNLL-U Plus.
    """

    def __init__(self, names: tuple[str, ...] = NAMES, ner: str | None = None) -> None:
        self.names = names
        self.ner = ner
        self.places = [names.index(name) if name in names else None for name in NAMES]
        self.ner_place = names.index(ner) if ner in names else None
        self.key = None if ner is None or self.ner_place is not None else f"{ner}="

    @property
    def not_read(self) -> list[str]:
        """RETURNS (List[str]): Columns that are neither CoNLL-U's nor the one of entity tags."""
        return [name for name in self.names if name not in NAMES and name != self.ner]

    def parse(self, path: PathLike, line_no: int, line: str) -> list[str]:
        """RETURNS (List[str]): The ten fields of CoNLL-U, "_" where there is no such column, and
        the entity tag, empty where there is none.
        """
        cells = line.split("\t")
        if len(cells) != len(self.names):
            raise error_at(
                path,
                line_no,
                f"{len(cells)} tab columns instead of {len(self.names)}. A word line has "
                + (
                    "ten columns in CoNLL-U"
                    if self.names == NAMES
                    else "the columns that '# global.columns' names"
                )
                + ", with tabs between; a blank line ends a sentence and comments stand before it.",
            )
        row = ["_" if place is None else cells[place] for place in self.places]
        tag = ""
        if self.ner_place is not None:
            tag = cells[self.ner_place]
        elif self.key is not None:
            values = [item for item in row[MISC].split("|") if item.startswith(self.key)]
            tag = values[0].removeprefix(self.key) if values else ""
        row.append("" if tag == "_" else tag)
        return row


@dataclass
class Survey:
    """What one look at the whole file tells.

    features (bool): Whether a word has features: "_" is then "no features", else "not known".
    tagged (bool): Whether a word has an entity tag.
    outside (bool): Whether a word has the tag O: no tag is then "not known", else "outside".
    """

    features: bool = False
    tagged: bool = False
    outside: bool = False


def survey(path: PathLike, layout: Layout) -> Survey:
    """Look for features, which nearly every treebank that has them shows at once, and tags."""
    found = Survey()
    for line_no, line in read_lines(path):
        if line.startswith("#") or line.count("\t") + 1 != len(layout.names):
            continue
        row = layout.parse(path, line_no, line)
        found.features = found.features or (row[ID].isdigit() and row[FEATS] != "_")
        found.tagged = found.tagged or row[NER] != ""
        found.outside = found.outside or row[NER] == "O"
        if found.features and (layout.ner is None or found.outside):
            break
    if layout.ner is not None and not found.tagged:
        raise ConversionError(
            f"{path}: no word has an entity tag under {layout.ner!r}. The option ner is the key of "
            "the tags in the tenth column, such as 'name' for name=B-PER, or in CoNLL-U Plus the "
            "name of a column."
        )
    return found


def read_sentences(
    path: PathLike, layout: Layout, report: ConversionReport
) -> Iterator[ConlluSentence]:
    sentence = ConlluSentence()
    for line_no, line in read_lines(path):
        if not line.strip(" \t"):
            if sentence.rows:
                check_sentence(path, sentence)
                yield sentence
                sentence = ConlluSentence()
            elif sentence.ranges:
                check_sentence(path, sentence)
            else:
                # Comments without words: a "# text" there is not the next sentence's.
                sentence.text = None
        elif line.startswith("#"):
            if sentence.rows or sentence.ranges:
                report.add_cause("comment within a sentence: skipped", path, line_no)
            else:
                add_comment(path, line_no, line, sentence, layout)
        else:
            add_row(path, line_no, layout.parse(path, line_no, line), sentence, layout, report)
    if sentence.rows or sentence.ranges:
        check_sentence(path, sentence)
        yield sentence


def add_comment(
    path: PathLike, line_no: int, line: str, sentence: ConlluSentence, layout: Layout
) -> None:
    if re.match(r"#\s*newdoc\b", line):
        sentence.starts_doc = True
    text = re.match(r"#\s*text\s*=(.*)", line)
    if text:
        sentence.text = text[1].strip()
    columns = GLOBAL_COLUMNS.match(line)
    if columns and tuple(columns[1].split()) != layout.names:
        raise error_at(
            path,
            line_no,
            f"the columns are {columns[1].strip()!r}, not {' '.join(layout.names)!r}. Convert "
            "CoNLL-U Plus with the format conllup; its columns stand in the file's first line.",
        )


def add_row(
    path: PathLike,
    line_no: int,
    row: list[str],
    sentence: ConlluSentence,
    layout: Layout,
    report: ConversionReport,
) -> None:
    n_words = len(sentence.rows)
    if re.fullmatch(r"[0-9]+\.[0-9]+", row[ID]):
        report.add_cause("empty node of the enhanced graph: not a token", path, line_no)
        return
    if not row[FORM]:
        raise error_at(path, line_no, "the form is empty. Write '_' for an unknown form.")
    word_range = re.fullmatch(r"([0-9]{1,9})-([0-9]{1,9})", row[ID])
    if word_range:
        start, end = int(word_range[1]) - 1, int(word_range[2])
        covered = max((e for e, _, _ in sentence.ranges.values()), default=0)
        if start != n_words or end <= start or start < covered:
            raise error_at(
                path,
                line_no,
                f"the multiword token {row[ID]} does not stand before its first word or overlaps "
                f"another: the next word is {n_words + 1}. Check the IDs of this sentence.",
            )
        sentence.ranges[start] = (end, row, line_no)
        return
    if row[ID] != str(n_words + 1):
        raise error_at(
            path,
            line_no,
            f"ID {row[ID]!r} instead of {n_words + 1}. Words are numbered from 1 in each sentence, "
            "and a blank line ends a sentence.",
        )
    check_fields(path, line_no, row)
    tag = MISC_TAG.search(row[MISC]) if layout.ner is None and "=" in row[MISC] else None
    if tag is not None:
        report.add_cause(
            f"entity tag in MISC: not read; the option ner {tag[1]} reads it", path, line_no
        )
    if not sentence.rows:
        sentence.line = line_no
    sentence.rows.append(row)
    sentence.lines.append(line_no)


def check_fields(path: PathLike, line_no: int, row: list[str]) -> None:
    """RAISES (ConversionError): If a value is none that its column may have."""
    if row[UPOS] != "_" and row[UPOS] not in POS_IDS:
        raise error_at(
            path,
            line_no,
            f"{row[UPOS]!r} is not a universal part of speech. Check that UPOS is the fourth "
            "column.",
        )
    features = [] if row[FEATS] == "_" else row[FEATS].split("|")
    names = [feature.partition("=")[0] for feature in features]
    if len(set(names)) < len(names):
        raise error_at(
            path,
            line_no,
            f"the features {row[FEATS]!r} have one name twice. "
            "Write several values of a feature as Name=Value1,Value2.",
        )
    for feature in features:
        if not re.fullmatch(r"[^=\s]+=[^=\s]+", feature):
            raise error_at(
                path,
                line_no,
                f"feature {feature!r} is not Name=Value. Check that FEATS is the sixth column.",
            )
    if row[HEAD] != "_" and not re.fullmatch(r"[0-9]{1,9}", row[HEAD]):
        raise error_at(
            path,
            line_no,
            f"head {row[HEAD]!r} is not a number or '_'. Check that HEAD is the seventh column.",
        )


def check_sentence(path: PathLike, sentence: ConlluSentence) -> None:
    n_words = len(sentence.rows)
    for end, row, line_no in sentence.ranges.values():
        if end > n_words:
            raise error_at(
                path,
                line_no,
                f"the multiword token {row[ID]} goes past the end of the sentence, which has "
                f"{n_words} words. Check the IDs of this sentence.",
            )
    for i, (row, line_no) in enumerate(zip(sentence.rows, sentence.lines), start=1):
        if row[HEAD] != "_" and (int(row[HEAD]) > n_words or int(row[HEAD]) == i):
            raise error_at(
                path,
                line_no,
                f"head {row[HEAD]} is the word itself or no word of the sentence, which has "
                f"{n_words} words. The root's head is 0.",
            )
