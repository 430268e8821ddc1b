"""How often a training that is killed at random moments ends with the very same weights.

    python -m benchmarks.crash --kills 30

Trains a tiny encoder with two layers and four heads on the sentences of the tests, again and again.
Each training is killed after a random time, resumed, killed again, ..., until it gets to its end.
Then its weights, the moments of its optimizer and the files of its models are compared with those
of a training that nobody killed, and its log with that one's.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import tempfile
from pathlib import Path
from time import perf_counter

from spacy.util import load_config

from spacy_multitask.training.checkpoint import read_checkpoint
from tests.conftest import write_encoder
from tests.integration.conftest import write_corpora

from .common import RESULTS, arguments, machine, merge

ROOT = Path(__file__).parents[1]
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
# What a line of the log says of how long things took.
TIMES = ("seconds", "speed")


def train_in_child(config: Path, output: Path) -> None:
    import torch

    from spacy_multitask.training.from_python import train

    torch.set_num_threads(1)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    output.mkdir(exist_ok=True)
    os.chdir(output)  # for the log; its path is in the config, which is compared, too
    train(load_config(config), output, resume=True, checkpoint_steps=1)


def run(config: Path, output: Path, seconds: float | None = None) -> bool:
    """RETURNS (bool): Whether the training got to its end before the time was over."""
    child = CONTEXT.Process(target=train_in_child, args=(config, output))
    child.start()
    child.join(seconds)
    if child.exitcode is None:
        os.kill(child.pid or 0, signal.SIGKILL)
        child.join()
    if child.exitcode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"The training ended with code {child.exitcode}.")
    return child.exitcode == 0


def write_config(folder: Path, steps: int) -> Path:
    write_corpora(folder / "corpus")
    config = load_config(ROOT / "configs" / "demo.cfg", interpolate=False)
    config["paths"]["encoder"] = str(write_encoder(folder / "encoder", dropout=0.1))
    config["paths"]["corpus"] = str(folder / "corpus")
    config["components"]["transformer"]["model"]["overlap"] = 8
    training = config["training"]
    training["batcher"]["max_words"] = 25
    training["max_epochs"], training["max_steps"], training["eval_frequency"] = 0, steps, 10
    training["optimizer"]["use_averages"] = True
    training["logger"].update(plan=False, output_file="log.jsonl")
    config.to_disk(folder / "config.cfg")
    return folder / "config.cfg"


def outcome(output: Path) -> tuple[dict, dict, list]:
    """RETURNS (tuple): Arrays of the checkpoint, files of the models, lines of the log."""
    tensors, _ = read_checkpoint(output / "checkpoint.safetensors")
    arrays = {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}
    files = {
        str(path.relative_to(output)): path.read_bytes()
        for model in ("model-last", "model-best")
        for path in sorted((output / model).rglob("*"))
        if path.is_file()
    }
    log = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    for line in log:
        for name in TIMES:
            line.pop(name, None)
            line["scores"].pop(name, None)
    return arrays, files, log


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--steps", type=int, default=40, help="Steps of a training.")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(json=RESULTS / "robustness.json")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    found = {"kills": 0, "trainings": 0, "bit_equal": 0, "log_equal": 0}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = write_config(folder, options.steps)
        run(config, folder / "unbroken")
        start = perf_counter()
        run(config, folder / "again")
        whole = perf_counter() - start
        expected = outcome(folder / "unbroken")
        same_twice = outcome(folder / "again") == expected
        while found["kills"] < options.kills:
            output = folder / "killed"
            # Long enough, now and then, to get somewhere; a new process needs some time to begin.
            while not run(config, output, rng.uniform(0.1, 1.1) * whole):
                found["kills"] += 1
            found["trainings"] += 1
            arrays, files, log = outcome(output)
            found["bit_equal"] += (arrays, files) == expected[:2]
            found["log_equal"] += log == expected[2]
            shutil.rmtree(output)
            merge(
                {
                    "crash": {**found, "steps": options.steps, "seed": options.seed},
                    "determinism": {"two_runs_bit_equal": same_twice},
                    "crash_machine": machine(),
                },
                options.json,
            )


if __name__ == "__main__":
    main()
