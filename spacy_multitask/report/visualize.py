"""All layers of a doc in one view, drawn by displaCy."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path

from spacy import displacy
from spacy.tokens import Doc, Span
from spacy.util import is_in_jupyter

from ..heads.relations import Relation, get_relations

LAYERS = ("tags", "chunks", "entities", "relations", "cats")
COLORS = {"tags": "#dfe6ec", "chunks": "#bfe1d9", "entities": "#feca74"}


def visualize(
    docs: Doc | Iterable[Doc],
    *,
    layers: Iterable[str] = LAYERS,
    spans_key: str = "np",
    path: str | Path | None = None,
    jupyter: bool | None = None,
) -> str | None:
    """Draw docs: tags, chunks and entities under the words, relations as arcs, topics as bars.

    docs (Doc or Iterable[Doc]): What to draw.
    layers (Iterable[str]): Of "tags", "chunks", "entities", "relations", "cats"; those that a doc
        does not have are left out.
    spans_key (str): Key of the chunks in `doc.spans`.
    path: HTML file to write, if any; a whole page.
    jupyter (Optional[bool]): Whether to show it in the notebook; None finds out.
    RETURNS (Optional[str]): HTML, unless it is shown in a notebook.
    RAISES (ValueError): If there is no such layer.
    """
    layers = set(layers)
    if layers - set(LAYERS):
        unknown = ", ".join(sorted(layers - set(LAYERS)))
        raise ValueError(f"There is no layer {unknown}. Layers are {', '.join(LAYERS)}.")
    docs = [docs] if isinstance(docs, Doc) else docs
    html = "\n".join(draw(doc, layers, spans_key) for doc in docs)
    if path is not None:
        page = f'<!DOCTYPE html>\n<meta charset="utf-8">\n<title>Docs</title>\n{html}\n'
        Path(path).write_text(page, encoding="utf8")
    if jupyter or (jupyter is None and path is None and is_in_jupyter()):
        from IPython.display import HTML, display

        display(HTML(html))
        return None
    return html


def draw(doc: Doc, layers: set[str], spans_key: str = "np", *, limit: int | None = None) -> str:
    """Draw one doc.

    limit (Optional[int]): Words to show, if not all.
    RETURNS (str): HTML, with every string of the doc escaped.
    """
    limit = len(doc) if limit is None else limit
    parts = []
    found: list[tuple[str, int, int, str]] = []
    if "tags" in layers:
        found += [("tags", t.i, t.i + 1, t.tag_ or t.pos_) for t in doc if t.tag_ or t.pos_]
    if "chunks" in layers:
        found += [("chunks", s.start, s.end, s.label_) for s in doc.spans.get(spans_key, [])]
    if "entities" in layers:
        found += [("entities", e.start, e.end, e.label_) for e in doc.ents]
    parts.append(_spans(doc, [span for span in found if span[2] <= limit], limit))
    relations = [
        r
        for r in (get_relations(doc) if "relations" in layers else [])
        if max(r.head.end, r.tail.end) <= limit
    ]
    if relations:
        parts.append(_arcs(doc, relations))
    if "cats" in layers and doc.cats:
        parts.append(_bars(doc.cats))
    return f'<div class="doc" style="margin: 0 0 2em">{"".join(parts)}</div>'


def _spans(doc: Doc, found: list[tuple[str, int, int, str]], limit: int) -> str:
    # displaCy escapes words, not labels, and knows colours by label alone.
    labels = {(layer, label): escape(label) for layer, _, _, label in found}
    return displacy.render(
        {
            "text": doc[:limit].text,
            "tokens": [token.text for token in doc[:limit]],
            "spans": [
                {"start_token": start, "end_token": end, "label": labels[layer, label]}
                for layer, start, end, label in found
            ],
        },
        style="span",
        manual=True,
        jupyter=False,
        options={"colors": {label: COLORS[layer] for (layer, _), label in labels.items()}},
    )


def _arcs(doc: Doc, relations: list[Relation]) -> str:
    """Words with the entities of relations as one word each, and an arc per relation."""
    spans = {(s.start, s.end) for r in relations for s in (r.head, r.tail)}
    first = min(start for start, _ in spans)
    last = max(end for _, end in spans)
    words: list[dict[str, str]] = []
    place: dict[tuple[int, int], int] = {}
    i = first
    while i < last:
        span = next(((a, b) for a, b in sorted(spans) if a == i), (i, i + 1))
        place[span] = len(words)
        words.append({"text": doc[span[0] : span[1]].text, "tag": ""})
        i = span[1]
    arcs = []
    for relation in relations:
        ends = [_place(place, span) for span in (relation.head, relation.tail)]
        start, end = min(ends), max(ends)
        if start != end:
            arcs.append(
                {
                    "start": start,
                    "end": end,
                    "label": escape(relation.label),
                    "dir": "right" if ends[0] == start else "left",
                }
            )
    return displacy.render(
        {"words": words, "arcs": arcs},
        style="dep",
        manual=True,
        jupyter=False,
        options={"distance": 110, "compact": True},
    )


def _place(place: dict[tuple[int, int], int], span: Span) -> int:
    """RETURNS (int): The word that holds a span; one that overlaps others has none of its own."""
    if (span.start, span.end) in place:
        return place[span.start, span.end]
    return next(k for (a, b), k in place.items() if a <= span.start < b)


def _bars(cats: dict[str, float]) -> str:
    rows = "".join(
        f'<div style="display: flex; align-items: center; gap: .6em; font: 13px sans-serif">'
        f'<span style="width: 9em; text-align: right">{escape(label)}</span>'
        f'<span style="width: {200 * value:.0f}px; height: .8em; background: #7aa2f7"></span>'
        f"<span>{value:.2f}</span></div>"
        for label, value in sorted(cats.items(), key=lambda item: -item[1])
    )
    return f'<div class="cats">{rows}</div>'
