"""spaCy's training, with checkpoints from which it goes on as if it had never been interrupted.

The loop itself, the order of the data and the evaluation are spaCy's own functions. After an
interruption the steps up to the checkpoint are gone through once more without training: reader,
batcher, schedules and loop then stand where they stood, and weights, optimizer and random numbers
come from the file.
"""

from __future__ import annotations

import json
import shutil
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from timeit import default_timer
from typing import IO, Any, cast

import spacy
import torch
from spacy.language import Language
from spacy.schemas import ConfigSchemaTraining
from spacy.training import Example
from spacy.training.loop import (
    DIR_MODEL_BEST,
    DIR_MODEL_LAST,
    clean_output_dir,
    create_before_to_disk_callback,
    create_evaluation_callback,
    create_train_batches,
    train_while_improving,
    update_meta,
)
from spacy.util import dict_to_dot, registry, resolve_dot_names
from thinc.api import Optimizer, fix_random_seed, get_torch_default_device, set_gpu_allocator
from tqdm import tqdm
from wasabi import Printer

from ..encoder.component import MultitaskTransformer
from ..progress import SETTINGS
from ..safe_files import SavingError, new_folder, recover
from .checkpoint import capture, read_checkpoint, restore, write_checkpoint
from .logger import LogPrinter, finite
from .randomness import RandomState, Snapshot, random_state, set_random_state

CHECKPOINT_FILE = "checkpoint.safetensors"
# Settings that may change between two parts of a training: where things are, what is printed...
FREE_SETTINGS = ("paths.", "training.logger.")
# ...but for this one, which ends the training.
LOGGER_PATIENCE = "training.logger.patience"

CHANGED_DATA = (
    "The corpora give other batches than before {path} was written. Restore the corpora that the "
    "training began with, or train from the beginning, without --resume."
)

Batch = tuple[int, list[Example]]
Evaluation = tuple[float, dict[str, Any]]


