"""The encoder: docs to pieces, to windows, to the network, to one packed batch of vectors."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from spacy.tokens import Doc
from thinc.api import get_torch_default_device
from torch import Tensor

from ..layers.network import TransformerNetwork, sees_hidden_states_in_threads
from ..layers.onnx import Inputs, OnnxNetwork
from ..layers.precision import computes_bfloat16, half_type
from ..layers.transfer import to_device
from .adapting import AdapterOptions
from .batch import PackedBatch
from .budget import Budget, retried
from .forks import use_one_thread_if_forked
from .freezing import Frozen
from .gate import Gate
from .heap import MANY_WORDS, give_back_memory
from .pieces import PieceCache, Pieces, attributes_of
from .pooling import Pooling
from .shapes import NO_WORD
from .tokenizer import special_pieces
from .traits import Traits, cls_column
from .windows import Windows, cut_windows, micro_batches

DEFAULT_WINDOW = 512
# Micro-batches of ONNX Runtime that torch pools at a time: after each time its idle threads keep
# cores busy for a while, which ONNX Runtime could use.
TURN = 64

Network = TransformerNetwork | OnnxNetwork


@dataclass(frozen=True)
class EncoderOptions:
    """Options of an encoder's model; `spacy_multitask.Encoder.v1` says what they mean."""

    pooling: str
    doc_pooling: str
    layers: list[int] | None
    window: int | None
    overlap: int
    word_shapes: bool | None
    dropout: float | None
    gradient_checkpointing: bool
    compile: bool
    spaces: bool
    adapter: AdapterOptions | None
    freeze: Frozen


