import pytest
import torch
from torch.nn import functional as F

from spacy_multitask.layers.attention import TrainingAttention, attention


@pytest.fixture
def vectors():
    torch.manual_seed(0)
    return [torch.randn(2, 3, 5, 4, requires_grad=True) for _ in range(3)]


LENGTHS = torch.tensor([5, 2])
SEEN = (torch.arange(5) < LENGTHS[:, None])[:, None, None]
MASKS = {
    "none": None,
    "bool": SEEN.expand(2, 1, 5, 5),
    "added": torch.zeros(SEEN.shape).masked_fill(~SEEN, torch.finfo(torch.float32).min),
}


@pytest.mark.parametrize("scale", [None, 0.3])
@pytest.mark.parametrize("mask", MASKS)
def test_outputs_and_gradients_are_those_of_torch(vectors, mask, scale):
    results = []
    for function in (F.scaled_dot_product_attention, attention):
        output = function(*vectors, attn_mask=MASKS[mask], scale=scale)
        results.append([output, *torch.autograd.grad(output.square().sum(), vectors)])
    for theirs, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_heads_may_share_a_key(vectors):
    """Grouped attention: one key and value for some heads of the query."""
    query = torch.randn(2, 6, 5, 4, requires_grad=True)
    _, key, value = vectors
    results = []
    for function in (F.scaled_dot_product_attention, attention):
        output = function(query, key, value, enable_gqa=True)
        results.append([output, *torch.autograd.grad(output.square().sum(), (query, key, value))])
    for theirs, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_a_row_that_sees_nothing_is_finite_in_bfloat16(vectors):
    """Padding beyond a sliding window: the least float32 would be -inf there, and the row NaN."""
    query, key, value = (x.detach().bfloat16().requires_grad_() for x in vectors)
    mask = torch.full((1, 1, 5, 5), torch.finfo(torch.float32).min)
    mask[..., :3, :] = 0.0
    output = attention(query, key, value, attn_mask=mask)
    found = [output, *torch.autograd.grad(output.square().sum(), (query, key, value))]
    assert all(x.isfinite().all() for x in found)
    expected = attention(*vectors, attn_mask=mask)[:, :, :3]
    torch.testing.assert_close(output[:, :, :3].float(), expected, atol=0.05, rtol=0.05)


def test_dropout_keeps_the_mean_and_drops_its_share(vectors):
    query, key, _ = (vector.detach() for vector in vectors)
    ones = torch.ones(2, 3, 5, 1)
    torch.manual_seed(0)
    sums = torch.stack([attention(query, key, ones, dropout_p=0.25) for _ in range(400)])
    assert sums.std() > 0.05
    assert sums.mean() == pytest.approx(1, abs=0.01)


def test_torch_is_asked_no_more_within_the_mode(vectors):
    with TrainingAttention():
        stepwise = F.scaled_dot_product_attention(*vectors)
        causal = F.scaled_dot_product_attention(*vectors, is_causal=True)
    assert "Softmax" in names_of_graph(stepwise)
    assert "Softmax" not in names_of_graph(causal)
    assert "Softmax" not in names_of_graph(F.scaled_dot_product_attention(*vectors))


def names_of_graph(output: torch.Tensor) -> str:
    names, nodes = [], [output.grad_fn]
    while nodes:
        node = nodes.pop()
        names.append(type(node).__name__)
        nodes += [following for following, _ in node.next_functions if following is not None]
    return " ".join(names)
