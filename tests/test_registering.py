"""Functions that configs call have types, not strings, for spaCy's older checks."""

import pytest
import spacy
from spacy.util import registry

ENCODER = {"@architectures": "spacy_multitask.Encoder.v1", "name": "some/encoder"}


def test_every_function_that_a_config_calls_has_types():
    spacy.blank("en").add_pipe("multitask_textcat")  # loads the entry points
    found = []
    for kind in ("architectures", "readers", "optimizers", "schedules", "loggers", "batchers",
                 "scorers", "misc", "factories", "callbacks"):  # fmt: skip
        for name, function in getattr(registry, kind).get_all().items():
            if getattr(function, "__module__", "").startswith("spacy_multitask"):
                found.append(name)
                types = {k: v for k, v in function.__annotations__.items() if k != "return"}
                strings = [k for k, v in types.items() if isinstance(v, str)]
                assert not strings, f"{name} has strings for types of {strings}"
    assert len(found) > 20


@pytest.mark.parametrize(
    "head, config, name",
    [
        ("textcat", {"threshold": "0.5"}, "threshold"),
        ("ner", {"loss_weight": "2"}, "loss_weight"),
        ("ner", {"class_weights": {"PER": "2.0"}}, "class_weights"),
        ("transformer", {"max_batch_pieces": "100"}, "max_batch_pieces"),
        ("transformer", {"model": {**ENCODER, "layers": ["1"]}}, "layers"),
        ("transformer", {"model": {**ENCODER, "window": "64"}}, "window"),
    ],
)
def test_numbers_in_quotes_are_named(head, config, name):
    with pytest.raises(ValueError, match=f"{name} holds '.*without quotes"):
        spacy.blank("en").add_pipe(f"multitask_{head}", config=config)


def test_strings_are_strings_and_numbers_numbers():
    nlp = spacy.blank("en")
    config = {"class_weights": {"PER": 2}, "corpora": ["1"], "spans_key": "2", "loss_weight": 1}
    nlp.add_pipe("multitask_ner", config=config)
    nlp.add_pipe("multitask_transformer", config={"model": {**ENCODER, "layers": [0, 1]}})
