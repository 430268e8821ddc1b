"""What a training will take, before it starts: gold, passes, steps, memory, time.

Operations and activations per layer are counted as by Korthikanti et al. (2022),
https://arxiv.org/abs/2205.05198. How fast the device is, is measured with a matrix product.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Literal, NamedTuple

import torch
from spacy.language import Language
from spacy.util import dot_to_object, registry
from thinc.api import Config, get_current_ops

from ..corpus.reader import MultiCorpus
from ..corpus.survey import Survey, survey_docs
from ..encoder.component import MultitaskTransformer
from ..heads.kinds import HeadKind, gold_counts, kind_of
from ..layers.network import TransformerNetwork
from ..progress import progress
from .batching import BATCHER, MAX_DOCS, MAX_WORDS
from .step_count import StepCount, count_steps, epochs_of, is_foreseeable

PIECES_PER_WORD = 1.3
# Part of the measured speed that a whole training step reaches, on MiniLM and 2 CPU cores.
EFFICIENCY = 0.4
# What a step takes besides: batches, gradients and updates of small tensors, losses.
STEP_SECONDS = 0.02

HEADER = ("task", "head", "corpus", "docs", "words", "gold", "passes")
ALIGNS: list[Literal["r", "c", "l"]] = ["l", "l", "l", "r", "r", "r", "r"]

Row = tuple[str, ...]


@dataclass(frozen=True)
class EncoderSize:
    """Layers and width of an encoder, and words in its vocabulary.

    known (bool): Whether it could be looked up; else it is taken to be as large as BERT-base.
    learned (float): Part of the weights that learns.
    """

    layers: int = 12
    width: int = 768
    vocab: int = 30_000
    known: bool = False
    learned: float = 1.0


class Learner(NamedTuple):
    """A head, and where it looks for gold.

    name (str): Of the task or the component.
    kind (HeadKind): What is known of such heads.
    layers (Tuple[str]): Entries of `Survey.known`; of each corpus the first that it has counts.
    corpora (Optional[Container[str]]): The only ones that it learns from; None for all.
    """

    name: str
    kind: HeadKind
    layers: tuple[str, ...]
    corpora: frozenset[str] | None


@dataclass(frozen=True)
class Work:
    """How much is to be done.

    words (float): In one epoch.
    docs (float): In one epoch.
    epochs (float): How many.
    batch_words, batch_docs (int): Most in a batch.
    count (Optional[StepCount]): Steps, where its batches were counted.
    devices (int): Processes that share each batch.
    """

    words: float
    docs: float
    epochs: float
    batch_words: int
    batch_docs: int = MAX_DOCS
    count: StepCount | None = None
    devices: int = 1

    @property
    def steps(self) -> int:
        """RETURNS (int): Steps in all."""
        if self.count is not None:
            return self.count.steps
        n = max(1, ceil(self.words / self.batch_words), ceil(self.docs / self.batch_docs))
        return round(n * self.epochs)

    def describe_steps(self) -> str:
        """RETURNS (str): Such as "About 300 steps"."""
        is_certain = self.count is not None and self.count.is_certain
        return f"{'' if is_certain else 'About '}{self.steps:,} steps"


@dataclass(frozen=True)
class Estimate:
    """Steps of the whole training, seconds on this device, bytes at the peak."""

    steps: int
    seconds: float
    memory: float


def estimate_work(
    encoder: EncoderSize, work: Work, *, device: str, half: bool, frozen: bool
) -> Estimate:
    """
    half (bool): Whether the encoder computes in 16 bits.
    frozen (bool): Whether the encoder does not learn.
    """
    pieces = work.words * work.epochs * PIECES_PER_WORD
    parameters = 12 * encoder.layers * encoder.width**2
    speed = measure_speed(device, torch.bfloat16 if half and device == "cuda" else torch.float32)
    total = parameters + encoder.vocab * encoder.width
    batch_pieces = work.batch_words * PIECES_PER_WORD / work.devices
    # The paper counts 16 bits, and a frozen encoder keeps nothing for a way back.
    activations = batch_pieces * encoder.layers * encoder.width * 34 * (1 if half else 2)
    # Forward, back to what is below, and to the weights themselves.
    operations = (2 if frozen else 4 + 2 * encoder.learned) * parameters * pieces
    return Estimate(
        steps=work.steps,
        seconds=operations / (speed * EFFICIENCY * work.devices) + STEP_SECONDS * work.steps,
        # Weights, gradients and AdamW's two moments, 4 bytes each; and Python with its libraries.
        memory=1e9 + 4 * total + (0 if frozen else 12 * total * encoder.learned + activations),
    )


def measure_speed(device: str, dtype: torch.dtype) -> float:
    """RETURNS (float): Operations per second in matrix products of an encoder's size."""
    # Not random numbers: what a training draws must not depend on what is said before.
    a, b = (torch.ones(1024, 1024, device=device, dtype=dtype) for _ in range(2))
    a @ b
    n = 0
    started = time.perf_counter()
    while time.perf_counter() - started < 0.2:
        a @ b
        n += 1
        if device != "cpu":
            torch.cuda.synchronize()
    return n * 2 * 1024**3 / (time.perf_counter() - started)


