"""What a corpus holds, for people: sizes, gold by layer and label, examples, what looks wrong."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from spacy.tokens import Doc

from ..converters.select import layers_in
from ..relations import get_relations

# Words; the last bound is open.
LENGTHS = (1, 5, 10, 20, 50, 100, 200, 500, 1000)
BAR = 30  # characters
EXAMPLE = 60  # characters
# Labels with fewer items are hard to learn, and their scores say little.
FEW = 20
# A label's part of its layer from which the others are rare beside it.
MOST = 0.9
SHOWN_LABELS = 25


@dataclass
class Layer:
    """Gold of one kind.

    docs (int): Docs that say something of it.
    labels (Counter): Items by label.
    known, unknown (int): Tokens of these docs of which something is known, and of which nothing is.
    examples (Dict[str, str]): A text for each label.
    """

    docs: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    known: int = 0
    unknown: int = 0
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, label: str, example: str) -> None:
        self.labels[label] += 1
        self.examples.setdefault(label, " ".join(example.split())[:EXAMPLE])


class Look:
    """Counts docs one by one."""

    def __init__(self) -> None:
        self.docs = self.words = self.empty = self.without_gold = self.twice = self.contrary = 0
        self.lengths: Counter[int] = Counter()
        self.layers: dict[str, Layer] = {}
        self.seen: dict[tuple[int, ...], tuple] = {}

    def add(self, doc: Doc) -> None:
        self.docs += 1
        if not len(doc):
            self.empty += 1
            return
        self.words += len(doc)
        self.lengths[max(bound for bound in LENGTHS if bound <= len(doc))] += 1
        found = layers_in(doc)
        self.without_gold += not found
        for name in ("tag", "pos"):
            if name in found:
                self._add_tokens(name, doc)
        for name in ("morph", "lemma", "dep"):
            if name in found:
                self._layer(name)
        self._add_spans(doc, found)
        if "topic" in found:
            layer = self._layer("topic")
            layer.labels.update(dict.fromkeys(doc.cats, 0))
            for label, value in doc.cats.items():
                if value >= 0.5:
                    layer.add(label, doc.text)
        self._compare(doc)

    def _add_spans(self, doc: Doc, found: set[str]) -> None:
        if "ner" in found:
            layer = self._layer("ner")
            n_known = sum(bool(token.ent_iob_) for token in doc)
            layer.known += n_known
            layer.unknown += len(doc) - n_known
            for ent in doc.ents:
                layer.add(ent.label_, ent.text)
        for key, spans in doc.spans.items():
            layer = self._layer(f"spans {key}")
            for span in spans:
                layer.add(span.label_, span.text)
        if "relations" in found:
            layer = self._layer("relations")
            for relation in get_relations(doc):
                layer.add(relation.label, f"{relation.head.text} -> {relation.tail.text}")

    def _layer(self, name: str) -> Layer:
        layer = self.layers.setdefault(name, Layer())
        layer.docs += 1
        return layer

    def _add_tokens(self, name: str, doc: Doc) -> None:
        layer = self._layer(name)
        for token in doc:
            label = token.tag_ if name == "tag" else token.pos_
            if label:
                layer.known += 1
                layer.add(label, token.text)
            else:
                layer.unknown += 1

    def _compare(self, doc: Doc) -> None:
        key = tuple(token.orth for token in doc)
        # Gold of which two docs of the same words may say different things.
        gold = (
            tuple((ent.start, ent.end, ent.label) for ent in doc.ents),
            tuple(sorted(doc.cats.items())),
        )
        if key in self.seen:
            self.twice += 1
            self.contrary += self.seen[key] != gold
        self.seen.setdefault(key, gold)

    def warnings(self) -> list[str]:
        """RETURNS (List[str]): What may be wrong, or hard to learn."""
        found = []
        if self.empty:
            found.append(f"{self.empty:,} docs are empty.")
        if self.without_gold:
            found.append(f"{self.without_gold:,} docs have no gold of any layer.")
        if self.twice:
            found.append(
                f"{self.twice:,} docs have the words of another, {self.contrary:,} of them with "
                "other entities or topics."
            )
        for name, layer in self.layers.items():
            total = sum(layer.labels.values())
            few = sorted(label for label, count in layer.labels.items() if count < FEW)
            if few:
                found.append(
                    f"{name}: fewer than {FEW} of {_some(few)}. They are hard to learn, and their "
                    "scores say little."
                )
            if alike := _alike(layer.labels):
                found.append(f"{name}: {alike} differ in their spelling alone. Are they one label?")
            if len(layer.labels) == 1 and not name.startswith(("spans", "ner", "relations")):
                found.append(f"{name}: {next(iter(layer.labels))} is the only label.")
            top = layer.labels.most_common(1)
            if top and total and len(layer.labels) > 1 and top[0][1] > MOST * total:
                share = top[0][1] / total
                found.append(f"{name}: {share:.0%} are {top[0][0]}; the others are rare beside it.")
            if layer.unknown:
                share = layer.unknown / (layer.known + layer.unknown)
                found.append(f"{name}: nothing is known of {share:.1%} of the words in its docs.")
        return found

    def histogram(self) -> list[tuple[str, int, float]]:
        """RETURNS (List[Tuple[str, int, float]]): Lengths in words, docs of such a length, and
        their part of the most frequent one."""
        most = max(self.lengths.values(), default=1)
        return [
            (f"{bound} and more" if end is None else f"{bound} to {end - 1}", count, count / most)
            for bound, end in zip(LENGTHS, (*LENGTHS[1:], None))
            if (count := self.lengths[bound])
        ]

    def summary(self) -> dict[str, Any]:
        """RETURNS (Dict[str, Any]): All of it for programs, as JSON takes it."""
        return {
            "docs": self.docs,
            "words": self.words,
            "lengths": {name: count for name, count, _ in self.histogram()},
            "layers": {
                name: {"docs": layer.docs, "labels": dict(layer.labels.most_common())}
                for name, layer in self.layers.items()
            },
            "warnings": self.warnings(),
        }

    def render(self) -> str:
        """RETURNS (str): All of it, several lines."""
        lines = [f"{self.docs:,} docs, {self.words:,} words"]
        lines.append("  words in a doc:")
        for name, count, part in self.histogram():
            lines.append(f"    {name:>13}  {count:>9,}  {'#' * max(1, round(BAR * part))}")
        for name, layer in self.layers.items():
            total = f", {sum(layer.labels.values()):,} items" if layer.labels else ""
            lines.append(f"  {name}: known of {layer.docs:,} docs{total}")
            shown = layer.labels.most_common(SHOWN_LABELS)
            for label, count in shown:
                example = layer.examples.get(label, "")
                lines.append(f"    {label:<15} {count:>9,}  {example}".rstrip())
            if len(layer.labels) > len(shown):
                lines.append(f"    and {len(layer.labels) - len(shown):,} other labels")
        lines.extend(f"  ! {warning}" for warning in self.warnings())
        return "\n".join(lines)


def _alike(labels: Iterable[str]) -> str:
    """RETURNS (str): Labels that are the same but for letter case, blanks, "_" and "-"."""
    groups: dict[str, list[str]] = {}
    for label in sorted(labels):
        groups.setdefault(re.sub(r"(?<=\w)[\s_-]+(?=\w)", "", label.strip().casefold()), []).append(
            label
        )
    return ", ".join(" and ".join(group) for group in groups.values() if len(group) > 1)


def _some(labels: list[str]) -> str:
    return ", ".join(labels[:10]) + (
        f" and {len(labels) - 10:,} others" if len(labels) > 10 else ""
    )
