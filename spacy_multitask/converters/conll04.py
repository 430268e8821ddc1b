"""CoNLL-04 entities and relations in the multi-head format.

Columns: index, token, BIO tag, relation labels, indices of their tails, parted by tabs. A relation
stands at the last token of its head and names the last token of its tail; "N" is none. A line
"#doc ..." begins a sentence.

Source: Roth and Yih (2004), https://aclanthology.org/W04-2401; format of Bekoulis et al. (2018),
https://arxiv.org/abs/1804.07847
"""

import re
from collections.abc import Iterator

from spacy.language import Language
from spacy.tokens import Doc

from ..relations import set_relations
from .gold import set_entities, spans_of
from .iob import IOBDecoder
from .lines import read_lines
from .report import ConversionReport, PathLike, error_at
from .sentences import Sentence, doc_from_sentences

TAG, LABELS, TAILS = 1, 2, 3  # of a row without its index


def read_conll04(path: PathLike, nlp: Language, report: ConversionReport) -> Iterator[Doc]:
    """Read entities into `doc.ents` and relations into `doc._.relations`.

    path (PathLike): The file, plain or gzipped.
    nlp (Language): Gives the vocab.
    report (ConversionReport): Counts what is skipped.
    YIELDS (Doc): One for each sentence.
    RAISES (ConversionError): If a line is malformed.
    """
    decode = IOBDecoder(path, report, "auto", "entity")  # the files have an I- without B-
    for sentence in read_sentences(path):
        doc = doc_from_sentences(nlp, [sentence])
        spans = spans_of(path, [sentence], decode, TAG, report)
        entities = set_entities(doc, spans, report, path, sentence.line)
        by_last = {span.end - 1: span for span in entities if span is not None}
        relations = []
        for i, row in enumerate(sentence.rows):
            line = sentence.line + i
            for label, tail in read_cells(path, line, row):
                if i not in by_last or tail not in by_last:
                    raise error_at(
                        path,
                        line,
                        f"the relation {label!r} is from token {i} to token {tail}, and one of "
                        "them does not end an entity.",
                    )
                relations.append((by_last[i], by_last[tail], label, 1.0))
        set_relations(doc, relations)
        yield doc


def read_sentences(path: PathLike) -> Iterator[Sentence]:
    rows: list[list[str]] = []
    first = 0
    for line_no, line in read_lines(path):
        if not line.strip() or line.startswith("#doc"):
            if rows:
                yield Sentence(rows, first, starts_doc=True)
            rows = []
            continue
        row = line.split("\t")
        if len(row) != 5 or row[0] != str(len(rows)) or not row[1].strip():
            raise error_at(
                path,
                line_no,
                f"this is not token {len(rows)} of a sentence. A line is 'index token tag "
                "labels tails', parted by tabs, with the index counted from 0.",
            )
        first = first if rows else line_no
        rows.append(row[1:])
    if rows:
        yield Sentence(rows, first, starts_doc=True)


def read_cells(path: PathLike, line: int, row: list[str]) -> list[tuple[str, int]]:
    """RETURNS (List[Tuple[str, int]]): Label and tail of each relation in a row."""
    labels, tails = (cell.strip() for cell in (row[LABELS], row[TAILS]))
    # Written so that there is one way only to match: no line may take for ever.
    if not re.fullmatch(r"\['[^']+'(, *'[^']+')*\]", labels) or not re.fullmatch(
        r"\[[0-9]{1,6}(, *[0-9]{1,6})*\]", tails
    ):
        raise error_at(path, line, f"{labels} {tails} is not ['label', ...] and [index, ...].")
    names = re.findall(r"'([^']+)'", labels)
    numbers = [int(number) for number in re.findall(r"\d+", tails)]
    if len(names) != len(numbers):
        raise error_at(path, line, f"{len(names)} labels, but {len(numbers)} tails.")
    return [(name, number) for name, number in zip(names, numbers) if name != "N"]
