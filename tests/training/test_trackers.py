"""Trackers of spacy-loggers beside our logger: they are told of each task's loss, of weights and of
the plan."""

import io
import sys
from types import ModuleType, SimpleNamespace

import pytest
import spacy
from spacy.training.initialize import init_nlp
from spacy.training.loop import train as spacy_train
from spacy.util import load_config

from spacy_multitask.training import loop
from tests.integration.conftest import project  # noqa: F401

pytest.importorskip("spacy_loggers")


class Backend(ModuleType):
    """Stands in for wandb and for mlflow: keeps what it is told."""

    def __init__(self, name: str):
        super().__init__(name)
        self.told: dict[str, list] = {}
        self.params: dict[str, object] = {}
        self.n_runs = self.n_ends = 0
        self.models: list[str] = []
        self.spacy = SimpleNamespace(log_model=lambda nlp, name: self.models.append(name))

    def log(self, values):
        for name, value in values.items():
            self.told.setdefault(name, []).append(value)

    def log_metrics(self, values):
        assert all(isinstance(value, int | float) for value in values.values())
        self.log(values)

    def log_metric(self, name, value):
        self.log_metrics({name: value})

    def log_artifact(self, *args, **kwargs): ...

    def log_params(self, values):
        self.params.update(values)

    def init(self, *, config, **options):
        self.n_runs += 1
        self.params.update(config)
        return SimpleNamespace(id="run")

    def start_run(self, **options):
        self.n_runs += 1

    def join(self):
        self.n_ends += 1

    end_run = join


TRACKERS = {
    "wandb": {"@loggers": "spacy.WandbLogger.v5", "project_name": "multitask"},
    "mlflow": {"@loggers": "spacy.MLflowLogger.v2"},
}


@pytest.fixture(params=TRACKERS)
def backend(request, monkeypatch):
    module = Backend(request.param)
    monkeypatch.setitem(sys.modules, request.param, module)
    return module


@pytest.fixture
def config(project, backend, tmp_path):  # noqa: F811
    config = load_config(project / "config.cfg")
    config["training"].update(max_epochs=0, max_steps=4, eval_frequency=2)
    config["components"]["ner"]["balance"] = {
        "@misc": "spacy_multitask.uncertainty_weight.v1", "rate": 10.0
    }  # fmt: skip
    ours = {
        "@loggers": "spacy_multitask.Logger.v1",
        "progress_bar": False,
        "output_file": str(tmp_path / "log.jsonl"),
    }
    config["training"]["logger"] = {
        "@loggers": "spacy.ChainLogger.v1",
        "logger1": ours,
        "logger2": TRACKERS[backend.__name__],
    }
    return config


def check(told, n, heads=("tagger", "chunker", "ner", "textcat")):
    for head in heads:
        assert len(told[f"mean_loss/{head}"]) == n
        assert told[f"mean_loss/{head}"][-1] > 0
    assert told["loss_weight/ner"][0] == pytest.approx(1.0) and len(told["loss_weight/ner"]) == n
    assert len(told["score"]) == len(told["tag_acc"]) == n
    assert told["plan/steps"] == [4.0], "the plan is told once"
    assert any(name.startswith("plan/ner/") and name.endswith("/gold") for name in told)


def heads_of(config):
    return [name for name in config["nlp"]["pipeline"] if name != "transformer"]


def test_trackers_get_losses_scores_weights_and_the_plan(config, backend, tmp_path):
    out = io.StringIO()
    loop.train(init_nlp(config), tmp_path / "out", stdout=out, stderr=io.StringIO())
    check(backend.told, 3, heads_of(config))
    assert (backend.n_runs, backend.n_ends) == (1, 1)
    assert any("learn_rate" in str(name) or name == "training" for name in backend.params)
    assert "mean_loss" not in out.getvalue(), "our own log is as it was"
    meta = spacy.load(tmp_path / "out" / "model-best").meta["performance"]
    assert not any("mean_loss" in name for name in meta)


def test_spacy_train_tells_them_too(config, backend, tmp_path):
    (tmp_path / "out").mkdir()
    spacy_train(init_nlp(config), tmp_path / "out", stdout=io.StringIO(), stderr=io.StringIO())
    check(backend.told, 3, heads_of(config))


def test_a_tracker_alone_works(config, backend, tmp_path):
    config["training"]["logger"] = config["training"]["logger"]["logger2"]
    loop.train(init_nlp(config), tmp_path / "out", stdout=io.StringIO())
    assert len(backend.told["score"]) == 3 and "mean_loss/ner" not in backend.told


def test_a_training_that_goes_on_tells_of_the_past_once_more(config, backend, tmp_path):
    options = {"checkpoint_steps": 1, "stdout": io.StringIO(), "stderr": io.StringIO()}
    loop.train(init_nlp(config), tmp_path / "out", **options)
    first, lines = dict(backend.told), (tmp_path / "log.jsonl").read_text()
    backend.told = {}
    config["training"]["max_steps"] = 6
    loop.train(init_nlp(config), tmp_path / "out", resume=True, extend=True, **options)
    n = len(first["score"])
    assert backend.told["score"][: n - 1] == first["score"][: n - 1]
    assert backend.told["mean_loss/ner"][: n - 1] == first["mean_loss/ner"][: n - 1]
    again = (tmp_path / "log.jsonl").read_text()
    steps = [line.split('"step":')[1].split(",")[0] for line in again.splitlines()]
    assert steps == sorted(set(steps), key=int), "our own file has each step once"
    assert again.startswith(lines.splitlines()[0])
