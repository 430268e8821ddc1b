"""Build wheel and source distribution and check what is in them.

The wheel has every file of the package, nothing else, and entry points that lead somewhere. The
source distribution has every file of the project, so that tests run from it.
"""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "spacy_multitask"
# What only a clone needs.
CLONE = (".ci/", ".github/", ".gitignore")
BUILD_SDIST = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"


def project_files() -> set[str]:
    """RETURNS (Set[str]): Files that git knows or would add; build leftovers are not among them."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return {name for name in output.split("\0") if name and (ROOT / name).is_file()}


def build(names: set[str], folder: Path) -> tuple[Path, Path]:
    """Build from a copy, lest an old build/ folder in the work tree gets in.

    RETURNS (Tuple[Path, Path]): The wheel and the source distribution.
    """
    source = folder / "source"
    for name in names:
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    command = [sys.executable, "-c", BUILD_SDIST, str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    return wheel, sdist


def find_missing(sdist: Path, names: set[str]) -> list[str]:
    """RETURNS (List[str]): What the source distribution lacks, in words."""
    with tarfile.open(sdist) as archive:
        found = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {name for name in names if not name.startswith(CLONE)}
    return [f"missing in the source distribution: {name}" for name in sorted(wanted - found)]


def find_faults(wheel: Path, names: set[str]) -> list[str]:
    """RETURNS (List[str]): What is wrong with the wheel, in words."""
    faults = []
    with ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
        (entry_points,) = (n for n in archive.namelist() if n.endswith("entry_points.txt"))
        text = archive.read(entry_points).decode("utf8")
    expected = {name for name in names if name.startswith(f"{PACKAGE}/")}
    faults += [f"missing in the wheel: {name}" for name in sorted(expected - found)]
    faults += [f"not of the package, but in the wheel: {name}" for name in sorted(found - expected)]
    parser = configparser.ConfigParser(delimiters=("=",))
    parser.optionxform = str
    parser.read_string(text)
    for group in parser.sections():
        for name, value in parser[group].items():
            module = value.partition(":")[0].strip().replace(".", "/")
            if not {f"{module}.py", f"{module}/__init__.py"} & found:
                faults.append(f"entry point {group}: {name} leads to {value}, which is not there")
    return faults


def main() -> None:
    names = project_files()
    with tempfile.TemporaryDirectory() as folder:
        wheel, sdist = build(names, Path(folder))
        faults = [*find_faults(wheel, names), *find_missing(sdist, names)]
        sizes = {path.name: path.stat().st_size for path in (wheel, sdist)}
    if faults:
        sys.exit(f"{'; '.join(faults)}. Mend MANIFEST.in or [options.package_data] in setup.cfg.")
    for name, size in sizes.items():
        print(f"{name}: {size / 1024:.0f} KiB, with the files that belong to it and no others")


if __name__ == "__main__":
    main()
