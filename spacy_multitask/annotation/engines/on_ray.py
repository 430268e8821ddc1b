"""Ray Data: actors that load the pipeline once, here or on the cluster of RAY_ADDRESS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import ray
import ray.data

from ..shards import Annotator, Report
from . import Workers


class _Actor:
    def __init__(self, folder: str, workers: Workers):
        gpu = 0 if workers.gpus_per_worker else None  # of those that Ray shows to this actor
        self.annotator = Annotator(folder, gpu=gpu, code=workers.code)

    def __call__(self, row: dict[str, int]) -> dict[str, int]:
        self.annotator.annotate_shard(int(row["shard"]))
        return row


def run(folder: str, shards: list[int], workers: Workers, report: Report) -> Iterator[int]:
    """YIELDS (int): Each shard once it is done."""
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    # A block per shard: what is in one block is done by one actor.
    rows = ray.data.from_items([{"shard": n} for n in shards], override_num_blocks=len(shards))
    done = rows.map(
        cast(Any, _Actor),  # its type has functions only
        fn_constructor_args=(folder, workers),
        concurrency=min(len(shards), workers.processes or _room(workers)),
        num_gpus=workers.gpus_per_worker or None,
        # An actor that dies is started anew, and what it had is done again; `Annotator` sees to it
        # that this comes to an end.
        max_restarts=-1,
        max_task_retries=-1,
    )
    try:
        for row in done.iter_rows():
            yield int(row["shard"])
    except ray.exceptions.RayTaskError as error:
        raise error.cause if isinstance(error.cause, Exception) else error from None


def _room(workers: Workers) -> int:
    """RETURNS (int): How many workers the cluster has room for."""
    found = ray.cluster_resources()
    if workers.gpus_per_worker:
        return max(1, int(found.get("GPU", 0) / workers.gpus_per_worker))
    return max(1, int(found.get("CPU", 1)))
