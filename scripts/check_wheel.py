"""Build the wheel and check what is in it: every file of the package, nothing else, and entry
points that lead somewhere."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "spacy_multitask"


def project_files() -> set[str]:
    """RETURNS (Set[str]): Files that git knows or would add; build leftovers are not among them."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return {name for name in output.split("\0") if name and (ROOT / name).is_file()}


def build_wheel(names: set[str], folder: Path) -> Path:
    """Build from a copy, lest an old build/ folder in the work tree gets in."""
    source = folder / "source"
    for name in names:
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


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
        wheel = build_wheel(names, Path(folder))
        faults = find_faults(wheel, names)
        size = wheel.stat().st_size
    if faults:
        sys.exit(f"{wheel.name}: " + "; ".join(faults) + ".")
    print(f"{wheel.name}: {size / 1024:.0f} KiB, the package's files and no others")


if __name__ == "__main__":
    main()
