"""The table of figures in README.md comes from what was measured."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("readme_table", ROOT / "scripts/readme_table.py")
readme_table = importlib.util.module_from_spec(spec)
spec.loader.exec_module(readme_table)

SPEED = {
    "machine": {"cpu": "Cpu", "threads": 2, "versions": {"torch": "2"}},
    "predict": {"ours_fp32": 4889.4, "flair": 1324, "stock": 1346, "ours_int8": 12580},
    "train": {"ours_best": 1250, "flair": 332},
}
ACCURACY = {
    "pos": {"mean": 0.9512, "seeds": [0.95, 0.951, 0.953]},
    "ner": {"mean": 0.8, "seeds": [0.8] * 3},
    "ours_in_a_third": {"pos": {"mean": 0.9445, "seeds": [0.9445]}},
    "flair": {"pos": {"mean": 0.942, "seeds": [0.942]}},
}


def test_each_figure_stands_in_its_column():
    text = readme_table.table(SPEED, ACCURACY)
    assert "| predict, float32, words/s | 4,889 | 1,324 | 1,346 |" in text
    assert "| predict, int8, words/s | 12,580 |  |  |" in text
    assert "bfloat16" not in text, "was not measured"
    assert "| train, words/s | 1,250 | 332 |  |" in text
    assert "| tags, accuracy | 95.1 | 94.2 |  |" in text
    assert "| entities, F1 | 80.0 |  |  |" in text
    assert "In a third of Flair's training time: tags 94.5. From" in text
    assert "Cpu, 2 threads, torch 2." in text and "mean of 3 seeds" in text
    assert "Not measured" in readme_table.table(None, None)
    uneven = {**ACCURACY, "topic": {"mean": 0.87, "seeds": [0.87]}}
    assert "mean of 1 to 3 seeds" in readme_table.table(None, uneven)


def test_whole_corpora_stand_below():
    scores = {
        corpus: {name: 0.9 + i / 100} for i, (_, corpus, name) in enumerate(readme_table.FULL)
    }
    full = {"train_seconds": 601, "machine": {"threads": 1}, "scores": scores}
    text = readme_table.table(SPEED, ACCURACY, full)
    assert text.startswith(readme_table.table(SPEED, ACCURACY))
    assert "in 10 minutes: tags 90.0, chunks 91.0, entities 92.0" in text
    cost = {"bfloat16": {"a": -0.01, "b": 0.02}, "int8": {"a": 0.14, "b": -0.2}}
    text = readme_table.table(SPEED, ACCURACY, full, {"cost_in_points": cost})
    assert "bfloat16 0.02, int8 0.14." in text


def test_only_what_is_between_the_marks_is_replaced(tmp_path):
    results = tmp_path / "benchmarks" / "results"
    results.mkdir(parents=True)
    (results / "accuracy.json").write_text(json.dumps(ACCURACY))
    page = "# Top\n<!-- measured -->\nold\n<!-- /measured -->\nrest\n"
    (tmp_path / "README.md").write_text(page)
    readme_table.main(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("# Top\n<!-- measured -->\n| ") and "old" not in text
    assert text.endswith("<!-- /measured -->\nrest\n") and "94.2" in text
    readme_table.main(tmp_path)
    assert (tmp_path / "README.md").read_text() == text, "a second run changes nothing"


@pytest.mark.parametrize(
    "page",
    ["", "<!-- measured -->", "<!-- /measured --><!-- measured -->", "<!-- measured -->" * 2],
)
def test_a_page_without_marks_is_refused(page):
    with pytest.raises(ValueError, match="must have <!-- measured -->"):
        readme_table.replace(page, "x")


def test_the_readme_shows_what_was_measured_last(tmp_path):
    """If this fails, run `python scripts/readme_table.py`."""
    results = tmp_path / "benchmarks" / "results"
    results.mkdir(parents=True)
    for path in (ROOT / "benchmarks" / "results").glob("*.json"):
        (results / path.name).write_bytes(path.read_bytes())
    page = (ROOT / "README.md").read_text(encoding="utf8")
    (tmp_path / "README.md").write_text(page, encoding="utf8")
    readme_table.main(tmp_path)
    assert (tmp_path / "README.md").read_text(encoding="utf8") == page
