"""Spark: a task per shard, with the session that is active, or a new one."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql import SparkSession

from ..addresses import Store
from ..job import STATE, Job
from ..shards import Annotator, Report, undone
from . import Workers

_annotators: dict[str, Annotator] = {}  # of this Python worker, which Spark uses again


def run(folder: str, shards: list[int], workers: Workers, report: Report) -> Iterator[int]:
    """YIELDS (int): Each shard, once all are done."""

    def annotate(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        if folder not in _annotators:
            gpu = 0 if workers.gpus_per_worker else None
            _annotators[folder] = Annotator(folder, gpu=gpu, code=workers.code)
        for batch in batches:
            for number in batch["shard"].to_pylist():
                _annotators[folder].annotate_shard(number)
            yield batch

    spark = SparkSession.builder.getOrCreate()
    store = Store(folder)
    job = Job.load(store)
    assert job is not None, "it was saved before engines start"
    while left := undone(store, job, shards):
        rows = spark.sparkContext.parallelize([(n,) for n in left], len(left))
        table = spark.createDataFrame(rows, "shard int")
        try:
            table.mapInArrow(annotate, "shard int").collect()
        except Exception:
            # A shard that kills its worker some times fails Spark's job, and is on the way to be
            # cut; whatever else fails would fail again.
            if not any(name.endswith(".tries") for name in store.names(STATE)):
                raise
    yield from shards
