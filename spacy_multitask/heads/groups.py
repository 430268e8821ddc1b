"""Span groups that stay at their words when tokens are merged or split."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import srsly
from spacy.tokens import Doc, Span, SpanGroup

# As SpanGroup packs its spans: id, knowledge base id, label, first token, end token, and the same
# in characters.
_PACKED = struct.Struct(">QQQllll")


class PlacedSpans(SpanGroup):
    """Flat spans that are at the same characters whatever becomes of the tokens.

    spaCy leaves the numbers of first and last token what they were, so that behind `merge_entities`
    they are those of other words, or of none. A span that ends within a merged token grows to its
    end, unless another one is there.
    """

    def __getitem__(self, i: int) -> Span:
        if not self._is_at_its_words(i):
            self._mend()
        return super().__getitem__(i)

    def __iter__(self) -> Iterator[Span]:
        self._mend()
        return super().__iter__()

    def __len__(self) -> int:
        self._mend()
        return super().__len__()

    def to_bytes(self) -> bytes:
        self._mend()
        return super().to_bytes()

    def _mend(self) -> None:
        """Bring the spans to the tokens that are now at their characters, if these are others."""
        if all(map(self._is_at_its_words, range(super().__len__()))):
            return
        message = srsly.msgpack_loads(super().to_bytes())
        packed, end = [], 0
        for data in message["spans"]:
            *names, _, _, start_char, end_char = _PACKED.unpack(data)
            span = self.doc.char_span(start_char, end_char, alignment_mode="expand")
            if span is not None and span.start >= end:
                end = span.end
                places = (span.start, span.end, span.start_char, span.end_char)
                packed.append(_PACKED.pack(*names, *places))
        super().from_bytes(srsly.msgpack_dumps({**message, "spans": packed}))

    def _is_at_its_words(self, i: int) -> bool:
        try:
            span = super().__getitem__(i)
        except IndexError:  # there are not so many tokens now
            return False
        if not len(span):
            return True
        last = span[-1]
        return span.start_char == span[0].idx and span.end_char == last.idx + len(last)


def set_group(doc: Doc, spans_key: str, spans: list[tuple[int, int, int]]) -> None:
    """Write (first token, end token, label hash) as the span group of a doc."""
    doc.spans[spans_key] = PlacedSpans(
        doc,
        name=spans_key,
        spans=[Span(doc, start, end, label=label) for start, end, label in spans],
    )


def placed_spans(doc: Doc, spans_key: str) -> list[Span]:
    """RETURNS (List[Span]): Flat spans of a group, at their words also where the group has been
    saved and loaded; empty if there is none."""
    group = doc.spans.get(spans_key)
    if group is None or isinstance(group, PlacedSpans):
        return list(group or ())
    return list(PlacedSpans(doc).from_bytes(group.to_bytes()))
