"""Errors on some labels may cost more than others."""

import math

import numpy as np
import pytest
import torch
from spacy.util import fix_random_seed

from tests.conftest import corpus, example, make_nlp

SMITH = ["Mr", "Smith", "loves", "New", "York"]


def build(encoder_path, head, **config):
    fix_random_seed(0)
    nlp = make_nlp(encoder_path, [])
    nlp.add_pipe(f"multitask_{head}", name=head, config=config)
    nlp.initialize(lambda: corpus(nlp))
    return nlp


def test_the_mean_is_weighted_by_the_classes_of_gold(encoder_path):
    head = build(encoder_path, "tagger", class_weights={"NNP": 3.0}).get_pipe("tagger")
    logits = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)]])
    loss = head.cross_entropy(logits, np.array([0, 1]), ["NNP", "VBZ"])
    # Probabilities of gold are 1/4, which counts three times, and 3/4.
    assert loss.item() == pytest.approx((3 * math.log(4) + math.log(4 / 3)) / 4)


@pytest.mark.parametrize(
    ("head", "weights", "gold"),
    [
        ("tagger", {"NNP": 2.0}, {"tags": ["NNP", "NNP", "VBZ", "NNP", "NNP"]}),
        ("chunker", {"VP": 5.0, "O": 0.5}, {"chunks": [(0, 2, "NP"), (2, 3, "VP")]}),
        ("ner", {"PER": 4.0}, {"ents": [(1, 2, "PER"), (3, 5, "LOC")]}),
    ],
)
def test_heads_weigh_the_tokens_of_a_label(encoder_path, head, weights, gold):
    losses = {}
    for class_weights in (None, weights):
        nlp = build(encoder_path, head, class_weights=class_weights)
        pipe = nlp.get_pipe(head)
        eg = example(nlp, SMITH, **gold)
        losses[class_weights is None] = pipe.update([eg], losses={})[head]
    (logits, targets) = next(iter(pipe.gold_logits([eg]).values()))
    each = torch.nn.functional.cross_entropy(
        torch.from_numpy(logits), torch.from_numpy(targets), reduction="none"
    ).numpy()
    names = {
        "tagger": gold.get("tags"),
        "chunker": ["NP", "NP", "VP", "O", "O"],
        "ner": ["O", "PER", "O", "LOC", "LOC"],
    }[head]
    factors = [weights.get(name, 1.0) for name in names]
    assert losses[True] == pytest.approx(each.mean(), abs=1e-5)
    assert losses[False] == pytest.approx(np.average(each, weights=factors), abs=1e-5)


def topics(encoder_path, exclusive, class_weights):
    nlp = build(encoder_path, "textcat", exclusive_classes=exclusive, class_weights=class_weights)
    head = nlp.get_pipe("textcat")
    docs = [
        example(nlp, SMITH, cats={"Business": 1.0, "Sports": 0.0}),
        example(nlp, SMITH, cats={"Business": 0.0, "Sports": 1.0}),
    ]
    loss = head.update(docs, losses={})["textcat"]
    logits = head.doc_logits([eg.predicted for eg in docs]).numpy()
    return loss, logits.astype(float)


def test_topics_weigh_docs(encoder_path):
    loss, logits = topics(encoder_path, True, {"Sports": 3.0})
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = -(np.log(probs[0, 0]) + 3 * np.log(probs[1, 1])) / 4
    assert loss == pytest.approx(expected, abs=1e-5)


def test_topics_that_do_not_exclude_each_other_weigh_docs_where_they_are_true(encoder_path):
    loss, logits = topics(encoder_path, False, {"Sports": 3.0})
    p = 1 / (1 + np.exp(-logits))
    costs = [np.log(p[0, 0]), np.log(1 - p[0, 1]), np.log(1 - p[1, 0]), 3 * np.log(p[1, 1])]
    assert loss == pytest.approx(-np.mean(costs), abs=1e-5)


def test_labels_that_the_data_does_not_have_are_refused(encoder_path):
    with pytest.raises(ValueError, match=r"'PERSON'.*There are: O, LOC, ORG, PER"):
        build(encoder_path, "ner", class_weights={"PERSON": 2.0})


def test_weights_of_nothing_are_refused(encoder_path):
    with pytest.raises(ValueError, match="greater than 0"):
        build(encoder_path, "ner", class_weights={"PER": 0.0})
