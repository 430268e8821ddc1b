"""spaCy's training, with checkpoints from which it goes on as if it had never been interrupted.

The loop itself, the order of the data and the evaluation are spaCy's own functions.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

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
from spacy.util import registry, resolve_dot_names
from thinc.api import fix_random_seed, set_gpu_allocator
from tqdm import tqdm
from wasabi import Printer

from ..encoder.component import MultitaskTransformer
from ..plain import finite
from ..plan import opened
from ..progress import SETTINGS
from ..safe_files import SavingError, new_folder, recover
from .logger import LogPrinter
from .run import CHANGED_DATA, Past, Run

CHECKPOINT_FILE = "checkpoint.safetensors"

# What spaCy's loop gives after each step: the batch, what came of it, and whether the step was
# followed by the best evaluation so far; None if by no evaluation.
Step = tuple[list[Example], dict[str, Any], bool | None]


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
    with opened():
        training = Training(nlp, output_path, checkpoint_steps, stdout or sys.stdout)
        training.build(use_gpu)
        training.begin(resume, stderr or sys.stderr)
        with training.saved_after_failure():
            training.catch_up()
            training.take_steps()
            training.finish()
    return training.last


class Training:
    """A training on its way, with the files that it writes."""

    T: dict[str, Any]
    log: Log
    run: Run

    def __init__(self, nlp: Language, output_path: Path, checkpoint_steps: int, stdout: IO):
        self.nlp = nlp
        self.output_path = output_path
        self.checkpoint_steps = checkpoint_steps
        self.stdout = stdout
        self.msg = Printer(no_print=True)
        self.best, self.last = output_path / DIR_MODEL_BEST, output_path / DIR_MODEL_LAST
        self.checkpoint = output_path / CHECKPOINT_FILE
        # The latest step.
        self.step: Step | None = None

    def say(self, line: str) -> None:
        self.stdout.write(line + "\n")

    # Before the first step

    def build(self, use_gpu: int) -> None:
        """Make what the config names: corpora, batcher, optimizer, ..."""
        config = self.nlp.config.interpolate()
        if config["training"]["seed"] is not None:
            fix_random_seed(config["training"]["seed"])
        allocator = config["training"]["gpu_allocator"]
        if use_gpu >= 0 and allocator:
            set_gpu_allocator(allocator)
        self.T = registry.resolve(config["training"], schema=ConfigSchemaTraining)
        self.train_corpus, self.dev_corpus = resolve_dot_names(
            config, [self.T["train_corpus"], self.T["dev_corpus"]]
        )
        self.optimizer = self.T["optimizer"]
        self.before_to_disk = create_before_to_disk_callback(self.T["before_to_disk"])
        self.evaluate = create_evaluation_callback(
            self.nlp, self.dev_corpus, self.T["score_weights"]
        )

    def begin(self, resume: bool, stderr: IO) -> None:
        """Get ready for the first step, or for the one after the checkpoint."""
        for path in (self.best, self.last):
            recover(path)
        past = self._past() if resume else None
        for _, pipe in self.nlp.components:
            if isinstance(pipe, MultitaskTransformer):
                pipe.wiring.check_heads()  # before a checkpoint puts other weights in
        self.run = Run(self.nlp, self.optimizer, past)
        self.steps = self._steps()
        if past is None:
            if resume:
                text = f"No checkpoint in {self.output_path}: from the beginning"
                self.say(self.msg.info(text))
            self.checkpoint.unlink(missing_ok=True)
            clean_output_dir(self.output_path)
        self._introduce()
        with self.nlp.select_pipes(disable=self.T["frozen_components"]):
            self.log = Log(self.T["logger"], self.nlp, self.stdout, stderr)

    def _past(self) -> Past | None:
        """RETURNS (Optional[Past]): What the folder holds of a training before."""
        if not self.checkpoint.exists():
            return None
        past = Past(self.checkpoint)
        for line in past.differences(self.nlp):
            self.say(self.msg.warn(line))
        return past

    def _steps(self) -> Iterator[Step]:
        """RETURNS (Iterator[Step]): spaCy's loop."""
        T = self.T
        before_update = T["before_update"]
        batches = create_train_batches(self.nlp, self.train_corpus, T["batcher"], T["max_epochs"])
        return train_while_improving(
            cast(Language, self.run),
            self.optimizer,
            self.run.batches(batches),
            self.run.evaluation(self.evaluate, self.dev_corpus),
            dropout=T["dropout"],
            accumulate_gradient=T["accumulate_gradient"],
            patience=T["patience"],
            max_steps=T["max_steps"],
            eval_frequency=T["eval_frequency"],
            exclude=T["frozen_components"],
            annotating_components=T["annotating_components"],
            before_update=before_update and (lambda _, args: before_update(self.nlp, args)),
        )

    def _introduce(self) -> None:
        self.say(self.msg.info(f"Pipeline: {self.nlp.pipe_names}"))
        if self.T["frozen_components"]:
            self.say(self.msg.info(f"Frozen components: {self.T['frozen_components']}"))
        if self.T["annotating_components"]:
            text = f"Set annotations on update for: {self.T['annotating_components']}"
            self.say(self.msg.info(text))
        self.say(self.msg.info(f"Initial learn rate: {self.optimizer.learn_rate}"))

    # Steps

    def catch_up(self) -> None:
        """Go through the steps of the past, and put everything as it was at the checkpoint.

        RAISES (ValueError): If they are others now.
        """
        past = self.run.past
        if past is None:
            return
        self.say(self.msg.info(f"Going on after step {past.step}, from {self.checkpoint}"))
        # A bar around the loop would close the generator at its end.
        with tqdm(desc="Steps of the past", total=past.step + 1, unit="step", **SETTINGS) as bar:
            for step in self.steps:
                bar.update(1)
                self.step = batch, info, is_best = step
                self.run.bring_back(info)
                self._note_performance(info, is_best)
                self.log.past_step(info, is_best)
                if info["step"] == past.step:
                    self.run.go_live(batch, info)
                    self.log.go_on(past.notes["logger"])
                    return
        raise ValueError(CHANGED_DATA.format(path=self.checkpoint))

    def take_steps(self) -> None:
        """Take the steps that are left."""
        for step in self.steps:
            self.step = batch, info, is_best = step
            self._take_note(info, is_best)
            is_due = self.checkpoint_steps and not info["step"] % self.checkpoint_steps
            if is_best is not None or is_due:
                self.run.save(self.checkpoint, batch, info, self.log.place())

    def finish(self) -> None:
        """Look at the last step, too, and save what came of it."""
        if self.step is None or self.step[2] is not None:
            self._save_model(False)
        else:
            _, info, _ = self.step
            with self.nlp.use_params(self.optimizer.averages or {}):
                info["score"], info["other_scores"] = self.evaluate()
            info["checkpoints"].append((info["score"], info["step"]))
            self._take_note(info, info["score"] == max(info["checkpoints"])[0])
        self.say(self.msg.good("Saved pipeline to output directory", self.last))

    def _take_note(self, info: dict[str, Any], is_best: bool | None) -> None:
        self.run.take_note(info, is_best)
        self._note_performance(info, is_best)
        if is_best is not None:
            self._save_model(is_best)
            info["output_path"] = str(self.last)
        self.log.step(info, is_best)

    def _note_performance(self, info: dict[str, Any], is_best: bool | None) -> None:
        """Put what came of an evaluation into the pipeline's meta data."""
        if is_best is None:
            return
        with self.nlp.select_pipes(disable=self.T["frozen_components"]):
            update_meta(cast(Any, self.T), self.nlp, info)
        # A model that has diverged is saved, too. spaCy's scores per type come in the order of a
        # set, which changes from run to run; here they are by name.
        self.nlp.meta["performance"] = {
            name: finite(dict(sorted(value.items())) if isinstance(value, dict) else value)
            for name, value in self.nlp.meta["performance"].items()
        }

    # Files

    def _save_model(self, is_best: bool) -> None:
        with self.nlp.use_params(self.optimizer.averages), new_folder(self.last) as folder:
            self.before_to_disk(self.nlp).to_disk(folder)
        if is_best:
            with new_folder(self.best) as folder:
                shutil.copytree(self.last, folder, dirs_exist_ok=True)

    @contextmanager
    def saved_after_failure(self) -> Iterator[None]:
        """Save the last model if something goes wrong; close the log in any case."""
        try:
            yield
        except SavingError as error:
            # What is there is good, and trying again would not help.
            if self.run.is_live and self.checkpoint.exists():
                raise SavingError(f"{error} Then go on with --resume.") from error.__cause__
            raise
        except BaseException as error:
            if self.run.is_live:
                if isinstance(error, Exception):
                    text = f"Aborting and saving the last model. Encountered exception: {error!r}"
                    self.say(self.msg.warn(text))
                self._save_model(False)
            raise
        finally:
            self.log.close()


class Log:
    """The logger that the config names.

    Ours knows where it was when a training goes on; others are told of the past once more.
    """

    def __init__(self, make: Any, nlp: Language, stdout: IO, stderr: IO):
        self._log_step, self.close = make(nlp, stdout, stderr)
        printer = getattr(self._log_step, "__self__", None)
        self._printer = printer if isinstance(printer, LogPrinter) else None
        if self._printer is not None:
            self._printer.end_is_evaluated = True

    def step(self, info: dict[str, Any], is_best: bool | None) -> None:
        self._log_step(info if is_best is not None else None)

    def past_step(self, info: dict[str, Any], is_best: bool | None) -> None:
        if self._printer is None:
            self.step(info, is_best)

    def place(self) -> dict[str, Any] | None:
        """RETURNS (Optional[Dict[str, Any]]): What `go_on` takes."""
        return None if self._printer is None else self._printer.place()

    def go_on(self, place: dict[str, Any] | None) -> None:
        if self._printer is not None and place is not None:
            self._printer.go_on(place)
