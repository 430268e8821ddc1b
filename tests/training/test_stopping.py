"""Ctrl-C and SIGTERM end a training so that it can go on; a second one ends it at once."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import spacy

from spacy_multitask.training import run
from spacy_multitask.training.from_python import train
from spacy_multitask.training.stopping import Stop
from tests.integration.conftest import write_corpora
from tests.training.test_loop import assert_same_state, contents
from tests.training.test_sameness import config_of, write_encoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stopping")
    write_corpora(folder / "corpus")
    write_encoder(folder / "encoder", dropout=0.1)
    return folder


@pytest.fixture
def config(folder, tmp_path):
    config = config_of(folder)
    config["training"].update(max_steps=6, eval_frequency=3)
    config["training"]["logger"]["output_file"] = str(tmp_path / "log.jsonl")
    return config


@pytest.fixture(scope="module")
def unbroken(folder) -> Path:
    """RETURNS (Path): Output of a training that ran through."""
    config = config_of(folder)
    config["training"].update(max_steps=6, eval_frequency=3)
    train(config, folder / "unbroken")
    return folder / "unbroken"


def signal_in(monkeypatch, method: str, number: int, *, call: int, times: int = 1) -> None:
    """Send signals to this process in a call of a method of the pipeline."""
    original = getattr(spacy.Language, method)
    calls = iter(range(1, 1000))

    def disturbed(self, *args, **kwargs):
        if next(calls) == call:
            for _ in range(times):
                os.kill(os.getpid(), number)
                time.sleep(0.01)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(spacy.Language, method, disturbed)


# Calls: there is one update per step, and an evaluation after the steps 0, 3 and 6.
@pytest.mark.parametrize(
    ("method", "call", "step"),
    [
        ("update", 3, 2),
        ("update", 4, 3),  # the evaluation after it is left for later
        ("evaluate", 2, 3),
        ("evaluate", 3, 6),
        ("update", 7, 6),
    ],
)
@pytest.mark.parametrize("averages", [False, True])
def test_a_training_that_is_stopped_ends_as_one_that_was_not(
    config, unbroken, tmp_path, monkeypatch, capfd, method, call, step, averages
):
    if averages:
        if method == "update":
            pytest.skip("nothing is swapped then")
        config["training"]["optimizer"]["use_averages"] = True
        train(config, tmp_path / "unbroken")
        unbroken = tmp_path / "unbroken"
    output = tmp_path / "out"
    with monkeypatch.context() as patch:
        signal_in(patch, method, signal.SIGINT, call=call)
        with pytest.raises(KeyboardInterrupt):
            train(config, output)
    captured = capfd.readouterr()
    where = "in this evaluation" if method == "evaluate" else "after this step"
    assert captured.err.count(f"Stopping {where}, with a checkpoint.") == 1
    assert f"Stopped after step {step}" in captured.out
    assert run.Past(output / "checkpoint.safetensors").step == step
    assert spacy.load(output / "model-last")("It works")[0].tag_
    train(config, output, resume=True)
    assert_same_state(output, unbroken)
    for model in ("model-last", "model-best"):
        found, expected = contents(output / model), contents(unbroken / model)
        assert found.keys() == expected.keys()
        assert [n for n in found if found[n] != expected[n] and n != "config.cfg"] == []


def test_sigterm_ends_with_its_own_code(config, tmp_path, monkeypatch):
    signal_in(monkeypatch, "update", signal.SIGTERM, call=2)
    with pytest.raises(SystemExit) as error:
        train(config, tmp_path / "out")
    assert error.value.code == 143
    assert run.Past(tmp_path / "out" / "checkpoint.safetensors").step == 1


def test_a_second_one_ends_at_once(config, tmp_path, monkeypatch):
    signal_in(monkeypatch, "update", signal.SIGINT, call=3, times=2)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "out")
    assert run.Past(tmp_path / "out" / "checkpoint.safetensors").step == 0
    assert not (tmp_path / "out" / "model-last").exists()


def test_before_the_first_step_there_is_nothing_to_save(config, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(run.Run, "batches", lambda *_: iter([signal.raise_signal(signal.SIGINT)]))
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "out")
    assert "Stopping" not in capfd.readouterr().err
    assert not (tmp_path / "out" / "checkpoint.safetensors").exists()


def test_handlers_are_put_back_and_those_of_others_left_alone():
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append(1))
    try:
        with Stop() as stop:
            stop.has_begun = True
            signal.raise_signal(signal.SIGTERM)
            assert stop.asked is None and heard == [1]
            signal.raise_signal(signal.SIGINT)
            assert stop.asked == signal.SIGINT
    finally:
        signal.signal(signal.SIGTERM, before)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_in_another_thread_signals_are_not_listened_to():
    def enter():
        with Stop():
            found.append(signal.getsignal(signal.SIGINT))

    found: list = []
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
def test_the_command_ends_with_the_code_of_the_signal(config, tmp_path, number, code):
    config["training"].update(max_steps=100_000, eval_frequency=100_000)
    config.to_disk(tmp_path / "config.cfg")
    command = [sys.executable, "-u", "-m", "spacy", "multitask", "train"]
    process = subprocess.Popen(
        [*command, str(tmp_path / "config.cfg"), "--output", str(tmp_path / "out")],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.split()[:2] == ["0", "0"]:  # the first step is in the log
                process.send_signal(number)
        assert process.wait(60) == code, "".join(lines)
    finally:
        process.kill()
    text = "".join(lines)
    assert "Stopping" in text and "Stopped after step" in text and "Traceback" not in text
    assert spacy.load(tmp_path / "out" / "model-last")("It works")[0].tag_
