"""What a thread's heads have yet to read: the encoder's only state per thread."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

from spacy.tokens import Doc

from ..layers.losses import settle_losses
from .batch import PackedBatch
from .gradients import Round
from .listener import EncoderListener


class _Held(NamedTuple):
    """A batch, the version of the weights that made it, and docs that listeners have yet to read,
    by listener id."""

    batch: PackedBatch
    version: int
    waiting: dict[int, int]

    def part(self, docs: list[Doc], version: int, *, trusted: bool = False) -> PackedBatch | None:
        return self.batch.part(docs, trusted=trusted) if self.version == version else None


class Kept(threading.local):
    """The batches that a thread has encoded and that its heads are about to read.

    They are matched by the docs' identity: a head that sees other docs than the encoder saw last
    gets them encoded anew. A batch is let go of when its last reader has read all of its docs, or
    another takes its place; one of older weights is never read.

    round (Optional[Round]): The training batch on its way, if the encoder is learning.
    losses (Optional[Dict[str, float]]): Where spaCy collects the losses of the last update.
    is_passing_on (bool): Whether docs are on their way from the encoder to the components behind it
        in `nlp.pipe`, so that no one else can lay hands on them.
    """

    def __init__(self) -> None:
        self.round: Round | None = None
        self.losses: dict[str, Any] | None = None
        self.is_passing_on = False
        self._predicted: _Held | None = None
        self._frozen: _Held | None = None

    def settle_losses(self) -> None:
        """Put numbers in the place of losses that are still on a device: whoever asked for them is
        done with training, for now."""
        losses, self.losses = self.losses, None
        if losses is not None:
            settle_losses(losses)

    def forget(self) -> None:
        """Let go of what was encoded without learning."""
        self._predicted = self._frozen = None

    def find(
        self,
        docs: list[Doc],
        listener: EncoderListener,
        version: int,
        *,
        trusted: bool,
    ) -> PackedBatch | None:
        """RETURNS (Optional[PackedBatch]): What is held of these docs, if the listener's head finds
        there what it reads.

        trusted (bool): As for `PackedBatch.part`.
        """
        held = self._predicted
        part = None if held is None else held.part(docs, version, trusted=trusted)
        if held is None or part is None or not _serves(part, listener):
            return self.find_frozen(docs, version)
        left = held.waiting.pop(id(listener), 0) - len(docs)
        if left > 0:
            held.waiting[id(listener)] = left
        if not held.waiting:
            self._predicted = None
        return part

    def keep(self, batch: PackedBatch, version: int, listeners: list[EncoderListener]) -> None:
        """Hold a batch until these listeners have read it."""
        waiting = {id(listener): len(batch.docs) for listener in listeners}
        self._predicted = _Held(batch, version, waiting) if waiting else None

    # For heads that learn while the encoder does not

    def keep_frozen(self, batch: PackedBatch, version: int) -> None:
        """Hold a batch until the next update: such heads may read it at any time."""
        self._frozen = _Held(batch, version, {})

    def find_frozen(self, docs: list[Doc], version: int) -> PackedBatch | None:
        """RETURNS (Optional[PackedBatch]): What is held of these docs for such heads."""
        return None if self._frozen is None else self._frozen.part(docs, version)

    def forget_others(self, docs: list[Doc], version: int) -> None:
        """Let go of what heads learned from, unless it is of these docs."""
        if self.find_frozen(docs, version) is None:
            self._frozen = None


def _serves(batch: PackedBatch, listener: EncoderListener) -> bool:
    """RETURNS (bool): Whether the batch has what a listener's head reads."""
    if batch.words is not None:
        return True
    return not listener.needs_words and (
        listener.projection is None or id(listener) in batch.projected
    )
