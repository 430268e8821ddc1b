"""`doc._.relations`: relations between the entities of a doc, kept with the doc."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

from spacy.tokens import Doc, Span
from spacy.tokens.underscore import Underscore

from .cut import chars_before, keep_places, n_chars

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
        Relation(_span_at(doc, head), _span_at(doc, tail), label, probability)
        for head, tail, label, probability in kept_relations(doc)
    ]


def kept_relations(doc: Doc) -> list[list]:
    """RETURNS (List[list]): Ends as `place_of`, label and probability of each; at the tokens that
    are there now, also if some were merged or split since, or the doc was cut from another. Then
    relations with an end outside of it are gone."""
    before, n_left = chars_before(doc), n_chars(doc)
    found = []
    for *ends, label, probability in doc.user_data.get(KEY, []):
        places = [_place_now(doc, end, before, n_left) for end in ends]
        if None not in places:
            found.append([*places, label, probability])
    return found


def _place_now(doc: Doc, place: list, before: int, n_left: int) -> list | None:
    start, end, label, *chars = place
    if not chars:  # 0.1.0 had none
        return place
    first, last = chars[0] - before, chars[1] - before
    if first < 0 or last > n_left:
        return None
    if not before and start < end <= len(doc):
        token = doc[end - 1]
        if doc[start].idx == first and token.idx + len(token) == last:
            return place
    return place_of(_span_at(doc, [start, end, label, first, last]))


def set_relations(
    doc: Doc, relations: Iterable[tuple[Span, Span, str, float] | dict[str, Any]]
) -> None:
    """Set `doc._.relations`. An empty list says that there are none; before, nothing is known.

    relations (Iterable): Head, tail, label and probability of each; or what `to_dict` gave.
    """
    found = [_from_dict(doc, r) if isinstance(r, dict) else r for r in relations]
    keep_places(doc)
    doc.user_data[KEY] = [
        [place_of(head), place_of(tail), label, float(probability)]
        for head, tail, label, probability in found
    ]


def plain(span: Span) -> list:
    """RETURNS (List): First token, end token (exclusive) and label of a span."""
    return [span.start, span.end, span.label_]


def place_of(span: Span) -> list:
    """RETURNS (List): As `plain`, and first and end character (exclusive): these stay what they are
    when tokens are merged or split."""
    return [*plain(span), span.start_char, span.end_char]


def _span_at(doc: Doc, place: list) -> Span:
    """RETURNS (Span): What `place_of` was of, or the tokens that are there now."""
    start, end, label, *chars = place  # 0.1.0 had no characters
    if chars:
        first, last = chars
        span = doc.char_span(first, last, label=label, alignment_mode="expand")
        if span is not None:
            return span
    return Span(doc, start, end, label=label)


def to_dict(relation: Relation) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): What JSON can hold; ends by characters, as `Doc.to_json`."""
    head, tail = (
        {"start": s.start_char, "end": s.end_char, "label": s.label_, "text": s.text}
        for s in relation[:2]
    )
    return {"head": head, "tail": tail, **dict(zip(("label", "probability"), relation[2:]))}


def _from_dict(doc: Doc, values: dict[str, Any]) -> tuple[Span, Span, str, float]:
    head, tail = (
        _span_at(doc, [0, 0, end["label"], end["start"], end["end"]])
        for end in (values["head"], values["tail"])
    )
    return head, tail, values["label"], values["probability"]


def _get(doc: Doc) -> list[Relation] | list[dict[str, Any]]:
    """RETURNS (List): Relations; plain values for `doc.to_json(underscore=["relations"])`, which
    takes nothing else. It alone asks by `doc._.get`."""
    found = get_relations(doc)
    asks = sys._getframe(2).f_code is Underscore.get.__code__
    return list(map(to_dict, found)) if asks else found


if not Doc.has_extension("relations"):
    Doc.set_extension("relations", getter=_get, setter=set_relations)
