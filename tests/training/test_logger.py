"""What a training says while it runs."""

import io
import re

import pytest
import spacy
import srsly
import torch
from spacy.training.initialize import init_nlp
from spacy.training.loop import train as spacy_train
from spacy.util import load_config

from spacy_multitask.training import loop
from spacy_multitask.training.logger import make_logger
from spacy_multitask.training.run import Past
from spacy_multitask.training.state import Diverged, check_weights
from tests.conftest import make_nlp
from tests.integration.conftest import project  # noqa: F401


def test_a_training_that_diverges_says_so_and_goes_on(encoder_path, tmp_path, caplog):
    nlp = make_nlp(encoder_path, ["tagger", "ner"])
    nlp.config["training"]["score_weights"] = {"tag_acc": 1.0}
    path = tmp_path / "log.jsonl"
    out = io.StringIO()
    log, close = make_logger(str(path), progress_bar=False, plan=False)(nlp, out)
    nan, inf = float("nan"), float("inf")
    for step, ner in enumerate([0.5, inf, nan, nan]):
        losses = {"tagger": 1.0, "ner": ner}
        score = nan if step == 3 else 0.5
        scores = {"tag_acc": score, "ents_f": None}
        info = {"epoch": 0, "step": step, "words": 9, "losses": losses, "score": score}
        log({**info, "other_scores": scores})
    close()
    lines = list(srsly.read_jsonl(path))
    assert [line["losses"]["ner"] for line in lines] == [0.5, None, None, None]
    assert [line["score"] for line in lines] == [0.5, 0.5, 0.5, None]
    assert lines[3]["scores"] == {"tag_acc": None}
    assert "nan" in out.getvalue().splitlines()[-1]
    (record,) = [r for r in caplog.records if "diverged" in r.message]
    assert "The loss of ner is no longer a number" in record.message
    assert "lower the learning rate" in record.message


@pytest.fixture
def diverging(project, tmp_path):  # noqa: F811
    config = load_config(project / "config.cfg")
    config["training"].update(max_steps=4, eval_frequency=2)
    config["training"]["optimizer"].update(learn_rate=1e30, head_learn_rate=1e30)
    config["training"]["logger"].update(
        plan=False, progress_bar=False, output_file=str(tmp_path / "log.jsonl")
    )
    (tmp_path / "out").mkdir()
    return config


def test_a_training_that_has_diverged_ends_and_saves_no_model(diverging, tmp_path):
    with pytest.raises(Diverged, match=r"In step 1 the loss of .*ner is nan.*Lower the learning"):
        loop.train(init_nlp(diverging), tmp_path / "out")
    lines = list(srsly.read_jsonl(tmp_path / "log.jsonl"))
    assert [line["step"] for line in lines] == [0]
    assert not (tmp_path / "out" / "model-last").exists()
    best = spacy.load(tmp_path / "out" / "model-best")  # of the evaluation after the first step
    check_weights(best)


def test_a_loss_that_is_no_number_is_named_with_the_batch(diverging, tmp_path, monkeypatch):
    diverging["training"]["optimizer"].update(learn_rate=0.0, head_learn_rate=0.0)
    update, steps = spacy.Language.update, iter(range(100))

    def spoil(self, examples, *, losses, **options):
        update(self, examples, losses=losses, **options)
        losses["ner"] += float("inf") if next(steps) == 3 else 0.0

    monkeypatch.setattr(spacy.Language, "update", spoil)
    with pytest.raises(Diverged) as error:
        loop.train(init_nlp(diverging), tmp_path / "out", checkpoint_steps=1)
    message = str(error.value)
    assert message.startswith("In step 3 the loss of ner is inf, so that the training can't go on.")
    assert re.search(r"look at the batch: (pos|chunk|ner|topic): '(Mr|IBM|The) ", message)
    assert not (tmp_path / "out" / "model-last").exists()
    assert Past(tmp_path / "out" / "checkpoint.safetensors").step == 2


def test_weights_that_are_no_numbers_are_not_saved(diverging, tmp_path, monkeypatch):
    """Those of the last step, which no loss tells of."""
    diverging["training"]["max_steps"] = 1
    monkeypatch.setattr(spacy.Language, "evaluate", lambda *_: {"tag_acc": 0.5})
    monkeypatch.setattr(loop.Run, "_check_losses", lambda *_: None)
    with pytest.raises(Diverged, match=r"Weights of '\w+' are no longer numbers"):
        loop.train(init_nlp(diverging), tmp_path / "out")
    assert not (tmp_path / "out" / "model-last").exists()


def test_where_spacy_fails_to_save_it_the_reason_is_told(diverging, tmp_path, caplog):
    with pytest.raises(OverflowError):
        spacy_train(init_nlp(diverging), tmp_path / "out")
    (record,) = [r for r in caplog.records if "training has diverged" in r.message]
    assert "ner" in record.message


