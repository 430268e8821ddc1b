"""Whole trainings by several processes: what they write, how they end, and how they go on."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import spacy
from safetensors.torch import load_file
from spacy.language import Language
from spacy.util import load_config

from spacy_multitask.safe_files import locked
from spacy_multitask.training import watch
from spacy_multitask.training.from_python import train
from spacy_multitask.training.ranks import gpu_of_rank
from spacy_multitask.training.run import Past
from tests.conftest import write_encoder
from tests.integration.conftest import write_corpora
from tests.training.test_ranks import free_port, in_ranks

ROOT = Path(__file__).parents[2]
LAST = 6  # the last step


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """RETURNS (Path): A config in which nothing is left to chance, and no step is like another."""
    folder = tmp_path_factory.mktemp("ranks_train")
    write_corpora(folder / "corpus")
    write_encoder(folder / "encoder")
    config = load_config(ROOT / "configs" / "demo.cfg", interpolate=False)
    config["paths"]["encoder"] = str(folder / "encoder")
    config["paths"]["corpus"] = str(folder / "corpus")
    config["components"]["transformer"]["model"]["overlap"] = 8
    training = config["training"]
    training["dropout"] = 0.0
    training["batcher"]["max_words"] = 25
    training["accumulate_gradient"] = 2
    training["max_steps"], training["eval_frequency"] = LAST, 3
    training["optimizer"].update(use_averages=True, eps=1e-4)
    training["logger"].update(progress_bar=False, output_file=str(folder / "log.jsonl"))
    config.to_disk(folder / "config.cfg")
    return folder


@pytest.fixture(scope="module")
def alone(folder) -> Path:
    """RETURNS (Path): What one process has written."""
    assert in_ranks(1, train_in_rank, folder, folder / "alone") == [0]
    return folder / "alone"


def train_in_rank(folder: Path, output: Path, *harm: tuple, resume: bool = False) -> None:
    """Train as one of some processes.

    harm (tuple): Rank, method of the pipeline, its call, and a function to call before it.
    """
    for rank, method, call, function in harm:
        if os.environ.get("RANK", "0") == str(rank):
            disturb(method, call, function)
    with open(f"{output}-{os.environ.get('RANK', 0)}.txt", "a") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
        started = time.monotonic()
        try:
            nlp = train(folder / "config.cfg", output, resume=resume, checkpoint_steps=100)
            assert nlp.pipe_names
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            raise
        finally:
            print(f"took {time.monotonic() - started}", file=sys.stderr)
            sys.stdout.flush()


def go_on(folder: Path, output: Path) -> None:
    train_in_rank(folder, output, resume=True)


def disturb(method: str, call: int, function) -> None:
    original = getattr(Language, method)
    calls = iter(range(1, 1000))

    def disturbed(self, *args, **kwargs):
        if next(calls) == call:
            function()
        return original(self, *args, **kwargs)

    setattr(Language, method, disturbed)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail() -> None:
    raise ValueError("This doc can't be read.")


def take_long() -> None:
    time.sleep(600)


def said(output: Path, rank: int) -> str:
    return Path(f"{output}-{rank}.txt").read_text()


def assert_same_outcome(a: Path, b: Path) -> None:
    one, other = (load_file(path / "checkpoint.safetensors") for path in (a, b))
    names = [n for n in one if n.startswith(("weights/", "averages/"))]
    assert names and set(names) == {n for n in other if n.startswith(("weights/", "averages/"))}
    worst = max((float((one[n].double() - other[n].double()).abs().max()), n) for n in names)
    assert worst[0] < 1e-5, worst
    pasts = [Past(path / "checkpoint.safetensors").notes for path in (a, b)]
    assert pasts[0]["words"] == pasts[1]["words"]
    for evaluation, same in zip(pasts[0]["evaluations"], pasts[1]["evaluations"], strict=True):
        assert evaluation["score"] == pytest.approx(same["score"], abs=1e-6)
        assert evaluation["losses"] == pytest.approx(same["losses"], rel=1e-4)


def test_ranks_train_as_one_process_and_go_on_whatever_their_number(folder, alone, tmp_path):
    output = tmp_path / "out"
    codes = in_ranks(2, train_in_rank, folder, output, (1, "update", 5, interrupt))
    assert 0 not in codes
    assert Past(output / "checkpoint.safetensors").step < LAST
    assert "Stopped after step" in said(output, 0) and "Stopped" not in said(output, 1)
    assert " words on 2 devices, about" in said(output, 0)
    assert "GiB each" in said(output, 0)
    assert in_ranks(3, go_on, folder, output) == [0, 0, 0]
    assert "ranks was 2 and is 3" in said(output, 0)
    assert_same_outcome(output, alone)
    assert spacy.load(output / "model-best")("It works")[0].tag_
    # The log is that of one process.
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 3, LAST]
    assert "Pipeline" not in said(output, 1) + said(output, 2)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        ((1, "update", 3, fail), "Rank 1 has failed: ValueError: This doc can't be read."),
        ((1, "update", 3, kill), "Rank 1 is gone: it was killed"),
        ((0, "update", 3, kill), "Rank 0 is gone: it was killed"),
    ],
    ids=["error", "killed", "first_killed"],
)
def test_the_end_of_one_rank_is_that_of_all(folder, tmp_path, harm, message):
    output = tmp_path / "out"
    started = time.monotonic()
    codes = in_ranks(2, train_in_rank, folder, output, harm)
    assert 0 not in codes
    other = 1 - harm[0]
    assert message in said(output, other)
    assert time.monotonic() - started < 120


def test_a_rank_that_is_at_something_else_ends_too(folder, tmp_path):
    """Rank 0 looks at the development data when the other one is killed."""
    output = tmp_path / "out"
    started = time.monotonic()
    harm = ((0, "evaluate", 1, take_long), (1, "update", 2, kill))
    in_ranks(2, train_in_rank, folder, output, *harm, timeout=300)
    assert time.monotonic() - started < 300
    assert "Rank 1 is gone" in said(output, 0)


def test_a_folder_that_is_taken_is_refused_by_all(folder, tmp_path):
    output = tmp_path / "out"
    with locked(output):
        codes = in_ranks(2, train_in_rank, folder, output)
    assert 0 not in codes
    assert "Another process is writing" in said(output, 0)
    assert "Rank 0 has failed: SavingError: Another process" in said(output, 1)


def test_the_docs_start_ranks_by_torchrun(folder, tmp_path):
    """The example of the docs, as a user would type it."""
    text = (ROOT / "docs" / "devices.md").read_text()
    (line,) = re.findall(r"^torchrun --nproc-per-node 2 (.*)$", text, flags=re.MULTILINE)
    output = tmp_path / "out"
    words = line.replace("config.cfg", str(folder / "config.cfg")).split()
    words[words.index("--output") + 1] = str(output)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--master-port", str(free_port()), *words, "--training.max_steps", "2"]
    found = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=500)
    assert found.returncode == 0, found.stderr
    assert found.stdout.count("Pipeline:") == 1
    assert (output / "model-last").is_dir()


def test_each_process_takes_the_next_gpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert gpu_of_rank(0) == 0
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert gpu_of_rank(0) == 1
    assert gpu_of_rank(-1) == -1
    with pytest.raises(ValueError, match="needs GPU 2, but there are 2"):
        gpu_of_rank(1)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert gpu_of_rank(0) == 0, "all that this process sees"


def test_the_end_comes_within_half_a_minute():
    assert watch.GRACE_SECONDS + 2 * watch.NEWS_SECONDS < 30
