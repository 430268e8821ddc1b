"""Each engine for real, and a worker of each killed in mid-run."""

import json
import multiprocessing
import shutil
import sys
from collections import deque
from unittest.mock import patch

import pytest
import spacy

from spacy_multitask import annotate
from spacy_multitask.annotation.engines import ENGINES, Workers, engine_named, on_local
from spacy_multitask.annotation.engines.on_local import _Pool, _Worker
from tests.annotation.conftest import errors_in, rows_of, write_texts

CODE = """
import os
from pathlib import Path
from spacy.language import Language

@Language.component("deadly_once")
def deadly_once(doc):
    before = Path(__file__).with_name("killed")
    if doc.text == "deadly" and not before.exists():
        before.touch()
        os.kill(os.getpid(), 9)
    return doc
"""

LOADING_CODE = """
import multiprocessing
import os
from pathlib import Path
from spacy.language import Language

@Language.factory("loading_dies_{times}_times")
def make(nlp, name):
    deaths = Path(__file__).with_name("deaths")
    so_far = len(deaths.read_text()) if deaths.exists() else 0
    if multiprocessing.parent_process() is not None and so_far < {times}:
        deaths.write_text("x" * (so_far + 1))
        os.kill(os.getpid(), 9)
    return lambda doc: doc
"""


@pytest.fixture
def ray_here():
    ray = pytest.importorskip("ray", reason="ray is not installed")
    memory = 100 * 2**20
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=memory, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def spark_here(monkeypatch):
    pyspark = pytest.importorskip("pyspark", reason="pyspark is not installed")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    builder = pyspark.sql.SparkSession.builder.master("local[2,4]")
    session = builder.config("spark.ui.enabled", "false").getOrCreate()
    yield
    session.stop()


@pytest.mark.parametrize(
    "engine",
    ["local", pytest.param("ray", marks=pytest.mark.slow)]
    + [pytest.param("spark", marks=[pytest.mark.slow, pytest.mark.spark])],
)
def test_a_run_whose_worker_is_killed_ends_complete(engine, tmp_path, request):
    if engine != "local":
        request.getfixturevalue(f"{engine}_here")
    code = tmp_path / "code.py"
    code.write_text(CODE)
    spacy.util.import_file("python_code", code)
    nlp = spacy.blank("en")
    nlp.add_pipe("deadly_once")
    nlp.to_disk(tmp_path / "model")
    texts = write_texts(tmp_path / "texts.jsonl", 12, d5="deadly")
    summary = annotate(
        tmp_path / "model",
        texts,
        tmp_path / "out",
        engine=engine,
        processes=2,
        shard_docs=4,
        code=code,
    )
    assert (tmp_path / "killed").exists()
    rows = rows_of(summary)
    assert [row["id"] for row in rows] == [f"d{i}" for i in range(12)]
    assert [len(row["tokens"]) for row in rows[4:6]] == [5, 1]
    assert errors_in(tmp_path / "out") == {}
    assert (summary.done, summary.total.docs) == (summary.shards, 12)
    saved = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert saved["shards_done"] == saved["shards"] == 3


def annotate_with_deadly_loading(folder, times):
    code = folder / "code.py"
    code.write_text(LOADING_CODE.format(times=times))
    spacy.util.import_file("python_code", code)
    nlp = spacy.blank("en")
    nlp.add_pipe(f"loading_dies_{times}_times")
    nlp.to_disk(folder / "model")
    texts = write_texts(folder / "texts.jsonl", 12)
    return annotate(folder / "model", texts, folder / "out", processes=2, shard_docs=4, code=code)


def test_a_run_whose_workers_are_killed_while_they_load_ends_complete(tmp_path):
    summary = annotate_with_deadly_loading(tmp_path, times=1)
    assert (tmp_path / "deaths").exists()
    assert [row["id"] for row in rows_of(summary)] == [f"d{i}" for i in range(12)]


def test_workers_that_never_get_to_load_end_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(on_local, "MOST_DEATHS_IN_LOADING", 1)
    with pytest.raises(RuntimeError, match=r"again and again while they load the pipeline.*-9"):
        annotate_with_deadly_loading(tmp_path, times=1000)


def test_a_worker_that_dies_before_it_is_given_a_shard_is_replaced(tmp_path):
    context = multiprocessing.get_context("spawn")
    pool = _Pool(str(tmp_path), Workers(processes=2), 2, lambda *n: None)
    ours, theirs = context.Pipe()
    process = context.Process(target=print)
    process.start()
    worker = _Worker(1, process, ours)
    theirs.close()
    todo = deque([7])
    assert list(pool._hear(worker, ("ready",), todo)) == []
    with patch.object(pool, "_start", lambda place: place):
        assert pool._replace(worker, todo) == 1
    assert list(todo) == [7], "its shard is done by another"


def test_who_loads_well_does_not_hide_who_never_does(tmp_path):
    context = multiprocessing.get_context("spawn")
    pool = _Pool(str(tmp_path), Workers(processes=2), 2, lambda *n: None)
    process = context.Process(target=print)
    process.start()
    dies, works = (_Worker(place, process, None) for place in (0, 1))
    with (
        patch.object(pool, "_start", lambda place: dies),
        pytest.raises(RuntimeError, match="load"),
    ):
        for _ in range(10):
            pool._replace(dies, deque())
            list(pool._hear(works, ("ready",), deque()))


def test_an_engine_that_is_none_or_not_installed_is_said(monkeypatch):
    with pytest.raises(ValueError, match="engine = 'dask' is not one of local, ray, spark"):
        engine_named("dask")
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, engine_named.__module__ + ".on_ray", raising=False)
    with pytest.raises(ImportError, match=r"pip install 'spacy_multitask\[ray\]'"):
        engine_named("ray")
    assert set(ENGINES) == {"local", "ray", "spark"}
