"""The command `spacy multitask train`, also where files can't be written."""

import os
import subprocess
from pathlib import Path

import pytest
import spacy
from spacy.util import load_config
from typer.testing import CliRunner

from spacy_multitask.cli import app

STEPS = ("--training.max_steps", "3", "--training.eval_frequency", "2")


def run(*arguments: object):
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


@pytest.fixture
def config(project, tmp_path) -> Path:
    config = load_config(project / "config.cfg", interpolate=False)
    config["training"]["logger"] = {"@loggers": "spacy_multitask.Logger.v1", "plan": False}
    config.to_disk(tmp_path / "config.cfg")
    return tmp_path / "config.cfg"


def test_overrides_are_taken_and_a_training_that_is_done_can_be_resumed(config, tmp_path):
    result = run(config, "--output", tmp_path / "new" / "out", *STEPS)
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in (tmp_path / "new" / "out").glob("[!.]*")) == [
        "checkpoint.safetensors",
        "model-best",
        "model-last",
    ]
    assert spacy.load(tmp_path / "new" / "out" / "model-last")("It works")[0].tag_
    result = run(config, "--output", tmp_path / "new" / "out", "--resume", *STEPS)
    assert result.exit_code == 0 and "Going on after step 2" in result.output


def assert_one_line(result, *parts: str) -> None:
    """An error for users: one line that has the parts, and no traceback."""
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    (line,) = [line for line in result.stderr.splitlines() if line]
    assert line.startswith("Error: ")
    for part in parts:
        assert part in line


def test_another_config_is_refused_in_one_line(config, tmp_path):
    assert run(config, "--output", tmp_path / "out", *STEPS).exit_code == 0
    result = run(config, "--output", tmp_path / "out", "--resume", *STEPS, "--training.dropout=0.3")
    assert_one_line(result, "training.dropout was 0.1 and is 0.3", "without --resume")


def test_a_config_that_is_not_there_is_named(tmp_path):
    assert_one_line(run(tmp_path / "no.cfg", "--output", tmp_path / "out"), "no.cfg")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def disk(tmp_path):
    """RETURNS (Path): A disk of 2 MB."""
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(path)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user can't mount a disk")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_full_disk_ends_in_one_line_and_leaves_the_last_good_files(config, disk):
    assert run(config, "--output", disk / "out", *STEPS).exit_code == 0
    before = files(disk / "out")
    usage = os.statvfs(disk)
    (disk / "filler").write_bytes(b"x" * (usage.f_bavail * usage.f_frsize - 100_000))
    result = run(config, "--output", disk / "out", "--resume", *STEPS)
    assert_one_line(result, "disk/out/model-last: No space left on device", "--resume")
    assert files(disk / "out") == before
    (disk / "filler").unlink()
    assert run(config, "--output", disk / "out", "--resume", *STEPS).exit_code == 0


def test_a_disk_for_reading_only_is_named_before_the_work_begins(config, disk):
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    assert_one_line(run(config, "--output", disk / "out", *STEPS), "out", "Read-only file system")
