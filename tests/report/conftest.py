"""A report on a tiny pipeline, and what reads HTML."""

from html.parser import HTMLParser
from pathlib import Path

import pytest
from spacy.tokens import DocBin
from typer.testing import CliRunner

from spacy_multitask.cli import app
from tests.conftest import corpus, example

EVIL = "</script><script>alert(1)</script>"
LOG = (
    '{"step": 0, "seconds": 1.0, "losses": {"tagger": 3.0}, "scores": {"tag_acc": 0.1}}\n'
    '{"step": 50, "seconds": 30.0, "losses": {"tagger": 1.0}, "scores": {"tag_acc": 0.8},'
    ' "weights": {"tagger": 1.5}}\n'
)


class Tags(HTMLParser):
    """Tags of a page, what it would load, and its text without scripts."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)
        self.links += [
            v for k, v in attrs if k in ("src", "href") and not (v or "").startswith("#")
        ]
        self.ids += [v for k, v in attrs if k == "id"]

    def handle_data(self, data):
        if self.lasttag not in ("script", "style"):
            self.text += data


@pytest.fixture(scope="session")
def report_folder(trained, tmp_path_factory) -> Path:
    """RETURNS (Path): A folder with `model`, `test.spacy`, `log.jsonl` and `report.html`."""
    folder = tmp_path_factory.mktemp("report")
    docs = [eg.reference for eg in corpus(trained)]
    # One doc that the pipeline gets wrong, with strings that must not become markup.
    wrong = example(
        trained, ["Mr", EVIL], tags=[EVIL, "NNP"], ents=[(0, 2, EVIL)], cats={EVIL: 1.0}
    )
    DocBin(docs=[*docs, wrong.reference]).to_disk(folder / "test.spacy")
    trained.to_disk(folder / "model")
    (folder / "log.jsonl").write_text(LOG)
    write_report(
        folder, "report.html", "--log", folder / "log.jsonl", "--baseline", folder / "model"
    )
    return folder


def write_report(folder: Path, name: str, *options) -> Path:
    out = folder / name
    arguments = ["report", folder / "model", out, "-c", f"all={folder / 'test.spacy'}", *options]
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    return out
