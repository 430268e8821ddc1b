"""Beyond one machine: what annotating and training cost there, and what they survive.

Each part is saved under its name as soon as it is done. `--only`
does some of them.

Example: python -m benchmarks.scale --json benchmarks/results/scale.json
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch

from . import scale_annotate, scale_training
from .common import RESULTS, arguments, machine, merge

PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    **scale_annotate.PARTS,
    **scale_training.PARTS,
}


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(PARTS), help="Default: all parts.")
    parser.add_argument("--docs", type=int, default=20_000, help="Docs to annotate.")
    parser.add_argument("--rounds", type=int, default=3, help="The median of them counts.")
    parser.add_argument("--kills", type=int, default=20, help="For each engine.")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(json=RESULTS / "scale.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.only or PARTS:
        merge({name: {**PARTS[name](options), "machine": machine()}}, options.json)


if __name__ == "__main__":
    main()
