"""Keep what pytest has said at the end of a long run, among the figures for robustness.

Example: make fuzz | tee fuzz.log; python -m scripts.keep_tests fuzz.log --name fuzz \
  --command "make fuzz"
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from benchmarks.common import RESULTS, merge

# "1 failed, 1015 passed, 2 skipped, 7 warnings in 313.74s (0:05:13)", maybe between signs of "=".
SUMMARY = re.compile(r"^=* ?((?:\d+ \w+(?:, )?)+) in ([\d.]+)s\b", re.MULTILINE)
OUTCOMES = {"passed": "passed", "failed": "failed", "skipped": "skipped"}
OUTCOMES |= {"error": "errors", "errors": "errors"}


def summary(log: str) -> dict[str, float]:
    """RETURNS (Dict[str, float]): Tests by outcome, and seconds, of the last run in a log.
    RAISES (ValueError): If no run has come to its end.
    """
    found = SUMMARY.findall(log)
    if not found:
        raise ValueError("The log has no line such as '11 passed in 644.39s'.")
    counts, seconds = found[-1]
    result: dict[str, float] = {"passed": 0, "failed": 0, "skipped": 0, "errors": 0}
    for part in counts.split(", "):
        number, outcome = part.split()
        if outcome in OUTCOMES:
            result[OUTCOMES[outcome]] = int(number)
    return {**result, "seconds": float(seconds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log", type=Path)
    parser.add_argument("--name", required=True, help="Key of the run.")
    parser.add_argument("--command", required=True, help="What was run.")
    parser.add_argument("--note", default="", help="What else there is to know about the run.")
    parser.add_argument("--json", type=Path, default=RESULTS / "robustness.json")
    args = parser.parse_args()
    found = {"command": args.command, **summary(args.log.read_text(encoding="utf8"))}
    if args.note:
        found["note"] = args.note
    known = json.loads(args.json.read_text()) if args.json.exists() else {}
    merge({"tests": {**known.get("tests", {}), args.name: found}}, args.json)


if __name__ == "__main__":
    main()
