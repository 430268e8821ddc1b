"""Options that all heads have: the same names, defaults and checks, whatever the head."""

import inspect
from dataclasses import fields

import pytest
import spacy
from spacy.language import Language

from spacy_multitask.heads.options import HeadOptions

HEADS = ("tagger", "chunker", "ner", "textcat", "relations")
DEFAULTS = {
    "loss_weight": 1.0,
    "balance": None,
    "label_smoothing": 0.0,
    "class_weights": None,
    "abstain": 0.0,
    "probs": False,
    "new_labels": "refuse",
    "corpora": None,
}
every_head = pytest.mark.parametrize("head", HEADS)


def add(head, config):
    return spacy.blank("en").add_pipe(f"multitask_{head}", name="it", config=config)


@every_head
def test_a_config_has_them_beside_the_options_of_the_head(head):
    spacy.blank("en").add_pipe(f"multitask_{head}")
    default = Language.get_factory_meta(f"multitask_{head}").default_config
    assert {name: default[name] for name in DEFAULTS} == DEFAULTS
    assert {field.name for field in fields(HeadOptions)} == {*DEFAULTS, "scorer"}
    make = inspect.getmodule(type(add(head, {})))
    signature = inspect.signature(getattr(make, f"make_{head}"))
    assert set(signature.parameters) == {"nlp", "name", *default}


@every_head
def test_a_head_has_what_it_was_given(head):
    config = {"loss_weight": 2.0, "abstain": 0.5, "corpora": ["a", "b"], "class_weights": {"x": 3}}
    found = add(head, config)
    assert (found.loss_weight, found.abstain) == (2.0, 0.5)
    assert found.corpora == {"a", "b"} and found.class_weights == {"x": 3}


@every_head
@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("loss_weight", -1.0, "loss_weight = -1.0 of 'it' must not be negative"),
        ("label_smoothing", 1.0, r"label_smoothing = 1.0 of 'it' must be in \[0, 1\)"),
        ("abstain", 1.5, r"abstain = 1.5 of 'it' must be in \[0, 1\)"),
        ("class_weights", {"x": 0.0}, "class_weights of 'it': 0.0 for 'x' must be greater than 0"),
        ("corpora", "ud", "corpora"),
        ("loss_wieght", 2.0, "loss_wieght"),
    ],
)
def test_what_can_not_be_meant_is_refused(head, option, value, message):
    with pytest.raises(ValueError, match=message):
        add(head, {option: value})
