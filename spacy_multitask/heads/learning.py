"""What a head learns from: its losses, and what each of them is a mean over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from spacy.tokens import Doc
from torch import Tensor, nn

from ..encoder.batch import PackedBatch
from ..layers.transfer import to_device
from .pupil import Pupil

# In `counts`: the items of all parts of a task.
ALL = "*"
TAUGHT = "taught "
CPU = torch.device("cpu")


class Learning(Pupil):
    """A component with losses. Subclasses say what they are."""

    class_weights: dict[str, float]
    label_smoothing: float
    balance: Any
    _factors: dict[tuple[str, tuple[str, ...]], Tensor]

    @property
    def classes(self) -> list[str]:
        """RETURNS (List[str]): Names of the outputs, as `class_weights` has them."""
        return list(self.labels)

    # To be said by subclasses

    def loss(self, module: Any, batch: PackedBatch, gold: Any) -> Tensor:
        """RETURNS (Tensor): Mean loss per gold item, a scalar; if there are several layers, the sum
        of theirs."""
        raise NotImplementedError

    def n_items(self, gold: Any) -> float:
        """RETURNS (float): What the loss is a mean over: the gold items, or the sum of their
        weights. It is asked for where several processes train together."""
        raise NotImplementedError(
            f"{type(self).__name__} of {self.name!r} can't be trained by several processes: it "
            "does not say what its loss is a mean over. Give the class a method n_items(gold), or "
            "train in one process."
        )

    @property
    def parts(self) -> tuple[str, ...]:
        """RETURNS (Tuple[str, ...]): Names of the parts of the task that have a mean each."""
        return ("",)

    def gold_of_part(self, gold: Any, part: str) -> Any | None:
        """RETURNS (Optional[Any]): Gold of one part alone, in the form that `loss` takes; None if
        there is none."""
        return gold

    def loss_apart(self, docs: list[Doc], gold: Any) -> Tensor | None:
        """RETURNS (Optional[Tensor]): Mean loss per gold item of layers that read no vectors, a
        scalar; None without such layers. It is not reported."""
        return None

    # The sum of all

    def counts(self, gold: Any | None, taught: Mapping[str, Any]) -> dict[str, float]:
        """RETURNS (Dict[str, float]): Items that losses are means over, by part of the task, and
        all gold items under ALL; those of a teacher under TAUGHT and the part. Names do not depend
        on the gold."""
        own = {}
        for part in self.parts:
            known = None if gold is None else self.gold_of_part(gold, part)
            own[part] = 0.0 if known is None else self.n_items(known)
        counts = {**own, ALL: sum(own.values())}
        if self.teacher is not None:
            for part in self.parts:
                counts[TAUGHT + part] = self.n_taught(taught[part]) if part in taught else 0.0
        return counts

    def losses_of(
        self,
        module: Any,
        batch: PackedBatch,
        docs: list[Doc],
        gold: Any | None,
        taught: Mapping[str, Any],
        share: Mapping[str, float],
    ) -> tuple[Tensor | None, list[Tensor]]:
        """Compute all losses of a batch.

        taught (Mapping[str, Any]): What a teacher says, from `ask_teacher`.
        share (Mapping[str, float]): Part of all processes' items that are here, by the names of
            `counts`.
        RETURNS (Tuple[Optional[Tensor], List[Tensor]]): The loss to report, if there is gold; and
            scalars to learn from, none where there is nothing to learn.
        """
        reported = None
        losses: list[Tensor | None] = []
        if gold is not None:
            known = {part: self.gold_of_part(gold, part) for part in self.parts}
            own: Any = sum(
                self.loss(module, batch, gold) * share[part]
                for part, gold in known.items()
                if gold is not None
            )
            reported = own
            if self.balance is not None:
                # What a weight costs, it costs all processes once.
                own = self.balance(own / share[ALL]) * share[ALL]
            apart = self.loss_apart(docs, gold)
            losses += [own, None if apart is None else apart * share[ALL]]
        weight = self.teacher_weight * (1.0 if self.balance is None else self.balance.weight)
        for part, items in taught.items():  # not reported
            loss = self.loss_of_taught(module, batch, part, items)
            losses.append(loss * share[TAUGHT + part] * weight)
        return reported, [loss for loss in losses if loss is not None]

    # Classes

    def class_factors(self, classes: list[str], device: torch.device) -> Tensor | None:
        """RETURNS (Optional[Tensor]): Factor on the loss of each class, shape (n_classes,); None
        if none differs from 1."""
        if not self.class_weights:
            return None
        key = str(device), tuple(classes)
        if key not in self._factors:
            factors = [self.class_weights.get(name, 1.0) for name in classes]
            (self._factors[key],) = to_device(device, np.array(factors, np.float32))
        return self._factors[key]

    def weight_of(self, targets: np.ndarray, classes: list[str]) -> float:
        """RETURNS (float): What `cross_entropy` of these targets is a mean over."""
        factors = self.class_factors(classes, CPU)
        return float(len(targets) if factors is None else factors[targets].double().sum())

    def cross_entropy(self, logits: Tensor, targets: np.ndarray, classes: list[str]) -> Tensor:
        """Compare logits with gold.

        logits (Tensor): Shape (n, n_classes).
        targets (ndarray): Class indices, shape (n,).
        classes (List[str]): Names of the classes, for their weights.
        RETURNS (Tensor): Mean cross entropy, weighted by the targets' classes; a scalar.
        """
        return nn.functional.cross_entropy(
            logits,
            to_device(logits.device, targets)[0],
            weight=self.class_factors(classes, logits.device),
            label_smoothing=self.label_smoothing,
        )
