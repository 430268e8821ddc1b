"""Labels with probabilities in a Parquet file: what a language model said of texts, say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from spacy.tokens import Doc, Span, SpanGroup
from spacy.vocab import Vocab

from ..converters.gold import UNKNOWN_TOKENS
from ..corpus.reader import unannotated
from .groups import ENT_PROBS

FORM = (
    'Columns are "text"; "spans", a list of structs with start, end (characters), label and score '
    'in each row; and "cats", a list of structs with label and score. Scores may be left out, and '
    "so may one of the two lists."
)


class LabelFile:
    """A row for each text.

    path (str): The file.
    title (str): What it is called in messages.
    labels (Set[str]): All that occur.
    RAISES (ValueError): If it is no such file.
    RAISES (ImportError): If pyarrow is not installed.
    """

    def __init__(self, path: str, title: str):
        try:
            import pyarrow.parquet as pq
        except ImportError as error:
            raise ImportError(
                f"{title} needs pyarrow: pip install 'spacy_multitask[formats]'"
            ) from error
        if not Path(path).is_file():
            raise ValueError(f"{title}: there is no such file. Correct the path.")
        try:
            table = pq.read_table(path)
        except (OSError, ValueError) as error:
            raise ValueError(f"{title} is no Parquet file, or a damaged one: {error}") from error
        self.title = title
        names = set(table.column_names)
        if "text" not in names or not names & {"spans", "cats"}:
            raise ValueError(f"{title} has the columns {', '.join(table.column_names)}. {FORM}")
        wanted = sorted(names & {"text", "spans", "cats"})
        self.rows: dict[str, dict[str, Any]] = {}
        self.labels: set[str] = set()
        for i, row in enumerate(table.select(wanted).to_pylist()):
            if not isinstance(row["text"], str):
                raise ValueError(f"{title}, row {i} has no text. {FORM}")
            for name in ("spans", "cats"):
                for one in self._checked(row, name, i):
                    self.labels.add(one["label"])
            # Docs made of words end with a blank.
            self.rows[row["text"].rstrip()] = row

    def _checked(self, row: dict[str, Any], name: str, i: int) -> Iterator[dict[str, Any]]:
        needed = {"label", "start", "end"} if name == "spans" else {"label"}
        for one in row.get(name) or ():
            if not isinstance(one, dict) or any(one.get(key) is None for key in needed):
                raise ValueError(f"{self.title}, row {i}: {one!r} in {name!r}. {FORM}")
            score = one.setdefault("score", 1.0)
            one["score"] = score = 1.0 if score is None else score
            if not 0 <= score <= 1:
                raise ValueError(
                    f"{self.title}, row {i}: the score {score} of {one['label']!r} is not between "
                    "0 and 1."
                )
            if name == "spans" and not 0 <= one["start"] < one["end"] <= len(row["text"]):
                raise ValueError(
                    f"{self.title}, row {i}: the span from character {one['start']} to "
                    f"{one['end']} is empty, or goes past the text, which has {len(row['text'])}."
                )
            yield one

    def annotated(self, doc: Doc, vocab: Vocab, spans_key: str | None) -> Doc | None:
        """RETURNS (Optional[Doc]): One of the same words with what the file says of the text; None
        if it says nothing.

        spans_key (Optional[str]): Group of `doc.spans` for the spans; None for `doc.ents`, of which
            the most probable ones are kept where they overlap.
        """
        row = self.rows.get(doc.text.rstrip())
        if row is None:
            return None
        said = unannotated(doc, vocab)
        said.cats = {one["label"]: one["score"] for one in row.get("cats") or ()}
        if row.get("spans") is None:
            return said
        spans: list[tuple[Span, float]] = []
        unknown: set[int] = set()
        for one in sorted(row["spans"], key=lambda one: -one["score"]):
            place = one["start"], one["end"]
            span = said.char_span(*place, label=one["label"])
            if span is None:
                wide = said.char_span(*place, alignment_mode="expand")
                unknown.update(range(wide.start, wide.end) if wide is not None else ())
            else:
                spans.append((span, one["score"]))
        if spans_key is None:
            _set_ents(said, spans, unknown)
        else:
            attrs = {"scores": np.array([p for _, p in spans]), UNKNOWN_TOKENS: sorted(unknown)}
            said.spans[spans_key] = SpanGroup(
                said, name=spans_key, attrs=attrs, spans=[span for span, _ in spans]
            )
        return said


def _set_ents(doc: Doc, spans: list[tuple[Span, float]], unknown: set[int]) -> None:
    """
    spans (List[Tuple[Span, float]]): The most probable first.
    """
    taken = set(unknown)
    kept = []
    for span, score in spans:
        if taken.isdisjoint(range(span.start, span.end)):
            taken.update(range(span.start, span.end))
            kept.append((span, score))
    kept.sort(key=lambda pair: pair[0].start)
    missing = [doc[i : i + 1] for i in sorted(unknown)]
    doc.set_ents([span for span, _ in kept], missing=missing, default="outside")
    doc.user_data[ENT_PROBS] = [score for _, score in kept]
