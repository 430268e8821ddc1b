"""Put all that `benchmarks.gpu` needs into one folder, for a machine without network.

The machine has Python 3.12 on Linux, PyTorch, CuPy and transformers; the folder gets our wheel and
those of spaCy and what it needs, some 60 MiB, the benchmarks, the bundled samples, and a script.

Example: python -m benchmarks.carry build/gpu --texts corpus/texts.txt
         (there) bash build/gpu/run.sh OUT
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import spacy
import thinc

ROOT = Path(__file__).parents[1]
# What spaCy needs and such a machine lacks. torch, transformers and CuPy bring the rest. langcodes
# asks for names of languages only (language_data, 7 MiB) when it is asked for them.
PACKAGES = [
    f"spacy=={spacy.__version__}",
    f"thinc=={thinc.__version__}",
    *"blis catalogue cloudpathlib confection cymem murmurhash preshed smart-open".split(),
    *"spacy-legacy spacy-loggers srsly wasabi weasel wrapt langcodes".split(),
    *"pydantic pydantic-core annotated-types typing-inspection".split(),
]
SCRIPT = """#!/bin/bash
# Usage: bash run.sh OUT   (OUT gets gpu.json)
cd "$(dirname "$0")"
python3 -m venv --system-site-packages env >/dev/null || exit 1
env/bin/pip install -q --no-index --no-deps wheels/*.whl || exit 1
export TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1
exec env/bin/python -m benchmarks.gpu --json "$1/gpu.json" {texts}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--texts", type=Path, help="File with a sentence of words on each line.")
    parser.add_argument("--python", default="3.12")
    args = parser.parse_args()
    wheels = args.folder / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    wheels.mkdir(parents=True)
    pip = [sys.executable, "-m", "pip"]
    build = [*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(wheels), str(ROOT)]
    subprocess.run(build, check=True)
    platforms = [f"manylinux{x}_x86_64" for x in ("_2_28", "_2_17", "2014")]
    options = [word for platform in platforms for word in ("--platform", platform)]
    options += ["--python-version", args.python, "--only-binary", ":all:", "--no-deps"]
    subprocess.run([*pip, "download", "-q", "-d", str(wheels), *options, *PACKAGES], check=True)
    for name in ("benchmarks", "assets", "configs"):
        ignored = shutil.ignore_patterns("__pycache__", "results")
        shutil.copytree(ROOT / name, args.folder / name, ignore=ignored, dirs_exist_ok=True)
    texts = ""
    if args.texts is not None:
        shutil.copy(args.texts, args.folder / "texts.txt")
        texts = "--texts texts.txt"
    (args.folder / "run.sh").write_text(SCRIPT.format(texts=texts), encoding="utf8")
    size = sum(path.stat().st_size for path in args.folder.rglob("*") if path.is_file())
    print(f"{args.folder}: {size / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
