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
    "train": {"ours_fp32": 400, "ours_best": 1250, "flair": 332},
}
ACCURACY = {
    "passes": {"ours": {"pos": 5, "ner": 3.5}, "flair": {"pos": 3, "ner": 3}},
    "seconds": {"syntax": [300, 302], "news": [400]},
    "pos": {"mean": 0.9512, "seeds": [0.95, 0.951, 0.953]},
    "ner": {"mean": 0.8, "seeds": [0.8] * 3},
    "ours_in_a_third": {"pos": {"mean": 0.9445, "seeds": [0.9445]}},
    "flair": {
        "pos": {"mean": 0.942, "seeds": [0.942]},
        "seconds": {"syntax": [500], "news": [600]},
    },
}
DATA = {
    "encoder": {"layers": 6},
    "samples": {
        "pos": {"train": 120, "dev": 9},
        "chunk": {"train": 90, "dev": 10},
        "ner": {"train": 140, "dev": 9},
        "topic": {"train": 1080, "dev": 120},
    },
    "corpora": {
        "pos": {"train": 1200, "all": 1200},
        # Some docs of the training part are held out, so they count.
        "chunk": {"train": 900, "all": 1000},
        "ner": {"train": 1400, "all": 1400},
        "topic": {"train": 4500, "all": 120_000},
    },
}


def test_each_figure_stands_in_its_column():
    text = readme_table.table({"speed": SPEED, "accuracy": ACCURACY, "data": DATA})
    assert "| predict, float32, words/s | 4,889 | 1,324 | 1,346 |" in text
    assert "| predict, int8, words/s | 12,580 |  |  |" in text
    assert "predict, bfloat16" not in text, "was not measured"
    assert "| train, float32, words/s | 400 | 332 |  |" in text
    assert "| train, bfloat16, larger batches, words/s | 1,250 |  |  |" in text
    assert "| tags, accuracy | 95.1 (5 passes) | 94.2 (3 passes) |  |" in text
    assert "| entities, F1 | 80.0 (3.5 passes) |  |  |" in text
    assert "In a third of Flair's training time: tags 94.5." in text
    assert "Cpu, 2 threads, torch 2." in text and "mean of 3 seeds" in text
    assert "(Flair's two) on one encoder (MiniLM, 6 layers)" in text
    uneven = {**ACCURACY, "topic": {"mean": 0.87, "seeds": [0.87]}}
    assert "mean of 1 to 3 seeds" in readme_table.table({"accuracy": uneven})


def test_the_readme_has_features_and_figures_in_one_table():
    lines = readme_table.comparison({"speed": SPEED, "accuracy": ACCURACY}).splitlines()
    assert {line.count("|") for line in lines} == {7}
    assert "| predict, float32, words/s | 4,889 | 1,324 | 1,346 |  |  |" in lines


def test_without_results_the_page_says_so():
    assert "Not measured" in readme_table.table({})


def test_conditions_of_the_accuracy_stand_below_it():
    text = readme_table.table({"accuracy": ACCURACY, "data": DATA})
    assert (
        "Training docs: 120 for tags, 90 for chunks, 140 for entities, 1,080 for topics "
        "(a tenth of each corpus, a hundredth of AG News)." in text
    )
    assert "Training took 301 and 400 s per pipeline, Flair's 500 and 600 s" in text
    assert "Test scores had a say" in text, "settings were chosen by them, too"


def test_whole_corpora_stand_below():
    scores = {
        corpus: {name: 0.9 + i / 100} for i, (_, corpus, name) in enumerate(readme_table.FULL)
    }
    full = {
        "command": "run --vars.max_epochs 2 --x 3",
        "train_seconds": 601,
        "machine": {"threads": 1},
        "scores": scores,
    }
    results = {"speed": SPEED, "accuracy": ACCURACY, "project_full": full, "data": DATA}
    text = readme_table.table(results)
    assert "whole corpora (4,500 texts of AG News): tags 90.0, chunks 91.0, entities 92.0" in text
    assert "Training for 2 epoch took 10 minutes on 1 CPU thread." in text
    cost = {"bfloat16": {"a": -0.01, "b": 0.02}, "int8": {"a": 0.14, "b": -0.2}}
    text = readme_table.table({**results, "precision": {"cost_in_points": cost}})
    assert "at most 0.02 points on a task, and int8 at most 0.14." in text


def test_only_what_is_between_the_marks_is_replaced(tmp_path):
    results = tmp_path / "benchmarks" / "results"
    results.mkdir(parents=True)
    (results / "accuracy.json").write_text(json.dumps(ACCURACY))
    page = "# Top\n<!-- measured -->\nstale\n<!-- /measured -->\nrest\n"
    (tmp_path / "README.md").write_text(page)
    readme_table.main(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("# Top\n<!-- measured -->\n| ") and "stale" not in text
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
