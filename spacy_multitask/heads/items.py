"""What a score counts in one doc: gold and predicted items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from spacy.tokens import Span
from spacy.training import Example

from .gold import trimmed

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

    def pairs(self) -> Counter[tuple[str, str]]:
        """RETURNS (Counter[Tuple[str, str]]): Gold and predicted labels of what has one of each."""
        own = {item[:-1]: item[-1] for item in self.own if item[-1]}
        return Counter((item[-1], own[item[:-1]]) for item in self.gold if item[:-1] in own)


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


def group_items(example: Example, head: Any, key: str) -> Items | None:
    """RETURNS (Optional[Items]): Labelled spans of `doc.spans[key]`; None without gold."""
    reference, predicted = example.reference, example.predicted
    if key not in reference.spans:
        return None
    return span_items(example, reference.spans[key], predicted.spans.get(key, []))


def _place(span: Span) -> tuple[int, int, str]:
    return span.start, span.end, span.label_
