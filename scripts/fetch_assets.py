"""Download the assets of project.yml that are not there yet, packed or unpacked.

`spacy project assets` asks for each file under its own name only; here a file that was unpacked
counts, too, and other training rows of AG News may be chosen.
Example: python scripts/fetch_assets.py train.csv
"""

import sys
from pathlib import Path

from weasel.cli.assets import fetch_asset
from weasel.util import load_project_config


def main(topics: str) -> None:
    root = Path.cwd()
    for asset in load_project_config(root)["assets"]:
        dest = Path(asset["dest"])
        unpacked = dest.with_suffix("") if dest.suffix == ".gz" else dest
        other_topics = dest.name == "train.csv" and topics != "train.csv"
        if asset.get("extra") or other_topics or dest.exists() or unpacked.exists():
            continue
        fetch_asset(root, asset["url"], root / dest, asset.get("checksum"))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(sys.argv[1])
