"""Loss weights that are learned."""

import torch
from spacy.util import registry
from torch import Tensor, nn

from ..registering import refuse_quoted_numbers


@registry.misc("spacy_multitask.uncertainty_weight.v1")
@refuse_quoted_numbers
def make_uncertainty_weight(rate: float = 10.0) -> "UncertaintyWeight":
    """Learn the weight of a head's loss, as the uncertainty of its task.

    rate (float): How many times faster than the heads the weight learns. It is a single number that
        starts at 1, and has to get where it belongs within one training.
    RAISES (ValueError): If the rate is not positive.
    """
    if rate <= 0:
        raise ValueError(f"rate = {rate} of uncertainty_weight must be greater than 0.")
    return UncertaintyWeight(rate)


class UncertaintyWeight(nn.Module):
    """Weighs a loss by the inverse of a learned variance, which costs its logarithm.

    Left to itself the variance goes to twice the loss, so that heads with a large loss weigh less.

    Source: Kendall, Gal and Cipolla (2018), https://arxiv.org/abs/1705.07115, for likelihoods of
        classes.
    """

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate
        # Divided by the rate: Adam's steps have one size, whatever the gradient.
        self.scaled_log_variance = nn.Parameter(torch.zeros(1))

    @property
    def log_variance(self) -> Tensor:
        return self.rate * self.scaled_log_variance[0]

    @property
    def weight(self) -> float:
        """RETURNS (float): What the loss is multiplied by."""
        return float(torch.exp(-self.log_variance.detach()))

    def reset(self) -> None:
        """Go back to a weight of 1."""
        nn.init.zeros_(self.scaled_log_variance)

    def forward(self, loss: Tensor) -> Tensor:
        """RETURNS (Tensor): The weighted loss with the cost of the weight, a scalar."""
        return torch.exp(-self.log_variance) * loss + self.log_variance / 2
