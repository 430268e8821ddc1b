"""Arguments of the functions for Python, as people give them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from spacy.tokens import Doc


def given_docs(docs: Doc | Iterable[Doc], taker: str) -> list[Doc]:
    """RETURNS (List[Doc]): The docs; a single one makes a list of one.

    taker (str): The function that takes them, for the error message.
    RAISES (ValueError): If they are anything else, such as texts.
    """
    if isinstance(docs, Doc):
        return [docs]
    is_many = isinstance(docs, Iterable) and not isinstance(docs, str | bytes)
    found: list[Any] = list(docs) if is_many else [docs]
    for one in found:
        if not isinstance(one, Doc):
            raise ValueError(
                f"{taker} takes a Doc, or several, not {type(one).__name__}. "
                "A pipeline makes one of a text: nlp(text)."
            )
    return found
