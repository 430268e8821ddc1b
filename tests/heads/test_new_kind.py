"""A new kind of head in one file goes through all commands; see `regression_head.py`."""

import json

import pytest
import spacy
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from spacy.util import load_config
from typer.testing import CliRunner

import spacy_multitask
from spacy_multitask.cli import app
from spacy_multitask.composing.config import compose
from spacy_multitask.heads.kinds import all_kinds, is_task_score, score_named
from tests.heads.regression_head import KEY, KIND
from tests.integration.conftest import write_corpora

SENTENCES = ["Mr Smith loves New York", "IBM made a lot of profit", "The old town"]


def timed(vocab, text):
    """RETURNS (Doc): Longer words take longer."""
    words = text.split()
    return Doc(vocab, words=words, user_data={KEY: [float(len(word)) for word in words]})


def run(*arguments):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def project(tmp_path_factory, encoder_path):
    """RETURNS (Path): Corpora, what `init-config` has written for them, and a trained pipeline."""
    folder = tmp_path_factory.mktemp("reading")
    write_corpora(folder)
    docs = [timed(spacy.blank("en").vocab, text) for text in SENTENCES]
    for part, times in (("train", 12), ("dev", 1)):
        bin = DocBin(docs=docs * times, store_user_data=True)
        bin.to_disk(folder / f"times-{part}.spacy")
    tasks = [f"pos:tagger={folder / 'pos'}", f"times:reading={folder / 'times'}"]
    options = [word for task in tasks for word in ("--task", task)]
    rest = ["--epochs", 8, "--batch-words", 60, "--encoder", encoder_path, *options]
    (folder / "plan.txt").write_text(run("init-config", folder / "config.cfg", *rest))
    config = load_config(folder / "config.cfg", interpolate=False)
    config["components"]["transformer"]["model"]["overlap"] = 8
    config["paths"]["log"] = str(folder / "log.jsonl")
    config.to_disk(folder / "config.cfg")
    spacy_multitask.train(config, folder / "out")
    return folder


def test_it_is_known_once_its_file_is_imported():
    assert KIND in all_kinds()
    assert is_task_score("reading_r2") and is_task_score("wire/x_reading_r2")
    assert score_named("reading_r2").kind is KIND


def test_init_config_writes_it_and_counts_its_gold(project):
    config = load_config(project / "config.cfg", interpolate=False)
    assert config["nlp"]["pipeline"] == ["transformer", "pos", "times"]
    own = {"factory": "reading_times", "scale": 10.0, "loss_weight": 0.5}
    assert config["components"]["times"] == own
    assert config["training"]["score_weights"]["reading_r2"] == 0.5
    assert "168 timed words" in (project / "plan.txt").read_text()


def test_init_config_says_what_it_learns_from(project, encoder_path):
    with pytest.raises(ValueError, match=r'a reading, which learns from doc.user_data\["reading_t'):
        compose(encoder_path, {"times": ("reading", project / "pos")})
    with pytest.raises(ValueError, match=r"can have one reading only\. Leave out 'b'"):
        compose(encoder_path, dict.fromkeys("ab", ("reading", project / "times")))


def test_it_trains_beside_others_and_is_saved(project):
    lines = [json.loads(line) for line in (project / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["losses"]["times"] < lines[0]["losses"]["times"]
    nlp = spacy.load(project / "out" / "model-last")
    doc = nlp("IBM made a lot of profit")
    assert len(doc.user_data[KEY]) == len(doc) and doc[0].tag_


def test_a_doc_without_its_gold_is_unknown(project):
    nlp = spacy.load(project / "out" / "model-last")
    unknown = nlp.make_doc("The old town")
    losses = nlp.update([Example(unknown, unknown.copy())])
    assert losses["times"] == 0.0
    assert nlp.get_pipe("times").score([Example(unknown, unknown.copy())])["reading_r2"] is None


def test_evaluate_has_a_row_for_it(project):
    corpora = [
        "-c",
        f"times={project / 'times-dev.spacy'}",
        "-c",
        f"pos={project / 'pos-dev.spacy'}",
    ]
    printed = run("evaluate", project / "out" / "model-last", *corpora, "-o", project / "x.json")
    assert "reading_r2" in printed and "tag_acc" in printed
    scores = json.loads((project / "x.json").read_text())
    assert -5 < scores["times"]["reading_r2"] <= 1
    assert scores["times"]["intervals"] == {}, "a part of a variance is no count"
    assert "reading_r2" not in scores["pos"]


def test_compare_trains_it_alone_and_with_others(project):
    out = project / "compare.json"
    arguments = ["--epochs", 1, "--runs", "alone", "--runs", "all", "--output", out]
    run("compare", project / "config.cfg", *arguments)
    result = json.loads(out.read_text())
    assert result["runs"]["alone: times"]["corpora"] == ["times"]
    assert result["scores"]["all"]["times on times"]["score"] == "reading_r2"
    effects = [e for e in result["effects"] if e["task"] == "times on times"]
    # With two tasks the one is what is left without the other.
    assert [e["with"] for e in effects] == ["all others", "pos"]
    assert not any("verdict" in e for e in effects), "there are no counts to draw from"


def test_report_shows_its_score_and_its_curve(project):
    page = project / "report.html"
    corpus = f"times={project / 'times-dev.spacy'}"
    run(
        "report", project / "out" / "model-last", page, "-c", corpus, "--log", project / "log.jsonl"
    )
    text = page.read_text()
    assert text.count("reading_r2") > 1, "in the table and among the curves"
