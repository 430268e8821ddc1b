"""What several processes that train one pipeline have of a batch, each of them a part of it.

A head's loss is a mean over gold items, and each process may have gold for other heads. So that
their gradients add up to that of one process with the whole batch, each weights its mean by its
part of the items of all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

Sums = Callable[[list[float]], list[float]]

# Adds numbers up over all processes, each of which must call it; None where there is one process.
_sums: Sums | None = None


def shares(count: Callable[[], Mapping[str, float]]) -> Mapping[str, float]:
    """Find out what part of all processes' items this one has. They all call it, at the same place.

    count (Callable): Gives the number of items that this one has, by what they are items of: the
        same names in all processes. It is not called where there is one process.
    RETURNS (Mapping[str, float]): From 0 to 1, under the same names; 1 where there is one process.
    """
    if _sums is None:
        return defaultdict(lambda: 1.0)
    own = count()
    totals = _sums(list(own.values()))
    return {name: n / total if total else 0.0 for (name, n), total in zip(own.items(), totals)}


def is_one_of_several() -> bool:
    """RETURNS (bool): Whether there are other processes."""
    return _sums is not None


@contextmanager
def together(sums: Sums) -> Iterator[None]:
    """Train as one of several processes within.

    sums (Callable): Adds each of some numbers up over all processes.
    """
    global _sums
    before, _sums = _sums, sums
    try:
        yield
    finally:
        _sums = before
