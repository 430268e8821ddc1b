"""Kinds of heads, and what commands must know of each: its gold, its scores, how it is composed.

Each head's file says it of its own kind, and registers it. Another package does the same, and names
its kinds in the entry point group `spacy_multitask_head_kinds`, so that they are found before a
pipeline with such a head is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import catalogue
from spacy.tokens import Doc

from ..corpus.survey import CountGold, Survey
from .items import ReadItems


@dataclass(frozen=True, eq=False)
class Score:
    """A score that is listed in tables.

    name (str): Without the prefix of a second head. "*" stands for a group of `doc.spans`.
    items (Optional[ReadItems]): Reads what it counts; None if it is no count, such as a mean.
    label_items (Optional[ReadItems]): Reads what scores of single labels count, if that is
        something else.
    title (str): What it scores, in words, such as "entities"; "" if only its name says it.
    unit (str): What an item is, so that a report can show it: "word" (its place, then what is said
        of it), "span" (start, end), "pair" (two spans) or "doc"; "" if it cannot be shown.
    is_main (bool): Whether it sums up the head, and not some aspect of it.
    """

    name: str
    items: ReadItems | None = None
    label_items: ReadItems | None = None
    title: str = ""
    unit: str = ""
    is_main: bool = True

    @cached_property
    def pattern(self) -> re.Pattern:
        name = re.escape(self.name).replace(r"\*", "(.+)")
        return re.compile(rf"(|.*?[_/]){name}")


@dataclass(frozen=True, eq=False)
class Second:
    """How a second head of a kind is told apart from the first.

    option (str): That gets its name, as the place that it writes to; "" if it writes where the
        first one does.
    score (Optional[Score]): Its own, with its name for the "*". None if it has those of the first
        one, with its name as a prefix.
    part (str): The part of the kind's gold that it learns from; "" for all.
    """

    option: str = ""
    score: Score | None = None
    part: str = ""


@dataclass(frozen=True, eq=False)
class Recipe:
    """What `init-config` writes for a head, besides its factory.

    loss_weight (Optional[float]): Where there are heads of other kinds.
    spans_key (str): Group of `doc.spans` that the first head of the kind writes to.
    name_option (str): Option that gets the component's name; "" for none.
    options (Callable): From the training corpus to the values of options.
    sections (Callable): From the component's name and the training corpus to further sections.
    scores (Optional[Callable]): From the training and the development corpus to the names of the
        head's scores in [training.score_weights], the one that counts first. None for all main
        ones.
    second (Optional[Second]): None if there can be one head of the kind only.
    initialize (Mapping[str, Any]): Options for the training alone, with their defaults.
    """

    loss_weight: float | None = None
    spans_key: str = ""
    name_option: str = ""
    options: Callable[[Survey], Mapping[str, Any]] = lambda found: {}
    sections: Callable[[str, Survey], str] = lambda name, found: ""
    scores: Callable[[Survey, Survey], tuple[str, ...]] | None = None
    second: Second | None = None
    initialize: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class HeadKind:
    """A kind of head.

    name (str): As tasks and tables have it.
    factories (Tuple[str, ...]): What makes such heads; `init-config` writes the first.
    learns_from (str): Where its gold is.
    items (str): What its gold items are called, in the plural.
    count (CountGold): Gold items in a doc that is not empty; None where nothing is known.
    parts (Mapping[str, CountGold]): Parts of its gold that are counted apart.
    scores (Tuple[Score, ...]): Those that are listed, in order.
    place (int): Its place in lists of kinds and of scores.
    is_in_groups (bool): Whether its gold is in groups of `doc.spans` alone, which are counted one
        by one.
    scores_unknown (bool): Whether spaCy's own heads of this kind count docs without gold as wrong.
    recipe (Optional[Recipe]): None if `init-config` does not write it.
    """

    name: str
    factories: tuple[str, ...]
    learns_from: str
    items: str
    count: CountGold
    scores: tuple[Score, ...]
    parts: Mapping[str, CountGold] = field(default_factory=dict)
    place: int = 100
    is_in_groups: bool = False
    scores_unknown: bool = False
    recipe: Recipe | None = None

    def layers_of(self, head: Any) -> tuple[str, ...]:
        """RETURNS (Tuple[str, ...]): Entries of `Survey.known` where a head looks for gold; of each
        corpus the first that it has counts."""
        key = getattr(head, "spans_key", None) or getattr(head, "key", None)
        groups = (f"spans:{key}",) if key else ()
        return groups if self.is_in_groups else (*groups, self.name)


class NamedScore(NamedTuple):
    """A score as a head gives it.

    prefix (str): What stands before its name, with the "_"; "" for nothing.
    key (str): What stands for the "*" in its name.
    place (Tuple[int, int]): In tables.
    """

    kind: HeadKind
    score: Score
    prefix: str
    key: str
    place: tuple[int, int]

    @property
    def title(self) -> str:
        """RETURNS (str): What it scores, in words for people."""
        usual = (self.kind.recipe or Recipe()).spans_key
        key = self.key if self.key != usual else ""
        words = (self.prefix.strip("_/").replace("_", " "), self.score.title, key)
        return " ".join(filter(None, words)) if self.score.title else ""


_registry = catalogue.create("spacy_multitask", "head_kinds", entry_points=True)


def register(kind: HeadKind) -> HeadKind:
    """Make a kind known to all commands."""
    _registry.register(kind.name, func=kind)
    all_kinds.cache_clear()
    return kind


@lru_cache(maxsize=1)
def all_kinds() -> tuple[HeadKind, ...]:
    """RETURNS (Tuple[HeadKind, ...]): Those that are registered, in order of their places."""
    found = set(_registry.get_all().values())
    return tuple(sorted(found, key=lambda kind: (kind.place, kind.name)))


def kind_of(head: Any, factory: str = "") -> HeadKind | None:
    """RETURNS (Optional[HeadKind]): What a component says of itself, or what is known of its
    factory; None if neither."""
    own = getattr(head, "kind", None)
    if isinstance(own, HeadKind):
        return own
    return next((kind for kind in all_kinds() if factory in kind.factories), None)


def score_named(name: str, head: Any = None) -> NamedScore | None:
    """Find what is known of a score.

    name (str): As in the scores of a pipeline: it may have a prefix, or the name of a corpus.
    head (Any): The component whose score it is, if it is known.
    RETURNS (Optional[NamedScore]): None if it is none that is listed.
    """
    kind = kind_of(head)
    own = None if kind is None else _find(name, (kind,), True)
    return own or _find(name, all_kinds(), False)


@lru_cache(maxsize=4096)
def _find(name: str, kinds: tuple[HeadKind, ...], is_second: bool) -> NamedScore | None:
    """
    is_second (bool): Whether it may be a score that second heads have.
    """
    found = []
    for kind in kinds:
        second = kind.recipe.second if is_second and kind.recipe else None
        scores = [*kind.scores, *([second.score] if second and second.score else [])]
        for i, score in enumerate(scores):
            if match := score.pattern.fullmatch(name):
                prefix, *key = match.groups()
                found.append(NamedScore(kind, score, prefix, "".join(key), (kind.place, i)))
    # The longest: spans_ner_tag_acc_f is no tag_acc.
    return min(found, key=lambda one: len(one.prefix), default=None)


def is_task_score(name: str) -> bool:
    """RETURNS (bool): Whether a score of this name sums up a task, and not some aspect of it."""
    found = score_named(name)
    return found is not None and found.score.is_main


def in_order(names: Iterable[str]) -> list[str]:
    """RETURNS (List[str]): Those that are listed, in the order of tables."""
    found = {name: one for name in names if (one := score_named(name)) is not None}
    return sorted(found, key=lambda name: found[name].place)


def gold_counts() -> dict[str, CountGold]:
    """RETURNS (Dict[str, CountGold]): What a `Survey` counts: gold of each kind, and its parts."""
    found = {kind.name: kind.count for kind in all_kinds()}
    for kind in all_kinds():
        found.update(kind.parts)
    return found


def words_with(*attrs: int) -> CountGold:
    """RETURNS (CountGold): Counts words that have a value for one of these attributes."""

    def count(doc: Doc) -> int | None:
        columns = doc.to_array(list(attrs)).reshape(len(doc), -1)
        return int((columns != 0).any(axis=1).sum()) or None

    return count


def spans_in(key: str) -> CountGold:
    """RETURNS (CountGold): Counts the spans of `doc.spans[key]`."""
    return lambda doc: len(doc.spans[key]) if key in doc.spans else None
