"""Whether the heads of a pipeline pull their shared encoder in one direction."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from spacy.language import Language
from spacy.training import Example
from thinc.api import Model

from ..encoder.component import MultitaskTransformer, link
from ..layers.shim import TorchShim
from .batching import group_by_words
from .surgery import Gradients, gradient_products, weighted_sum


def gradient_cosines(
    nlp: Language, examples: Iterable[Example], *, max_words: int = 400
) -> dict[tuple[str, str], float]:
    """Compare the gradients that the heads would send into the encoder's parameters.

    Each head's gradient is summed over all examples, in batches as in training and with the
    encoder's dropout, but without a step: weights and random state stay as they are. Gradients that
    wait for a step are lost, so call it between steps.

    nlp (Language): A pipeline with a `multitask_transformer` and heads that have weights.
    examples (Iterable[Example]): A head that learns nothing from them is left out.
    max_words (int): Most words in a batch.
    RETURNS (Dict[Tuple[str, str], float]): Cosine of the gradients of each two heads, in the order
        of the pipeline: 1 for one direction, below 0 where they conflict.
    RAISES (ValueError): If the pipeline has no encoder that heads listen to.
    """
    encoder = _encoder_of(nlp)
    totals: dict[str, Gradients] = {}
    with torch.random.fork_rng():
        for batch in group_by_words(examples, max_words, max_docs=32, homogeneous=False):
            for name, gradients in _head_gradients(nlp, encoder, batch).items():
                before = totals.get(name)
                totals[name] = (
                    gradients if before is None else weighted_sum([before, gradients], [1, 1])
                )
    names = [name for name in nlp.pipe_names if name in totals]
    products = gradient_products([totals[name] for name in names])
    norms = np.sqrt(np.diag(products))
    return {
        (names[i], names[j]): float(products[i, j] / (norms[i] * norms[j]))
        for i, j in itertools.combinations(range(len(names)), 2)
        if norms[i] and norms[j]
    }


def _encoder_of(nlp: Language) -> MultitaskTransformer:
    link(nlp)
    for _, pipe in nlp.pipeline:
        if isinstance(pipe, MultitaskTransformer) and pipe.listeners:
            return pipe
    raise ValueError(
        "Gradients can only be compared in a pipeline with a multitask_transformer that heads "
        f"listen to. This one has: {', '.join(nlp.pipe_names) or 'nothing'}."
    )


def _head_gradients(
    nlp: Language, encoder: MultitaskTransformer, examples: list[Example]
) -> dict[str, Gradients]:
    with encoder.gradients_apart() as found:
        encoder.update(examples)
        heads: list[Any] = [
            nlp.get_pipe(n) for n in nlp.pipe_names if n in encoder.listening_components
        ]
        for head in heads:
            head.update(examples)
    for head in heads:
        _drop_gradients(head.model)
    return found


def _drop_gradients(model: Model) -> None:
    for node in model.walk():
        for shim in node.shims:
            if isinstance(shim, TorchShim) and shim.has_module:
                shim.module.zero_grad(set_to_none=True)
        for name in node.grad_names:
            node.set_grad(name, node.get_grad(name) * 0)
