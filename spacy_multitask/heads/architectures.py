"""The heads' models: a tok2vec layer and a trained layer on top of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Model, torch2xp, xp2torch
from thinc.types import Floats2d

from ..encoder.adapter import listen_without_words, pack
from ..layers.classifier import Classifier
from ..layers.shim import TorchShim
from ..registering import with_types
from .base import link_word_projection


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
def build_doc_classifier(tok2vec: Model[list[Doc], list[Floats2d]]) -> Model[list[Doc], Floats2d]:
    """Build the model of a head that labels documents.

    tok2vec (Model): As for `spacy_multitask.TokenClassifier.v1`; layers without document vectors
        give the mean of their token vectors.
    RETURNS (Model): Maps docs to logits, shape (n_docs, nO).
    """
    model = _build("doc_classifier", tok2vec, "doc_vectors")
    listen_without_words(tok2vec)
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

    def backprop(d_logits: Floats2d) -> list[Doc]:
        logits.backward(xp2torch(d_logits, device=logits.device))
        finish()
        return []

    return cast(Floats2d, torch2xp(logits.detach())), backprop
