"""Functions that configs call have types, not strings, for spaCy's older checks."""

import spacy
from spacy.util import registry

import spacy_multitask.registering as registering


def test_every_function_that_a_config_calls_has_types():
    spacy.blank("en").add_pipe("multitask_textcat")  # loads the entry points
    found = []
    for kind in ("architectures", "readers", "optimizers", "schedules", "loggers", "batchers",
                 "scorers", "misc", "factories"):  # fmt: skip
        for name, function in getattr(registry, kind).get_all().items():
            if getattr(function, "__module__", "").startswith("spacy_multitask"):
                found.append(name)
                strings = [a for a in function.__annotations__.values() if isinstance(a, str)]
                assert not strings, f"{name} needs @{registering.with_types.__name__}"
    assert len(found) > 20
