"""BRAT standoff: a .txt file of text beside a .ann file of annotations.

The libraries that read it refuse legal lines or mend them without a word, and name no line.

Source: https://brat.nlplab.org/standoff.html
"""

import re
from collections.abc import Iterator
from pathlib import Path

from spacy.language import Language
from spacy.tokens import Doc

from .annotated import Annotated, CharRelation, CharSpan, DocMaker
from .lines import check_is_file, read_lines, read_text
from .records import shorten
from .report import ConversionError, ConversionReport, PathLike, error_at

TEXT_BOUND = re.compile(
    r"(T\S+)\t(\S+) ([0-9]{1,12} [0-9]{1,12}(?:;[0-9]{1,12} [0-9]{1,12})*)(?:\t(.*))?"
)
RELATION = re.compile(r"(R\S+)\t(\S+) [^\s:]+:(\S+) [^\s:]+:(\S+)\s*")
# What else there is, and is not read, by the first letter of its line.
OTHERS = {
    "E": "event",
    "A": "attribute",
    "M": "attribute",
    "N": "normalization",
    "#": "note",
    "*": "equivalence",
}


def read_brat(
    path: PathLike,
    nlp: Language,
    report: ConversionReport,
    *,
    misaligned: str = "unknown",
    spans_key: str | None = None,
) -> Iterator[Doc]:
    """Read text-bound annotations into `doc.ents`, relations into `doc._.relations`.

    A text without relations has none if another in the folder has some. Of the characters of a
    span in pieces nothing is known. Events, attributes, normalizations, notes and equivalences are
    left out and counted.

    path (PathLike): A folder of .txt and .ann files, also in folders within it; or one of them.
    nlp (Language): Tokenizes the texts, each of which becomes a doc.
    report (ConversionReport): Counts what is skipped.
    misaligned (str): Spans that cut a token: "unknown", "expand" or "contract".
    spans_key (Optional[str]): Key of `doc.spans` that the spans go to; None for `doc.ents`.
    YIELDS (Doc): The docs.
    RAISES (ConversionError): If a line is malformed, or a file has no other beside it.
    """
    make_doc = DocMaker(nlp, report, misaligned, spans_key)
    pairs = find_pairs(Path(path), report)
    with_relations = any(
        line.startswith("R") for _, annotations in pairs for _, line in read_lines(annotations)
    )
    for text_path, annotations in pairs:
        said = read_annotations(annotations, read_text(text_path), report)
        if not with_relations:
            said.relations = None
        doc = make_doc(said)
        if doc is not None:
            yield doc


def find_pairs(path: Path, report: ConversionReport) -> list[tuple[Path, Path]]:
    """RETURNS (List[Tuple[Path, Path]]): The files of text and those of annotations, by name."""
    if not path.is_dir():
        check_is_file(path)
        if path.suffix not in (".txt", ".ann"):
            raise ConversionError(
                f"{path}: give a folder of .txt and .ann files, or one of these files."
            )
        texts, annotations = [path.with_suffix(".txt")], [path.with_suffix(".ann")]
    else:
        texts, annotations = sorted(path.rglob("*.txt")), sorted(path.rglob("*.ann"))
        if not annotations:
            raise ConversionError(f"{path}: there is no .ann file in this folder.")
    for annotation in annotations:
        if not annotation.with_suffix(".txt").is_file():
            raise ConversionError(f"{annotation}: there is no .txt file with its text beside it.")
    for text in texts:
        if not text.with_suffix(".ann").is_file():
            report.add_cause("text without .ann file: left out", text, 1)
    return [(annotation.with_suffix(".txt"), annotation) for annotation in annotations]


def read_annotations(path: Path, text: str, report: ConversionReport) -> Annotated:
    said = Annotated(path, 1, text, spans=[], relations=[])
    spans: list[CharSpan] = []
    places: dict[str, int | None] = {}
    relations = []
    for line_no, line in read_lines(path):
        if not line.strip():
            continue
        if line[0] == "T":
            name, span = read_text_bound(path, line_no, line, text)
            if name in places:
                raise error_at(path, line_no, f"the name {name} is there twice.")
            places[name] = len(spans) if len(span) == 1 else None
            if len(span) == 1:
                spans.extend(span)
            else:
                said.unknown.extend((piece.start, piece.end) for piece in span)
                report.add_cause("span in pieces: its tokens are unknown", path, line_no)
        elif line[0] == "R":
            relations.append((line_no, line))
        elif line[0] in OTHERS:
            report.add_cause(f"{OTHERS[line[0]]}: left out", path, line_no)
        else:
            raise error_at(
                path,
                line_no,
                f"{shorten(line)} is no annotation of BRAT: it begins with none of T, R, "
                f"{', '.join(OTHERS)}.",
            )
    said.spans = spans
    said.relations = [read_relation(path, *relation, places) for relation in relations]
    return said


def read_text_bound(path: Path, line_no: int, line: str, text: str) -> tuple[str, list[CharSpan]]:
    """RETURNS (Tuple[str, List[CharSpan]]): The name, such as "T1", and the span or its pieces."""
    found = TEXT_BOUND.fullmatch(line)
    if found is None:
        raise error_at(
            path,
            line_no,
            f"{shorten(line)} is not 'T1<tab>Label 0 5<tab>words', with the first character and "
            "the end, and a semicolon between pieces.",
        )
    name, label, places, written = found.groups()
    spans = []
    for piece in places.split(";"):
        start, end = map(int, piece.split())
        if not start < end <= len(text):
            raise error_at(
                path,
                line_no,
                f"the span from character {start} to {end} is empty or goes past the text, which "
                f"has {len(text):,} characters.",
            )
        spans.append(CharSpan(start, end, label))
    there = " ".join(text[span.start : span.end] for span in spans)
    if written is not None and written.split() != there.split():
        raise error_at(
            path,
            line_no,
            f"the words are {shorten(written)}, but the text has {shorten(there)}. Check that "
            "the .txt file is the one that was annotated, with its line ends.",
        )
    return name, spans


def read_relation(
    path: Path, line_no: int, line: str, places: dict[str, int | None]
) -> CharRelation:
    found = RELATION.fullmatch(line)
    if found is None:
        raise error_at(path, line_no, f"{shorten(line)} is not 'R1<tab>Label Arg1:T1 Arg2:T2'.")
    _, label, head, tail = found.groups()
    for end in (head, tail):
        if end not in places and not end.startswith("E"):
            raise error_at(path, line_no, f"there is no annotation {end} in the file.")
    return places.get(head), places.get(tail), label
