"""The table of encoders is what the tests of all families found, and they found no fault."""

from pathlib import Path

import pytest

from scripts import encoders_page
from tests.encoder.families import FAMILIES

ROOT = Path(__file__).parents[2]
RESULTS = encoders_page.results_of(ROOT)
FOUND = {
    "title": "BERT",
    "here": True,
    "notes": "",
    "limit": 512,
    "causal": False,
    "pads": True,
    "lacks": [],
    "int8": True,
    "failed": [],
}


def results(four: dict, five: dict) -> dict:
    return {
        major: {"machine": {"versions": {"transformers": f"{major}.1"}}, "runs": {"a": found}}
        for major, found in (("4", four), ("5", five))
    }


def test_the_page_has_what_was_found(tmp_path):
    """If this fails, run `python -m scripts.encoders_page`."""
    results = (ROOT / "benchmarks" / "results").glob("families_*.json")
    for path in (ROOT / encoders_page.PAGE, *results):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    encoders_page.main(tmp_path)
    page = (ROOT / encoders_page.PAGE).read_text(encoding="utf8")
    assert (tmp_path / encoders_page.PAGE).read_text(encoding="utf8") == page
    assert encoders_page.table(RESULTS) in page


@pytest.mark.parametrize("major", encoders_page.MAJORS)
def test_what_is_claimed_of_families_was_found_with_each_version(major):
    """If this fails, run `nox -s families`."""
    runs = RESULTS[major]["runs"]
    assert runs.keys() == FAMILIES.keys()
    for name, found in runs.items():
        family = FAMILIES[name]
        assert not found["failed"], name
        assert found["here"] == (int(major) in family.majors)
        assert (found["title"], found["notes"]) == (family.title, family.notes)
        if found["here"]:
            lacks = (*family.refuses, *(family.refuses_4 if major == "4" else ()))
            assert found["lacks"] == sorted(lacks)
            assert found["int8"] == (int(major) in family.int8)


def test_a_row_says_where_it_works_and_what_it_lacks():
    absent = {"title": "BERT", "here": False, "notes": "", "failed": []}
    causal = {"causal": True, "limit": 10**6, "lacks": ["doc_pooling", "layers"]}
    text = encoders_page.table(results(absent, {**FOUND, **causal, "notes": "rare"}))
    notes = 'rare; reads from left to right; no `doc_pooling = "cls"`, `layers`'
    row = f"| BERT | not in it | yes | yes | any | {notes} |"
    assert row in text.splitlines()
    assert text.endswith("Tried with transformers 4.1 and 5.1.")
    text = encoders_page.table(results({**FOUND, "int8": False}, {**FOUND, "failed": ["test_a"]}))
    assert "| BERT | yes | no | transformers 5 | 512 |  |" in text
    text = encoders_page.table(results({**FOUND, "lacks": ["layers"]}, FOUND))
    assert "| BERT | yes | yes | yes | 512 | no `layers` (transformers 4) |" in text
