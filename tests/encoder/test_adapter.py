"""Heads on layers that are not ours: a shared one learns whichever heads have gold."""

import numpy as np
import pytest
import spacy
from spacy.util import fix_random_seed
from thinc.api import SGD

from tests.conftest import example, predictions
from tests.integration.test_other_layers import (
    HASH_EMBED,
    TRANSFORMER_LISTENER,
    model,
    stock_transformer,
)

TOK2VEC_LISTENER = {"@architectures": "spacy.Tok2VecListener.v1", "width": HASH_EMBED["width"]}
HEADS = ("tagger", "chunker", "ner")
GOLD = {
    "tagger": {"tags": ["NNP", "NNP", "VBZ", "NNP", "NNP"]},
    "chunker": {"chunks": [(0, 2, "NP"), (2, 3, "VP"), (3, 5, "NP")]},
    "ner": {"ents": [(1, 2, "PER"), (3, 5, "LOC")]},
}


@pytest.fixture(params=["tok2vec", "transformer"])
def build(request, encoder_path):
    """RETURNS (Callable): Makes a pipeline of a stock layer, named "shared", and heads on it."""
    if request.param == "transformer":
        pytest.importorskip("spacy_transformers")

    def build(heads=HEADS):
        fix_random_seed(0)
        nlp = spacy.blank("en")
        if request.param == "tok2vec":
            nlp.add_pipe("tok2vec", name="shared", config={"model": HASH_EMBED})
            listener = TOK2VEC_LISTENER
        else:
            config = {"model": stock_transformer(encoder_path)}
            nlp.add_pipe("transformer", name="shared", config=config)
            listener = TRANSFORMER_LISTENER
        for head in heads:
            nlp.add_pipe(f"multitask_{head}", name=head, config={"model": model(head, listener)})
        nlp.initialize(lambda: batch(nlp, HEADS))
        return nlp

    return build


def batch(nlp, known):
    """RETURNS (List[Example]): One doc with gold for these heads, and one without any."""
    gold = {key: value for head in known for key, value in GOLD[head].items()}
    return [
        example(nlp, ["Mr", "Smith", "loves", "New", "York"], **gold),
        example(nlp, ["The", "old", "town"]),
    ]


def arrays(nlp, *, gradients):
    """RETURNS (Dict): Copies of the shared layer's parameters or gradients, by place and name."""
    found = {}
    for i, node in enumerate(nlp.get_pipe("shared").model.walk()):
        for name in node.param_names:
            if gradients:
                if node.has_grad(name):
                    found[i, name] = node.get_grad(name).copy()
            else:
                found[i, name] = node.get_param(name).copy()
        for shim in node.shims:
            for name, parameter in shim._model.named_parameters():
                tensor = parameter.grad if gradients else parameter.detach()
                if tensor is not None:
                    found[i, name] = tensor.numpy().copy()
    return found


def assert_same(found, expected):
    assert found and found.keys() == expected.keys()
    for key, value in expected.items():
        assert np.allclose(found[key], value, atol=1e-6), key


@pytest.mark.parametrize(
    "known",
    [["tagger"], ["chunker"], ["ner"], ["tagger", "ner"], HEADS],
    ids=lambda known: "+".join(known),
)
def test_a_shared_stock_layer_learns_from_the_heads_with_gold(build, known):
    nlp = build()
    nlp.update(batch(nlp, known), sgd=False)
    reference = build()
    for head in HEADS:
        reference.get_pipe(head).loss_weight = float(head in known)
    reference.update(batch(reference, HEADS), sgd=False)
    expected = arrays(reference, gradients=True)
    assert any(gradient.any() for gradient in expected.values())
    assert_same(arrays(nlp, gradients=True), expected)


def test_the_gradient_of_a_shared_stock_layer_is_the_sum_over_heads(build):
    def found(known):
        nlp = build()
        nlp.update(batch(nlp, known), sgd=False)
        return arrays(nlp, gradients=True)

    parts = [found([head]) for head in HEADS]
    assert all(any(gradient.any() for gradient in part.values()) for part in parts)
    assert_same(found(HEADS), {key: sum(part[key] for part in parts) for key in parts[0]})


