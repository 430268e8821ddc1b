"""The weaknesses that tell most, in words, each with what to do about it."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from ..corpus.overview import FEW
from ..evaluation.mistakes import NOTHING, TaskPairs

SHOWN = 3
OF_A_TASK = 2  # at most, or one hard task hides the others
MISCALIBRATED = 0.05
SURE = 0.02  # a difference from which a head is called too sure


@dataclass
class Weakness:
    """One kind of mistake.

    what (str): A sentence.
    cost (str): What it costs, a sentence.
    advice (str): What to do, a sentence.
    points (float): Part of the task's items, in percent, that it spoils: what it is ranked by.
    task (Tuple[str, str]): Corpus and task.
    filter (Dict[str, str]): What the list of mistakes is filtered by; empty for none.
    n (int): How often it happens.
    """

    what: str
    advice: str
    points: float
    task: tuple[str, str]
    cost: str = ""
    filter: dict[str, str] = field(default_factory=dict)
    n: int = 0

    @property
    def short(self) -> str:
        gold, own = (self.filter.get(k) or "nothing" for k in ("gold", "own"))
        return f"{gold} → {own}"


def weaknesses(
    tasks: list[TaskPairs], calibration: list[dict[str, Any]], shown: int = SHOWN
) -> list[Weakness]:
    """RETURNS (List[Weakness]): Those that cost most, at most two of a task."""
    found = [weak for task in tasks for weak in _of_task(task)]
    found += [weak for chart in calibration if (weak := _of_probabilities(chart)) is not None]
    found.sort(key=lambda weak: -weak.points)
    chosen: list[Weakness] = []
    seen: Counter[tuple[str, str]] = Counter()
    for weak in found:
        seen[weak.task] += 1
        if seen[weak.task] <= OF_A_TASK:
            chosen.append(weak)
    return chosen[:shown]


def _of_task(task: TaskPairs) -> list[Weakness]:
    counts = task.counts()
    n_gold = sum(n for (gold, _, _), n in counts.items() if gold != NOTHING)
    by_gold: Counter[str] = Counter()
    wrong: defaultdict[tuple[str, str], int] = defaultdict(int)
    for (gold, own, is_right), n in counts.items():
        by_gold[gold] += n
        if not is_right:
            wrong[gold, own] += n
    total = sum(wrong.values())
    found = []
    for (gold, own), n in wrong.items():
        points = 100 * n / max(1, n_gold)
        of_label = by_gold[gold]
        weak = Weakness(
            _what(task, gold, own, n, of_label),
            _advice(gold, own, of_label),
            points,
            (task.corpus, task.title),
            cost=f"That is {n} of {total} mistakes in {task.title} of {task.corpus}.",
            filter={"corpus": task.corpus, "task": task.title, "gold": gold, "own": own},
            n=n,
        )
        found.append(weak)
    return found


def _what(task: TaskPairs, gold: str, own: str, n: int, of_label: int) -> str:
    if gold == NOTHING:
        return f"{own} is found {_times(n)} where there is none."
    share = f"{n} of {of_label} ({100 * n / of_label:.0f} %)"
    if own == NOTHING:
        return f"{gold} is missed: {share}."
    if gold == own:
        what = "word as its head" if task.named.score.unit == "word" else "first or last word"
        return f"{gold} gets the wrong {what}: {share}."
    return f"{gold} is taken for {own}: {share}."


def _times(n: int) -> str:
    return {1: "once", 2: "twice"}.get(n, f"{n} times")


def _advice(gold: str, own: str, of_label: int) -> str:
    if gold != NOTHING and of_label < FEW:
        return f"With {of_label} of {gold} in this corpus that may be chance; annotate more of it."
    if gold == NOTHING:
        return "See whether the annotators missed them, or add docs that hold what is taken for it."
    if own == NOTHING:
        return f"Add training docs with {gold}, or raise its weight in class_weights."
    if gold == own:
        return "See whether the annotators agree where it begins and ends."
    return (
        "See whether the annotators tell the two apart in the same way, and add examples of both."
    )


def _of_probabilities(chart: dict[str, Any]) -> Weakness | None:
    if chart["after"] < MISCALIBRATED:
        return None
    gap = chart["sureness"] - chart["right"]
    kind = "too sure" if gap > SURE else "not sure enough" if gap < -SURE else "off"
    return Weakness(
        f"Probabilities of {chart['title']} are {kind}.",
        "Run `spacy multitask calibrate` with docs that were not trained on.",
        # Of less weight than wrong predictions: who reads no probabilities does not mind.
        30 * chart["after"],
        (chart["title"], "probabilities"),
        cost=f"They differ by {100 * chart['after']:.0f} points from how often they are right.",
    )
