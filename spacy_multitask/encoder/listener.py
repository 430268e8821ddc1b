"""The layer by which a head reads the shared encoder."""

from collections.abc import Callable
from typing import Any, Protocol, cast

import torch
from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Model, torch2xp, xp2torch
from thinc.types import Floats2d
from torch import Tensor

from ..gone import NO_LAYER, refuse_gone
from ..registering import refuse_quoted_numbers
from .batch import PackedBatch


class Projection(Protocol):
    """A map from word vectors (n_words, width) to a head's logits (n_words, n_labels)."""

    @property
    def is_ready(self) -> bool:
        """RETURNS (bool): Whether the head has weights."""

    def __call__(self, X: Tensor) -> Tensor: ...


class Source(Protocol):
    """What a listener must know of the component that it listens to."""

    name: str
    shim: Any

    def batch_for(
        self, docs: list[Doc], listener: "EncoderListener", *, is_train: bool
    ) -> PackedBatch: ...

    def touch(self, docs: list[Doc]) -> None: ...

    def initialize(self, get_examples: Callable, *, nlp: Any = None) -> None: ...

    def head_finished(self, name: str) -> None: ...


@registry.architectures("spacy_multitask.EncoderListener.v1")
@refuse_quoted_numbers
def build_listener(upstream: str = "*", layer: int | None = None) -> "EncoderListener":
    """Build the layer that connects a head to the `multitask_transformer` before it.

    upstream (str): Name of the encoder component, or "*" for any. Where several encoders come
        before the head, "*" takes the nearest.
    layer (None): Gone; configs of 0.1.0 have it.
    """
    refuse_gone("layer of spacy_multitask.EncoderListener.v1", layer, None, NO_LAYER)
    return EncoderListener(upstream)


class EncoderListener(Model):
    """Hands a head the encoder's vectors, and the encoder the head's gradient.

    Our heads take the packed batch. As a thinc layer it maps List[Doc] to List[Floats2d], one
    array (n_tokens, width) per doc, which is what spaCy's own components want.
    """

    name = "encoder_listener"

    def __init__(self, upstream: str):
        super().__init__(self.name, forward, dims={"nO": None})
        self.upstream_name = upstream
        self.encoder: Source | None = None
        # The encoder that the head was loaded or last used with. It may since have been put into a
        # pipeline with another one.
        self.home: Source | None = None
        # Heads that take less than the word vectors in prediction say so here.
        self.needs_words = True
        self.projection: Projection | None = None
        # Heads that label docs say here what they apply to document vectors.
        self.doc_projection: Projection | None = None

    def packed(self, docs: list[Doc], is_train: bool) -> PackedBatch:
        """RETURNS (PackedBatch): The encoder's output for the docs.
        RAISES (ValueError): If there is no encoder to listen to.
        """
        if self.encoder is None:
            raise ValueError(
                f"The listener for {self.upstream_name!r} has found no encoder. Put a "
                "multitask_transformer before the head in [nlp] pipeline (and, if the head names "
                "its encoder with `upstream`, use the same name)."
            )
        return self.encoder.batch_for(docs, self, is_train=is_train)

    def touch(self, docs: list[Doc]) -> None:
        """Tell the encoder that this head is done with a training batch from which it had nothing
        to learn."""
        if self.encoder is not None:
            self.encoder.touch(docs)


def forward(
    model: EncoderListener, docs: list[Doc], is_train: bool
) -> tuple[list[Floats2d], Callable]:
    if model.encoder is None and not is_train:
        # Shape inference while a pipeline is being built.
        width = model.get_dim("nO") if model.has_dim("nO") else 0
        return [model.ops.alloc2f(len(doc), width) for doc in docs], lambda d: []
    batch = model.packed(docs, is_train)

    def backprop(d_vectors: list[Floats2d]) -> list[Doc]:
        if batch.graph is not None:
            add_gradient(batch, d_vectors, model.ops)
        return []

    return split_words(batch), backprop


def split_words(batch: PackedBatch) -> list[Floats2d]:
    """RETURNS (List[Floats2d]): The word vectors of each doc, shape (n_tokens, width)."""
    array = cast(Floats2d, torch2xp(batch.word_vectors.detach().contiguous()))
    return [array[start:end] for start, end in zip(batch.starts, batch.ends)]


def add_gradient(batch: PackedBatch, d_vectors: list[Floats2d], ops: Any) -> None:
    """Collect a gradient on the word vectors, one array (n_tokens, width) per doc."""
    words = batch.word_vectors
    d_words = xp2torch(ops.xp.concatenate(d_vectors), device=words.device)
    torch.autograd.backward(words, d_words, retain_graph=True)