def train(
    nlp: Language,
    output_path: Path,
    *,
    use_gpu: int = -1,
    resume: bool = False,
    checkpoint_steps: int = 0,
    stdout: IO | None = None,
    stderr: IO | None = None,
) -> Path:
    """Train a pipeline as `spacy.training.loop.train` does, and with the same result; but if the
    last step does not fall on an evaluation, there is one more after it. The learning rate has
    come to its end there, so it is often the best.

    nlp (Language): The initialised pipeline with its full config.
    output_path (Path): Folder for model-best, model-last and the checkpoint.
    use_gpu (int): The GPU that `require_gpu` was called for, or -1.
    resume (bool): Go on from the checkpoint in the folder, if there is one. On a CPU, with as many
        threads, the weights come out bit-equal to those of a training without interruption.
    checkpoint_steps (int): Steps between two checkpoints; there is one after each evaluation
        besides. 0 for no others.
    RETURNS (Path): The folder of the last model.
    RAISES (SavingError): If something can't be written; what was there before is as it was.
    RAISES (ValueError): If the checkpoint is damaged or of another training.
    """
    stdout, stderr = stdout or sys.stdout, stderr or sys.stderr
    msg = Printer(no_print=True)
    config = nlp.config.interpolate()
    if config["training"]["seed"] is not None:
        fix_random_seed(config["training"]["seed"])
    allocator = config["training"]["gpu_allocator"]
    if use_gpu >= 0 and allocator:
        set_gpu_allocator(allocator)
    T = registry.resolve(config["training"], schema=ConfigSchemaTraining)
    train_corpus, dev_corpus = resolve_dot_names(config, [T["train_corpus"], T["dev_corpus"]])
    optimizer: Optimizer = T["optimizer"]
    before_to_disk = create_before_to_disk_callback(T["before_to_disk"])
    before_update = T["before_update"]
    frozen = T["frozen_components"]
    best, last = output_path / DIR_MODEL_BEST, output_path / DIR_MODEL_LAST

    def save_model(is_best: bool) -> None:
        with nlp.use_params(optimizer.averages), new_folder(last) as folder:
            before_to_disk(nlp).to_disk(folder)
        if is_best:
            with new_folder(best) as folder:
                shutil.copytree(last, folder, dirs_exist_ok=True)

    checkpoint = output_path / CHECKPOINT_FILE
    for path in (best, last):
        recover(path)
    past = None
    if resume and checkpoint.exists():
        past = Past(checkpoint)
        for line in past.differences(nlp):
            stdout.write(msg.warn(line) + "\n")
    for _, pipe in nlp.components:
        if isinstance(pipe, MultitaskTransformer):
            pipe.wiring.check_heads()  # before a checkpoint puts other weights in
    run = Run(nlp, optimizer, past)
    evaluate = create_evaluation_callback(nlp, dev_corpus, T["score_weights"])
    steps = train_while_improving(
        cast(Language, run),
        optimizer,
        run.batches(create_train_batches(nlp, train_corpus, T["batcher"], T["max_epochs"])),
        run.evaluation(evaluate, dev_corpus),
        dropout=T["dropout"],
        accumulate_gradient=T["accumulate_gradient"],
        patience=T["patience"],
        max_steps=T["max_steps"],
        eval_frequency=T["eval_frequency"],
        exclude=frozen,
        annotating_components=T["annotating_components"],
        before_update=before_update and (lambda _, args: before_update(nlp, args)),
    )
    if past is None:
        if resume:
            stdout.write(msg.info(f"No checkpoint in {output_path}: from the beginning") + "\n")
        checkpoint.unlink(missing_ok=True)
        clean_output_dir(output_path)
    stdout.write(msg.info(f"Pipeline: {nlp.pipe_names}") + "\n")
    if frozen:
        stdout.write(msg.info(f"Frozen components: {frozen}") + "\n")
    if T["annotating_components"]:
        stdout.write(
            msg.info(f"Set annotations on update for: {T['annotating_components']}") + "\n"
        )
    stdout.write(msg.info(f"Initial learn rate: {optimizer.learn_rate}") + "\n")
    with nlp.select_pipes(disable=frozen):
        log_step, finalize_logger = T["logger"](nlp, stdout, stderr)
    # Our logger knows where it was; others are told of the past once more.
    keeper = getattr(log_step, "__self__", None)
    if not isinstance(keeper, LogPrinter):
        keeper = None
    else:
        keeper.end_is_evaluated = True

    def note_performance(info: dict[str, Any], is_best: bool | None) -> None:
        if is_best is not None:
            with nlp.select_pipes(disable=frozen):
                update_meta(T, nlp, info)
            nlp.meta["performance"] = _fit_to_be_saved(nlp.meta["performance"])

    def take_note(info: dict[str, Any], is_best: bool | None) -> None:
        run.take_note(info, is_best)
        note_performance(info, is_best)
        if is_best is not None:
            save_model(is_best)
            info["output_path"] = str(last)
        log_step(info if is_best is not None else None)

    info, is_best = None, None
    try:
        if past is not None:
            stdout.write(msg.info(f"Going on after step {past.step}, from {checkpoint}") + "\n")
            # A bar around the loop would close the generator at its end.
            with tqdm(
                desc="Steps of the past", total=past.step + 1, unit="step", **SETTINGS
            ) as bar:
                for batch, info, is_best in steps:
                    bar.update(1)
                    run.bring_back(info)
                    note_performance(info, is_best)
                    if keeper is None:
                        log_step(info if is_best is not None else None)
                    if info["step"] == past.step:
                        run.go_live(batch, info)
                        break
            if not run.is_live:
                raise ValueError(CHANGED_DATA.format(path=checkpoint))
            if keeper is not None:
                keeper.go_on(past.notes["logger"])
        for batch, info, is_best in steps:
            take_note(info, is_best)
            if is_best is not None or (checkpoint_steps and not info["step"] % checkpoint_steps):
                run.save(checkpoint, batch, info, keeper.place() if keeper is not None else None)
        if info is not None and is_best is None:
            with nlp.use_params(optimizer.averages or {}):
                info["score"], info["other_scores"] = evaluate()
            info["checkpoints"].append((info["score"], info["step"]))
            take_note(info, info["score"] == max(info["checkpoints"])[0])
        else:
            save_model(False)
    except SavingError as error:
        # What is there is good, and trying again would not help.
        if run.is_live and checkpoint.exists():
            raise SavingError(f"{error} Then go on with --resume.") from error.__cause__
        raise
    except BaseException as error:
        if run.is_live:
            if isinstance(error, Exception):
                text = f"Aborting and saving the last model. Encountered exception: {error!r}"
                stdout.write(msg.warn(text) + "\n")
            save_model(False)
        raise
    finally:
        finalize_logger()
    stdout.write(msg.good("Saved pipeline to output directory", last) + "\n")
    return last


