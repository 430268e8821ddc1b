"""The heads' models: a tok2vec layer and a trained layer on top of it."""

from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import registry
from spacy.vocab import Vocab
from thinc.api import Model, torch2xp, xp2torch
from thinc.types import Floats2d
from torch import Tensor

from ..encoder.adapter import listen_without_words, pack
from ..encoder.listener import EncoderListener
from ..layers.band import SpanBand
from ..layers.classifier import Classifier
from ..layers.pairs import PairClassifier
from ..layers.pooled import SpanClassifier
from ..layers.shim import TorchShim
from ..registering import refuse_quoted_numbers

# Names of our heads' models, and of what makes them.
ARCHITECTURES = {
    "token_classifier": "TokenClassifier",
    "doc_classifier": "DocClassifier",
    "relation_classifier": "RelationClassifier",
    "span_finder": "SpanFinder",
    "span_classifier": "SpanClassifier",
}
# In names of thinc's layers that turn logits into probabilities.
PROBABILITIES = ("softmax", "logistic", "sigmoid", "clipped_linear")


def default_model(architecture: str) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): Config of a head's model that listens to the shared encoder.

    architecture (str): Such as "TokenClassifier".
    """
    return {
        "@architectures": f"spacy_multitask.{architecture}.v1",
        "tok2vec": {"@architectures": "spacy_multitask.EncoderListener.v1"},
    }


@registry.architectures("spacy_multitask.TokenClassifier.v1")
@refuse_quoted_numbers
def build_token_classifier(tok2vec: Model[list[Doc], list[Floats2d]]) -> Model[list[Doc], Floats2d]:
    """Build the model of a head that labels tokens.

    tok2vec (Model): Our listener, `spacy-transformers.TransformerListener.v1`, or any other layer
        that gives token vectors.
    RETURNS (Model): Maps docs to logits, shape (n_words, nO), all words end to end.
    """
    model = _build("token_classifier", tok2vec, "words")
    _link_word_projection(model)
    return model


@registry.architectures("spacy_multitask.DocClassifier.v1")
@refuse_quoted_numbers
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
    listen_without_words(tok2vec, doc_projection=_Projection(cast(TorchShim, model.shims[0])))
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


@registry.architectures("spacy_multitask.RelationClassifier.v1")
@refuse_quoted_numbers
def build_relation_classifier(tok2vec: Model) -> Model:
    """Build the model of a head that labels pairs of spans.

    tok2vec (Model): As for `spacy_multitask.TokenClassifier.v1`.
    RETURNS (Model): Only the head itself can run it, which knows the pairs.
    """
    return _build_own("relation_classifier", tok2vec, PairClassifier.from_state)


@registry.architectures("spacy_multitask.SpanFinder.v1")
@refuse_quoted_numbers
def build_span_finder(tok2vec: Model) -> Model:
    """Build the model of a head that finds spans which may overlap.

    tok2vec (Model): As for `spacy_multitask.TokenClassifier.v1`.
    RETURNS (Model): Only the head itself can run it, which knows the threshold.
    """
    model = _build_own("span_finder", tok2vec, SpanBand.from_state)
    _link_word_projection(model)
    return model


@registry.architectures("spacy_multitask.SpanClassifier.v1")
@refuse_quoted_numbers
def build_span_classifier(tok2vec: Model) -> Model:
    """Build the model of a head that labels spans which are there already.

    tok2vec (Model): As for `spacy_multitask.TokenClassifier.v1`.
    RETURNS (Model): Only the head itself can run it, which knows the spans.
    """
    return _build_own("span_classifier", tok2vec, SpanClassifier.from_state)


def _build_own(name: str, tok2vec: Model, build: Callable) -> Model:
    """RETURNS (Model): One that holds a module for the head to run."""
    return Model(
        name,
        _refuse,
        dims={"nO": None},
        layers=[tok2vec],
        refs={"tok2vec": tok2vec},
        shims=[TorchShim(build=build)],
    )


def _refuse(model: Model, docs: list[Doc], is_train: bool) -> Any:
    raise NotImplementedError("Only the head can run this layer; call the component instead.")


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


def give(backprop: Callable, gradient: Tensor) -> None:
    """Hand a gradient to a thinc layer."""
    backprop(torch2xp(gradient.contiguous()))


def copy_of(model: Model) -> Model:
    """RETURNS (Model): A copy whose layers stay on the device they are for, and know each other by
    the same names. thinc's own forgets both."""
    copied = model.copy()
    pairs = list(zip(model.walk(), copied.walk(), strict=True))
    places = {node.id: copy for node, copy in pairs}
    for node, copy in pairs:
        copy.ops = node.ops
        for name in node.ref_names:
            ref = node.maybe_get_ref(name)
            copy.set_ref(name, None if ref is None else places[ref.id])
    return copied


