"""What an adapter, or frozen layers, save: memory, time and size against the whole encoder.

Each setting trains a tagger and an entity recogniser in a process of its own, that tells its
peak of memory. Time is that of the processor, which other processes do not change. Tags are scored
on the development part after the steps; with few of them that only shows that it learns.

Example: python -m benchmarks.adapters --json benchmarks/results/adapters.json
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any

import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import fix_random_seed

from spacy_multitask.training.optimizer import make_adamw

from .common import (
    Runs,
    about,
    arguments,
    packaged_encoder,
    peak_mib,
    peer,
    sentences,
    training_examples,
)

HEADS = ("tagger", "ner")
# Setting -> options of the encoder, and its learning rate.
SETTINGS: dict[str, tuple[dict[str, Any], float]] = {
    "whole encoder": ({}, 3e-4),
    "LoRA, targets of peft": ({"adapter": {"rank": 8}}, 3e-4),
    "LoRA, all linear layers": (
        {"adapter": {"rank": 8, "targets": ["query", "key", "value", "dense"]}},
        3e-4,
    ),
    "lower half frozen": ({"freeze": "embeddings,0-2"}, 3e-4),
    "lower half frozen, no word shapes": (
        {"freeze": "embeddings,0-2", "word_shapes": False},
        3e-4,
    ),
}
BATCH = 16  # sentences
N_WARM = 2  # steps that are not timed


def make(encoder: str, setting: str, gold: Any) -> tuple[Language, Any]:
    options, rate = SETTINGS[setting]
    fix_random_seed(0)
    nlp = spacy.blank("en")
    model = {"@architectures": "spacy_multitask.Encoder.v1", "name": encoder, **options}
    nlp.add_pipe("multitask_transformer", name="transformer", config={"model": model})
    for head in HEADS:
        nlp.add_pipe(f"multitask_{head}", name=head)
    sgd = make_adamw(learn_rate=rate, head_learn_rate=1e-3)
    return nlp, nlp.initialize(lambda: gold(nlp), sgd=sgd)


def batches(examples: list[Example]) -> Iterator[list[Example]]:
    stream = cycle(examples)
    while True:
        yield list(islice(stream, BATCH))


def measure(encoder: str, setting: str, samples: Any, n_steps: int) -> dict[str, float]:
    """RETURNS (Dict[str, float]): Processor seconds of a step, peak of memory in MiB, numbers that
    learn, bytes that are saved for them alone, and accuracy of tags."""
    examples: list[Example] = []
    nlp, sgd = make(encoder, setting, lambda nlp: training_examples(nlp, samples))
    examples = training_examples(nlp, samples)
    network = nlp.get_pipe("transformer").shim.module
    n_before = peak_mib()
    started = 0.0
    for step, batch in enumerate(islice(batches(examples), n_steps + N_WARM)):
        if step == N_WARM:
            started = time.process_time()
        nlp.update(batch, sgd=sgd)
    nlp.get_pipe("transformer").settle()
    seconds = (time.process_time() - started) / n_steps
    peak = peak_mib()
    right = total = 0
    for words, tags in islice(sentences(samples / "ud/dev.txt"), 100):
        doc = nlp(Doc(nlp.vocab, words=words))
        right += sum(token.tag_ == tag for token, tag in zip(doc, tags))
        total += len(words)
    learned = sum(p.numel() for p in network.parameters() if p.requires_grad)
    files = nlp.get_pipe("transformer").shim.to_files()
    adapter = files.get("adapter_model.safetensors")
    return {
        "step_cpu_seconds": round(seconds, 3),
        "peak_mib": round(peak),
        "before_training_mib": round(n_before),
        "learned": learned,
        "adapter_bytes": 0 if adapter is None else len(adapter),
        "tag_acc": round(right / total, 4),
    }


def as_markdown(results: dict) -> str:
    """RETURNS (str): A table of the settings."""
    lines = [
        f"Training a tagger and entities on one encoder. {about(results['machine'])}",
        "",
        "| setting | a step, processor | memory at the peak | numbers that learn | adapter |",
        "|---|---|---|---|---|",
    ]
    for setting, by_seed in results["runs"].items():
        (found,) = by_seed.values()
        size = f"{found['adapter_bytes'] / 2**10:,.0f} KiB" if found["adapter_bytes"] else "-"
        lines.append(
            f"| {setting} | {found['step_cpu_seconds']:.2f} s | {found['peak_mib']:,} MiB | "
            f"{found['learned']:,} | {size} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--only", choices=SETTINGS, help="Measure this one here.")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    encoder = args.encoder or packaged_encoder()
    if args.only:
        import json

        print(json.dumps(measure(encoder, args.only, args.samples, args.steps)))
        return
    runs = Runs(args.json, lambda runs: {}, as_markdown)
    command = ["-m", "benchmarks.adapters", "--encoder", encoder, "--samples", args.samples]
    command += ["--threads", args.threads, "--steps", args.steps, "--only"]
    for setting in SETTINGS:
        runs.once((setting, "0"), peer, sys.executable, *command, setting)


if __name__ == "__main__":
    main()
