"""The plan of a training says as many steps as the training takes."""

import io
import random
import re
from pathlib import Path

import pytest
import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.training.initialize import init_nlp
from spacy.training.loop import train as spacy_train
from spacy.util import load_config
from thinc.api import Config

from spacy_multitask.training import loop, step_count
from spacy_multitask.training.forecast import describe_training

ROOT = Path(__file__).parents[2]
TAGGER = {
    "factory": "tagger",
    "model": {
        "@architectures": "spacy.Tagger.v2",
        "tok2vec": {
            "@architectures": "spacy.HashEmbedCNN.v2",
            "width": 8,
            "depth": 1,
            "embed_size": 20,
            "window_size": 1,
            "maxout_pieces": 2,
            "subword_features": False,
            "pretrained_vectors": None,
        },
    },
}


@pytest.fixture
def config(tmp_path) -> Config:
    """RETURNS (Config): A small tagger of spaCy's, on two corpora with docs of many lengths."""
    vocab, lengths = spacy.blank("en").vocab, random.Random(1)
    for name, n_docs in (("a", 57), ("b", 11)):
        words = [["w"] * lengths.randint(1, 30) for _ in range(n_docs)]
        docs = [Doc(vocab, words=w, tags=["A", *["B"] * (len(w) - 1)]) for w in words]
        for part in ("train", "dev"):
            DocBin(docs=docs if part == "train" else docs[:3]).to_disk(
                tmp_path / f"{name}-{part}.spacy"
            )
    config = load_config(ROOT / "configs" / "demo.cfg")
    config["nlp"]["pipeline"], config["components"] = ["tagger"], {"tagger": TAGGER}
    for part in ("train", "dev"):
        paths = {name: {"path": str(tmp_path / f"{name}-{part}.spacy")} for name in "ab"}
        config["corpora"][part].update(corpora=paths, leaks="ignore")
    config["training"].update(max_epochs=3, eval_frequency=100, score_weights={"tag_acc": 1.0})
    config["training"]["batcher"]["max_words"] = 60
    config["training"]["logger"]["progress_bar"] = False
    (tmp_path / "out").mkdir()
    return config


def plain(config):
    pass


def of_few_docs(config):
    config["training"]["batcher"].update(max_words=10_000, max_docs=7)


def drawn(config):
    config["corpora"]["train"]["corpora"]["a"]["sample"] = 20
    config["training"]["max_epochs"] = 5


def evenly_mixed(config):
    config["corpora"]["train"].update(mixing="uniform", seed=3)


def limited(config):
    config["corpora"]["train"]["corpora"]["a"].update(limit=30, max_length=20)


def ended_by_steps(config):
    config["training"]["max_steps"] = 25


def of_steps_alone(config):
    config["training"].update(max_epochs=0, max_steps=40)


def of_other_steps_than_the_seeds(config):
    config["training"]["seed"] = None
    random.seed(17)


@pytest.mark.parametrize("train", [spacy_train, loop.train], ids=["stock", "own"])
@pytest.mark.parametrize(
    "change",
    [
        plain,
        of_few_docs,
        drawn,
        evenly_mixed,
        limited,
        ended_by_steps,
        of_steps_alone,
        of_other_steps_than_the_seeds,
    ],
)
def test_the_plan_has_the_steps_that_are_taken(config, tmp_path, monkeypatch, change, train):
    change(config)
    nlp = init_nlp(config)
    update, taken = Language.update, []
    monkeypatch.setattr(
        Language, "update", lambda self, *args, **kw: (taken.append(1), update(self, *args, **kw))
    )
    stdout = io.StringIO()
    train(nlp, tmp_path / "out", stdout=stdout)
    (planned,) = re.findall(r"^(\d+) steps\.", stdout.getvalue(), re.MULTILINE)
    assert int(planned) == len(taken) > 5


def said_of_steps(config, **training) -> str:
    """RETURNS (str): Such as "About 30 steps."."""
    nlp = init_nlp(config)
    nlp.config["training"].update(training)
    return re.match(r".*? steps\.", describe_training(nlp)[1])[0]


def test_where_the_order_can_not_be_foreseen_the_plan_says_about(config):
    assert not said_of_steps(config).startswith("About")
    callback = {"@callbacks": "of_someone"}
    assert said_of_steps(config, before_update=callback).startswith("About")
    config["corpora"]["train"]["corpora"]["a"]["gold_tokens"] = False
    assert said_of_steps(config).startswith("About")


def test_of_very_many_docs_the_steps_are_estimated(config, monkeypatch):
    exact = said_of_steps(config)
    monkeypatch.setattr(step_count, "MAX_COUNTED", 60)
    about = said_of_steps(config)
    assert about.startswith("About")
    assert int(about.split()[1]) == pytest.approx(int(exact.split()[0]), rel=0.1)


def test_a_plan_changes_nothing_in_what_is_drawn(nlp, config):
    nlp.config["corpora"], nlp.config["training"] = config["corpora"], config["training"]
    before = random.getstate(), torch.get_rng_state()
    assert "GiB" in describe_training(nlp)[1], "it has measured the speed"
    assert random.getstate() == before[0] and torch.equal(torch.get_rng_state(), before[1])
