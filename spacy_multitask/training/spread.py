"""A step that ranks take together, each with its part of the batch.

    batch  ->  sub-batches, as spaCy cuts them  ->  parts of about equal cost, one for each rank
                                                       |  losses weighted, see `together`
                                                       v
    step   <-  optimizer, the same in all ranks  <-  gradients, summed over all ranks

So N ranks do what one process does with the whole batch. Only what dropout leaves out is another
thing in each of them.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import Model, Optimizer, xp2torch
from torch import Tensor, nn

from ..encoder.component import MultitaskTransformer
from ..layers.losses import settle_losses
from .ranks import OUT_OF_STEP, Ranks
from .state import parts_of
from .step_count import DRAWING

NONE, DENSE, SPARSE = 0.0, 1.0, 2.0


class Spread:
    """Stands for all ranks in spaCy's loop: first of the components that take a step."""

    # What the loop looks at.
    is_trainable = True
    model = object()

    def __init__(
        self, nlp: Language, ranks: Ranks, frozen: Iterable[str], check: Callable[[], None]
    ):
        """
        frozen (Iterable[str]): Components that do not learn.
        check (Callable): Looks at the losses of a step before it is taken.
        """
        self.nlp = nlp
        self.ranks = ranks
        self.frozen = frozenset(frozen)
        self.check = check
        # Of this step: where losses of all ranks are collected, this one's, and what it was of.
        self._losses: dict[str, float] = {}
        self._own_losses: dict[str, Any] = {}
        self._checksum = 0

    def begin(self) -> None:
        """Let all ranks have the weights that rank 0 has."""
        self.ranks.take_from_first(
            tensor
            for part in _learning_parts(self.nlp, frozenset())
            for tensor in _weights_of(part)
        )

    def update(
        self,
        examples: list[Example],
        *,
        losses: dict[str, float],
        exclude: Iterable[str] = (),
        **options: Any,
    ) -> None:
        """Learn from this rank's part of a sub-batch.

        examples (List[Example]): Those of all ranks.
        losses (Dict[str, float]): Gets those of all ranks, once the gradients are summed.
        """
        self._losses = losses
        text = "\n".join(eg.reference.text for eg in examples)
        self._checksum = zlib.crc32(text.encode("utf8"), self._checksum)
        costs = costs_of(self.nlp, [eg.predicted for eg in examples])
        part_of = parts_of_batch(costs, self.ranks.size)
        self._checksum = zlib.crc32(part_of.tobytes(), self._checksum)
        own = [eg for eg, part in zip(examples, part_of) if part == self.ranks.rank]
        view = _View(self.nlp, Draws(self.ranks))
        with _seeded_apart(self.ranks.rank):
            if own:
                Language.update(
                    cast(Language, view), own, losses=self._own_losses, exclude=exclude, **options
                )
                return
            for name, pipe in view.pipeline:
                if name not in exclude and hasattr(pipe, "update_without_docs"):
                    pipe.update_without_docs()

    def finish_update(self, sgd: Optimizer) -> None:
        """Give each rank the gradients and the losses of all.

        RAISES (ValueError): If the ranks are out of step.
        """
        for _, pipe in self.nlp.components:
            if isinstance(pipe, MultitaskTransformer):
                pipe.settle()
        gradients = [
            gradient
            for part in _learning_parts(self.nlp, self.frozen)
            for gradient in _gradients_of(part)
        ]
        self._check_sameness(gradients)
        kinds = self.ranks.most([gradient.kind for gradient in gradients])
        self.ranks.add_up([g.dense() for g, kind in zip(gradients, kinds) if kind == DENSE])
        for gradient, kind in zip(gradients, kinds):
            if kind == SPARSE:
                gradient.parameter.grad = self.ranks.add_up_rows(gradient.sparse())
        self._add_up_losses()
        self.check()

    def _check_sameness(self, gradients: Sequence[Gradient]) -> None:
        found = {
            "docs": self._checksum,
            "weights": len(gradients),
            "labels": sum(gradient.size for gradient in gradients),
        }
        self._checksum = 0
        numbers = [float(n) for n in found.values()]
        highest = self.ranks.most([*numbers, *(-n for n in numbers)])
        for i, what in enumerate(found):
            if highest[i] != -highest[i + len(found)]:
                raise ValueError(OUT_OF_STEP.format(what=what))

    def _add_up_losses(self) -> None:
        settle_losses(self._own_losses)
        names = self.nlp.pipe_names
        own = [self._own_losses.get(name, 0.0) for name in names]
        is_there = [float(name in self._own_losses) for name in names]
        totals = self.ranks.total([*own, *is_there])
        for name, loss, n_ranks in zip(names, totals, totals[len(names) :]):
            if n_ranks:
                self._losses[name] = self._losses.get(name, 0.0) + loss
        self._own_losses = {}


def costs_of(nlp: Language, docs: list[Doc]) -> np.ndarray:
    """RETURNS (ndarray): What it costs to learn from each doc: pieces with padding, or words where
    there is no encoder of ours, shape (n_docs,)."""
    encoders = [pipe for _, pipe in nlp.pipeline if isinstance(pipe, MultitaskTransformer)]
    if not encoders:
        return np.array([1.0 + len(doc) for doc in docs])
    costs = [pipe.shim.encoder.costs(docs, pipe.max_batch_pieces) for pipe in encoders]
    return 1.0 + np.sum(costs, axis=0)


