"""The file that a training's logger writes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Any

from spacy.util import logger

from ..plain import to_json


class LogFile:
    """A JSONL file with a line per evaluation; an older one of its name is replaced by the first.

    path (Optional[Path]): None for no file.
    """

    def __init__(self, path: Path | None):
        self.path = path
        self.file: IO | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, line: dict[str, Any]) -> None:
        """Write a line, which is whole on disk before the next step, whatever happens then."""
        assert self.path is not None
        if self.file is None:
            self.file = self.path.open("w", encoding="utf8")
        self.file.write(to_json(line) + "\n")
        self.file.flush()

    def length(self) -> int:
        """RETURNS (int): What has been written and is on disk, in bytes."""
        if self.file is None:
            return 0
        self.file.flush()
        os.fsync(self.file.fileno())
        return self.file.tell()

    def go_on(self, length: int) -> None:
        """Write on after so many bytes. Lines beyond are taken out: the steps that they tell of
        will be taken again."""
        if self.path is None:
            return
        n_bytes = self.path.stat().st_size if self.path.exists() else 0
        if n_bytes < length:
            logger.warning(
                "%s has lost lines since the checkpoint: it has %s bytes and had %s.",
                self.path,
                n_bytes,
                length,
            )
        self.file = self.path.open("a", encoding="utf8")
        self.file.truncate(min(n_bytes, length))

    def close(self) -> None:
        if self.file is not None:
            self.file.close()
