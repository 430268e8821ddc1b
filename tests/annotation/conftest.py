"""A tiny trained pipeline in a folder, and texts."""

import json
from pathlib import Path

import pytest

from spacy_multitask.annotation.run import annotate

TEXTS = [
    "Mr Smith loves New York",
    "IBM made a lot\n of profit .",
    "The old town",
    "Anna Brown of Reuters won 3-1",
]


@pytest.fixture(scope="session")
def model(trained, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    trained.to_disk(folder)
    return str(folder)


@pytest.fixture
def texts(tmp_path) -> Path:
    """RETURNS (Path): Forty docs as JSON lines."""
    return write_texts(tmp_path / "texts.jsonl", 40)


def write_texts(path: Path, n_docs: int, **special: str) -> Path:
    """RETURNS (Path): JSON lines.

    special (Dict[str, str]): Texts by id, such as d3.
    """
    rows = [
        {"id": f"d{i}", "text": special.get(f"d{i}", TEXTS[i % 4]), "year": 1990 + i}
        for i in range(n_docs)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="session")
def undisturbed(model, tmp_path_factory) -> list:
    """RETURNS (List[Dict]): Rows of the forty docs in shards of ten, from a run without trouble."""
    folder = tmp_path_factory.mktemp("undisturbed")
    path = write_texts(folder / "texts.jsonl", 40)
    return rows_of(annotate(model, path, folder / "out", shard_docs=10))


def rows_of(summary) -> list:
    """RETURNS (List[Dict]): All rows, with probabilities rounded: batches of other docs are padded
    otherwise."""
    return rounded(summary.dataset().to_table().to_pylist())


def rounded(value):
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return round(value, 4) if isinstance(value, float) else value


def errors_in(folder: Path) -> dict:
    """RETURNS (Dict[str, str]): Reasons by id; each id once."""
    lines = [json.loads(line) for line in (folder / "errors.jsonl").read_text().splitlines()]
    found = {line["id"]: line["reason"] for line in lines}
    assert len(found) == len(lines)
    return found
