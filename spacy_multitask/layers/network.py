"""The shared transformer as a torch module: piece ids in, one vector per piece out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from .attention import FittingFill, KnownPadding, TrainingAttention, both_ways
from .dropout import replace_dropout
from .peft_adapter import merge
from .transfer import is_streaming

PRECISIONS = ("float32", "bfloat16", "int8")


def _place_of(layer: int, n_layers: int) -> int:
    """
    layer (int): 0 are the embeddings, -1 is the last.
    RETURNS (int): Index of the layer, counted from the embeddings on.
    RAISES (ValueError): If there is no such layer.
    """
    place = layer if layer >= 0 else n_layers + 1 + layer
    if not 0 <= place <= n_layers:
        raise ValueError(
            f"Can't read layer {layer}: this encoder has layers 0 (embeddings) to {n_layers}."
        )
    return place


@cache
def sees_hidden_states_in_threads() -> bool:
    """RETURNS (bool): Whether several threads may ask a model for its hidden states at once. Some
    versions of transformers put other functions into the layers in the meantime."""
    from transformers.utils import generic

    return not hasattr(generic, "check_model_inputs") or bool(
        find_spec("transformers.utils.output_capturing")
    )


def encoder_of(model: Any) -> Any:
    """RETURNS (PreTrainedModel): The encoder of a model that has a decoder to write text, too; or
    the model."""
    # Funnel's decoder only brings vectors back to the length of the text.
    has_decoder = hasattr(model, "decoder") and model.config.model_type != "funnel"
    return model.get_encoder() if has_decoder else model


def _is_made_causal(config: Any) -> bool:
    """RETURNS (bool): Whether a model that is to look both ways looks only back in this version of
    transformers. EmbeddingGemma does so before 4.57."""
    if config.model_type != "gemma3_text":
        return False
    option = "use_bidirectional_attention"
    return bool(getattr(config, option, False)) and not hasattr(type(config)(), option)


class TransformerNetwork(nn.Module):
    """A pretrained transformer with an optional embedding of word shapes at its input.

    The shape embedding starts at zero, so an untrained network gives just what the pretrained one
    gives. It is added to the pieces' input embeddings, so that every layer and every head sees it.
    """

    is_encoder = True  # the optimizer gives this module the encoder's learning rate

    def __init__(self, transformer: Any, *, n_shapes: int = 0, layers: list[int] | None = None):
        """
        transformer (PreTrainedModel): A Hugging Face model. Of one that has an encoder and a
            decoder, the encoder is taken.
        n_shapes (int): Size of the word shape embedding; 0 leaves it out.
        layers (Optional[List[int]]): Hidden layers to mix with learned weights, 0 being the
            embeddings; None takes the last.
        RAISES (ValueError): If a layer does not exist, or word shapes have nothing to be added to.
        """
        super().__init__()
        self.config: Any = transformer.config
        transformer = encoder_of(transformer)
        # The pooler belongs to the pretraining task; heads have their own. Some models call it
        # without asking if it is there.
        if getattr(transformer, "pooler", None) is not None:
            transformer.pooler = nn.Identity()
        if self.config.model_type == "big_bird":
            # Its sparse attention is drawn at random, and gone for good after one short text.
            transformer.set_attention_type("original_full")
        if getattr(transformer.config, "use_cache", False):
            transformer.config.use_cache = False  # that is for writing text
        replace_dropout(transformer)
        self.transformer: Any = transformer
        # Names of parameters that an adapter has brought.
        self.adapter_names: frozenset[str] = frozenset()
        # CANINE puts so many characters together, and has no vector for fewer.
        self.n_least: int = getattr(transformer.config, "downsampling_rate", 0)
        self.needs_masks = _is_made_causal(transformer.config)
        self.width: int = transformer.config.hidden_size
        self.n_layers: int = transformer.config.num_hidden_layers
        self.mixed = layers is not None
        self.mix = [_place_of(layer, self.n_layers) for layer in layers or ()]
        if layers is not None:
            if not layers:
                raise ValueError("layers is an empty list; null takes the last layer.")
            self.layer_weights = nn.Parameter(torch.zeros(len(layers)))
        self.shape_embedding: nn.Embedding | None = None
        if n_shapes:
            embedding = self.input_embeddings
            if embedding is None:
                raise ValueError(
                    "word_shapes = true: this encoder has no input embeddings to add them to. Set "
                    "it to false."
                )
            embedding_width = embedding.embedding_dim
            self.shape_embedding = nn.Embedding(n_shapes, embedding_width)
            nn.init.zeros_(self.shape_embedding.weight)

    @property
    def input_embeddings(self) -> Any:
        """RETURNS (Optional[Module]): What gives piece ids vectors; CANINE has no such part."""
        try:
            return self.transformer.get_input_embeddings()
        except NotImplementedError:
            # Some versions do not find those of mBART's encoder.
            return getattr(self.transformer, "embed_tokens", None)

    def forward(self, ids: Tensor, shapes: Tensor, mask: Tensor | None) -> Tensor:
        """Encode windows of pieces.

        ids (Tensor): Piece ids, shape (n_windows, n_pieces).
        shapes (Tensor): Word shape id of each piece, shape (n_windows, n_pieces).
        mask (Optional[Tensor]): 1 for pieces, 0 for padding, shape (n_windows, n_pieces);
            None where nothing is padded.
        RETURNS (Tensor): Piece vectors, shape (n_windows, n_pieces, width).
        """
        with ExitStack() as modes:
            if self.takes_steps(ids.device):
                modes.enter_context(TrainingAttention())
            if is_streaming(ids.device) and self._compiled_call_impl is None:
                modes.enter_context(KnownPadding(ids.shape, is_padded=mask is not None))
            if self.config.model_type == "deberta" and torch.is_autocast_enabled(ids.device.type):
                modes.enter_context(FittingFill())
            n_pieces = ids.shape[1]
            if n_pieces >= self.n_least:
                return self._encode(ids, shapes, mask)
            sides = (0, self.n_least - n_pieces)
            mask = nn.functional.pad(torch.ones_like(ids) if mask is None else mask, sides)
            ids, shapes = nn.functional.pad(ids, sides), nn.functional.pad(shapes, sides)
            return self._encode(ids, shapes, mask)[:, :n_pieces]

    def _encode(self, ids: Tensor, shapes: Tensor, mask: Tensor | None) -> Tensor:
        arguments: dict[str, Any] = {}
        if self.needs_masks:
            window = self.transformer.config.sliding_window
            arguments["attention_mask"] = both_ways(ids, mask, window // 2 + 1)
        elif mask is not None:  # FNet takes none
            arguments["attention_mask"] = mask
        if self.shape_embedding is None:
            arguments["input_ids"] = ids
        else:
            embeddings = self.input_embeddings(ids) + self.shape_embedding(shapes)
            arguments["inputs_embeds"] = embeddings
        if not self.mixed:
            return self.transformer(**arguments).last_hidden_state
        output = self.transformer(**arguments, output_hidden_states=True)
        main = output.last_hidden_state
        # Some versions of some models leave the last norm out of the last of these.
        hidden = (*output.hidden_states[:-1], main)
        if len(hidden) != self.n_layers + 1 or any(h.shape != main.shape for h in hidden):
            raise ValueError(
                "This encoder does not give a vector per piece for each of its layers. Set "
                "layers = null of the encoder."
            )
        weights = torch.softmax(self.layer_weights, dim=0)
        mixed: Any = sum(w * hidden[i] for w, i in zip(weights, self.mix))
        return mixed

    def takes_steps(self, device: torch.device) -> bool:
        """RETURNS (bool): Whether attention is computed step by step. Where activations are
        computed twice, the second time must do as the first, and is not under our control."""
        return (
            self.training
            and device.type == "cpu"
            and self._compiled_call_impl is None
            and not getattr(self.transformer, "is_gradient_checkpointing", False)
        )

    def prepare_for_training(self, device: torch.device) -> None:
        """Choose what trains fastest on a device, before a batch is encoded."""
        embedding = self.input_embeddings
        if isinstance(embedding, nn.Embedding):
            # A dense gradient is as large as the vocabulary. On a GPU that is read in no time, and
            # compiled code has no sparse ones.
            embedding.sparse = device.type == "cpu" and self._compiled_call_impl is None

    @contextmanager
    def adding_adapter(self) -> Iterator[None]:
        """Take note of what comes into the transformer in the meantime, but for its own weights,
        which may get other names."""
        own = {id(parameter) for parameter in self.parameters()}
        yield
        found = self.named_parameters()
        self.adapter_names = frozenset(name for name, p in found if id(p) not in own)

    def merge_adapter(self) -> None:
        """Let the transformer's own weights take over what its adapter has learned."""
        merge(self.transformer)
        self.adapter_names = frozenset()

    def is_new(self, name: str) -> bool:
        """RETURNS (bool): Whether a parameter is not pretrained."""
        return not name.startswith("transformer.") or name in self.adapter_names

    def layer_of(self, name: str) -> int | None:
        """RETURNS (Optional[int]): The layer of the transformer that a parameter is in, counted
        from 0; -1 for the embeddings, None for what is no layer's alone."""
        if match := re.search(r"\.(?:layers?|block|h)\.(\d+)\.", name):
            return int(match.group(1))
        # Norms at the end are not embeddings, nor is what layers share.
        return -1 if re.match(r"transformer\.(?:\w*embed|shared|wte|wpe)", name) else None

    def depth_from_top(self, name: str) -> int | None:
        """RETURNS (Optional[int]): Layers between a parameter and the top, for layer-wise decay;
        None if it is in front of the transformer, or behind it."""
        if not name.startswith("transformer."):
            return None
        layer = self.layer_of(name)
        return 0 if layer is None else self.n_layers - 1 - layer
