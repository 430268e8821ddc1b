"""Components whose folder says whether it is whole."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..encoder.piping import Piped
from ..safe_files import MANIFEST_FILE, check_manifest, manifest, write_bytes


class SavedPipe(Piped):
    """A trained component that is saved with a manifest."""

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Write labels and weights into a folder, with a manifest that tells if they belong
        together: spaCy writes one file after the other over the old ones."""
        super().to_disk(path, exclude=exclude)
        write_bytes(Path(path, MANIFEST_FILE), manifest(_own_files(path, exclude)))

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> Any:
        """Load what `to_disk` wrote.

        RAISES (ValueError): If the folder is incomplete or damaged.
        """
        try:
            file = Path(path, MANIFEST_FILE)
            if file.is_file() and not {"cfg", "model"} & set(exclude):
                files = _own_files(path, exclude)
                check_manifest({**files, MANIFEST_FILE: file.read_bytes()}, str(path))
            super().from_disk(path, exclude=exclude)
        except (ValueError, EOFError, KeyError, TypeError, FileNotFoundError) as error:
            raise ValueError(
                f"Can't load the component {self.name!r} from {path}: {str(error).rstrip('.')}. "
                "The folder is incomplete or damaged; copy or train it again."
            ) from error
        self._settle_in()
        return self

    def from_bytes(self, bytes_data: bytes, *, exclude: Iterable[str] = ()) -> Any:
        super().from_bytes(bytes_data, exclude=exclude)
        self._settle_in()
        return self

    def _settle_in(self) -> None:
        """What is to be done once labels and weights have been loaded."""


def _own_files(path: str | Path, exclude: Iterable[str]) -> dict[str, bytes]:
    files = {name: Path(path, name) for name in ("cfg", "model") if name not in exclude}
    return {name: file.read_bytes() for name, file in files.items() if file.is_file()}
