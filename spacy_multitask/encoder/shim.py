"""The pretrained encoder with its tokenizer: docs in, a packed batch of vectors out."""

from __future__ import annotations

import copy
import json
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import srsly
import torch
from spacy.attrs import ORTH
from spacy.tokens import Doc
from torch import Tensor, nn

from ..layers.network import TransformerNetwork, sees_hidden_states_in_threads
from ..layers.onnx import Inputs, OnnxNetwork, export, quantize_graph
from ..layers.shim import TorchShim, tensors_from_bytes, tensors_to_bytes
from .batch import PackedBatch
from .forks import tokenizers_without_threads, use_one_thread_if_forked
from .gate import Gate
from .heap import MANY_WORDS, give_back_memory
from .pieces import PieceCache, Pieces, is_uncased, load_tokenizer
from .shapes import N_SHAPES, NO_WORD
from .windows import Windows, cut_windows, micro_batches

POOLINGS = ("first", "last", "mean")
DOC_POOLINGS = ("mean", "cls")
NO_WORDS = np.zeros(0, np.uint64)
# Padded pieces in a micro-batch: what keeps the caches of a CPU, or the units of a GPU, busy. A
# training batch is small and its docs differ in length, so that smaller groups pad less.
BUDGETS = {"cpu": 2048, "cuda": 65536, "int8": 448}
TRAINING_BUDGETS = {"cpu": 768, "cuda": 65536}
# Micro-batches of ONNX Runtime that torch pools at a time: after each time its idle threads keep
# cores busy for a while, which ONNX Runtime could use.
TURN = 64
WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
GRAPH_FILE = "model.int8.onnx"
GRAPH_CONFIG_FILE = "onnx.json"


