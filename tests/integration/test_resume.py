"""A training that is killed and resumed ends as one that was never interrupted."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from safetensors.torch import load_file
from spacy.util import load_config

from tests.conftest import write_encoder

# Children are forked from a process that has imported everything and run nothing.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "spacy_multitask.training.from_python",
        "spacy_multitask.encoder.component",
        "spacy_multitask.heads.textcat",
        "transformers.models.bert.modeling_bert",
        "spacy.lang.en",
    ]
)
N_STEPS = 11
ROOT = Path(__file__).parents[2]


def train_in_child(folder: Path, output: Path, kill: tuple[str, int, bool, str] | None) -> None:
    """Train or go on, alone in a process.

    kill (Optional[tuple]): Dotted name of a function, the number of its call that ends the
        process, whether half of the file that it writes is there by then, and what its arguments
        name in the calls that count.
    """
    import torch

    from spacy_multitask.training.from_python import train

    torch.set_num_threads(1)
    if kill is not None:
        kill_at(*kill)
    train(load_config(folder / "config.cfg"), output, resume=True, checkpoint_steps=2)


def kill_at(name: str, n_calls: int, half: bool, about: str) -> None:
    *path, attribute = name.split(".")
    owner = import_module(".".join(path)) if path[-1].islower() else None
    if owner is None:
        owner = getattr(import_module(".".join(path[:-1])), path[-1])
    original = getattr(owner, attribute)
    calls = iter(range(1, 1_000_000))

    def counted(*args, **kwargs):
        if about not in repr(args) or next(calls) < n_calls:
            return original(*args, **kwargs)
        if half:
            original(*args, **kwargs)
            file = next(arg for arg in args if isinstance(arg, Path))
            os.truncate(file, file.stat().st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, attribute, counted)


def run(folder: Path, output: Path, kill: tuple[str, int, bool, str] | None = None) -> int | None:
    """RETURNS (Optional[int]): How the child ended."""
    child = CONTEXT.Process(target=train_in_child, args=(folder, output, kill))
    child.start()
    child.join()
    return child.exitcode


@pytest.fixture(scope="module")
def folder(project, trained, tmp_path_factory) -> Path:
    """RETURNS (Path): A config with all that keeps a state: dropout, averages, patience, a head of
    spaCy's own, a bag of words, a teacher, a schedule over the steps, a log."""
    folder = tmp_path_factory.mktemp("resume")
    config = load_config(project / "config.cfg", interpolate=False)
    config["paths"]["encoder"] = str(write_encoder(folder / "encoder", dropout=0.1))
    config["nlp"]["pipeline"].append("morphologizer")
    config["components"]["morphologizer"] = {
        "factory": "morphologizer",
        "model": {
            "@architectures": "spacy.Tagger.v2",
            "tok2vec": {
                "@architectures": "spacy.HashEmbedCNN.v2",
                "width": 16,
                "depth": 1,
                "embed_size": 20,
                "window_size": 1,
                "maxout_pieces": 2,
                "subword_features": False,
                "pretrained_vectors": None,
            },
        },
    }
    shipped = load_config(ROOT / "configs" / "multitask.cfg")["components"]["textcat"]["model"]
    config["components"]["textcat"]["model"] = shipped
    ud = {"path": "${paths.corpus}/ud-train.spacy"}
    config["corpora"]["train"]["corpora"]["ud"] = ud
    trained.to_disk(folder / "teacher")
    config["initialize"]["components"]["ner"] = {"teacher": str(folder / "teacher")}
    training = config["training"]
    training["max_steps"], training["eval_frequency"] = N_STEPS, 4
    training["optimizer"].update(use_averages=True)
    training["accumulate_gradient"] = 2
    training["logger"]["output_file"] = str(folder / "log.jsonl")
    training["logger"]["progress_bar"] = False
    config.to_disk(folder / "config.cfg")
    return folder


@pytest.fixture(scope="module")
def unbroken(folder) -> Path:
    """RETURNS (Path): Output of a training that ran through."""
    assert run(folder, folder / "unbroken") == 0
    shutil.move(folder / "log.jsonl", folder / "unbroken" / "log.jsonl")
    return folder / "unbroken"


def log_lines(path: Path) -> list[dict]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        del line["seconds"], line["scores"]["speed"]
    return lines


def assert_same_files(a: Path, b: Path) -> None:
    files = {p.relative_to(a) for p in a.rglob("*") if p.is_file()}
    assert files == {p.relative_to(b) for p in b.rglob("*") if p.is_file()}
    for file in files:
        assert (a / file).read_bytes() == (b / file).read_bytes(), file


def assert_same_training(a: Path, b: Path) -> None:
    for model in ("model-last", "model-best"):
        assert_same_files(a / model, b / model)
    tensors = [load_file(path / "checkpoint.safetensors") for path in (a, b)]
    assert set(tensors[0]) == set(tensors[1])
    for name in set(tensors[0]) - {"notes"}:
        assert tensors[0][name].equal(tensors[1][name]), name


# One after the other, each going on from what the one before has left: checkpoints are due after
# steps 0, 2, 4, ..., evaluations after 0, 4, 8. Each step has two updates.
KILLS = {
    "in the middle of model-best": ("spacy_multitask.safe_files._sync", 20, False, "model-best"),
    "before the first checkpoint": ("spacy_multitask.training.run.write_checkpoint", 1, False, ""),
    "after step 2": ("spacy.language.Language.update", 8, False, ""),
    "in the evaluation after step 4": ("spacy.language.Language.evaluate", 1, False, ""),
    "with checkpoint 4 complete, but without its name": ("os.replace", 1, False, "checkpoint."),
    "with half of checkpoint 6": ("spacy_multitask.training.checkpoint.save_file", 2, True, ""),
    "in the middle of model-last": ("spacy_multitask.safe_files._sync", 20, False, "model-last"),
}


def test_a_training_that_is_killed_again_and_again_ends_as_one_that_was_not(folder, unbroken):
    output = folder / "broken"
    for where, kill in KILLS.items():
        assert run(folder, output, kill) == -signal.SIGKILL, where
        for model in output.glob("model-*"):
            assert (model / "transformer" / "model" / "manifest.json").exists(), "it is whole"
    assert run(folder, output) == 0
    assert_same_training(output, unbroken)
    assert log_lines(folder / "log.jsonl") == log_lines(unbroken / "log.jsonl")


def test_two_trainings_with_one_seed_give_the_same_weights(folder, unbroken):
    # Not forked from the same process as the other: strings hash otherwise, so that any set of
    # them has another order.
    code = (
        "import pathlib, tests.integration.test_resume as t; "
        f"t.train_in_child(pathlib.Path({str(folder)!r}), "
        f"pathlib.Path({str(folder / 'again')!r}), None)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)
    assert_same_training(folder / "again", unbroken)
