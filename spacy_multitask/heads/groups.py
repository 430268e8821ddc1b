"""Spans in the groups of `doc.spans`: gold that is read from them, predictions written to them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import srsly
from spacy.tokens import Doc, Span, SpanGroup

from ..converters.gold import UNKNOWN_TOKENS

# (first token, end token, hash of the label)
HashedSpan = tuple[int, int, int]
# Key of doc.user_data: the probabilities of `doc.ents`, in their order.
ENT_PROBS = "spacy_multitask_ent_probs"


def unknown_tokens(doc: Doc, spans_key: str) -> list[int]:
    """RETURNS (List[int]): Tokens of which a gold doc does not say whether spans of the group have
    them."""
    return [int(i) for i in doc.spans[spans_key].attrs.get(UNKNOWN_TOKENS, ())]


def sureness_of(doc: Doc, spans_key: str | None) -> list[float]:
    """RETURNS (List[float]): How probable the spans of a group are, or with None as its key the
    entities; empty if it is not known."""
    if spans_key is None or spans_key not in doc.spans:
        return [float(p) for p in doc.user_data.get(ENT_PROBS, ())]
    return [float(p) for p in doc.spans[spans_key].attrs.get("scores", ())]


def over_words(
    spans: Iterable[tuple[int, int, str]], blank: np.ndarray
) -> list[tuple[int, int, str]]:
    """RETURNS (List[tuple]): Spans over tokens as spans over the words among them; each once,
    where a span group may have it twice.

    blank (ndarray): Whether each token is a blank, bool (n_tokens,).
    """
    before = np.append(0, np.cumsum(~blank)).tolist()  # words before each token
    # Those of blanks alone are gone; those without tokens are told of elsewhere.
    left = [span for span in spans if span[0] >= span[1] or not blank[span[0] : span[1]].all()]
    return list(dict.fromkeys((before[s], before[e], label) for s, e, label in left))


# As SpanGroup packs its spans: id, knowledge base id, label, first token, end token, and the same
# in characters.
_PACKED = struct.Struct(">QQQllll")


class PlacedSpans(SpanGroup):
    """Spans that are at the same characters whatever becomes of the tokens.

    spaCy leaves the numbers of first and last token what they were, so that behind `merge_entities`
    they are those of other words, or of none. A span that ends within a merged token grows to its
    end; but where no spans overlapped before, those that would overlap now go.
    """

    def __getitem__(self, i: int) -> Span:
        if self._at_their_words([i]) is None:
            self._mend()
        return super().__getitem__(i)

    def __iter__(self) -> Iterator[Span]:
        spans, n_tokens, i = self._mended(), len(self.doc), 0
        while i < super().__len__():
            # Whoever goes through the spans may merge each.
            yield spans[i] if len(self.doc) == n_tokens else self[i]
            i += 1

    def __len__(self) -> int:
        self._mended()
        return super().__len__()

    def to_bytes(self) -> bytes:
        self._mended()
        return super().to_bytes()

    def _mended(self) -> list[Span]:
        """RETURNS (List[Span]): The spans, over the tokens that are now at their characters."""
        spans = self._at_their_words(range(super().__len__()))
        if spans is None:
            self._mend()
            spans = [super(PlacedSpans, self).__getitem__(i) for i in range(super().__len__())]
        return spans

    def _at_their_words(self, indices: Sequence[int]) -> list[Span] | None:
        """RETURNS (Optional[List[Span]]): These spans, if all are over the tokens that are at their
        characters."""
        get, doc = super().__getitem__, self.doc
        spans = []
        for i in indices:
            try:
                span = get(i)
            except IndexError:  # there are not so many tokens now
                return None
            start, end = span.start, span.end
            if start < end:
                last = doc[end - 1]
                if span.end_char != last.idx + len(last) or span.start_char != doc[start].idx:
                    return None
            spans.append(span)
        return spans

    def _mend(self) -> None:
        """Bring the spans to the tokens that are now at their characters."""
        message = srsly.msgpack_loads(super().to_bytes())
        places = [_PACKED.unpack(data) for data in message["spans"]]
        is_flat = all(one[-1] <= other[-2] for one, other in pairwise(places))
        kept: list[int] = []
        packed, end = [], 0
        for i, (*names, _, _, start_char, end_char) in enumerate(places):
            span = self.doc.char_span(start_char, end_char, alignment_mode="expand")
            if span is not None and not (is_flat and span.start < end):
                end = span.end
                now = (span.start, span.end, span.start_char, span.end_char)
                packed.append(_PACKED.pack(*names, *now))
                kept.append(i)
        attrs = message["attrs"]
        if "scores" in attrs:
            attrs = {**attrs, "scores": np.asarray(attrs["scores"])[kept]}
        super().from_bytes(srsly.msgpack_dumps({**message, "attrs": attrs, "spans": packed}))


def set_group(
    doc: Doc,
    spans_key: str,
    spans: list[HashedSpan],
    scores: np.ndarray | None = None,
) -> None:
    """Write spans as the span group of a doc.

    scores (Optional[ndarray]): Probabilities, which go where spaCy's `spancat` has its scores.
    """
    doc.spans[spans_key] = PlacedSpans(
        doc,
        name=spans_key,
        attrs={} if scores is None else {"scores": scores},
        spans=[Span(doc, start, end, label=label) for start, end, label in spans],
    )


def placed_spans(doc: Doc, spans_key: str) -> list[Span]:
    """RETURNS (List[Span]): Spans of a group, at their words also where the group has been
    saved and loaded; empty if there is none."""
    group = doc.spans.get(spans_key)
    if group is None or isinstance(group, PlacedSpans):
        return list(group or ())
    return list(PlacedSpans(doc).from_bytes(group.to_bytes()))
