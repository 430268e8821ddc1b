"""The way back: from the gradients that heads leave on a batch to the encoder's parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from spacy.tokens import Doc
from thinc.api import Optimizer
from torch import Tensor

from ..layers.losses import add_loss
from .batch import PackedBatch
from .encode import Encoder


class Round:
    """One training batch, from the time that it is encoded until its gradient is in the encoder.

    Heads leave their gradients on the batch's vectors, where they add up, and go back through the
    encoder in one pass. `nlp.update(sgd=...)` asks for the encoder's step before any head has run:
    such a step is put off.

        update()             a head learns, or          settle()
           |                 has nothing to learn          |
           v                        |                      v
         open ----------------> has gradients ---------> settled: gradients are in the parameters
           |                                               ^
           |  finish_update() before any head              |
           `-----------------> due ------------------------'  and the step is taken, at the
                               (the last head to finish settles)  learning rate of then

    batch (PackedBatch): What heads learn from.
    losses (Dict[str, float]): Where spaCy collects the losses of this update.
    """

    def __init__(self, batch: PackedBatch, losses: dict[str, float]):
        self.batch = batch
        self.losses = losses
        self.has_gradients = False
        self.due: tuple[Optimizer, float] | None = None

    def part(self, docs: list[Doc], *, is_train: bool, trusted: bool = False) -> PackedBatch | None:
        """RETURNS (Optional[PackedBatch]): These docs of the batch; None if it does not have them.
        A head that annotates while others learn reads the same vectors that they read."""
        part = self.batch.part(docs, trusted=trusted)
        if part is not None and is_train:
            self.has_gradients = True
        return part

    def put_off(self, sgd: Optimizer) -> bool:
        """Remember a step if no head has learned yet, at today's rate: the schedule moves on.

        RETURNS (bool): Whether it was put off.
        """
        if not self.has_gradients:
            self.due = (sgd, sgd.learn_rate)
        return not self.has_gradients

    def settle(self, name: str, encoder: Encoder, step: Callable[[Optimizer], None]) -> None:
        """Send the heads' gradients into the encoder's parameters, and take the step if it is due.

        name (str): Of the encoder among the losses: it gets the squared norm of the gradient on the
            vectors.
        step (Callable): Takes a step with an optimizer.
        """
        with encoder.learning():
            norm = backprop(self.batch)
        if norm is not None:
            add_loss(self.losses, name, norm)
        if self.due is not None:
            sgd, rate = self.due
            with _at_rate(sgd, rate):
                step(sgd)


def backprop(batch: PackedBatch) -> Tensor | None:
    """Send the gradient on a batch's vectors back through the encoder's graph, which is gone then.

    RETURNS (Optional[Tensor]): Squared norm of that gradient, a scalar; None if there is none.
    """
    leaves = (batch.words, batch.doc_vectors)
    pairs = [
        (output, leaf.grad)
        for output, leaf in zip(batch.graph or (), leaves)
        if leaf is not None and leaf.grad is not None
    ]
    batch.graph = None
    if not pairs:
        return None
    outputs, gradients = zip(*pairs)
    torch.autograd.backward(outputs, gradients)
    return torch.stack([g.square().sum() for g in gradients]).sum()


@contextmanager
def _at_rate(sgd: Optimizer, rate: float) -> Iterator[None]:
    """Let an optimizer have another learning rate for a moment."""
    current, sgd.learn_rate = sgd.learn_rate, rate
    try:
        yield
    finally:
        sgd.learn_rate = current
