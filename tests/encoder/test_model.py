"""The encoder as a layer of a head's own, put there by `nlp.replace_listeners`."""

import numpy as np
import pytest
import spacy
import torch
from spacy.util import fix_random_seed

from spacy_multitask.encoder.encode import Encoder
from spacy_multitask.encoder.shim import EncoderShim
from spacy_multitask.training.optimizer import make_adamw
from tests.conftest import ALL_HEADS, TEXTS, corpus, make_nlp

OPTIONS = {
    "plain": {},
    "mean of pieces": {"model": {"pooling": "mean"}},
    "cls": {"model": {"doc_pooling": "cls"}},
    "bfloat16": {"precision": "bfloat16"},
    "small micro-batches": {"max_batch_pieces": 24},
}


@pytest.fixture(params=OPTIONS.values(), ids=OPTIONS.keys())
def build(request, encoder_path):
    """RETURNS (Callable): Makes a pipeline with such an encoder; the same one each time."""

    def build():
        fix_random_seed(0)
        options = {**request.param, "model": dict(request.param.get("model", {}))}
        nlp = make_nlp(encoder_path, ALL_HEADS, **options)
        nlp.initialize(lambda: corpus(nlp))
        return nlp

    return build


def replace(nlp):
    for head in ALL_HEADS:
        nlp.replace_listeners("transformer", head, ["model.tok2vec"])
    assert not nlp.get_pipe("transformer").listeners


def outputs(nlp):
    """RETURNS (List[ndarray]): Logits of each head, of docs that are long and short and empty."""
    docs = [nlp.make_doc(text) for text in (*TEXTS, "", "unaffable")]
    pipes = [nlp.get_pipe(head) for head in ALL_HEADS]
    return [
        (p.doc_logits(docs) if p.name == "textcat" else p.word_logits(docs)[0]).numpy()
        for p in pipes
    ]


def assert_equal(found, expected):
    for name, a, b in zip(ALL_HEADS, found, expected, strict=True):
        assert np.allclose(a, b, atol=1e-6), name


def test_a_replaced_listener_changes_no_prediction(build, tmp_path):
    nlp = build()
    expected = outputs(nlp)
    replace(nlp)
    assert_equal(outputs(nlp), expected)
    nlp.to_disk(tmp_path)
    assert_equal(outputs(spacy.load(tmp_path)), expected)
    assert_equal(outputs(nlp.from_bytes(nlp.to_bytes())), expected)


def gradients(shim: EncoderShim):
    return {
        name: p.grad.to_dense().numpy().copy()
        for name, p in shim.module.named_parameters()
        if p.grad is not None
    }


@pytest.mark.parametrize("head", ALL_HEADS)
def test_a_replaced_listener_gets_the_gradient_that_the_shared_encoder_got(build, head):
    others = [name for name in ALL_HEADS if name != head]
    nlp = build()
    nlp.update(corpus(nlp), sgd=False, exclude=others)
    shared = nlp.get_pipe("transformer")
    shared.settle()
    expected = gradients(shared.shim)
    nlp = build()
    replace(nlp)
    nlp.update(corpus(nlp), sgd=False, exclude=["transformer", *others])
    found = gradients(nlp.get_pipe(head).tok2vec.shims[0])
    assert found.keys() == expected.keys()
    assert any(gradient.any() for gradient in expected.values())
    for name, gradient in expected.items():
        assert np.allclose(found[name], gradient, atol=1e-5), name


def test_without_gold_a_copy_costs_no_work(build, monkeypatch):
    nlp = build()
    replace(nlp)
    calls = []
    monkeypatch.setattr(Encoder, "encode", lambda *args, **kwargs: calls.append(args))
    nlp.update([corpus(nlp)[-1]], sgd=False, exclude=["transformer"])
    assert not calls


def test_spacys_own_head_predicts_the_same_with_its_copy(encoder_path):
    nlp = make_nlp(encoder_path, ["tagger"], precision="bfloat16")
    listener = {"@architectures": "spacy_multitask.EncoderListener.v1"}
    section = {"@architectures": "spacy.Tagger.v2", "tok2vec": listener}
    stock = nlp.add_pipe("tagger", name="stock", config={"model": section})
    nlp.initialize(lambda: corpus(nlp))
    nlp.update(corpus(nlp), sgd=nlp.create_optimizer())  # its output layer starts at zero
    docs = [nlp.make_doc(text) for text in TEXTS]
    expected = stock.model.predict(docs)
    nlp.replace_listeners("transformer", "stock", ["model.tok2vec"])
    for a, b in zip(stock.model.predict(docs), expected, strict=True):
        assert np.allclose(a, b, atol=1e-6)


def test_spacys_own_component_may_hold_the_encoder(encoder_path):
    nlp = spacy.blank("en")
    section = {"@architectures": "spacy_multitask.Encoder.v1", "name": encoder_path, "overlap": 8}
    nlp.add_pipe("tok2vec", config={"model": section})
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": 32}
    section = {"@architectures": "spacy_multitask.TokenClassifier.v1", "tok2vec": listener}
    nlp.add_pipe("multitask_tagger", name="tagger", config={"model": section})
    nlp.initialize(lambda: corpus(nlp))
    nlp.update(corpus(nlp), sgd=False)
    assert gradients(nlp.get_pipe("tok2vec").model.shims[0])
    doc = nlp(TEXTS[0])
    nlp.replace_listeners("tok2vec", "tagger", ["model.tok2vec"])
    assert [t.tag_ for t in nlp(TEXTS[0])] == [t.tag_ for t in doc]


def test_a_copy_learns_by_itself(nlp):
    """Optimizers keep moments and averages by the id of what they step."""
    nlp.replace_listeners("transformer", "tagger", ["model.tok2vec"])
    shared = nlp.get_pipe("transformer").shim
    own = nlp.get_pipe("tagger").tok2vec.shims[0]
    start = {name: p.detach().clone() for name, p in own.module.named_parameters()}
    sgd = make_adamw(learn_rate=0.01, use_averages=True)
    # The tagger's copy has steps of its own beside those of the shared encoder.
    for _ in range(2):
        nlp.update(corpus(nlp), sgd=sgd)
    moved = [name for name, p in own.module.named_parameters() if not torch.equal(p, start[name])]
    assert len(moved) > 30
    assert sgd.module_state(own.id, own.module).keys() == dict(own.module.named_parameters()).keys()
    name = moved[-1]
    averages = [sgd.averages[shim.id, name] for shim in (shared, own)]
    assert not torch.equal(*averages)


@pytest.mark.parametrize("use_averages", [False, True])
def test_a_frozen_copy_stays(nlp, use_averages):
    nlp.replace_listeners("transformer", "tagger", ["model.tok2vec"])
    own = nlp.get_pipe("tagger").tok2vec.shims[0]
    start = {name: p.detach().clone() for name, p in own.module.named_parameters()}
    sgd = make_adamw(learn_rate=0.01, use_averages=use_averages)
    with nlp.select_pipes(disable=["tagger"]):
        for _ in range(2):
            nlp.update(corpus(nlp), sgd=sgd)
    with nlp.use_params(sgd.averages or {}):
        assert all(torch.equal(p, start[name]) for name, p in own.module.named_parameters())
