"""Unpack a folder of gzipped corpora: SRC/conll03/eng.train.gz becomes DST/conll03/eng.train.

Also unpacks what was downloaded as .gz, in place, when SRC and DST are one folder.
Example: python scripts/unpack.py ../corpora data
"""

import gzip
import shutil
import sys
from pathlib import Path


def unpack(source: Path, target: Path) -> int:
    """RETURNS (int): Files written."""
    if not source.is_dir():
        raise SystemExit(f"There is no folder {source}. Set --vars.local to where the corpora are.")
    n_files = 0
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        packed = path.suffix == ".gz"
        out = target / (
            path.relative_to(source).with_suffix("") if packed else path.relative_to(source)
        )
        if out.resolve() == path.resolve() or (
            out.exists() and out.stat().st_mtime >= path.stat().st_mtime
        ):
            continue
        out.parent.mkdir(parents=True, exist_ok=True)
        part = out.with_name(out.name + ".part")
        with gzip.open(path) if packed else path.open("rb") as read, part.open("wb") as write:
            shutil.copyfileobj(read, write)
        part.replace(out)
        n_files += 1
    return n_files


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    print(f"{unpack(Path(sys.argv[1]), Path(sys.argv[2]))} files unpacked into {sys.argv[2]}")
