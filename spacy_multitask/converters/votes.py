"""Several annotators of one text: the first, what most of them say, or none."""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

from .annotated import CharSpan
from .report import ConversionError, ConversionReport, PathLike, error_at

WAYS = ("refuse", "first", "majority")

T = TypeVar("T")
H = TypeVar("H", bound=Hashable)


def check_annotators(annotators: str) -> None:
    """RAISES (ConversionError): If this is no way to treat several annotators."""
    if annotators not in WAYS:
        raise ConversionError(
            f"annotators is {annotators!r}, but must be one of {', '.join(WAYS)}."
        )


def chosen(
    answers: Sequence[T], annotators: str, report: ConversionReport, path: PathLike, line: int | str
) -> list[T]:
    """Choose among the answers of several annotators.

    answers (Sequence[T]): What each of them says.
    annotators (str): "first" for the first of them, "majority" for all, who will vote, or "refuse".
    RETURNS (List[T]): The answers that count.
    RAISES (ConversionError): If there are several, and they are refused.
    """
    if len(answers) < 2:
        return list(answers)
    if annotators == "refuse":
        raise error_at(
            path,
            line,
            f"there are {len(answers)} annotations of one text. Choose with the option annotators: "
            "first or majority.",
        )
    if annotators == "first":
        report.add_cause("annotation after the first: left out", path, line, len(answers) - 1)
        return [answers[0]]
    return list(answers)


def majority(answers: Sequence[Iterable[H]]) -> list[H]:
    """RETURNS (List[H]): What is in more than half of the answers."""
    counts = Counter(thing for answer in answers for thing in dict.fromkeys(answer))
    return [thing for thing, count in counts.items() if 2 * count > len(answers)]


def vote_spans(
    answers: Sequence[Sequence[CharSpan]],
) -> tuple[list[CharSpan], list[tuple[int, int]]]:
    """Join the spans of several annotators.

    answers (Sequence[Sequence[CharSpan]]): The spans that each of them marked.
    RETURNS (Tuple[List[CharSpan], List[Tuple[int, int]]]): The spans of more than half of them, and
        the characters of spans in whose place at least half of them see one, but not the same:
        nothing is known of these.
    """
    agreed = majority(answers)
    disputed = []
    for span in dict.fromkeys(span for answer in answers for span in answer):
        n_here = sum(any(_meet(span, other) for other in answer) for answer in answers)
        if 2 * n_here >= len(answers) and not any(_meet(span, other) for other in agreed):
            disputed.append((span.start, span.end))
    return agreed, disputed


def _meet(one: CharSpan, other: CharSpan) -> bool:
    return one.start < other.end and other.start < one.end


def vote_labels(answers: Sequence[Sequence[str]], options: Iterable[str]) -> dict[str, float]:
    """Join the labels that several annotators chose.

    answers (Sequence[Sequence[str]]): The labels that each of them chose.
    options (Iterable[str]): All labels.
    RETURNS (Dict[str, float]): 1.0 for those that more than half of them chose, 0.0 for those that
        fewer did; the others are unknown. Empty if they chose, but agree on none.
    """
    true = majority(answers)
    if not answers or (any(answers) and not true):
        return {}
    counts = Counter(label for answer in answers for label in set(answer))
    return {label: float(label in true) for label in options if 2 * counts[label] != len(answers)}
