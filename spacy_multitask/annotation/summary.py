"""What a run has done, or will do."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from .addresses import Store
from .job import DATA, ERRORS
from .shards import Stats

SHOWN_LABELS = 12  # of a layer


@dataclass
class Summary:
    """What is there after a run.

    folder (str): The output.
    shards (int): All of them, and `done` are done.
    total (Stats): Of all that is done, in this run or before; `seconds` are those of all workers.
    seconds (float): That this run took.
    words_here (int): Words that this run annotated.
    """

    folder: str
    shards: int
    done: int = 0
    total: Stats = field(default_factory=Stats)
    seconds: float = 0.0
    words_here: int = 0

    @property
    def files(self) -> list[str]:
        """RETURNS (List[str]): Addresses of the annotated files."""
        store = Store(self.folder)
        return [store.fs.unstrip_protocol(store.path(f"{DATA}/{n}")) for n in store.names(DATA)]

    def dataset(self) -> Any:
        """RETURNS (Dataset): The rows, of pyarrow; for output in Parquet."""
        import pyarrow.dataset as ds

        store = Store(self.folder)
        return ds.dataset(store.path(DATA), format="parquet", filesystem=store.fs)

    def as_dict(self) -> dict[str, Any]:
        return {
            "folder": self.folder,
            "shards": self.shards,
            "shards_done": self.done,
            "docs": self.total.docs,
            "words": self.total.words,
            "errors": len(self.total.errors),
            "labels": self.total.labels,
            "left_out": self.total.left_out,
            "seconds": round(self.seconds, 1),
            "words_per_s": round(self.words_here / self.seconds) if self.seconds else None,
        }

    def render(self) -> str:
        """RETURNS (str): The same in words."""
        total = self.total
        lines = [
            f"{self.folder}: {total.docs:,} docs, {total.words:,} words, {self.done} of "
            f"{self.shards} shards, {self.seconds:.0f} s, "
            f"{self.words_here / max(1e-9, self.seconds):,.0f} words/s"
        ]
        for layer, counts in total.labels.items():
            most = sorted(counts.items(), key=lambda pair: -pair[1])
            shown = ", ".join(f"{label} {count:,}" for label, count in most[:SHOWN_LABELS])
            more = len(most) - SHOWN_LABELS
            lines.append(f"  {layer}: {shown}" + f", and {more} more labels" * (more > 0))
        for name, count in total.left_out.items():
            lines.append(f"  {name}: left out of {count:,} docs; the first lines do not have it")
        if total.errors:
            lines.append(f"  {len(total.errors):,} docs failed: see {self.folder}/{ERRORS}")
        return "\n".join(lines)


@dataclass
class Forecast:
    """What a dry run says.

    shards (int): All of them, and `todo` are to be done.
    input_bytes (int): Of the input.
    seconds (Optional[float]): That one process would take for the rest, about.
    output_bytes (Optional[int]): Of all files, about.
    """

    shards: int
    todo: int
    input_bytes: int
    seconds: float | None = None
    output_bytes: int | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def render(self) -> str:
        """RETURNS (str): The same in words."""
        text = f"{self.todo} of {self.shards} shards to do, {_size(self.input_bytes)} of input"
        if self.seconds is not None and self.output_bytes is not None:
            text += (
                f"; about {_time(self.seconds)} for one process like this one, and "
                f"{_size(self.output_bytes)} of output"
            )
        return text


def _size(n_bytes: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}" if unit == "bytes" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
