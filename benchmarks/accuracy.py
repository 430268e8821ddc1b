"""Accuracy on the samples that Flair's multitask tutorial is measured on: two tasks per pipeline.

"syntax" is tags and chunks, "news" entities and topics, as in the tutorial; three epochs each.
Settings were chosen on the dev parts; the test parts are scored once, by the last weights.

Example: python -m benchmarks.accuracy --seeds 0 1 2 --json benchmarks/results/accuracy.json
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean

import spacy
import torch
from spacy.training.initialize import init_nlp
from spacy.training.loop import train
from spacy.util import load_config

from spacy_multitask.converters import convert
from spacy_multitask.evaluation.evaluate import evaluate

from .common import arguments, machine, packaged_encoder, save

CONFIGS = Path(__file__).parents[1] / "configs"
# Task -> folder of the sample, format, its options, score.
TASKS = {
    "pos": ("ud", "columns", {"label": "tag"}, "tag_acc"),
    "chunk": ("chunk", "columns", {"label": "chunk"}, "spans_np_f"),
    "ner": ("ner", "columns", {"label": "ner"}, "ents_f"),
    "topic": ("topic", "labels", {}, "cats_acc"),
}
EXAMPLES = {
    "syntax": {"tasks": ("pos", "chunk"), "max_words": 80, "learn_rate": 1.5e-4},
    "news": {"tasks": ("ner", "topic"), "max_words": 100, "learn_rate": 2e-4},
}


def convert_samples(samples: Path, folder: Path) -> None:
    for task, (name, format, options, _) in TASKS.items():
        for part in ("train", "dev", "test"):
            path = samples / name / f"{part}.txt"
            path = path if path.exists() else path.with_name(f"{part}.txt.gz")
            convert(format, path, folder / f"{task}-{part}.spacy", **options)


def run(example: str, encoder: str, folder: Path, seed: int, epochs: int) -> dict[str, float]:
    """RETURNS (Dict[str, float]): Test scores by task, dev scores by "dev_" task, and seconds."""
    settings = EXAMPLES[example]
    config = load_config(CONFIGS / f"{example}.cfg")
    config["paths"].update(encoder=encoder, corpus=str(folder))
    config["system"]["seed"] = seed
    training = config["training"]
    # Dev scores are not needed on the way: the last weights count.
    training.update(max_epochs=epochs, eval_frequency=10**6)
    training["batcher"]["max_words"] = settings["max_words"]
    training["optimizer"]["learn_rate"]["learn_rate"] = settings["learn_rate"]
    training["optimizer"]["head_learn_rate"]["learn_rate"] = 0.003
    with tempfile.TemporaryDirectory() as out:
        nlp = init_nlp(config)
        started = time.perf_counter()
        train(nlp, Path(out), stdout=io.StringIO(), stderr=sys.stderr)
        found = {"seconds": time.perf_counter() - started}
        nlp = spacy.load(Path(out) / "model-last")
        for part, prefix in (("dev", "dev_"), ("test", "")):
            for task in settings["tasks"]:
                scores = evaluate(nlp, {task: str(folder / f"{task}-{part}.spacy")})[task]
                found[prefix + task] = scores[TASKS[task][3]]
    return found


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--examples", nargs="+", default=list(EXAMPLES), choices=list(EXAMPLES))
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    encoder = args.encoder or packaged_encoder()
    results: dict = {"machine": machine(), "seconds": {}}
    with tempfile.TemporaryDirectory() as name:
        convert_samples(args.samples, Path(name))
        for seed in args.seeds:
            for example in args.examples:
                found = run(example, encoder, Path(name), seed, args.epochs)
                results["seconds"].setdefault(example, []).append(round(found.pop("seconds")))
                for task, score in found.items():
                    entry = results.setdefault(task, {"mean": 0.0, "seeds": []})
                    entry["seeds"].append(round(score, 4))
                    entry["mean"] = round(mean(entry["seeds"]), 4)
                save(results, args.json)


if __name__ == "__main__":
    main()
