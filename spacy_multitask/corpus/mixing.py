"""The order of several corpora in an epoch, whatever they hold."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import NamedTuple, TypeVar

Item = TypeVar("Item")


class Epoch(NamedTuple):
    """What an epoch has of each corpus.

    sizes (Mapping[str, int]): Items that there are of each corpus.
    shares (Mapping[str, int]): Items of each in the epoch: whole passes, and a part of one more.
    seed (int): Of the order, and of the choice of that part.
    number (int): From 0.
    """

    sizes: Mapping[str, int]
    shares: Mapping[str, int]
    seed: int
    number: int

    @property
    def lacks_some(self) -> bool:
        """RETURNS (bool): Whether some items are not in it."""
        return any(self.shares[name] < size for name, size in self.sizes.items())

    @property
    def is_drawn(self) -> bool:
        """RETURNS (bool): Whether the next one has others."""
        return any(self.shares[name] % size for name, size in self.sizes.items())

    def items(self, read: Callable[[str], Iterator[Item]], buffer: int = 0) -> Iterator[Item]:
        """Mix the corpora evenly.

        read (Callable): Gives all items of a corpus, by its name.
        buffer (int): Items to hold in order to shuffle those of one corpus, too; 0 leaves them in
            their order.
        YIELDS (Any): Items.
        """
        rng = random.Random(f"{self.seed} {self.number}")
        streams = {
            name: _repeat(partial(read, name), share // self.sizes[name], self._part(name))
            for name, share in self.shares.items()
        }
        mixed = _interleave(streams, self.shares, rng)
        return _shuffle(mixed, buffer, rng) if buffer else mixed

    def drawn(self, read: Callable[[str], Iterator[Item]]) -> list[Item]:
        """RETURNS (List[Any]): The items shuffled, as one that follows another comes."""
        items = list(self.items(read))
        random.Random(f"{self.seed} {self.number} order").shuffle(items)
        return items

    def _part(self, name: str) -> frozenset[int]:
        """RETURNS (FrozenSet[int]): Items beyond whole passes. Those of all epochs go round in one
        random order, so that none comes again before all others have come."""
        size = self.sizes[name]
        n = self.shares[name] % size
        if not n:
            return frozenset()
        order = list(range(size))
        random.Random(f"{self.seed} {name}").shuffle(order)
        return frozenset(order[(self.number * n + i) % size] for i in range(n))


def _repeat(
    read: Callable[[], Iterator[Item]], n_passes: int, part: frozenset[int]
) -> Iterator[Item]:
    """YIELDS (Any): Whole passes over a corpus, then a part of one more."""
    for _ in range(n_passes):
        yield from read()
    if part:
        for i, item in enumerate(read()):
            if i in part:
                yield item


def _shuffle(items: Iterator[Item], size: int, rng: random.Random) -> Iterator[Item]:
    """YIELDS (Any): The same, each in exchange for a later one while there are any."""
    held = list(islice(items, size))
    rng.shuffle(held)
    for item in items:
        place = rng.randrange(size)
        yield held[place]
        held[place] = item
    yield from held


def _interleave(
    streams: Mapping[str, Iterator[Item]], shares: Mapping[str, int], rng: random.Random
) -> Iterator[Item]:
    """YIELDS (Any): All streams mixed, evenly over the epoch."""
    left = dict(shares)
    names = list(left)
    while names:
        (name,) = rng.choices(names, [left[n] for n in names])
        item = next(streams[name], None)
        left[name] -= 1
        if item is not None:
            yield item
        if item is None or not left[name]:
            names.remove(name)
