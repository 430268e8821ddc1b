"""The page about a pipeline, and drawings of docs."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from types import ModuleType

import pytest
import spacy
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example
from typer.testing import CliRunner

import spacy_multitask
from spacy_multitask.cli import app
from spacy_multitask.relations import set_relations
from spacy_multitask.report.page import _curves, _mistakes, known_layers
from spacy_multitask.report.visualize import BETWEEN, COLORS, ENTITY_COLORS, LAYERS, draw
from tests.conftest import corpus, example

EVIL = "<script>alert(1)</script>"


class Tags(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.found: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)
        self.links += [
            v for k, v in attrs if k in ("src", "href") and not (v or "").startswith("#")
        ]


@pytest.fixture(scope="module")
def page(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    docs = [eg.reference for eg in corpus(trained)]
    # One doc that the pipeline gets wrong, with strings that must not become markup.
    wrong = example(
        trained, ["Mr", EVIL], tags=[EVIL, "NNP"], ents=[(0, 2, EVIL)], cats={EVIL: 1.0}
    )
    DocBin(docs=[*docs, wrong.reference]).to_disk(folder / "test.spacy")
    trained.to_disk(folder / "model")
    log = folder / "log.jsonl"
    log.write_text(
        '{"step": 0, "losses": {"tagger": 3.0}, "scores": {"tag_acc": 0.1}}\n'
        '{"step": 50, "losses": {"tagger": 1.0}, "scores": {"tag_acc": 0.8},'
        ' "weights": {"tagger": 1.5}}\n'
    )
    out = folder / "report.html"
    arguments = ["report", str(folder / "model"), str(out), "-c", f"all={folder / 'test.spacy'}"]
    done = CliRunner().invoke(app, [*arguments, "--log", str(log)])
    assert done.exit_code == 0, done.output
    return out


def test_the_page_holds_every_part_and_needs_nothing_else(page):
    text = page.read_text()
    sections = re.findall(r'<section id="(\w+)"', text)
    assert sections == ["scores", "training", "confusion", "calibration", "mistakes", "size"]
    tags = Tags(text)
    assert tags.links == [] and "link" not in tags.found
    for curve in ("Mean loss per step", "Scores on dev, percent", "Loss weights"):
        assert curve in text
    assert re.search(r"<summary>all: tag_acc</summary>", text), "scores per label"
    assert "spans np f" not in text and "spans_np_f" in text
    assert "@import" not in text and "url(" not in text


def test_as_many_mistakes_are_marked_as_are_counted():
    vocab = spacy.blank("en").vocab
    words = ["It", "rains", "here"]
    gold = Doc(vocab, words=words, tags=["PRP", "VBZ", "RB"], pos=["PRON", "VERB", "ADV"])
    own = Doc(vocab, words=words, tags=["PRP", "NNS", "NN"], pos=["PRON", "NOUN", "NOUN"])
    (found,) = _mistakes("x", [Example(own, gold)], dict.fromkeys(["tag_acc", "pos_acc"]))
    # Each label is there twice, the second time to make room.
    assert (found["wrong"], found["gold"].count("✗"), found["predicted"].count("✗")) == (2, 4, 4)
    (found,) = _mistakes("x", [Example(own, gold)], {"pos_acc": None})
    assert found["wrong"] == 2
    assert _mistakes("x", [Example(gold.copy(), gold)], {"tag_acc": None}) == []


def test_curves_leave_out_what_is_no_number(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text(
        '{"step": 0, "losses": {"ner": 3.0, "tagger": 1.0}, "scores": {"ents_f": null}}\n'
        '{"step": 5, "losses": {"ner": null, "tagger": NaN}, "scores": null}\n\n'
        '{"step": 9, "losses": {"ner": Infinity, "tagger": 0.5}}\n'
    )
    (losses,) = _curves(log)
    assert losses["title"] == "Mean loss per step"
    assert losses["svg"].count("<circle") == 3
    assert "nan" not in losses["svg"] and "inf" not in losses["svg"]


@pytest.mark.parametrize("line", ['{"losses": {}}', '{"step": null}', "[1]", '{"step": 7, "los'])
def test_a_line_that_is_not_of_a_log_is_named(tmp_path, line):
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 0, "losses": {"ner": 3.0}}\n' + line)
    with pytest.raises(ValueError, match=r"log\.jsonl:2: .* is not a line of a training log"):
        _curves(log)


def test_strings_from_data_are_escaped(page):
    text = page.read_text()
    assert "script" not in Tags(text).found
    assert "&lt;script&gt;" in text


@pytest.mark.skipif(not shutil.which("chromium"), reason="Chromium is not installed")
def test_it_opens_in_a_browser_without_a_complaint_or_a_request(page, tmp_path):
    """A page with an error or an image from elsewhere fails this."""
    picture, requests = tmp_path / "page.png", tmp_path / "net.json"
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
         "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr",
         f"--log-net-log={requests}", f"--screenshot={picture}", "--window-size=1200,2400",
         page.as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert picture.stat().st_size > 10_000, done.stderr[-500:]
    assert "CONSOLE" not in done.stderr
    hosts = set(re.findall(r'"url":"(?:https?|wss?)://([^/"]+)', requests.read_text()))
    # The browser asks its makers for updates and the time, whatever it shows.
    assert not {h for h in hosts if not h.endswith((".googleapis.com", ".google.com"))}


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


def test_layers_that_are_known_to_be_empty_are_compared_too():
    nlp = spacy.blank("en")
    doc = Doc(nlp.vocab, words=["It", "rains"])
    assert known_layers(doc) == set()
    doc.ents, doc.spans["np"] = [], []
    set_relations(doc, [])
    assert known_layers(doc) == {"entities", "chunks", "relations"}


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


def test_what_two_docs_do_not_share_is_marked():
    nlp = spacy.blank("en")
    gold = Doc(nlp.vocab, words=["It", "rains"], tags=["PRP", "VBZ"])
    own = Doc(nlp.vocab, words=["It", "rains"], tags=["PRP", "NNS"])
    plain, marked = bars(draw(own, {"tags"}, other=gold))
    assert plain[0][2] == "PRP" and "✗ NNS" in marked[0][2]
    assert "✗" not in draw(own, {"tags"})


def test_long_docs_and_many_topics_are_cut_and_say_so():
    nlp = spacy.blank("en")
    doc = Doc(nlp.vocab, words=["a"] * 10, tags=["DT"] * 10)
    doc.cats = {f"t{i}": i / 10 for i in range(10)}
    html = draw(doc, set(LAYERS), limit=4)
    assert html.count("DT</span><span") == 4 and "6 more words" in html
    assert "t9" in html and "t1" not in html and "2 more" in html


def test_right_to_left():
    nlp = spacy.blank("ar")
    doc = Doc(nlp.vocab, words=["a", "b"], tags=["X", "Y"])
    html = spacy_multitask.visualize(doc, jupyter=False)
    assert "direction: rtl" in html and "to left" in html
