"""Measure what importing the package, and loading a pipeline, cost beside torch and spaCy.

Processor time in processes of their own, the least of several: other work on the machine moves it
little, while it would multiply the time by the clock.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LIMIT = 2.5  # seconds: some twice what it takes on a machine that does nothing else
RUNS = 5  # at most
PIPELINE = Path(__file__).resolve().parent.parent / "tests" / "data" / "0.1.0"

# torch imports its compiler on demand, and spaCy its registries with every package that has parts
# in them, whoever demands them: spacy-transformers, say, which a pipeline of ours does not use.
BEFORE = """
import time, torch, torch._dynamo, spacy, spacy.lang.en
from importlib.metadata import entry_points
for group in ("spacy_factories", "thinc_architectures"):
    for entry in entry_points(group=group):
        if not entry.value.startswith("spacy_multitask."):
            entry.load()
spacy.registry.get_registry_names()
start = time.process_time()
"""
AFTER = "print(time.process_time() - start)"

MEASURED = {
    "import spacy_multitask": "import spacy_multitask",
    "all its components": """
from importlib.metadata import entry_points
for group in entry_points().groups:
    for entry in entry_points(group=group):
        if entry.value.startswith("spacy_multitask."):
            entry.load()
""",
    "spacy.load of a tiny pipeline": f"spacy.load({str(PIPELINE)!r})",
}


def measure(code: str) -> float:
    """RETURNS (float): Seconds."""
    command = [sys.executable, "-c", f"{BEFORE}\n{code}\n{AFTER}"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(output.split()[-1])


def main() -> None:
    slow = []
    for name, code in MEASURED.items():
        seconds = measure(code)
        for _ in range(RUNS - 1):
            if seconds > LIMIT:
                seconds = min(seconds, measure(code))
        print(f"{name}: {seconds:.2f} s")
        if seconds > LIMIT:
            slow.append(name)
    if slow:
        sys.exit(f"{', '.join(slow)}: more than {LIMIT} s beside torch and spaCy.")


if __name__ == "__main__":
    main()
