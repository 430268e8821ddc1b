"""Pretrained encoders, from a folder or from the hub. What is wrong with one is said in a line."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
from torch import nn

from ..layers import peft_adapter
from ..layers.network import TransformerNetwork, encoder_of
from ..layers.shim import check_header
from ..plain import from_json
from . import adapting, settings
from .contexts import Cutter
from .encode import Encoder, EncoderOptions
from .freezing import freeze
from .shapes import N_SHAPES
from .tokenizer import is_uncased, load_tokenizer, special_pieces
from .traits import Traits, cls_column, longest_input, probe

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_OLD_WEIGHTS = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_OTHER_WEIGHTS = {
    "tf_model.h5": "TensorFlow",
    "model.ckpt.index": "TensorFlow",
    "flax_model.msgpack": "Flax",
}
_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "bpe.codes")
_SUFFIXES = (".safetensors", ".bin")
# A model may have a part that was not saved, such as a decoder.
_NUMBERS_PER_BYTE = 8
_MOST_PARTS = 10_000  # of the largest ones 3,000
_LFS = b"version https://git-lfs"
# Tokenizers that have no vocabulary.
_CHARACTERS = ("CanineTokenizer", "ByT5Tokenizer")
_PROBE = "The old town near the river made a lot of profit, said Anna Smith of New York in 1996."


def load_pretrained(name: str, options: EncoderOptions) -> Encoder:
    """Load weights and tokenizer by name, from a folder or from the hub.

    RAISES (ValueError): If no encoder is named, it can't be loaded, or options do not suit it.
    """
    if not name:
        raise ValueError(
            "No encoder is named. Set components.transformer.model.name to a folder or to a "
            'hub name such as "distilbert-base-uncased".'
        )
    try:
        tokenizer, transformer = _load(name)
    except Exception as error:  # transformers, tokenizers and safetensors have no common class
        adapter = None if _is_folder(name) else adapting.adapter_on_hub(name)
        if adapter is not None:
            return load_pretrained(str(adapter), options)
        raise ValueError(f"Can't load the encoder {name!r}: {_cause(error)}") from error
    shapes = is_uncased(tokenizer) if options.word_shapes is None else options.word_shapes
    network = make_network(transformer, options, has_shapes=shapes)
    if options.dropout is not None and not _set_dropout(network, options.dropout):
        raise ValueError(
            f"dropout = {options.dropout}: {name} has no dropout that could be set. Leave it null."
        )
    learn_in_part(network, options)
    traits = _find_traits(network, tokenizer, options, name)
    return Encoder(network, tokenizer, traits, options)


def learn_in_part(network: TransformerNetwork, options: EncoderOptions) -> None:
    """Let just that part of a pretrained network learn that the options ask for.

    RAISES (ValueError): If they do not suit it.
    """
    adapting.adapt(network, options.adapter, options.freeze)
    freeze(network, options.freeze)


def _load(name: str) -> tuple[Any, Any]:
    """RETURNS (tuple): Tokenizer and model; of an adapter, those of its base, merged."""
    adapter = adapting.adapter_in(name)
    if adapter is None and _is_folder(name):
        with adapting.bare(check_folder(Path(name))) as place:
            tokenizer, transformer = load_tokenizer(place), _load_model(place)
    elif adapter is None:
        tokenizer, transformer = load_tokenizer(name), _load_model(name)
    else:
        with adapting.base_of(adapter) as base:
            if adapting.adapter_in(base) is not None:
                raise ValueError(f"its base {base} is an adapter itself. Merge that first.")
            tokenizer, transformer = _load(base)
        if _has_tokenizer(adapter):
            tokenizer = load_tokenizer(str(adapter))
        inner = encoder_of(transformer)
        peft_adapter.add_trained(inner, *adapting.read_folder(adapter))
        peft_adapter.merge(inner)
    _check_vocabulary(tokenizer, transformer)
    return tokenizer, transformer


def make_network(
    transformer: Any, options: EncoderOptions, *, has_shapes: bool
) -> TransformerNetwork:
    """Make a network of a model of transformers.

    RAISES (ValueError): If an option does not suit it.
    """
    network = TransformerNetwork(
        transformer.float(), n_shapes=N_SHAPES if has_shapes else 0, layers=options.layers
    )
    transformer = network.transformer
    if options.dropout is not None:
        _set_dropout(network, options.dropout)
    if options.gradient_checkpointing:
        if not transformer.supports_gradient_checkpointing:
            kind = type(transformer).__name__
            raise ValueError(
                f"gradient_checkpointing = true: {kind} can't do that. Set it to false; smaller "
                "batches save memory, too."
            )
        transformer.gradient_checkpointing_enable({"use_reentrant": False})
    if options.compile:
        # In place, so that the weights keep their names. No two micro-batches have one shape.
        network.compile(dynamic=True)
    return network


def _set_dropout(network: nn.Module, dropout: float) -> bool:
    """RETURNS (bool): Whether there was something to set."""
    reached = False
    for part in network.modules():
        if isinstance(part, nn.Dropout):
            part.p, reached = dropout, True
        for name in ("dropout_prob", "attention_dropout", "attn_dropout", "dropout"):
            if type(getattr(part, name, None)) is float:  # a rate that attention keeps
                setattr(part, name, dropout)
                reached = True
    return reached


def _find_traits(
    network: TransformerNetwork, tokenizer: Any, options: EncoderOptions, name: str
) -> Traits:
    limit = longest_input(network.transformer, tokenizer)
    if options.window is not None and options.window > limit:
        raise ValueError(
            f"window = {options.window}: {name} takes {limit} pieces at once. Set "
            "components.transformer.model.window to that or less."
        )
    style = "text" if options.spaces else "spaced"
    prefix, suffix = special_pieces(tokenizer)
    (ids,) = Cutter(tokenizer, style).cut([_PROBE], np.zeros(1, np.int64))
    pieces = np.concatenate([prefix, ids[: max(4, limit - len(prefix) - len(suffix))], suffix])
    found = probe(network, pieces.astype(np.int64), int(tokenizer.pad_token_id or 0))
    if not found.pads:
        warnings.warn(
            f"{name}: padding changes the vectors of a text"
            + (f" (by {found.padding:.2g} of {found.scale:.2g})" if found.takes_mask else "")
            + ". So only texts of one length share a micro-batch, which takes more time.",
            stacklevel=2,
        )
    if found.causal:
        warnings.warn(
            f"{name} reads from left to right: the vector of a word knows nothing of what comes "
            'after it. Choose an encoder that reads both ways, or set pooling = "last", so that '
            "the vector knows the whole word.",
            stacklevel=2,
        )
    if options.doc_pooling == "cls":
        if cls_column(tokenizer, prefix, suffix, causal=found.causal) is None:
            raise ValueError(
                f'doc_pooling = "cls": the tokenizer of {name} adds no piece that could stand for '
                'a whole text. Set it to "mean".'
            )
    return Traits(style, limit, causal=found.causal, pads=found.pads)


def _load_model(place: str) -> Any:
    from transformers import AutoConfig, AutoModel, PretrainedConfig

    is_here = Path(place).is_dir()
    values, _ = PretrainedConfig.get_config_dict(place, local_files_only=is_here)
    if values.get("model_type") not in settings.TEXT_MODELS and values.get("auto_map"):
        raise ValueError(
            f"models of the kind {values.get('model_type')!r} come with code of their own, which "
            "is not run. Choose another encoder, or a version of it that transformers itself has."
        )
    auto_map = values.pop("auto_map", None)
    settings.check(values, "config.json")
    settings.check_known(values, "config.json")
    config = AutoConfig.from_pretrained(place, trust_remote_code=False, local_files_only=is_here)
    if is_here:
        _check_sizes(config, Path(place))
    model, info = AutoModel.from_pretrained(
        place,
        config=config,
        trust_remote_code=False,
        local_files_only=is_here,
        output_loading_info=True,
    )
    _check_weights(model, info, auto_map)
    return model


def _check_sizes(config: Any, folder: Path) -> None:
    """RAISES (ValueError): If a model of this config would be out of proportion to its weights."""
    source = str(folder / "config.json")
    n_bytes = sum(f.stat().st_size for f in folder.iterdir() if f.suffix in _SUFFIXES)
    most = _NUMBERS_PER_BYTE * n_bytes
    settings.check_table(config, source, most)
    with settings.sketching(_MOST_PARTS):
        sketch = settings.to_model(config, source)
    n_numbers = sum(part.numel() for part in sketch.parameters())
    if n_numbers > most:
        raise ValueError(
            f"{source} calls for {n_numbers:,} weights, and the files of weights have {n_bytes:,} "
            "bytes. Download the encoder again."
        )


def _check_weights(model: Any, info: dict[str, Any], auto_map: Any) -> None:
    """RAISES (ValueError): If weights of the encoder are missing: they would be random."""
    encoder = encoder_of(model)
    missing = sorted(info["missing_keys"])
    if encoder is not model:
        missing = [name for name in missing if not name.startswith("decoder.")]
    buffers = {name for name, _ in model.named_buffers()}
    missing = [n for n in missing if "pooler." not in n and n not in buffers]
    if not missing:
        return
    other = sorted(info["unexpected_keys"])
    cause = "They are not of this kind of model, or only a part of one."
    prefixes = {n[: -len(missing[0])] for n in other if n.endswith("." + missing[0])}
    if auto_map:
        cause = "Its config.json names code of its own (auto_map), which is not run."
    elif prefixes:
        cause = f"They are there with {min(prefixes)!r} before their names: save the inner model."
    elif any("lora_" in name for name in other):
        cause = "They hold an adapter; merge it into its base first (merge_and_unload of peft)."
    n_all = sum(1 for _ in encoder.parameters())
    raise ValueError(
        f"{len(missing)} of {n_all} weights are missing and would be random, such as "
        f"{missing[0]}. {cause}"
    )


def _check_vocabulary(tokenizer: Any, transformer: Any) -> None:
    """RAISES (ValueError): If the tokenizer has no pieces, or more than the model."""
    if type(tokenizer).__name__ in _CHARACTERS:
        return
    vocabulary = tokenizer.get_vocab()
    ordinary = vocabulary.keys() - set(tokenizer.all_special_tokens)
    if not ordinary:
        raise ValueError("its tokenizer has no pieces: the tokenizer's files are missing.")
    try:
        embedding = encoder_of(transformer).get_input_embeddings()
    except NotImplementedError:
        return
    n_rows = getattr(embedding, "num_embeddings", None)
    most = max(vocabulary.values()) + 1
    if n_rows is not None and most > n_rows:
        raise ValueError(
            f"its tokenizer has {most} pieces, the model {n_rows}. Pieces were added to the "
            "tokenizer alone: resize_token_embeddings of the model, and save it again."
        )


# Folders


def _is_folder(name: str) -> bool:
    """RETURNS (bool): Whether a name is meant as a folder, which the hub's names are not."""
    path = Path(name)
    looks_so = path.is_absolute() or name[:1] in ".~" or len(path.parts) != len(name.split("/"))
    return path.exists() or looks_so or len(path.parts) > 2


