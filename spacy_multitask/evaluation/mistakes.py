"""What was taken for what, and where: mistakes of all kinds of heads in one form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from spacy.training import Example

from ..heads.items import Items
from ..heads.kinds import NamedScore, score_named
from .bootstrap import items_of

# Takes the place of a label where there is none: of what is missed, or found for nothing.
NOTHING = ""


class Pair(NamedTuple):
    """A gold item and the prediction in its place.

    gold, own (str): Their labels, NOTHING where there is no such item. Values, such as lemmas,
        stand in for labels.
    is_right (bool): Whether place and label are the same. A pair with one label that is wrong
        differs in its limits, or in a word's head.
    gold_place, own_place (Optional[tuple]): Where they are; an end is exclusive.
    """

    gold: str
    own: str
    is_right: bool
    gold_place: tuple | None
    own_place: tuple | None


def pair_items(items: Items, unit: str) -> list[Pair]:
    """Find what was taken for what.

    items (Items): Of one doc.
    unit (str): What an item is, as in `Score`; or "label", of which several may be true of a doc,
        so that none is taken for another.
    RETURNS (List[Pair]): All items, right ones first. Gold that the tokenization cuts is missed,
        and has no place.
    """
    pairs = [_pair(item, item, unit) for item in sorted(items.gold & items.own)]
    gold, own = sorted(items.gold - items.own), sorted(items.own - items.gold)
    for is_match in (_is_same_place, _overlap):
        for item in list(gold):
            match = next((other for other in own if is_match(item, other, unit)), None)
            if match is not None:
                pairs.append(_pair(item, match, unit))
                gold.remove(item)
                own.remove(match)
    pairs += [_pair(item, None, unit) for item in gold]
    pairs += [_pair(None, item, unit) for item in own]
    pairs += [Pair(label, NOTHING, False, None, None) for label in items.cut.elements()]
    return pairs


def _is_same_place(gold: tuple, own: tuple, unit: str) -> bool:
    if unit == "doc":  # one topic taken for another
        return True
    if unit == "pair":
        return gold[0][:2] == own[0][:2] and gold[1][:2] == own[1][:2]
    return gold[0] == own[0] if unit == "word" else gold[:2] == own[:2]


def _overlap(gold: tuple, own: tuple, unit: str) -> bool:
    return unit == "span" and gold[0] < own[1] and own[0] < gold[1]


def _pair(gold: tuple | None, own: tuple | None, unit: str) -> Pair:
    return Pair(
        _label(gold, unit), _label(own, unit), gold == own, _place(gold, unit), _place(own, unit)
    )


def _label(item: tuple | None, unit: str) -> str:
    if item is None:
        return NOTHING
    return str(item[-1] or (item[1] if unit == "word" else "")) or NOTHING


def _place(item: tuple | None, unit: str) -> tuple | None:
    if item is None or unit in ("doc", "label"):
        return None
    if unit == "word":
        return item[0], item[0] + 1
    if unit == "pair":
        return *item[0][:2], *item[1][:2]
    return item[:2]


@dataclass
class TaskPairs:
    """What one head took for what in one corpus.

    score (str): Its name, as in the scores of the pipeline.
    named (NamedScore): What is known of it.
    docs (List[Tuple[int, List[Pair]]]): Docs with gold: their numbers from 0, and their pairs.
    """

    corpus: str
    score: str
    named: NamedScore
    head: Any
    docs: list[tuple[int, list[Pair]]] = field(default_factory=list)

    @property
    def title(self) -> str:
        return self.named.title or self.score

    def counts(self) -> Counter[tuple[str, str, bool]]:
        """RETURNS (Counter[Tuple[str, str, bool]]): Gold label, own label, is it right."""
        return Counter((p.gold, p.own, p.is_right) for _, pairs in self.docs for p in pairs)


def find_pairs(corpus: str, examples: Iterable[Example], owners: dict[str, Any]) -> list[TaskPairs]:
    """Compare predictions with gold, task by task.

    corpus (str): Its name.
    examples (Iterable[Example]): With predictions.
    owners (Dict[str, Any]): By score, the component whose it is.
    RETURNS (List[TaskPairs]): Of the scores whose items can be shown; each item counts once.
    """
    examples = list(examples)
    found, seen = [], set()
    for score, head in owners.items():
        named = score_named(score, head)
        if named is None or not named.score.unit:
            continue
        # The scores of a head that gives one topic have the same items.
        key = (id(head), named.score.title)
        task = TaskPairs(corpus, score, named, head)
        unit = named.score.unit if named.score.label_items is None else "label"
        for i, eg in enumerate(examples):
            items = items_of(eg, score, head, "label_items")
            if items is not None:
                task.docs.append((i, pair_items(items, unit)))
        if task.docs and key not in seen:
            seen.add(key)
            found.append(task)
    return found
