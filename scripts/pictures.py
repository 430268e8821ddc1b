"""Draw the pictures of README.md and of the site: docs/images/*.svg.

The doc with its layers has the rows and colours of `spacy_multitask.visualize`.
Example: python -m scripts.pictures
"""

from __future__ import annotations

from html import escape
from pathlib import Path

import spacy
from spacy.tokens import Doc, Span

from spacy_multitask.report.visualize import Bar, bars_of, rows_of

FOLDER = Path(__file__).parents[1] / "docs" / "images"
CHAR, LABEL_CHAR = 9.0, 6.7  # pixels that a character takes, in words and in labels
WORD_Y, ROW, BAR, LEFT = 30, 22, 18, 78
FONT = 'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace"'
INK = "#1c2733"


def example() -> Doc:
    """RETURNS (Doc): A sentence with all four layers, as the heads write them."""
    words = [
        "Anna",
        "Brown",
        "of",
        "Reuters",
        "said",
        "IBM",
        "made",
        "a",
        "profit",
        "in",
        "Oslo",
        ".",
    ]
    tags = ["NNP", "NNP", "IN", "NNP", "VBD", "NNP", "VBD", "DT", "NN", "IN", "NNP", "."]
    doc = Doc(spacy.blank("en").vocab, words=words, tags=tags)
    chunks = [(0, 2, "NP"), (2, 3, "PP"), (3, 4, "NP"), (4, 5, "VP"), (5, 6, "NP"), (6, 7, "VP"),
              (7, 9, "NP"), (9, 10, "PP"), (10, 11, "NP")]  # fmt: skip
    doc.spans["np"] = [Span(doc, *chunk) for chunk in chunks]
    entities = [(0, 2, "PER"), (3, 4, "ORG"), (5, 6, "ORG"), (10, 11, "LOC")]
    doc.ents = [Span(doc, *entity) for entity in entities]
    doc.cats = {"Business": 0.94, "World": 0.04, "Sci/Tech": 0.01, "Sports": 0.01}
    return doc


def draw_layers(doc: Doc) -> str:
    """RETURNS (str): An SVG of a doc with a row for each layer, and its topic."""
    layers = {"tags": "tags", "chunks": "chunks", "entities": "entities"}
    rows: list[tuple[str, list[Bar]]] = [
        (title, row)
        for layer, title in layers.items()
        for row in rows_of(bars_of(doc, layer, "np"))
    ]
    places = [LEFT]
    for token in doc:
        labels = [bar.label for _, row in rows for bar in row if bar.start == token.i]
        width = max(CHAR * len(token.text), *(LABEL_CHAR * len(x) + 10 for x in labels), 0.0)
        places.append(places[-1] + width + 8)
    parts = [
        f'<text x="{places[t.i]:.0f}" y="{WORD_Y}" font-size="15">{escape(t.text)}</text>'
        for t in doc
    ]
    y = WORD_Y + 12
    for title, row in rows:
        parts.append(f'<text x="10" y="{y + 13}" font-size="11" fill="#4f5d6b">{title}</text>')
        for bar in row:
            x, end = places[bar.start], places[bar.end] - 4
            parts.append(
                f'<rect x="{x:.0f}" y="{y}" width="{end - x:.0f}" height="{BAR}" rx="3" '
                f'fill="{bar.color}"/><text x="{x + 4:.0f}" y="{y + 13}" font-size="11">'
                f"{escape(bar.label)}</text>"
            )
        y += ROW
    topic = max(doc.cats, key=doc.cats.__getitem__)
    parts.append(
        f'<text x="10" y="{y + 15}" font-size="11" fill="#4f5d6b">topic</text>'
        f'<rect x="{LEFT}" y="{y + 3}" width="{200 * doc.cats[topic]:.0f}" height="{BAR - 4}" '
        f'rx="3" fill="#7aa2f7"/><text x="{LEFT + 4}" y="{y + 14}" font-size="11">'
        f"{escape(topic)} {doc.cats[topic]:.2f}</text>"
    )
    told = f"The sentence “{doc.text}” with a tag under each word, chunks, entities and the topic"
    return _svg(places[-1] + 4, y + 30, told, parts)


def draw_architecture() -> str:
    """RETURNS (str): An SVG of corpora, encoder, heads and the doc that they fill."""
    corpora = ("tags", "chunks", "entities", "topics")
    heads = (("tagger", "token.tag_"), ("chunker", 'doc.spans["np"]'), ("ner", "doc.ents"),
             ("textcat", "doc.cats"))  # fmt: skip
    colors = ("#e3e8ee", "#c9e4de", "#feca74", "#b9d0fb")
    parts = []
    for k, (corpus, (head, place), color) in enumerate(zip(corpora, heads, colors)):
        y = 40 + 46 * k
        parts += [
            _box(10, y, 120, color, f"{corpus}"),
            _arrow(130, y + 17, 168),
            _arrow(420, y + 17, 458),
            _box(460, y, 110, color, head),
            _arrow(570, y + 17, 608),
            f'<text x="614" y="{y + 22}" font-size="13">{escape(place)}</text>',
        ]
    parts += [
        '<text x="10" y="26" font-size="12" fill="#4f5d6b">corpora, each with its own gold</text>',
        '<text x="460" y="26" font-size="12" fill="#4f5d6b">small heads</text>',
        '<text x="614" y="26" font-size="12" fill="#4f5d6b">one Doc</text>',
        '<rect x="170" y="40" width="80" height="172" rx="6" fill="#f4f6f8" stroke="#8794a1"/>',
        '<text x="210" y="120" font-size="13" text-anchor="middle">mixed</text>',
        '<text x="210" y="138" font-size="13" text-anchor="middle">batches</text>',
        _arrow(250, 126, 288),
        '<rect x="290" y="40" width="130" height="172" rx="6" fill="#dfe7fd" stroke="#1d5fc4"/>',
        '<text x="355" y="112" font-size="13" text-anchor="middle">one pretrained</text>',
        '<text x="355" y="130" font-size="13" text-anchor="middle">transformer,</text>',
        '<text x="355" y="148" font-size="13" text-anchor="middle">run once</text>',
    ]
    told = "Corpora are mixed into batches for one transformer, and small heads write to one Doc"
    return _svg(760, 226, told, parts)


def _box(x: int, y: int, width: int, color: str, text: str) -> str:
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="34" rx="6" fill="{color}" '
        f'stroke="#8794a1"/><text x="{x + width / 2:.0f}" y="{y + 22}" font-size="13" '
        f'text-anchor="middle">{text}</text>'
    )


def _arrow(x: int, y: int, end: int) -> str:
    line = f"M{x} {y} H{end - 6} m-4 -4 l6 4 l-6 4"
    return f'<path d="{line}" fill="none" stroke="#4f5d6b" stroke-width="1.5"/>'


def _svg(width: float, height: float, told: str, parts: list[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img" {FONT} fill="{INK}">\n'
        f"<title>{escape(told)}</title>\n"
        f'<rect width="100%" height="100%" rx="8" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "layers.svg").write_text(draw_layers(example()), encoding="utf8")
    (FOLDER / "architecture.svg").write_text(draw_architecture(), encoding="utf8")


if __name__ == "__main__":
    main()
