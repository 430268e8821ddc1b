"""Columns of annotated tables. `docs/annotate.md` shows them, and a test compares the two."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import pyarrow as pa
from spacy.language import Language

# Changes when a column changes its name, type or meaning; not when one is added.
VERSION = 1
VERSION_KEY = b"spacy_multitask.schema"

_PLACE = [pa.field("start", pa.int32()), pa.field("end", pa.int32())]
_SPAN = [*_PLACE, pa.field("label", pa.string())]
_PROB = pa.field("prob", pa.float32())
_END = pa.struct(_SPAN)


class Layer(NamedTuple):
    """What a column holds.

    type (DataType): Without probabilities.
    probs (Optional[DataType]): With them; None if that makes no difference.
    column_of_probs (str): A further column that they are in; "" if there is none.
    meaning (str): In words.
    """

    type: pa.DataType
    probs: pa.DataType | None
    column_of_probs: str
    meaning: str


def _spans(*fields: pa.Field) -> pa.DataType:
    return pa.list_(pa.struct([*fields, *_SPAN]))


def _sure_spans(*fields: pa.Field) -> pa.DataType:
    return pa.list_(pa.struct([*fields, *_SPAN, _PROB]))


_KEY = pa.field("key", pa.string())
LAYERS: dict[str, Layer] = {
    "tokens": Layer(pa.list_(pa.struct(_PLACE)), None, "", "where each token is in the text"),
    "tags": Layer(pa.list_(pa.string()), None, "tag_probs", "`token.tag_`, one per token"),
    "pos": Layer(pa.list_(pa.string()), None, "pos_probs", "`token.pos_`, one per token"),
    "chunks": Layer(_spans(), _sure_spans(), "", "chunks, in the order of the text"),
    "entities": Layer(_spans(), _sure_spans(), "", "`doc.ents`"),
    "spans": Layer(_spans(_KEY), _sure_spans(_KEY), "", "all other groups of `doc.spans`, by key"),
    "topics": Layer(
        pa.list_(pa.struct([pa.field("label", pa.string()), _PROB])),
        None,
        "",
        "`doc.cats`, the most probable first",
    ),
    "relations": Layer(
        pa.list_(
            pa.struct(
                [
                    pa.field("head", _END),
                    pa.field("tail", _END),
                    pa.field("label", pa.string()),
                    _PROB,
                ]
            )
        ),
        None,
        "",
        "relations between entities",
    ),
}
PROBS = pa.list_(pa.float32())
ID, TEXT, PIECE, ERROR = "id", "text", "piece", "error"
# Where a component says that it writes, and the layer that shows it.
_ASSIGNS = {
    "token.tag": "tags",
    "token.pos": "pos",
    "doc.ents": "entities",
    "doc.cats": "topics",
    "doc._.relations": "relations",
}


def fields_of(layers: Iterable[str], probs: bool) -> list[pa.Field]:
    """RETURNS (List[Field]): Columns of these layers, in the order of LAYERS.

    probs (bool): Whether there are probabilities of tags and spans, too.
    """
    layers = set(layers)
    fields = []
    for name, layer in LAYERS.items():
        if name in layers:
            fields.append(pa.field(name, (layer.probs if probs else None) or layer.type))
            if probs and layer.column_of_probs:
                fields.append(pa.field(layer.column_of_probs, PROBS))
    return fields


def schema_of(
    layers: Iterable[str], probs: bool, kept: Iterable[pa.Field] = (), *, has_pieces: bool = False
) -> pa.Schema:
    """RETURNS (Schema): That of annotated files.

    kept (Iterable[Field]): Columns of the input that go along.
    has_pieces (bool): Whether long docs are split, so that rows say which piece they are.
    """
    own = [pa.field(ID, pa.string()), pa.field(TEXT, pa.string())]
    own += [pa.field(PIECE, pa.int32())] * has_pieces + fields_of(layers, probs)
    metadata: dict[Any, Any] = {VERSION_KEY: str(VERSION).encode()}
    return pa.schema([*own, *kept], metadata=metadata)


def check_names(kept: Iterable[str]) -> None:
    """RAISES (ValueError): If a column of the input has a name that one of ours may have."""
    own = {ID, TEXT, PIECE, *(field.name for field in fields_of(LAYERS, True))}
    both = sorted(own.intersection(kept))
    if both:
        raise ValueError(
            f"The input has columns with names of ours: {', '.join(both)}. Rename them, or name "
            "those to keep with --keep."
        )


def layers_of(nlp: Language) -> list[str]:
    """RETURNS (List[str]): Layers that a pipeline writes, in the order of LAYERS."""
    found = {"tokens"}
    for name, pipe in nlp.pipeline:
        if hasattr(pipe, "choices") and hasattr(pipe, "extension"):  # our tagger knows better
            found.update(pipe.choices if pipe.extension is None else ())
            continue
        key = getattr(pipe, "spans_key", None) or getattr(pipe, "key", None)
        if key is not None:
            found.add("chunks" if _is_chunker(pipe) else "spans")
            continue
        assigns = nlp.get_pipe_meta(name).assigns
        found.update(layer for place, layer in _ASSIGNS.items() if place in assigns)
        if "doc.spans" in assigns:
            found.add("spans")
    return [name for name in LAYERS if name in found]


def chunk_keys(nlp: Language) -> list[str]:
    """RETURNS (List[str]): Groups of `doc.spans` that chunkers write."""
    return [pipe.spans_key for _, pipe in nlp.pipeline if _is_chunker(pipe)]  # type: ignore


def _is_chunker(pipe: Any) -> bool:
    return getattr(getattr(pipe, "kind", None), "name", "") == "chunker"


def choose_layers(nlp: Language, wanted: Iterable[str] | None) -> list[str]:
    """RETURNS (List[str]): The layers wanted, or all that the pipeline writes.
    RAISES (ValueError): If there is no such layer, or the pipeline does not write it.
    """
    there = layers_of(nlp)
    if wanted is None:
        return there
    wanted = list(wanted)
    unknown = [name for name in wanted if name not in LAYERS]
    if unknown:
        raise ValueError(
            f"There is no layer {', '.join(map(repr, unknown))}. There are: {', '.join(LAYERS)}."
        )
    missing = [name for name in wanted if name not in there]
    if missing:
        raise ValueError(
            f"The pipeline does not write {', '.join(missing)}. It writes: {', '.join(there)}."
        )
    return [name for name in LAYERS if name in wanted]