def describe_training(nlp: Language, devices: int = 1) -> tuple[list[Row], str] | None:
    """Describe a training that is about to start.

    nlp (Language): Initialised, with the config that it is trained by.
    devices (int): Processes that train it.
    RETURNS (Optional[Tuple[List[Row], str]]): As from `describe`; None if the training corpus is
        not a `MultiCorpus`, or is read as a stream.
    """
    config = nlp.config.interpolate()
    training = config["training"]
    section = dot_to_object(config, training["train_corpus"])
    reader = registry.resolve({"corpus": section})["corpus"]
    if not isinstance(reader, MultiCorpus) or training["max_epochs"] < 0:
        return None
    reader.find_leaks(nlp)
    surveys = {
        name: survey_docs(progress(reader.docs(name), f"Looking into {name}"), gold_counts())
        for name in reader.corpora
    }
    shares = reader.shares({name: found.docs for name, found in surveys.items()})
    per_epoch = {name: shares[name] / max(1, found.docs) for name, found in surveys.items()}
    learners = learners_of(nlp, training["frozen_components"])
    work = _work_of(nlp, reader, surveys, per_epoch)
    if work is not None:
        work = replace(work, devices=devices)
    epochs = 1.0 if work is None else work.epochs
    rows = rows_of(learners, surveys, {name: n * epochs for name, n in per_epoch.items()})
    text = _steps_and_cost(nlp, training, work)
    used = {row[2] for row in rows}
    unused = [name for name in surveys if name not in used]
    pupils = [name for name, pipe in nlp.components if getattr(pipe, "teacher", None) is not None]
    if unused:
        text += f" No head learns from {'gold of ' if pupils else ''}{', '.join(unused)}."
    if pupils:
        text += f" {', '.join(pupils)}: a teacher labels what has no gold."
    taught = {row[0] for row in rows}
    spoiled = [name for name in dependents(nlp) if name not in taught]
    if spoiled:
        text += f" {describe_spoiled(spoiled)}"
    return rows, text


def dependents(nlp: Language) -> list[str]:
    """RETURNS (List[str]): Heads that learn on an encoder that learns, in order."""
    frozen = nlp.config["training"].get("frozen_components", [])
    encoders = [
        pipe
        for name, pipe in nlp.components
        if isinstance(pipe, MultitaskTransformer) and name not in frozen
    ]
    listening = {name for encoder in encoders for name in encoder.listening_components}
    return [learner.name for learner in learners_of(nlp, frozen) if learner.name in listening]


def describe_spoiled(heads: list[str]) -> str:
    """RETURNS (str): What happens to heads that listen to an encoder that learns from others."""
    return (
        f"No training example has gold for {', '.join(heads)}: while the encoder learns, what they "
        "have learned before gets lost. Add a corpus with gold for them, freeze them together with "
        "the encoder ([training] frozen_components), or freeze them with a copy of it of their own "
        '(replace_listeners = ["model.tok2vec"]).'
    )