def check_folder(folder: Path) -> Path:
    """See that a folder holds an encoder.

    RETURNS (Path): The folder itself, or the one inside that sentence-transformers puts it in.
    RAISES (ValueError): If something is missing or cut off; it is named.
    """
    folder = folder.expanduser()
    if not folder.is_dir():
        what = "it is a file" if folder.exists() else "there is no such folder"
        raise ValueError(f"{what}. Give a folder, or a hub name such as distilbert-base-uncased.")
    if not (folder / "config.json").is_file():
        inner = sorted(folder.glob("*_Transformer/config.json"))
        if inner:
            return check_folder(inner[0].parent)
    _check_whole(folder)
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"{folder / 'config.json'} is missing. Copy or download the encoder again."
        )
    if (folder / adapting.CONFIG_FILE).is_file():  # which would be put on a base from elsewhere
        raise ValueError(f"{folder} holds an adapter, too. Name that folder itself.")
    _check_has_weights(folder)
    _check_has_tokenizer(folder)
    return folder


def _check_whole(folder: Path) -> None:
    for file in sorted(folder.iterdir()):
        if not file.is_file():
            continue
        with file.open("rb") as stream:
            if stream.read(len(_LFS)) == _LFS:
                raise ValueError(
                    f"{file} is a pointer of git-lfs and not the file: run `git lfs pull` there."
                )
        if file.suffix == ".safetensors":
            check_header(file)
        if file.name == "config.json":
            _read_json(file)


