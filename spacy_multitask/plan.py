"""The number of steps that a training will take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from spacy.language import Language
from spacy.training import Example


class Reading(NamedTuple):
    """What a reader leaves behind when it has begun to give examples.

    first (Example): The first one, by which its examples are known.
    all (Optional[Callable]): Gives each example that there is once; None if this pass does.
    again (Optional[Callable]): Draws the next epoch; None if all epochs have the same examples.
    """

    first: Example
    all: Callable[[], Iterator[Example]] | None
    again: Callable[[], list[Example]] | None


class Plan:
    """What reader and batcher find out and the schedules want to know.

    spaCy builds them apart from each other, so this is where they meet.
    """

    # Of this epoch. Where epochs are drawn, each has a number of its own.
    steps_per_epoch: int | None = None
    epochs_before: int = 0
    steps_before: int = 0
    max_epochs: int = 0
    max_steps: int = 0
    score_weights: Mapping[str, float | None] = MappingProxyType({})
    reading: Reading | None = None
    # Set by the logger; the batcher then gives no more batches, which ends the training.
    stopped: bool = False

    def read(self, nlp: Language) -> None:
        """Take over the limits and score weights of [training]."""
        training = nlp.config.interpolate().get("training", {})
        self.max_epochs = training.get("max_epochs", 0)
        self.max_steps = training.get("max_steps", 0)
        self.score_weights = training.get("score_weights", {})

    def reading_of(self, examples: Iterable[Example]) -> Reading | None:
        """RETURNS (Optional[Reading]): How a `MultiCorpus` gave them, if one did."""
        reading = self.reading
        if reading is None or not any(example is reading.first for example in examples):
            return None
        return reading

    def begin_training(self) -> None:
        """Forget the steps of a training before, in the same process."""
        self.steps_per_epoch = None
        self.epochs_before = self.steps_before = 0

    def begin_epoch(self, n_steps: int) -> None:
        """Take note of the steps of an epoch, before the first of them."""
        if self.steps_per_epoch is not None:
            self.epochs_before += 1
            self.steps_before += self.steps_per_epoch
        self.steps_per_epoch = n_steps

    def total_steps(self) -> int | None:
        """RETURNS (Optional[int]): Steps of the whole training, if they can be known; of the epochs
        to come, as many each as this one has."""
        limits = [self.max_steps]
        if self.steps_per_epoch and self.max_epochs > 0:
            n_epochs = max(0, self.max_epochs - self.epochs_before)
            limits.append(self.steps_before + n_epochs * self.steps_per_epoch)
        return min((n for n in limits if n > 0), default=None)


PLAN = Plan()
