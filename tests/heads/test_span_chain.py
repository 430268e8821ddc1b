"""Chunker and entity recogniser with a linear chain."""

import math

import numpy as np
import pytest
import spacy
import torch
from spacy.tokens import Span
from spacy.util import fix_random_seed

from spacy_multitask.training.optimizer import make_adamw
from tests.conftest import corpus, example, make_nlp
from tests.encoder.test_gradients import plain_sgd

SMITH = ["Mr", "Smith", "loves", "New", "York"]
HEADS = ("chunker", "ner")


@pytest.fixture
def nlp(encoder_path):
    fix_random_seed(0)
    nlp = make_nlp(encoder_path, ["tagger"])
    for head in HEADS:
        nlp.add_pipe(f"multitask_{head}", name=head, config={"crf": True})
    nlp.initialize(lambda: corpus(nlp))
    return nlp


def spans_of(nlp, words):
    doc = nlp(spacy.tokens.Doc(nlp.vocab, words=words))
    return (
        [(s.start, s.end, s.label_) for s in doc.spans["np"]],
        [(e.start, e.end, e.label_) for e in doc.ents],
    )


def test_the_chain_learns_its_sentences_and_is_saved(nlp, tmp_path):
    sgd = make_adamw(learn_rate=0.003, head_learn_rate=0.02)
    for _ in range(25):
        nlp.update(corpus(nlp), sgd=sgd)
    expected = (
        [(0, 2, "NP"), (2, 3, "VP"), (3, 5, "NP")],
        [(1, 2, "PER"), (3, 5, "LOC")],
    )
    assert spans_of(nlp, SMITH) == expected
    transitions = nlp.get_pipe("ner").module.transitions
    assert any(bool(p.detach().abs().sum() > 0.01) for p in transitions.parameters())
    nlp.to_disk(tmp_path)
    other = spacy.load(tmp_path)
    assert spans_of(other, SMITH) == expected
    for one, two in zip(
        transitions.parameters(), other.get_pipe("ner").module.transitions.parameters()
    ):
        assert torch.equal(one, two)


def test_transitions_decide_where_vectors_do_not(nlp):
    ner = nlp.get_pipe("ner")
    with torch.no_grad():
        ner.module.linear.weight.zero_()
        ner.module.linear.bias.zero_()
        # PER is the third label: no span may follow O, and none may be first, but for S-PER.
        ner.module.transitions.start[:] = -5.0
        ner.module.transitions.start[-1] = 1.0
        ner.module.transitions.between[:, 1:] = -5.0
        ner.module.transitions.between[:, 0] = 1.0
    assert ner.cfg["labels"][2] == "PER"
    assert spans_of(nlp, SMITH)[1] == [(0, 1, "PER")]


def test_a_doc_without_gold_does_not_change_the_loss_of_others(nlp):
    known = example(nlp, SMITH, ents=[(1, 2, "PER"), (3, 5, "LOC")])
    alone, mixed = {}, {}
    ner = nlp.get_pipe("ner")
    ner.update([known], losses=alone)
    ner.update([example(nlp, ["The", "town"]), known, example(nlp, SMITH)], losses=mixed)
    assert alone["ner"] == pytest.approx(mixed["ner"], abs=1e-5)
    assert alone["ner"] > 0


def test_before_training_all_legal_sequences_are_as_likely(nlp):
    """One token is O or an S of one of three types; per known label the loss is its log."""
    ner = nlp.get_pipe("ner")
    with torch.no_grad():
        ner.module.linear.weight.zero_()
        ner.module.linear.bias.zero_()
    losses = ner.update([example(nlp, ["Smith"], ents=[(0, 1, "PER")])], losses={})
    assert losses["ner"] == pytest.approx(math.log(4))


def test_tokens_of_which_nothing_is_known_are_summed_over(nlp):
    ner = nlp.get_pipe("ner")
    with torch.no_grad():
        ner.module.linear.weight.zero_()
        ner.module.linear.bias.zero_()
    eg = example(nlp, ["Mr", "Smith"])
    reference = eg.reference
    reference.set_ents(
        [Span(reference, 1, 2, label="PER")], missing=[reference[0:1]], default="missing"
    )
    losses = ner.update([eg], losses={})
    # Of 4 * 4 + 3 legal sequences, those that end with S-PER: after O or three kinds of S.
    assert losses["ner"] == pytest.approx(math.log(19 / 4))


def test_spans_that_overlap_are_left_out_with_a_warning(nlp):
    chunker = nlp.get_pipe("chunker")
    good = example(nlp, SMITH, chunks=[(0, 2, "NP"), (2, 3, "VP")])
    alone = chunker.update([good], losses={})["chunker"]
    bad = example(nlp, SMITH, chunks=[(0, 3, "NP"), (2, 5, "VP")])
    with pytest.warns(UserWarning, match="overlap"):
        both = chunker.update([good, bad], losses={})["chunker"]
    assert both == pytest.approx(alone, rel=1e-4)


@pytest.mark.filterwarnings("ignore:.*overlap")
def test_beside_spans_that_overlap_the_doc_is_learned(nlp):
    chunker = nlp.get_pipe("chunker")
    with torch.no_grad():
        chunker.module.linear.weight.zero_()
        chunker.module.linear.bias.zero_()
    eg = example(nlp, SMITH[:3], chunks=[(0, 2, "NP"), (1, 2, "VP"), (2, 3, "VP")])
    losses = chunker.update([eg], losses={})
    # Of 11 * 3 + 8 legal sequences of two types, those that end with S-VP.
    assert losses["chunker"] == pytest.approx(math.log(41 / 11))


def test_probabilities_sum_to_one_and_know_the_neighbours(nlp):
    ner = nlp.get_pipe("ner")
    (probs,) = ner.probs([nlp.make_doc("Smith")])
    assert probs.sum() == pytest.approx(1.0)
    types = len(ner.cfg["labels"])
    assert np.flatnonzero(probs[0] > 1e-9).tolist() == [0, *(4 + 4 * k for k in range(types))]
    eg = example(nlp, SMITH, ents=[(1, 2, "PER")])
    logits, targets = ner.gold_logits([eg])[""]
    (probs,) = ner.probs([eg.predicted])
    assert np.allclose(np.exp(logits), probs, atol=1e-6)
    assert targets.tolist() == [0, 1 + 4 * ner.cfg["labels"].index("PER") + 3, 0, 0, 0]


def test_the_gradient_reaches_encoder_and_transitions(nlp):
    encoder = nlp.get_pipe("transformer")
    before = {n: p.detach().clone() for n, p in encoder.shim.module.named_parameters()}
    nlp.update(corpus(nlp), sgd=plain_sgd(), exclude=["tagger", "chunker"])
    after = dict(encoder.model.shims[0].module.named_parameters())
    assert any(not torch.equal(before[n], p) for n, p in after.items())
    transitions = nlp.get_pipe("ner").module.transitions
    assert all(p.detach().abs().sum() > 0 for p in transitions.parameters())


def test_empty_docs_are_predicted(nlp):
    docs = list(nlp.pipe(["", "Mr Smith", " ", ""]))
    assert [len(doc.ents) >= 0 and "np" in doc.spans for doc in docs] == [True] * 4


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("option", [{"label_smoothing": 0.1}, {"class_weights": {"O": 0.5}}])
def test_options_that_a_chain_does_not_have_are_refused(encoder_path, head, option):
    nlp = make_nlp(encoder_path, [])
    with pytest.raises(ValueError, match="crf"):
        nlp.add_pipe(f"multitask_{head}", config={"crf": True, **option})
