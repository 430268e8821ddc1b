"""From examples to gold that heads learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice

import numpy as np
from spacy.attrs import ORTH
from spacy.tokens import Span
from spacy.training import Example, validate_get_examples

from ..corpus.reading import reading_of
from ..layers.crf import UNKNOWN
from .groups import unknown_tokens

# (first token, end token, label)
SpanTuple = tuple[int, int, str]


def check_examples(get_examples: Callable[[], Iterable[Example]], method: str) -> None:
    """RAISES (TypeError or ValueError): If it does not give examples; `method` asked for them."""

    def beginning() -> Iterable[Example]:
        """All that a reader gives would be one more pass over the corpora."""
        examples = get_examples()
        return islice(examples, 1) if isinstance(examples, Iterator) else examples

    validate_get_examples(beginning if callable(get_examples) else get_examples, method)


def all_examples(get_examples: Callable[[], Iterable[Example]]) -> Iterable[Example]:
    """RETURNS (Iterable[Example]): Those that it gives; but if a `MultiCorpus` has drawn them, or
    they are the beginning of its stream, each example that there is."""
    examples = iter(get_examples())
    beginning = list(islice(examples, 1))
    reading = reading_of(beginning)
    if reading is not None and reading.lacks_some:
        return reading.all()
    return chain(beginning, examples)


def same_tokens(example: Example) -> bool:
    """RETURNS (bool): Whether predicted and reference doc have the same tokens."""
    x, y = example.predicted, example.reference
    return len(x) == len(y) and bool(np.array_equal(x.to_array(ORTH), y.to_array(ORTH)))


def trimmed(spans: Iterable[Span]) -> list[Span]:
    """RETURNS (List[Span]): Spans without blank tokens at their edges, as heads learn and predict
    them; those of blanks alone are gone."""
    found = []
    for span in spans:
        if not len(span) or not (span[0].is_space or span[-1].is_space):
            found.append(span)
            continue
        words = [token.i for token in span if not token.is_space]
        if words:
            found.append(Span(span.doc, words[0], words[-1] + 1, label=span.label))
    return found


def aligned_entities(example: Example) -> list[SpanTuple]:
    """RETURNS (List[tuple]): Gold entities on the predicted doc's tokens."""
    spans = example.get_aligned_spans_y2x(trimmed(example.reference.ents))
    return [(span.start, span.end, span.label_) for span in spans]


def pack_targets(parts: Iterator[np.ndarray]) -> tuple[np.ndarray, np.ndarray] | None:
    """Join the docs' targets.

    parts (Iterator[ndarray]): Class index or UNKNOWN per token of each doc.
    RETURNS (Optional[Tuple[ndarray, ndarray]]): Rows with gold and their classes, both int64
        (n_gold,); None if there are none.
    """
    targets = np.concatenate(list(parts))
    rows = np.flatnonzero(targets != UNKNOWN)
    return (rows, targets[rows]) if len(rows) else None


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
