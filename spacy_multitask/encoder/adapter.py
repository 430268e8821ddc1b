"""Any tok2vec layer as a source of packed batches, so that heads have one code path."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from spacy.tokens import Doc
from thinc.api import Model, torch2xp, xp2torch

from .batch import PackedBatch, Projection
from .listener import EncoderListener


def pack(
    tok2vec: Model, docs: list[Doc], *, is_train: bool
) -> tuple[PackedBatch, Callable[[], None]]:
    """Run a tok2vec layer.

    tok2vec (Model[List[Doc], List[Floats2d]]): Our listener or any other layer.
    RETURNS (Tuple[PackedBatch, Callable]): The batch, and what to call once the gradients of
        `words` and `doc_vectors` are there. Where the layer has no document vectors they are the
        means of the words.
    """
    if isinstance(tok2vec, EncoderListener):
        return tok2vec.packed(docs, is_train), lambda: None
    vectors, backprop = tok2vec(docs, is_train)
    lengths = np.fromiter(map(len, docs), np.int64, len(docs))
    words = xp2torch(tok2vec.ops.xp.concatenate(vectors)).float().contiguous()
    words.requires_grad_(is_train)
    doc_of_word = torch.from_numpy(np.repeat(np.arange(len(docs)), lengths)).to(words.device)
    counts = torch.from_numpy(np.maximum(lengths, 1)).to(words.device)[:, None]
    sums = words.new_zeros(len(docs), words.shape[1]).index_add(0, doc_of_word, words)
    means = sums / counts
    leaf = means.detach().requires_grad_(is_train)

    def finish() -> None:
        if leaf.grad is not None:
            means.backward(leaf.grad)
        gradient = torch.zeros_like(words) if words.grad is None else words.grad
        array = torch2xp(gradient)
        ends = np.cumsum(lengths)
        backprop([array[end - n : end] for n, end in zip(lengths, ends)])

    return PackedBatch(docs, lengths, words, leaf), finish


def listen_without_words(tok2vec: Model, projection: Projection | None = None) -> None:
    """Say that a head reads no word vectors in prediction, only document vectors or, if given,
    this projection of the words, which the encoder computes while it has a micro-batch in hand.
    For layers other than our listener this changes nothing."""
    if isinstance(tok2vec, EncoderListener):
        tok2vec.needs_words = False
        tok2vec.projection = projection


def touch(tok2vec: Model, docs: list[Doc]) -> None:
    """Tell an encoder that a head had no gold in this training batch."""
    if isinstance(tok2vec, EncoderListener):
        tok2vec.touch(docs)
