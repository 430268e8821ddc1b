"""Parts of `benchmarks.scale` about annotating.

The texts are those of the topics of the samples, again and again, Parquet in and Parquet out. The
pipeline has the packaged encoder and four heads, which have learned a little, in int8 where that is
installed.
"""

from __future__ import annotations

import argparse
import gzip
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import spacy
import torch

from spacy_multitask import annotate
from spacy_multitask.annotation.shards import Annotator
from spacy_multitask.layers.network import TransformerNetwork

from .common import packaged_encoder, pipeline, training_examples
from .host import as_on_a_device, write_tiny_encoder

HOST_DOCS = 5000  # whose vectors are in memory
KILL_DOCS, KILL_SHARD = 800, 50
DIGITS = 4  # of probabilities that are compared: parts of a shard are padded otherwise
WANTED = {"local": 0.95, "ray": 0.85, "host_words_per_s": 150_000}


def texts_of(samples: Path, n_docs: int) -> list[str]:
    data = gzip.decompress((samples / "topic/test.txt.gz").read_bytes()).decode("utf8")
    data += (samples / "topic/train.txt").read_text(encoding="utf8")
    texts = [line.partition(" ")[2] for line in data.splitlines()]
    return (texts * (n_docs // len(texts) + 1))[:n_docs]


def write_texts(path: Path, texts: list[str]) -> Path:
    ids = [f"doc{i:07d}" for i in range(len(texts))]
    pq.write_table(pa.table({"id": ids, "text": texts}), path, row_group_size=5000)
    return path


@contextmanager
def place(options: argparse.Namespace, *, int8: bool) -> Iterator[tuple[Path, Path]]:
    """YIELDS (Tuple[Path, Path]): A folder, and the pipeline in it."""
    nlp, sgd = pipeline(
        options.encoder or packaged_encoder(), lambda nlp: training_examples(nlp, options.samples)
    )
    examples = training_examples(nlp, options.samples)
    for start in range(0, 320, 32):
        nlp.update(examples[start : start + 32], sgd=sgd)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "model"
        nlp.to_disk(model)
        if int8 and find_spec("onnxruntime") is not None:
            from spacy_multitask.encoder.quantize import quantize

            quantize(model, folder / "int8")
            model = folder / "int8"
        yield folder, model


def local(options: argparse.Namespace) -> dict[str, Any]:
    """Words per second of `annotate` in this process, from file to file, and of `nlp.pipe` on the
    same docs in memory, in turn. Loading the pipeline counts for neither."""
    found: dict[str, list[float]] = {"annotate": [], "pipe": []}
    with place(options, int8=True) as (folder, model):
        texts = texts_of(options.samples, options.docs)
        path = write_texts(folder / "texts.parquet", texts)
        nlp = spacy.load(model)
        list(nlp.pipe(texts[:500]))
        n_words = 0
        for _ in range(options.rounds):
            started = time.perf_counter()
            with nlp.memory_zone():
                n_words = sum(len(doc) for doc in nlp.pipe(texts))
            found["pipe"].append(n_words / (time.perf_counter() - started))
            found["annotate"].append(n_words / shards_alone(path, model, folder / "out"))
    ratios = [a / b for a, b in zip(found["annotate"], found["pipe"])]
    return {
        "docs": len(texts),
        "words": n_words,
        **{f"{name}_words_per_s": round(median(values)) for name, values in found.items()},
        "ratio": round(median(ratios), 3),
        "wanted": WANTED["local"],
    }


def shards_alone(path: Path, model: Path, out: Path) -> float:
    """RETURNS (float): Seconds that all shards take, once the pipeline is loaded."""
    shutil.rmtree(out, ignore_errors=True)
    annotate(model, path, out, dry_run=True)  # writes the manifest
    return all_shards(Annotator(str(out)))


def all_shards(annotator: Annotator) -> float:
    """RETURNS (float): Seconds that all shards take, those that are done already, too."""
    data = Path(annotator.store.address.removeprefix("file://")) / "data"
    shutil.rmtree(data, ignore_errors=True)
    started = time.perf_counter()
    for number in range(len(annotator.job.shards)):
        annotator.annotate_shard(number)
    return time.perf_counter() - started


@contextmanager
def network_that(forward: Callable[..., torch.Tensor]) -> Iterator[None]:
    """Within, the encoder's network does this. A pipeline must be loaded before: it refuses an
    encoder that gives other vectors than it was saved with."""
    before = TransformerNetwork.forward
    TransformerNetwork.forward = forward  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        TransformerNetwork.forward = before  # type: ignore[method-assign]


def ray(options: argparse.Namespace) -> dict[str, Any]:
    """Words per second of Ray and of processes of this machine, as many workers of one thread each,
    from the end of the first shard to that of the last: without start-up."""
    n_workers = options.threads
    speeds: dict[str, list[float]] = {"local": [], "ray": []}
    with place(options, int8=True) as (folder, model):
        texts = texts_of(options.samples, options.docs)
        path = write_texts(folder / "texts.parquet", texts)
        for _ in range(options.rounds):
            for engine in speeds:
                out = folder / engine
                shutil.rmtree(out, ignore_errors=True)
                annotate(model, path, out, engine=engine, processes=n_workers, shard_docs=500)
                speeds[engine].append(steady_speed(out, n_workers))
    ratio = median(a / b for a, b in zip(speeds["ray"], speeds["local"]))
    return {
        "workers": n_workers,
        **{f"{name}_words_per_s": round(median(values)) for name, values in speeds.items()},
        "ratio": round(ratio, 3),
        "wanted": WANTED["ray"],
    }


def steady_speed(out: Path, n_workers: int) -> float:
    """RETURNS (float): Words per second between the first shards and the last, by the times of the
    files."""
    files = sorted((out / "data").iterdir(), key=lambda path: path.stat().st_mtime)
    begin, end = (files[i].stat().st_mtime for i in (n_workers - 1, -1))
    n_words = sum(
        sum(map(len, pq.read_table(path, columns=["tokens"])["tokens"].to_pylist()))
        for path in files[n_workers:]
    )
    return n_words / (end - begin)


def host(options: argparse.Namespace) -> dict[str, Any]:
    """Words per second of one thread with a small network that gives at once what it gave in a
    round before, in micro-batches as for a GPU: reading, tokenizing, pieces, heads, writing. In the
    first round of a process all words are new to the tokenizer; in the second one it knows them, as
    late in a long run."""
    threads, forward = torch.get_num_threads(), TransformerNetwork.forward
    heard: list[torch.Tensor] = []

    def listen(network: Any, *pieces: Any) -> torch.Tensor:
        heard.append(forward(network, *pieces))
        return heard[-1]

    def repeat() -> Any:
        said = iter(heard)
        return network_that(lambda network, *pieces: next(said))

    seconds: dict[str, list[float]] = {"new": [], "known": []}
    torch.set_num_threads(1)
    try:
        with _small_encoder(options) as small, place(small, int8=False) as (folder, model):
            texts = texts_of(options.samples, min(options.docs, HOST_DOCS))
            path = write_texts(folder / "texts.parquet", texts)
            out = folder / "out"
            annotate(model, path, out, dry_run=True)
            annotators = [Annotator(str(out)) for _ in range(options.rounds + 1)]
            with as_on_a_device():
                with network_that(listen):
                    all_shards(annotators.pop())
                for annotator in annotators:
                    for found in seconds.values():
                        with repeat():
                            found.append(all_shards(annotator))
    finally:
        torch.set_num_threads(threads)
    n_words = sum(map(len, spacy.blank("en").pipe(texts)))
    return {
        "words": n_words,
        "words_per_s": round(n_words / median(seconds["known"])),
        "words_per_s_of_new_words": round(n_words / median(seconds["new"])),
        "wanted": WANTED["host_words_per_s"],
    }


@contextmanager
def _small_encoder(options: argparse.Namespace) -> Iterator[argparse.Namespace]:
    with tempfile.TemporaryDirectory() as folder:
        encoder = write_tiny_encoder(Path(folder))
        yield argparse.Namespace(**{**vars(options), "encoder": encoder})


RUN = (
    "import sys; from spacy_multitask import annotate; "
    "annotate(*sys.argv[1:4], engine=sys.argv[4], processes=2, shard_docs=int(sys.argv[5]))"
)


def kills(options: argparse.Namespace, engine: str) -> dict[str, Any]:
    """Runs that are killed at random moments, until they end: rows that differ from those of a run
    that nobody killed. Now and then a worker is killed, and not all."""
    rng = random.Random(options.seed)
    with place(options, int8=False) as (folder, model):
        path = write_texts(folder / "texts.parquet", texts_of(options.samples, KILL_DOCS))

        def run(out: Path) -> subprocess.Popen:
            command = [sys.executable, "-c", RUN, str(model), str(path), str(out), engine]
            # In a group of its own, so that all that it starts ends with it.
            return subprocess.Popen([*command, str(KILL_SHARD)], start_new_session=True)

        started = time.perf_counter()
        if run(folder / "unbroken").wait():
            raise RuntimeError(f"The run with the engine {engine} failed.")
        whole = time.perf_counter() - started
        expected = rows_of(folder / "unbroken")
        counts = {"kills": 0, "worker_kills": 0, "runs": 0, "equal": 0}
        while counts["kills"] + counts["worker_kills"] < options.kills:
            out = folder / "killed"
            _run_through_kills(partial(run, out), whole, rng, counts)
            counts["runs"] += 1
            counts["equal"] += rows_of(out) == expected
            shutil.rmtree(out)
    return counts


def _run_through_kills(
    run: Callable[[], subprocess.Popen], seconds: float, rng: random.Random, counts: dict[str, int]
) -> None:
    """Start a run again until it ends.

    seconds (float): That it takes if nobody kills it.
    """
    while True:
        child = run()
        try:
            child.wait(rng.uniform(0.2, 1.1) * seconds)
        except subprocess.TimeoutExpired:
            victims = workers_of(child.pid)
            if victims and rng.random() < 0.5:
                os.kill(rng.choice(victims), signal.SIGKILL)
                counts["worker_kills"] += 1
            else:
                os.killpg(child.pid, signal.SIGKILL)
                counts["kills"] += 1
                child.wait()
                continue
        if child.wait():
            raise RuntimeError(f"The run ended with code {child.returncode}.")
        return


def workers_of(pid: int) -> list[int]:
    """RETURNS (List[int]): Processes under a process that annotate shards."""
    parents, names = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                names[int(entry.name)] = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
    found = []
    for process, name in names.items():
        above = process
        while above in parents and above != pid:
            above = parents[above]
        # What a server has forked is called as the server is.
        is_forked = b"forkserver" in name and b"forkserver" in names.get(parents[process], b"")
        if above == pid and (is_forked or b"MapWorker" in name or b"spawn_main" in name):
            found.append(process)
    return found


def rows_of(out: Path) -> list[dict]:
    """RETURNS (List[Dict]): All rows, with rounded probabilities."""
    return _rounded(pq.read_table(out / "data").to_pylist())


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return list(map(_rounded, value))
    return round(value, DIGITS) if isinstance(value, float) else value


PARTS = {
    "annotate_local": local,
    "annotate_ray": ray,
    "annotate_host": host,
    "annotate_kills_local": partial(kills, engine="local"),
    "annotate_kills_ray": partial(kills, engine="ray"),
}
