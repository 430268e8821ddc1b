"""Docs that were cut from others, and took along what we keep in `doc.user_data`.

`span.as_doc(copy_user_data=True)` copies our values as they are: their places are those of the doc
that it was cut from. But spaCy moves the places of its own extensions. So a mark of this form
stands beside ours, and tells how far.
"""

from __future__ import annotations

from typing import Any

from spacy.tokens import Doc

# As spaCy keeps the value of an extension of a span.
MARK = ("._.", "spacy_multitask_places")
HERE = (*MARK, 0, None)
# Keys of what has places.
PLACED = tuple(
    f"spacy_multitask_{name}" for name in ("relations", "token_probs", "span_probs", "ent_probs")
)


def chars_before(doc: Doc) -> int:
    """RETURNS (int): Characters before this doc in the text that kept places are of."""
    data: dict[Any, Any] = doc.user_data
    return 0 if HERE in data else next((-key[2] for key in data if _is_mark(key)), 0)


def keep_places(doc: Doc) -> None:
    """Say that the places that are kept from here on are those of this doc. What there is of
    another one goes."""
    data: dict[Any, Any] = doc.user_data
    if HERE in data:
        return
    if any(map(_is_mark, data)):
        for key in list(data):
            if _is_mark(key) or key in PLACED:
                del data[key]
    data[HERE] = None


def n_chars(doc: Doc) -> int:
    """RETURNS (int): Length of the text, without a space at its end."""
    return doc[-1].idx + len(doc[-1]) if len(doc) else 0


def _is_mark(key: object) -> bool:
    return isinstance(key, tuple) and len(key) == 4 and key[:2] == MARK