class Encoder:
    """A network with its tokenizer.

    network (TransformerNetwork | OnnxNetwork): What gives the pieces their vectors.
    tokenizer (PreTrainedTokenizerBase): Its tokenizer.
    traits (Traits): What is known of them.
    RAISES (ValueError): If these are too few for windows that overlap as the options say.
    """

    def __init__(self, network: Network, tokenizer: Any, traits: Traits, options: EncoderOptions):
        self.network: Network = network.eval()
        self.tokenizer = tokenizer
        self.traits = traits
        self.options = options
        self.prefix, self.suffix = special_pieces(tokenizer)
        self.pad = int(tokenizer.pad_token_id or 0)
        limit = min(options.window or DEFAULT_WINDOW, traits.longest_input)
        self.capacity = limit - len(self.prefix) - len(self.suffix)
        if self.capacity <= options.overlap:
            raise ValueError(
                f"The encoder takes {limit} pieces at once, too few for windows that overlap by "
                f"{options.overlap}. Lower components.transformer.model.overlap."
            )
        self.cache = PieceCache(
            tokenizer, style=traits.pieces, max_word_pieces=self.capacity - options.overlap
        )
        self.cls = cls_column(tokenizer, self.prefix, self.suffix, causal=traits.causal) or 0
        self.gate = Gate()
        self.budget = Budget(self)
        self.words_since_trim = 0

    @property
    def is_quantized(self) -> bool:
        """RETURNS (bool): Whether it holds an int8 graph in place of weights."""
        return isinstance(self.network, OnnxNetwork)

    @property
    def width(self) -> int:
        return self.network.width

    @property
    def device(self) -> torch.device:
        parameter = next(self.network.parameters(), None)
        return get_torch_default_device() if parameter is None else parameter.device

    def check_precision(self, precision: str) -> None:
        """RAISES (ValueError): If the weights that are here can't be run so."""
        if self.is_quantized != (precision == "int8"):
            raise ValueError(
                f"precision = {precision!r}, but this pipeline holds an int8 graph and no weights. "
                "Use the pipeline that it was made from."
                if self.is_quantized
                else "precision = 'int8' needs a quantized pipeline. Make one with "
                "`spacy multitask quantize MODEL OUT` and load that."
            )

    @contextmanager
    def learning(self) -> Iterator[None]:
        """Let no other thread use the network, and put it into the state of training."""
        with self.gate.training():
            self.network.train()
            try:
                yield
            finally:
                self.network.eval()

    def _predicting(self) -> AbstractContextManager[None]:
        """RETURNS (ContextManager): Lets other threads use the network, too, if they may."""
        is_mixed = isinstance(self.network, TransformerNetwork) and self.network.mixed
        if is_mixed and not sees_hidden_states_in_threads():
            return self.gate.training()
        return self.gate.predicting()

    def encode(
        self,
        docs: list[Doc],
        *,
        is_train: bool,
        precision: str,
        budget: int | None = None,
        projections: Mapping[int, Callable[[Tensor], Tensor]] | None = None,
        doc_projections: Mapping[int, Callable[[Tensor], Tensor]] | None = None,
        keep_words: bool = True,
    ) -> PackedBatch:
        """Encode a batch of docs in length-sorted micro-batches. Where a device runs out of memory
        they become smaller.

        docs (List[Doc]): Any docs, empty ones too.
        is_train (bool): Whether to keep the graph for backpropagation.
        precision (str): "float32", "bfloat16" or, of a quantized pipeline, "int8".
        budget (Optional[int]): Most padded pieces in a micro-batch; None chooses by device.
        projections (Optional[Mapping[int, Projection]]): Heads to apply to the words of each
            micro-batch at once, keyed by listener. Prediction only.
        doc_projections (Optional[Mapping[int, Projection]]): Heads to apply to the docs, likewise,
            where a device does so while the host goes on.
        keep_words (bool): Whether the batch gets word vectors besides.
        RETURNS (PackedBatch): One row per token, in order. Tokens without pieces get zeros.
        RAISES (ValueError): If the precision does not go with the weights, or a quantized encoder
            is to learn.
        """
        self._prepare(precision, is_train)
        lengths = np.fromiter(map(len, docs), np.int64, len(docs))
        attributes = attributes_of(docs)
        pieces = self.cache.pieces_of(docs, attributes)
        windows = self._windows_of(pieces, lengths)
        device = self.device
        is_half = precision == "bfloat16" and computes_bfloat16(device.type)

        def run(budget: int) -> PackedBatch:
            pooled = Pooling(
                pieces,
                windows,
                len(docs),
                n_prefix=len(self.prefix),
                n_suffix=len(self.suffix),
                cls=self.cls,
                words=self.options.pooling,
                docs=self.options.doc_pooling,
                width=self.width,
                device=device,
                is_train=is_train,
                projections=projections or {},
                doc_projections=doc_projections or {},
                keep_words=keep_words,
            )
            # Around those of the micro-batches, so that weights are cast once for all of them.
            with torch.autocast(device.type, enabled=False):
                half = half_type(device) if is_half else None
                self._run(pieces, windows, budget, half, pooled)
                orths, blank = attributes[:, 0].copy(), attributes[:, 2] != 0
                return pooled.batch(docs, lengths, orths=orths, blank=blank)

        mode = self.learning() if is_train else self._predicting()
        with mode, torch.set_grad_enabled(is_train):
            if is_train and isinstance(self.network, TransformerNetwork):
                self.network.prepare_for_training(device)
            if is_train:  # its graph is what takes the memory, which smaller parts would not mend
                batch = run(budget or self.budget.of_training())
            else:
                batch = retried(run, budget, self.budget)
        self.words_since_trim += len(pieces.counts)
        return batch

    def costs(self, docs: list[Doc], budget: int | None = None) -> np.ndarray:
        """Estimate what docs cost in training, where all are one batch.

        budget (Optional[int]): As for `encode`.
        RETURNS (ndarray): Pieces with special ones and padding, and a share of what it costs to
            begin micro-batches, of each doc; float64 (n_docs,).
        """
        lengths = np.fromiter(map(len, docs), np.int64, len(docs))
        windows = self._windows_of(self.cache.pieces_of(docs), lengths)
        n_special, overhead = len(self.prefix) + len(self.suffix), self._overhead
        cost = np.zeros(len(windows.size))
        pieces_at_once = budget or self.budget.of_training()
        for group in micro_batches(windows.size, n_special, pieces_at_once, overhead):
            cost[group] = windows.size[group].max() + n_special + overhead / len(group)
        return np.bincount(windows.doc, cost, len(docs))

    def _windows_of(self, pieces: Pieces, lengths: np.ndarray) -> Windows:
        overlap = self.options.overlap
        return cut_windows(pieces.starts, pieces.counts, lengths, self.capacity, overlap)

    @property
    def _overhead(self) -> int:
        """RETURNS (int): What it costs to begin a micro-batch; 0 where nothing may be padded."""
        return self.budget.overhead if self.traits.pads else 0

    def _prepare(self, precision: str, is_train: bool) -> None:
        use_one_thread_if_forked()
        self.check_precision(precision)
        if is_train and self.is_quantized:
            raise ValueError(
                "A quantized pipeline can't be trained. Train the one that it was made from, "
                "or freeze its encoder and annotate with it."
            )
        if self.words_since_trim > MANY_WORDS and not is_train and self.device.type == "cpu":
            # What earlier batches were made of is free by now, if their caller has let go of them.
            give_back_memory()
            self.words_since_trim = 0

    def _run(
        self,
        pieces: Pieces,
        windows: Windows,
        budget: int,
        half: torch.dtype | None,
        pooled: Pooling,
    ) -> None:
        """Take all windows through the network, micro-batch by micro-batch, and pool."""
        n_special = len(self.prefix) + len(self.suffix)
        device = pooled.device
        groups = list(micro_batches(windows.size, n_special, budget, self._overhead))
        shapes = np.repeat(pieces.shapes, pieces.counts)
        masks: deque[Tensor | None] = deque()

        def inputs() -> Iterator[Inputs]:
            for group in groups:
                arrays = self._inputs(pieces.ids, shapes, windows, group)
                ids, own_shapes, sizes = to_device(device, *arrays)
                masks.append(None)
                if arrays[2][-1] < ids.shape[1]:
                    columns = torch.arange(ids.shape[1], device=device)
                    masks[-1] = (columns < sizes[:, None]).long()
                yield ids, own_shapes, masks[-1]

        held: list[tuple[Tensor, Tensor | None, np.ndarray]] = []
        n_held = TURN if self.is_quantized else 1
        outputs = self._outputs(inputs(), len(groups), device, half)
        for group, hidden in zip(groups, outputs, strict=True):
            held.append((hidden, masks.popleft(), group))
            if len(held) == n_held:
                _pool_all(held, pooled)
        _pool_all(held, pooled)

    def _outputs(
        self,
        inputs: Iterable[Inputs],
        n_inputs: int,
        device: torch.device,
        half: torch.dtype | None,
    ) -> Iterator[Tensor]:
        """YIELDS (Tensor): Piece vectors of each micro-batch, (n_windows, n_pieces, width)."""
        network = self.network
        if isinstance(network, OnnxNetwork):
            yield from network.forward_all(inputs, n_inputs)
            return
        for values in inputs:
            with torch.autocast(device.type, dtype=half, enabled=half is not None):
                hidden = network(*values)
            yield hidden.float()

    def _inputs(
        self, ids: np.ndarray, shapes: np.ndarray, windows: Windows, group: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """RETURNS (tuple): ids and shapes of shape (n_windows, n_pieces with special ones), and
        how many each window has of these, longest first, (n_windows,); all int64."""
        sizes, starts = windows.size[group], windows.start[group]
        n_prefix, n_suffix = len(self.prefix), len(self.suffix)
        longest = int(sizes[0])
        columns = np.arange(longest)
        inside = columns < sizes[:, None]
        places = np.where(inside, starts[:, None] + columns, 0)
        total = longest + n_prefix + n_suffix
        out = np.full((len(group), total), self.pad, np.int64)
        out_shapes = np.full((len(group), total), NO_WORD, np.int64)
        out[:, :n_prefix] = self.prefix
        body = slice(n_prefix, n_prefix + longest)
        out[:, body] = np.where(inside, ids[places], self.pad)
        out_shapes[:, body] = np.where(inside, shapes[places], NO_WORD)
        at = (n_prefix + sizes)[:, None] + np.arange(n_suffix)
        np.put_along_axis(out, at, np.broadcast_to(self.suffix, at.shape), axis=1)
        return out, out_shapes, sizes + n_prefix + n_suffix


def _pool_all(held: list[tuple[Tensor, Tensor | None, np.ndarray]], pooled: Pooling) -> None:
    for hidden, mask, group in held:
        pooled.add(hidden, mask, group)
    held.clear()
