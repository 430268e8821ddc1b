"""Doccano's JSON lines: categories, spans old and new, relations.

Source: https://github.com/doccano/doccano, docs/dataset_import_export
"""

from collections.abc import Iterator
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc

from .annotated import Annotated, CharRelation, CharSpan, DocMaker
from .records import Record, read_records, shorten
from .report import ConversionReport, PathLike

LABEL_KEYS = ("label", "labels")


def read_doccano(
    path: PathLike,
    nlp: Language,
    report: ConversionReport,
    *,
    misaligned: str = "unknown",
    spans_key: str | None = None,
) -> Iterator[Doc]:
    """Read spans into `doc.ents`, categories into `doc.cats`, relations into `doc._.relations`.

    Doccano exports texts that nobody has looked at, too, and with empty lists. An empty list of
    spans is read as "there are none", and counted; export confirmed texts only. A text without a
    category is left out, unless others have several: then all its categories are 0.0. The
    categories are those that occur in the file, which is read twice.

    path (PathLike): The file, plain or gzipped.
    nlp (Language): Tokenizes the texts.
    report (ConversionReport): Counts what is skipped.
    misaligned (str): Spans that cut a token: "unknown", "expand" or "contract".
    spans_key (Optional[str]): Key of `doc.spans` that the spans go to; None for `doc.ents`.
    YIELDS (Doc): The docs.
    RAISES (ConversionError): If a record is malformed.
    """
    make_doc = DocMaker(nlp, report, misaligned, spans_key)
    found = Project(path)
    for record in read_records(path):
        said = Annotated(record.path, record.line, record.get("text", str))
        if found.spans and (spans := read_spans(record)) is not None:
            said.spans = [span for _, span in spans]
            if not spans:
                cause = "text without spans: taken for 'there are none'"
                report.add_cause(cause, record.path, record.line)
            if found.relations:
                said.relations = read_relations(record, [name for name, _ in spans])
        labels = read_labels_of(record)
        if found.labels and labels is not None and (labels or found.several):
            said.cats = {label: float(label in labels) for label in sorted(found.labels)}
        if said.spans is None and not said.cats:
            report.add_cause("text without gold: left out", record.path, record.line)
            continue
        doc = make_doc(said)
        if doc is not None:
            yield doc


class Project:
    """What the records of a file are annotated with.

    spans, relations (bool): Whether there are any.
    labels (Set[str]): The categories that occur.
    several (bool): Whether a text has several categories.
    """

    def __init__(self, path: PathLike) -> None:
        self.spans = self.relations = self.several = False
        self.labels: set[str] = set()
        for record in read_records(path):
            self.spans = self.spans or bool(read_spans(record))
            self.relations = self.relations or bool(record.get("relations", list, []))
            labels = read_labels_of(record) or []
            self.labels.update(labels)
            self.several = self.several or len(labels) > 1


def read_labels_of(record: Record) -> list[str] | None:
    """RETURNS (Optional[List[str]]): The categories of a text; None where it has no list of them,
    or one of spans.
    """
    for key in (*LABEL_KEYS, "cats"):
        if (values := record.get(key, list, None)) is not None and not holds_spans(record, key):
            return record.texts(key) if values else []
    return None


def read_spans(record: Record) -> list[tuple[int, CharSpan]] | None:
    """RETURNS (Optional[List[Tuple[int, CharSpan]]]): The spans of a text with their numbers, to
    which relations refer; None where it has no list of them.
    """
    if "entities" in record.fields:
        if holds_spans(record, "entities"):
            values = record.get("entities", list)
            return [(-1, read_triple(record, f"entities[{i}]", v)) for i, v in enumerate(values)]
        return [
            (
                entity.get("id", int),
                CharSpan(
                    entity.get("start_offset", int),
                    entity.get("end_offset", int),
                    entity.get("label", str),
                ),
            )
            for entity in record.items("entities")
        ]
    for key in LABEL_KEYS:
        values = record.get(key, list, None)
        if values is not None and (not values or holds_spans(record, key)):
            return [(-1, read_triple(record, f"{key}[{i}]", v)) for i, v in enumerate(values)]
    return None


def holds_spans(record: Record, key: str) -> bool:
    """RETURNS (bool): Whether a list holds spans as lists.

    RAISES (ConversionError): If it holds other things, too.
    """
    kinds = {isinstance(value, list) for value in record.get(key, list)}
    if len(kinds) > 1:
        raise record.error(f"{key} holds spans, which are lists, and something else.")
    return kinds == {True}


def read_triple(record: Record, name: str, value: Any) -> CharSpan:
    if [type(item) for item in value] != [int, int, str]:
        raise record.error(
            f"{name} is {shorten(value)}, but must be [first character, end, label]."
        )
    return CharSpan(*value)


def read_relations(record: Record, numbers: list[int]) -> list[CharRelation]:
    """RETURNS (List[CharRelation]): Relations, by the places of their spans."""
    relations: list[CharRelation] = []
    for relation in record.items("relations"):
        ends = []
        for key in ("from_id", "to_id"):
            number = relation.get(key, int)
            if number not in numbers:
                raise relation.error(
                    f"{relation.name}{key} is {number}, which is the id of no entity of the record."
                )
            ends.append(numbers.index(number))
        relations.append((ends[0], ends[1], relation.get("type", str)))
    return relations
