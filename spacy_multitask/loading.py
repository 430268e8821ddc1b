"""Trained pipelines, loaded with what is wrong with spaCy's own files said in a line."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import spacy
import srsly
from spacy.language import Language
from thinc.api import Config

from .plain import from_json


def load_pipeline(name: str | Path) -> Language:
    """Load a pipeline, as `spacy.load` does.

    name (str or Path): A folder, or the name of a package.
    RAISES (ValueError): If a file of a folder is damaged or no plain file; it is named.
    """
    folder = Path(name)
    if folder.is_dir():
        _check_plain(folder)
        for file, read in _READ.items():
            if (folder / file).is_file():
                _check(folder / file, read)
    return spacy.load(name)


def _check_plain(folder: Path) -> None:
    """RAISES (ValueError): If there is a pipe or the like, for which a reader would wait."""
    for place, _, names in os.walk(folder):
        for file in (Path(place, name) for name in names):
            try:
                mode = file.stat().st_mode
            except OSError as error:
                raise ValueError(f"Can't read {file}: {error.strerror}.") from error
            if not stat.S_ISREG(mode):
                raise ValueError(f"{file} is not a plain file. Copy the pipeline again.")


def _check(file: Path, read: Callable[[Path], Any]) -> None:
    try:
        read(file)
    except Exception as error:  # of many kinds
        text = " ".join(str(error).removeprefix(f"{file} is damaged: ").split())
        raise ValueError(
            f"{file} is damaged: {text[:300] or type(error).__name__}. Copy or train the pipeline "
            "again."
        ) from error


def _read_array(file: Path) -> None:
    import numpy as np

    np.load(file, allow_pickle=False, mmap_mode="r")


def _read_list(file: Path) -> None:
    if not isinstance(srsly.read_json(file), list):
        raise ValueError("it holds no JSON list")


def _read_msgpack(file: Path) -> None:
    if not isinstance(srsly.read_msgpack(file), dict):
        raise ValueError("it holds no table")


# Files of spaCy, by their place in a folder; some languages have folders there.
_READ: dict[str, Callable[[Path], Any]] = {
    "config.cfg": lambda file: Config().from_disk(file, interpolate=False),
    "meta.json": lambda file: from_json(file.read_bytes(), str(file)),
    "tokenizer": _read_msgpack,
    "vocab/strings.json": _read_list,
    "vocab/lookups.bin": _read_msgpack,
    "vocab/key2row": _read_msgpack,
    "vocab/vectors": _read_array,
}
