"""What a training says while it runs."""

import io

import pytest
import srsly
from spacy.training.initialize import init_nlp
from spacy.training.loop import train as spacy_train
from spacy.util import load_config

from spacy_multitask.training import loop
from spacy_multitask.training.logger import make_logger
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


def test_a_model_that_has_diverged_is_saved(diverging, tmp_path, caplog):
    loop.train(init_nlp(diverging), tmp_path / "out")
    assert any("training has diverged" in record.message for record in caplog.records)
    lines = list(srsly.read_jsonl(tmp_path / "log.jsonl"))
    assert [line["step"] for line in lines] == [0, 2, 4]
    assert lines[-1]["losses"]["ner"] is None
    meta = srsly.read_json(tmp_path / "out" / "model-last" / "meta.json")
    assert meta["performance"]["ner_loss"] is None


def test_where_spacy_fails_to_save_it_the_reason_is_told(diverging, tmp_path, caplog):
    with pytest.raises(OverflowError):
        spacy_train(init_nlp(diverging), tmp_path / "out")
    (record,) = [r for r in caplog.records if "training has diverged" in r.message]
    assert "ner" in record.message
