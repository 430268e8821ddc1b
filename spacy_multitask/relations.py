"""`doc._.relations`: relations between the entities of a doc, kept with the doc."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from spacy.tokens import Doc, Span

# Plain lists under this key of doc.user_data, so that they survive DocBin and to_bytes.
KEY = "spacy_multitask_relations"


class Relation(NamedTuple):
    """A directed relation.

    head, tail (Span): Entities.
    label (str): What the head is to the tail.
    probability (float): From 0 to 1; 1 in gold.
    """

    head: Span
    tail: Span
    label: str
    probability: float

    @property
    def prob(self) -> float:
        """RETURNS (float): The probability, under the name that it has for spans."""
        return self.probability


def get_relations(doc: Doc) -> list[Relation]:
    """RETURNS (List[Relation]): What `doc._.relations` gives; empty where nothing is known."""
    return [
        Relation(
            Span(doc, head[0], head[1], label=head[2]),
            Span(doc, tail[0], tail[1], label=tail[2]),
            label,
            probability,
        )
        for head, tail, label, probability in doc.user_data.get(KEY, [])
    ]


def set_relations(doc: Doc, relations: Iterable[tuple[Span, Span, str, float]]) -> None:
    """Set `doc._.relations`. An empty list says that there are none; before, nothing is known."""
    doc.user_data[KEY] = [
        [plain(head), plain(tail), label, float(probability)]
        for head, tail, label, probability in relations
    ]


def plain(span: Span) -> list:
    """RETURNS (List): First token, end token (exclusive) and label of a span."""
    return [span.start, span.end, span.label_]


if not Doc.has_extension("relations"):
    Doc.set_extension("relations", getter=get_relations, setter=set_relations)