def learners_of(nlp: Language, frozen: list[str]) -> list[Learner]:
    """RETURNS (List[Learner]): Heads that learn, in the order of the pipeline."""
    found = []
    for name, pipe in nlp.pipeline:
        kind = kind_of(pipe, nlp.get_pipe_meta(name).factory)
        if kind is not None and name not in frozen:
            corpora = getattr(pipe, "corpora", None)
            found.append(Learner(name, kind, kind.layers_of(pipe), corpora))
    return found


def _work_of(
    nlp: Language,
    reader: MultiCorpus,
    surveys: Mapping[str, Survey],
    per_epoch: Mapping[str, float],
) -> Work | None:
    """RETURNS (Optional[Work]): None if another batcher than ours decides, or no limit is set."""
    training = nlp.config.interpolate()["training"]
    batcher = training["batcher"]
    limits = {"max_epochs": training["max_epochs"], "max_steps": training["max_steps"]}
    if batcher.get("@batchers") != BATCHER or not any(limits.values()):
        return None
    max_words = batcher.get("max_words", MAX_WORDS)
    max_docs = batcher.get("max_docs", MAX_DOCS)
    epochs = epochs_of(reader, {name: found.lengths for name, found in surveys.items()})
    count = count_steps(epochs, max_words=max_words, max_docs=max_docs, **limits)
    if not is_foreseeable(nlp, reader):
        count = count._replace(is_certain=False)
    return Work(
        sum(found.words * per_epoch[name] for name, found in surveys.items()),
        sum(found.docs * per_epoch[name] for name, found in surveys.items()),
        count.epochs,
        max_words,
        max_docs,
        count,
    )


def _steps_and_cost(nlp: Language, training: Config, work: Work | None) -> str:
    # Frozen components are disabled while spaCy trains, so they are not in nlp.pipeline.
    encoders = [(n, c) for n, c in nlp.components if isinstance(c, MultitaskTransformer)]
    if work is None:
        return "How many steps it takes is not known beforehand; passes are those of an epoch."
    name, component = encoders[0] if len(encoders) == 1 else ("", None)
    network = None if component is None else component.shim.module
    if component is None or not isinstance(network, TransformerNetwork):
        return f"{work.describe_steps()}."
    config = network.transformer.config
    counts = [(p.numel(), p.requires_grad) for p in network.parameters()]
    learned = sum(n for n, learns in counts if learns) / sum(n for n, _ in counts)
    layers, width = config.num_hidden_layers, config.hidden_size
    size = EncoderSize(layers, width, config.vocab_size, known=True, learned=learned)
    guess = estimate_work(
        size,
        work,
        device="cpu" if get_current_ops().device_type == "cpu" else "cuda",
        half=component.precision == "bfloat16",
        frozen=name in training["frozen_components"],
    )
    text = sentence(work, guess)
    if training["patience"]:
        text += f" It ends early when {training['patience']} steps bring no better score."
    return text


def rows_of(
    learners: Iterable[Learner], surveys: Mapping[str, Survey], passes: Mapping[str, float]
) -> list[Row]:
    rows: list[Row] = []
    for learner in learners:
        for corpus, found in surveys.items():
            layer = next((key for key in learner.layers if found.known[key]), None)
            if layer is None or (learner.corpora is not None and corpus not in learner.corpora):
                continue
            rows.append(
                (
                    learner.name,
                    learner.kind.name,
                    corpus,
                    f"{found.known[layer]:,}",
                    f"{found.words:,}",
                    f"{found.items[layer]:,} {learner.kind.items}",
                    f"{passes[corpus]:.3g}",
                )
            )
    return rows


def sentence(work: Work, guess: Estimate) -> str:
    on, each = (f" on {work.devices} devices", " each") if work.devices > 1 else ("", "")
    return (
        f"{work.describe_steps()} of at most {work.batch_words:,} words{on}, "
        f"about {_duration(guess.seconds)} and {guess.memory / 2**30:.1f} GiB{each}."
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
