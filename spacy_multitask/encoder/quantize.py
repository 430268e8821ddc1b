"""Make a trained pipeline smaller and, on a CPU, faster."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from ..loading import load_pipeline
from ..safe_files import new_folder
from .component import MultitaskTransformer
from .encode import Encoder


def quantize(model: str | Path, output: str | Path, **options: Any) -> tuple[int, int]:
    """Write a copy of a pipeline whose shared encoders are int8 graphs.

    model (str): A package's name or a folder.
    output (Path): Folder for the copy.
    options: As for `spacy_multitask.layers.onnx.quantize_graph`.
    RETURNS (Tuple[int, int]): Bytes of the encoders before and after.
    RAISES (ValueError): If the pipeline has no shared encoder, a quantized one, or one that can't
        be a graph for inputs of any size. Nothing is written then.
    RAISES (ImportError): If the extra "onnx" is not installed.
    """
    missing = [n for n in ("onnx", "onnxruntime", "onnxscript") if find_spec(n) is None]
    if missing:
        raise ImportError(
            f"Quantization needs {', '.join(missing)}: pip install 'spacy_multitask[onnx]'"
        )
    nlp = load_pipeline(model)
    found = [(n, c) for n, c in nlp.pipeline if isinstance(c, MultitaskTransformer)]
    if not found:
        raise ValueError(f"{model} has no component multitask_transformer to quantize.")
    sizes = [0, 0]
    for name, component in found:
        if component.shim.encoder.is_quantized:
            raise ValueError(f"The component {name!r} of {model} is quantized already.")
        sizes[0] += sum(map(len, component.shim.to_files().values()))
        _quantize(component, f"The component {name!r} of {model}", **options)
        sizes[1] += sum(map(len, component.shim.to_files().values()))
        component.precision = "int8"
        nlp.get_pipe_config(name)["precision"] = "int8"
    with new_folder(Path(output)) as folder:
        nlp.to_disk(folder)
    return sizes[0], sizes[1]


def _quantize(component: MultitaskTransformer, title: str, **options: Any) -> None:
    """RAISES (ValueError): If the exporter, or the graph that it made, can't take the encoder."""
    network: Any = component.shim.encoder.network
    kind = network.transformer.config.model_type
    try:
        component.shim.quantize(**options)
        _try(component.shim.encoder)
    except Exception as error:  # they have no common base class
        reason = next(iter(str(error).strip().splitlines()), "")
        raise ValueError(
            f"{title} can't be quantized: PyTorch's exporter to ONNX does not get a graph for "
            f"inputs of any size out of its encoder, a {kind}. {type(error).__name__}: {reason}"
        ) from error


def _try(encoder: Encoder) -> None:
    """Run inputs of other sizes than the one that was traced.

    RAISES (Exception): What ONNX Runtime says of them.
    RAISES (ValueError): If the vectors have another shape, or are no numbers.
    """
    network = encoder.network
    for n_windows, n_pieces in ((1, min(17, encoder.traits.longest_input)), (4, 5)):
        ids = torch.ones(n_windows, n_pieces, dtype=torch.long)
        mask = torch.ones_like(ids)
        mask[1:, 3:] = 0
        vectors = network(ids, torch.zeros_like(ids), mask)
        if vectors.shape[:2] != ids.shape or not torch.isfinite(vectors).all():
            raise ValueError(f"vectors of {tuple(ids.shape)} pieces are {tuple(vectors.shape)}")
