"""The page of what was tried comes from what was measured, and its sentences hold."""

import json
from pathlib import Path

import pytest

from benchmarks import accuracy, craft
from scripts import tried_page

ROOT = Path(__file__).parents[2]
RUNS = json.loads((ROOT / "benchmarks/results/craft.json").read_text())["runs"]


def runs_of(**settings):
    """Settings with dev scores of tags, one per seed."""
    return {
        name: {str(seed): {"dev_pos": score, "seconds": 10.0} for seed, score in enumerate(scores)}
        for name, scores in settings.items()
    }


def test_the_page_is_what_the_script_makes(tmp_path):
    """If this fails, run `python -m scripts.tried_page`."""
    results = tmp_path / "benchmarks" / "results"
    results.mkdir(parents=True)
    (tmp_path / "docs").mkdir()
    for path in (ROOT / "benchmarks" / "results").glob("*.json"):
        (results / path.name).write_bytes(path.read_bytes())
    tried_page.main(tmp_path)
    page = (ROOT / tried_page.PAGE).read_text(encoding="utf8")
    assert (tmp_path / tried_page.PAGE).read_text(encoding="utf8") == page


def test_a_gain_is_over_the_seeds_that_both_settings_have():
    runs = runs_of(together=[0.90, 0.92], weighted=[0.91, 0.95, 0.99])
    assert tried_page.gains_of(runs, "weighted", "together", "dev_pos") == pytest.approx([1, 3])
    text = tried_page.one_change(runs)
    assert (
        "| `weighted`: entities weigh 2, topics 0.5 | `together` | 2 | +2.00 (+1.00, +3.00)" in text
    )


def test_a_setting_that_has_no_sentence_is_shown():
    runs = runs_of(together=[0.90], something_new=[0.95])
    assert "| `something_new` | `together` | 1 | **+5.00** |" in tried_page.one_change(runs)


def test_only_gains_beyond_two_standard_errors_are_bold():
    # Two seeds, so the standard error is the deviation of one run.
    assert tried_page.cell([1.0, 1.2], 0.5) == "**+1.10** (+1.00, +1.20)"
    assert tried_page.cell([0.9, 1.0], 0.5) == "+0.95 (+0.90, +1.00)"
    assert tried_page.cell([-1.0, -1.2], 0.5) == "**-1.10** (-1.20, -1.00)"
    assert tried_page.cell([], 0.5) == ""


def test_the_deviation_is_pooled_over_settings_with_several_seeds():
    # Squares around the means: 1 + 1 and 0 + 0, with one degree of freedom each.
    runs = runs_of(a=[0.90, 0.92], b=[0.80, 0.80], c=[0.10])
    assert tried_page.deviation_of(runs, "dev_pos") == pytest.approx(1.0)


def test_every_sentence_of_a_setting_names_another_setting():
    for setting in tried_page.SETTINGS.values():
        assert setting.against in {*tried_page.SETTINGS, *tried_page.STARTS}
    known = {*tried_page.SETTINGS, *tried_page.STARTS}
    assert known >= {*craft.SETTINGS, *craft.APART, *craft.APART_WITH, *craft.TAUGHT}


def test_figures_of_runs_that_were_not_kept_stand_beside_the_benchmark():
    n = 0
    for _, _, _, scores, _ in tried_page.NOT_KEPT:
        for score in scores.values():
            assert score in accuracy.__doc__
            n += 1
    assert n > 10
    text = " ".join(craft.__doc__.split())
    assert "dev 0.1, 0.2, -0.7, 0.9" in text


def gain(name, against, task):
    gains = tried_page.gains_of(RUNS, name, against, f"dev_{task}")
    assert gains, f"{name} has no seed in common with {against}"
    return sum(gains) / len(gains)


def test_what_the_page_says_of_weights_passes_and_teachers_holds():
    assert gain("weighted", "together", "ner") > 1
    assert all(gain("weighted", "together", task) > -0.1 for task in tried_page.TASKS)
    others = tried_page.SETTINGS.keys() & RUNS.keys()
    others = {name for name in others if tried_page.SETTINGS[name].against == "together"}
    assert all(
        gain(name, "together", "ner") <= gain("weighted", "together", "ner") for name in others
    )
    for name, setting in tried_page.SETTINGS.items():
        if name in RUNS and name not in ("weighted", "longer"):
            for task in tried_page.TASKS:
                gains = tried_page.gains_of(RUNS, name, setting.against, f"dev_{task}")
                assert not gains or sum(gains) / len(gains) < 1
    assert gain("longer", "weighted", "ner") > 1
    assert gain("longer", "apart_longer", "ner") < -0.5
    assert gain("taught", "apart_longest", "ner") > -0.1


def test_what_the_page_says_of_removed_options_holds():
    assert all(cell.count("*") == 0 for cell in row_of("pcgrad"))
    seed = next(iter(RUNS["pcgrad"]))
    assert RUNS["pcgrad"][seed]["seconds"] > 2 * RUNS["together"][seed]["seconds"]
    assert 0 < gain("homogeneous", "together", "ner") < gain("weighted", "together", "ner")
    assert gain("homogeneous", "together", "chunk") < 0
    assert all(abs(gain("round_robin", "uniform", task)) < 0.8 for task in tried_page.TASKS)
    assert all(gain("taught_plain", "taught", task) > -0.2 for task in tried_page.TASKS)


def row_of(name):
    (row,) = (
        line for line in tried_page.one_change(RUNS).splitlines() if line.startswith(f"| `{name}`")
    )
    return row.split(" | ")[3:7]


def test_a_file_that_is_not_there_leaves_its_section_out():
    text = tried_page.page({})
    assert "One change at a time" not in text and "None" not in text
    assert "Two tasks" in text and "removed" in text
