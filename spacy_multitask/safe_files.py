"""Files and folders that are either the old ones or the new ones, never something in between."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from .plain import from_json, to_json

# Sizes and checksums of the files beside it.
MANIFEST_FILE = "manifest.json"
LOCK_FILE = ".lock"


_ADVICE = dict.fromkeys(
    (errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "Make room, or choose another place."
)


class SavingError(OSError):
    """Something could not be written; what was there before is as it was."""


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Write a file aside. It takes the place of `path` once it is complete and on disk.

    path (Path): The file; its folder is made if need be.
    YIELDS (Path): Where to write, in a folder of its own; of a device or a pipe, itself.
    RAISES (SavingError): If it can't be written; `path` is then as it was.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        yield path
        return
    path = Path(os.path.realpath(path))  # through links, rather than in their place
    aside = path.with_name(f".{path.name}.new")
    with _reported(path, aside):
        aside.mkdir(parents=True)
        yield aside / path.name
        _sync(aside / path.name)
        os.replace(aside / path.name, path)
        _sync(path.parent)
        shutil.rmtree(aside)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file by way of `new_file`."""
    with new_file(path) as aside:
        aside.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a file in UTF-8 by way of `new_file`."""
    write_bytes(path, text.encode("utf8"))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file by way of `new_file`, with null for what is not a number."""
    write_text(path, to_json(value, indent=2) + "\n")


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Write a folder aside. It takes the place of `path` once it is complete and on disk.

    path (Path): The folder, which may exist; its parents are made if need be.
    YIELDS (Path): An empty folder to write into.
    RAISES (SavingError): If it can't be written; `path` is then as it was.
    """
    path = Path(os.path.realpath(path))  # through links, rather than in their place
    aside = path.with_name(f".{path.name}.new")
    with _reported(path, aside):
        recover(path)
        aside.mkdir(parents=True)
        yield aside
        for folder, _, names in os.walk(aside):
            for name in names:
                _sync(Path(folder, name))
            _sync(Path(folder))
        if not path.exists():
            os.rename(aside, path)
        elif _exchange(aside, path):
            _remove(aside)
        else:
            # `recover` mends what is left by a crash between these two.
            os.rename(path, _old(path))
            os.rename(aside, path)
            _remove(_old(path))
        _sync(path.parent)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let no other process, and no other thread, write a folder. A process that dies lets it go.

    RAISES (SavingError): If another one is at it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK_FILE, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise SavingError(
            f"Another process is writing to {folder}. Wait until it ends, or choose another place."
        ) from error
    except NotImplementedError:
        pass  # a file system without locks
    try:
        yield
    finally:
        lock.release()


def check_writable(folder: Path) -> None:
    """Make a folder if need be, and see that files can be written there, before the work begins.

    RAISES (SavingError): If not.
    """
    with new_file(folder / ".probe") as aside:
        aside.write_bytes(b"probe")
    (folder / ".probe").unlink()


def recover(path: Path) -> None:
    """Clear away what a crash has left beside a folder; put the last good one in its place."""
    old = _old(path)
    if old.exists() and not path.exists():
        os.rename(old, path)
    for rest in (old, path.with_name(f".{path.name}.new")):
        if rest.exists():
            shutil.rmtree(rest)


def last_good(path: Path) -> Path:
    """RETURNS (Path): The folder, or the one before it, if a crash came while they changed places.
    Changes nothing."""
    return _old(path) if _old(path).exists() and not path.exists() else path


def read_plain(file: Path, *, most: int, follows: bool = False) -> bytes:
    """Read a file that comes from others: neither a pipe, which would be waited for, nor a link to
    somewhere else.

    most (int): Bytes that such a file may have.
    follows (bool): Whether links are followed.
    RAISES (ValueError): If it is no plain file, or has more.
    """
    try:
        found = file.stat() if follows else file.lstat()
    except OSError as error:
        raise ValueError(f"Can't read {file}: {error.strerror}.") from error
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{file} is not a plain file. Copy the pipeline again.")
    if found.st_size > most:
        raise ValueError(f"{file} has {found.st_size:,} bytes, too many for what it is.")
    return file.read_bytes()


def manifest(files: dict[str, bytes]) -> bytes:
    """RETURNS (bytes): JSON with the size in bytes and the SHA-256 of each file, by name."""
    entries = {
        name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in sorted(files.items())
    }
    return json.dumps(entries, indent=2).encode("utf8")


def check_manifest(files: dict[str, bytes], source: str) -> None:
    """Compare files with the manifest among them, if there is one.

    source (str): Where the files come from, for error messages.
    RAISES (ValueError): If a file is missing or not what it was when it was saved; it is named.
    """
    if MANIFEST_FILE not in files:
        return  # saved by version 0.1.0 or older
    data = from_json(files[MANIFEST_FILE], f"{source}: {MANIFEST_FILE}")
    try:
        entries = {name: (entry["size"], entry["sha256"]) for name, entry in data.items()}
    except (TypeError, KeyError) as error:
        raise ValueError(f"{source}: {MANIFEST_FILE} is damaged: {error!r}") from error
    for name, (size, checksum) in entries.items():
        if name not in files:
            raise ValueError(f"{source}: the file {name} is missing. Copy the pipeline again.")
        if len(files[name]) != size:
            raise ValueError(
                f"{source}: {name} has {len(files[name])} bytes and had {size} when it was saved. "
                "It was cut off or changed; copy the pipeline again."
            )
        if hashlib.sha256(files[name]).hexdigest() != checksum:
            raise ValueError(
                f"{source}: {name} is not what it was when it was saved (its SHA-256 differs). "
                "It was damaged or changed; copy the pipeline again."
            )


@contextmanager
def _reported(path: Path, aside: Path) -> Iterator[None]:
    """Clear `aside` before and, after a failure, again; say what could not be written."""
    try:
        _remove(aside)
        yield
    except OSError as error:
        _remove_quietly(aside)
        cause = error.__cause__ if isinstance(error, SavingError) else error
        assert isinstance(cause, OSError)
        reason = cause.strerror or str(cause)
        kept = f" {path} is as it was before." if os.path.exists(path) else ""
        advice = _ADVICE.get(cause.errno or 0, "Choose a place where files can be written.")
        raise SavingError(f"Can't save {path}: {reason}.{kept} {advice}") from cause
    except BaseException:
        _remove_quietly(aside)
        raise


def _old(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _remove_quietly(path: Path) -> None:
    try:
        _remove(path)
    except OSError:
        pass  # a disk that takes no files may give none up either


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk."""
    if os.name == "nt" and path.is_dir():
        return  # folders can't be opened there
    # Windows syncs only what is open for writing.
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _exchange(a: Path, b: Path) -> bool:
    """Let two folders change places at one stroke.

    RETURNS (bool): Whether that was done; not every system and file system can.

    Source: https://man7.org/linux/man-pages/man2/rename.2.html
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    at_fdcwd, rename_exchange = -100, 2
    return rename(at_fdcwd, os.fsencode(a), at_fdcwd, os.fsencode(b), rename_exchange) == 0
