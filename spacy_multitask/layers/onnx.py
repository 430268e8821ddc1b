"""A transformer as an ONNX graph, run by ONNX Runtime on the CPU. Prediction only."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_INPUTS = ("ids", "shapes", "mask")
Inputs = tuple[Tensor, Tensor, Tensor | None]  # ids, shapes, mask
_abandoned: list[Any] = []  # sessions of a parent process, see OnnxNetwork.session


class OnnxNetwork(nn.Module):
    """Stands in for `TransformerNetwork` in a quantized pipeline; it has no parameters."""

    is_encoder = True

    def __init__(
        self,
        graph: bytes,
        *,
        width: int,
        longest_input: int,
        n_layers: int = 0,
        mixed: bool = False,
        layers: list[int] | None = None,
    ):
        """
        graph (bytes): What `export` made.
        width (int): Width of a piece vector.
        longest_input (int): Most pieces at once, special ones included.
        n_layers, mixed, layers: Gone; files of 0.1.0 have them.
        RAISES (ImportError): If ONNX Runtime is not installed.
        RAISES (ValueError): If the graph is damaged, or gives the vectors of several layers.
        """
        if layers:
            raise ValueError(
                "its heads read several layers, as 0.1.0 allowed. Train the pipeline again."
            )
        super().__init__()
        self.graph = graph
        self.width = width
        self.longest_input = longest_input
        self._sessions: dict[int, Any] = {}
        self._process = os.getpid()
        self.session(1)

    @property
    def settings(self) -> dict[str, Any]:
        """RETURNS (Dict[str, Any]): What it is made with, besides the graph."""
        return {"width": self.width, "longest_input": self.longest_input}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_sessions": {}}

    def session(self, n_threads: int) -> Any:
        """RETURNS (InferenceSession): One that works on an input with so many threads."""
        if self._process != os.getpid():
            # After a fork their threads are gone, and taking them down would wait for them.
            _abandoned.append(self._sessions)
            self._sessions, self._process = {}, os.getpid()
        if n_threads not in self._sessions:
            self._sessions[n_threads] = _make_session(self.graph, n_threads)
        return self._sessions[n_threads]

    def forward(self, ids: Tensor, shapes: Tensor, mask: Tensor | None) -> Tensor:
        """As `TransformerNetwork.forward`."""
        return _run(self.session(torch.get_num_threads()), (ids, shapes, mask))

    def forward_all(self, inputs: Iterable[Inputs], n_inputs: int) -> Iterator[Tensor]:
        """Work through micro-batches, several at once with a thread each, if there are enough.

        That way no thread waits for another, and all keep busy while the caller uses results.

        inputs (Iterable): The arguments of each `forward`.
        n_inputs (int): How many there are.
        YIELDS (Tensor): What `forward` gives for each, in order.
        """
        n_threads = torch.get_num_threads()
        if n_inputs < n_threads or n_threads == 1:
            yield from (self(*values) for values in inputs)
            return
        session = self.session(1)
        waiting: deque[Future[Tensor]] = deque()
        with ThreadPoolExecutor(n_threads) as pool:
            for values in inputs:
                waiting.append(pool.submit(_run, session, values))
                if len(waiting) > 2 * n_threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()


def _run(session: Any, inputs: Inputs) -> Tensor:
    ids, shapes, mask = inputs
    values = (ids, shapes, torch.ones_like(ids) if mask is None else mask)
    # A graph without word shapes does not have that input.
    wanted = {node.name for node in session.get_inputs()}
    feed = {n: v.cpu().numpy() for n, v in zip(_INPUTS, values, strict=True) if n in wanted}
    return torch.from_numpy(session.run(None, feed)[0]).to(ids.device)


def _make_session(graph: bytes, n_threads: int) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            "This pipeline is quantized and needs ONNX Runtime: pip install 'spacy_multitask[onnx]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            graph,
            options,
            providers=["CPUExecutionProvider"],
            # The fused operator is slower than the two that it replaces: it took a fifth of the
            # time of MiniLM in int8.
            disabled_optimizers=["SkipLayerNormFusion"],
        )
    except Exception as error:  # it has no common base class for its errors
        raise ValueError(f"ONNX Runtime can't read the graph: {error}") from error


def export(network: nn.Module) -> bytes:
    """Turn a `TransformerNetwork` into an ONNX graph in float32.

    RETURNS (bytes): The graph, with the inputs ids, shapes and mask of any size.
    """
    import warnings

    network = network.eval()
    sizes = {0: torch.export.Dim("windows"), 1: torch.export.Dim("pieces")}
    # Sizes of 1 would be taken for constants.
    example = tuple(torch.ones(3, 9, dtype=torch.long) for _ in _INPUTS)
    with warnings.catch_warnings(), _quiet("torch.onnx"):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            example,
            input_names=list(_INPUTS),
            output_names=["hidden"],
            dynamic_shapes=(sizes, sizes, sizes),
            dynamo=True,
            verbose=False,
        )
    assert program is not None, "dynamo=True gives a program"
    return program.model_proto.SerializeToString()


@contextmanager
def _quiet(logger: str | None) -> Iterator[None]:
    """Keep a library's notes for its own developers from the user."""
    log = logging.getLogger(logger)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def quantize_graph(
    graph: bytes,
    *,
    per_channel: bool = True,
    down_projections: bool = True,
    reduce_range: bool = True,
) -> bytes:
    """Store the weights of matrix products in 8 bits; activations follow at run time.

    graph (bytes): What `export` made.
    per_channel (bool): Whether each column of a matrix has its own scale.
    down_projections (bool): Whether to quantize matrices with more rows than columns, too; their
        inputs, the activations of the feed-forward layers, have the largest outliers.
    reduce_range (bool): Whether weights have the range of 7 bits. With all 8, sums of two products
        overflow on processors without VNNI, and a base-sized encoder gives noise there.
    RETURNS (bytes): The quantized graph.
    """
    import tempfile
    from pathlib import Path

    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        source, prepared, target = (str(Path(folder, n)) for n in ("a.onnx", "b.onnx", "c.onnx"))
        Path(source).write_bytes(graph)
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        model = onnx.load(prepared).graph
        tall = {w.name for w in model.initializer if len(w.dims) == 2 and w.dims[0] > w.dims[1]}
        skipped = [
            node.name
            for node in model.node
            if node.op_type == "MatMul" and not down_projections and node.input[1] in tall
        ]
        with _quiet(None):
            quantize_dynamic(
                prepared,
                target,
                op_types_to_quantize=["MatMul"],
                per_channel=per_channel,
                reduce_range=reduce_range,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=skipped,
                extra_options={"MatMulConstBOnly": True},
            )
        return Path(target).read_bytes()
