"""What pytest says at the end of a run is kept."""

import json
import sys

import pytest

from scripts import keep_tests


def test_the_last_run_counts():
    log = (
        "3 failed, 4 passed in 1.00s\n....\n"
        "1 failed, 1015 passed, 2 skipped, 7 warnings in 313.74s (0:05:13)\nmake: *** Error 1\n"
    )
    expected = {"passed": 1015, "failed": 1, "skipped": 2, "errors": 0, "seconds": 313.74}
    assert keep_tests.summary(log) == expected
    framed = "======= 11 passed, 1 error in 644.39s (0:10:44) =======\nrc 0\n"
    assert keep_tests.summary(framed)["errors"] == 1
    assert keep_tests.summary(framed)["passed"] == 11


def test_a_run_that_did_not_end_is_refused():
    with pytest.raises(ValueError, match="no line such as"):
        keep_tests.summary("........ [ 50%]\n")


def test_other_figures_stay(monkeypatch, tmp_path):
    log, path = tmp_path / "log", tmp_path / "r.json"
    log.write_text("11 passed in 2.5s\n")
    path.write_text('{"memory": 1, "tests": {"old": 2}}')
    options = ["--name", "fuzz", "--command", "make fuzz", "--json", str(path)]
    monkeypatch.setattr(sys, "argv", ["keep_tests", str(log), *options])
    keep_tests.main()
    found = json.loads(path.read_text())
    assert found["memory"] == 1 and found["tests"]["old"] == 2
    assert found["tests"]["fuzz"]["passed"] == 11
    assert found["tests"]["fuzz"]["command"] == "make fuzz"
