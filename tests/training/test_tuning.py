"""A search for settings: what is searched, that it goes on, and that test parts are not read."""

import json

import pytest
from spacy.util import load_config

optuna = pytest.importorskip("optuna")

from spacy_multitask.training import tuning  # noqa: E402
from spacy_multitask.training.state import Diverged  # noqa: E402
from tests.integration.conftest import project  # noqa: F401, E402


@pytest.fixture
def path(project, tmp_path):  # noqa: F811
    config = load_config(project / "config.cfg", interpolate=False)
    config["training"].update(max_epochs=1, eval_frequency=2)
    config["training"]["logger"] = {"@loggers": "spacy_multitask.Logger.v1", "plan": False}
    config.to_disk(tmp_path / "config.cfg")
    return tmp_path / "config.cfg"


@pytest.fixture
def trained(monkeypatch):
    """Trainings that take no time: the score grows with the encoder's rate."""
    seen = []

    def train_once(config, trial, seed, use_gpu):
        known = config.interpolate()
        rate = known["training"]["optimizer"]["learn_rate"]["learn_rate"]
        seen.append({"seed": seed, "config": known})
        worst = min(1.0, 100 * rate)
        trial.set_user_attr("worst_task", worst)
        if len(seen) == 3:
            raise Diverged("its loss is nan")
        return worst

    monkeypatch.setattr(tuning, "train_once", train_once)
    return seen


def quiet(path, output, n, **options):
    return tuning.tune(path, output, n_trials=n, say=lambda line: None, **options)


def test_what_is_searched_lies_around_the_config(path):
    found = {s.name: s for s in tuning.settings_of(load_config(path).interpolate())}
    rate = found["training.optimizer.learn_rate.learn_rate"]
    assert rate.low < rate.value == 0.005 < rate.high
    words = found["training.batcher.max_words"]
    assert (words.low, words.value, words.high, words.whole) == (8, 25, 75, True)
    assert found["training.max_epochs"].low == 1
    weighted = [name for name in found if name.endswith("loss_weight")]
    assert len(weighted) == 3, "of four heads, the first is what the others are relative to"


def test_the_first_trial_is_the_config_and_the_best_is_written(path, tmp_path, trained):
    result = quiet(path, tmp_path / "out", 6)
    before = load_config(path, interpolate=False)
    assert trained[0]["config"]["training"]["optimizer"] == before.interpolate()["training"][
        "optimizer"
    ]  # fmt: skip
    seeds = [found["seed"] for found in trained]
    assert len(set(seeds)) == 6 and before.interpolate()["training"]["seed"] not in seeds
    best = max((t for t in result["trials"] if t["score"] is not None), key=lambda t: t["score"])
    assert result["best"] == best and best["score"] >= result["trials"][0]["score"]
    assert [t["score"] for t in result["trials"]].count(None) == 1, "one has diverged"
    written = load_config(tmp_path / "out" / "best.cfg", interpolate=False)
    name = "training.optimizer.learn_rate.learn_rate"
    assert written["training"]["optimizer"]["learn_rate"]["learn_rate"] == best["settings"][name]
    assert written["training"]["seed"] == before["training"]["seed"], "not that of a trial"
    assert written["corpora"] == before["corpora"] and written["paths"] == before["paths"]
    page = (tmp_path / "out" / "tuning.md").read_text()
    assert f"| {name} |" in page and "6 trials, of which 1 were given up" in page
    assert set(result["importance"]) == set(best["settings"])


def test_a_search_goes_on_where_it_was(path, tmp_path, trained):
    quiet(path, tmp_path / "out", 2)
    study = optuna.load_study(
        study_name="spacy_multitask", storage=f"sqlite:///{tmp_path / 'out' / 'study.db'}"
    )
    study.ask()  # a trial that is never told: the process died
    assert len(quiet(path, tmp_path / "out", 4)["trials"]) == 4
    assert len(trained) == 4
    assert len({json.dumps(found["config"]["training"], default=str) for found in trained}) >= 3
    quiet(path, tmp_path / "out", 4)
    assert len(trained) == 4, "nothing is left to do"
    config = load_config(path, interpolate=False)
    config["training"]["max_epochs"] = 7
    config.to_disk(path)
    with pytest.raises(ValueError, match=r"another config.*--overwrite"):
        quiet(path, tmp_path / "out", 5)
    assert len(quiet(path, tmp_path / "out", 1, overwrite=True)["trials"]) == 1


def test_a_trial_is_a_training_that_is_scored_on_the_development_part(path, tmp_path):
    # A test part would be found where the others are.
    corpus = load_config(path).interpolate()["paths"]["corpus"]
    for name in ("pos", "chunk", "ner", "topic"):
        (tmp_path / f"{name}-test.spacy").write_bytes(b"not to be read")
    lines = []
    result = tuning.tune(path, tmp_path / "out", n_trials=1, say=lines.append)
    (trial,) = result["trials"]
    assert 0 <= trial["worst_task"] <= trial["score"] <= 1
    assert lines == [
        f"Trial 1 of 1: score {100 * trial['score']:.2f}, "
        f"worst task {100 * trial['worst_task']:.2f}"
    ]
    assert corpus in (tmp_path / "out" / "best.cfg").read_text()
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert {"best.cfg", "study.db", "tuning.md"} <= names and len(names) <= 4, "no models"


def test_a_trial_whose_worst_task_is_below_the_others_is_given_up(path, tmp_path, monkeypatch):
    config = load_config(path, interpolate=False)
    told = iter([0.9, 0.9, 0.9, 0.9, 0.1])

    def fake_train(nlp, *args, **kwargs):
        make = nlp.config["training"]["logger"]["@loggers"]
        log, _ = tuning.registry.loggers.get(make)()(nlp)
        value = next(told)
        for step in (0, 1):
            scores = {"tag_acc": value, "ents_f": 0.95}
            log({"score": 0.9, "other_scores": scores, "step": step})

    def fake_init(config, use_gpu):
        known = config.interpolate()
        known["training"]["score_weights"] = {"tag_acc": 0.5, "ents_f": 0.5}
        return type("Nlp", (), {"config": known})

    monkeypatch.setattr(tuning, "train", fake_train)
    monkeypatch.setattr(tuning, "init_nlp", fake_init)
    assert config is not None
    trials = quiet(path, tmp_path / "out", 5)["trials"]
    assert [trial["score"] for trial in trials] == [0.9] * 4 + [None]
    assert trials[4]["worst_task"] == 0.1
