"""Encoders and files: from a hub or folder, to the files of a saved pipeline and back."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import srsly
import torch
from torch import nn

from ..layers.network import TransformerNetwork
from ..layers.onnx import OnnxNetwork
from ..layers.shim import tensors_from_bytes, tensors_to_bytes
from ..safe_files import MANIFEST_FILE, check_manifest, last_good, manifest, new_folder
from .contexts import STYLES
from .encode import Encoder, EncoderOptions
from .shapes import N_SHAPES
from .tokenizer import is_uncased, load_tokenizer

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
GRAPH_FILE = "model.int8.onnx"
GRAPH_CONFIG_FILE = "onnx.json"
SETTINGS_FILE = "encoder.json"  # what is neither the network's nor the tokenizer's; not in 0.1.0


def load_pretrained(name: str, options: EncoderOptions) -> Encoder:
    """Load weights and tokenizer by name, from a folder or from the hub.

    RAISES (ValueError): If no encoder is named or it can't be loaded.
    """
    from transformers import AutoModel

    if not name:
        raise ValueError(
            "No encoder is named. Set components.transformer.model.name to a folder or to a "
            'hub name such as "distilbert-base-uncased".'
        )
    try:
        tokenizer = load_tokenizer(name)
        transformer = AutoModel.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"Can't load the encoder {name!r}: {error}\nGive a folder that holds "
            "config.json, model.safetensors and the tokenizer's files, or a hub name."
        ) from error
    shapes = is_uncased(tokenizer) if options.word_shapes is None else options.word_shapes
    style = "text" if options.spaces else "spaced"
    return _assemble(transformer.float(), tokenizer, options, style, has_shapes=shapes)


def _assemble(
    transformer: Any, tokenizer: Any, options: EncoderOptions, style: str, *, has_shapes: bool
) -> Encoder:
    network = TransformerNetwork(
        transformer, n_shapes=N_SHAPES if has_shapes else 0, layers=options.layers
    )
    if options.dropout is not None:
        for part in network.modules():
            if isinstance(part, nn.Dropout):
                part.p = options.dropout
            elif hasattr(part, "dropout_prob"):  # attention in transformers 4
                part.dropout_prob = options.dropout  # type: ignore[assignment]
    if options.gradient_checkpointing:
        transformer.gradient_checkpointing_enable({"use_reentrant": False})
    if options.compile:
        # In place, so that the weights keep their names. No two micro-batches have one shape.
        network.compile(dynamic=True)
    return Encoder(network, tokenizer, _longest_input(transformer, tokenizer), options, style)


def _longest_input(transformer: Any, tokenizer: Any) -> int:
    """RETURNS (int): Most pieces that the model takes at once, special ones included."""
    limits = [512 if tokenizer.model_max_length > 1e6 else tokenizer.model_max_length]
    positions = getattr(transformer.config, "max_position_embeddings", None)
    if positions and positions > 0:
        # RoBERTa counts positions from after the padding id.
        offset = getattr(getattr(transformer, "embeddings", None), "padding_idx", None)
        limits.append(positions - (offset + 1 if offset is not None else 0))
    return min(limits)


def to_files(encoder: Encoder) -> dict[str, bytes]:
    """RETURNS (Dict[str, bytes]): File names and contents."""
    files = {}
    with tempfile.TemporaryDirectory() as folder:
        encoder.tokenizer.save_pretrained(folder)
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                files[path.relative_to(folder).as_posix()] = path.read_bytes()
    files[SETTINGS_FILE] = srsly.json_dumps({"pieces": encoder.style}, indent=2).encode("utf8")
    network = encoder.network
    if isinstance(network, OnnxNetwork):
        files[GRAPH_CONFIG_FILE] = srsly.json_dumps(network.settings, indent=2).encode("utf8")
        files[GRAPH_FILE] = network.graph
        return files
    config = network.transformer.config.to_dict()
    config.pop("_name_or_path", None)  # a path of the machine that trained means nothing later
    files[CONFIG_FILE] = srsly.json_dumps(config, indent=2, sort_keys=True).encode("utf8")
    with encoder.gate.predicting():
        files[WEIGHTS_FILE] = tensors_to_bytes(network)
    return files


def from_files(files: dict[str, bytes], source: str, options: EncoderOptions) -> Encoder:
    """Load what `to_files` gave.

    source (str): Where the files come from, for error messages.
    RAISES (ValueError): If a file is missing or damaged.
    """
    quantized = GRAPH_CONFIG_FILE in files
    config_file, weights_file = (
        (GRAPH_CONFIG_FILE, GRAPH_FILE) if quantized else (CONFIG_FILE, WEIGHTS_FILE)
    )
    for name in (config_file, weights_file):
        if name not in files:
            raise ValueError(f"{source}: the file {name} is missing. Copy the pipeline again.")
    settings = _read_json(files, config_file, source)
    style = _read_json(files, SETTINGS_FILE, source).get("pieces", "split")
    if style not in STYLES:
        raise ValueError(
            f"{source}: {SETTINGS_FILE} says pieces = {style!r}, which this version does not know. "
            "Update spacy_multitask."
        )
    tokenizer = _tokenizer_from_files(
        {name: data for name, data in files.items() if name != weights_file}, source
    )
    if quantized:
        try:
            network = OnnxNetwork(files[GRAPH_FILE], **settings)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{source}: {GRAPH_FILE} is damaged: {error}") from error
        return Encoder(network, tokenizer, network.longest_input, options, style)
    return _from_weights(files[WEIGHTS_FILE], settings, tokenizer, source, options, style)


def _read_json(files: dict[str, bytes], name: str, source: str) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): What a file holds; nothing if there is none."""
    try:
        data = json.loads(files.get(name, b"{}"))
    except ValueError as error:
        raise ValueError(f"{source}: {name} is damaged: {error}") from error
    if not isinstance(data, dict):
        raise ValueError(f"{source}: {name} is damaged: it holds no JSON object.")
    return data


