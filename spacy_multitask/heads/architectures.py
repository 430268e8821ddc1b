"""The heads' models: a tok2vec layer and a trained layer on top of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Model, torch2xp, xp2torch
from thinc.types import Floats2d
from torch import Tensor

from ..encoder.adapter import listen_without_words, pack
from ..layers.classifier import Classifier
from ..layers.shim import TorchShim
from ..registering import with_types
from .base import link_word_projection

# In names of thinc's layers that turn logits into probabilities.
PROBABILITIES = ("softmax", "logistic", "sigmoid", "clipped_linear")


@registry.architectures("spacy_multitask.TokenClassifier.v1")
@with_types
def build_token_classifier(tok2vec: Model[list[Doc], list[Floats2d]]) -> Model[list[Doc], Floats2d]:
    """Build the model of a head that labels tokens.

    tok2vec (Model): Our listener, `spacy-transformers.TransformerListener.v1`, or any other layer
        that gives token vectors.
    RETURNS (Model): Maps docs to logits, shape (n_words, nO), all words end to end.
    """
    model = _build("token_classifier", tok2vec, "words")
    link_word_projection(model)
    return model


@registry.architectures("spacy_multitask.DocClassifier.v1")
@with_types
def build_doc_classifier(
    tok2vec: Model[list[Doc], list[Floats2d]],
    linear_model: Model[list[Doc], Floats2d] | None = None,
    linear_weight: float = 2.0,
) -> Model[list[Doc], Floats2d]:
    """Build the model of a head that labels documents.

    tok2vec (Model): As for `spacy_multitask.TokenClassifier.v1`; layers without document vectors
        give the mean of their token vectors.
    linear_model (Optional[Model]): What labels documents by their words alone, such as
        `spacy.TextCatBOW.v3` with `no_output_layer = true`. It learns from a loss of its own, and
        its logits are added to those of the layer on the document vectors.
    linear_weight (float): Factor on its logits. A layer on a fine-tuned encoder is far surer of
        itself, so that those of equal weight would seldom change what it says.
    RETURNS (Model): Maps docs to logits, shape (n_docs, nO).
    RAISES (ValueError): If the linear model gives probabilities, or its weight is not positive.
    """
    model = _build("doc_classifier", tok2vec, "doc_vectors")
    listen_without_words(tok2vec)
    if linear_model is not None:
        last = linear_model
        while last.layers:
            last = last.layers[-1]
        if any(name in last.name for name in PROBABILITIES):
            raise ValueError(
                "linear_model gives probabilities, but its logits are wanted. Set "
                "no_output_layer = true in its section."
            )
        if linear_weight <= 0:
            raise ValueError(f"linear_weight = {linear_weight} must be greater than 0.")
        model.layers.append(linear_model)
        model.set_ref("linear_model", linear_model)
        model.attrs["linear_weight"] = linear_weight
    return model


def _build(name: str, tok2vec: Model, source: str) -> Model:
    return Model(
        name,
        forward,
        dims={"nO": None},
        layers=[tok2vec],
        refs={"tok2vec": tok2vec},
        attrs={"source": source},
        shims=[TorchShim(build=Classifier.from_state)],
    )


def forward(model: Model, docs: list[Doc], is_train: bool) -> tuple[Floats2d, Callable]:
    """As a thinc layer. The heads go past this one, to leave out the words without gold."""
    module = cast(Classifier, cast(TorchShim, model.shims[0]).module)
    batch, finish = pack(model.get_ref("tok2vec"), docs, is_train=is_train)
    with torch.set_grad_enabled(is_train):
        vectors: Any = getattr(batch, model.attrs["source"])
        if vectors is None:
            logits = batch.project(id(model.get_ref("tok2vec")), module.project)
        else:
            logits = module.train()(vectors) if is_train else module.project(vectors)
    outputs, backprop_linear = add_linear_logits(model, docs, logits.detach(), is_train=is_train)

    def backprop(d_logits: Floats2d) -> list[Doc]:
        logits.backward(xp2torch(d_logits, device=logits.device))
        finish()
        backprop_linear(d_logits)
        return []

    return cast(Floats2d, torch2xp(outputs)), backprop


def add_linear_logits(
    model: Model, docs: list[Doc], logits: Tensor, *, is_train: bool
) -> tuple[Tensor, Callable[[Floats2d], None]]:
    """Add what a DocClassifier's linear model says, if it has one.

    logits (Tensor): Of the layer on the document vectors, shape (n_docs, nO).
    RETURNS (Tuple[Tensor, Callable]): The sum, and what takes its gradient.
    """
    linear_model = model.maybe_get_ref("linear_model")
    # Some layers of thinc fail on docs without words.
    rows = [] if linear_model is None else [row for row, doc in enumerate(docs) if len(doc)]
    if linear_model is None or not rows:
        return logits, lambda d_logits: None
    weight = model.attrs["linear_weight"]
    linear, backprop = linear_model([docs[row] for row in rows], is_train)
    index = torch.tensor(rows, device=logits.device)
    added = weight * xp2torch(linear, device=logits.device)
    return logits.index_add(0, index, added), lambda d_logits: backprop(weight * d_logits[rows])
