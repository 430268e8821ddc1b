"""Unpack a folder of gzipped corpora: SRC/conll03/eng.train.gz becomes DST/conll03/eng.train.

Also unpacks what was downloaded as .gz, in place, when SRC and DST are one folder.
Example: python scripts/unpack.py ../corpora data
"""

import gzip
import shutil
import sys
import zlib
from pathlib import Path


def unpack(source: Path, target: Path) -> int:
    """Unpack and copy what is not there yet, or older.

    RETURNS (int): Files written.
    RAISES (SystemExit): If there is nothing to unpack, or a file can't be read or written.
    """
    paths = sorted(p for p in source.rglob("*") if p.is_file())
    if not paths:
        raise SystemExit(f"No files are in {source}. Set --vars.local to where the corpora are.")
    n_files = 0
    for path in paths:
        packed = path.suffix == ".gz"
        out = target / (
            path.relative_to(source).with_suffix("") if packed else path.relative_to(source)
        )
        if out.resolve() == path.resolve() or (
            out.exists() and out.stat().st_mtime >= path.stat().st_mtime
        ):
            continue
        part = out.with_name(out.name + ".part")
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            try:
                with gzip.open(path) if packed else path.open("rb") as read, part.open("wb") as to:
                    shutil.copyfileobj(read, to)
                part.replace(out)
            finally:
                part.unlink(missing_ok=True)
        except (OSError, EOFError, zlib.error) as error:
            raise SystemExit(
                f"Can't unpack {path} to {out}: {error}. If the file is damaged, get it again."
            ) from None
        n_files += 1
    return n_files


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    print(f"{unpack(Path(sys.argv[1]), Path(sys.argv[2]))} files unpacked into {sys.argv[2]}")