class Past:
    """A checkpoint of a training that was interrupted."""

    def __init__(self, path: Path):
        self.path = path
        self.tensors, self.notes = read_checkpoint(path)
        self.step: int = self.notes["step"]

    def random_states(self) -> dict[int, RandomState]:
        """RETURNS (Dict[int, Dict[str, Tensor]]): State before each batch that drew from it."""
        states: dict[int, RandomState] = {}
        for name, tensor in self.tensors.items():
            kind, _, rest = name.partition("/")
            if kind == "draws":
                step, _, generator = rest.partition("/")
                states.setdefault(int(step), {})[generator] = tensor
        return states

    def differences(self, nlp: Language) -> list[str]:
        """Compare the config and the machine with those that the training began with.

        RETURNS (List[str]): What may change results in the last bits.
        RAISES (ValueError): If the config is another; the settings are named. Or if it is another
            kind of device.
        """
        before, now = self.notes["settings"], _settings(nlp)
        changed = [
            f"{name} was {before.get(name)!r} and is {now.get(name)!r}"
            for name in sorted({*before, *now})
            if before.get(name) != now.get(name)
        ]
        if changed:
            more = f", and {len(changed) - 5} more" if len(changed) > 5 else ""
            raise ValueError(
                f"{self.path} belongs to another config: {'; '.join(changed[:5])}{more}. "
                "Resume with the config that it began with (only [paths] and [training.logger] may "
                "change), or train from the beginning, without --resume."
            )
        before, now = self.notes["environment"], _environment()
        if before["device"].split(":")[0] != now["device"].split(":")[0]:
            # On a CPU the optimizer keeps other moments, of the rows in use.
            raise ValueError(
                f"{self.path} was written on {before['device']}, and can't go on on "
                f"{now['device']}. Resume on a device of that kind, or train from the beginning, "
                "without --resume."
            )
        return [
            f"{name} was {before.get(name)} and is {value}: the last bits of the weights may differ"
            for name, value in now.items()
            if before.get(name) != value
        ]


