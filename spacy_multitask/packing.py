"""srsly's msgpack, which spaCy packs docs with, without a search of all packages for each doc."""

from collections.abc import Callable
from typing import Any

import catalogue
import srsly.msgpack


def remember_packers() -> None:
    """Let srsly look for packers once, and again when something was registered.

    It asks all installed packages for some each time that it packs or unpacks a value: a doc with a
    span group takes three milliseconds each way, and a tenth of that without the search.
    """
    for registry in (srsly.msgpack.msgpack_encoders, srsly.msgpack.msgpack_decoders):
        if not isinstance(registry.get_all, _Remembered):
            registry.get_all = _Remembered(registry.get_all)


class _Remembered:
    def __init__(self, get_all: Callable[[], dict[str, Any]]):
        self.get_all = get_all
        self.found: dict[str, Any] = {}
        self.n_registered = -1

    def __call__(self) -> dict[str, Any]:
        """RETURNS (Dict[str, Any]): As the registry's `get_all`."""
        if len(catalogue.REGISTRY) != self.n_registered:
            self.found, self.n_registered = self.get_all(), len(catalogue.REGISTRY)
        return self.found
