"""Gradient surgery, and the conflict of gradients that it is made for."""

import numpy as np
import pytest
import spacy
import torch
from spacy.util import fix_random_seed

from spacy_multitask.training.conflict import gradient_cosines
from spacy_multitask.training.surgery import gradient_products, pcgrad, weighted_sum
from tests.conftest import ALL_HEADS, corpus, make_nlp
from tests.encoder.test_gradients import (
    assert_stepped,
    plain_sgd,
    reference_gradients,
    weights,
)


def products_of(*gradients):
    return gradient_products([[torch.tensor(g)] for g in gradients])


def test_conflicting_gradients_lose_what_conflicts():
    # (1, 0) becomes (0.5, 0.5), (-1, 1) becomes (0, 1), and their sum is (0.5, 1.5).
    factors = pcgrad(products_of([1.0, 0.0], [-1.0, 1.0]))
    assert factors.tolist() == [2.0, 1.5]


def test_gradients_that_agree_are_added_up():
    assert pcgrad(products_of([1.0, 0.0], [1.0, 1.0], [0.0, 1.0])).tolist() == [1.0, 1.0, 1.0]


def test_a_head_without_gradient_conflicts_with_none():
    assert pcgrad(products_of([1.0, 0.0], [0.0, 0.0])).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("seed", range(5))
def test_factors_give_what_projecting_the_vectors_gives(seed):
    torch.manual_seed(seed)
    given = torch.randn(4, 3, dtype=torch.float64)
    torch.manual_seed(seed)
    factors = pcgrad(gradient_products([[g] for g in given]))
    torch.manual_seed(seed)
    expected = torch.zeros(3, dtype=torch.float64)
    for i, gradient in enumerate(given):
        projected = gradient.clone()
        for j in torch.randperm(4).tolist():
            product = projected @ given[j]
            if j != i and product < 0:
                projected -= product / (given[j] @ given[j]) * given[j]
        expected += projected
    assert torch.allclose(torch.from_numpy(factors) @ given, expected)


def test_products_and_sums_take_sparse_gradients_and_absent_ones():
    torch.manual_seed(0)
    dense = [torch.randn(6, 2) * torch.tensor([[1.0], [0], [1], [0], [0], [1]]) for _ in range(2)]
    sparse = [d.to_sparse(1) for d in dense]
    other = torch.ones(3)
    expected = float((dense[0] * dense[1]).sum())
    for a, b in ((sparse[0], sparse[1]), (sparse[0], dense[1])):
        products = gradient_products([[a, other], [b, None]])
        assert products[0, 1] == pytest.approx(expected, abs=1e-6)
        assert products[0, 0] == pytest.approx(float(dense[0].square().sum()) + 3, abs=1e-5)
    total, rest, nothing = weighted_sum([[sparse[0], other, None], [sparse[1], None, None]], [2, 3])
    assert total.is_sparse
    assert torch.allclose(total.to_dense(), 2 * dense[0] + 3 * dense[1])
    assert rest.tolist() == [2.0, 2.0, 2.0] and nothing is None


def flat(gradients):
    return torch.cat([g.flatten() for g in gradients.values()]).double()


def test_the_encoder_steps_by_what_surgery_makes_of_its_parameters_gradients(encoder_path):
    seen = []

    def surgery(products):
        seen.append(products)
        return np.array([2.0, -1.0, 0.5, 3.0])

    fix_random_seed(0)
    nlp = make_nlp(encoder_path)
    nlp.initialize(lambda: corpus(nlp))
    each = [reference_gradients(nlp, [corpus(nlp)], [name]) for name in ALL_HEADS]
    nlp.get_pipe("transformer").surgery = surgery
    before = weights(nlp)
    nlp.update(corpus(nlp), sgd=plain_sgd())
    (products,) = seen
    for i, one in enumerate(each):
        for j, other in enumerate(each):
            assert products[i, j] == pytest.approx(float(flat(one) @ flat(other)), abs=1e-4)
    expected = {
        name: sum(f * g[name] for f, g in zip([2.0, -1.0, 0.5, 3.0], each)) for name in each[0]
    }
    assert_stepped(before, expected, weights(nlp))


def test_surgery_sees_the_sum_over_sub_batches_once(encoder_path):
    seen = []

    def surgery(products):
        seen.append(products)
        return np.ones(len(products))

    fix_random_seed(0)
    nlp = make_nlp(encoder_path, ["tagger", "ner"])
    nlp.initialize(lambda: corpus(nlp))
    batches = [corpus(nlp)[:4], corpus(nlp)[4:]]
    each = [reference_gradients(nlp, batches, [name]) for name in ("tagger", "ner")]
    encoder = nlp.get_pipe("transformer")
    encoder.surgery = surgery
    for batch in batches:
        nlp.update(batch, sgd=False)
    for _, pipe in nlp.pipeline:
        pipe.finish_update(plain_sgd())
    assert encoder.model is not None  # a step that was put off is taken
    (products,) = seen
    assert products[0, 1] == pytest.approx(float(flat(each[0]) @ flat(each[1])), abs=1e-4)


