"""Training with checkpoints: the same as spaCy's, and how it goes on."""

import json
import resource
from pathlib import Path

import pytest
import spacy
from safetensors.torch import load_file
from spacy.tokens import DocBin
from spacy.training.initialize import init_nlp
from spacy.training.loop import train as spacy_train
from spacy.util import load_config, registry
from thinc.api import Config

from spacy_multitask.safe_files import SavingError
from spacy_multitask.training import loop, run, sameness
from spacy_multitask.training.from_python import train
from tests.conftest import PARSER_MODEL, write_encoder
from tests.integration.conftest import write_corpora
from tests.training.test_craft_options import OPTIONS

ROOT = Path(__file__).parents[2]
LAST = 6  # the last step


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("loop")
    write_corpora(folder / "corpus")
    write_encoder(folder / "encoder", dropout=0.1)
    return folder


@pytest.fixture
def config(folder) -> Config:
    config = load_config(ROOT / "configs" / "demo.cfg", interpolate=False)
    config["paths"]["encoder"] = str(folder / "encoder")
    config["paths"]["corpus"] = str(folder / "corpus")
    config["components"]["transformer"]["model"]["overlap"] = 8
    training = config["training"]
    training["batcher"]["max_words"] = 25
    training["max_steps"], training["eval_frequency"] = LAST, 3
    training["logger"]["progress_bar"] = False
    training["logger"]["plan"] = False
    return config


def add_parser(config: Config) -> None:
    """A component of spaCy's own that draws from two generators and keeps gradients of zero."""
    config["nlp"]["pipeline"].append("parser")
    config["components"]["parser"] = {
        "factory": "parser",
        "model": PARSER_MODEL,
        "update_with_oracle_cut_size": 2,
    }
    ud = {"path": "${paths.corpus}/ud-train.spacy"}
    config["corpora"]["train"]["corpora"]["ud"] = ud


class Interrupted(BaseException):
    pass


def interrupt_after(monkeypatch, step: int) -> None:
    save = run.Run.save

    def save_and_stop(self, path, logger):
        save(self, path, logger)
        if self.step == step:
            raise Interrupted

    monkeypatch.setattr(run.Run, "save", save_and_stop)


def train_in_two_parts(config, output, monkeypatch, *, step: int) -> None:
    with monkeypatch.context() as patch:
        interrupt_after(patch, step)
        with pytest.raises(Interrupted):
            train(config, output, checkpoint_steps=1)
    train(config, output, checkpoint_steps=1, resume=True)


def tensors(output: Path) -> dict:
    tensors = load_file(output / "checkpoint.safetensors")
    del tensors["notes"]
    return tensors


def assert_same_state(a: Path, b: Path) -> None:
    one, other = tensors(a), tensors(b)
    assert set(one) == set(other)
    assert [name for name in one if not one[name].equal(other[name])] == []


def contents(folder: Path) -> dict[str, bytes]:
    files = {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    return {str(p.relative_to(folder)): data for p, data in files.items()}


def test_training_gives_what_spacys_own_gives(config, tmp_path):
    (tmp_path / "spacy").mkdir()
    spacy_train(init_nlp(config), tmp_path / "spacy")
    train(config, tmp_path / "ours")
    for model in ("model-last", "model-best"):
        theirs, ours = contents(tmp_path / "spacy" / model), contents(tmp_path / "ours" / model)
        performances = [
            json.loads(files.pop("meta.json"))["performance"] for files in (theirs, ours)
        ]
        assert ours == theirs
        assert performances[0] == performances[1]


def score_in_turn(monkeypatch, *scores):
    found = iter(scores)
    monkeypatch.setattr(
        loop,
        "create_evaluation_callback",
        lambda *_: lambda: ((score := next(found)), {"tag_acc": score}),
    )


def test_the_last_step_is_looked_at(config, tmp_path, monkeypatch):
    config["training"]["eval_frequency"] = 100
    config["training"]["logger"]["output_file"] = str(tmp_path / "log.jsonl")
    score_in_turn(monkeypatch, 0.1, 0.9)
    train(config, tmp_path / "out")
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(line["step"], line["score"]) for line in lines] == [(0, 0.1), (LAST, 0.9)]
    best, last = (contents(tmp_path / "out" / name) for name in ("model-best", "model-last"))
    assert best == last
    assert json.loads(best["meta.json"])["performance"]["tag_acc"] == 0.9


def test_the_last_step_is_looked_at_after_an_interruption_just_before(
    config, tmp_path, monkeypatch
):
    config["training"]["eval_frequency"] = 100
    train_in_two_parts(config, tmp_path / "out", monkeypatch, step=LAST)
    train(config, tmp_path / "in_one")
    for model in ("model-best", "model-last"):
        assert contents(tmp_path / "out" / model) == contents(tmp_path / "in_one" / model)


