"""One shard: read, annotated, written aside and renamed. All that engines need to call.

What was tried, and how often, is kept in files, so that it outlives the process: a shard that has
killed it some times is cut into parts, and a doc that has killed it is skipped and named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from timeit import default_timer
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import spacy
import torch
from spacy.tokens import Doc
from spacy.util import import_file

from ..loading import load_pipeline
from ..plain import to_json
from .addresses import Store
from .columns import Columns
from .docs import annotate_texts, bounded_words, giving_probs, remember_words
from .inputs import Batch, batches
from .job import DATA, FORMATS, STATE, Job
from .outputs import WRITERS, Writer
from .pieces import Pieces
from .schema import ID, LAYERS, PIECE, TEXT, choose_layers, chunk_keys, schema_of

TRIES = 2  # of a shard, or a part of it, that kills its process, before it is cut
PARTS = 8  # that it is cut into
KILLED = "It ended the process that was to annotate it, several times."
# Told of docs, words and errors since the last call.
Report = Callable[[int, int, int], None]


@dataclass
class Stats:
    """What a shard has.

    docs, words (int): That were annotated; pieces of a doc count as docs.
    seconds (float): That it took.
    errors (List[Tuple[str, str]]): Ids and reasons of docs that failed.
    labels (Dict[str, Dict[str, int]]): How often each label was given, by layer.
    left_out (Dict[str, int]): Fields without a column, and in how many docs.
    """

    docs: int = 0
    words: int = 0
    seconds: float = 0.0
    errors: list[tuple[str, str]] = field(default_factory=list)
    labels: dict[str, dict[str, int]] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)

    def add(self, other: Stats) -> None:
        self.docs += other.docs
        self.words += other.words
        self.seconds += other.seconds
        self.errors += other.errors
        for layer, counts in other.labels.items():
            self.labels[layer] = dict(Counter(self.labels.get(layer, {})) + Counter(counts))
        self.left_out = dict(Counter(self.left_out) + Counter(other.left_out))


class Part(NamedTuple):
    """Rows of a shard.

    end (Optional[int]): Exclusive; None for the shard's end.
    """

    shard: int
    start: int = 0
    end: int | None = None

    @property
    def name(self) -> str:
        """RETURNS (str): Of what is kept of it, without what tells the kind of file."""
        whole = f"{STATE}/{self.shard:06d}"
        return whole if self.end is None else f"{whole}.parts/{self.start:09d}-{self.end:09d}"


class Annotator:
    """Annotates the shards of a job; a process has one.

    folder (str): Address of the output, where the job is.
    gpu (Optional[int]): Number of the GPU; None for the CPU.
    threads (Optional[int]): Of torch; None leaves them as they are.
    code (Optional[Path]): Python file with functions that the pipeline's config names.
    """

    def __init__(
        self,
        folder: str,
        *,
        gpu: int | None = None,
        threads: int | None = None,
        code: Path | None = None,
    ):
        self.store = Store(folder)
        job = Job.load(self.store)
        assert job is not None, "it was saved before engines start"
        self.job = job
        if code is not None:
            import_file("python_code", code)
        if threads is not None:
            torch.set_num_threads(threads)
        if gpu is not None:
            spacy.require_gpu(gpu)
        self.nlp = load_pipeline(job.model)
        remember_words(self.nlp)
        self.layers = choose_layers(self.nlp, job.options.layers)
        self.pieces = Pieces(job.options.long, self.nlp.max_length)
        self.writer = WRITERS[job.options.to]

    @cached_property
    def schema(self) -> pa.Schema:
        options = self.job.options
        has_pieces = options.long == "split"
        return schema_of(self.layers, options.probs, self.job.kept, has_pieces=has_pieces)

    def annotate_shard(self, number: int, report: Report | None = None) -> Stats:
        """Do a shard, if it is not done.

        RETURNS (Stats): Of the shard. Its file is complete under its name.
        """
        part = Part(number)
        if not self.store.exists(self._file_of(part)):
            self._do(part, report or _nobody)
            self.store.remove(f"{part.name}.parts")
        return self._stats_of(part)

    def _file_of(self, part: Part) -> str:
        if part.end is None:
            return f"{DATA}/part-{part.shard:06d}{self.writer.suffix}"
        return part.name + self.writer.suffix

    def _stats_of(self, part: Part) -> Stats:
        return Stats(**self.store.read(f"{part.name}.json"))

    def _do(self, part: Part, report: Report) -> None:
        """Make the file of a part."""
        tries_file = f"{part.name}.tries"
        tries = self.store.read(tries_file) or 0
        if tries >= TRIES:
            self._do_in_parts(part, report)
        else:
            self.store.write(tries_file, tries + 1)
            try:
                with self._written(part) as (writer, stats):
                    self._annotate(part, writer, stats, report)
            except BaseException:  # which did not kill the process
                self.store.remove(tries_file)
                raise
        self.store.remove(tries_file)

    def _do_in_parts(self, part: Part, report: Report) -> None:
        end = sum(1 for _ in self._rows(part)) if part.end is None else part.end
        if end - part.start <= 1 and part.end is not None:
            with self._written(part) as (_, stats):
                stats.errors = [(id, KILLED) for b in self._batches(part) for id in _ids(b)]
            report(0, 0, len(stats.errors))
            return
        borders = np.unique(np.linspace(part.start, end, PARTS + 1).astype(int)).tolist()
        children = [Part(part.shard, a, b) for a, b in pairwise(borders)]
        for child in children:
            if not self.store.exists(self._file_of(child)):
                self._do(child, report)
        with self.store.new_file(self._file_of(part)) as stream:
            stats = Stats()
            for child in children:
                stats.add(self._stats_of(child))
            opened = [self.store.open(self._file_of(child)) for child in children]
            self.writer.join(opened, stream, self.schema)
            for one in opened:
                one.close()
            self.store.write(f"{part.name}.json", asdict(stats))

    @contextmanager
    def _written(self, part: Part) -> Iterator[tuple[Writer, Stats]]:
        """YIELDS (Tuple[Writer, Stats]): To be filled. The figures are there before the file gets
        its name, so that a file that is there has some."""
        stats = Stats()
        with self.store.new_file(self._file_of(part)) as stream:
            writer = self.writer(stream, self.schema)
            try:
                yield writer, stats
            finally:
                writer.close()  # of a file that is thrown away, too, or pyarrow closes it too late
            self.store.write(f"{part.name}.json", asdict(stats))

    # What is in a shard

    def _rows(self, part: Part) -> Iterator[Any]:
        reader, job = FORMATS[self.job.format], self.job
        shard = job.shards[part.shard]
        return reader.read(job.files, shard, job.columns, self.nlp.vocab)

    def _batches(self, part: Part) -> Iterator[Batch]:
        yield from batches(self._rows(part), self.nlp.batch_size, first=part.start, end=part.end)

    def _annotate(self, part: Part, writer: Writer, stats: Stats, report: Report) -> None:
        started = default_timer()
        probs = self.job.options.probs
        with giving_probs(self.nlp, probs), bounded_words(self.nlp):
            for batch in self._batches(part):
                before = stats.docs, stats.words, len(stats.errors)
                stats.add(Stats(errors=batch.errors, left_out=batch.left_out))
                for piece in self._fitting(self.pieces.cut(batch, stats.errors), stats):
                    self._annotate_batch(piece, writer, stats)
                now = stats.docs, stats.words, len(stats.errors)
                report(*(b - a for a, b in zip(before, now)))
        stats.seconds = default_timer() - started

    def try_out(self, number: int, n_docs: int) -> tuple[float, float, int]:
        """Annotate the first docs of a shard, and throw the result away.

        RETURNS (tuple): The share of the shard that they are, seconds, and bytes of output.
        """
        part, stream, stats = Part(number, 0, n_docs), BytesIO(), Stats()
        writer = self.writer(stream, self.schema)
        # The first ones take longer.
        self._annotate(Part(number, 0, 10), self.writer(BytesIO(), self.schema), Stats(), _nobody)
        self._annotate(part, writer, stats, _nobody)
        writer.close()
        n_rows = sum(1 for _ in self._rows(part))
        return min(1.0, n_docs / max(1, n_rows)), stats.seconds, len(stream.getvalue())

    def _fitting(self, batch: Batch, stats: Stats) -> Iterator[Batch]:
        """YIELDS (Batch): The rows whose kept values have the types of their columns; at most one
        batch. What is no string is JSON in a column of strings."""
        bad: dict[int, str] = {}
        for column in self.job.kept:
            values = batch.kept.get(column.name, [])
            if column.type == pa.string():
                values[:] = [v if isinstance(v, str | None) else to_json(v) for v in values]
            if not _fits(values, column.type):
                for row, value in enumerate(values):
                    if not _fits([value], column.type):
                        bad.setdefault(row, f"{column.name} = {value!r} is no {column.type}.")
        stats.errors += [(batch.ids[row], reason) for row, reason in sorted(bad.items())]
        if len(bad) < len(batch.ids):
            yield batch.part([i for i in range(len(batch.ids)) if i not in bad]) if bad else batch

    def _annotate_batch(self, batch: Batch, writer: Writer, stats: Stats) -> None:
        done = annotate_texts(self.nlp, batch.texts)
        stats.errors += [(batch.ids[row], reason) for row, reason in sorted(done.errors.items())]
        stats.docs += len(done.docs)
        if not done.docs:
            return
        good = batch if not done.errors else batch.part(done.rows)
        columns = Columns(
            done.docs,
            self.nlp.vocab.strings,
            chunk_keys=chunk_keys(self.nlp),
            probs=self.job.options.probs,
        )
        stats.words += columns.n_words
        found = columns.of_layers(self.layers)
        for layer, counts in _label_counts(found).items():
            stats.add(Stats(labels={layer: counts}))
        if writer.takes_docs:
            names = list(good.kept)
            rows = zip(good.ids, *good.kept.values())
            writer.write_docs(done.docs, [dict(zip([ID, *names], row)) for row in rows])
            return
        found[ID] = pa.array(good.ids, pa.string())
        found[TEXT] = pa.array([_text_of(text) for text in good.texts], pa.string())
        for name in self.job.kept.names:
            found[name] = pa.array(good.kept[name], self.job.kept.field(name).type)
        if PIECE in self.schema.names:
            found[PIECE] = pa.array(good.kept[PIECE], pa.int32())
        writer.write(
            pa.Table.from_arrays(
                [found[f.name].cast(f.type) for f in self.schema], schema=self.schema
            )
        )


def _nobody(docs: int, words: int, errors: int) -> None:
    return None


def _ids(batch: Batch) -> list[str]:
    return [*batch.ids, *(id for id, _ in batch.errors)]


def _text_of(text: str | Doc | None) -> str | None:
    return text.text if isinstance(text, Doc) else text


def _fits(values: list, type: pa.DataType) -> bool:
    try:
        pa.array(values, type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return False
    return True


def _label_counts(columns: dict[str, pa.Array]) -> dict[str, dict[str, int]]:
    """RETURNS (Dict[str, Dict[str, int]]): How often each label was given, by layer. Of topics the
    most probable counts."""
    found = {}
    for layer, column in columns.items():
        if layer == "tokens" or layer not in LAYERS:
            continue
        if layer == "topics":
            column = pc.list_slice(column, 0, 1)
        labels = column.flatten()
        if layer not in ("tags", "pos"):
            labels = labels.field("label")
        counts = pc.value_counts(labels.drop_null()).to_pylist()
        found[layer] = {pair["values"]: pair["counts"] for pair in counts}
    return found


def undone(store: Store, job: Job, numbers: Iterable[int]) -> list[int]:
    """RETURNS (List[int]): Those of the shards that have no file yet."""
    there = set(store.names(DATA))
    suffix = WRITERS[job.options.to].suffix
    return [n for n in numbers if f"part-{n:06d}{suffix}" not in there]
