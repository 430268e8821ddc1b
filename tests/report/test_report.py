"""The page about a pipeline, and drawings of docs."""

import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
import spacy
from spacy.tokens import Doc, DocBin
from typer.testing import CliRunner

import spacy_multitask
from spacy_multitask.cli import app
from spacy_multitask.heads.relations import set_relations
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
        '{"step": 50, "losses": {"tagger": 1.0}, "scores": {"tag_acc": 0.8}}\n'
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
    assert "spans np f" not in text and "spans_np_f" in text
    assert "@import" not in text and "url(" not in text


def test_strings_from_data_are_escaped(page):
    text = page.read_text()
    assert "script" not in Tags(text).found
    assert "&lt;script&gt;" in text


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs Chromium")
def test_it_opens_in_a_browser(page, tmp_path):
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
         "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr",
         f"--screenshot={tmp_path / 'page.png'}", "--window-size=1200,2400", page.as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (tmp_path / "page.png").stat().st_size > 10_000, done.stderr[-500:]
    assert "CONSOLE" not in done.stderr


def test_drawing_all_layers(trained, tmp_path):
    doc = trained(Doc(trained.vocab, words=["Mr", "Smith", "loves", "New", "York"]))
    set_relations(doc, [(doc[1:2], doc[3:5], f"lives_in{EVIL}", 0.9)])
    html = spacy_multitask.visualize(doc, jupyter=False)
    for part in ("NNP", "PER", "VP", "lives_in", "Business", "Smith", "New York"):
        assert part in html, part
    assert "script" not in Tags(html).found
    only = spacy_multitask.visualize(doc, layers=["entities"], jupyter=False)
    assert "PER" in only and "NNP" not in only and "Business" not in only
    path = tmp_path / "docs.html"
    spacy_multitask.visualize([doc, trained("")], path=path)
    assert path.read_text().count('class="doc"') == 2
    with pytest.raises(ValueError, match="no layer parse"):
        spacy_multitask.visualize(doc, layers=["parse"])


def test_relations_of_entities_that_share_words_are_drawn():
    nlp = spacy.blank("en")
    doc = Doc(nlp.vocab, words=["Bank", "of", "New", "York"])
    set_relations(doc, [(doc[0:4], doc[2:4], "based_in", 1.0), (doc[2:4], doc[0:1], "x", 1.0)])
    assert "x" in spacy_multitask.visualize(doc, jupyter=False)
