"""The linear chain against brute force: every legal sequence is written down and summed up."""

import itertools

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from spacy_multitask.layers.crf import IMPOSSIBLE, UNKNOWN, Transitions
from tests.layers.test_bioes import ID, LABELS, is_legal

N_TYPES = 2


def chain(seed):
    torch.manual_seed(seed)
    transitions = Transitions(N_TYPES)
    for parameter in transitions.parameters():
        torch.nn.init.normal_(parameter)
    return transitions.double()


def score(transitions, logits, labels):
    """Spelled out with the labels' names, apart from the code under test."""
    opening = ["O", "B-0", "B-1", "S-0", "S-1"]
    closing = ["O", "E-0", "E-1", "S-0", "S-1"]
    names = [LABELS[label] for label in labels]
    total = transitions.start[opening.index(names[0])]
    total = total + transitions.end[closing.index(names[-1])]
    for one, other in itertools.pairwise(names):
        if one in closing:
            total = total + transitions.between[closing.index(one), opening.index(other)]
        else:
            place = "BI".index(one[0]), "IE".index(other[0]), int(one[2])
            total = total + transitions.inside[place]
    return total + sum(logits[t, label] for t, label in enumerate(labels))


def sequences(n_tokens):
    return [s for s in itertools.product(range(len(LABELS)), repeat=n_tokens) if is_legal(s)]


def total(transitions, logits, chosen):
    return torch.logsumexp(torch.stack([score(transitions, logits, s) for s in chosen]), 0)


LENGTHS = np.array([3, 1, 4, 2, 3])
U = UNKNOWN
TARGETS = np.array(
    [
        *(ID["B-0"], ID["I-0"], ID["E-0"]),
        *(ID["S-1"],),
        *(U, U, ID["E-1"], ID["O"]),
        *(U, U),
        *(ID["O"], U, ID["S-0"]),
    ]
)


