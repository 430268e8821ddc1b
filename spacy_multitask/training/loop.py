"""spaCy's training, with checkpoints from which it goes on as if it had never been interrupted.

The loop itself, the order of the data and the evaluation are spaCy's own functions.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any, cast

from spacy.language import Language
from spacy.schemas import ConfigSchemaTraining
from spacy.training import Example
from spacy.training.loop import (
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
from ..plan import join, opened
from ..progress import SETTINGS
from ..safe_files import SavingError, locked
from .evaluation import Scores, SharedEvaluation
from .log import Log, no_logger
from .output import NoOutput, Output, check_start
from .ranks import Alone, Ranks, joined
from .run import CHANGED_DATA, Past, Run
from .sameness import Facts, check_ranks, differences, facts_of
from .state import Diverged
from .stopping import Stop, StoppedEvaluation

# What spaCy's loop gives after each step: the batch, what came of it, and whether the step was
# followed by the best evaluation so far; None if by no evaluation.
Step = tuple[list[Example], dict[str, Any], bool | None]


def train(
    nlp: Language,
    output_path: Path,
    *,
    use_gpu: int = -1,
    resume: bool = False,
    extend: bool = False,
    overwrite: bool = False,
    checkpoint_steps: int = 0,
    save_last: bool = False,
    stdout: IO | None = None,
    stderr: IO | None = None,
) -> Path:
    """Train a pipeline as `spacy.training.loop.train` does, and with the same result; but if the
    last step does not fall on an evaluation, there is one more after it. The learning rate has
    come to its end there, so it is often the best.

    Ctrl-C and SIGTERM end it after the step, with a checkpoint.

    nlp (Language): The initialised pipeline with its full config.
    output_path (Path): Folder for model-best, model-last and the checkpoint.
    use_gpu (int): The GPU that `require_gpu` was called for, or -1.
    resume (bool): Go on from the checkpoint in the folder, if there is one. On a CPU, with as many
        threads, the weights come out bit-equal to those of a training without interruption.
    extend (bool): Let max_epochs and max_steps be more than those that the training began with.
    overwrite (bool): Replace the training that is in the folder, if there is one.
    checkpoint_steps (int): Steps between two checkpoints; 0 for every few minutes.
    save_last (bool): Save model-last after each evaluation, and not only at the end.
    RETURNS (Path): The folder of the last model.
    RAISES (SavingError): If something can't be written, or another training writes there; what was
        there before is as it was.
    RAISES (ValueError): If the checkpoint is damaged or of another training, or the folder has a
        training that would be lost.
    RAISES (Diverged): If a loss is no longer a number; what was saved before is as it was.
    """
    with (
        joined() as ranks,
        opened(),
        locked(output_path) if ranks.is_first else nullcontext(),
        Stop(is_silent=not ranks.is_first) as stop,
    ):
        ranks.on_first(
            lambda: check_start(output_path, resume=resume, extend=extend, overwrite=overwrite)
        )
        training = Training(nlp, stop, ranks, stdout or sys.stdout)
        training.build(output_path, checkpoint_steps, save_last, use_gpu)
        training.begin(resume, extend, stderr or sys.stderr)
        with training.saved_after_failure():
            training.catch_up()
            training.take_steps()
            training.finish()
    return training.output.last


class Training:
    """A training on its way, with the files that it writes."""

    T: dict[str, Any]
    output: Output
    log: Log
    run: Run

    def __init__(self, nlp: Language, stop: Stop, ranks: Alone, stdout: IO):
        self.nlp = nlp
        self.stop = stop
        self.ranks = ranks
        self.stdout = stdout
        self.msg = Printer(no_print=True)
        # The latest step.
        self.step: Step | None = None

    def say(self, line: str) -> None:
        self.stdout.write(line + "\n")

    # Before the first step

    def build(
        self, output_path: Path, checkpoint_steps: int, save_last: bool, use_gpu: int
    ) -> None:
        """Make what the config names: corpora, batcher, optimizer, ..."""
        config = self.nlp.config.interpolate()
        if config["training"]["seed"] is not None:
            fix_random_seed(config["training"]["seed"])
        allocator = config["training"]["gpu_allocator"]
        if use_gpu >= 0 and allocator:
            set_gpu_allocator(allocator)
        self.plan = join()
        self.plan.n_devices = self.ranks.size
        self.T = registry.resolve(config["training"], schema=ConfigSchemaTraining)
        self.train_corpus, self.dev_corpus = resolve_dot_names(
            config, [self.T["train_corpus"], self.T["dev_corpus"]]
        )
        self.optimizer = self.T["optimizer"]
        self.frozen = self.T["frozen_components"]
        self.output = (Output if self.ranks.is_first else NoOutput)(
            output_path,
            create_before_to_disk_callback(self.T["before_to_disk"]),
            checkpoint_steps=checkpoint_steps,
            save_last=save_last,
        )
        self.evaluate = self._evaluation()

    def _evaluation(self) -> Callable[[], Scores]:
        weights = self.T["score_weights"]
        if isinstance(self.ranks, Ranks):
            return SharedEvaluation(self.nlp, self.ranks, self.stop, self.dev_corpus, weights)
        evaluate = create_evaluation_callback(self.nlp, self.dev_corpus, weights)
        return self.stop.evaluating()(evaluate)

    def begin(self, resume: bool, extend: bool, stderr: IO) -> None:
        """Get ready for the first step, or for the one after the checkpoint."""
        facts = self._facts()
        past = None
        if resume and self.ranks.on_first(self.output.checkpoint.exists):
            past = Past(self.output.checkpoint)
            found = differences(past.path, past.notes["facts"], facts, extend=extend)
            for line in found:
                self.say(self.msg.warn(line))
        for _, pipe in self.nlp.components:
            if isinstance(pipe, MultitaskTransformer):
                pipe.wiring.check_heads()  # before a checkpoint puts other weights in
        self.run = Run(
            self.nlp,
            self.optimizer,
            facts,
            past,
            self.stop,
            ranks=self.ranks,
            frozen=self.frozen,
        )
        if self.run.spread is not None:
            self.run.spread.begin()
        self.steps = self._steps()
        space = self.output.check_space(self.nlp, self.optimizer, self.frozen)
        if past is None:
            if resume:
                text = f"No checkpoint in {self.output.folder}: from the beginning"
                self.say(self.msg.info(text))
            self.output.clear()
        self._introduce(space)
        with self.nlp.select_pipes(disable=self.frozen):
            make = self.T["logger"] if self.ranks.is_first else no_logger
            self.log = Log(make, self.nlp, self.stdout, stderr)
        self._share_plan()

    def _facts(self) -> Facts:
        facts = facts_of(self.nlp)
        if self.ranks.size > 1:
            facts["environment"]["ranks"] = self.ranks.size
        check_ranks(self.ranks.on_first(lambda: facts), facts)
        return facts

    def _share_plan(self) -> None:
        """Let all ranks know what the logger has found out or decided."""
        plan = self.plan
        plan.max_epochs, plan.max_steps, plan.stopped = self.ranks.on_first(
            lambda: (plan.max_epochs, plan.max_steps, plan.stopped)
        )

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
            exclude=self.frozen,
            annotating_components=T["annotating_components"],
            before_update=before_update and (lambda _, args: before_update(self.nlp, args)),
        )

    def _introduce(self, space: str) -> None:
        self.say(self.msg.info(f"Pipeline: {self.nlp.pipe_names}"))
        if self.frozen:
            self.say(self.msg.info(f"Frozen components: {self.frozen}"))
        if self.T["annotating_components"]:
            text = f"Set annotations on update for: {self.T['annotating_components']}"
            self.say(self.msg.info(text))
        self.say(self.msg.info(space))
        self.say(self.msg.info(f"Initial learn rate: {self.optimizer.learn_rate}"))

    # Steps

    def catch_up(self) -> None:
        """Go through the steps of the past, and put everything as it was at the checkpoint.

        RAISES (ValueError): If they are others now.
        """
        past = self.run.past
        if past is None:
            return
        self.say(self.msg.info(f"Going on after step {past.step}, from {past.path}"))
        # A bar around the loop would close the generator at its end.
        with tqdm(desc="Steps of the past", total=past.step + 1, unit="step", **SETTINGS) as bar:
            for step in self.steps:
                bar.update(1)
                self.step = _, info, is_best = step
                was_live = self.run.is_live  # since the evaluation of this step
                if not was_live:
                    self.run.bring_back(info, is_best)
                    self._note_performance(info, is_best)
                    self.log.past_step(info, is_best)
                if info["step"] == past.step:
                    break
            else:
                raise ValueError(CHANGED_DATA.format(path=past.path))
        if not was_live:
            self.run.go_live()
        self.log.go_on(past.notes["logger"])
        self._share_plan()
        self.output.wait_for_next()
        if was_live:
            self._end_step(info, is_best)

    def take_steps(self) -> None:
        """Take the steps that are left."""
        for step in self.steps:
            self.step = _, info, is_best = step
            self._end_step(info, is_best)

    def finish(self) -> None:
        """Look at the last step, too, and save what came of it.

        RAISES (ValueError): If there was no step.
        """
        if self.step is None:
            raise ValueError(
                "There was no batch, and so no step. Look at [training.batcher], and at the "
                "training corpora."
            )
        _, info, is_best = self.step
        is_done = self.run.is_evaluated and not self.stop.has_begun
        if not self.run.is_evaluated:
            with self.run.use_params(self.optimizer.averages or {}):
                info["score"], info["other_scores"] = self.evaluate()
            info["checkpoints"].append((info["score"], info["step"]))
            self._take_note(info, info["score"] == max(info["checkpoints"])[0])
            self.run.losses = {}  # none since this evaluation
        elif is_best is None:
            info.update(self.run.evaluations[info["step"]])
            self._note_performance(info, False)
            self.log.past_step(info, False)
        self.output.save(self.nlp, self.optimizer, self.output.last)
        if not is_done:
            self._save_checkpoint()
        self.say(self.msg.good("Saved pipeline to output directory", self.output.last))
        if asked := self._asked():
            self.ranks.end_together = True
            raise self.stop.error(asked)

    def _end_step(self, info: dict[str, Any], is_best: bool | None) -> None:
        """Do what there is to do after a step: notes, files, and the end if it was asked for."""
        self._take_note(info, is_best)
        asked = self._asked()
        if self.output.is_due(info["step"]) and not asked:
            self._save_checkpoint()
        if asked:
            self._stop(asked)

    def _asked(self) -> int:
        """RETURNS (int): The signal that has asked any of the ranks for the end; 0 if none has."""
        return int(self.ranks.most([self.stop.asked or 0])[0])

    def _take_note(self, info: dict[str, Any], is_best: bool | None) -> None:
        self.run.take_note(info, is_best)
        self._note_performance(info, is_best)
        if is_best is not None:
            for path in self.output.models_of(is_best):
                self.output.save(self.nlp, self.optimizer, path)
                info["output_path"] = str(path)
        self.log.step(info, is_best)
        if is_best is not None:
            self._share_plan()

    def _note_performance(self, info: dict[str, Any], is_best: bool | None) -> None:
        """Put what came of an evaluation into the pipeline's meta data."""
        if is_best is None:
            return
        with self.nlp.select_pipes(disable=self.frozen):
            update_meta(cast(Any, self.T), self.nlp, info)
        # JSON has no NaN, which a score may be. spaCy's scores per type come in the order of a set,
        # which changes from run to run; here they are by name.
        self.nlp.meta["performance"] = {
            name: finite(dict(sorted(value.items())) if isinstance(value, dict) else value)
            for name, value in self.nlp.meta["performance"].items()
        }

    # Files

    def _save_checkpoint(self) -> None:
        self.output.save_checkpoint(lambda path: self.run.save(path, self.log.place()))

    def _stop(self, asked: int | None) -> None:
        """End the training where it is.

        asked (Optional[int]): The signal that has asked for it.
        RAISES (BaseException): As the signal does that asked for it.
        """
        self._save_checkpoint()
        self.output.save(self.nlp, self.optimizer, self.output.last)
        text = f"Stopped after step {self.run.step}, with {self.output.last} and a checkpoint: "
        self.say(self.msg.warn(text + "--resume goes on"))
        self.ranks.end_together = True
        raise self.stop.error(asked)

    @contextmanager
    def saved_after_failure(self) -> Iterator[None]:
        """Save the last model if something goes wrong; close the log in any case."""
        try:
            yield
        except StoppedEvaluation:
            self._stop(self.stop.asked)
        except SavingError as error:
            # What is there is good, and trying again would not help.
            if self.run.is_live and self.output.checkpoint.exists():
                raise SavingError(f"{error} Then go on with --resume.") from error.__cause__
            raise
        except Diverged:
            raise
        except Exception as error:
            if self.run.is_live:
                text = f"Aborting and saving the last model. Encountered exception: {error!r}"
                self.say(self.msg.warn(text))
                self.output.save(self.nlp, self.optimizer, self.output.last)
            raise
        finally:
            self.log.close()
