"""What of the encoder goes into files, bytes and other processes."""

from __future__ import annotations

import copyreg
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import srsly
from spacy.pipeline import TrainablePipe

from ..safe_files import write_json
from .files import read_folder, write_folder
from .forks import warn_of_thread
from .kept import Kept
from .shim import EncoderShim
from .wiring import Wiring


class Saved(TrainablePipe):
    """A component that saves an encoder with its tokenizer, and loads it again."""

    precision: str
    wiring: Wiring
    _version: int
    _kept: Kept

    def settle(self) -> None:
        """End an update that is under way: what is saved is what has been learned."""
        raise NotImplementedError

    @property
    def shim(self) -> EncoderShim:
        return cast(EncoderShim, self.model.shims[0])

    def __reduce__(self) -> tuple:
        # The base class, made by Cython, would pickle what threads keep, too.
        self.settle()
        state = {name: value for name, value in self.__dict__.items() if name != "_kept"}
        own = ("vocab", "model", "name", "cfg", "scorer")  # in the base class, not in __dict__
        state.update({name: getattr(self, name) for name in own})
        return copyreg.__newobj__, (type(self),), state  # type: ignore[attr-defined]

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        self._kept = Kept()

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Write weights (safetensors), config and tokenizer as files into a folder.

        RAISES (SavingError): If they can't be written; what was there before stays.
        """
        self.settle()
        self._kept.settle_losses()
        self.wiring.check_heads()  # no one could know later
        path = Path(path)
        path.mkdir(parents=True, exist_ok=True)
        write_json(path / "cfg", self.cfg)
        if "model" not in exclude:
            write_folder(self.shim.to_files(), path / "model")

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> Saved:
        """Load what `to_disk` wrote.

        RAISES (ValueError): If a file is missing or damaged; it is named.
        """
        if "model" not in exclude:
            self._load(*read_folder(Path(path, "model"), self.name))
        return self

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        self.settle()
        files = {} if "model" in exclude else self.shim.to_files()
        return srsly.msgpack_dumps({"cfg": self.cfg, "model": files})

    def from_bytes(self, bytes_data: bytes, *, exclude: Iterable[str] = ()) -> Saved:
        data = srsly.msgpack_loads(bytes_data)
        if "model" not in exclude:
            self._load(data["model"], f"component {self.name}")
        return self

    def _load(self, files: dict[str, bytes], source: str) -> None:
        self.shim.from_files(files, source)
        self._kept = Kept()
        self._version += 1
        warn_of_thread(self.name)
        if self.shim.has_module:
            self.shim.encoder.check_precision(self.precision)
            self.model.set_dim("nO", self.shim.encoder.width, force=True)
            self.wiring.fit()
