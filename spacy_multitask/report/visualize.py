"""All layers of a doc in one view, drawn by displaCy."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from spacy import displacy
from spacy.displacy.render import DEFAULT_LABEL_COLORS
from spacy.tokens import Doc
from spacy.util import is_in_jupyter

from ..given import given_docs
from ..relations import get_relations
from ..safe_files import write_text

LAYERS = ("tags", "chunks", "entities", "relations", "cats")
COLORS = {"tags": "#e3e8ee", "chunks": "#c9e4de", "entities": "#feca74", "relations": "#b9c6f5"}
BETWEEN = "#e9edfc"  # words between the entities of a relation
# As in displaCy's own schemes; of the types of the CoNLL corpora it knows two.
ENTITY_COLORS = {**DEFAULT_LABEL_COLORS, "PER": "#aa9cfc", "MISC": "#ffeb80"}
MAX_CATS = 8  # bars shown

WORD_HEIGHT, ROW_HEIGHT, BAR_HEIGHT, LINE_GAP = 24, 18, 16, 6  # pixels
# Each word is a column as wide as the word or the widest label that begins below it.
TEMPLATE = {
    "span": '<span style="display: inline-block; position: relative; vertical-align: top; '
    "height: {total_height}px; line-height: 22px; padding-inline-end: 6px; "
    'white-space: nowrap">{text}{span_slices}{span_starts}</span><wbr>',
    "slice": '<span style="position: absolute; top: {top_offset}px; inset-inline-start: 0; '
    f'width: 100%; height: {BAR_HEIGHT}px; background: {{bg}}"></span>',
    "start": '<span style="position: absolute; top: {top_offset}px; inset-inline-start: 3px; '
    f'z-index: 1; font-size: 11px; line-height: {BAR_HEIGHT}px; color: #1c2733">'
    '{kb_link}</span><span style="display: block; height: 0; overflow: hidden; font-size: 11px; '
    'padding: 0 4px">{kb_link}</span>',
}
PAGE = """\
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Docs</title>
<body style="margin: 2em">
{}
</body>
</html>
"""


class Bar(NamedTuple):
    """What is drawn below words.

    start, end (int): Tokens; the end is exclusive.
    label (str): Text at the start.
    color (str): A CSS colour.
    ends (Optional[FrozenSet[int]]): Tokens that have this colour, if not all.
    """

    start: int
    end: int
    label: str
    color: str
    ends: frozenset[int] | None = None


def visualize(
    docs: Doc | Iterable[Doc],
    *,
    layers: Iterable[str] = LAYERS,
    spans_key: str = "np",
    path: str | Path | None = None,
    jupyter: bool | None = None,
) -> str | None:
    """Draw docs: rows of tags, chunks, entities and relations under the words, topics as bars.

    docs (Doc or Iterable[Doc]): What to draw.
    layers (Iterable[str]): Of "tags", "chunks", "entities", "relations", "cats"; those that a doc
        does not have are left out.
    spans_key (str): Key of the chunks in `doc.spans`.
    path: HTML file to write, if any; a whole page.
    jupyter (Optional[bool]): Whether to show it in the notebook; None finds out.
    RETURNS (Optional[str]): HTML, unless it is shown in a notebook.
    RAISES (ValueError): If there is no such layer, or it is not given docs.
    """
    layers = set(layers)
    if layers - set(LAYERS):
        unknown = ", ".join(sorted(layers - set(LAYERS)))
        raise ValueError(f"There is no layer {unknown}. Layers are {', '.join(LAYERS)}.")
    docs = given_docs(docs, "visualize")
    html = "\n".join(draw(doc, layers, spans_key) for doc in docs)
    if path is not None:
        write_text(Path(path), PAGE.format(html))
    if jupyter or (jupyter is None and path is None and is_in_jupyter()):
        from IPython.display import HTML, display

        display(HTML(html))
        return None
    return html


def draw(doc: Doc, layers: set[str], spans_key: str = "np") -> str:
    """RETURNS (str): HTML of one doc, with every string of the doc escaped."""
    rows = []
    for layer in LAYERS:
        if layer in layers:
            rows += rows_of(bars_of(doc, layer, spans_key))
    direction = doc.vocab.writing_system.get("direction", "ltr")
    parts = [_Renderer(rows, direction).render_doc([token.text for token in doc])]
    if "cats" in layers and doc.cats:
        parts.append(_cats(doc.cats))
    style = "margin: 0 0 2em; font-family: system-ui, sans-serif; overflow-wrap: anywhere"
    return f'<div class="doc" style="{style}">{"".join(parts)}</div>'


def bars_of(doc: Doc, layer: str, spans_key: str) -> list[Bar]:
    color = COLORS.get(layer, "")
    if layer == "tags":
        return [Bar(t.i, t.i + 1, t.tag_ or t.pos_, color) for t in doc if t.tag_ or t.pos_]
    if layer == "chunks":
        return [Bar(s.start, s.end, s.label_, color) for s in doc.spans.get(spans_key, [])]
    if layer == "entities":
        colors = ENTITY_COLORS
        return [Bar(e.start, e.end, e.label_, colors.get(e.label_, color)) for e in doc.ents]
    found = []
    for relation in get_relations(doc) if layer == "relations" else []:
        head, tail = relation.head, relation.tail
        forth = head.start <= tail.start
        found.append(
            Bar(
                min(head.start, tail.start),
                max(head.end, tail.end),
                f"{relation.label} →" if forth else f"← {relation.label}",
                color,
                frozenset((*range(head.start, head.end), *range(tail.start, tail.end))),
            )
        )
    return found


def rows_of(bars: list[Bar]) -> list[list[Bar]]:
    """RETURNS (List[List[Bar]]): As few rows as hold all bars of a layer without overlaps."""
    rows: list[list[Bar]] = []
    for bar in sorted(bars, key=lambda bar: (bar.start, -bar.end)):
        row = next((row for row in rows if row[-1].end <= bar.start), None)
        if row is None:
            rows.append(row := [])
        row.append(bar)
    return rows


class _Renderer(displacy.SpanRenderer):
    """displaCy's spans, each layer in rows of its own. displaCy stacks spans in the order in which
    they begin, and colours them by their labels, which two layers may share."""

    def __init__(self, rows: list[list[Bar]], direction: str):
        colors: dict[str, str] = {"": "transparent"}
        super().__init__(
            {
                "template": TEMPLATE,
                "top_offset": WORD_HEIGHT,
                "span_label_offset": ROW_HEIGHT + LINE_GAP,
                "top_offset_step": ROW_HEIGHT,
                "colors": colors,
            }
        )
        self.rows = rows
        self.settings = {"direction": direction}
        self.towards = "left" if direction == "rtl" else "right"

    def render_doc(self, words: list[str]) -> str:
        return self.render([{"tokens": words, "spans": [], "settings": self.settings}])

    def _assemble_per_token_info(  # type: ignore[override]
        self, tokens: list[str], spans: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        # Every word has an entry in every row, so that all words are of one height.
        entries = [[self._entry(slot) for slot in range(len(self.rows))] for _ in tokens]
        for slot, row in enumerate(self.rows):
            for bar in row:
                for i in range(bar.start, bar.end):
                    color = bar.color if bar.ends is None or i in bar.ends else BETWEEN
                    if i == bar.end - 1:
                        gap = f"{color} calc(100% - 3px), transparent 0"
                        color = f"linear-gradient(to {self.towards}, {gap})"
                    self.colors[color.upper()] = color
                    label = escape(bar.label) if i == bar.start else ""
                    entries[i][slot] = self._entry(slot, color, label)
        return [{"text": text, "entities": own} for text, own in zip(tokens, entries, strict=True)]

    def _entry(self, slot: int, color: str = "", label: str = "") -> dict[str, Any]:
        # The label that displaCy knows says the colour; ours stands where links would.
        return {
            "label": color,
            "kb_link": label,
            "is_start": bool(label),
            "render_slot": slot + 1,
        }


def _cats(cats: dict[str, float]) -> str:
    best = sorted(cats.items(), key=lambda item: -item[1])
    rows = "".join(
        f'<div style="display: flex; align-items: center; gap: .6em; font-size: 13px">'
        f'<span style="width: 9em; text-align: right">{escape(label)}</span>'
        f'<span style="width: {200 * value:.0f}px; height: .8em; background: #7aa2f7"></span>'
        f"<span>{value:.2f}</span></div>"
        for label, value in best[:MAX_CATS]
    )
    more = f"<div>… {len(best) - MAX_CATS} more</div>" if len(best) > MAX_CATS else ""
    return f'<div class="cats" style="margin-top: .5em">{rows}{more}</div>'
