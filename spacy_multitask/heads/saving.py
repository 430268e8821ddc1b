"""Components whose folder says whether it is whole."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..encoder.piping import Piped
from ..plain import from_json
from ..safe_files import MANIFEST_FILE, check_manifest, manifest, read_plain, write_bytes

_MOST_BYTES = 1 << 32  # of msgpack


class SavedPipe(Piped):
    """A trained component that is saved with a manifest."""

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Write labels and weights into a folder, with a manifest that tells if they belong
        together: spaCy writes one file after the other over the old ones."""
        super().to_disk(path, exclude=exclude)
        files = _own_files(path, [*exclude, MANIFEST_FILE])
        write_bytes(Path(path, MANIFEST_FILE), manifest(files))

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> Any:
        """Load what `to_disk` wrote.

        RAISES (ValueError): If the folder is incomplete or damaged.
        """
        place = Path(path)
        if not (place / "vocab").exists():
            exclude = [*exclude, "vocab"]  # in a pipeline's folder it is beside the component
        try:
            files = _own_files(path, exclude)
            if "cfg" in files:
                from_json(files["cfg"], str(Path(path, "cfg")))
            if not {"cfg", "model"} & set(exclude):
                check_manifest(files, str(path))
            place = Path(path, "model")  # what else is read now is spaCy's
            super().from_disk(path, exclude=exclude)
            self._settle_in()
        except Exception as error:  # of many kinds
            text = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(
                f"Can't load the component {self.name!r} from {place}: {text[:500].rstrip('.')}. "
                "The folder is incomplete or damaged; copy or train it again."
            ) from error
        return self

    def from_bytes(self, bytes_data: bytes, *, exclude: Iterable[str] = ()) -> Any:
        super().from_bytes(bytes_data, exclude=exclude)
        self._settle_in()
        return self

    def _settle_in(self) -> None:
        """What is to be done once labels and weights have been loaded."""


def _own_files(path: str | Path, exclude: Iterable[str]) -> dict[str, bytes]:
    names = [name for name in ("cfg", "model", MANIFEST_FILE) if name not in exclude]
    there = [name for name in names if os.path.lexists(Path(path, name))]
    return {name: read_plain(Path(path, name), most=_MOST_BYTES, follows=True) for name in there}