def _from_weights(
    data: bytes,
    settings: dict[str, Any],
    tokenizer: Any,
    source: str,
    options: EncoderOptions,
    style: str,
) -> Encoder:
    from transformers import AutoConfig, AutoModel

    state = tensors_from_bytes(data, f"{source}: {WEIGHTS_FILE}")
    config = AutoConfig.for_model(**settings)
    with torch.random.fork_rng(devices=[]):  # its random start is thrown away at once
        transformer = AutoModel.from_config(config, trust_remote_code=False)
    has_shapes = "shape_embedding.weight" in state
    encoder = _assemble(transformer.float(), tokenizer, options, style, has_shapes=has_shapes)
    try:
        encoder.network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{source}: {WEIGHTS_FILE} does not fit {CONFIG_FILE}: {error}") from error
    return encoder


def _tokenizer_from_files(files: dict[str, bytes], source: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            path = Path(folder, name)
            if not path.resolve().is_relative_to(Path(folder).resolve()):
                raise ValueError(f"{source}: the file name {name!r} leaves its folder.")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return load_tokenizer(folder, local_files_only=True)


def write_folder(files: dict[str, bytes], path: Path) -> None:
    """Write an encoder's files, and a manifest that tells whether they belong together.

    RAISES (SavingError): If they can't be written; what was there before stays.
    """
    with new_folder(path) as folder:
        for name, data in {**files, MANIFEST_FILE: manifest(files)}.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)


def read_folder(path: Path, component: str) -> tuple[dict[str, bytes], str]:
    """RETURNS (Tuple[Dict[str, bytes], str]): What `write_folder` was given, and where it was.
    RAISES (ValueError): If a file is missing or damaged; it is named.
    """
    folder = last_good(path)
    if not folder.is_dir():
        raise ValueError(
            f"{folder} is missing: the weights of {component!r} should be there. Copy or "
            "train the pipeline again."
        )
    files = {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
    check_manifest(files, str(folder))
    files.pop(MANIFEST_FILE, None)
    return files, str(folder)
