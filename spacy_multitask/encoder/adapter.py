"""Any tok2vec layer as a source of packed batches, so that heads have one code path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from spacy.tokens import Doc
from thinc.api import Model, torch2xp

from ..layers.transfer import as_tensor, to_device
from .batch import PackedBatch
from .listener import EncoderListener, Projection
from .model import encode, is_encoder


def pack(
    tok2vec: Model, docs: list[Doc], *, is_train: bool
) -> tuple[PackedBatch, Callable[[], None]]:
    """Run a tok2vec layer.

    tok2vec (Model[List[Doc], List[Floats2d]]): Our listener, our encoder as a layer of the head's
        own, or any other layer.
    RETURNS (Tuple[PackedBatch, Callable]): The batch, and what to call once the gradients of
        `words` and `doc_vectors` are there. Where the layer has no document vectors they are the
        means of the words.
    """
    if isinstance(tok2vec, EncoderListener):
        return tok2vec.packed(docs, is_train), lambda: None
    if is_encoder(tok2vec):
        return encode(tok2vec, docs, is_train=is_train)
    lengths = np.fromiter(map(len, docs), np.int64, len(docs))
    if not lengths.any() and tok2vec.has_dim("nO"):
        # The listener of spacy-transformers fails if there is no word at all.
        vectors = [tok2vec.ops.alloc2f(0, tok2vec.get_dim("nO"))]
        backprop = _ignore
    else:
        vectors, backprop = tok2vec(docs, is_train)
    # It also gives empty docs among others arrays without width.
    arrays = [array for array in vectors if len(array)] or vectors[:1]
    words = as_tensor(tok2vec.ops.xp.concatenate(arrays)).float().contiguous()
    words.requires_grad_(is_train)
    owners = np.repeat(np.arange(len(docs)), lengths)
    doc_of_word, counts = to_device(words.device, owners, np.maximum(lengths, 1))
    sums = words.new_zeros(len(docs), words.shape[1]).index_add(0, doc_of_word, words)
    means = sums / counts[:, None]
    leaf = means.detach().requires_grad_(is_train)

    def finish() -> None:
        if leaf.grad is not None:
            means.backward(leaf.grad)
        gradient = torch.zeros_like(words) if words.grad is None else words.grad
        array = torch2xp(gradient)
        ends = np.cumsum(lengths)
        backprop([array[end - n : end] for n, end in zip(lengths, ends)])
        _let_go(tok2vec)

    return PackedBatch(docs, lengths, words, leaf), finish


def _ignore(d_vectors: list[Any]) -> list[Doc]:
    return []


def listen_without_words(
    tok2vec: Model,
    *,
    projection: Projection | None = None,
    doc_projection: Projection | None = None,
) -> None:
    """Say that a head reads no word vectors in prediction, but a projection of the words, which
    the encoder computes while it has a micro-batch in hand, or one of document vectors. For layers
    other than our listener this changes nothing."""
    if isinstance(tok2vec, EncoderListener):
        tok2vec.needs_words = False
        tok2vec.projection = projection
        tok2vec.doc_projection = doc_projection


def touch(tok2vec: Model, docs: list[Doc]) -> None:
    """Tell a shared layer that a head had no gold in this training batch.

    The listeners of spaCy and spacy-transformers each add to a gradient, and only the last one in
    the pipeline sends it on. So the head gives a gradient of zeros, lest that of the heads before
    it is lost. A layer that is the head's own has nothing to do.
    """
    if isinstance(tok2vec, EncoderListener):
        tok2vec.touch(docs)
    elif any(map(len, docs)) and any(_awaits(node, docs) for node in _stock_listeners(tok2vec)):
        vectors, backprop = tok2vec(docs, True)
        backprop([tok2vec.ops.xp.zeros_like(array) for array in vectors])
        _let_go(tok2vec)


def _stock_listeners(tok2vec: Model) -> list[Any]:
    """RETURNS (List[Model]): Layers in it that take what another component has computed. There is
    no base class to ask for."""
    return [node for node in tok2vec.walk() if hasattr(node, "receive")]


def _awaits(listener: Any, docs: list[Doc]) -> bool:
    """RETURNS (bool): Whether the shared layer learns from these docs, and not from others before
    it was frozen."""
    return listener._batch_id is not None and listener._batch_id == listener.get_batch_id(docs)


def _let_go(tok2vec: Model) -> None:
    """Forget a batch that is done: where the layer is frozen from now on, spaCy's listener would
    send the old gradient again."""
    for listener in _stock_listeners(tok2vec):
        listener.receive(None, None, None)