def test_accumulated_gradients_of_a_shared_stock_layer_are_the_sum_over_sub_batches(build):
    nlp = build()
    parts = (["tagger"], [], ["ner"])
    for known in parts:
        nlp.update(batch(nlp, known), sgd=False)
    reference = build()
    reference.update(batch(reference, ["tagger", "ner"]), sgd=False)
    assert_same(arrays(nlp, gradients=True), arrays(reference, gradients=True))


def test_without_any_gold_a_shared_stock_layer_stays_as_it_is(build):
    nlp = build()
    before = arrays(nlp, gradients=False)
    sgd = SGD(0.1, L2=0.0)
    for examples in (batch(nlp, []), [example(nlp, [])], batch(nlp, [])):
        nlp.update(examples, sgd=False)
        for _, pipe in nlp.pipeline:
            pipe.finish_update(sgd)
    after = arrays(nlp, gradients=False)
    assert all(np.array_equal(before[key], after[key]) for key in before)


def test_a_frozen_stock_layer_that_annotates_gets_no_gradient(build):
    nlp = build()
    for known in ([], ["tagger"], HEADS):
        nlp.update(batch(nlp, known), sgd=False, exclude=["shared"], annotates=["shared"])
    assert not arrays(nlp, gradients=True)


def test_without_gold_a_frozen_stock_layer_need_not_annotate(build):
    nlp = build()
    nlp.update(batch(nlp, []), sgd=False, exclude=["shared"])
    assert not arrays(nlp, gradients=True)


@pytest.mark.parametrize("known", [[], HEADS], ids=["no gold", "gold"])
def test_a_stock_layer_frozen_after_it_has_learned_gets_no_gradient(build, known):
    """spaCy's listener keeps its callback, and would send the last gradient once more."""
    nlp = build()
    nlp.update(batch(nlp, HEADS), sgd=False)
    nlp.update(batch(nlp, []), sgd=False)
    before = arrays(nlp, gradients=True)
    nlp.update(batch(nlp, known), sgd=False, exclude=["shared"], annotates=["shared"])
    assert_same(arrays(nlp, gradients=True), before)


@pytest.mark.parametrize("known", [["tagger"], ["ner"]], ids=lambda known: known[0])
def test_a_head_that_is_left_out_takes_no_gradient_with_it(build, known):
    nlp = build()
    nlp.update(batch(nlp, ["chunker", *known]), sgd=False, exclude=["chunker"])
    reference = build()
    reference.update(batch(reference, known), sgd=False)
    assert_same(arrays(nlp, gradients=True), arrays(reference, gradients=True))


def test_empty_docs_change_nothing_for_a_shared_stock_layer(build):
    nlp = build()
    nlp.update([example(nlp, []), *batch(nlp, HEADS), example(nlp, [])], sgd=False)
    reference = build()
    reference.update(batch(reference, HEADS), sgd=False)
    assert_same(arrays(nlp, gradients=True), arrays(reference, gradients=True))
    (alone,) = predictions([nlp("Mr Smith loves New York")])
    docs = list(nlp.pipe(["", "Mr Smith loves New York", ""]))
    assert predictions(docs[1:2]) == [alone]
    assert [len(doc) for doc in nlp.pipe(["", ""])] == [0, 0]


def test_a_layer_of_the_heads_own_costs_no_work_without_gold(monkeypatch):
    nlp = spacy.blank("en")
    head = nlp.add_pipe("multitask_ner", config={"model": model("ner", HASH_EMBED)})
    nlp.initialize(lambda: batch(nlp, HEADS))
    calls = []
    monkeypatch.setattr(head.tok2vec, "_func", lambda *args: calls.append(args))
    nlp.update(batch(nlp, ["tagger"]), sgd=False)
    assert not calls