class Run:
    """Stands between spaCy's loop and the pipeline.

    In steps of the past it does no work: it only brings back what came of them.
    """

    def __init__(self, nlp: Language, optimizer: Optimizer, past: Past | None):
        self.nlp = nlp
        self.optimizer = optimizer
        self.past = past
        self.step = -1
        self.draws = {} if past is None else past.random_states()
        self.evaluations: list[dict[str, Any]] = [] if past is None else past.notes["evaluations"]
        self.past_evaluations = {evaluation["step"]: evaluation for evaluation in self.evaluations}
        self.seconds_before = 0.0 if past is None else past.notes["seconds"]
        self.started = default_timer()

    @property
    def is_live(self) -> bool:
        return self.past is None

    @property
    def seconds(self) -> float:
        """RETURNS (float): Time spent on training, interruptions not counted."""
        return self.seconds_before + default_timer() - self.started

    # What spaCy's loop asks of a pipeline

    @property
    def pipeline(self) -> list[tuple[str, Any]]:
        """RETURNS (List[Tuple[str, Callable]]): The components that take a step."""
        return self.nlp.pipeline if self.is_live else []

    def update(
        self, examples: Iterable[Example], *, losses: dict[str, float], **options: Any
    ) -> None:
        if self.past is None:
            self.nlp.update(examples, losses=losses, **options)
        elif self.step == self.past.step:
            losses.update(self.past.notes["losses"])
        else:
            losses.update(self.past_evaluations.get(self.step, {}).get("losses", {}))

    def use_params(self, params: dict) -> AbstractContextManager:
        return self.nlp.use_params(params)

    # What the loop is given besides

    def batches(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """YIELDS (Tuple[int, List[Example]]): The same. If the reader or the batcher draw random
        numbers, the state of the generators is noted, and is set in a later run."""
        while True:
            step = self.step + 1
            if not self.is_live and step in self.draws:
                set_random_state(self.draws[step])
            before = Snapshot()
            batch = next(batches, None)
            if batch is None:
                return
            if self.is_live and not before.is_now():
                self.draws[step] = before.tensors()
            self.step = step
            yield batch

    def evaluation(self, evaluate: Callable[[], Evaluation], dev_corpus: Any) -> Callable:
        """RETURNS (Callable): The same; in the past it gives the scores of then."""

        def evaluate_or_remember() -> Evaluation:
            if self.is_live:
                return evaluate()
            if hasattr(dev_corpus, "skip"):
                dev_corpus.skip()
            evaluation = self.past_evaluations[self.step]
            return evaluation["score"], evaluation["other_scores"]

        return evaluate_or_remember

    # Notes

    def bring_back(self, info: dict[str, Any]) -> None:
        """Give a past step the time it had."""
        evaluation = self.past_evaluations.get(info["step"], {})
        info["seconds"] = int(evaluation.get("seconds", self.seconds_before))

    def take_note(self, info: dict[str, Any], is_best: bool | None) -> None:
        """Keep what came of an evaluation."""
        info["seconds"] = int(self.seconds)
        if is_best is not None:
            names = ("step", "score", "other_scores", "seconds")
            self.evaluations.append(
                {**{name: info[name] for name in names}, "losses": dict(info["losses"])}
            )

    def save(self, path: Path, batch: list[Example], info: dict[str, Any], logger: Any) -> None:
        """Write a checkpoint.

        logger (Any): What the logger wants to know when the training goes on.
        """
        tensors, notes = capture(self.nlp, self.optimizer)
        states = {"random": random_state()}
        states.update({f"draws/{step}": state for step, state in self.draws.items()})
        for place, state in states.items():
            tensors.update({f"{place}/{name}": tensor for name, tensor in state.items()})
        notes.update(
            step=info["step"],
            losses=dict(info["losses"]),
            evaluations=self.evaluations,
            words=info["words"],
            batch=_checksum(batch),
            seconds=self.seconds,
            logger=logger,
            strings=list(self.nlp.vocab.strings),
            settings=_settings(self.nlp),
            environment=_environment(),
        )
        write_checkpoint(path, tensors, notes)

    def go_live(self, batch: list[Example], info: dict[str, Any]) -> None:
        """Put everything as it was at the checkpoint; from here on steps are taken.

        RAISES (ValueError): If the batches of the past were others.
        """
        assert self.past is not None
        tensors, notes = self.past.tensors, self.past.notes
        if info["words"] != notes["words"] or _checksum(batch) != notes["batch"]:
            raise ValueError(CHANGED_DATA.format(path=self.past.path))
        for string in notes["strings"]:
            self.nlp.vocab.strings.add(string)
        restore(self.nlp, self.optimizer, tensors, notes)
        set_random_state(
            {name.removeprefix("random/"): t for name, t in tensors.items() if "random/" in name}
        )
        self.past = None
        self.started = default_timer()


def _settings(nlp: Language) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): The config by dotted name, but for what may change."""
    settings = dict_to_dot(nlp.config)
    # Once through JSON, so that they compare with those from a file.
    text = json.dumps(
        {
            name: value
            for name, value in settings.items()
            if not name.startswith(FREE_SETTINGS) or name == LOGGER_PATIENCE
        }
    )
    return json.loads(text)


def _fit_to_be_saved(performance: dict[str, Any]) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): Scores and losses, None for those that are not numbers: a model
    that has diverged is saved, too. spaCy's scores per type come in the order of a set, which
    changes from run to run; here they are by name."""
    return {
        name: dict(sorted(value.items())) if isinstance(value, dict) else finite(value)
        for name, value in performance.items()
    }


def _environment() -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): What the last bits of sums depend on."""
    return {
        "spacy": spacy.__version__,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": str(get_torch_default_device()),
    }


def _checksum(batch: list[Example]) -> int:
    return zlib.crc32("\n".join(example.reference.text for example in batch).encode("utf8"))
