"""Dropout that draws bytes."""

import pytest
import torch
from torch import nn

from spacy_multitask.layers.dropout import ByteDropout, replace_dropout


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.5])
def test_rate_and_scale(rate):
    torch.manual_seed(0)
    X = torch.ones(200, 1001)
    out = ByteDropout(rate)(X)
    dropped = float((out == 0).float().mean())
    assert abs(dropped - rate) < 1 / 256
    assert abs(float(out.mean()) - 1) < 0.01
    assert len(out.unique()) == 2
    # No column and no row is favoured.
    assert float((out == 0).float().mean(0).std()) < 0.05


def test_the_gradient_passes_where_values_were_kept():
    X = torch.ones(50, 40, requires_grad=True)
    out = ByteDropout(0.25)(X)
    out.sum().backward()
    assert torch.equal(X.grad, out.detach())


def test_nothing_is_dropped_in_prediction_or_at_rate_zero():
    X = torch.randn(5, 7)
    assert torch.equal(ByteDropout(0.5).eval()(X), X)
    assert torch.equal(ByteDropout(0.0)(X), X)


def test_it_repeats_under_a_seed():
    X = torch.ones(30, 30)
    torch.manual_seed(3)
    first = ByteDropout(0.1)(X)
    torch.manual_seed(3)
    assert torch.equal(first, ByteDropout(0.1)(X))


def test_it_takes_the_place_of_torchs():
    net = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.3)))
    replace_dropout(net)
    assert isinstance(net[1][0], ByteDropout) and net[1][0].p == 0.3
