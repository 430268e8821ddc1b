"""What a score counts in one doc: gold and predicted items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from spacy.tokens import Span
from spacy.training import Example

from .gold import trimmed
from .groups import unknown_tokens

# Right, predicted and gold items of one doc. Accuracy is right / gold.
Counts = tuple[int, int, int]


class Items(NamedTuple):
    """What one doc has of what a score counts; the last entry of each item is its label, or "".

    gold, own (Set[tuple]): Gold and predicted items, on the predicted doc's tokens.
    cut (Counter): Labels of gold items that the tokenization cuts: they can't be predicted, but
        are missed all the same.
    """

    gold: set[tuple]
    own: set[tuple]
    cut: Counter[str] = Counter()

    def counts(self) -> Counts:
        return len(self.gold & self.own), len(self.own), len(self.gold) + self.cut.total()

    def counts_by_label(self) -> dict[str, Counts]:
        right, own, gold = (
            Counter(item[-1] for item in group)
            for group in (self.gold & self.own, self.own, self.gold)
        )
        gold += self.cut
        # A head that abstains predicts "".
        return {label: (right[label], own[label], gold[label]) for label in own | gold if label}


# From an example, the component whose score it is (None if it is not known) and what stands for the
# "*" in the score's name, to what the score counts; None without gold.
ReadItems = Callable[[Example, Any, str], Items | None]


def token_items(attr: str, *, has_labels: bool = True) -> ReadItems:
    """Make what reads the values that words have of an attribute.

    attr (str): Such as "TAG".
    has_labels (bool): Whether values are labels; of some, such as lemmas, there are too many.
    """
    rest = () if has_labels else ("",)

    def read(example: Example, head: Any, key: str) -> Items | None:
        if not example.reference.has_annotation(attr):
            return None
        gold = example.get_aligned(attr, as_string=True)
        predicted = example.predicted
        extension = getattr(head, "extension", None)  # a second head's predictions are there
        if extension is None:
            own = [predicted.vocab.strings[i] for i in predicted.to_array(attr).tolist()]
        else:
            own = [token._.get(extension) for token in predicted]
        return Items(
            {(i, value, *rest) for i, value in enumerate(gold) if value},
            {(i, value, *rest) for i, value in enumerate(own) if gold[i]},
        )

    return read


def span_items(example: Example, gold: Iterable[Span], own: Iterable[Span]) -> Items:
    """RETURNS (Items): Labelled spans.

    gold, own (Iterable[Span]): Of the reference and of the predicted doc.
    """
    gold = trimmed(gold)
    aligned = example.get_aligned_spans_y2x(gold, allow_overlap=True)
    cut = Counter(s.label_ for s in gold)
    cut -= Counter(s.label_ for s in aligned)
    return Items(set(map(_place, aligned)), set(map(_place, trimmed(own))), cut)


def known_spans(example: Example, spans: Iterable[Span], unknown: list[bool]) -> list[Span]:
    """RETURNS (List[Span]): Predicted spans without those on tokens of which nothing is known.

    unknown (List[bool]): Whether that is so, by token of the gold doc.
    """
    spans = list(spans)
    if not any(unknown):
        return spans
    x2y = example.alignment.x2y
    places = [x2y[span.start : span.end] for span in spans]
    return [
        span
        for span, found in zip(spans, places)
        if len(found) and not any(unknown[found[0] : found[-1] + 1])
    ]


def known_group(example: Example, key: str) -> list[Span]:
    """RETURNS (List[Span]): Those of the predicted `doc.spans[key]`, as `known_spans` has it. Spans
    that are gold count wherever they are."""
    own = example.predicted.spans.get(key, [])
    missing = set(unknown_tokens(example.reference, key))
    if not missing:
        return list(own)
    known = known_spans(example, own, [i in missing for i in range(len(example.reference))])
    aligned = example.get_aligned_spans_y2x(example.reference.spans[key], allow_overlap=True)
    places = set(map(_place, [*known, *aligned]))
    return [span for span in own if _place(span) in places]


def group_items(example: Example, head: Any, key: str) -> Items | None:
    """RETURNS (Optional[Items]): Labelled spans of `doc.spans[key]`; None without gold."""
    if key not in example.reference.spans:
        return None
    return span_items(example, example.reference.spans[key], known_group(example, key))


def _place(span: Span) -> tuple[int, int, str]:
    return span.start, span.end, span.label_
