"""Holding out a part of a corpus: whole groups of docs, with each label's share."""

import random
from collections import Counter
from collections.abc import Sequence

from spacy.tokens import Doc

# Key of doc.user_data. Docs with the same value, of one author or document say, stay together.
GROUP = "group"


def hold_out(docs: Sequence[Doc], fraction: float, seed: int) -> set[int]:
    """Choose docs to hold out, so that each label has its share of them.

    Labels are topics and the types of entities and chunks. Docs with the same words or the same
    `doc.user_data["group"]` stay together.

    docs (Sequence[Doc]): At least two.
    fraction (float): Part of the docs to hold out, between 0 and 1.
    seed (int): Seed of the draw.
    RETURNS (Set[int]): The places of the docs that are held out, at least one and not all.
    RAISES (ValueError): If all docs are of one group.

    Source: Sechidis, Tsoumakas and Vlahavas (2011), On the stratification of multi-label data
    """
    groups = groups_of(docs)
    if len(groups) < 2:
        raise ValueError(
            "No doc can be held out: all are of one group, or have the same words. Give docs that "
            "may be apart other groups."
        )
    random.Random(seed).shuffle(groups)
    labels = [Counter(label for i in group for label in labels_of(docs[i])) for group in groups]
    n_out = min(max(1, round(fraction * len(docs))), len(docs) - 1)
    draw = _Draw(groups, labels, n_out / len(docs), n_out)
    held_out = draw.run()
    if not held_out or len(held_out) == len(docs):
        # Large groups can take all of a side's room.
        smallest = min(groups, key=len)
        held_out = set(smallest) if not held_out else held_out - set(smallest)
    return held_out


class _Draw:
    """Deals groups out to two sides, rare labels first, each to the side that lacks it most."""

    def __init__(
        self,
        groups: list[list[int]],
        labels: list[Counter[str]],
        fraction: float,
        n_out: int,
    ) -> None:
        self.groups = groups
        self.labels = labels
        self.fraction = fraction
        self.total = sum(labels, Counter())
        self.n_docs = {True: n_out, False: sum(map(len, groups)) - n_out}
        self.lacking = {
            side: Counter({label: share * count for label, count in self.total.items()})
            for side, share in ((True, fraction), (False, 1 - fraction))
        }
        self.held_out: set[int] = set()

    def run(self) -> set[int]:
        for label in sorted(self.total, key=lambda label: (self.total[label], label)):
            for i, labels in enumerate(self.labels):
                if labels[label] and self.groups[i]:
                    self._deal(i, self._side(label, len(self.groups[i])))
        for i, group in enumerate(self.groups):
            if group:
                self._deal(i, self._side(None, len(group)))
        return self.held_out

    def _side(self, label: str | None, size: int) -> bool:
        """RETURNS (bool): Whether to hold out a group of so many docs."""
        for side in (True, False):
            if self.n_docs[side] < size and self.n_docs[not side] >= size:
                return not side
        shares = {True: self.fraction, False: 1 - self.fraction}
        lacks = {
            side: (
                self.lacking[side][label] / share if label is not None else 0.0,
                self.n_docs[side] / share,
            )
            for side, share in shares.items()
        }
        return lacks[True] > lacks[False]

    def _deal(self, i: int, out: bool) -> None:
        self.lacking[out].subtract(self.labels[i])
        self.n_docs[out] -= len(self.groups[i])
        if out:
            self.held_out.update(self.groups[i])
        self.groups[i] = []


def groups_of(docs: Sequence[Doc]) -> list[list[int]]:
    """RETURNS (List[List[int]]): The places of docs that stay together, in their order."""
    # Each place leads to an earlier one of its group, or to itself.
    first = list(range(len(docs)))

    def root(i: int) -> int:
        while first[i] != i:
            first[i] = first[first[i]]
            i = first[i]
        return i

    seen: dict[object, int] = {}
    for i, doc in enumerate(docs):
        keys: list[object] = [tuple(token.orth for token in doc)]
        if GROUP in doc.user_data:
            keys.append(("group", str(doc.user_data[GROUP])))
        for key in keys:
            one, other = sorted((root(seen.setdefault(key, i)), root(i)))
            first[other] = one
    groups: dict[int, list[int]] = {}
    for i in range(len(docs)):
        groups.setdefault(root(i), []).append(i)
    return list(groups.values())


def labels_of(doc: Doc) -> set[str]:
    """RETURNS (Set[str]): The labels of a doc that a part should have its share of."""
    labels = {f"topic {label}" for label, value in doc.cats.items() if value >= 0.5}
    labels.update(f"entity {ent.label_}" for ent in doc.ents)
    labels.update(f"{key} {span.label_}" for key, spans in doc.spans.items() for span in spans)
    return labels