@pytest.mark.parametrize("seed", range(3))
def test_likelihood_and_gradients_are_those_of_all_sequences(seed):
    transitions = chain(seed)
    logits = torch.randn(LENGTHS.sum(), len(LABELS), dtype=torch.float64, requires_grad=True)
    found = transitions.log_likelihood(logits, TARGETS, LENGTHS)
    expected = []
    start = 0
    for n in LENGTHS:
        part, gold = logits[start : start + n], TARGETS[start : start + n]
        every = sequences(n)
        fits = [s for s in every if all(g in (U, x) for g, x in zip(gold, s))]
        expected.append(total(transitions, part, fits) - total(transitions, part, every))
        start += n
    expected = torch.stack(expected)
    assert torch.allclose(found, expected)
    assert found[3].item() == pytest.approx(0.0)  # a doc of which nothing is known
    leaves = [logits, *transitions.parameters()]
    for own, other in zip(
        torch.autograd.grad(found.sum(), leaves), torch.autograd.grad(expected.sum(), leaves)
    ):
        assert torch.allclose(own, other, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_marginals_are_those_of_all_sequences(seed):
    transitions = chain(seed)
    lengths = np.array([2, 0, 3])
    logits = torch.randn(5, len(LABELS), dtype=torch.float64)
    expected = torch.zeros_like(logits)
    for start, n in ((0, 2), (2, 3)):
        every = sequences(n)
        part = logits[start : start + n]
        probs = torch.stack([score(transitions, part, s) for s in every]).softmax(0)
        for sequence, p in zip(every, probs):
            for t, label in enumerate(sequence):
                expected[start + t, label] += p.detach()
    found = transitions.marginals(logits, lengths)
    assert torch.allclose(found, expected)
    assert torch.allclose(found.sum(1), torch.ones(5, dtype=torch.float64))


@torch.no_grad()
@pytest.mark.parametrize("seed", range(10))
def test_decoding_finds_the_best_sequence(seed):
    transitions = chain(seed)
    lengths = np.array([0, 2, 4, 1, 3, 4, 0])
    logits = torch.randn(lengths.sum(), len(LABELS), dtype=torch.float64)
    labels = transitions.decode(logits, lengths)
    start = 0
    for n in lengths:
        part = logits[start : start + n]
        if n:
            best = max(sequences(n), key=lambda s, part=part: float(score(transitions, part, s)))
            assert labels[start : start + n].tolist() == list(best)
        start += n


def test_without_any_token_there_is_nothing_to_decode():
    nothing = torch.zeros(0, len(LABELS))
    assert chain(0).decode(nothing, np.array([0])).tolist() == []
    assert chain(0).marginals(nothing, np.array([0])).shape == (0, len(LABELS))


def test_gold_that_no_legal_sequence_has_is_told_from_gold_of_low_probability():
    transitions = Transitions(N_TYPES)
    n = 3000
    logits = torch.zeros(2 * n, len(LABELS))
    targets = np.array([ID["O"]] * n + [ID["B-0"], ID["E-1"]] + [ID["O"]] * (n - 2))
    likely, impossible = transitions.log_likelihood(logits, targets, np.array([n, n]))
    assert IMPOSSIBLE / 2 < likely < -1000
    assert impossible < IMPOSSIBLE / 2


def test_gradients_are_finite_where_gold_is_impossible():
    transitions = Transitions(N_TYPES)
    logits = torch.zeros(2, len(LABELS), requires_grad=True)
    targets = np.array([ID["I-0"], ID["O"]])
    transitions.log_likelihood(logits, targets, np.array([2])).sum().backward()
    assert torch.isfinite(logits.grad).all()


class Launches(TorchDispatchMode):
    """Counts what a device would be asked to do; views ask nothing."""

    def __init__(self):
        super().__init__()
        self.n = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.n += not func.is_view
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("n_docs", [1, 20])
def test_a_token_more_is_a_dozen_steps_more_of_a_device(n_docs):
    launches = {}
    for n in (20, 60):
        logits = torch.randn(n_docs * n, len(LABELS), requires_grad=True)
        lengths = np.full(n_docs, n)
        with Launches() as counted:
            found = Transitions(N_TYPES).log_likelihood(logits, np.zeros(n_docs * n, int), lengths)
            found.sum().backward()
        launches[n] = counted.n
    assert launches[60] - launches[20] <= 12 * 40


def test_long_docs_lose_no_precision():
    torch.manual_seed(0)
    transitions, n = chain(0).float(), 3000
    logits = (4 * torch.randn(n, len(LABELS))).requires_grad_()
    targets = np.where(np.arange(n) % 3, UNKNOWN, ID["O"])
    found = transitions.log_likelihood(logits, targets, np.array([n]))
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    wide = logits.detach().double().requires_grad_()
    expected = transitions.double().log_likelihood(wide, targets, np.array([n]))
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    (exact,) = torch.autograd.grad(expected.sum(), wide)
    assert torch.allclose(gradient.double(), exact, atol=1e-5)


@pytest.mark.parametrize("value", [-600.0, 800.0])
def test_extreme_transitions_are_summed_up_right(value):
    transitions = chain(0)
    torch.nn.init.constant_(transitions.between[0], value)
    logits = torch.randn(6, len(LABELS), dtype=torch.float64, requires_grad=True)
    targets = np.array([ID["O"], ID["O"], U, ID["S-0"], ID["O"], U])
    found = transitions.log_likelihood(logits, targets, np.array([4, 2])).sum()
    expected = 0.0
    for part, gold in ((logits[:4], targets[:4]), (logits[4:], targets[4:])):
        every = sequences(len(gold))
        fits = [s for s in every if all(g in (U, x) for g, x in zip(gold, s))]
        expected += total(transitions, part, fits) - total(transitions, part, every)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    leaves = [logits, *transitions.parameters()]
    for own, other in zip(
        torch.autograd.grad(found, leaves), torch.autograd.grad(expected, leaves)
    ):
        assert torch.allclose(own, other, atol=1e-9)