def _read_json(file: Path) -> dict[str, Any]:
    return from_json(file.read_bytes(), str(file))


def _check_has_weights(folder: Path) -> None:
    if any((folder / name).is_file() for name in (*_WEIGHTS, *_OLD_WEIGHTS)):
        for index in (_WEIGHTS[1], _OLD_WEIGHTS[1]):
            if (folder / index).is_file():
                parts = set(_read_json(folder / index).get("weight_map", {}).values())
                absent = sorted(part for part in parts if not (folder / part).is_file())
                if absent:
                    raise ValueError(f"{folder / absent[0]} is missing. Download it again.")
        return
    for name, library in _OTHER_WEIGHTS.items():
        if (folder / name).is_file():
            raise ValueError(
                f"{folder} has weights for {library} alone ({name}). Convert them: load them with "
                f"AutoModel.from_pretrained(..., from_{'flax' if library == 'Flax' else 'tf'}=True)"
                " of transformers 4, and save_pretrained."
            )
    raise ValueError(f"{folder / _WEIGHTS[0]} is missing. Copy or download the encoder again.")


def _has_tokenizer(folder: Path) -> bool:
    file = folder / "tokenizer_config.json"
    kind = _read_json(file).get("tokenizer_class") if file.is_file() else None
    names = (file.name for file in folder.iterdir())
    return kind in _CHARACTERS or any(n in _VOCABULARIES or n.endswith(".model") for n in names)


