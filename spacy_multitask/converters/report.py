"""Errors with their place, and counts of what a conversion wrote and left out."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy
from spacy.tokens import Doc

from ..relations import KEY as RELATIONS_KEY

PathLike = str | Path

# Token attributes that are counted in the report, under the name they have there.
TOKEN_LAYERS = {"tag": "TAG", "pos": "POS", "morph": "MORPH", "lemma": "LEMMA", "dep": "DEP"}
# Spans that cut a token, of which the report shows the most frequent.
SHOWN_MISALIGNED = 10


class ConversionError(ValueError):
    """A file or an option that cannot be converted; the message says where and what to do."""


def place_of(path: PathLike, line: int | str) -> str:
    """RETURNS (str): "file:3" for line 3, "file, record 3" for what is called "record 3"."""
    return f"{path}:{line}" if isinstance(line, int) else f"{path}, {line}"


def error_at(path: PathLike, line: int | str, message: str) -> ConversionError:
    """Make the error for one line of a file.

    path (PathLike): The file.
    line (Union[int, str]): Number of the line, counted from 1, or what a place is called in a file
        that is not read by lines, such as "record 3".
    message (str): What is wrong and what to do about it.
    RETURNS (ConversionError): The error, to be raised by the caller.
    """
    return ConversionError(f"{place_of(path, line)}: {message}")


@dataclass
class Cause:
    """How often something was skipped, cut or noted, and where it was first seen."""

    count: int = 0
    first: str = ""


@dataclass
class ConversionReport:
    """Counts of what was written and, by cause, of what was not.

    docs (int): Docs written.
    sentences (int): Sentences in them; 0 where the corpus does not mark sentences.
    tokens (int): Tokens in them.
    gold (Counter): Items by layer: tokens for "tag", "pos", "morph", "lemma" and "dep", spans for
        "ents" and "spans[<key>]", docs for "cats".
    labels (Dict[str, Counter]): Items by layer and label, for ents, spans and cats.
    causes (Dict[str, Cause]): What was skipped, cut or noted. It covers the whole part of the
        file that was read, also the docs that `sample` left out.
    misaligned (Counter): Spans that begin or end within a token, as "'York' in 'York-based'".
    taken_for (str): Format that the file was taken for, and why; empty where it was given.
    """

    docs: int = 0
    sentences: int = 0
    tokens: int = 0
    gold: Counter = field(default_factory=Counter)
    labels: dict[str, Counter] = field(default_factory=dict)
    causes: dict[str, Cause] = field(default_factory=dict)
    misaligned: Counter[str] = field(default_factory=Counter)
    taken_for: str = ""

    def add_doc(self, doc: Doc) -> None:
        """Count a doc that is written, with the gold in it."""
        self.docs += 1
        self.tokens += len(doc)
        attrs: list[int | str] = ["SENT_START", *TOKEN_LAYERS.values()]
        columns = doc.to_array(attrs).reshape((len(doc), len(attrs))).astype("int64")
        # A tokenized text has a start at its first token without being split into sentences.
        if not doc.cats and doc.has_annotation("SENT_START"):
            self.sentences += int((columns[:, 0] == 1).sum())
        for name, n_tokens in zip(TOKEN_LAYERS, numpy.count_nonzero(columns[:, 1:], axis=0)):
            if n_tokens:
                self.gold[name] += int(n_tokens)
        if len(doc) and doc.has_annotation("ENT_IOB"):
            self._add_labels("ents", [ent.label_ for ent in doc.ents])
        for key, spans in doc.spans.items():
            self._add_labels(f"spans[{key}]", [span.label_ for span in spans])
        if RELATIONS_KEY in doc.user_data:
            relations = doc.user_data[RELATIONS_KEY]
            self._add_labels("relations", [label for _, _, label, _ in relations])
        if doc.cats:
            self.gold["cats"] += 1
            positive = [label for label, value in doc.cats.items() if value >= 0.5]
            self.labels.setdefault("cats", Counter()).update(positive)

    def _add_labels(self, layer: str, labels: list[str]) -> None:
        self.gold[layer] += len(labels)
        self.labels.setdefault(layer, Counter()).update(labels)

    def add_cause(
        self, cause: str, path: PathLike | None = None, line: int | str = 0, count: int = 1
    ) -> None:
        """Count something that was skipped, cut or is worth knowing.

        cause (str): What happened, in a few words; the counts are kept by this text.
        path (Optional[PathLike]): The file it happened in, if one place can be named.
        line (Union[int, str]): Number of the line in it, from 1, or what the place is called.
        count (int): How often.
        """
        entry = self.causes.setdefault(cause, Cause())
        if not entry.count and path is not None:
            entry.first = place_of(path, line)
        entry.count += count

    def render(self) -> str:
        """RETURNS (str): The report for people, several lines."""
        sentences = f", {self.sentences:,} sentences" if self.sentences else ""
        lines = [f"{self.docs:,} docs{sentences}, {self.tokens:,} tokens"]
        if self.taken_for:
            lines.append(f"  taken for {self.taken_for}")
        for layer, count in self.gold.items():
            labels = self.labels.get(layer, Counter())
            by_label = ", ".join(f"{label} {n:,}" for label, n in labels.most_common())
            lines.append(f"  gold {layer}: {count:,}" + (f" ({by_label})" if by_label else ""))
        for cause, entry in self.causes.items():
            first = f" (first at {entry.first})" if entry.first else ""
            lines.append(f"  {entry.count:,} x {cause}{first}")
        if self.misaligned:
            shown = self.misaligned.most_common(SHOWN_MISALIGNED)
            lines.append("  spans that cut a token, the most frequent:")
            lines.extend(f"    {count:,} x {case}" for case, count in shown)
        return "\n".join(lines)
