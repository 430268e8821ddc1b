"""`token._.tag_prob`, `token._.pos_prob`, `span._.prob`: how sure heads are, kept with the doc."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable
from functools import partial
from operator import itemgetter

import numpy as np
from spacy.tokens import Doc, Span, Token

from .cut import chars_before, keep_places

# Plain values under these keys of doc.user_data, so that they survive DocBin and to_bytes. By layer
# (where a head writes): an array (n_tokens,), or SpanProb in the order of the text.
TOKENS_KEY = "spacy_multitask_token_probs"
SPANS_KEY = "spacy_multitask_span_probs"
ENTITIES = "ents"
# First character, end character (exclusive), label and probability. Places of characters hold when
# tokens are merged. The label tells an entity from a chunk of the same words.
SpanProb = tuple[int, int, str, float]


def layer_of(spans_key: str | None) -> str:
    """RETURNS (str): The layer of spans in a group of `doc.spans`; None are those in `doc.ents`."""
    return ENTITIES if spans_key is None else f"spans:{spans_key}"


def set_token_probs(doc: Doc, layer: str, probs: np.ndarray | None) -> None:
    """Keep how sure a head is of its labels of tokens.

    layer (str): Such as "tag", for `token._.tag_prob`.
    probs (Optional[ndarray]): Shape (n_tokens,), NaN where the head says nothing; None forgets
        those of an earlier prediction.
    """
    _set(doc, TOKENS_KEY, layer, None if probs is None else probs.astype(np.float32))


def set_span_probs(doc: Doc, layer: str, probs: Iterable[SpanProb] | None) -> None:
    """Keep how sure a head is of spans.

    probs (Optional[Iterable]): In the order of the text; None forgets those of an earlier
        prediction.
    """
    _set(doc, SPANS_KEY, layer, None if probs is None else list(probs))


def _set(doc: Doc, key: str, layer: str, probs: np.ndarray | list | None) -> None:
    if probs is not None:
        keep_places(doc)
        doc.user_data.setdefault(key, {})[layer] = probs
    elif key in doc.user_data:
        doc.user_data[key].pop(layer, None)


def token_probs(doc: Doc, layer: str) -> np.ndarray | None:
    """RETURNS (Optional[ndarray]): What was kept, shape (n_tokens,); None if there is nothing, or
    tokens have been merged or split since."""
    probs = doc.user_data.get(TOKENS_KEY, {}).get(layer)
    return None if probs is None or len(probs) != len(doc) else probs


def span_prob(span: Span, layer: str | None = None) -> float | None:
    """
    layer (Optional[str]): Where the span stands; None for anywhere.
    RETURNS (Optional[float]): What `span._.prob` gives; None if nothing is known.
    """
    layers = span.doc.user_data.get(SPANS_KEY, {})
    before = chars_before(span.doc) if layers else 0
    start, end = span.start_char + before, span.end_char + before
    for found in layers.values() if layer is None else [layers.get(layer, ())]:
        i = bisect_left(found, start, key=itemgetter(0))
        # Of spans that may overlap several start there.
        while i < len(found) and found[i][0] == start:
            *place, probability = found[i]
            if place == [start, end, span.label_]:
                return probability
            i += 1
    return None


def add_token_extension(layer: str) -> None:
    """Make `token._.LAYER_prob` known, unless there is something of that name."""
    name = f"{layer}_prob"
    if not Token.has_extension(name):
        # No function within: what starts processes pickles it.
        Token.set_extension(name, getter=partial(_token_prob, layer))


def _token_prob(layer: str, token: Token) -> float | None:
    probs = token_probs(token.doc, layer)
    found = math.nan if probs is None else float(probs[token.i])
    return None if math.isnan(found) else found


for _layer in ("tag", "pos"):
    add_token_extension(_layer)
if not Span.has_extension("prob"):
    Span.set_extension("prob", getter=span_prob)
