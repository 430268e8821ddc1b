"""Encoders and files: to those of a saved pipeline, and back. What is read comes from others."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import srsly
import torch

from ..layers import peft_adapter
from ..layers.network import TransformerNetwork
from ..layers.onnx import OnnxNetwork
from ..layers.shim import check_header, check_shapes, tensors_from_bytes, tensors_to_bytes
from ..plain import from_json
from ..safe_files import (
    MANIFEST_FILE,
    check_manifest,
    last_good,
    manifest,
    new_folder,
    read_plain,
)
from . import adapting, fingerprint, settings, tokenizer
from .contexts import STYLES
from .encode import Encoder, EncoderOptions
from .freezing import freeze
from .pretrained import learn_in_part, make_network
from .tokenizer import NO_LENGTH
from .traits import NO_LIMIT, Traits, longest_input

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
GRAPH_FILE = "model.int8.onnx"
GRAPH_CONFIG_FILE = "onnx.json"
TRAITS_FILE = "encoder.json"  # 0.1.0 had none
_AGAIN = "Copy the pipeline again."
# Nothing else in a folder is read.
FILES = (
    MANIFEST_FILE,
    CONFIG_FILE,
    WEIGHTS_FILE,
    GRAPH_CONFIG_FILE,
    GRAPH_FILE,
    TRAITS_FILE,
    adapting.CONFIG_FILE,
    adapting.WEIGHTS_FILE,
    *tokenizer.TOKENIZER_FILES,
)
_MOST_TABLES = 1 << 28  # bytes of what is computed when a model is made, of a small one
# Most bytes of a file that is read: of JSON, and of others.
_MOST_JSON = 10_000_000
_MOST_BYTES = {
    WEIGHTS_FILE: 1 << 40,
    adapting.WEIGHTS_FILE: 1 << 40,
    GRAPH_FILE: 1 << 31,  # as of anything in the format
    **dict.fromkeys(tokenizer.TOKENIZER_FILES, 200_000_000),
}


def to_files(encoder: Encoder) -> dict[str, bytes]:
    """RETURNS (Dict[str, bytes]): File names and contents."""
    files = tokenizer.to_files(encoder.tokenizer)
    known = {**asdict(encoder.traits), "fingerprint": fingerprint.take(encoder)}
    files[TRAITS_FILE] = srsly.json_dumps(known, indent=2).encode("utf8")
    network = encoder.network
    if isinstance(network, OnnxNetwork):
        files[GRAPH_CONFIG_FILE] = srsly.json_dumps(network.settings, indent=2).encode("utf8")
        files[GRAPH_FILE] = network.graph
        return files
    config = settings.from_config(network.config)
    files[CONFIG_FILE] = srsly.json_dumps(config, indent=2, sort_keys=True).encode("utf8")
    with encoder.gate.predicting():
        if not peft_adapter.is_adapted(network.transformer):
            files[WEIGHTS_FILE] = tensors_to_bytes(network.state_dict())
        elif encoder.options.adapter is not None and encoder.options.adapter.merge:
            files[WEIGHTS_FILE] = tensors_to_bytes(peft_adapter.merged(network))
        else:
            transformer = network.transformer
            files[WEIGHTS_FILE] = tensors_to_bytes(peft_adapter.without(network))
            files[adapting.WEIGHTS_FILE] = tensors_to_bytes(peft_adapter.state_of(transformer))
            values = peft_adapter.settings_of(transformer)
            files[adapting.CONFIG_FILE] = srsly.json_dumps(values, indent=2).encode("utf8")
    return files


def from_files(files: dict[str, bytes], source: str, options: EncoderOptions) -> Encoder:
    """Load what `to_files` gave.

    source (str): Where the files come from, for error messages.
    RAISES (ValueError): If a file is missing or damaged, names code to be run or is out of
        proportion, or if the encoder gives something else here than where it was saved.
    """
    try:
        return _from_files(files, source, options)
    except IndexError as error:
        raise ValueError(
            f"{source}: the tokenizer gives pieces that the network has no vectors for. Copy the "
            "pipeline again."
        ) from error
    except BaseException as error:  # the tokenizers' own are no Exception
        if type(error).__name__ != "PanicException":
            raise
        raise ValueError(f"{source}: {tokenizer.TOKENIZER_FILE} is damaged: {error}") from error


def _from_files(files: dict[str, bytes], source: str, options: EncoderOptions) -> Encoder:
    quantized = GRAPH_CONFIG_FILE in files
    config_file, weights_file = (
        (GRAPH_CONFIG_FILE, GRAPH_FILE) if quantized else (CONFIG_FILE, WEIGHTS_FILE)
    )
    for name in (config_file, weights_file):
        if name not in files:
            raise ValueError(f"{source}: the file {name} is missing. {_AGAIN}")
    config = from_json(files[config_file], f"{source}: {config_file}")
    known = from_json(files.get(TRAITS_FILE, b"{}"), f"{source}: {TRAITS_FILE}")
    network: TransformerNetwork | OnnxNetwork
    if quantized:
        try:
            network = OnnxNetwork(files[GRAPH_FILE], **config)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{source}: {GRAPH_FILE} is damaged: {error}") from error
        words = tokenizer.from_files(files, source)
        limit = min(int(network.longest_input), NO_LIMIT)
    else:
        network = _from_weights(files[WEIGHTS_FILE], config, source, options)
        n_rows = getattr(network.input_embeddings, "num_embeddings", None)
        words = tokenizer.from_files(files, source, n_rows)
        # One without the other is none; if one is missing, the fingerprint tells.
        if {adapting.CONFIG_FILE, adapting.WEIGHTS_FILE} <= files.keys():
            _add_adapter(network, files, source)
        freeze(network, options.freeze)
        limit = longest_input(network.transformer, words)
    if not known and words.model_max_length > NO_LENGTH:
        limit = min(limit, 512)  # what 0.1.0 took where the tokenizer did not say
    traits = _traits(known, limit, source)
    try:
        encoder = Encoder(network, words, traits, options)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    if "fingerprint" in known:
        fingerprint.check(encoder, known["fingerprint"], source)
    return encoder


def _add_adapter(network: TransformerNetwork, files: dict[str, bytes], source: str) -> None:
    values = from_json(files[adapting.CONFIG_FILE], f"{source}: {adapting.CONFIG_FILE}")
    where = f"{source}: {adapting.WEIGHTS_FILE}"
    adapting.load(network, values, tensors_from_bytes(files[adapting.WEIGHTS_FILE], where), source)


def is_saved(name: str) -> bool:
    """RETURNS (bool): Whether a name is that of a trained pipeline's encoder."""
    return all(Path(name, file).is_file() for file in (TRAITS_FILE, MANIFEST_FILE))