def test_an_end_that_is_worse_is_not_the_best(config, tmp_path, monkeypatch):
    config["training"]["eval_frequency"] = 100
    score_in_turn(monkeypatch, 0.9, 0.1)
    train(config, tmp_path / "out")
    best, last = (contents(tmp_path / "out" / name) for name in ("model-best", "model-last"))
    assert best != last


def test_spacys_training_warns_that_its_end_is_not_looked_at(config, tmp_path, caplog):
    for frequency, n_warnings in ((LAST, 0), (100, 1)):
        config["training"]["max_steps"] = 0
        config["training"]["eval_frequency"] = frequency
        config["training"]["max_epochs"] = 2
        caplog.clear()
        spacy_train(init_nlp(config), tmp_path)
        assert sum("before training" in r.getMessage() for r in caplog.records) == n_warnings


def adamw(config):
    pass


def adamw_beside_a_parser(config):
    add_parser(config)


def every_option_of_the_craft(config):
    """Learned loss weights, samples drawn anew in each epoch, averages."""
    for name, options in OPTIONS.items():
        section = config
        for part in name.split("."):
            section = section[part]
        section.update(options)


def thincs_adam(config):
    add_parser(config)
    config["training"]["optimizer"] = {"@optimizers": "Adam.v1", "learn_rate": 0.001}


def thincs_radam(config):
    config["training"]["optimizer"] = {
        "@optimizers": "RAdam.v1",
        "learn_rate": {
            "@schedules": "compounding.v1",
            "start": 1e-3,
            "stop": 1e-2,
            "compound": 1.1,
        },
    }


def a_stream(config):
    config["training"]["max_epochs"] = -1
    config["corpora"]["train"]["mixing"] = "uniform"


def learned_weights_on_draws(config):
    """Epochs of a few steps, each with other docs than the one before."""
    components = config["components"]
    components["tagger"]["balance"] = {"@misc": "spacy_multitask.uncertainty_weight.v1"}
    components["ner"]["crf"] = True
    for corpus in config["corpora"]["train"]["corpora"].values():
        corpus["sample"] = 2
    config["training"]["optimizer"]["use_averages"] = True


def a_corpus_of_spacys_own(config):
    """Augmented anew in each pass, with batch sizes that grow."""
    config["training"]["max_epochs"] = -1
    config["nlp"]["pipeline"] = ["transformer", "tagger"]
    for name in ("chunker", "ner", "textcat"):
        del config["components"][name]
    config["corpora"]["train"] = {
        "@readers": "spacy.Corpus.v1",
        "path": "${paths.corpus}/pos-train.spacy",
        "augmenter": {"@augmenters": "spacy.lower_case.v1", "level": 0.5},
    }
    config["training"]["batcher"] = {
        "@batchers": "spacy.batch_by_sequence.v1",
        "size": {"@schedules": "compounding.v1", "start": 2, "stop": 8, "compound": 1.3},
    }
    config["training"]["score_weights"] = {"tag_acc": 1.0}


@pytest.mark.parametrize(
    ("change", "step"),
    [
        (adamw, 1),
        (adamw, 3),  # just after an evaluation
        (adamw_beside_a_parser, 1),
        (every_option_of_the_craft, 5),
        (thincs_adam, 1),
        (thincs_radam, 1),
        (a_stream, 1),
        (learned_weights_on_draws, 4),
        (a_corpus_of_spacys_own, 1),
    ],
)
def test_a_training_in_two_parts_ends_as_one_in_one(change, step, config, tmp_path, monkeypatch):
    change(config)
    train(config, tmp_path / "one", checkpoint_steps=1)
    train_in_two_parts(config, tmp_path / "two", monkeypatch, step=step)
    assert_same_state(tmp_path / "one", tmp_path / "two")


def test_a_training_that_was_done_is_done_at_once(config, tmp_path, monkeypatch):
    train(config, tmp_path)
    before = contents(tmp_path)
    monkeypatch.setattr(spacy.Language, "update", None)
    train(config, tmp_path, resume=True)
    assert contents(tmp_path) == before


def test_a_training_that_no_task_gained_from_stays_at_its_end(config, tmp_path, monkeypatch):
    training = config["training"]
    training["logger"]["patience"] = 1
    training["max_steps"], training["eval_frequency"] = 100, 1
    training["optimizer"].update(learn_rate=0.0, head_learn_rate=0.0)
    interrupt_after(monkeypatch, 1)  # the second evaluation, which is no better than the first
    with pytest.raises(Interrupted):
        train(config, tmp_path, checkpoint_steps=1)
    monkeypatch.setattr(spacy.Language, "update", None)
    train(config, tmp_path, resume=True)


def test_a_training_that_is_overwritten_begins_anew(config, tmp_path):
    (tmp_path / "model-best").mkdir()
    (tmp_path / "model-best" / "older").write_text("of another training")
    (tmp_path / "checkpoint.safetensors").write_text("not looked at")
    config["training"]["max_steps"] = 1
    train(config, tmp_path, overwrite=True)
    assert not (tmp_path / "model-best" / "older").exists()
    assert notes_of(tmp_path)["step"] == 1