def initialized(blank: Model | None, n_labels: int, name: str) -> Model:
    """RETURNS (Model): Another linear model, as layers of thinc keep their size.
    RAISES (ValueError): If it is for another number of labels."""
    assert blank is not None, "there was one from the start"
    new = copy_of(blank)
    sample = [Doc(Vocab(), words=["word"])]
    new.initialize(X=sample, Y=new.ops.alloc2f(1, n_labels))
    n_out = new.predict(sample).shape[1]
    if n_out != n_labels:
        raise ValueError(
            f"The linear_model of {name!r} is for {n_out} labels, but there are {n_labels}. Set nO "
            "= null in its section."
        )
    return new


def take_outputs(old: Model, new: Model, *, like_others: bool) -> bool:
    """Bring the weights of a linear model into one that has an output more.

    like_others (bool): Whether the new output is to give the mean of the others; else 0.
    RETURNS (bool): Whether that was done: it is known where the layers keep each output.
    """
    pairs = [
        (a, b, name)
        for a, b in zip(old.walk(), new.walk(), strict=True)
        for name in a.param_names
        if a.has_param(name)
    ]
    if not all(_keeps_rows(a) for a, _, _ in pairs):
        return False
    for a, b, name in pairs:
        rows = a.get_param(name).reshape(a.get_dim("nO"), -1)
        more = rows.mean(axis=0) if like_others else 0 * rows[0]
        weights = a.ops.xp.concatenate([rows.ravel(), more.ravel()])
        b.set_param(name, weights.reshape(b.get_param(name).shape))
    return True


def _keeps_rows(layer: Model) -> bool:
    """RETURNS (bool): Whether a layer's parameters have the numbers of one output together."""
    is_sparse = layer.name == "sparse_linear" and not layer.attrs.get("v1_indexing", True)
    return is_sparse or layer.name == "linear"


def check_model(model: Model, name: str, wanted: str) -> None:
    """RAISES (ValueError): If the model is not what a head needs."""
    is_ours = model.shims and isinstance(model.shims[0], TorchShim) and model.has_ref("tok2vec")
    is_of_another = model.name in ARCHITECTURES and model.name != wanted
    if is_of_another or not is_ours:
        architecture = f"spacy_multitask.{ARCHITECTURES[wanted]}.v1"
        raise ValueError(
            f"The model of {name!r} is a {model.name!r}, which it can't use. Set "
            f'[components.{name}.model] @architectures = "{architecture}".'
        )


def init_tok2vec(
    tok2vec: Model, get_examples: Callable[[], Iterable[Example]], nlp: Language | None, name: str
) -> int:
    """Get a head's vectors ready, before it makes its own layer.

    name (str): The head's, for messages.
    RETURNS (int): Width of the token vectors.
    RAISES (ValueError): If there is no encoder, or it has no weights yet.
    """
    if isinstance(tok2vec, EncoderListener):
        tok2vec.home = None  # it begins anew, on whatever encoder
        encoder = tok2vec.encoder
        if encoder is None:
            tok2vec.packed([], False)  # says what is missing
            raise AssertionError
        if not tok2vec.has_dim("nO") and nlp is not None and encoder.name in nlp.disabled:
            # It is frozen, so spaCy does not initialise it: heads learn on it as it is.
            encoder.initialize(get_examples, nlp=nlp)
        if not tok2vec.has_dim("nO"):
            raise ValueError(
                f"The encoder {tok2vec.upstream_name!r} that {name!r} listens to has no "
                "weights yet; it must come before the head in [nlp] pipeline."
            )
        return tok2vec.get_dim("nO")
    sample = []
    for example in get_examples():
        if len(example.x):
            sample.append(example.x)
        if len(sample) == 10:
            break
    tok2vec.initialize(X=sample)
    if tok2vec.has_dim("nO"):
        return tok2vec.get_dim("nO")
    return tok2vec.predict(sample)[0].shape[1]


def _link_word_projection(model: Model) -> None:
    """Let the encoder compute a token head's logits while it has a micro-batch in hand."""
    shim = cast(TorchShim, model.shims[0])
    listen_without_words(model.get_ref("tok2vec"), projection=_Projection(shim))


class _Projection:
    """Looks the module up at each call: it is replaced when a pipeline is loaded."""

    def __init__(self, shim: TorchShim):
        self.shim = shim

    @property
    def is_ready(self) -> bool:
        return self.shim.has_module

    def __call__(self, X: Tensor) -> Tensor:
        return cast(Classifier, self.shim.module).project(X)
