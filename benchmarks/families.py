"""What each family of encoders does with the version of transformers that is here.

Runs `tests/encoder/test_families.py` for all families of `tests/encoder/families.py`, each a tiny
random model with a tokenizer like those on the hub, and records which of its tests fail, and what
they found out. The table of `docs/encoders.md` is made of that.

Example: python -m benchmarks.families --json benchmarks/results/families_transformers4.json
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .common import Runs, arguments

TESTS = Path(__file__).parents[1] / "tests" / "encoder" / "test_families.py"


class Recorder:
    """Runs tests of one family alone, and keeps what comes out.

    part (str): "int8" for the test of that, which takes longest; "rest" for the others, or "all".

    failed (List[str]): Tests that failed.
    found (Dict[str, Any]): What tests have recorded.
    """

    def __init__(self, family: str, part: str):
        self.family, self.part = family, part
        self.failed: list[str] = []
        self.found: dict[str, Any] = {}

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = [item for item in items if self.family in _families_of(item)]
        if self.part != "all":
            items[:] = [i for i in items if ("int8" in i.name) == (self.part == "int8")]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: Any, call: Any) -> Iterator[None]:
        report = yield
        self.found.update(item.user_properties)
        if report.failed:
            self.failed.append(item.name)
        return report


def _families_of(item: Any) -> set[str]:
    """RETURNS (Set[str]): The family that a test is about, among other parameters."""
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    return {value for name, value in parameters.items() if name in ("family", "name")}


def run(family: str, part: str) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): Failed tests, and what the others found."""
    from tests.encoder.families import FAMILIES

    recorder = Recorder(family, part)
    pytest.main([str(TESTS), "-q", "-p", "no:cacheprovider"], plugins=[recorder])
    about = FAMILIES[family]
    return {
        "title": about.title,
        "here": about.is_here,
        "notes": about.notes,
        **recorder.found,
        "failed": recorder.failed,
    }


def main() -> None:
    os.environ["FAMILIES"] = "all"  # before its tests are imported
    from tests.encoder.families import FAMILIES

    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=list(FAMILIES))
    parser.add_argument("--part", choices=["all", "int8", "rest"], default="all")
    options = parser.parse_args()
    runs = Runs(options.json, lambda found: {})
    for family in options.families:
        runs.once((family,), run, family, options.part)
    failed = {family: found["failed"] for family, found in runs.found.items() if found["failed"]}
    if failed:
        raise SystemExit(f"Failed: {failed}")


if __name__ == "__main__":
    main()
