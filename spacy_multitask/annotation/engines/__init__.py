"""Who does the shards. An engine schedules their numbers and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import cast

from ..shards import Report

ENGINES = ("local", "ray", "spark")


@dataclass(frozen=True, kw_only=True)
class Workers:
    """What shards are done with.

    processes (int): How many there are at once; 0 for one per GPU, or one.
    gpus (Tuple[int, ...]): Numbers of the GPUs of this machine; () for CPUs.
    gpus_per_worker (float): GPUs that a worker of a cluster has.
    code (Optional[Path]): As for `Annotator`.
    """

    processes: int = 0
    gpus: tuple[int, ...] = ()
    gpus_per_worker: float = 0.0
    code: Path | None = None


# From the address of the output, the numbers of shards and the workers to the number of each shard
# once it is done. Engines of one machine also report how far they are.
Engine = Callable[[str, list[int], Workers, Report], Iterator[int]]


def engine_named(name: str) -> Engine:
    """RETURNS (Engine): The function.
    RAISES (ValueError): If there is none of that name.
    RAISES (ImportError): If what it needs is not installed.
    """
    if name not in ENGINES:
        raise ValueError(f"engine = {name!r} is not one of {', '.join(ENGINES)}.")
    try:
        return cast(Engine, import_module(f".on_{name}", __name__).run)
    except ImportError as error:
        raise ImportError(
            f"The engine {name} needs a package that is not installed ({error}). "
            f"Install it: pip install 'spacy_multitask[{name}]'"
        ) from error