def _check_has_tokenizer(folder: Path) -> None:
    models = sorted(folder.glob("*.model"))
    if _has_tokenizer(folder):
        needs = [n for n in ("sentencepiece", "google.protobuf") if not _is_installed(n)]
        if models and needs and not any((folder / n).is_file() for n in _VOCABULARIES):
            raise ValueError(f"{models[0]}: {_SENTENCEPIECE}")
        return
    raise ValueError(
        f"{folder / 'tokenizer.json'} is missing, and so is a vocabulary in another form. Save the "
        "tokenizer there, too."
    )


_SENTENCEPIECE = (
    "the tokenizer is a SentencePiece model without a tokenizer.json, and needs more packages: "
    "pip install 'spacy_multitask[sentencepiece]'"
)


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _cause(error: Exception) -> str:
    """RETURNS (str): What an error says, in one line and without advice that can't be followed."""
    text = " ".join(str(error).split())
    if "sentencepiece" in text.lower() and not _is_installed("sentencepiece"):
        return _SENTENCEPIECE
    if isinstance(error, UnpicklingError):
        return "pytorch_model.bin is damaged, or holds more than weights. Get model.safetensors."
    if "trust_remote_code" in text:
        return "it comes with code of its own, which is not run. Choose another encoder."
    if isinstance(error, ValueError) and type(error).__module__ == "builtins" and len(text) < 600:
        return text
    if "offline" in text or "couldn't connect" in text.lower() or "is not a local folder" in text:
        return (
            "there is no folder of this name, and the hub does not have it or can't be reached. "
            f"({text[:200]})"
        )
    return f"{text[:400] or type(error).__name__}"
