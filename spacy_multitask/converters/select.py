"""Which layers and labels of converted docs are kept, and what the labels are called."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from spacy.tokens import Doc, Span

from ..relations import KEY as RELATIONS_KEY
from ..relations import kept_relations
from .lines import check_is_file
from .records import shorten
from .report import ConversionError, ConversionReport, PathLike

# Layer -> attributes of tokens that it consists of.
TOKEN_ATTRS = {
    "tag": ["TAG"],
    "pos": ["POS"],
    "morph": ["MORPH"],
    "lemma": ["LEMMA"],
    "dep": ["DEP", "HEAD"],
    "ner": ["ENT_IOB", "ENT_TYPE"],
}
LAYERS = (*TOKEN_ATTRS, "chunk", "topic", "relations")


def read_label_map(path: PathLike) -> dict[str, str | None]:
    """Read a JSON file such as {"ORG": "ORGANIZATION", "MISC": null}.

    RETURNS (Dict[str, Optional[str]]): New names of labels; None for those to drop.
    RAISES (ConversionError): If it is something else.
    """
    try:
        found = json.loads(check_is_file(path).read_text(encoding="utf8"))
    except ValueError as err:
        raise ConversionError(f"{path}: the label map is not JSON: {err}.") from err
    if not isinstance(found, dict):
        raise ConversionError(f"{path}: the label map is {shorten(found)}, but must be an object.")
    for label, new in found.items():
        if new is not None and (not isinstance(new, str) or not new):
            raise ConversionError(
                f"{path}: the label map has {shorten(new)} for {label!r}, but must have a name, or "
                "null to drop the label."
            )
    return found


def join_label_maps(
    file: PathLike | None, renamed: Sequence[str], dropped: Sequence[str]
) -> dict[str, str | None]:
    """Join a file of names and what was given singly, which goes first.

    file (Optional[PathLike]): As `read_label_map` takes it.
    renamed (Sequence[str]): Each of the form OLD=NEW.
    dropped (Sequence[str]): Labels.
    RETURNS (Dict[str, Optional[str]]): New names of labels; None for those to drop.
    RAISES (ConversionError): If one has another form, or a label comes twice.
    """
    given: dict[str, str | None] = {}
    pairs: list[tuple[str, str | None]] = [(label, None) for label in dropped]
    for item in renamed:
        old, _, new = item.partition("=")
        if not old or not new:
            raise ConversionError(f"the map {item!r} is not OLD=NEW, such as ORG=ORGANIZATION.")
        pairs.append((old, new))
    for label, name in pairs:
        if label in given:
            raise ConversionError(f"the label {label!r} is mapped or dropped twice. Do it once.")
        given[label] = name
    return {**(read_label_map(file) if file is not None else {}), **given}


class Selection:
    """Keeps layers of docs, and renames and drops their labels.

    What a dropped span covered is outside of spans then. A text whose only category was dropped is
    of unknown category. Where several labels get one name, it is false only if all of them are.

    report (ConversionReport): Counts docs that have nothing left.
    layers (Optional[Sequence[str]]): Layers to keep, of LAYERS; None for all.
    label_map (Optional[Mapping[str, Optional[str]]]): New names of labels; None for those to drop.
    RAISES (ConversionError): If a layer is none of LAYERS.
    """

    def __init__(
        self,
        report: ConversionReport,
        layers: Sequence[str] | None,
        label_map: Mapping[str, str | None] | None,
    ) -> None:
        for layer in layers or ():
            if layer not in LAYERS:
                raise ConversionError(f"the layer {layer!r} is not one of {', '.join(LAYERS)}.")
        self.report = report
        self.layers = None if layers is None else set(layers)
        self.label_map = dict(label_map or {})
        self.unused_layers = set(layers or ())
        self.unused_labels = set(self.label_map)

    def __call__(self, doc: Doc) -> Doc | None:
        """RETURNS (Optional[Doc]): The doc, or None if it has no gold in the layers to keep."""
        if self.layers is not None:
            found = layers_in(doc)
            self.unused_layers -= found
            doc = with_layers(doc, self.layers & found)
        if self.label_map:
            self._rename_tags(doc)
            self._rename_entities(doc)
            self._rename_spans(doc)
            self._rename_relations(doc)
            self._rename_topics(doc)
        if self.layers is not None and not layers_in(doc):
            self.report.add_cause("doc without gold in the layers to keep: left out")
            return None
        return doc

    def report_unused(self) -> None:
        """Tell of layers and labels that were nowhere, at the end."""
        for layer in sorted(self.unused_layers):
            self.report.add_cause(f"layer {layer} to keep: is in no doc")
        for label in sorted(self.unused_labels):
            self.report.add_cause(f"label {label} to map or drop: is in no doc")

    def _new(self, label: str) -> str | None:
        """RETURNS (Optional[str]): The new name of a label; None if it is dropped."""
        self.unused_labels.discard(label)
        return self.label_map.get(label, label)

    def _rename_tags(self, doc: Doc) -> None:
        for token in doc:
            if token.tag_ in self.label_map:
                token.tag_ = self._new(token.tag_) or ""

    def _rename_entities(self, doc: Doc) -> None:
        if not any(ent.label_ in self.label_map for ent in doc.ents):
            return
        kept: list[Span] = []
        dropped: list[Span] = []
        for ent in doc.ents:
            label = self._new(ent.label_)
            (dropped if label is None else kept).append(
                Span(doc, ent.start, ent.end, label=label or "")
            )
        doc.set_ents(kept, outside=dropped, default="unmodified")

    def _rename_spans(self, doc: Doc) -> None:
        for key in list(doc.spans):
            named = [(span.start, span.end, self._new(span.label_)) for span in doc.spans[key]]
            doc.spans[key] = [
                Span(doc, start, end, label=label)
                for start, end, label in dict.fromkeys(named)
                if label is not None
            ]

    def _rename_relations(self, doc: Doc) -> None:
        if RELATIONS_KEY not in doc.user_data:
            return
        kept: list[list] = []
        for head, tail, label, probability in kept_relations(doc):
            names = [self._new(head[2]), self._new(tail[2]), self._new(label)]
            ends = [[*h[:2], name, *h[3:]] for h, name in zip((head, tail), names)]
            renamed = [*ends, names[2], probability]
            if None not in names and renamed not in kept:
                kept.append(renamed)
        doc.user_data[RELATIONS_KEY] = kept

    def _rename_topics(self, doc: Doc) -> None:
        if not any(label in self.label_map for label in doc.cats):
            return
        values: dict[str, list[float]] = {}
        for label, value in doc.cats.items():
            name = self._new(label)
            if name is not None:
                values.setdefault(name, []).append(value)
        cats = {}
        for name, found in values.items():
            n_sources = sum(new == name for new in self.label_map.values())
            if max(found) >= 0.5 or len(found) >= n_sources:
                cats[name] = max(found)
        was_true = any(value >= 0.5 for value in doc.cats.values())
        doc.cats = {} if was_true and not any(v >= 0.5 for v in cats.values()) else cats


def layers_in(doc: Doc) -> set[str]:
    """RETURNS (Set[str]): The layers of which a doc says something."""
    found = {name for name, attrs in TOKEN_ATTRS.items() if doc.has_annotation(attrs[0])}
    if doc.spans:
        found.add("chunk")
    if doc.cats:
        found.add("topic")
    if RELATIONS_KEY in doc.user_data:
        found.add("relations")
    return found


def with_layers(doc: Doc, layers: set[str]) -> Doc:
    """RETURNS (Doc): One of the same tokens and sentences, with these layers alone."""
    copied = Doc(
        doc.vocab,
        words=[token.text for token in doc],
        spaces=None if doc.has_unknown_spaces else [bool(token.whitespace_) for token in doc],
    )
    attrs: list[int | str] = [
        attr for layer in TOKEN_ATTRS if layer in layers for attr in TOKEN_ATTRS[layer]
    ]
    # spaCy takes sentences from the tree, where there is one.
    attrs += [] if "dep" in layers else ["SENT_START"]
    columns: Any = doc.to_array(attrs)
    copied.from_array(attrs, columns.reshape(len(doc), len(attrs)))
    if "chunk" in layers:
        for key, spans in doc.spans.items():
            copied.spans[key] = [
                Span(copied, span.start, span.end, label=span.label_) for span in spans
            ]
    if "topic" in layers:
        copied.cats = dict(doc.cats)
    if "relations" in layers:
        copied.user_data[RELATIONS_KEY] = kept_relations(doc)
    return copied