def notes_of(output: Path) -> dict:
    notes = load_file(output / "checkpoint.safetensors")["notes"]
    return json.loads(notes.numpy().tobytes())


def test_other_loggers_are_told_of_the_past_once_more(config, tmp_path, monkeypatch):
    heard: list = []

    @registry.loggers("test_other_loggers")
    def make_listener():
        def setup(nlp, stdout, stderr):
            return (lambda info: heard.append(info and note(info))), (lambda: None)

        return setup

    def note(info):
        return info["step"], info["words"], info["score"], dict(info["losses"])

    config["training"]["logger"] = {"@loggers": "test_other_loggers"}
    train(config, tmp_path / "one")
    one = heard.copy()
    heard.clear()
    interrupt_after(monkeypatch, 3)
    with pytest.raises(Interrupted):
        train(config, tmp_path / "two", checkpoint_steps=1)
    heard.clear()
    train(config, tmp_path / "two", resume=True)
    assert len(one) == LAST + 1
    assert heard == one


# What can't be resumed


@pytest.fixture
def interrupted(config, tmp_path, monkeypatch) -> Path:
    """RETURNS (Path): Output of a training that was interrupted after step 3."""
    with monkeypatch.context() as patch:
        interrupt_after(patch, 3)
        with pytest.raises(Interrupted):
            train(config, tmp_path / "output", checkpoint_steps=3)
    return tmp_path / "output"


def test_another_config_is_refused(config, interrupted):
    config["training"]["dropout"] = 0.5
    with pytest.raises(ValueError, match=r"training\.dropout was 0\.1 and is 0\.5"):
        train(config, interrupted, resume=True)


def test_another_kind_of_device_is_refused(config, interrupted, monkeypatch):
    now = {**sameness.environment(), "device": "cuda:0"}
    monkeypatch.setattr(sameness, "environment", lambda: now)
    with pytest.raises(ValueError, match=r"written on cpu, and can't go on on cuda:0"):
        train(config, interrupted, resume=True)


def test_paths_and_the_log_may_change(config, interrupted, folder, tmp_path):
    (tmp_path / "moved").symlink_to(folder / "corpus")
    config["paths"]["corpus"] = str(tmp_path / "moved")
    config["training"]["logger"]["output_file"] = str(tmp_path / "log.jsonl")
    train(config, interrupted, resume=True)
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").open()] == [6]


def test_other_corpora_are_refused(config, interrupted, tmp_path):
    write_corpora(tmp_path / "other")
    file = tmp_path / "other" / "pos-train.spacy"
    docs = list(DocBin().from_disk(file).get_docs(spacy.blank("en").vocab))
    DocBin(docs=docs[:-1]).to_disk(file)
    config["paths"]["corpus"] = str(tmp_path / "other")
    with pytest.raises(ValueError, match="the training part of 'pos' is not what it was"):
        train(config, interrupted, resume=True)


@pytest.mark.parametrize("how", ["cut off", "changed", "no checkpoint"])
def test_a_damaged_checkpoint_is_named(how, config, interrupted):
    file = interrupted / "checkpoint.safetensors"
    data = bytearray(file.read_bytes())
    if how == "changed":
        data[-100] ^= 1
    file.write_bytes({"cut off": data[:-100], "changed": data, "no checkpoint": b"nothing"}[how])
    models = contents(interrupted / "model-best")
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors"):
        train(config, interrupted, resume=True)
    assert contents(interrupted / "model-best") == models


def test_a_full_disk_leaves_the_last_good_files(config, interrupted):
    before = contents(interrupted)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # As on a full disk, writing fails in the middle of a file.
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
    try:
        with pytest.raises(SavingError, match=r"Can't save .*/model-(best|last).*: File too large"):
            train(config, interrupted, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert contents(interrupted) == before
    train(config, interrupted, resume=True)


def test_a_full_disk_leaves_the_last_good_checkpoint(config, interrupted, monkeypatch):
    before = (interrupted / "checkpoint.safetensors").read_bytes()
    from safetensors import SafetensorError

    def fill_up(tensors, path, metadata):
        path.write_bytes(b"half")
        raise SafetensorError(
            "Error while serializing: I/O error: No space left on device (os error 28)"
        )

    monkeypatch.setattr("spacy_multitask.training.checkpoint.save_file", fill_up)
    with pytest.raises(SavingError, match=r"checkpoint.*: No space left .* with --resume"):
        train(config, interrupted, resume=True)
    assert (interrupted / "checkpoint.safetensors").read_bytes() == before
    assert sorted(p.name for p in interrupted.iterdir()) == [
        ".lock",
        "checkpoint.safetensors",
        "model-best",
        "model-last",
    ]
