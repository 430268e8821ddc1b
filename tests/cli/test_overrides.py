"""Overrides of a config on the command line: what is there, what can be, and nothing else."""

import pytest
from spacy.util import load_config
from typer.testing import CliRunner

from spacy_multitask.cli import app
from spacy_multitask.cli.overrides import overrides_of
from tests.test_configs import CONFIGS

MULTITASK = next(path for path in CONFIGS if path.name == "multitask.cfg")


@pytest.mark.parametrize(
    "name",
    [
        "training.max_epochs",
        "training.before_to_disk",  # spaCy's default
        "paths.corpus",
        "components.ner.crf",  # the factory's default
        "training.batcher.max_words",
        "training.optimizer.weight_decay",  # the function's default
        "corpora.train.mixing",
        "corpora.train.corpora.pos.limit",
    ],
)
def test_settings_that_are_there_or_have_a_default_are_taken(name):
    assert overrides_of(MULTITASK, [f"--{name}", "3"]) == {name: 3}


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("training.max_epoch", "training.max_epochs"),
        ("trainin.max_epochs", "training.max_epochs"),
        ("paths.corpora", "paths.corpus"),
        ("components.ner.crff", "components.ner.crf"),
        ("corpora.train.mixin", "corpora.train.mixing"),
        ("training.optimizer.weight_deca", "training.optimizer.weight_decay"),
    ],
)
def test_others_are_refused_with_the_nearest_names(name, near):
    with pytest.raises(ValueError, match=rf"--{name}: .*no such setting\. The nearest: .*{near}"):
        overrides_of(MULTITASK, [f"--{name}", "3"])


@pytest.mark.parametrize("command", ["train", "compare", "leaks"])
def test_every_command_that_takes_overrides_refuses_them(command, tmp_path):
    load_config(MULTITASK, interpolate=False).to_disk(tmp_path / "config.cfg")
    rest = ["--output", tmp_path / "out"] if command == "train" else []
    words = [command, tmp_path / "config.cfg", *rest, "--training.max_epoch", 3]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 1 and result.stderr.count("\n") == 1
    assert "The nearest: training.max_epochs" in result.stderr
    assert not (tmp_path / "out").exists()
