"""Write the table of encoders into docs/encoders.md, from what `nox -s families` has saved.

Run it after that, so that the page says what the tests found.
Example: python -m scripts.encoders_page
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = Path("docs", "encoders.md")
START, END = "<!-- families -->", "<!-- /families -->"
MAJORS = ("4", "5")
NO_LIMIT = 1_000_000
HEADER = ("family", "transformers 4", "transformers 5", "int8", "longest input", "notes")
# What stands for an option that a family lacks.
OPTIONS = {"doc_pooling": '`doc_pooling = "cls"`'}


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """RETURNS (str): Markdown, with the versions below.

    results (Mapping[str, Mapping]): What `benchmarks.families` has saved, by major version of
        transformers.
    """
    names = dict.fromkeys(name for found in results.values() for name in found["runs"])
    lines = [HEADER, ("---",) * len(HEADER)]
    for name in names:
        runs = {m: found["runs"][name] for m, found in results.items() if name in found["runs"]}
        if any(run["here"] for run in runs.values()):
            lines.append(_row(runs))
    versions = " and ".join(
        results[major]["machine"]["versions"]["transformers"] for major in sorted(results)
    )
    rows = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"{rows}\n\nTried with transformers {versions}."


def _row(runs: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    here = {major: run for major, run in runs.items() if run["here"]}
    some = next(iter(here.values()))
    works = ("" if major not in runs else _works(runs[major]) for major in MAJORS)
    tried = [major for major, run in here.items() if "int8" in run]
    able = [major for major in tried if here[major]["int8"]]
    int8 = "" if not tried else "no" if not able else "yes"
    if able and able != tried:
        int8 = f"transformers {able[0]}"
    limit = "any" if some["limit"] >= NO_LIMIT else f"{some['limit']:,}"
    return (some["title"], *works, int8, limit, _notes(here))


def _works(run: Mapping[str, Any]) -> str:
    if run["failed"]:
        return "no"
    return "yes" if run["here"] else "not in it"


def _notes(here: Mapping[str, Mapping[str, Any]]) -> str:
    """RETURNS (str): What is to be known, from what was found by major version."""
    run = next(iter(here.values()))
    notes = [run["notes"]] if run["notes"] else []
    if run["causal"]:
        notes.append("reads from left to right")
    if not run["pads"]:
        notes.append("only texts of one length together")
    lacks: dict[str, list[str]] = {}
    for major, found in here.items():
        for name in found["lacks"]:
            lacks.setdefault(name, []).append(major)
    names = [
        OPTIONS.get(name, f"`{name}`")
        + ("" if len(majors) == len(here) else f" (transformers {majors[0]})")
        for name, majors in lacks.items()
    ]
    return "; ".join([*notes, *(["no " + ", ".join(names)] if names else [])])


def results_of(root: Path) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): What was saved, by major version."""
    folder = root / "benchmarks" / "results"
    paths = {major: folder / f"families_transformers{major}.json" for major in MAJORS}
    return {m: json.loads(p.read_text(encoding="utf8")) for m, p in paths.items()}


def main(root: Path = ROOT) -> None:
    """Write the table into the page of a folder that has benchmarks/results."""
    path = root / PAGE
    text = path.read_text(encoding="utf8")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    text = f"{before}{START}\n{table(results_of(root))}\n{END}{after}"
    path.write_text(text, encoding="utf8")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        raise SystemExit(__doc__)
    main()
