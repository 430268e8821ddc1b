"""How long a training is: where its parts meet.

spaCy builds batcher, schedules, logger and readers apart from each other. Each of them joins, when
it is built, the training that is being put together in its thread.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from spacy.language import Language


class Plan:
    """What the parts of one training have found out about its length."""

    # Of this epoch. Where epochs are drawn, each has a number of its own.
    steps_per_epoch: int | None = None
    epochs_before: int = 0
    steps_before: int = 0
    max_epochs: int = 0
    max_steps: int = 0
    # Processes that share each step.
    n_devices: int = 1
    # Whether there was a step. Parts that are built later are of another training.
    has_begun: bool = False
    # Set by the logger; the batcher then gives no more batches, which ends the training.
    stopped: bool = False
    # What our logger prints by, if there is one; it may be one of several.
    printer: Any = None

    def read(self, nlp: Language) -> None:
        """Take over the limits of [training]."""
        training = nlp.config.interpolate().get("training", {})
        self.max_epochs = training.get("max_epochs", 0)
        self.max_steps = training.get("max_steps", 0)

    def begin(self) -> None:
        """Take note that the first step comes. Steps on other examples are forgotten."""
        self.has_begun = True
        self.steps_per_epoch = None
        self.epochs_before = self.steps_before = 0

    def begin_epoch(self, n_steps: int) -> None:
        """Take note of the steps of an epoch, before the first of them."""
        self.has_begun = True
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


# The training that is being put together, for each thread.
_thread = threading.local()


def join() -> Plan:
    """RETURNS (Plan): That of the training that is being put together in this thread."""
    plan = getattr(_thread, "plan", None)
    if plan is None or plan.has_begun or plan.stopped:
        plan = _thread.plan = Plan()
    return plan


@contextmanager
def opened() -> Iterator[None]:
    """Let the parts that are built within be of a training of their own."""
    before = getattr(_thread, "plan", None)
    _thread.plan = Plan()
    try:
        yield
    finally:
        _thread.plan = before
