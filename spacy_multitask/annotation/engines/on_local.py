"""This process, or processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from ..shards import Annotator, Report
from . import Workers

# In a row, of workers that die before they have done a shard; more than it takes to find a doc that
# kills them.
MOST_DEATHS = 50
# In a row, of workers in one place that die while they load the pipeline. No doc is to blame for
# that, so a further one would hardly fare better.
MOST_DEATHS_IN_LOADING = 3
PRELOADED = ["torch", "spacy.lang.en", "transformers", "pyarrow.parquet", "fsspec"]


def run(folder: str, shards: list[int], workers: Workers, report: Report) -> Iterator[int]:
    """YIELDS (int): Each shard once it is done."""
    n_processes = min(workers.processes or max(1, len(workers.gpus)), len(shards))
    if n_processes > 1:
        yield from _Pool(folder, workers, n_processes, report).run(deque(shards))
    elif shards:
        gpu = workers.gpus[0] if workers.gpus else None
        annotator = Annotator(folder, gpu=gpu, code=workers.code)
        for shard in shards:
            annotator.annotate_shard(shard, report)
            yield shard


class _Worker:
    """A process and the shard that it has, if any."""

    def __init__(self, place: int, process: Any, connection: Connection):
        self.place, self.process, self.connection = place, process, connection
        self.shard: int | None = None
        self.is_ready = False


class _Pool:
    def __init__(self, folder: str, workers: Workers, n_processes: int, report: Report):
        self.folder, self.workers, self.report = folder, workers, report
        self.n_processes = n_processes
        self.deaths = 0
        self.deaths_in_loading = [0] * n_processes  # by place
        has_server = "forkserver" in multiprocessing.get_all_start_methods()
        self.context: Any = multiprocessing.get_context("forkserver" if has_server else "spawn")
        if has_server:
            # Workers begin with what takes long to import. Not with our encoder, which would take
            # them for forks of a process that has run torch.
            self.context.set_forkserver_preload(PRELOADED)

    def run(self, todo: deque[int]) -> Iterator[int]:
        pool = [self._start(place) for place in range(self.n_processes)]
        try:
            while todo or any(worker.shard is not None for worker in pool):
                waiting = [worker.connection for worker in pool]
                for ready in wait(waiting):
                    at = waiting.index(ready)  # type: ignore[arg-type]
                    try:
                        message = pool[at].connection.recv()
                    except (EOFError, OSError):
                        pool[at] = self._replace(pool[at], todo)
                        continue
                    yield from self._hear(pool[at], message, todo)
        finally:
            for worker in pool:
                worker.process.kill()
                worker.process.join()

    def _hear(self, worker: _Worker, message: tuple, todo: deque[int]) -> Iterator[int]:
        kind, *values = message
        if kind == "progress":
            self.report(*values)
            return
        if kind == "failed":
            raise values[0]
        if kind == "done":
            assert worker.shard is not None
            yield worker.shard
            self.deaths = 0
        worker.is_ready, worker.shard = True, None
        self.deaths_in_loading[worker.place] = 0
        if todo:
            worker.shard = todo.popleft()
            with suppress(OSError):  # if it has died, the end of its messages says so
                worker.connection.send(worker.shard)

    def _start(self, place: int) -> _Worker:
        ours, theirs = self.context.Pipe()
        gpus = self.workers.gpus
        options = {
            "gpu": gpus[place % len(gpus)] if gpus else None,
            "threads": max(1, torch.get_num_threads() // self.n_processes),
            "code": self.workers.code,
        }
        process = self.context.Process(
            target=_serve, args=(self.folder, options, theirs), daemon=True
        )
        process.start()
        theirs.close()
        return _Worker(place, process, ours)

    def _replace(self, dead: _Worker, todo: deque[int]) -> _Worker:
        """RETURNS (Worker): Another one; the shard of the one before is done again."""
        dead.process.join()
        self.deaths += 1
        self.deaths_in_loading[dead.place] += not dead.is_ready
        in_loading = self.deaths_in_loading[dead.place]
        if self.deaths > MOST_DEATHS or in_loading > MOST_DEATHS_IN_LOADING:
            raise RuntimeError(
                "Worker processes end again and again"
                f"{'' if dead.is_ready else ' while they load the pipeline'}, the last one with "
                f"code {dead.process.exitcode}. Is there enough memory? Take fewer processes, or "
                "smaller shards."
            )
        if dead.shard is not None:
            todo.appendleft(dead.shard)
        return self._start(dead.place)


def _serve(folder: str, options: dict[str, Any], connection: Connection) -> None:
    """Do the shards that are asked for, until nobody asks any more."""
    parent = os.getppid()
    try:
        annotator = Annotator(folder, **options)
        connection.send(("ready",))
        while os.getppid() == parent:
            shard = connection.recv()
            annotator.annotate_shard(shard, lambda *n: connection.send(("progress", *n)))
            connection.send(("done",))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return  # the one who asked is gone
    except Exception as error:
        connection.send(("failed", _sendable(error)))


def _sendable(error: Exception) -> Exception:
    """RETURNS (Exception): One that survives the way between processes."""
    if isinstance(error, ValueError | OSError | ImportError):
        return ValueError(str(error))
    return RuntimeError(f"{type(error).__name__}: {error}")