class EncoderShim(TorchShim):
    """Network, tokenizer and piece cache, loaded and saved together."""

    def __init__(
        self,
        name: str,
        *,
        pooling: str,
        doc_pooling: str,
        layers: list[int] | None,
        window: int,
        overlap: int,
        word_shapes: bool | None,
        dropout: float | None,
        gradient_checkpointing: bool,
        compile: bool,
    ):
        super().__init__()
        self.name = name
        self.pooling = pooling
        self.doc_pooling = doc_pooling
        self.layers = layers
        self.window = window
        self.overlap = overlap
        self.word_shapes = word_shapes
        self.dropout = dropout
        self.gradient_checkpointing = gradient_checkpointing
        self.compile = compile
        self.tokenizer: Any = None
        self.cache: PieceCache | None = None
        self.gate = Gate()
        self.words_since_trim = 0

    @property
    def module(self) -> TransformerNetwork | OnnxNetwork:
        return cast(TransformerNetwork | OnnxNetwork, super().module)

    # Making the network

    def load_pretrained(self) -> None:
        """Load weights and tokenizer by name, from a folder or from the hub.

        RAISES (ValueError): If no encoder is named or it can't be loaded.
        """
        from transformers import AutoModel

        if not self.name:
            raise ValueError(
                "No encoder is named. Set components.transformer.model.name to a folder or to a "
                'hub name such as "distilbert-base-uncased".'
            )
        try:
            tokenizer = load_tokenizer(self.name)
            transformer = AutoModel.from_pretrained(self.name, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"Can't load the encoder {self.name!r}: {error}\nGive a folder that holds "
                "config.json, model.safetensors and the tokenizer's files, or a hub name."
            ) from error
        shapes = is_uncased(tokenizer) if self.word_shapes is None else self.word_shapes
        self._assemble(transformer.float(), tokenizer, has_shapes=shapes)

    def _assemble(self, transformer: Any, tokenizer: Any, *, has_shapes: bool) -> None:
        network = TransformerNetwork(
            transformer, n_shapes=N_SHAPES if has_shapes else 0, layers=self.layers
        )
        if self.dropout is not None:
            for part in network.modules():
                if isinstance(part, nn.Dropout):
                    part.p = self.dropout
                elif hasattr(part, "dropout_prob"):  # attention in transformers 4
                    part.dropout_prob = self.dropout  # type: ignore[assignment]
        if self.gradient_checkpointing:
            transformer.gradient_checkpointing_enable({"use_reentrant": False})
        if self.compile:
            # In place, so that the weights keep their names. No two micro-batches have one shape.
            network.compile(dynamic=True)
        self._set_network(network, tokenizer, _longest_input(transformer, tokenizer))

    def _set_network(
        self, network: TransformerNetwork | OnnxNetwork, tokenizer: Any, longest_input: int
    ) -> None:
        self.set_module(network.eval())
        self.tokenizer = tokenizer
        self.longest_input = longest_input
        self.prefix, self.suffix = _special_pieces(tokenizer)
        self.pad = int(tokenizer.pad_token_id or 0)
        limit = min(self.window, longest_input)
        self.capacity = limit - len(self.prefix) - len(self.suffix)
        if self.capacity <= self.overlap:
            raise ValueError(
                f"The encoder takes {limit} pieces at once, too few for windows that overlap by "
                f"{self.overlap}. Lower components.transformer.model.overlap."
            )
        self.cache = PieceCache(tokenizer, max_word_pieces=self.capacity - self.overlap)

    # Saving and loading

    def to_files(self) -> dict[str, bytes]:
        """RETURNS (Dict[str, bytes]): File names and contents; empty if nothing was loaded yet."""
        if not self.has_module:
            return {}
        files = {}
        with tempfile.TemporaryDirectory() as folder:
            self.tokenizer.save_pretrained(folder)
            for path in sorted(Path(folder).rglob("*")):
                if path.is_file():
                    files[path.relative_to(folder).as_posix()] = path.read_bytes()
        if isinstance(self.module, OnnxNetwork):
            settings = srsly.json_dumps(self.module.settings, indent=2)
            files[GRAPH_CONFIG_FILE] = settings.encode("utf8")
            files[GRAPH_FILE] = self.module.graph
            return files
        config = self.module.transformer.config.to_dict()
        config.pop("_name_or_path", None)  # a path of the machine that trained means nothing later
        files[CONFIG_FILE] = srsly.json_dumps(config, indent=2, sort_keys=True).encode("utf8")
        with self.gate.predicting():
            files[WEIGHTS_FILE] = tensors_to_bytes(self.module)
        return files

    def from_files(self, files: dict[str, bytes], source: str) -> EncoderShim:
        """Load what `to_files` gave.

        source (str): Where the files come from, for error messages.
        RAISES (ValueError): If a file is missing or damaged.
        """
        from transformers import AutoConfig, AutoModel

        if not files:
            return self
        quantized = GRAPH_CONFIG_FILE in files
        config_file, weights_file = (
            (GRAPH_CONFIG_FILE, GRAPH_FILE) if quantized else (CONFIG_FILE, WEIGHTS_FILE)
        )
        for name in (config_file, weights_file):
            if name not in files:
                raise ValueError(f"{source}: the file {name} is missing. Copy the pipeline again.")
        try:
            settings = json.loads(files[config_file])
        except ValueError as error:
            raise ValueError(f"{source}: {config_file} is damaged: {error}") from error
        tokenizer = _tokenizer_from_files(
            {name: data for name, data in files.items() if name != weights_file}, source
        )
        if quantized:
            try:
                network = OnnxNetwork(files[GRAPH_FILE], **settings)
            except (ValueError, TypeError) as error:
                raise ValueError(f"{source}: {GRAPH_FILE} is damaged: {error}") from error
            self._set_network(network, tokenizer, network.longest_input)
            return self
        state = tensors_from_bytes(files[WEIGHTS_FILE], f"{source}: {WEIGHTS_FILE}")
        config = AutoConfig.for_model(**settings)
        with torch.random.fork_rng(devices=[]):  # its random start is thrown away at once
            transformer = AutoModel.from_config(config, trust_remote_code=False)
        self._assemble(transformer.float(), tokenizer, has_shapes="shape_embedding.weight" in state)
        try:
            self.module.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(
                f"{source}: {WEIGHTS_FILE} does not fit {CONFIG_FILE}: {error}"
            ) from error
        return self

    def to_bytes(self) -> bytes:
        return srsly.msgpack_dumps(self.to_files())

    def from_bytes(self, data: bytes) -> EncoderShim:
        return self.from_files(srsly.msgpack_loads(data), "encoder")

    # Running the network

    @property
    def is_quantized(self) -> bool:
        """RETURNS (bool): Whether it holds an int8 graph in place of weights."""
        return self.has_module and isinstance(self.module, OnnxNetwork)

    def differs_from(self, other: EncoderShim) -> bool:
        """RETURNS (bool): Whether the other has other weights; False if that can't be known, as
        between weights and an int8 graph."""
        if not (self.has_module and other.has_module):
            return False
        a, b = self.module, other.module
        if isinstance(a, OnnxNetwork) or isinstance(b, OnnxNetwork):
            graphs = {n.graph for n in (a, b) if isinstance(n, OnnxNetwork)}
            return self.is_quantized == other.is_quantized and len(graphs) > 1
        own, others = a.state_dict(), b.state_dict()
        return own.keys() != others.keys() or not all(
            value.shape == others[name].shape and torch.equal(value, others[name].to(value.device))
            for name, value in own.items()
        )

    def check_precision(self, precision: str) -> None:
        """RAISES (ValueError): If the weights that are here can't be run so."""
        if self.has_module and self.is_quantized != (precision == "int8"):
            raise ValueError(
                f"precision = {precision!r}, but this pipeline holds an int8 graph and no weights. "
                "Use the pipeline that it was made from."
                if self.is_quantized
                else "precision = 'int8' needs a quantized pipeline. Make one with "
                "`spacy multitask quantize MODEL OUT` and load that."
            )

    def layers_given(self, wanted: tuple[int, ...]) -> tuple[int, ...]:
        """RETURNS (Tuple[int, ...]): Layers in a batch besides the last, if these are wanted. A
        graph gives all that it has."""
        return self.module.layers if isinstance(self.module, OnnxNetwork) else wanted

    def quantize(self, layers: tuple[int, ...] = (), **options: Any) -> None:
        """Put an int8 graph in place of the weights.

        layers (Tuple[int, ...]): Places of layers that heads read, besides the last.
        options: As for `quantize_graph`.
        """
        network = cast(TransformerNetwork, copy.deepcopy(self.module).to("cpu"))
        quantized = OnnxNetwork(
            quantize_graph(export(network, layers), **options),
            width=self.width,
            longest_input=self.longest_input,
            n_layers=network.n_layers,
            mixed=network.mixed,
            layers=layers,
        )
        self.set_module(quantized)

    @contextmanager
    def learning(self) -> Iterator[None]:
        """Let no other thread use the network, and put it into the state of training."""
        with self.gate.training():
            self.module.train()
            try:
                yield
            finally:
                self.module.eval()

    def _predicting(self, layers: tuple[int, ...]) -> AbstractContextManager[None]:
        """RETURNS (ContextManager): Lets other threads use the network, too, if they may."""
        network = self.module
        needs_hidden = isinstance(network, TransformerNetwork) and (layers or network.mixed)
        if needs_hidden and not sees_hidden_states_in_threads():
            return self.gate.training()
        return self.gate.predicting()

    @property
    def width(self) -> int:
        return self.module.width

    def budget(self, *, is_train: bool) -> int:
        """RETURNS (int): Padded pieces in a micro-batch, which suit the device."""
        budgets = TRAINING_BUDGETS if is_train else BUDGETS
        kind = "int8" if self.is_quantized else self.device.type
        return budgets.get(kind, budgets["cuda"])

    def encode(
        self,
        docs: list[Doc],
        *,
        is_train: bool,
        precision: str,
        budget: int,
        layers: tuple[int, ...] = (),
        projections: dict[int, Callable[[Tensor], Tensor]] | None = None,
        keep_words: bool = True,
    ) -> PackedBatch:
        """Encode a batch of docs in length-sorted micro-batches.

        docs (List[Doc]): Any docs, empty ones too.
        is_train (bool): Whether to keep the graph for backpropagation.
        precision (str): "float32" or "bfloat16".
        budget (int): Most padded pieces in a micro-batch.
        layers (Tuple[int, ...]): Places of layers that heads read, besides the last.
        projections (Optional[Dict[int, Projection]]): Heads to apply to the words of each
            micro-batch at once, keyed by listener; they get all columns. Prediction only.
        keep_words (bool): Whether the batch gets word vectors besides.
        RETURNS (PackedBatch): One row per token, in order. Tokens without pieces get zeros.
        """
        use_one_thread_if_forked()
        self.check_precision(precision)
        if is_train and self.is_quantized:
            raise ValueError(
                "A quantized pipeline can't be trained. Train the one that it was made from, "
                "or freeze its encoder and annotate with it."
            )
        if self.words_since_trim > MANY_WORDS and not is_train:
            # What earlier batches were made of is free by now, if their caller has let go of them.
            give_back_memory()
            self.words_since_trim = 0
        layers = self.layers_given(layers)
        device = self.device
        lengths = np.fromiter(map(len, docs), np.int64, len(docs))
        n_words = int(lengths.sum())
        orths = [doc.to_array(ORTH) if n else NO_WORDS for doc, n in zip(docs, lengths)]
        if n_words:
            assert self.cache is not None, "the cache comes with the network"
            pieces = self.cache.lookup(np.concatenate(orths), docs[0].vocab.strings)
        else:
            empty = np.zeros(0, np.int64)
            pieces = Pieces(empty, empty, empty, empty)
        windows = cut_windows(pieces.starts, pieces.counts, lengths, self.capacity, self.overlap)
        piece_shapes = np.repeat(pieces.shapes, pieces.counts)
        collect = _Collector(
            n_words, len(docs), self.width, layers, device, is_train, projections or {}, keep_words
        )
        n_extra = len(self.prefix) + len(self.suffix)
        groups = list(micro_batches(windows.size, n_extra, budget))
        masks: deque[np.ndarray | None] = deque()

        def inputs() -> Iterator[Inputs]:
            for group in groups:
                ids, shapes, mask = self._inputs(pieces.ids, piece_shapes, windows, group)
                masks.append(mask)
                yield (
                    torch.from_numpy(ids).to(device, non_blocking=True),
                    torch.from_numpy(shapes).to(device, non_blocking=True),
                    None if mask is None else torch.from_numpy(mask).to(device),
                )

        held: list[tuple[Tensor, np.ndarray | None, np.ndarray]] = []
        n_held = TURN if self.is_quantized else 1
        mode = self.learning() if is_train else self._predicting(layers)
        # Around those of the micro-batches, so that weights are cast once for all of them.
        casts = torch.autocast(device.type, enabled=False)
        with mode, torch.set_grad_enabled(is_train), casts:
            if is_train and isinstance(self.module, TransformerNetwork):
                self.module.prepare_for_training(device)
            outputs = self._outputs(inputs(), len(groups), precision, layers)
            for group, hidden in zip(groups, outputs, strict=True):
                held.append((hidden, masks.popleft(), group))
                if len(held) == n_held:
                    self._pool_all(held, pieces, windows, collect)
            self._pool_all(held, pieces, windows, collect)
            batch = collect.batch(docs, lengths, [orth.tobytes() for orth in orths])
        self.words_since_trim += n_words
        return batch

    def _outputs(
        self, inputs: Iterable[Inputs], n_inputs: int, precision: str, layers: tuple[int, ...]
    ) -> Iterator[Tensor]:
        """YIELDS (Tensor): Piece vectors of each micro-batch, (n_windows, n_pieces, n_columns)."""
        network = self.module
        if isinstance(network, OnnxNetwork):
            yield from network.forward_all(inputs, n_inputs)
            return
        for values in inputs:
            with torch.autocast(
                self.device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"
            ):
                hidden = network(*values, layers)
            yield hidden.float()

    def _inputs(
        self, ids: np.ndarray, shapes: np.ndarray, windows: Windows, group: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """RETURNS (tuple): ids, shapes and mask (None if nothing is padded), all int64 of shape
        (n_windows, n_pieces with special ones)."""
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
        if sizes[-1] == longest:
            return out, out_shapes, None
        mask = (np.arange(total) < (sizes + n_prefix + n_suffix)[:, None]).astype(np.int64)
        return out, out_shapes, mask

    def _pool_all(
        self,
        held: list[tuple[Tensor, np.ndarray | None, np.ndarray]],
        pieces: Pieces,
        windows: Windows,
        collect: _Collector,
    ) -> None:
        for hidden, mask, group in held:
            self._pool(hidden, mask, pieces, windows, group, collect)
        held.clear()

    def _pool(
        self,
        hidden: Tensor,
        mask: np.ndarray | None,
        pieces: Pieces,
        windows: Windows,
        group: np.ndarray,
        collect: _Collector,
    ) -> None:
        """Reduce piece vectors (n_windows, n_pieces, width) to the words that the windows own."""
        device = hidden.device
        n_windows, n_columns, width = hidden.shape
        rows, window_of_row = _ranges(windows.own_start[group], windows.own_end[group])
        counts = pieces.counts[rows]
        if not counts.all():
            rows, window_of_row, counts = (a[counts > 0] for a in (rows, window_of_row, counts))
        column = pieces.starts[rows] - windows.start[group][window_of_row] + len(self.prefix)
        place = window_of_row * n_columns + column
        flat = hidden.reshape(-1, width)
        if self.pooling == "mean":
            every, word = (torch.from_numpy(a).to(device) for a in _ranges(place, place + counts))
            vectors = flat.new_zeros(len(rows), width).index_add(0, word, flat[every])
            vectors = vectors / torch.from_numpy(counts).to(device)[:, None]
        else:
            if self.pooling == "last":
                place = place + counts - 1
            vectors = flat[torch.from_numpy(place).to(device)]
        if self.doc_pooling == "cls":
            sums = hidden[:, 0]
            weights = np.ones(n_windows)
        elif mask is None:
            sums = hidden.sum(1)
            weights = np.full(n_windows, n_columns)
        else:
            factors = torch.from_numpy(mask).to(device, hidden.dtype)
            sums = torch.bmm(factors[:, None], hidden)[:, 0]
            weights = mask.sum(1)
        collect.add(vectors, rows, sums, weights, windows.doc[group])


class _Collector:
    """Puts the micro-batches' results, which come sorted by length, back into order."""

    def __init__(
        self,
        n_words: int,
        n_docs: int,
        width: int,
        layers: tuple[int, ...],
        device: torch.device,
        is_train: bool,
        projections: dict[int, Callable[[Tensor], Tensor]],
        keep_words: bool,
    ):
        width *= 1 + len(layers)
        self.n_words, self.n_docs, self.width, self.device = n_words, n_docs, width, device
        self.layers = layers
        self.is_train = is_train
        self.projections = projections
        self.projected: dict[int, Tensor] = {}
        self.words: Tensor | None = None
        self.parts: list[Tensor] = []
        self.rows: list[np.ndarray] = []
        self.sums: list[Tensor] = []
        self.docs: list[np.ndarray] = []
        self.weights = np.zeros(n_docs)
        if is_train:
            return
        if keep_words:
            self.words = torch.zeros(n_words, width, device=device)
        with torch.no_grad():
            nothing = torch.zeros(1, width, device=device)
            for key, projection in projections.items():
                # Words without pieces have a zero vector; the head sees that, too.
                self.projected[key] = projection(nothing).float().repeat(n_words, 1)

    def add(
        self,
        vectors: Tensor,
        rows: np.ndarray,
        sums: Tensor,
        weights: np.ndarray,
        docs: np.ndarray,
    ) -> None:
        np.add.at(self.weights, docs, weights)
        self.sums.append(sums)
        self.docs.append(docs)
        if self.is_train:
            self.parts.append(vectors)
            self.rows.append(rows)
            return
        index = torch.from_numpy(rows).to(self.device)
        if self.words is not None:
            self.words.index_copy_(0, index, vectors)
        for key, projection in self.projections.items():
            self.projected[key].index_copy_(0, index, projection(vectors).float())

    def batch(self, docs: list[Doc], lengths: np.ndarray, texts: list[bytes]) -> PackedBatch:
        doc_vectors = torch.zeros(self.n_docs, self.width, device=self.device)
        if self.docs:
            index = torch.from_numpy(np.concatenate(self.docs)).to(self.device)
            doc_vectors = doc_vectors.index_add(0, index, torch.cat(self.sums))
            weights = torch.from_numpy(np.maximum(self.weights, 1.0)).to(self.device)
            doc_vectors = doc_vectors / weights[:, None].float()
        if not self.is_train:
            return PackedBatch(
                docs,
                lengths,
                self.words,
                doc_vectors,
                layers=self.layers,
                projected=self.projected,
                texts=texts,
            )
        # Row of each word among the parts; words without pieces take the row of zeros at the end.
        zeros = torch.zeros(1, self.width, device=self.device)
        n_rows = sum(map(len, self.rows))
        source = np.full(self.n_words, n_rows, np.int64)
        if self.rows:
            source[np.concatenate(self.rows)] = np.arange(n_rows)
        words = torch.cat([*self.parts, zeros])[torch.from_numpy(source).to(self.device)]
        leaves = [t.detach().requires_grad_() for t in (words, doc_vectors)]
        graph = (words, doc_vectors) if words.requires_grad and n_rows else None
        return PackedBatch(docs, lengths, *leaves, layers=self.layers, graph=graph, texts=texts)


def _ranges(starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """RETURNS (Tuple[ndarray, ndarray]): All integers of the ranges [start, end), end to end, and
    for each the index of its range."""
    sizes = ends - starts
    which = np.repeat(np.arange(len(sizes)), sizes)
    before = np.cumsum(sizes) - sizes
    return np.arange(len(which)) - before[which] + starts[which], which


def _tokenizer_from_files(files: dict[str, bytes], source: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            path = Path(folder, name)
            if not path.resolve().is_relative_to(Path(folder).resolve()):
                raise ValueError(f"{source}: the file name {name!r} leaves its folder.")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return load_tokenizer(folder, local_files_only=True)


def _special_pieces(tokenizer: Any) -> tuple[np.ndarray, np.ndarray]:
    """RETURNS (Tuple[ndarray, ndarray]): Ids the tokenizer puts before and after a text."""
    arguments = {"is_split_into_words": True}
    with tokenizers_without_threads():
        bare = tokenizer(["a"], add_special_tokens=False, **arguments)["input_ids"]
        full = tokenizer(["a"], add_special_tokens=True, **arguments)["input_ids"]
    at = next(i for i in range(len(full)) if full[i : i + len(bare)] == bare)
    return np.array(full[:at], np.int64), np.array(full[at + len(bare) :], np.int64)


def _longest_input(transformer: Any, tokenizer: Any) -> int:
    """RETURNS (int): Most pieces that the model takes at once, special ones included."""
    limits = [512 if tokenizer.model_max_length > 1e6 else tokenizer.model_max_length]
    positions = getattr(transformer.config, "max_position_embeddings", None)
    if positions and positions > 0:
        # RoBERTa counts positions from after the padding id.
        offset = getattr(getattr(transformer, "embeddings", None), "padding_idx", None)
        limits.append(positions - (offset + 1 if offset is not None else 0))
    return min(limits)
