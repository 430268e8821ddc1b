"""The processes that train one pipeline: torchrun starts them, torch.distributed connects them.

Each has a rank, from 0. They are started by whatever sets torchrun's environment; without it there
is one process, and torch.distributed is left alone.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from spacy.util import logger
from torch import Tensor

from ..progress import SETTINGS
from ..together import together
from .watch import ALL_IS_WELL, RankFailed, Watch

Value = TypeVar("Value")

# While rank 0 scores or saves, the others wait: that one is gone is found out by `Watch`.
FOREVER = timedelta(days=30)
OUT_OF_STEP = (
    "The ranks have other {what} in this step. Start all of them with the same config, code, "
    "corpora and versions; and give what draws random numbers, such as readers and callbacks, the "
    "same seed in each."
)
# Gradients are sent in parts of about so many bytes, which is the memory that it takes.
# By gloo, 44 MB took 63 ms in parts that fit into the cache of a CPU, and 78 ms in one.
PART_BYTES = 1 << 23


class Alone:
    """One process: what it says is said by all."""

    rank, size = 0, 1
    # Whether what ends this process has been agreed on: a signal that one of them got.
    end_together = False

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def on_first(self, function: Callable[[], Value]) -> Value:
        """RETURNS (Any): What a function gives that only rank 0 calls."""
        return function()

    def most(self, numbers: list[float]) -> list[float]:
        """RETURNS (List[float]): The greatest of all ranks' numbers, for each place."""
        return numbers


class Ranks(Alone):
    """One of several processes. They all call the same methods, in the same order.

    RAISES (RankFailed): From all of them, if another rank is gone.
    """

    def __init__(self) -> None:
        self._is_ours = not dist.is_initialized()
        if self._is_ours:
            dist.init_process_group("gloo")
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self._groups = {"cpu": dist.new_group(timeout=FOREVER, backend="gloo")}
        self._watch = Watch(self.rank, self.size, dist.new_group(timeout=FOREVER, backend="gloo"))

    def on_first(self, function: Callable[[], Value]) -> Value:
        box: list[Any] = [function() if self.is_first else None]
        with self._exchange():
            dist.broadcast_object_list(box, 0, self._groups["cpu"])
        return box[0]

    def collect_in_first(self, value: Value) -> list[Value]:
        """RETURNS (List[Any]): The values of all ranks in rank 0, and none in the others."""
        found: list[Any] = [None] * self.size if self.is_first else []
        with self._exchange():
            dist.gather_object(value, found or None, 0, self._groups["cpu"])
        return found

    def most(self, numbers: list[float]) -> list[float]:
        return self._reduced(numbers, dist.ReduceOp.MAX)

    def total(self, numbers: list[float]) -> list[float]:
        """RETURNS (List[float]): The sum of all ranks' numbers, for each place."""
        return self._reduced(numbers, dist.ReduceOp.SUM)

    def _reduced(self, numbers: list[float], how: Any) -> list[float]:
        tensor = torch.tensor(numbers, dtype=torch.float64)
        with self._exchange():
            dist.all_reduce(tensor, how, self._groups["cpu"])
        return tensor.tolist()

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Put the sums over all ranks into dense tensors, of which each rank has the same."""
        self._in_parts(tensors, lambda flat, group: dist.all_reduce(flat, group=group))

    def add_up_rows(self, tensor: Tensor) -> Tensor:
        """RETURNS (Tensor): The sum over all ranks of a sparse tensor, each with rows of its own.
        There are none on GPUs."""
        with self._exchange():
            dist.all_reduce(tensor, group=self._groups["cpu"])
        return tensor

    def take_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Put those of rank 0 into tensors, of which each rank has the same."""
        self._in_parts(tensors, lambda flat, group: dist.broadcast(flat, 0, group))

    def _in_parts(self, tensors: Iterable[Tensor], exchange: Callable[[Tensor, Any], Any]) -> None:
        for part in _parts(tensors):
            flat = torch.cat([tensor.detach().reshape(-1) for tensor in part])
            with self._exchange():
                exchange(flat, self._group_of(flat.device))
            for tensor, new in zip(part, flat.split([tensor.numel() for tensor in part])):
                tensor.detach().copy_(new.view(tensor.shape))

    def _group_of(self, device: torch.device) -> Any:
        if device.type not in self._groups:
            self._groups[device.type] = dist.new_group(backend="nccl")
        return self._groups[device.type]

    @contextmanager
    def _exchange(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise RankFailed(self._watch.news_of(error)) from error

    def leave(self, failure: BaseException | None = None) -> None:
        """Tell the others that this one has ended, and wait for them if all is well.

        failure (Optional[BaseException]): What has ended it, if it was not the end of all.
        """
        if isinstance(failure, RankFailed):
            return  # they know
        if failure is not None:
            text = f"Rank {self.rank} has failed: {type(failure).__name__}: {failure}"
            self._watch.tell(text)
            return
        self._watch.tell(ALL_IS_WELL)
        if self._is_ours:
            dist.destroy_process_group()


def _parts(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """YIELDS (List[Tensor]): Tensors of one type and device, of about PART_BYTES together."""
    parts: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    n_bytes: dict[tuple[torch.dtype, torch.device], int] = {}
    for tensor in tensors:
        kind = (tensor.dtype, tensor.device)
        parts.setdefault(kind, []).append(tensor)
        n_bytes[kind] = n_bytes.get(kind, 0) + tensor.nbytes
        if n_bytes[kind] >= PART_BYTES:
            yield parts.pop(kind)
            del n_bytes[kind]
    yield from parts.values()


def is_started_together() -> bool:
    """RETURNS (bool): Whether this process was started as one of several."""
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE") or 1) > 1


# Of the training that this process is in.
_current: Alone | None = None


@contextmanager
def joined() -> Iterator[Alone]:
    """Be one of the processes of a training within, if there are several.

    YIELDS (Alone): The ranks. Rank 0 speaks for all; the others print nothing but errors.
    """
    global _current
    if _current is not None or not is_started_together():
        yield _current or Alone()
        return
    ranks = Ranks()
    _current = ranks
    try:
        with together(ranks.total), _silent(not ranks.is_first):
            yield ranks
    except BaseException as error:
        ranks.leave(None if ranks.end_together else error)
        raise
    else:
        ranks.leave()
    finally:
        _current = None


@contextmanager
def _silent(is_silent: bool) -> Iterator[None]:
    if not is_silent:
        yield
        return
    level, bars = logger.level, SETTINGS["disable"]
    logger.setLevel(logging.ERROR)
    SETTINGS["disable"] = True
    try:
        with ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            stack.enter_context(redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
            yield
    finally:
        logger.setLevel(level)
        SETTINGS["disable"] = bars


def gpu_of_rank(gpu_id: int) -> int:
    """Choose this process' GPU.

    gpu_id (int): That of the first process on this machine, or -1 for the CPU.
    RETURNS (int): Each process on a machine has the next one; but where a process sees but one
        GPU, as Slurm and Ray have it, it is that.
    RAISES (ValueError): If there are fewer than processes.
    """
    n_gpus = torch.cuda.device_count()
    if gpu_id < 0 or not is_started_together() or n_gpus < 2:
        return gpu_id
    chosen = gpu_id + int(os.environ.get("LOCAL_RANK") or 0)
    if chosen >= n_gpus:
        raise ValueError(
            f"Process {os.environ.get('LOCAL_RANK')} of this machine needs GPU {chosen}, but there "
            f"are {n_gpus}. Start no more processes than GPUs, or lower --gpu-id {gpu_id}."
        )
    return chosen
