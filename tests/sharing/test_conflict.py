"""Whether heads pull the encoder in one direction."""

import pytest
import spacy
import torch
from spacy.util import fix_random_seed

from spacy_multitask.sharing.conflict import gradient_cosines
from tests.conftest import ALL_HEADS, corpus, make_nlp
from tests.encoder.test_gradients import (
    assert_stepped,
    plain_sgd,
    reference_gradients,
    weights,
)


def flat(gradients):
    return torch.cat([g.flatten() for g in gradients.values()]).double()


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
