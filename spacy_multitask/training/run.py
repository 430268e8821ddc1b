"""What stands between spaCy's loop and the pipeline, so that a training can go on where it was.

The steps up to the checkpoint are gone through once more without training: reader, batcher,
schedules and loop then stand where they stood, and weights, optimizer and random numbers come from
the file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from timeit import default_timer
from typing import Any

from spacy.language import Language
from spacy.training import Example
from thinc.api import Optimizer

from ..corpus.reader import corpus_of
from ..layers.losses import DeviceLoss, settle_losses
from .checkpoint import read_checkpoint, write_checkpoint
from .evaluation import Scores
from .memory import Learner
from .randomness import RandomState, Snapshot, random_state, set_random_state
from .ranks import Alone, Ranks
from .sameness import Facts, checksum_of_gold
from .spread import Spread
from .state import REMEDY, Diverged, capture, restore
from .stopping import Stop

CHANGED_DATA = (
    "The corpora give other batches than before {path} was written. Restore the corpora that the "
    "training began with, or train from the beginning, with --overwrite."
)

Batch = tuple[int, list[Example]]


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


class Run:
    """Stands between spaCy's loop and the pipeline.

    In steps of the past it does no work: it only brings back what came of them.
    """

    def __init__(
        self,
        nlp: Language,
        optimizer: Optimizer,
        facts: Facts,
        past: Past | None,
        stop: Stop,
        *,
        ranks: Alone | None = None,
        frozen: Iterable[str] = (),
    ):
        self.nlp = nlp
        self.optimizer = optimizer
        self.facts = facts
        self.past = past
        self.stop = stop
        self.ranks = ranks or Alone()
        self.spread: Spread | None = None
        if isinstance(ranks, Ranks):
            self.spread = Spread(nlp, ranks, frozen, lambda: self._check_losses(self.batch))
        self.learner = Learner(nlp)
        # The latest step, from 0; its batch; words up to here; losses since the last evaluation.
        self.step = -1
        self.batch: list[Example] = []
        self.words = 0
        self.losses: dict[str, float] = {}
        self.draws = {} if past is None else past.random_states()
        self.evaluations: dict[int, dict[str, Any]] = {}
        if past is not None:
            self.evaluations = {found["step"]: found for found in past.notes["evaluations"]}
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
        if not self.is_live:
            return []
        ranks = [] if self.spread is None else [("all ranks", self.spread)]
        return [*ranks, *self.nlp.pipeline]

    def update(
        self, examples: Iterable[Example], *, losses: dict[str, float], **options: Any
    ) -> None:
        """Learn from examples.

        RAISES (Diverged): If a loss is no longer a number.
        """
        self.losses = losses
        if self.past is None:
            self.stop.has_begun = True
            examples = list(examples)
            if self.spread is not None:
                self.spread.update(examples, losses=losses, **options)
                return
            self.learner.update(self.step, examples, losses=losses, **options)
            # To ask a device for its losses would make each step wait for it.
            if not any(isinstance(loss, DeviceLoss) for loss in losses.values()):
                self._check_losses(examples)
        elif self.step == self.past.step:
            losses.update(self.past.notes["losses"])
        else:
            losses.update(self.evaluations.get(self.step, {}).get("losses", {}))

    def settle_losses(self) -> None:
        """Ask a device for the losses so far.

        RAISES (Diverged): If one is no longer a number.
        """
        settle_losses(self.losses)
        self._check_losses(self.batch)

    def _check_losses(self, examples: list[Example]) -> None:
        bad = {n: loss for n, loss in self.losses.items() if not math.isfinite(loss)}
        if bad:
            losses = " and ".join(f"{name} is {loss}" for name, loss in bad.items())
            docs = "; ".join(
                f"{corpus_of(eg) or 'doc'}: {eg.reference.text[:60]!r}" for eg in examples[:3]
            )
            more = f"; and {len(examples) - 3} more" if len(examples) > 3 else ""
            raise Diverged(
                f"In step {self.step} the loss of {losses}, so that the training can't go on. "
                f"{REMEDY} If it is no higher than usual, look at the batch: {docs}{more}."
            )

    @contextmanager
    def use_params(self, params: dict) -> Iterator[None]:
        """Have other weights within. They go back after an error, too; with spaCy's they stay."""
        failure = None
        with self.nlp.use_params(params):
            try:
                yield
            except BaseException as error:
                failure = error
        if failure is not None:
            raise failure

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
            self.step, self.batch = step, batch[1]
            self.words += sum(map(len, self.batch))
            yield batch

    def evaluation(self, evaluate: Callable[[], Scores], dev_corpus: Any) -> Callable[[], Scores]:
        """RETURNS (Callable): The same; in the past it gives the scores of then."""

        def evaluate_or_remember() -> Scores:
            if self.past is not None and self.step == self.past.step and not self.is_evaluated:
                # The checkpoint is of the time before this evaluation. Only now are there averages,
                # for which spaCy has looked already.
                self.go_live()
                with self.use_params(self.optimizer.averages or {}):
                    return evaluate()
            if self.is_live:
                self.settle_losses()
                return evaluate()
            if hasattr(dev_corpus, "skip"):
                dev_corpus.skip()
            evaluation = self.evaluations[self.step]
            return evaluation["score"], evaluation["other_scores"]

        return evaluate_or_remember

    # Notes

    @property
    def is_evaluated(self) -> bool:
        """RETURNS (bool): Whether the latest step was followed by an evaluation."""
        return self.step in self.evaluations

    def bring_back(self, info: dict[str, Any], is_best: bool | None) -> None:
        """Give a past step the time it had, and the evaluation of what was the last one then."""
        evaluation = self.evaluations.get(info["step"])
        info["seconds"] = int(self.seconds_before if evaluation is None else evaluation["seconds"])
        if evaluation is not None and is_best is None:
            info["checkpoints"].append((evaluation["score"], info["step"]))

    def take_note(self, info: dict[str, Any], is_best: bool | None) -> None:
        """Keep what came of an evaluation."""
        info["seconds"] = int(self.seconds)
        if is_best is not None:
            names = ("step", "score", "other_scores", "seconds")
            self.evaluations[info["step"]] = {
                **{name: info[name] for name in names},
                "losses": dict(info["losses"]),
            }

    def save(self, path: Path, logger: Any) -> None:
        """Write a checkpoint of the latest step.

        logger (Any): What the logger wants to know when the training goes on.
        """
        tensors, notes = capture(self.nlp, self.optimizer)
        self.settle_losses()
        states = {"random": random_state()}
        states.update({f"draws/{step}": state for step, state in self.draws.items()})
        for place, state in states.items():
            tensors.update({f"{place}/{name}": tensor for name, tensor in state.items()})
        notes.update(
            step=self.step,
            losses=dict(self.losses),
            evaluations=list(self.evaluations.values()),
            words=self.words,
            batch=checksum_of_gold(self.batch),
            seconds=self.seconds,
            logger=logger,
            strings=list(self.nlp.vocab.strings),
            facts=self.facts,
        )
        write_checkpoint(path, tensors, notes)

    def go_live(self) -> None:
        """Put everything as it was at the checkpoint; from here on steps are taken.

        RAISES (ValueError): If the batches of the past were others.
        """
        assert self.past is not None
        tensors, notes = self.past.tensors, self.past.notes
        if self.words != notes["words"] or checksum_of_gold(self.batch) != notes["batch"]:
            raise ValueError(CHANGED_DATA.format(path=self.past.path))
        for string in notes["strings"]:
            self.nlp.vocab.strings.add(string)
        restore(self.nlp, self.optimizer, tensors, notes)
        set_random_state(
            {name.removeprefix("random/"): t for name, t in tensors.items() if "random/" in name}
        )
        self.past = None
        self.started = default_timer()
