"""A corpus annotated: the function `annotate`, and what its command does."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from timeit import default_timer

from spacy import util
from tqdm import tqdm

from ..progress import SETTINGS
from ..safe_files import locked, new_file
from .addresses import Store
from .engines import Workers, engine_named
from .job import DATA, ERRORS, STATE, Job, Options, plan
from .shards import Annotator, Stats, undone
from .summary import Forecast, Summary

STDIN = "-"
SPOOLED = "stdin"
SAMPLE_DOCS = 200  # that a dry run annotates


class TooManyErrors(ValueError):
    """More docs have failed than may."""


def annotate(
    model: str | Path,
    inputs: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    layers: Iterable[str] | None = None,
    probs: bool = False,
    format: str = "auto",
    to: str = "parquet",
    text: str = "text",
    id: str | None = None,
    keep: Iterable[str] | None = None,
    long: str = "error",
    shard_docs: int = Options.shard_docs,
    engine: str = "local",
    processes: int = 0,
    gpus: Sequence[int] = (),
    gpus_per_worker: float = 0.0,
    max_errors: int | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    code: Path | None = None,
) -> Summary | Forecast:
    """Annotate a corpus of any size, shard by shard.

    Called again with the same arguments it goes on where it was interrupted.

    model (str | Path): Pipeline: a folder, or a package's name.
    inputs (Sequence): Files, folders, globs, or addresses such as s3://; "-" is standard input.
    output (str | Path): Folder, or an address. Annotated files are in its folder `data`.
    layers, probs, format, to, text, id, keep, long, shard_docs: See `job.Options`.
    engine (str): Of `engines.ENGINES`.
    processes, gpus, gpus_per_worker, code: See `engines.Workers`.
    max_errors (Optional[int]): Docs that may fail before the run ends; None for any number.
    overwrite (bool): Whether to replace what another run has left.
    dry_run (bool): Whether to estimate only.
    RETURNS (Summary): Or, of a dry run, a `Forecast`.
    RAISES (ValueError): If something is missing or unknown, another run has begun in the folder, or
        too many docs fail.
    """
    options = Options(
        layers=None if layers is None else tuple(layers),
        probs=probs,
        format=format,
        to=to,
        text=text,
        id=id,
        keep=None if keep is None else tuple(keep),
        long=long,
        shard_docs=shard_docs,
    )
    code = None if code is None else Path(code).absolute()
    workers = Workers(
        processes=processes, gpus=tuple(gpus), gpus_per_worker=gpus_per_worker, code=code
    )
    run_engine = engine_named(engine)
    store = Store(absolute(output))
    named = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    with locked(Path(store.root)) if store.is_local else nullcontext():
        addresses = [str(name) if str(name) != STDIN else _spool(store, format) for name in named]
        job = _begin(absolute(model), addresses, options, store, overwrite=overwrite)
        todo = undone(store, job, range(len(job.shards)))
        if dry_run:
            return _forecast(job, todo, Annotator(store.address, code=code))
        run = _Run(store, job, max_errors)
        with run.ending():
            for shard in run_engine(store.address, todo, workers, run.report) if todo else ():
                run.finish(shard)
        return run.summary


def absolute(path: str | Path) -> str:
    """RETURNS (str): A path of this machine from its root, since workers may start elsewhere;
    addresses and names of packages as they are."""
    is_address = isinstance(path, str) and "://" in path
    is_package = not is_address and util.is_package(str(path))
    return str(path) if is_address or is_package else str(Path(path).absolute())


def _begin(
    model: str, addresses: list[str], options: Options, store: Store, *, overwrite: bool
) -> Job:
    """RETURNS (Job): The one that the folder has, if it is the same; or a new one."""
    job = plan(model, addresses, options)
    before = Job.load(store)
    if before is not None and not overwrite:
        job.check_same(before, store.address)
        store.clear_leftovers(DATA)
        return before
    there = [name for name in store.names("") if name not in (".lock", SPOOLED)]
    if before is None and there and not overwrite:
        raise ValueError(
            f"{store.address} has other files ({', '.join(there[:3])}). Choose another folder. "
            "--overwrite replaces only what an earlier run has left."
        )
    for name in (DATA, STATE, ERRORS):
        store.remove(name)
    job.save(store)
    return job


def _spool(store: Store, format: str) -> str:
    """RETURNS (str): Address of a file with what standard input gives, which can't be cut or read
    twice."""
    if format == "auto":
        raise ValueError("Give the --format of standard input: txt, jsonl, csv or parquet.")
    if not store.is_local:
        raise ValueError(
            "Standard input needs an output on this machine. Give a folder with --output."
        )
    path = Path(store.path(f"{SPOOLED}/input.{format}"))
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path) as aside, aside.open("wb") as stream:
        shutil.copyfileobj(sys.stdin.buffer, stream)
    return str(path)


class _Run:
    """What is done so far, on the screen and in the folder."""

    def __init__(self, store: Store, job: Job, max_errors: int | None):
        self.store, self.job, self.max_errors = store, job, max_errors
        self.summary = Summary(store.address, len(job.shards))
        todo = set(undone(store, job, range(len(job.shards))))
        self.done = {n: self._stats(n) for n in range(len(job.shards)) if n not in todo}
        self.n_errors = sum(len(stats.errors) for stats in self.done.values())
        self.new: list[int] = []
        self.started = default_timer()
        weights = [shard.weight for shard in job.shards]
        self.bar = tqdm(
            total=sum(weights),
            initial=sum(weights[n] for n in self.done),
            desc="Annotating",
            unit="B",
            unit_scale=True,
            **SETTINGS,
        )
        self.seen = [0, 0]  # docs and words of shards in work, or done since the start

    def _stats(self, shard: int) -> Stats:
        return Stats(**self.store.read(f"{STATE}/{shard:06d}.json"))

    def report(self, docs: int, words: int, errors: int) -> None:
        """Count what is in work."""
        self.seen[0] += docs
        self.seen[1] += words
        self.n_errors += errors
        self._show()

    def finish(self, shard: int) -> None:
        """Count a shard that is done.

        RAISES (TooManyErrors): If there are.
        """
        self.done[shard] = self._stats(shard)
        self.new.append(shard)
        new = [self.done[n] for n in self.new]
        # Engines of several machines do not report.
        self.seen[0] = max(self.seen[0], sum(stats.docs for stats in new))
        self.seen[1] = max(self.seen[1], sum(stats.words for stats in new))
        self.n_errors = max(self.n_errors, sum(len(s.errors) for s in self.done.values()))
        self.bar.update(self.job.shards[shard].weight)
        self._show()
        if self.max_errors is not None and self.n_errors > self.max_errors:
            raise TooManyErrors(
                f"{self.n_errors} docs have failed, and max_errors allows {self.max_errors}. "
                f"{self.store.address}/{ERRORS} says which, and why. Mend them and begin anew, or "
                "allow more and go on."
            )

    def _show(self) -> None:
        speed = self.seen[1] / max(1e-9, default_timer() - self.started)
        self.bar.set_postfix_str(
            f"{self.seen[0]:,} docs, {speed:,.0f} words/s, {self.n_errors:,} errors", refresh=False
        )

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Whatever happens within, leave the list of errors and a summary."""
        try:
            yield
        finally:
            self.bar.close()
            summary = self.summary
            summary.done = len(self.done)
            summary.seconds = default_timer() - self.started
            summary.words_here = sum(self.done[n].words for n in self.new)
            for n in sorted(self.done):
                summary.total.add(self.done[n])
            self._write_errors()
            self.store.write("summary.json", summary.as_dict())

    def _write_errors(self) -> None:
        with self.store.new_file(ERRORS) as stream:
            for n in sorted(self.done):
                for id, reason in self.done[n].errors:
                    line = json.dumps({"id": id, "reason": reason, "shard": n}, ensure_ascii=False)
                    stream.write(line.encode("utf8", "replace") + b"\n")


def _forecast(job: Job, todo: list[int], annotator: Annotator) -> Forecast:
    """RETURNS (Forecast): From the first docs of the first shard that is to be done."""
    found = Forecast(len(job.shards), len(todo), sum(shard.weight for shard in job.shards))
    share, seconds, n_bytes = annotator.try_out(todo[0], SAMPLE_DOCS) if todo else (0.0, 0.0, 0)
    if share:
        left = sum(job.shards[n].weight for n in todo)
        whole = job.shards[todo[0]].weight * share
        found.seconds = seconds * left / whole
        found.output_bytes = round(n_bytes * found.input_bytes / whole)
    return found
