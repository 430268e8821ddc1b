"""Keep what a run of the project's workflow has scored, without the scores of every label.

Example: python -m scripts.keep_project metrics/all.json benchmarks/results/project_full.json \
  --train-seconds 1800 --command "spacy project run all . --vars.max_epochs 1"
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.common import machine
from spacy_multitask.evaluation.evaluate import main_scores


def kept(metrics: dict[str, dict]) -> dict[str, dict]:
    """RETURNS (Dict[str, Dict]): Per corpus its size, main scores and their intervals."""
    return {
        corpus: {
            **{name: round(score, 4) for name, score in main_scores(scores).items()},
            "intervals": {
                name: [round(end, 4) for end in ends] for name, ends in scores["intervals"].items()
            },
            "docs": scores["docs"],
            "words": scores["words"],
        }
        for corpus, scores in metrics.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("metrics", type=Path, help="What the command evaluate has written.")
    parser.add_argument("output", type=Path)
    parser.add_argument("--train-seconds", type=float, required=True, help="By the clock.")
    parser.add_argument("--command", required=True, help="What was run.")
    parser.add_argument("--note", default="", help="What else there is to know about the run.")
    args = parser.parse_args()
    results = {
        "command": args.command,
        "note": args.note,
        "train_seconds": args.train_seconds,
        "machine": {name: value for name, value in machine().items() if name != "commands"},
        "scores": kept(json.loads(args.metrics.read_text(encoding="utf8"))),
    }
    args.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf8")


if __name__ == "__main__":
    main()