def load_saved(name: str, options: EncoderOptions) -> Encoder:
    """Load the encoder of a trained pipeline, to train it on. An adapter becomes a part of it.

    RAISES (ValueError): If it can't be loaded, is quantized, or options do not suit it.
    """
    encoder = from_files(*read_folder(Path(name), "transformer"), options)
    network = encoder.network
    if isinstance(network, OnnxNetwork):
        raise ValueError(
            f"{name} holds an int8 graph, which can't learn. Name the one that it was made from."
        )
    if peft_adapter.is_adapted(network.transformer):
        network.merge_adapter()
    learn_in_part(network, options)
    return encoder


def _traits(known: dict[str, Any], limit: int, source: str) -> Traits:
    """RETURNS (Traits): What encoder.json says, or what held of all pipelines of 0.1.0."""
    if not known:
        return Traits("split", limit)
    if known.get("pieces") not in STYLES:
        raise ValueError(
            f"{source}: {TRAITS_FILE} says pieces = {known.get('pieces')!r}, which is none of "
            f"{', '.join(STYLES)}. Update spacy_multitask, or copy the pipeline again."
        )
    try:
        return Traits(
            known["pieces"],
            min(int(known["longest_input"]), limit),
            bool(known["causal"]),
            bool(known["pads"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{source}: {TRAITS_FILE} is damaged: {error!r}") from error


def _from_weights(
    data: bytes, values: dict[str, Any], source: str, options: EncoderOptions
) -> TransformerNetwork:
    where = f"{source}: {CONFIG_FILE}"
    state = tensors_from_bytes(data, f"{source}: {WEIGHTS_FILE}")
    settings.check(values, where, n_tensors=len(state))
    config = settings.to_config(values, where)
    settings.check_table(config, where, sum(value.numel() for value in state.values()))
    has_shapes = "shape_embedding.weight" in state
    with torch.random.fork_rng(devices=[]):  # its random start is thrown away at once
        with settings.sketching(20 * len(state) + 1000):
            sketch = _make(config, where, options, has_shapes)
        _check_fits(sketch, state, source)
        network = _make(config, where, options, has_shapes)
    network.load_state_dict(state)
    return network


def _make(config: Any, where: str, options: EncoderOptions, has_shapes: bool) -> TransformerNetwork:
    return make_network(settings.to_model(config, where), options, has_shapes=has_shapes)


def _check_fits(network: TransformerNetwork, state: dict[str, torch.Tensor], source: str) -> None:
    """RAISES (ValueError): If weights are missing, too many or of another shape, or if tables that
    are computed would be much larger than the weights."""
    try:
        check_shapes(network, state)
    except ValueError as error:
        raise ValueError(
            f"{source}: {WEIGHTS_FILE} does not fit {CONFIG_FILE}: {error}. Copy the pipeline "
            "again."
        ) from error
    n_bytes = sum(value.nbytes for value in state.values())
    n_tables = sum(value.nbytes for value in network.buffers())
    if n_tables > 10 * n_bytes + _MOST_TABLES:
        raise ValueError(
            f"{source}: {CONFIG_FILE} calls for tables of {n_tables:,} bytes beside weights of "
            f"{n_bytes:,}. It is damaged; copy the pipeline again."
        )


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
    names = os.listdir(folder)
    follows = MANIFEST_FILE in names
    files = {name: _read(folder / name, follows) for name in FILES if name in names}
    check_manifest(files, str(folder))
    files.pop(MANIFEST_FILE, None)
    return files, str(folder)


def _read(file: Path, follows: bool) -> bytes:
    """Read a file of a saved encoder.

    follows (bool): Whether links are followed: to files that a manifest vouches for, as in a cache
        of the hub.
    RAISES (ValueError): If it is no file, or too large for what it is.
    """
    if file.name in (WEIGHTS_FILE, adapting.WEIGHTS_FILE) and file.is_file():
        check_header(file)
    most = _MOST_BYTES.get(file.name, _MOST_JSON)
    return read_plain(file, most=most, follows=follows)
