"""Gradient surgery: what the encoder does with the gradients of heads that pull apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from spacy.util import registry
from torch import Tensor

from ..registering import with_types

# Of the encoder's parameters, in their order; None where a head does not reach a parameter.
Gradients = Sequence[Tensor | None]

# Products of the heads' gradients, shape (n_heads, n_heads) -> factor of each gradient in the sum
# that the encoder learns from, shape (n_heads,).
Surgery = Callable[[np.ndarray], np.ndarray]


@registry.misc("spacy_multitask.pcgrad.v1")
@with_types
def make_pcgrad() -> Surgery:
    """Project each head's gradient off those of other heads that it conflicts with.

    RETURNS (Callable): Maps the products of gradients to their factors, see `pcgrad`.

    Source: Yu et al. (2020), https://arxiv.org/abs/2001.06782
    """
    return pcgrad


def pcgrad(products: np.ndarray) -> np.ndarray:
    """A gradient loses its part against another one whose product with it is negative, one after
    the other in random order. The results are sums of the given gradients all the time, so that
    their products are all there is to know.

    products (ndarray): Products of each two gradients, float64, shape (n_heads, n_heads).
    RETURNS (ndarray): Factor of each gradient in the sum of the projected ones, shape (n_heads,).
    """
    n_heads = len(products)
    factors = np.eye(n_heads)  # row i: what gradient i is made of by now
    for i in range(n_heads):
        # torch's random state, which a checkpoint keeps.
        for j in torch.randperm(n_heads).tolist():
            product = factors[i] @ products[:, j]
            if j != i and product < 0:
                factors[i, j] -= product / products[j, j]
    return factors.sum(axis=0)


def gradient_products(gradients: Sequence[Gradients]) -> np.ndarray:
    """RETURNS (ndarray): Product of each two gradients over all parameters, float64, shape
    (n_heads, n_heads)."""
    products = np.zeros((len(gradients), len(gradients)))
    for i, one in enumerate(gradients):
        for j, other in enumerate(gradients[: i + 1]):
            parts = [_product(a, b) for a, b in zip(one, other) if a is not None and b is not None]
            total = float(torch.stack(parts).sum(dtype=torch.float64)) if parts else 0.0
            products[i, j] = products[j, i] = total
    return products


def _product(a: Tensor, b: Tensor) -> Tensor:
    if a.is_sparse and b.is_sparse:
        return torch.sparse.sum(a.coalesce() * b.coalesce())
    return torch.dot(_flat(a), _flat(b))


def _flat(gradient: Tensor) -> Tensor:
    return (gradient.to_dense() if gradient.is_sparse else gradient).flatten()


def weighted_sum(gradients: Sequence[Gradients], factors: Sequence[float]) -> list[Tensor | None]:
    """RETURNS (List[Optional[Tensor]]): The sum of gradients times factors, by parameter."""
    sums: list[Tensor | None] = []
    for parts in zip(*gradients):
        known = [g * float(f) for g, f in zip(parts, factors) if g is not None]
        sums.append(sum(known[1:], known[0]) if known else None)
    return sums
