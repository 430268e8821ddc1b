"""Texts longer than a pipeline takes."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from spacy.tokens import Doc

from .inputs import Batch
from .schema import PIECE

BLANK_LINES = re.compile(r"\n\s*\n")


class Pieces:
    """Refuses or cuts texts that are too long.

    long (str): "error" or "split".
    max_length (int): Most characters of a text.
    """

    def __init__(self, long: str, max_length: int):
        self.is_split, self.max_length = long == "split", max_length

    def cut(self, batch: Batch, errors: list[tuple[str, str]]) -> Batch:
        """RETURNS (Batch): The same, or with pieces in the place of long texts, and a further kept
        column that numbers them.

        errors (List[Tuple[str, str]]): Gets those that can't be cut so that all pieces fit.
        """
        if not self.is_split:
            return batch  # the pipeline refuses them
        rows, texts, numbers = [], [], []
        for row, text in enumerate(batch.texts):
            pieces: list[Any] = [text]
            if isinstance(text, str) and len(text) > self.max_length:
                pieces = pieces_of(text, self.max_length)
                if any(len(piece) > self.max_length for piece in pieces):
                    reason = (
                        f"The text has {len(text)} characters, more than nlp.max_length = "
                        f"{self.max_length}, and too few blank lines to be split at."
                    )
                    errors.append((batch.ids[row], reason))
                    continue
            for number, piece in enumerate(pieces):
                rows.append(row)
                texts.append(piece)
                numbers.append(number)
        part = replace(batch, texts=[None] * len(batch.texts)).part(rows)
        return replace(part, texts=texts, kept={**part.kept, PIECE: numbers})


def pieces_of(text: str | Doc, max_length: int) -> list[str]:
    """RETURNS (List[str]): The text cut behind blank lines into as few pieces as fit, from the
    front; joined they are the text. A piece is too long if there is no blank line to cut at."""
    text = str(text)
    pieces, start, last = [], 0, 0
    borders = [match.end() for match in BLANK_LINES.finditer(text)]
    for border in [*borders, len(text)]:
        if border - start > max_length and last > start:
            pieces.append(text[start:last])
            start = last
        last = border
    return [*pieces, text[start:]]
