"""Drawings of docs."""

import re
import sys
from types import ModuleType

import pytest
import spacy
from spacy.tokens import Doc, Span

import spacy_multitask
from spacy_multitask.relations import set_relations
from spacy_multitask.report.visualize import BETWEEN, COLORS, ENTITY_COLORS, LAYERS, draw
from tests.report.conftest import EVIL, Tags


def test_drawing_all_layers(trained, tmp_path):
    doc = trained(Doc(trained.vocab, words=["Mr", "Smith", "loves", "New", "York"]))
    set_relations(doc, [(doc[1:2], doc[3:5], f"lives_in{EVIL}", 0.9)])
    html = spacy_multitask.visualize(doc, jupyter=False)
    for part in ("NNP", "PER", "VP", "lives_in", "Business", "Smith", "New", "York"):
        assert part in html, part
    assert "script" not in Tags(html).found
    only = spacy_multitask.visualize(doc, layers=["entities"], jupyter=False)
    assert "PER" in only and "NNP" not in only and "Business" not in only
    path = tmp_path / "docs.html"
    spacy_multitask.visualize([doc, trained("")], path=path)
    assert path.read_text().count('class="doc"') == 2
    with pytest.raises(ValueError, match="no layer parse"):
        spacy_multitask.visualize(doc, layers=["parse"])


def test_notebooks_show_the_drawing(trained, monkeypatch):
    shown = []
    display = ModuleType("IPython.display")
    display.HTML, display.display = str, shown.append
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    doc = trained("Mr Smith")
    assert spacy_multitask.visualize(doc, jupyter=True) is None
    assert len(shown) == 1 and "NNP" in shown[0]


def bars(html):
    """RETURNS (List[List[tuple]]): Per word what is drawn below it: row, colour, label."""
    words = html.split("display: inline-block")[1:]
    found = []
    for word in words:
        word = word.partition("<wbr>")[0]
        slices = re.findall(r"top: (\d+)px; inset-inline-start: 0; .*?background: (.*?)\"", word)
        labels = dict(re.findall(r"top: (\d+)px; inset-inline-start: 3px.*?>(.*?)</span>", word))
        rows = sorted({int(top) for top, _ in slices})
        found.append(
            [
                (rows.index(int(top)), color, labels.get(top, ""))
                for top, color in slices
                if color != "transparent"
            ]
        )
    return found


def test_each_layer_has_rows_of_its_own_and_each_bar_ends_with_a_gap():
    nlp = spacy.blank("en")
    doc = Doc(nlp.vocab, words=["New", "York", "grew"], tags=["NNP", "NNP", "VBD"])
    doc.ents = [doc.char_span(0, 8, label="ORG")]
    # A chunk of the same label as the entity, and two that overlap.
    doc.spans["np"] = [Span(doc, *s) for s in ((0, 2, "ORG"), (1, 3, "NP"), (2, 3, "VP"))]
    new, york, grew = bars(spacy_multitask.visualize(doc, jupyter=False))
    tag, chunk, entity = COLORS["tags"], COLORS["chunks"], ENTITY_COLORS["ORG"]

    def end(color):
        return f"linear-gradient(to right, {color} calc(100% - 3px), transparent 0)"

    assert new == [(0, end(tag), "NNP"), (1, chunk, "ORG"), (3, entity, "ORG")]
    assert york == [
        (0, end(tag), "NNP"),
        (1, end(chunk), ""),
        (2, chunk, "NP"),
        (3, end(entity), ""),
    ]
    assert grew == [(0, end(tag), "VBD"), (1, end(chunk), "VP"), (2, end(chunk), "")]


def test_relations_show_both_entities_what_is_between_them_and_the_direction():
    nlp = spacy.blank("en")
    doc = Doc(nlp.vocab, words=["Ann", "of", "Bonn", "or", "Rome"])
    set_relations(doc, [(doc[0:1], doc[2:3], "in", 1.0), (doc[4:5], doc[2:3], "near", 1.0)])
    found = bars(spacy_multitask.visualize(doc, jupyter=False))
    assert [[label for _, _, label in word] for word in found] == [
        ["in →"], [""], ["", "← near"], [""], [""],
    ]  # fmt: skip
    assert found[1] == [(0, BETWEEN, "")] and found[3] == [(1, BETWEEN, "")]
    assert BETWEEN not in found[2][0][1] and BETWEEN not in found[2][1][1]


def test_entities_that_share_words_are_drawn_with_their_relations():
    nlp = spacy.blank("en")
    doc = Doc(nlp.vocab, words=["Bank", "of", "New", "York"])
    set_relations(doc, [(doc[0:4], doc[2:4], "based_in", 1.0), (doc[2:4], doc[0:1], "x", 1.0)])
    found = bars(spacy_multitask.visualize(doc, jupyter=False))
    assert [label for _, _, label in found[0]] == ["based_in →", "← x"]


def test_many_topics_are_cut_and_it_says_so():
    nlp = spacy.blank("en")
    doc = Doc(nlp.vocab, words=["a"])
    doc.cats = {f"t{i}": i / 10 for i in range(10)}
    html = draw(doc, set(LAYERS))
    assert "t9" in html and "t1" not in html and "2 more" in html


def test_right_to_left():
    nlp = spacy.blank("ar")
    doc = Doc(nlp.vocab, words=["a", "b"], tags=["X", "Y"])
    html = spacy_multitask.visualize(doc, jupyter=False)
    assert "direction: rtl" in html and "to left" in html