def parts_of_batch(costs: np.ndarray, n: int) -> np.ndarray:
    """Cut a batch into parts that cost about the same, of docs that are about as long: those need
    little padding.

    costs (ndarray): Of each doc, all above 0, shape (n_docs,).
    RETURNS (ndarray): The part that each doc is in, from 0 to n - 1, int64 (n_docs,); parts may be
        empty.
    """
    order = np.argsort(-costs, kind="stable")
    middles = np.cumsum(costs[order]) - costs[order] / 2
    part_of = np.empty(len(costs), np.int64)
    part_of[order] = middles * n / costs.sum()
    return part_of


# Random numbers


@contextmanager
def _seeded_apart(rank: int) -> Iterator[None]:
    """Let each rank drop out other things. Afterwards all have the same generators again."""
    seed = int(torch.randint(2**31, ()))  # the same in all ranks, and another one each time
    for_torch, for_numpy = torch.get_rng_state(), np.random.get_state()
    torch.manual_seed(seed + rank)
    np.random.seed(seed + rank)
    try:
        yield
    finally:
        torch.set_rng_state(for_torch)
        np.random.set_state(for_numpy)


class Draws:
    """Comes after a component that draws from the generator that shuffles the docs: in ranks in
    which it had nothing to learn it did not, as it would have in one process."""

    def __init__(self, ranks: Ranks):
        self.ranks = ranks
        self.state = random.getstate()

    def update(self, examples: Any, **options: Any) -> None:
        has_drawn = random.getstate() != self.state
        if self.ranks.most([float(has_drawn)])[0] and not has_drawn:
            random.random()
        self.state = random.getstate()

    def update_without_docs(self) -> None:
        self.update([])


class _View:
    """A pipeline as `Language.update` sees it."""

    def __init__(self, nlp: Language, draws: Draws):
        self._nlp = nlp
        self.pipeline: list[tuple[str, Any]] = []
        for name, pipe in nlp.pipeline:
            self.pipeline.append((name, pipe))
            if isinstance(pipe, DRAWING):
                self.pipeline.append((f"draws of {name}", draws))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._nlp, name)


# Weights and gradients


def _learning_parts(nlp: Language, frozen: frozenset[str]) -> Iterator[Any]:
    """YIELDS (Model or Shim): Whatever learns, each once."""
    seen: set[int] = set()
    for name, part in parts_of(nlp):
        if name.split("/")[0] not in frozen and id(part) not in seen:
            seen.add(id(part))
            yield part


def _weights_of(part: Any) -> Iterator[Tensor]:
    if isinstance(part, Model):
        for name in part.param_names:
            if part.has_param(name):
                yield _as_tensor(part.get_param(name))
    else:
        yield from part._model.parameters()


def _gradients_of(part: Any) -> Iterator[Gradient]:
    if isinstance(part, Model):
        for name in part.param_names:
            if part.has_param(name):
                yield ArrayGradient(part, name)
    else:
        for parameter in part._model.parameters():
            if parameter.requires_grad:
                yield Gradient(parameter)


class Gradient:
    """That of a parameter of torch, which may be there or not."""

    def __init__(self, parameter: nn.Parameter):
        self.parameter = parameter

    @property
    def size(self) -> int:
        return self.parameter.numel()

    @property
    def kind(self) -> float:
        gradient = self.parameter.grad
        return NONE if gradient is None else SPARSE if gradient.is_sparse else DENSE

    def dense(self) -> Tensor:
        """RETURNS (Tensor): The gradient itself, now zeros if there was none."""
        if self.parameter.grad is None:
            self.parameter.grad = torch.zeros_like(self.parameter)
        return self.parameter.grad

    def sparse(self) -> Tensor:
        """RETURNS (Tensor): The same, with rows of its own."""
        gradient = self.parameter.grad
        if gradient is None:
            p = self.parameter
            rows = torch.zeros(1, 0, dtype=torch.int64, device=p.device)
            values = p.detach().new_zeros(0, *p.shape[1:])
            gradient = torch.sparse_coo_tensor(rows, values, p.shape, check_invariants=False)
        return gradient.coalesce()


class ArrayGradient(Gradient):
    """That of a parameter of thinc."""

    def __init__(self, layer: Model, name: str):
        self.layer, self.name = layer, name

    @property
    def size(self) -> int:
        return self.layer.get_param(self.name).size

    @property
    def kind(self) -> float:
        return DENSE if self.layer.has_grad(self.name) else NONE

    def dense(self) -> Tensor:
        layer, name = self.layer, self.name
        if not layer.has_grad(name):
            layer.set_grad(name, layer.ops.alloc(layer.get_param(name).shape))
        return _as_tensor(layer.get_grad(name))


def _as_tensor(array: Any) -> Tensor:
    """RETURNS (Tensor): In the memory of an array; thinc has layers that stay on a CPU."""
    return torch.from_numpy(array) if isinstance(array, np.ndarray) else xp2torch(array)
