"""What a training writes, when, and what it does not overwrite."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import spacy
from safetensors.torch import load_file
from spacy.training.initialize import init_nlp

from spacy_multitask.safe_files import SavingError, locked
from spacy_multitask.training import output
from spacy_multitask.training.from_python import train
from spacy_multitask.training.loop import train as train_nlp
from spacy_multitask.training.optimizer import make_adamw
from spacy_multitask.training.output import Output
from spacy_multitask.training.run import Past
from tests.integration.conftest import write_corpora
from tests.training.test_loop import contents
from tests.training.test_sameness import config_of, write_encoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("output")
    write_corpora(folder / "corpus")
    write_encoder(folder / "encoder")
    return folder


@pytest.fixture
def config(folder):
    return config_of(folder)


@pytest.fixture
def saved(monkeypatch) -> list[str]:
    """RETURNS (List[str]): Each model that is saved."""
    found: list = []
    save = Output.save

    def noted(self, nlp, optimizer, path):
        found.append(path.name)
        save(self, nlp, optimizer, path)

    monkeypatch.setattr(Output, "save", noted)
    return found


@pytest.mark.parametrize("left", ["model-best", "model-last", "checkpoint.safetensors"])
def test_a_training_is_not_overwritten_unasked(config, tmp_path, monkeypatch, left):
    monkeypatch.setattr("spacy_multitask.training.from_python.init_nlp", None)  # comes before it
    if left == "checkpoint.safetensors":
        (tmp_path / left).write_text("weights")
    else:
        (tmp_path / left).mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match=f"files of a training: {left}.*--resume.*--overwrite"):
        train(config, tmp_path)
    if left != "checkpoint.safetensors":
        with pytest.raises(ValueError, match=f"{left}, but no checkpoint.*--overwrite"):
            train(config, tmp_path, resume=True)
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_with_other_files_takes_a_training(config, tmp_path):
    (tmp_path / "log.jsonl").write_text("of a script")
    train(config, tmp_path, resume=True)
    assert (tmp_path / "log.jsonl").read_text() == "of a script"
    assert Past(tmp_path / "checkpoint.safetensors").step == 2


def test_a_second_training_into_one_folder_is_refused(config, tmp_path):
    nlp = init_nlp(config)
    with locked(tmp_path / "out"), pytest.raises(SavingError, match="Another process is writing"):
        train_nlp(nlp, tmp_path / "out", overwrite=True)
    train_nlp(nlp, tmp_path / "out")


def test_the_last_model_is_saved_at_the_end_and_the_best_when_it_is_better(
    config, tmp_path, saved, monkeypatch
):
    config["training"].update(max_steps=5, eval_frequency=1)
    scores = iter([0.1, 0.5, 0.2, 0.5, 0.6, 0.3])
    monkeypatch.setattr(spacy.Language, "evaluate", lambda *_: {"tag_acc": next(scores)})
    train(config, tmp_path)
    assert saved == ["model-best"] * 4 + ["model-last"], "a second 0.5 counts as best for spaCy"


def test_the_last_model_is_saved_after_each_evaluation_if_asked_for(
    config, tmp_path, saved, monkeypatch
):
    config["training"].update(max_steps=2, eval_frequency=1)
    scores = iter([0.5, 0.2, 0.3])
    monkeypatch.setattr(spacy.Language, "evaluate", lambda *_: {"tag_acc": next(scores)})
    train(config, tmp_path, save_last=True)
    assert saved == ["model-last", "model-best", "model-last", "model-last", "model-last"]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(output, "default_timer", clock)
    return clock


def make_output(tmp_path, **options) -> Output:
    return Output(
        tmp_path, lambda nlp: nlp, **{"checkpoint_steps": 0, "save_last": False, **options}
    )


def due_at(files: Output, clock: Clock, *, took: float) -> list[float]:
    """RETURNS (List[float]): Minutes at which checkpoints are written, in twenty minutes of steps
    that take a minute each; each checkpoint takes so many seconds."""

    def write(path):
        clock.now += took

    found, start = [], clock.now
    for minute in range(20):
        clock.now = start + 60 * minute
        if files.is_due(step=17):
            found.append(minute)
            files.save_checkpoint(write)
    return found


def test_a_checkpoint_is_due_after_the_first_step_and_every_five_minutes(tmp_path, clock):
    assert due_at(make_output(tmp_path), clock, took=1.0) == [0, 6, 12, 18]


def test_checkpoints_that_take_long_are_written_more_seldom(tmp_path, clock):
    assert due_at(make_output(tmp_path), clock, took=30.0) == [0, 11]


def test_after_so_many_steps_a_checkpoint_is_due_whatever_the_time(tmp_path, clock):
    files = make_output(tmp_path, checkpoint_steps=3)
    found = []
    for step in range(8):
        if files.is_due(step):
            found.append(step)
            files.save_checkpoint(lambda path: None)
    assert found == [0, 3, 6]


def test_room_is_looked_for_before_the_first_step_and_announced(
    config, tmp_path, monkeypatch, capsys
):
    train(config, tmp_path / "enough")
    model, checkpoint = output._sizes(init_nlp(config), make_adamw(), [])
    tensors = Past(tmp_path / "enough" / "checkpoint.safetensors").tensors
    kept = [t.nbytes for name, t in tensors.items() if name.startswith(("weights/", "moments/"))]
    assert checkpoint == pytest.approx(sum(kept), rel=0.01)
    weights = load_file(next((tmp_path / "enough" / "model-last").rglob("model.safetensors")))
    assert sum(t.nbytes for t in weights.values()) == pytest.approx(model, rel=0.15), "and heads"
    said = " ".join(capsys.readouterr().out.split())
    assert "two models of" in said and "every 5 minutes a checkpoint of" in said
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=300_000))
    with pytest.raises(SavingError, match=r"needs about \d+ KiB, and 293 KiB are free\. Make room"):
        train(config, tmp_path / "full")
    assert list(contents(tmp_path / "full")) == [".lock"]
    train(config, tmp_path / "enough", overwrite=True)  # in the place of what is there


def test_what_is_frozen_has_no_moments(config):
    nlp, optimizer = init_nlp(config), make_adamw(use_averages=True)
    weights = output._sizes(nlp, optimizer, nlp.pipe_names)[1]
    assert output._sizes(nlp, optimizer, [])[1] == 4 * weights
    assert weights < output._sizes(nlp, optimizer, ["transformer"])[1] < 2 * weights
