"""Joining the layers of two corpora that hold the same texts."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import Any

from spacy.tokens import Doc, Span

from ..converters.gold import TokenSpan, set_spans
from ..converters.select import TOKEN_ATTRS, layers_in
from ..relations import KEY as RELATIONS_KEY
from ..relations import kept_relations


def merge_docs(ones: Iterable[Doc], others: Iterable[Doc], counts: Counter[str]) -> Iterator[Doc]:
    """Give docs the layers that docs of the same text have elsewhere.

    Texts are the same if they differ in blanks alone. A layer that both have stays as it is in the
    first; topics are joined label by label. Docs that stand on one side only are kept.

    ones (Iterable[Doc]): Docs; they are changed.
    others (Iterable[Doc]): Docs of the same vocab, all of which are held in memory.
    counts (Counter[str]): What was joined and what was not is counted here.
    YIELDS (Doc): The docs.
    """
    waiting: dict[str, deque[Doc]] = {}
    for other in others:
        waiting.setdefault(_key(other), deque()).append(other)
    for doc in ones:
        same = waiting.get(_key(doc))
        if same:
            join_layers(doc, same.popleft(), counts)
            counts["docs joined"] += 1
        else:
            counts["docs of the first file alone"] += 1
        yield doc
    for rest in filter(None, waiting.values()):
        counts["docs of the second file alone"] += len(rest)
        yield from rest


def _key(doc: Doc) -> str:
    return "".join(doc.text.split())


def join_layers(doc: Doc, other: Doc, counts: Counter[str]) -> None:
    """Add the layers of another doc of the same text.

    Where the tokens differ, spans go over if they begin and end with tokens; a span that does not
    is unknown. Tags, lemmas, trees and relations cannot go over.
    """
    had, found = layers_in(doc), layers_in(other)
    for label, value in other.cats.items():
        if doc.cats.setdefault(label, value) != value:
            counts["topics that differ: kept as in the first file"] += 1
    same_tokens = [token.text for token in doc] == [token.text for token in other]
    for layer in sorted(found - {"topic"}):
        if layer == "chunk":
            _join_spans(doc, other, counts)
        elif layer in had:
            counts[f"docs with {layer} in both files: kept as in the first"] += 1
        elif layer == "ner":
            _join_entities(doc, other, counts)
        elif not same_tokens:
            counts[f"docs whose {layer} is of other tokens: left out"] += 1
        elif layer == "relations":
            # Without their characters, which may be others.
            doc.user_data[RELATIONS_KEY] = [
                [head[:3], tail[:3], *rest] for head, tail, *rest in kept_relations(other)
            ]
        else:
            attrs: list[int | str] = [*TOKEN_ATTRS[layer]]
            columns: Any = other.to_array(attrs)
            doc.from_array(attrs, columns.reshape(len(other), len(attrs)))


class _Places:
    """Leads from the tokens of one doc to those of another that has the same text but for blanks.

    doc, other (Doc): Where to and where from.
    """

    def __init__(self, doc: Doc, other: Doc) -> None:
        self.starts, self.ends = _edges(doc)
        self.doc = doc
        self.from_start, self.from_end = (
            {token: place for place, token in edges.items()} for edges in _edges(other)
        )

    def __call__(self, start: int, end: int) -> tuple[int, int] | None:
        """RETURNS (Optional[Tuple[int, int]]): First token and end of the same words; None if they
        begin or end within a token.
        """
        first = self.starts.get(self.from_start.get(start, -1))
        last = self.ends.get(self.from_end.get(end - 1, -1))
        return None if first is None or last is None else (first, last + 1)

    def touched(self, start: int, end: int) -> list[int]:
        """RETURNS (List[int]): The tokens that share characters with these."""
        before, after = self.from_start[start], self.from_end[end - 1]
        begins = {token: place for place, token in self.starts.items()}
        stops = {token: place for place, token in self.ends.items()}
        return [t for t in begins if begins[t] < after and stops[t] > before]


def _edges(doc: Doc) -> tuple[dict[int, int], dict[int, int]]:
    """RETURNS (Tuple[Dict[int, int], Dict[int, int]]): Tokens by the number of characters, blanks
    apart, before them and up to their end.
    """
    starts, ends = {}, {}
    place = 0
    for token in doc:
        length = len("".join(token.text.split()))
        if length:
            starts[place] = token.i
            place += length
            ends[place] = token.i
    return starts, ends


def _join_entities(doc: Doc, other: Doc, counts: Counter[str]) -> None:
    places = _Places(doc, other)
    placed: list[TokenSpan] = []
    missing: set[int] = set()
    for ent in other.ents:
        place = places(ent.start, ent.end)
        if place is None:
            missing.update(places.touched(ent.start, ent.end))
            counts["entities that cut a token of the first file: unknown"] += 1
        else:
            placed.append((*place, ent.label_))
    for token in other:
        if not token.ent_iob_ and token.i in places.from_start:
            missing.update(places.touched(token.i, token.i + 1))
    kept = [span for span in placed if missing.isdisjoint(range(span[0], span[1]))]
    doc.set_ents(
        [Span(doc, start, end, label=label) for start, end, label in kept],
        missing=[doc[token : token + 1] for token in sorted(missing)],
        default="outside",
    )


def _join_spans(doc: Doc, other: Doc, counts: Counter[str]) -> None:
    places = _Places(doc, other)
    for key, spans in other.spans.items():
        if key in doc.spans:
            counts[f"docs with spans {key} in both files: kept as in the first"] += 1
            continue
        placed = [(places(span.start, span.end), span.label_) for span in spans]
        if any(place is None for place, _ in placed):
            counts[f"docs whose spans {key} cut a token of the first file: left out"] += 1
        else:
            set_spans(doc, key, [(*place, label) for place, label in placed if place])
