"""What a report shows of mistakes: passages with what is wrong, and tables of confusions."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from spacy.tokens import Doc
from spacy.training import Example

from ..evaluation.mistakes import NOTHING, Pair, TaskPairs

PASSAGE_WORDS = 60  # longer docs are cut
MATRIX_SIZE = 14  # labels in a table of confusions
EACH = 3  # passages that every kind of confusion has at least
BUDGET = 600_000  # bytes of passages in a page
SHOWN_NOTHING = "nothing"
OTHER_LIMITS = "other limits"

Passage = dict[str, Any]


def passages_of(
    corpus: str, examples: list[Example], tasks: list[tuple[int, TaskPairs]]
) -> list[Passage]:
    """Cut out what has mistakes.

    corpus (str): Its name.
    tasks (List[Tuple[int, TaskPairs]]): Of this corpus, each with its number on the page.
    RETURNS (List[Dict]): The corpus "c", the number "n" of the doc from 1, the place "s" of the
        first word in it, the words "w" with the blanks behind them, and the mistakes "m": task,
        gold and own label, and the places of both, which are in words of the passage.
    """
    found: dict[tuple[int, int], Passage] = {}
    for number, task in tasks:
        for i, pairs in task.docs:
            doc = examples[i].predicted
            for pair in pairs:
                if not pair.is_right:
                    start = _start(pair)
                    passage = found.setdefault((i, start), _passage(corpus, i, start, doc))
                    passage["m"].append(
                        [
                            number,
                            pair.gold,
                            pair.own,
                            _moved(pair.gold_place, start),
                            _moved(pair.own_place, start),
                        ]
                    )
    # Of two with as many mistakes, the shorter one is easier to read.
    return sorted(found.values(), key=lambda p: (-len(p["m"]), len(p["w"])))


def _start(pair: Pair) -> int:
    place = pair.gold_place or pair.own_place or (0,)
    return min(place[::2]) // PASSAGE_WORDS * PASSAGE_WORDS


def _passage(corpus: str, i: int, start: int, doc: Doc) -> Passage:
    words = [token.text_with_ws for token in doc[start : start + PASSAGE_WORDS]]
    return {"c": corpus, "n": i + 1, "s": start, "w": words, "m": []}


def _moved(place: tuple | None, start: int) -> list[int] | None:
    return None if place is None else [i - start for i in place]


def choose(passages: list[Passage], budget: int = BUDGET) -> list[Passage]:
    """Take as many passages as a page can hold, so that each confusion has some.

    passages (List[Dict]): Best ones first.
    budget (int): Bytes.
    RETURNS (List[Dict]): In the same order.
    """
    seen: Counter[tuple] = Counter()
    wanted: list[int] = []
    others: list[int] = []
    for k, passage in enumerate(passages):
        kinds = {tuple(mistake[:3]) for mistake in passage["m"]}
        (wanted if any(seen[kind] < EACH for kind in kinds) else others).append(k)
        seen.update(kinds)
    chosen = []
    for k in (*wanted, *others):
        budget -= len(json.dumps(passages[k], ensure_ascii=False).encode())
        if budget < 0:
            break
        chosen.append(k)
    return [passages[k] for k in sorted(chosen)]


def matrix(task: TaskPairs) -> dict[str, Any] | None:
    """RETURNS (Optional[Dict[str, Any]]): A table of what a head took for what; None if its items
    have no labels, or one label without a mistake."""
    counts = task.counts()
    wrong: Counter[str] = Counter()
    for (gold, own, is_right), n in counts.items():
        if not is_right:
            wrong.update({gold: n, own: n} if gold != own else {gold: n})
    total = sum(n for (_, _, is_right), n in counts.items() if not is_right)
    labels = sorted(label for label, _ in wrong.most_common(MATRIX_SIZE + 1) if label != NOTHING)
    if not labels or len({gold for gold, _, _ in counts}) > 200:  # values, not labels
        return None
    missed = any(own == NOTHING and gold in labels for gold, own, _ in counts)
    extra = any(gold == NOTHING for gold, _, _ in counts)
    moved = any(gold == own and not is_right for gold, own, is_right in counts)
    columns = [*labels, *([OTHER_LIMITS] if moved else []), *([SHOWN_NOTHING] if missed else [])]
    rows = []
    for gold in [*labels, *([NOTHING] if extra else [])]:
        of_gold = sum(n for (g, _, _), n in counts.items() if g == gold) or 1
        cells = []
        for column in columns:
            own = {SHOWN_NOTHING: NOTHING, OTHER_LIMITS: gold}.get(column, column)
            is_right = gold == own and column != OTHER_LIMITS
            n = counts[gold, own, is_right]
            found = {"corpus": task.corpus, "task": task.title, "gold": gold, "own": own}
            cells.append(
                {
                    "n": n,
                    "right": is_right,
                    # Mistakes are few: a root makes them visible.
                    "part": round(40 * (n / of_gold) ** 0.5),
                    "filter": found if n and not is_right else None,
                }
            )
        rows.append({"label": gold or SHOWN_NOTHING, "cells": cells})
    return {
        "corpus": task.corpus,
        "title": task.title,
        "columns": columns,
        "labels": labels,
        "rows": rows,
        "wrong": total,
    }
