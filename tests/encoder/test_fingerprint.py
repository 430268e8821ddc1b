"""What is saved under one major version of transformers means the same under the other, or is
refused. `scripts/keep_majors.py` has kept the pipelines."""

from copy import deepcopy
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import spacy
import srsly

from spacy_multitask.encoder import fingerprint

KEPT = Path(__file__).parents[1] / "data" / "majors"
FOLDERS = sorted(KEPT.iterdir())
TEXTS = ["Anna Smith loves New York, said Reuters in 1996.", "The old (naïve) town - 東京."]


def describe(nlp) -> list[dict]:
    """RETURNS (List[Dict]): Tags and the first columns of the vectors of some texts."""
    found = []
    encoder = nlp.get_pipe("transformer").shim.encoder
    for doc in map(nlp, TEXTS):
        vectors = encoder.encode([doc], is_train=False, precision="float32").words
        tags = [token.tag_ for token in doc]
        found.append({"tags": tags, "vectors": np.round(vectors[:, :4].numpy(), 5).tolist()})
    return found


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_pipeline_of_either_major_version_predicts_the_same(folder):
    nlp = spacy.load(folder)
    for found, kept in zip(describe(nlp), srsly.read_json(folder / "kept.json"), strict=True):
        assert found["tags"] == kept["tags"]
        assert len(set(kept["tags"])) > 1
        np.testing.assert_allclose(found["vectors"], kept["vectors"], atol=1e-3)


def test_there_is_one_of_each_kind_and_version():
    by_kind: dict[str, list[str]] = {}
    for folder in FOLDERS:
        saved = srsly.read_json(folder / "transformer" / "model" / "encoder.json")["fingerprint"]
        kind, _, major = folder.name.rpartition("-")
        assert saved["transformers"].startswith(f"{major}.")
        by_kind.setdefault(kind, []).append(major)
    assert by_kind == {kind: ["4", "5"] for kind in ("bert", "modernbert", "qwen3")}


@pytest.fixture(scope="module")
def encoder():
    return spacy.load(FOLDERS[0]).get_pipe("transformer").shim.encoder


@pytest.mark.parametrize("part, cause", [("pieces", "other pieces"), ("vectors", "differ by up")])
def test_an_encoder_that_gives_something_else_is_refused_with_both_versions(encoder, part, cause):
    saved = fingerprint.take(encoder)
    fingerprint.check(encoder, saved, "model")
    changed = {**deepcopy(saved), "transformers": "9.8.7"}
    if part == "pieces":
        changed["pieces"][1] += 1
    else:
        changed["vectors"][1][2] += 0.002 * max(1.0, saved["scale"])
    with pytest.raises(ValueError, match=cause) as caught:
        fingerprint.check(encoder, changed, "model")
    text = str(caught.value)
    assert "saved with transformers 9.8.7" in text and version("transformers") in text
    assert "\n" not in text
