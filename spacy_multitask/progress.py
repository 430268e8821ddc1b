"""Progress on standard error, of whatever may take longer than some seconds.

Nothing is shown where standard error is no terminal, or within the first second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
# None: disabled where there is no terminal.
SETTINGS: dict[str, Any] = {"disable": None, "leave": False, "delay": 1.0}


def progress(
    items: Iterable[Item], desc: str, *, total: int | None = None, unit: str = "doc"
) -> Iterator[Item]:
    """Count items while they are worked on, with the time left.

    desc (str): What is going on, such as "Converting".
    total (Optional[int]): How many there will be; None takes len(items), if there is such a thing.
    unit (str): What one item is.
    YIELDS (Any): The items.
    """
    yield from tqdm(items, desc=desc, total=total, unit=unit, **SETTINGS)


@contextmanager
def working(desc: str) -> Iterator[None]:
    """Show the time that has gone by, for work of one piece.

    desc (str): What is going on, such as "Quantizing".
    """
    with tqdm(desc=desc, bar_format="{desc}... {elapsed}", **SETTINGS) as bar:
        done = Event()
        ticking = Thread(target=_tick, args=(bar, done), daemon=True)
        if not bar.disable:
            ticking.start()
        try:
            yield
        finally:
            done.set()
            if ticking.is_alive():
                ticking.join()


def _tick(bar: tqdm, done: Event) -> None:
    while not done.wait(1.0):
        bar.refresh()
