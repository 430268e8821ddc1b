"""Pipelines that earlier versions have saved load, and predict what they predicted then."""

from pathlib import Path

import pytest
import spacy
import srsly
from spacy.tokens import Doc

DATA = Path(__file__).parents[1] / "data"
KEPT_TEXTS = [
    "Mr Smith loves New York",
    "IBM made a lot of profit.",
    "The old town and the unaffable 3-1 players \u200d went home.",
    "",
]


def describe(doc: Doc) -> dict:
    """RETURNS (Dict): Everything the heads write, as plain data."""
    return {
        "tags": [token.tag_ for token in doc],
        "chunks": [[s.start, s.end, s.label_] for s in doc.spans["np"]],
        "ents": [[ent.start, ent.end, ent.label_] for ent in doc.ents],
        "cats": doc.cats,
        "relations": [
            [r.head.start, r.tail.start, r.label, r.probability] for r in doc._.relations
        ],
    }


@pytest.mark.parametrize("folder", sorted(DATA.glob("[0-9]*")), ids=lambda folder: folder.name)
def test_a_kept_pipeline_predicts_what_it_predicted(folder):
    nlp = spacy.load(folder)
    for text, expected in zip(
        KEPT_TEXTS, srsly.read_json(folder / "predictions.json"), strict=True
    ):
        found = describe(nlp(text))
        probabilities = [r.pop() for r in found["relations"]]
        assert probabilities == pytest.approx([r.pop() for r in expected["relations"]], abs=1e-4)
        assert found.pop("cats") == pytest.approx(expected.pop("cats"), abs=1e-4)
        assert found == expected
