"""From docs to columns of an Arrow table, without a Python loop over tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from spacy.attrs import ENT_IOB, ENT_TYPE, IDX, LENGTH, POS, TAG
from spacy.strings import StringStore
from spacy.tokens import Doc

from ..probabilities import SPANS_KEY, layer_of, token_probs
from ..relations import kept_relations
from .schema import LAYERS

INSIDE, BEGINS = 1, 3  # as spaCy numbers them in ENT_IOB


class Rows(NamedTuple):
    """Spans of all docs, in order; all arrays (n_spans,).

    doc (ndarray): Index of the doc, int64.
    first, end (ndarray): Its first token, and the one after its last, among those of all docs;
        int64.
    label (ndarray): Hash of the label, uint64.
    keys (Optional[List[str]]): Of the group in `doc.spans`; None for `doc.ents`.
    """

    doc: np.ndarray
    first: np.ndarray
    end: np.ndarray
    label: np.ndarray
    keys: list[str] | None = None


class Columns:
    """The columns of a batch of docs.

    docs (Sequence[Doc]): Annotated.
    strings (StringStore): The pipeline's.
    chunk_keys (Sequence[str]): Groups of `doc.spans` that are chunks.
    probs (bool): Whether to give probabilities of tags and spans.
    """

    def __init__(
        self,
        docs: Sequence[Doc],
        strings: StringStore,
        *,
        chunk_keys: Sequence[str],
        probs: bool,
    ):
        self.docs, self.strings = docs, strings
        self.chunk_keys, self.probs = chunk_keys, probs
        lengths = np.fromiter(map(len, docs), np.int64, len(docs))
        self.borders = np.append(0, np.cumsum(lengths))

    @property
    def n_words(self) -> int:
        return int(self.borders[-1])

    @cached_property
    def values(self) -> np.ndarray:
        """RETURNS (ndarray): Of all tokens the first character, length, tag, part of speech, and
        part in an entity with its label, uint64 (n_words, 6)."""
        none = np.zeros((0, 6), np.uint64)
        attrs = [IDX, LENGTH, TAG, POS, ENT_IOB, ENT_TYPE]
        return np.concatenate([none, *(doc.to_array(attrs) for doc in self.docs)])

    @cached_property
    def starts(self) -> np.ndarray:
        return self.values[:, 0].astype(np.int32)

    @cached_property
    def ends(self) -> np.ndarray:
        return self.starts + self.values[:, 1].astype(np.int32)

    def of_layers(self, layers: Iterable[str]) -> dict[str, pa.Array]:
        """RETURNS (Dict[str, Array]): Columns by name, one row per doc."""
        found: dict[str, pa.Array] = {}
        for layer in layers:
            make: Callable[[], pa.Array] = getattr(self, layer)
            found[layer] = make()
            if self.probs and LAYERS[layer].column_of_probs:
                name = LAYERS[layer].column_of_probs
                found[name] = self._token_probs(name.removesuffix("_probs"))
        return found

    # Layers

    def tokens(self) -> pa.Array:
        return self._per_token(_struct(start=pa.array(self.starts), end=pa.array(self.ends)))

    def tags(self) -> pa.Array:
        return self._per_token(self._names(self.values[:, 2]))

    def pos(self) -> pa.Array:
        return self._per_token(self._names(self.values[:, 3]))

    def chunks(self) -> pa.Array:
        return self._spans(
            self._grouped(lambda doc: [k for k in self.chunk_keys if k in doc.spans])
        )

    def entities(self) -> pa.Array:
        part, label = self.values[:, 4:].T
        begins = np.flatnonzero(part == BEGINS)
        ends = np.flatnonzero(np.append(part != INSIDE, True))
        ends = ends[np.searchsorted(ends, begins, side="right")]
        doc = np.searchsorted(self.borders, begins, side="right") - 1
        rows = Rows(doc, begins, ends, label[begins])
        has_label = rows.label != 0  # a token that is to be in no entity begins one without
        return self._spans(Rows(*(values[has_label] for values in rows[:4])))

    def spans(self) -> pa.Array:
        others = self._grouped(lambda doc: [k for k in doc.spans if k not in self.chunk_keys])
        return self._spans(others, has_keys=True)

    def topics(self) -> pa.Array:
        ranked = [sorted(doc.cats.items(), key=lambda pair: -pair[1]) for doc in self.docs]
        pairs = [pair for found in ranked for pair in found]
        labels, probs = pa.array([p[0] for p in pairs], pa.string()), [p[1] for p in pairs]
        return _lists(map(len, ranked), _struct(label=labels, prob=pa.array(probs, pa.float32())))

    def relations(self) -> pa.Array:
        counts: list[int] = []
        found: list[Any] = []
        for doc, offset in zip(self.docs, self.borders.tolist()):
            relations = kept_relations(doc)
            counts.append(len(relations))
            found.extend(
                (h[0] + offset, h[1] + offset, h[2], t[0] + offset, t[1] + offset, t[2], label, p)
                for h, t, label, p in relations
            )
        heads, head_ends, head_labels, tails, tail_ends, tail_labels, labels, probs = (
            zip(*found) if found else [()] * 8
        )
        values = _struct(
            head=self._places(heads, head_ends, pa.array(head_labels, pa.string())),
            tail=self._places(tails, tail_ends, pa.array(tail_labels, pa.string())),
            label=pa.array(labels, pa.string()),
            prob=pa.array(probs, pa.float32()),
        )
        return _lists(counts, values)

    # Parts of them

    def _per_token(self, values: pa.Array) -> pa.Array:
        return pa.ListArray.from_arrays(pa.array(self.borders, pa.int32()), values)

    def _names(self, hashes: np.ndarray) -> pa.Array:
        """RETURNS (Array): Strings, null for none."""
        found, index = np.unique(hashes, return_inverse=True)
        names = pa.array([self.strings[int(i)] or None for i in found], pa.string())
        return names.take(pa.array(index.reshape(-1), pa.int32()))

    def _token_probs(self, layer: str) -> pa.Array:
        parts = [np.zeros(0, np.float32)]
        for doc in self.docs:
            probs = token_probs(doc, layer)
            parts.append(np.full(len(doc), np.nan, np.float32) if probs is None else probs)
        return self._per_token(pa.array(np.concatenate(parts), pa.float32(), from_pandas=True))

    def _grouped(self, keys_of: Callable[[Doc], list[str]]) -> Rows:
        """
        keys_of (Callable): Gives the keys of a doc's groups, in order.
        RETURNS (Rows): Their spans.
        """
        found: list[tuple[int, int, int, int]] = []
        keys: list[str] = []
        for i, (doc, at) in enumerate(zip(self.docs, self.borders.tolist())):
            for key in keys_of(doc):
                places = ((span.start, span.end, span.label) for span in doc.spans[key])
                found += [(i, first + at, end + at, k) for first, end, k in places if first < end]
                keys += [key] * (len(found) - len(keys))
        array = np.array(found, np.uint64).reshape(-1, 4)
        doc_of, first, end = array[:, :3].astype(np.int64).T
        return Rows(doc_of, first, end, array[:, 3], keys)

    def _spans(self, rows: Rows, *, has_keys: bool = False) -> pa.Array:
        """
        has_keys (bool): Whether the column has the keys, too.
        """
        counts = np.bincount(rows.doc, minlength=len(self.docs))
        starts, ends = self.starts[rows.first], self.ends[rows.end - 1]
        labels = self._names(rows.label)
        fields = {"key": pa.array(rows.keys, pa.string())} if has_keys else {}
        fields.update(start=pa.array(starts), end=pa.array(ends), label=labels)
        if self.probs:
            no_keys: list[str | None] = [None] * len(rows.doc)
            layers = map(layer_of, rows.keys or no_keys)
            known = [_span_probs(doc) for doc in self.docs]
            places = zip(layers, starts.tolist(), ends.tolist(), labels.tolist())
            probs = [known[i].get(place) for i, place in zip(rows.doc.tolist(), places)]
            fields["prob"] = pa.array(probs, pa.float32())
        return _lists(counts, _struct(**fields))

    def _places(self, first: Sequence[int], end: Sequence[int], labels: pa.Array) -> pa.Array:
        at, last = np.array(first, np.int64), np.array(end, np.int64) - 1
        return _struct(start=pa.array(self.starts[at]), end=pa.array(self.ends[last]), label=labels)


def _span_probs(doc: Doc) -> dict[tuple, float]:
    """RETURNS (Dict[tuple, float]): Probabilities by layer, characters and label."""
    layers = doc.user_data.get(SPANS_KEY, {})
    return {
        (layer, start, end, label): prob
        for layer, found in layers.items()
        for start, end, label, prob in found
    }


def _lists(counts: Iterable[int], values: pa.Array) -> pa.Array:
    borders = np.append(0, np.cumsum(list(counts), dtype=np.int64))
    return pa.ListArray.from_arrays(pa.array(borders, pa.int32()), values)


def _struct(**fields: pa.Array) -> pa.Array:
    return pa.StructArray.from_arrays(list(fields.values()), list(fields))
