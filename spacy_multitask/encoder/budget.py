"""How much a network is given at once: what suits the device, and what fits into its memory."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import torch

logger = logging.getLogger("spacy")
Result = TypeVar("Result")

# Padded pieces in a micro-batch: what keeps the caches of a CPU, or the units of a GPU, busy.
BUDGETS = {"cpu": 2048, "int8": 448}
TRAINING_BUDGETS = {"cpu": 768}
OF_DEVICES = 65536
# What it costs to begin a micro-batch, in padded pieces: the more, the fewer groups, and the more
# padding. A CPU begins one in the time of a sentence or two, a GPU in that of a hundred.
OVERHEADS = {"cpu": 48, "int8": 16}
OVERHEAD_OF_DEVICES = 2500
LEAST = 512  # the pieces of a long window
# Values that a network holds of a piece in prediction, in vectors: those of its feed-forward layers
# and attention, in float32, and some of the layer before.
VECTORS_PER_PIECE = 24
SHARE = 0.5  # of the free memory


class Budget:
    """Padded pieces in the micro-batches of an encoder.

    encoder (Encoder): Whose network is used.
    """

    def __init__(self, encoder: Any):
        self.encoder = encoder
        self.most: int | None = None  # that fit, once it is known

    def __getstate__(self) -> dict[str, Any]:
        return {"encoder": self.encoder, "most": None}  # of another device, maybe

    @property
    def overhead(self) -> int:
        """RETURNS (int): What it costs to begin a micro-batch, in padded pieces."""
        return OVERHEADS.get(self._kind, OVERHEAD_OF_DEVICES)

    def of_training(self) -> int:
        """RETURNS (int): That in training."""
        return TRAINING_BUDGETS.get(self._kind, OF_DEVICES)

    def of_prediction(self) -> int:
        """RETURNS (int): That in prediction; on a device no more than fits into its memory."""
        found = BUDGETS.get(self._kind, OF_DEVICES)
        if self.most is None:
            self.most = self._that_fit()
        return min(found, self.most or found)

    @property
    def _kind(self) -> str:
        return "int8" if self.encoder.is_quantized else self.encoder.device.type

    def _that_fit(self) -> int | None:
        device = self.encoder.device
        if device.type != "cuda":
            return None
        free, _ = torch.cuda.mem_get_info(device)
        free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        per_piece = 4 * self.encoder.width * VECTORS_PER_PIECE
        return max(LEAST, int(free * SHARE / per_piece))

    def halve(self, budget: int, error: BaseException) -> int:
        """Take less from now on.

        budget (int): What was too much.
        RETURNS (int): Half of it.
        RAISES (BaseException): The error, if there is nothing left to be halved.
        """
        if budget <= LEAST:
            raise error
        self.most = budget // 2
        logger.warning(
            "The device ran out of memory with %s pieces in a micro-batch. From now on there are "
            "%s at most. Set max_batch_pieces of the encoder to have it so from the start.",
            budget,
            self.most,
        )
        torch.cuda.empty_cache()
        return self.most


def retried(run: Callable[[int], Result], wanted: int | None, budget: Budget) -> Result:
    """Run the network, with less at once where the device runs out of memory.

    run (Callable): Takes the most padded pieces of a micro-batch.
    wanted (Optional[int]): So many, if a user has asked for it.
    RETURNS (Any): What it gives.
    """
    pieces = min(wanted, budget.most or wanted) if wanted else budget.of_prediction()
    while True:
        try:
            return run(pieces)
        except torch.OutOfMemoryError as error:
            # Outside of this block, as the error holds on to what was computed.
            failure = error.with_traceback(None)
        pieces = budget.halve(pieces, failure)
