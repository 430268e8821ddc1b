"""The labels of a head, and more of them for one that is trained."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from spacy.tokens import Doc
from torch import nn

from ..layers.shim import TorchShim
from .saving import SavedPipe

# How much less likely than a label of a trained head one that is new to it is, as a logit: so much
# that in float32 it takes nothing from the others, and so little that it is soon learned.
BEHIND = 20.0


class Labelled(SavedPipe):
    """A component that chooses from labels, which stand in lists of its `cfg`."""

    cfg: dict[str, Any]
    _warned: set[str]
    # Labels that gold has and the head does not, by entry of `cfg`; None where nobody asks.
    _met: dict[tuple[str, str], None] | None = None

    @property
    def n_out(self) -> int:
        """RETURNS (int): Number of outputs."""
        raise NotImplementedError

    @property
    def label_data(self) -> dict[str, list[str]]:
        """RETURNS (Dict[str, List[str]]): What `initialize` takes as `labels`."""
        return {"labels": self.cfg.get("labels", [])}

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(label for labels in self.label_data.values() for label in labels)

    def add_label(self, label: str, entry: str | None = None) -> int:
        """Add a label to a trained head. It is not predicted until it has been learned; what the
        head says of other labels stays what it was.

        entry (Optional[str]): The list in `cfg` to add to; None for the main one.
        RETURNS (int): 1, or 0 if the head has the label.
        RAISES (ValueError): If the head has not been initialised: its labels are those of the
            training data.
        """
        shim = cast(TorchShim, self.model.shims[0])
        if not shim.has_module:
            raise ValueError(
                f"Labels of {self.name!r} come from the training data. To fix them beforehand, run "
                "`spacy init labels` or set [initialize.components] labels."
            )
        entry = entry or self.main_entry()
        if label in self.cfg[entry]:
            return 0
        self.grow(entry, label)
        self.cfg[entry] = [*self.cfg[entry], label]
        shim.renew_id()
        self.model.set_dim("nO", self.n_out, force=True)
        return 1

    def main_entry(self) -> str:
        """RETURNS (str): The list in `cfg` that `add_label` adds to."""
        return "labels"

    def grow(self, entry: str, label: str) -> None:
        """Add outputs for a label, which will be the last of its list, to the trained layer.

        entry (str): The list in `cfg`.
        RAISES (NotImplementedError): If the layer can't grow.
        """
        raise NotImplementedError(
            f"{self.name!r} can't get more labels once it is trained. Add a head of its own for "
            f"{label!r}, or train this one anew on data with the old labels and the new one."
        )

    def lend_labels(self, doc: Doc, *more: str) -> None:
        """Make the labels known to the vocab of a doc: it may be another one, and the doc keeps no
        more of labels than their hashes.

        more (str): Other strings that are written.
        """
        if doc.vocab is not self.vocab:
            for label in (*self.labels, *more):
                doc.vocab.strings.add(label)

    @contextmanager
    def noting_new_labels(self) -> Iterator[dict[tuple[str, str], None]]:
        """YIELDS (Dict): Gets labels that gold has and the head does not, by entry of `cfg`, of
        which it warns otherwise."""
        met: dict[tuple[str, str], None] = {}
        self._met = met
        try:
            yield met
        finally:
            self._met = None

    def warn_once(self, kind: str, message: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            warnings.warn(message, stacklevel=3)

    def meet(self, label: str, entry: str = "labels") -> None:
        """There is gold with a label that the head does not have: note it, or say so once."""
        if self._met is not None:
            self._met[entry, label] = None
            return
        self.warn_once(
            "label",
            f"There is gold with a label that {self.name!r} did not see when it was initialised: "
            f"{label!r}. Gold with this label, or with others of that kind, is left out. "
            f'To take up such labels, set new_labels = "add" of {self.name!r}.',
        )

    def warn_of_blanks(self, which: str) -> None:
        self.warn_once(
            "blanks",
            f"The training data of {self.name!r} has {which} that begin or end with blanks, such "
            "as line breaks. It learns the spans without these.",
        )


@torch.no_grad()
def with_rows(linear: nn.Linear, place: int, n_new: int, pattern: slice | None) -> nn.Linear:
    """Make a layer with more outputs.

    place (int): Of the first new one.
    n_new (int): How many there are.
    pattern (Optional[slice]): Outputs whose mean, less BEHIND, the new ones give; None if outputs
        have nothing to do with each other.
    RETURNS (Linear): All others are what they were.
    """
    weight, bias = linear.weight, linear.bias
    row, start = torch.zeros_like(weight[0]), torch.zeros_like(bias[0])
    if pattern is not None:
        row, start = weight[pattern].mean(0), bias[pattern].mean()
    rows, start = row.expand(n_new, -1), (start - BEHIND).expand(n_new)
    new = nn.Linear(linear.in_features, linear.out_features + n_new, device=weight.device)
    new.weight.copy_(torch.cat([weight[:place], rows, weight[place:]]))
    new.bias.copy_(torch.cat([bias[:place], start, bias[place:]]))
    return new