def add_chunker(project, tmp_path, **training):  # noqa: F811
    """RETURNS (Config): A chunker is added to a pipeline with a tagger, from a corpus of chunks."""
    config = load_config(project / "config.cfg")
    init_nlp(config).to_disk(tmp_path / "shipped")
    for name in ("transformer", "tagger"):
        config["components"][name] = {"source": str(tmp_path / "shipped")}
    for name in ("ner", "textcat"):
        config["nlp"]["pipeline"].remove(name)
        del config["components"][name]
    for part in ("train", "dev"):
        corpora = config["corpora"][part]["corpora"]
        config["corpora"][part]["corpora"] = {"chunk": corpora["chunk"]}
    config["training"].update(max_epochs=3, eval_frequency=1, **training)
    config["training"]["score_weights"] = {"spans_np_f": 1.0}
    config["training"]["logger"].update(progress_bar=False)
    (tmp_path / "out").mkdir()
    return config


@pytest.mark.parametrize("plan", [True, False])
@pytest.mark.parametrize("frozen", [[], ["transformer", "tagger"]])
def test_a_head_that_the_others_spoil_is_named(project, tmp_path, caplog, plan, frozen):  # noqa: F811
    config = add_chunker(project, tmp_path, frozen_components=frozen)
    config["training"]["logger"]["plan"] = plan
    out = io.StringIO()
    spacy_train(init_nlp(config), tmp_path / "out", stdout=out)
    said = (out.getvalue() + caplog.text).count("has gold for tagger: while the encoder learns")
    assert said == (not frozen)


def test_a_score_that_is_not_there_is_named(encoder_path, caplog):
    nlp = make_nlp(encoder_path, ["tagger"])
    nlp.config["training"]["score_weights"] = {"tag_acc": 0.5, "worst_taks": 0.5, "ents_f": 0.0}
    log, close = make_logger(progress_bar=False, plan=False)(nlp, io.StringIO())
    for step in range(2):
        info = {"epoch": 0, "step": step, "losses": {"tagger": 1.0}, "score": 0.25}
        log({**info, "other_scores": {"tag_acc": 0.5, "ents_f": None}})
    close()
    (record,) = [r for r in caplog.records if "score_weights" in r.message]
    assert (
        "names worst_taks, and" in record.message and "The scores are: tag_acc." in record.message
    )


def test_heads_learn_on_a_pretrained_encoder_that_is_frozen(project, tmp_path):  # noqa: F811
    """spaCy does not initialise what is frozen."""
    config = load_config(project / "config.cfg")
    config["training"].update(frozen_components=["transformer"], max_epochs=30)
    (tmp_path / "out").mkdir()
    nlp = init_nlp(config)
    start = {n: p.clone() for n, p in nlp.get_pipe("transformer").shim.module.named_parameters()}
    spacy_train(nlp, tmp_path / "out", stdout=io.StringIO())
    trained = spacy.load(tmp_path / "out" / "model-last")
    for name, p in trained.get_pipe("transformer").shim.module.named_parameters():
        assert torch.equal(p, start[name]), name
    assert trained.meta["performance"]["tag_acc"] > 0.5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, ""),
        ({"dev": {"sample": 2}}, r"\[corpora.dev\] draws other docs of ner at each evaluation"),
        ({"dev": {"sample": 1.0}}, ""),
        ({"dev": {"sample": 1000}}, ""),
        ({"train": {"sample": 2}}, ""),
        ({"train": {"sample": 2}, "stock": True}, "draws other docs of ner for each epoch only"),
        ({"train": {"sample": 2}, "stock": True, "max_epochs": 1}, ""),
        ({"mixing": "uniform", "stock": True}, "for each epoch only with the batcher"),
        ({"mixing": "temperature", "temperature": 1.0, "stock": True}, ""),
        ({"shares": [3, 3, 3, 3], "stock": True}, "for each epoch only with the batcher"),
        ({"stock": True}, ""),
    ],
)
def test_draws_that_do_not_do_what_they_should_are_named(project, caplog, change, said):  # noqa: F811
    config = load_config(project / "config.cfg")
    train = config["corpora"]["train"]
    for part in ("train", "dev"):
        config["corpora"][part]["corpora"]["ner"].update(change.get(part, {}))
    train.update({k: v for k, v in change.items() if k in ("mixing", "temperature")})
    if "shares" in change:
        train["shares"] = dict(zip(train["corpora"], change["shares"], strict=True))
    config["training"]["max_epochs"] = change.get("max_epochs", 15)
    if change.get("stock"):
        config["training"]["batcher"] = {
            "@batchers": "spacy.batch_by_words.v1", "size": 100, "tolerance": 0.2,
            "discard_oversize": False, "get_length": None,
        }  # fmt: skip
    nlp = spacy.util.load_model_from_config(config, auto_fill=True)
    make_logger(plan=False)(nlp, io.StringIO())
    assert bool(caplog.text) == bool(said)
    assert re.search(said, caplog.text)
