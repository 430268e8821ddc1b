"""Whether a GPU gives what a CPU gives: the first part of `benchmarks.gpu`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc

from .common import pipeline
from .gpu_encoders import ASSETS, examples_of

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "crf": {"crf": True},
}
SPANS = ("chunker", "ner")


def use(device: str) -> None:
    if device == "cuda":
        spacy.require_gpu()
    else:
        spacy.require_cpu()


def logits_of(nlp: Language, texts: list[list[str]]) -> dict[str, torch.Tensor]:
    docs = [Doc(nlp.vocab, words=words) for words in texts]
    found = {}
    for name, head in nlp.pipeline:
        if name != "transformer":
            give = head.doc_logits if name == "textcat" else lambda d, h=head: h.word_logits(d)[0]
            found[name] = give(docs).detach().float().cpu()
    return found


def gradients_of(nlp: Language, texts: list[list[str]]) -> dict[str, torch.Tensor]:
    """RETURNS (Dict[str, Tensor]): What an update leaves on all weights, by component."""
    nlp.update(examples_of(nlp, texts), sgd=False, drop=0.0, losses={})
    nlp.get_pipe("transformer").settle()
    found = {}
    for name, pipe in nlp.pipeline:
        parts = [
            p.grad.detach().to_dense().float().cpu().flatten()
            for p in pipe.model.shims[0].module.parameters()
            if p.grad is not None
        ]
        found[name] = torch.cat(parts)
        for parameter in pipe.model.shims[0].module.parameters():
            parameter.grad = None
    return found


def compare(
    folder: Path, texts: list[list[str]], devices: tuple[str, str]
) -> dict[str, dict[str, float]]:
    """Load a pipeline on both devices.

    RETURNS (Dict): By component, the largest difference of logits, that of gradients over their
        norm, and the share of labels in bfloat16 that are those of float32.
    """
    logits, gradients = [], []
    for device in devices:
        use(device)
        nlp = spacy.load(folder)
        logits.append(logits_of(nlp, texts))
        gradients.append(gradients_of(nlp, texts[:32]))
    half = spacy.load(folder, config={"components.transformer.precision": "bfloat16"})
    labels = logits_of(half, texts)
    found: dict[str, dict[str, float]] = {"logits": {}, "gradients": {}, "bfloat16_labels": {}}
    for name, ours in logits[1].items():
        found["logits"][name] = float((ours - logits[0][name]).abs().max())
        same = ours.argmax(1) == labels[name].argmax(1)
        found["bfloat16_labels"][name] = round(float(same.float().mean()), 4)
    for name, gradient in gradients[1].items():
        other = gradients[0][name]
        found["gradients"][name] = float((gradient - other).norm() / other.norm())
    return found


def check_heads(
    encoder: str, texts: list[list[str]], folder: Path, devices: tuple[str, str]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for option, config in OPTIONS.items():
        use("cpu")
        nlp, sgd = pipeline(
            encoder, lambda nlp: examples_of(nlp, texts[:200]), options=dict.fromkeys(SPANS, config)
        )
        for _ in range(3):
            nlp.update(examples_of(nlp, texts[:32]), sgd=sgd)
        nlp.to_disk(folder / option)
        found[option] = compare(folder / option, texts[:200], devices)
    found["is_right"] = all(
        max(found[option][what].values()) < 1e-3
        for option in OPTIONS
        for what in ("logits", "gradients")
    )
    return found


# A training of the bundled samples


def write_corpora(folder: Path) -> None:
    """Convert the bundled samples as `make demo` does, several at once."""
    names = {
        "pos": ("conllu", "conllu"),
        "chunk": ("conll2000", "txt"),
        "ner": ("conll03", "txt"),
        "topic": ("ag_news", "csv"),
    }
    commands = [
        ("convert", kind, ASSETS / task / f"{part}.{ending}", folder / f"{task}-{part}.spacy")
        for task, (kind, ending) in names.items()
        for part in ("train", "dev")
    ]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda words: _run("multitask", *words), commands))


def start_training(
    encoder: str, corpus: Path, output: Path, device: str, steps: int
) -> subprocess.Popen:
    config = ASSETS.parent / "configs" / "demo.cfg"
    options = {
        "paths.encoder": encoder,
        "paths.corpus": corpus,
        "training.max_epochs": 0,
        "training.max_steps": steps,
        "training.eval_frequency": max(1, steps // 3),
        "training.batcher.max_words": 400,
        "system.gpu_allocator": "pytorch" if device == "cuda" else "null",
    }
    words = [str(x) for name, value in options.items() for x in (f"--{name}", value)]
    command = ["multitask", "train", config, "--output", output, "--gpu-id"]
    command += ["0" if device == "cuda" else "-1", "--checkpoint-steps", "5", "--resume", *words]
    return subprocess.Popen(
        [sys.executable, "-m", "spacy", *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process: subprocess.Popen) -> None:
    """RAISES (RuntimeError): If it failed."""
    said, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(said[-1500:])


def score_of(output: Path) -> float:
    meta = json.loads((output / "model-best" / "meta.json").read_text(encoding="utf8"))
    names = ("tag_acc", "spans_np_f", "ents_f", "cats_acc")
    return sum(100 * meta["performance"][name] for name in names) / len(names)


def check_training(
    encoder: str, folder: Path, devices: Iterable[str], steps: int
) -> dict[str, Any]:
    """Train on both devices at once; kill that on the second once, and go on.

    RETURNS (Dict[str, Any]): The mean scores, and the step after which it was killed.
    """
    first, second = devices
    write_corpora(folder)
    running = start_training(encoder, folder, folder / "first", first, steps)
    killed = start_training(encoder, folder, folder / "second", second, steps)
    checkpoint = folder / "second" / "checkpoint.safetensors"
    while killed.poll() is None and not checkpoint.exists():
        time.sleep(0.2)
    if killed.poll() is None:
        os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    was_killed = killed.returncode == -signal.SIGKILL
    ended(start_training(encoder, folder, folder / "second", second, steps))
    ended(running)
    scores = {first: score_of(folder / "first")}
    scores = {"cpu": scores[first], "device": score_of(folder / "second")}
    return {
        "scores": scores,
        "went_on_after_sigkill": was_killed,
        "is_right": was_killed and scores["device"] > scores["cpu"] - 1.0,
    }


def _run(*command: object) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "spacy", *map(str, command)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stdout[-1000:] + done.stderr[-1000:])
