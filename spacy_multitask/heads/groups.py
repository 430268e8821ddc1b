"""Spans in the groups of `doc.spans`: gold that is read from them, predictions written to them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from spacy.tokens import Doc, Span, SpanGroup

# (first token, end token, hash of the label)
HashedSpan = tuple[int, int, int]
# Attribute of a group: tokens of which nothing is known, a list of their places. It is kept where
# the group is: in a DocBin, and in what Doc.to_bytes gives.
UNKNOWN_TOKENS = "unknown"
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


def set_group(
    doc: Doc,
    spans_key: str,
    spans: list[HashedSpan],
    scores: np.ndarray | None = None,
) -> None:
    """Write spans as the span group of a doc.

    scores (Optional[ndarray]): Probabilities, which go where spaCy's `spancat` has its scores.
    """
    doc.spans[spans_key] = SpanGroup(
        doc,
        name=spans_key,
        attrs={} if scores is None else {"scores": scores},
        spans=[Span(doc, start, end, label=label) for start, end, label in spans],
    )