def test_checkpointed_encoders_take_surgery(encoder_path):
    stepped = []
    for options in ({}, {"gradient_checkpointing": True}):
        fix_random_seed(0)
        nlp = make_nlp(encoder_path, model=options, surgery={"@misc": "spacy_multitask.pcgrad.v1"})
        examples = corpus(nlp)
        nlp.initialize(lambda examples=examples: examples)
        nlp.update(examples, sgd=plain_sgd())
        stepped.append(weights(nlp))
    assert all(torch.allclose(w, stepped[1][n], atol=1e-6) for n, w in stepped[0].items())


def test_a_pipeline_with_surgery_is_saved_and_loaded(encoder_path, tmp_path):
    nlp = make_nlp(encoder_path, ["tagger"], surgery={"@misc": "spacy_multitask.pcgrad.v1"})
    nlp.initialize(lambda: corpus(nlp))
    nlp.to_disk(tmp_path)
    assert spacy.load(tmp_path).get_pipe("transformer").surgery is pcgrad


@pytest.mark.parametrize("max_words", [5, 400], ids=["in batches", "at once"])
def test_cosines_are_those_of_the_gradients(nlp, max_words):
    found = gradient_cosines(nlp, corpus(nlp), max_words=max_words)
    assert list(found) == [
        ("tagger", "chunker"),
        ("tagger", "ner"),
        ("tagger", "textcat"),
        ("chunker", "ner"),
        ("chunker", "textcat"),
        ("ner", "textcat"),
    ]
    examples = corpus(nlp)
    batches = [examples] if max_words == 400 else [[eg] for eg in examples]
    one, other = (flat(reference_gradients(nlp, batches, [name])) for name in ("tagger", "ner"))
    expected = float(one @ other / (one.norm() * other.norm()))
    assert found["tagger", "ner"] == pytest.approx(expected, abs=1e-4)


def test_comparing_leaves_no_trace(nlp):
    def parameters():
        return [
            p for _, pipe in nlp.pipeline for s in pipe.model.shims for p in s.module.parameters()
        ]

    before = [p.detach().clone() for p in parameters()]
    state = torch.random.get_rng_state()
    gradient_cosines(nlp, corpus(nlp))
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(a, b) and b.grad is None for a, b in zip(before, parameters()))
    gradients = reference_gradients(nlp, [corpus(nlp)], ALL_HEADS)
    start = weights(nlp)
    nlp.update(corpus(nlp), sgd=plain_sgd())
    assert_stepped(start, gradients, weights(nlp))


def test_spacys_own_heads_are_compared_and_keep_no_gradient(encoder_path):
    fix_random_seed(0)
    nlp = make_nlp(encoder_path, ["tagger"])
    listener = {"@architectures": "spacy_multitask.EncoderListener.v1"}
    model = {"@architectures": "spacy.Tagger.v2", "tok2vec": listener}
    nlp.add_pipe("tagger", name="stock", config={"model": model})
    nlp.initialize(lambda: corpus(nlp))
    # Its output layer starts at zero and gives no gradient until it has learned a step itself.
    nlp.update(corpus(nlp), sgd=plain_sgd(), exclude=["transformer"])
    (cosine,) = gradient_cosines(nlp, corpus(nlp)).values()
    assert -1 < cosine < 1
    stock = nlp.get_pipe("stock").model
    left = [node.get_grad(name) for node in stock.walk() for name in node.grad_names]
    assert left and not any(gradient.any() for gradient in left)


def test_heads_without_gold_are_not_compared(nlp):
    tagged = [eg for eg in corpus(nlp) if eg.reference.has_annotation("TAG")]
    assert gradient_cosines(nlp, tagged) == {}


def test_a_pipeline_without_encoder_can_not_be_compared():
    with pytest.raises(ValueError, match="multitask_transformer"):
        gradient_cosines(spacy.blank("en"), [])


def test_one_direction_has_cosine_one(encoder_path):
    fix_random_seed(0)
    nlp = make_nlp(encoder_path, ["tagger"])
    nlp.add_pipe("multitask_tagger", name="same")
    nlp.initialize(lambda: corpus(nlp))
    same, tagger = nlp.get_pipe("same"), nlp.get_pipe("tagger")
    same.module.load_state_dict(tagger.module.state_dict())
    assert gradient_cosines(nlp, corpus(nlp)) == {("tagger", "same"): pytest.approx(1.0)}
