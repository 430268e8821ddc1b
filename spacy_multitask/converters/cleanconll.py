"""CleanCoNLL: corrected annotations of CoNLL-03, published without the words.

The words come from a CoNLL-03 file, to which a patch in the format of `diff` is applied: it parts
some tokens and joins some sentences. The annotation file has five tab columns: token (masked as
"[TOKEN]"), POS, Wikipedia link, NER before the adjectival affiliations went back to MISC, and NER.

Source: Rücker and Akbik (2023), https://arxiv.org/abs/2310.16225,
https://github.com/flairNLP/CleanCoNLL
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from spacy.language import Language
from spacy.tokens import Doc

from .conll03 import split_fields
from .gold import set_entities, spans_of
from .iob import IOBDecoder
from .lines import read_lines
from .report import ConversionError, ConversionReport, PathLike, error_at
from .sentences import doc_from_sentences, group_sentences, sentences_from_rows

MASK = "[TOKEN]"
COLUMNS = {"ner": 4, "ner*": 3}

CHECK_FILES = (
    "Check that all files are of one split: train (eng.train), dev (eng.testa) or test (eng.testb)."
)


def read_cleanconll(
    path: PathLike,
    nlp: Language,
    report: ConversionReport,
    *,
    conll03: Path | None = None,
    patch: Path | None = None,
    column: str = "ner",
    scheme: str = "auto",
    n_sents: int = 0,
) -> Iterator[Doc]:
    """Read entities into `doc.ents`, a doc for each -DOCSTART- document.

    path (PathLike): The annotations, plain or gzipped. If their tokens are not masked, because they
        have been merged before, the next two options are left out.
    nlp (Language): Gives the vocab.
    report (ConversionReport): Counts what is skipped.
    conll03 (Optional[Path]): The CoNLL-03 file of the same split, for the words.
    patch (Optional[Path]): The token patch of the same split.
    column (str): "ner" for the final labels, "ner*" for those before adjectival affiliations
        ("German") were put back to MISC.
    scheme (str): "auto", "io", "iob1", "bio", "bioes", "bilou" or "bmewo".
    n_sents (int): Most sentences in a doc; 0 for whole documents.
    YIELDS (Doc): The docs.
    RAISES (ConversionError): If a line is malformed or the files do not fit each other.
    """
    if column not in COLUMNS:
        raise ConversionError(f"column is {column!r}, but must be one of {', '.join(COLUMNS)}.")
    if (conll03 is None) != (patch is None):
        raise ConversionError(
            "one of the options conll03 and patch is given without the other. Give both for masked "
            "annotations, and none for merged ones."
        )
    decode = IOBDecoder(path, report, scheme, "entity")
    rows: Iterator[tuple[int, list[str] | None]] = read_rows(path)
    if conll03 is not None and patch is not None:
        rows = merge_tokens(path, rows, conll03, apply_patch(conll03, patch), report)
    sentences = sentences_from_rows(path, check_unmasked(path, rows), report)
    for group in group_sentences(path, sentences, n_sents, "-DOCSTART- line"):
        doc = doc_from_sentences(nlp, group)
        spans = spans_of(path, group, decode, COLUMNS[column], report)
        set_entities(doc, spans, report, path, group[0].line)
        yield doc


def read_rows(path: PathLike) -> Iterator[tuple[int, list[str] | None]]:
    for line_no, line in read_lines(path):
        row = line.split("\t") if line.strip(" \t") else None
        if row is not None and (len(row) != 5 or not row[0]):
            raise error_at(
                path,
                line_no,
                f"{len(row)} tab columns instead of 5. A CleanCoNLL line is "
                "'token POS link NER* NER' with tabs between, a blank line ends a sentence.",
            )
        yield line_no, row


def check_unmasked(
    path: PathLike, rows: Iterator[tuple[int, list[str] | None]]
) -> Iterator[tuple[int, list[str] | None]]:
    for line_no, row in rows:
        if row is not None and row[0] == MASK:
            raise error_at(
                path,
                line_no,
                f"the token is masked as {MASK}. "
                "Give the options conll03 and patch, which bring the words.",
            )
        yield line_no, row


@dataclass
class Hunk:
    """One change of a patch.

    line (int): Number of the command's line in the patch.
    start (int): Lines of the old file that stay before the change.
    n_before (int): Lines of the new file before the change.
    n_old (int): Lines that are taken out.
    n_new (int): Lines that are put in.
    old (List[Tuple[int, str]]): Line numbers in the patch, and lines that are taken out.
    new (List[str]): Lines that are put in.
    """

    line: int
    start: int
    n_before: int
    n_old: int
    n_new: int
    old: list[tuple[int, str]] = field(default_factory=list)
    new: list[str] = field(default_factory=list)


# Python refuses to read numbers of thousands of digits.
_NUMBERS = r"([0-9]{1,9})(?:,([0-9]{1,9}))?"
_COMMAND = rf"{_NUMBERS}([acd]){_NUMBERS}"


def read_patch(path: PathLike) -> list[Hunk]:
    """Read a patch as plain `diff` writes it ("12c12,14", "< old", "---", "> new").

    path (PathLike): The patch, plain or gzipped.
    RETURNS (List[Hunk]): The changes, in the order of their lines.
    RAISES (ConversionError): If the patch is in another format or incomplete.

    Source: https://www.gnu.org/software/diffutils/manual/html_node/Detailed-Normal.html
    """
    hunks: list[Hunk] = []
    for line_no, line in read_lines(path):
        command = re.fullmatch(_COMMAND, line)
        if command:
            _check_complete(path, hunks)
            old1, old2, kind, new1, new2 = command.groups()
            n_old = 0 if kind == "a" else int(old2 or old1) - int(old1) + 1
            n_new = 0 if kind == "d" else int(new2 or new1) - int(new1) + 1
            start = int(old1) if kind == "a" else int(old1) - 1
            n_before = int(new1) if kind == "d" else int(new1) - 1
            if min(n_old, n_new, start, n_before) < 0 or n_old + n_new == 0:
                raise error_at(path, line_no, f"the line numbers of {line!r} run backwards.")
            if hunks and start < hunks[-1].start + hunks[-1].n_old:
                raise error_at(
                    path,
                    line_no,
                    f"the change {line!r} begins before the end of the one above it. "
                    "Download the patch again.",
                )
            hunks.append(Hunk(line_no, start, n_before, n_old, n_new))
        elif hunks and line.startswith("<") and line[1:2] in ("", " "):
            hunks[-1].old.append((line_no, line[2:]))
        elif hunks and line.startswith(">") and line[1:2] in ("", " "):
            hunks[-1].new.append(line[2:])
        elif hunks and (line == "---" or line.startswith("\\")):
            continue
        elif line.strip():
            raise error_at(
                path,
                line_no,
                f"{line[:40]!r} is not a line of a plain diff. "
                "Use the *_tokens.patch files that come with CleanCoNLL.",
            )
    _check_complete(path, hunks)
    return hunks


def _check_complete(path: PathLike, hunks: list[Hunk]) -> None:
    if hunks and (len(hunks[-1].old), len(hunks[-1].new)) != (hunks[-1].n_old, hunks[-1].n_new):
        hunk = hunks[-1]
        raise error_at(
            path,
            hunk.line,
            f"the change takes out {hunk.n_old} and puts in {hunk.n_new} lines, but lists "
            f"{len(hunk.old)} and {len(hunk.new)}. Download the patch again.",
        )


def apply_patch(conll03: PathLike, patch: PathLike) -> Iterator[tuple[int, str, str | None]]:
    """Apply a patch to the first column of a CoNLL-03 file.

    conll03 (PathLike): The CoNLL-03 file, plain or gzipped.
    patch (PathLike): The patch, plain or gzipped.
    YIELDS (Tuple[int, str, Optional[str]]): Number of the line in the CoNLL-03 file, the new token
        (empty for a blank line), and its POS where the file has it.
    RAISES (ConversionError): If a line to be taken out is not what the patch says.
    """
    hunks = read_patch(patch)[::-1]
    waiting: list[tuple[int, str]] = []
    n_out = 0
    line_no = 0
    for line_no, line in read_lines(conll03):
        fields = split_fields(line)
        token = fields[0] if fields else ""
        while not waiting and hunks and hunks[-1].start == line_no - 1:
            n_out = _check_place(patch, hunks[-1], n_out)
            for new in hunks[-1].new:
                yield line_no, new, None
            waiting = hunks.pop().old[::-1]
        if waiting:
            patch_line, old = waiting.pop()
            if token != old:
                raise error_at(
                    patch,
                    patch_line,
                    f"the patch takes out {old!r}, but line {line_no} of {conll03} has {token!r}. "
                    + CHECK_FILES,
                )
            continue
        n_out += 1
        yield line_no, token, fields[1] if len(fields) == 4 else None
    while not waiting and hunks and hunks[-1].start == line_no:
        hunk = hunks.pop()
        n_out = _check_place(patch, hunk, n_out)
        waiting = hunk.old[::-1]
        if not waiting:
            for new in hunk.new:
                yield line_no, new, None
    if waiting or hunks:
        patch_line = waiting[-1][0] if waiting else hunks[-1].line
        raise error_at(
            patch,
            patch_line,
            f"the patch changes lines after the end of {conll03}, which has {line_no:,} lines. "
            + CHECK_FILES,
        )


def _check_place(patch: PathLike, hunk: Hunk, n_out: int) -> int:
    if hunk.n_before != n_out:
        raise error_at(
            patch,
            hunk.line,
            f"the change follows {hunk.n_before:,} lines of the new file, but {n_out:,} were made. "
            "A change before it is missing or doubled: download the patch again.",
        )
    return n_out + hunk.n_new


def merge_tokens(
    path: PathLike,
    rows: Iterator[tuple[int, list[str] | None]],
    conll03: PathLike,
    tokens: Iterator[tuple[int, str, str | None]],
    report: ConversionReport,
) -> Iterator[tuple[int, list[str] | None]]:
    """Put the tokens in the place of the masks, line by line.

    Blank lines have to stand at the same places, and the POS columns have to agree where both files
    have one. Blank lines at the end of one file are let pass.
    """
    line_no = 0
    for annotation, source in zip_longest(rows, tokens):
        line_no = annotation[0] if annotation else line_no + 1
        row = annotation[1] if annotation else None
        source_line, token, pos = source or (0, "", None)
        if (row is not None) != bool(token):
            place = f"line {source_line} of {conll03}" if source else f"the end of {conll03}"
            found = f"the token {token!r}" if token else "no token"
            expected = "has annotations" if row else "is blank or after the end"
            raise error_at(
                path, line_no, f"the line {expected}, but {place} gives {found}. {CHECK_FILES}"
            )
        if row is None:
            if annotation:
                yield line_no, None
            continue
        if row[0] not in (MASK, token):
            raise error_at(
                path,
                line_no,
                f"the token {row[0]!r} is neither {MASK} nor {token!r} as in line {source_line} of "
                f"{conll03}. {CHECK_FILES}",
            )
        if pos is None:
            report.add_cause("token without POS to compare", conll03, source_line)
        elif pos != row[1]:
            raise error_at(
                path,
                line_no,
                f"POS {row[1]!r} is not {pos!r} as in line {source_line} of {conll03} "
                f"({token!r}). {CHECK_FILES}",
            )
        yield line_no, [token, *row[1:]]
