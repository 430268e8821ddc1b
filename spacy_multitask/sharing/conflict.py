"""Whether the heads of a pipeline pull their shared encoder in one direction."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import torch
from spacy.language import Language
from spacy.training import Example
from thinc.api import Model
from torch import Tensor

from ..encoder.component import MultitaskTransformer
from ..encoder.wiring import link
from ..layers.shim import TorchShim
from ..training.batching import group_by_words


def gradient_cosines(
    nlp: Language, examples: Iterable[Example], *, max_words: int = 400
) -> dict[tuple[str, str], float]:
    """Compare the gradients that the heads would send into the encoder's parameters.

    Each head's gradient is that of updates in which it is the only head, summed over all examples,
    in batches as in training and with the same dropout, but without a step: weights and random
    state stay as they are. Gradients that wait for a step are lost, so call it between steps.

    nlp (Language): A pipeline with a `multitask_transformer` and heads that have weights.
    examples (Iterable[Example]): A head that learns nothing from them is left out.
    max_words (int): Most words in a batch.
    RETURNS (Dict[Tuple[str, str], float]): Cosine of the gradients of each two heads, in the order
        of the pipeline: 1 for one direction, below 0 where they conflict.
    RAISES (ValueError): If the pipeline has no encoder that heads listen to.
    """
    encoder = _encoder_of(nlp)
    batches = list(group_by_words(examples, max_words, max_docs=32))
    _drop_gradients(encoder.model)
    gradients = {
        name: _gradient_of(nlp, encoder, name, batches)
        for name in nlp.pipe_names
        if name in encoder.listening_components
    }
    return {
        (a, b): float(torch.nn.functional.cosine_similarity(gradients[a], gradients[b], dim=0))
        for a, b in itertools.combinations(gradients, 2)
        if gradients[a].any() and gradients[b].any()
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


def _gradient_of(
    nlp: Language, encoder: MultitaskTransformer, name: str, batches: list[list[Example]]
) -> Tensor:
    """RETURNS (Tensor): A head's gradient on all parameters of the encoder, float64, flat."""
    head: Any = nlp.get_pipe(name)
    # Each head with the same random state, hence the same units dropped out.
    with torch.random.fork_rng():
        for batch in batches:
            encoder.update(batch)
            head.update(batch)
    encoder.settle()
    flat = [
        (torch.zeros_like(p) if p.grad is None else p.grad.to_dense()).detach().double().flatten()
        for p in encoder.shim.module.parameters()
    ]
    for trained in (encoder.model, head.model):
        _drop_gradients(trained)
    return torch.cat(flat)


def _drop_gradients(model: Model) -> None:
    for node in model.walk():
        for shim in node.shims:
            if isinstance(shim, TorchShim) and shim.has_module:
                shim.module.zero_grad(set_to_none=True)
        for name in node.grad_names:
            node.set_grad(name, node.get_grad(name) * 0)
