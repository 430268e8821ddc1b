"""The number of steps that a training will take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from spacy.language import Language
from spacy.training import Example


class Draw(NamedTuple):
    """What a reader leaves behind that has drawn some examples of many.

    last (Example): The last one that it gave, by which its examples are known.
    again (Callable): Draws the examples of the next epoch.
    """

    last: Example
    again: Callable[[], list[Example]]


class Plan:
    """What reader and batcher find out and the schedules want to know.

    spaCy builds them apart from each other, so this is where they meet.
    """

    steps_per_epoch: int | None = None
    max_epochs: int = 0
    max_steps: int = 0
    draw: Draw | None = None
    score_weights: Mapping[str, float | None] = MappingProxyType({})
    # Set by the logger; the batcher then gives no more batches, which ends the training.
    stopped: bool = False

    def read(self, nlp: Language) -> None:
        """Take over the limits and score weights of [training]."""
        training = nlp.config.interpolate().get("training", {})
        self.max_epochs = training.get("max_epochs", 0)
        self.max_steps = training.get("max_steps", 0)
        self.score_weights = training.get("score_weights", {})

    def take_draw(self, examples: list[Example]) -> Callable[[], list[Example]] | None:
        """RETURNS (Optional[Callable]): What draws the next epoch, if these examples are a draw."""
        draw, self.draw = self.draw, None
        if draw is None or not any(example is draw.last for example in examples):
            return None
        return draw.again

    def total_steps(self) -> int | None:
        """RETURNS (Optional[int]): Steps of the whole training, if they can be known."""
        limits = [self.max_steps]
        if self.steps_per_epoch:
            limits.append(self.max_epochs * self.steps_per_epoch)
        return min((n for n in limits if n > 0), default=None)


PLAN = Plan()
