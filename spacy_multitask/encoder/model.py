"""The encoder as a thinc model."""

from collections.abc import Callable
from typing import Any, cast

from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Model
from thinc.types import Floats2d

from ..registering import refuse_quoted_numbers
from .adapting import parse_adapter
from .batch import PackedBatch
from .encode import DEFAULT_WINDOW, EncoderOptions
from .freezing import parse_freeze
from .gradients import backprop
from .listener import add_gradient, split_words
from .pooling import DOC_POOLINGS, POOLINGS
from .shim import EncoderShim
from .wiring import wiring_of


@registry.architectures("spacy_multitask.Encoder.v1")
@refuse_quoted_numbers
def build_encoder(
    name: str,
    pooling: str = "first",
    doc_pooling: str = "mean",
    layers: list[int] | None = None,
    window: int | None = None,
    overlap: int = 64,
    word_shapes: bool | None = None,
    dropout: float | None = None,
    gradient_checkpointing: bool = False,
    compile: bool = False,
    spaces: bool = True,
    adapter: dict[str, Any] | None = None,
    freeze: str | None = None,
) -> Model[list[Doc], list[Floats2d]]:
    """Build a pretrained transformer encoder. Its weights are loaded by `nlp.initialize()`.

    name (str): Folder or hub name of the pretrained encoder. It may be an adapter, whose base is
        known: the two are merged; or the encoder of a trained pipeline, PIPELINE/transformer/model.
    pooling (str): Which of a word's pieces give its vector: "first", "last" or "mean".
    doc_pooling (str): "mean" of a document's pieces, or "cls", the vector of the special one that
        the tokenizer puts there for it.
    layers (Optional[List[int]]): Layers to mix with learned weights; None takes the last.
    window (Optional[int]): Most pieces encoded at once, at most what the encoder was made for;
        None: 512, or what it was made for if that is less.
    overlap (int): Pieces that neighbouring windows of a long document share, about.
    word_shapes (Optional[bool]): Whether to add an embedding of each word's shape to its pieces'
        input embeddings; None does so for uncased tokenizers.
    dropout (Optional[float]): Dropout inside the encoder in training; None keeps its own.
    gradient_checkpointing (bool): Save memory in training by computing activations twice.
    compile (bool): Whether to translate the encoder with `torch.compile` when it is first used,
        which takes a minute or so, and on a CPU a C++ compiler. Quantized pipelines ignore it.
    spaces (bool): Whether it matters to a word's pieces if a space stands before it, as in running
        text; False: each gets those that it has after a space. Saved with the weights.
    adapter (Optional[Dict[str, Any]]): If given, the pretrained weights stay as they are, and an
        adapter in the transformer learns in their place. Options are method ("lora", "dora",
        "loha", "lokr" or "ia3"), rank (8), alpha (twice the rank), targets (names of the layers
        that get one; by default those that peft takes for this kind of model, else all linear
        ones), path (a trained adapter to go on with) and merge (whether it is saved as a part of
        the weights, so that loading needs no peft).
    freeze (Optional[str]): What does not learn, such as "embeddings,0-5": embeddings and layers,
        counted from 0.
    RETURNS (Model): Maps docs to their token vectors, each (n_tokens, width).
    RAISES (ValueError): If an option has no such value.
    """
    for option, value, values in (
        ("pooling", pooling, POOLINGS),
        ("doc_pooling", doc_pooling, DOC_POOLINGS),
    ):
        if value not in values:
            raise ValueError(f"{option} = {value!r} is not one of {', '.join(values)}.")
    if dropout is not None and not 0 <= dropout < 1:
        raise ValueError(f"dropout = {dropout} must be at least 0 and less than 1.")
    most = window or DEFAULT_WINDOW
    if not 0 <= overlap < most:
        raise ValueError(f"overlap = {overlap} must be at least 0 and less than window = {most}.")
    options = EncoderOptions(
        pooling=pooling,
        doc_pooling=doc_pooling,
        layers=layers,
        window=window,
        overlap=overlap,
        word_shapes=word_shapes,
        dropout=dropout,
        gradient_checkpointing=gradient_checkpointing,
        compile=compile,
        spaces=spaces,
        adapter=parse_adapter(adapter),
        freeze=parse_freeze(freeze),
    )
    return Model(
        "multitask_encoder",
        forward,
        init=init,
        dims={"nO": None},
        shims=[EncoderShim(name, options)],
        attrs={
            # How to run it as a layer of its own. A component has options of that name for itself.
            "precision": "float32",
            "max_batch_pieces": None,
            "replace_listener": replace_listener,  # spaCy looks for it under this name
        },
    )


def replace_listener(copy: Model, listener: Model, owner: Any) -> Model:
    """Let the copy that takes a listener's place run as the component that owns the encoder does.
    spaCy's config of the head has no room for these options; they are saved with the weights."""
    if wiring_of(owner) is not None:  # and not spaCy's tok2vec with our encoder in it
        copy.attrs.update(precision=owner.precision, max_batch_pieces=owner.max_batch_pieces)
    return copy


def init(model: Model, X: list[Doc] | None = None, Y: None = None) -> None:
    shim = cast(EncoderShim, model.shims[0])
    if not shim.has_module:
        shim.load_pretrained()
    model.set_dim("nO", shim.encoder.width, force=True)


def is_encoder(model: Model) -> bool:
    """RETURNS (bool): Whether it is an encoder, and so has document vectors to give."""
    return any(isinstance(shim, EncoderShim) for shim in model.shims)


def encode(
    model: Model, docs: list[Doc], *, is_train: bool
) -> tuple[PackedBatch, Callable[[], None]]:
    """Encode docs as a layer of its own, as in a head whose listener was replaced by a copy.

    RETURNS (Tuple[PackedBatch, Callable]): The batch, and what to call once the gradients of
        `words` and `doc_vectors` are there.
    """
    encoder = cast(EncoderShim, model.shims[0]).encoder
    batch = encoder.encode(
        docs,
        is_train=is_train,
        precision=model.attrs["precision"],
        budget=model.attrs["max_batch_pieces"],
    )

    def finish() -> None:
        with encoder.learning():
            backprop(batch)

    return batch, finish


def forward(
    model: Model, docs: list[Doc], is_train: bool
) -> tuple[list[Floats2d], Callable[[list[Floats2d]], list[Doc]]]:
    """As a thinc layer, for spaCy's heads; ours take the packed batch."""
    batch, finish = encode(model, docs, is_train=is_train)

    def backprop(d_vectors: list[Floats2d]) -> list[Doc]:
        add_gradient(batch, d_vectors, model.ops)
        finish()
        return []

    return split_words(batch), backprop
