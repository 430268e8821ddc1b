"""Spans in the groups of `doc.spans`: gold that is read from them, predictions written to them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from spacy.tokens import Doc, Span, SpanGroup
from spacy.training import Example

from .gold import same_tokens

# (first token, end token, label)
SpanTuple = tuple[int, int, str]
# Attribute of a group: tokens of which nothing is known, a list of their places. It is kept where
# the group is: in a DocBin, and in what Doc.to_bytes gives.
UNKNOWN_TOKENS = "unknown"
# Key of doc.user_data: the probabilities of `doc.ents`, in their order.
ENT_PROBS = "spacy_multitask_ent_probs"


def gold_group(example: Example, spans_key: str) -> tuple[list[SpanTuple], list[int]] | None:
    """RETURNS (Optional[tuple]): As `SpanHead.gold_spans`, from a span group of the reference."""
    spans = example.reference.spans.get(spans_key)
    if spans is None:
        return None
    missing = unknown_tokens(example.reference, spans_key)
    if same_tokens(example):
        return [(span.start, span.end, span.label_) for span in spans], missing
    found, unknown = align_spans(example, spans)
    y2x = example.alignment.y2x
    return found, unknown + [int(i) for j in missing for i in y2x[j]]


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


def over_words(spans: Iterable[SpanTuple], blank: np.ndarray) -> list[SpanTuple]:
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
    spans: list[tuple[int, int, int]],
    scores: np.ndarray | None = None,
) -> None:
    """Write (first token, end token, label hash) as the span group of a doc.

    scores (Optional[ndarray]): Probabilities, which go where spaCy's `spancat` has its scores.
    """
    doc.spans[spans_key] = SpanGroup(
        doc,
        name=spans_key,
        attrs={} if scores is None else {"scores": scores},
        spans=[Span(doc, start, end, label=label) for start, end, label in spans],
    )


def align_spans(example: Example, spans: Iterable[Span]) -> tuple[list[SpanTuple], list[int]]:
    """Bring gold spans onto the predicted doc's tokens.

    RETURNS (tuple): The spans that fall on token borders, and the predicted tokens that the others
        touch: about those nothing is known.
    """
    found, unknown = [], set()
    y2x = example.alignment.y2x
    for span in spans:
        tokens = sorted({int(i) for j in range(span.start, span.end) for i in y2x[j]})
        if not tokens:
            continue
        start, end = tokens[0], tokens[-1] + 1
        covered = example.predicted[start:end]
        # Blank tokens within are in the span, too: they are aligned with nothing.
        n_words = sum(not token.is_space or token.i in tokens for token in covered)
        if n_words == len(tokens) and _letters(covered) == _letters(span):
            found.append((start, end, span.label_))
        else:
            unknown.update(tokens)
    return found, sorted(unknown)


def _letters(span: Span) -> str:
    """RETURNS (str): The text as spaCy aligns it: without blanks and case."""
    return "".join(span.text.split()).lower()
