"""A batch that does not fit into the memory of the device is learned from in parts."""

import pytest
import torch

from spacy_multitask.training.memory import Learner
from tests.conftest import corpus, make_nlp


def gradients(nlp) -> dict[str, torch.Tensor]:
    nlp.get_pipe("transformer").settle()
    return {
        f"{name}.{p_name}": parameter.grad.to_dense()
        for name, pipe in nlp.pipeline
        for p_name, parameter in pipe.model.shims[0].module.named_parameters()
        if parameter.grad is not None
    }


def limit(nlp, monkeypatch, most: int) -> None:
    """Let memory run out when so many pieces are held for backpropagation."""
    encoder = nlp.get_pipe("transformer").shim.encoder
    encode = encoder.encode

    def limited(docs, **options):
        if options["is_train"] and sum(map(len, docs)) > most:
            raise torch.OutOfMemoryError("too much")
        return encode(docs, **options)

    monkeypatch.setattr(encoder, "encode", limited)


def test_parts_add_up(nlp, encoder_path, monkeypatch, caplog):
    twin = make_nlp(encoder_path).from_bytes(nlp.to_bytes())
    expected: dict[str, float] = {"ner": 1.0}
    examples = corpus(twin)  # of 38 words; no more than half of them in a part
    for part in (examples[:3], examples[3:6], examples[6:]):
        twin.update(part, sgd=False, drop=0.0, losses=expected)
    limit(nlp, monkeypatch, 20)
    learner = Learner(nlp)
    losses = {"ner": 1.0}  # of the steps before
    learner.update(7, corpus(nlp), losses=losses, sgd=False, drop=0.0)
    found, wanted = gradients(nlp), gradients(twin)
    assert found.keys() == wanted.keys()
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-4, atol=1e-6)
    assert losses == pytest.approx(expected, rel=1e-5)
    assert "ran out of memory with 38 words" in caplog.text
    n = len(caplog.records)
    learner.update(8, corpus(nlp), losses={}, sgd=False, drop=0.0)
    assert len(caplog.records) == n, "it has learned"


def test_earlier_parts_of_the_step_are_learned_again(nlp, encoder_path, monkeypatch):
    """With accumulate_gradient a step has several batches, whose gradients were thrown away."""
    twin = make_nlp(encoder_path).from_bytes(nlp.to_bytes())
    for part in (corpus(twin)[:3], corpus(twin)[3:5], corpus(twin)[5:6]):
        twin.update(part, sgd=False, drop=0.0, losses={})
    learner = Learner(nlp)
    limit(nlp, monkeypatch, 16)
    learner.update(0, corpus(nlp)[:2], losses={}, sgd=False, drop=0.0)
    learner.update(0, corpus(nlp)[2:6], losses={}, sgd=False, drop=0.0)
    found, wanted = gradients(nlp), gradients(twin)
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-4, atol=1e-6)


def test_a_doc_that_is_too_much_alone_ends_the_training(nlp, monkeypatch):
    limit(nlp, monkeypatch, 3)
    with pytest.raises(torch.OutOfMemoryError):
        Learner(nlp).update(0, corpus(nlp), losses={}, sgd=False, drop=0.0)
