"""Files under any address that fsspec knows: a path, s3://, gs://, hdfs://, memory:// ..."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, NamedTuple

import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

BLOCK = 1 << 20
BLOCKS = 64  # of a file that are looked at for its checksum


class File(NamedTuple):
    """A file of the input.

    address (str): As fsspec takes it.
    name (str): Its place below what all files have in common; for ids and messages.
    size (int): Bytes.
    """

    address: str
    name: str
    size: int

    def open(self, compression: str | None = None) -> IO[bytes]:
        return fsspec.open(self.address, "rb", compression=compression).open()


def find_files(addresses: list[str], suffixes: tuple[str, ...]) -> list[File]:
    """Find the files that addresses stand for.

    addresses (List[str]): Files, folders or globs.
    suffixes (Tuple[str, ...]): Of files in folders; () for all. Hidden ones are passed over.
    RETURNS (List[File]): Each file once; those of a folder or glob in order of their names.
    RAISES (ValueError): If there is nothing under an address.
    """
    found: dict[str, int] = {}
    for address in addresses:
        fs, path = url_to_fs(address)
        if any(sign in path for sign in "*?["):
            matches = [name for name in fs.glob(path) if not _base(name).startswith(".")]
            paths = sorted(name for name in matches if fs.isfile(name))
        elif fs.isdir(path):
            paths = [name for name in sorted(fs.find(path)) if _is_among(name, path, suffixes)]
        else:
            paths = [path] if fs.exists(path) else []
        if not paths:
            raise ValueError(f"There are no files to read in {address}. Correct the address.")
        for name in paths:
            found.setdefault(fs.unstrip_protocol(name), int(fs.size(name) or 0))
    folders = [address.split("/")[:-1] for address in found]
    depth = 0
    while all(len(f) > depth and f[depth] == folders[0][depth] for f in folders):
        depth += 1
    start = len("/".join(folders[0][:depth])) + 1
    return [File(address, address[start:], size) for address, size in found.items()]


def _base(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _is_among(name: str, folder: str, suffixes: tuple[str, ...]) -> bool:
    parts = name[len(folder) :].split("/")
    is_hidden = any(part.startswith((".", "_")) for part in parts)
    return not is_hidden and (not suffixes or name.endswith(suffixes))


def checksum(file: File) -> str:
    """RETURNS (str): SHA-256 of the size and of blocks of one MiB: all of a file of up to 64 MiB,
    and of a larger one 64 of them, spread evenly, its first and its last among them."""
    digest = hashlib.sha256(str(file.size).encode())
    last = max(0, file.size - BLOCK)
    n_blocks = min(BLOCKS, -(-file.size // BLOCK))
    starts = {round(i * last / max(1, n_blocks - 1)) for i in range(n_blocks)}
    with file.open() as stream:
        for start in sorted(starts):
            stream.seek(start)
            digest.update(stream.read(BLOCK))
    return digest.hexdigest()


class Store:
    """A folder under any address, whose files are complete or not there."""

    def __init__(self, address: str):
        self.address = address
        self.fs, self.root = url_to_fs(address)
        self.is_local = isinstance(self.fs, LocalFileSystem)

    def path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def exists(self, name: str) -> bool:
        return bool(self.fs.exists(self.path(name)))

    def names(self, folder: str) -> list[str]:
        """RETURNS (List[str]): Names in a folder, in order; none if it is not there."""
        path = self.path(folder)
        if not self.fs.exists(path):
            return []
        self.fs.invalidate_cache(path)
        return sorted(map(_base, self.fs.ls(path, detail=False)))

    def read(self, name: str) -> Any:
        """RETURNS (Any): What a JSON file holds; None if it is not there."""
        try:
            return json.loads(self.fs.cat_file(self.path(name)))
        except FileNotFoundError:
            return None

    def open(self, name: str) -> IO[bytes]:
        return self.fs.open(self.path(name), "rb")

    @contextmanager
    def new_file(self, name: str) -> Iterator[IO[bytes]]:
        """Write a file aside; it gets its name once it is complete.

        YIELDS (IO[bytes]): To write to.
        """
        folder, _, base = name.rpartition("/")
        self.fs.makedirs(self.path(folder), exist_ok=True)
        aside = self.path(f"{folder}/.{base}.{os.getpid()}.new".lstrip("/"))
        try:
            with self.fs.open(aside, "wb") as stream:
                yield stream
                if self.is_local:
                    stream.flush()
                    os.fsync(stream.fileno())
        except BaseException:
            if self.fs.exists(aside):
                self.fs.rm(aside)
            raise
        if self.is_local:
            os.replace(aside, self.path(name))
        else:
            self.fs.mv(aside, self.path(name))

    def write(self, name: str, value: Any) -> None:
        """Write a JSON file."""
        with self.new_file(name) as stream:
            stream.write(json.dumps(value, indent=1).encode("utf8"))

    def remove(self, name: str) -> None:
        """Remove a file or a folder, if it is there."""
        if self.fs.exists(self.path(name)):
            self.fs.rm(self.path(name), recursive=True)

    def clear_leftovers(self, folder: str) -> None:
        """Remove what killed processes were about to write."""
        for name in self.names(folder):
            if name.startswith("."):
                self.remove(f"{folder}/{name}")
