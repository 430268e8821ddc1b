"""What to do where a batch does not fit into the memory of the device."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import torch
from spacy.language import Language
from spacy.training import Example
from thinc.api import Model

from ..encoder.component import MultitaskTransformer
from .batching import group_by_words
from .state import parts_of

logger = logging.getLogger("spacy")


class Learner:
    """Learns from batches, in parts if the device runs out of memory: their gradients add up, as
    with [training] accumulate_gradient.

    most_words (Optional[int]): Words in a part; None until memory has run out.
    """

    def __init__(self, nlp: Language):
        self.nlp = nlp
        self.most_words: int | None = None
        # The step, what was learned from in it, and the losses before.
        self._step = -1
        self._done: list[Example] = []
        self._before: dict[str, Any] = {}

    def update(
        self, step: int, examples: list[Example], *, losses: dict[str, Any], **options: Any
    ) -> None:
        """Learn from examples.

        step (int): Number of the step that they belong to.
        losses (Dict[str, float]): Gets the losses added.
        RAISES (OutOfMemoryError): If a doc alone is too much.
        """
        if step != self._step:
            self._step, self._done, self._before = step, [], dict(losses)
        self._done += examples
        try:
            self._learn(examples, losses, options)
            return
        except torch.OutOfMemoryError as error:
            failure = error.with_traceback(None)  # it holds on to what was computed
        while True:
            self._halve(failure)
            self._undo(losses)
            try:
                # All of the step, whose gradients are gone.
                self._learn(self._done, losses, options)
                return
            except torch.OutOfMemoryError as error:
                failure = error.with_traceback(None)

    def _learn(self, examples: list[Example], losses: dict[str, Any], options: Any) -> None:
        for part in self._parts(examples):
            self.nlp.update(part, losses=losses, **options)
            # Backpropagation needs memory, too, and is put off.
            for encoder in self._encoders():
                encoder.settle()

    def _parts(self, examples: list[Example]) -> Iterable[list[Example]]:
        if self.most_words is None:
            return [examples]
        return group_by_words(examples, self.most_words, len(examples))

    def _halve(self, failure: BaseException) -> None:
        """RAISES (OutOfMemoryError): If parts are single docs already."""
        parts = list(self._parts(self._done))
        if max(map(len, parts)) == 1:
            raise failure
        n_words = max(sum(len(eg.predicted) for eg in part) for part in parts)
        self.most_words = max(1, n_words // 2)
        logger.warning(
            "The device ran out of memory with %s words. From now on batches are learned from in "
            "parts of %s words, whose gradients add up. Lower max_words of "
            "[training.batcher] to have smaller batches in their place.",
            n_words,
            self.most_words,
        )

    def _undo(self, losses: dict[str, Any]) -> None:
        """Be as before the step."""
        losses.clear()
        losses.update(self._before)
        for encoder in self._encoders():
            encoder.drop_round()
        for _, part in parts_of(self.nlp):
            if isinstance(part, Model):
                for name in part.param_names:
                    if part.has_grad(name):
                        part.set_grad(name, part.ops.xp.zeros_like(part.get_grad(name)))
            else:
                for parameter in part._model.parameters():
                    parameter.grad = None
        torch.cuda.empty_cache()

    def _encoders(self) -> list[MultitaskTransformer]:
        return [pipe for _, pipe in self.nlp.components if isinstance(pipe, MultitaskTransformer)]
