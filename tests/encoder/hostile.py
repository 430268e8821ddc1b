"""Folders of pipelines that were made to do harm, and what is said of each.

`SPOILED` maps a name to a function that spoils the folder `transformer/model` of a saved pipeline,
and to the words by which it is refused; None where the pipeline loads and what was put there is
not heeded.
"""

from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import srsly
import torch
from safetensors.torch import load, save

from spacy_multitask.encoder.files import FILES
from spacy_multitask.safe_files import MANIFEST_FILE, manifest

HUGE = 10**12
SPARSE = 5 << 30  # bytes, of a file that takes none on the disk
CODE = "from pathlib import Path\nPath({marker!r}).touch()\n"
Spoil = Callable[[Path], Any]


class Evil:
    """What a pickle would call."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> tuple:
        return Path.touch, (self.marker,)


def edit(path: Path, drop: tuple[str, ...] = (), **values: Any) -> None:
    """Change entries of a JSON file."""
    data = json.loads(path.read_text(encoding="utf8")) if path.is_file() else {}
    data = {name: value for name, value in data.items() if name not in drop}
    path.write_text(json.dumps({**data, **values}), encoding="utf8")


def config(**values: Any) -> Spoil:
    return lambda folder: edit(folder / "config.json", **values)


def other_config(**values: Any) -> Spoil:
    return lambda folder: (folder / "config.json").write_text(json.dumps(values))


def tokenizer_config(**values: Any) -> Spoil:
    return lambda folder: edit(folder / "tokenizer_config.json", **values)


def traits(**values: Any) -> Spoil:
    # Without what else would be compared.
    return lambda folder: edit(folder / "encoder.json", ("fingerprint",), **values)


def content(name: str, data: bytes) -> Spoil:
    return lambda folder: (folder / name).write_bytes(data)


def marker(folder: Path) -> Path:
    """RETURNS (Path): A file that is there once code of the folder has run."""
    return folder.parents[1] / "was_run"


def remote_code(folder: Path) -> None:
    (folder / "evil.py").write_text(CODE.format(marker=str(marker(folder))), encoding="utf8")
    names = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
    edit(folder / "config.json", auto_map=names)


def remote_tokenizer(folder: Path) -> None:
    (folder / "evil.py").write_text(CODE.format(marker=str(marker(folder))), encoding="utf8")
    names = {"AutoTokenizer": ["evil.Tokenizer", "evil.Fast"]}
    edit(folder / "tokenizer_config.json", auto_map=names, tokenizer_class="Evil")


def remote_slow_tokenizer(folder: Path) -> None:
    remote_tokenizer(folder)
    (folder / "tokenizer.json").unlink()


def pickled(name: str) -> Spoil:
    return lambda folder: (folder / name).write_bytes(pickle.dumps(Evil(marker(folder))))


def pickled_instead(folder: Path) -> None:
    pickled("pytorch_model.bin")(folder)
    (folder / "model.safetensors").unlink()


def sparse(name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).touch()
        os.truncate(folder / name, SPARSE)

    return spoil


def fifo(name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return spoil


def loop(name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(name)

    return spoil


def link(name: str) -> Spoil:
    """What was in the file is elsewhere now, and the file a link to it."""

    def spoil(folder: Path) -> None:
        outside = folder.parents[1] / "outside"
        (folder / name).rename(outside)
        (folder / name).symlink_to(outside)

    return spoil


def as_folder(name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return spoil


def weights(**entries: dict[str, Any]) -> Spoil:
    """A header of safetensors that says other things of some tensors."""

    def spoil(folder: Path) -> None:
        file = folder / "model.safetensors"
        data = file.read_bytes()
        (size,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + size])
        header.update({name.replace("__", "."): value for name, value in entries.items()})
        text = json.dumps(header).encode()
        file.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])

    return spoil


def header_size(size: int) -> Spoil:
    def spoil(folder: Path) -> None:
        file = folder / "model.safetensors"
        file.write_bytes(struct.pack("<Q", size) + file.read_bytes()[8:])

    return spoil


def sparse_weights(folder: Path) -> None:
    """A header that says it is large itself, in a file that is large."""
    header_size(SPARSE - 8)(folder)
    os.truncate(folder / "model.safetensors", SPARSE)


def tokenizer(**values: Any) -> Spoil:
    return lambda folder: edit(folder / "tokenizer.json", **values)


def more_pieces(folder: Path) -> None:
    file = folder / "tokenizer.json"
    data = json.loads(file.read_text(encoding="utf8"))
    data["model"]["vocab"]["smith"] = 10**6
    file.write_text(json.dumps(data), encoding="utf8")


def slow(kind: str, **values: Any) -> Spoil:
    """A tokenizer without tokenizer.json."""

    def spoil(folder: Path) -> None:
        (folder / "tokenizer.json").unlink()
        (folder / "tokenizer_config.json").write_text(
            json.dumps({"tokenizer_class": kind, **values})
        )

    return spoil


def slow_with_pipe(folder: Path) -> None:
    fifo("pipe")(folder)
    names = {"vocab_file": str(folder / "pipe"), "merges_file": str(folder / "pipe")}
    slow("PhobertTokenizer", **names)(folder)


def graph(data: bytes, **values: Any) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / "model.int8.onnx").write_bytes(data)
        (folder / "onnx.json").write_text(json.dumps({"width": 32, "longest_input": 64, **values}))

    return spoil


DEEP = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
NO_TEXT = [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}]
ALBERT = {"model_type": "albert", "vocab_size": 100, "embedding_size": 8, "hidden_size": 8}
DISTILBERT = {"model_type": "distilbert", "vocab_size": 100, "sinusoidal_pos_embds": True}
KERNEL = "owner/kernel:attention"
SPOILED: dict[str, tuple[Spoil, tuple[str, ...] | None]] = {
    # Code
    "an attention kernel": (
        config(attn_implementation=KERNEL),
        ("config.json", "attn_implementation", KERNEL),
    ),
    "an attention kernel under its inner name": (
        config(_attn_implementation=KERNEL),
        ("config.json", "_attn_implementation"),
    ),
    "an attention kernel of an inner config": (
        config(text_config={"attn_implementation": KERNEL}),
        ("config.json", "attn_implementation"),
    ),
    "an attention kernel in a list": (
        config(parts=[{"attn_implementation": KERNEL}]),
        ("config.json", "attn_implementation"),
    ),
    "an attention kernel by part": (
        config(attn_implementation={"": KERNEL}),
        ("config.json", "attn_implementation"),
    ),
    "an attention that kernels stand in for": (
        config(attn_implementation="flash_attention_2"),
        ("config.json", "flash_attention_2"),
    ),
    "kernels": (config(use_kernels=True), ("config.json", "use_kernels")),
    "experts": (config(experts_implementation=KERNEL), ("config.json", "experts_implementation")),
    "a timm backbone": (
        other_config(
            model_type="detr",
            use_timm_backbone=True,
            backbone="hf-hub:owner/evil",
            use_pretrained_backbone=True,
        ),
        ("config.json", "'detr'"),
    ),
    "a timm backbone of a text encoder": (
        config(backbone="hf-hub:owner/evil"),
        ("config.json", "backbone"),
    ),
    "a kind that fetches kernels": (other_config(model_type="yoso"), ("config.json", "'yoso'")),
    "another kind that fetches kernels": (
        other_config(model_type="mra"),
        ("config.json", "'mra'"),
    ),
    "code beside the weights": (remote_code, ("config.json", "auto_map")),
    "code on the hub": (
        config(auto_map={"AutoModel": "owner/name--model.Evil"}),
        ("config.json", "auto_map"),
    ),
    "a kind with code of its own": (
        other_config(model_type="evil", auto_map={"AutoConfig": "evil.Config"}),
        ("config.json", "'evil'"),
    ),
    "a tokenizer with code of its own": (remote_tokenizer, None),
    "a slow tokenizer with code of its own": (remote_slow_tokenizer, ("tokenizer.json",)),
    "pickled weights beside the others": (pickled("pytorch_model.bin"), None),
    "pickled weights instead": (pickled_instead, ("model.safetensors is missing",)),
    "pickled weights by another name": (pickled("model.safetensors"), ("model.safetensors",)),
    "pickled settings": (pickled("config.json"), ("config.json",)),
    "quantized weights": (
        config(quantization_config={"quant_method": "gptq", "bits": 4}),
        ("config.json", "quantization_config"),
    ),
    "an adapter whose base is on the hub": (
        lambda f: edit(f / "adapter_config.json", base_model_name_or_path="owner/base"),
        None,
    ),
    "another name": (
        config(_name_or_path="owner/name", base_model_name_or_path="owner/base"),
        None,
    ),
    "a chat template": (content("chat_template.jinja", b"{{ 10**10**10 }}"), None),
    "a chat template in the settings": (tokenizer_config(chat_template="{{ 10**10**10 }}"), None),
    # Sizes
    "10^12 pieces": (config(vocab_size=HUGE), ("model.safetensors", "config.json")),
    "10^12 columns": (config(hidden_size=HUGE), ("config.json",)),
    "10^12 inner columns": (config(intermediate_size=HUGE), ("config.json",)),
    "10^12 positions": (config(max_position_embeddings=HUGE), ("config.json",)),
    "10^7 layers": (config(num_hidden_layers=10**7), ("config.json", "num_hidden_layers")),
    "10^7 heads": (config(num_attention_heads=10**7), ("config.json",)),
    "no heads": (config(num_attention_heads=0), ("config.json",)),
    "no columns": (config(hidden_size=0), ("config.json",)),
    "fewer columns than none": (config(hidden_size=-32), ("config.json",)),
    "a size that is none": (config(hidden_size="32; import os"), ("config.json",)),
    "infinitely many columns": (config(hidden_size=float("inf")), ("config.json",)),
    "layers in a list": (config(num_hidden_layers=[2, 2]), ("config.json",)),
    "layers within layers": (
        other_config(**ALBERT, num_hidden_groups=900, inner_group_num=900),
        ("config.json",),
    ),
    "many blocks": (
        other_config(model_type="funnel", block_sizes=[900] * 900, vocab_size=100),
        ("config.json",),
    ),
    "repeated blocks": (
        other_config(model_type="funnel", block_sizes=[900], block_repeats=[900], vocab_size=100),
        ("config.json",),
    ),
    "many networks in many layers": (
        other_config(model_type="mobilebert", num_hidden_layers=900, num_feedforward_networks=900),
        ("config.json",),
    ),
    "many languages": (
        other_config(model_type="xmod", languages=[str(i) for i in range(10**5)]),
        ("config.json",),
    ),
    "a table of sines": (
        other_config(**DISTILBERT, max_position_embeddings=10**7),
        ("config.json",),
    ),
    "a wide table of sines": (
        other_config(**DISTILBERT, max_position_embeddings=10**4, dim=10**5, n_heads=1),
        ("config.json",),
    ),
    "a square of positions": (
        other_config(model_type="gpt_neo", max_position_embeddings=10**6, num_layers=24),
        ("config.json",),
    ),
    "heads to be cut from each layer": (
        config(pruned_heads={str(i): [0] for i in range(10**4)}),
        None,
    ),
    "an activation by the name of code": (config(hidden_act="os.system"), ("config.json",)),
    # JSON
    "JSON in JSON in JSON": (content("config.json", DEEP), ("config.json",)),
    "deep JSON of a tokenizer": (content("tokenizer.json", DEEP), ("tokenizer.json",)),
    "deep settings of a tokenizer": (
        content("tokenizer_config.json", DEEP),
        ("tokenizer_config.json",),
    ),
    "deep traits": (content("encoder.json", DEEP), ("encoder.json",)),
    "a deep manifest": (content(MANIFEST_FILE, DEEP), (MANIFEST_FILE,)),
    "JSON that is not UTF-8": (content("config.json", b'{"model_type": "\xff"}'), ("config.json",)),
    "a list": (content("config.json", b"[]"), ("config.json",)),
    "nothing": (content("config.json", b""), ("config.json",)),
    "a manifest of nothing": (content(MANIFEST_FILE, b"[]"), (MANIFEST_FILE,)),
    "a manifest of lies": (
        content(MANIFEST_FILE, b'{"config.json": {"size": -1, "sha256": []}}'),
        ("config.json",),
    ),
    "traits of lies": (traits(longest_input=HUGE), None),
    "traits of no length": (traits(longest_input=0), ("takes 0 pieces",)),
    "traits of words": (traits(longest_input="many"), ("encoder.json",)),
    "a fingerprint of lies": (
        lambda f: edit(f / "encoder.json", fingerprint={"pieces": DEEP.decode()[:99]}),
        ("fingerprint",),
    ),
    "a fingerprint of text": (
        lambda f: edit(f / "encoder.json", fingerprint="none"),
        ("fingerprint",),
    ),
    # Tokenizers
    "a tokenizer.json of something else": (
        lambda f: (f / "tokenizer.json").write_bytes((f / "config.json").read_bytes()),
        ("tokenizer.json",),
    ),
    "a tokenizer of bytes": (content("tokenizer.json", bytes(range(256))), ("tokenizer.json",)),
    "a tokenizer with more pieces than the model": (more_pieces, ("tokenizer.json", "pieces")),
    "a piece for padding that is new": (
        tokenizer_config(pad_token="[EVIL]"),
        ("pieces",),
    ),
    "padding to 10^9 pieces": (
        tokenizer(
            padding={
                "strategy": {"Fixed": 10**9},
                "direction": "Right",
                "pad_to_multiple_of": None,
                "pad_id": 0,
                "pad_type_id": 0,
                "pad_token": "[PAD]",
            }
        ),
        None,
    ),
    "a text that is left out": (
        tokenizer(
            post_processor={
                "type": "TemplateProcessing",
                "single": NO_TEXT,
                "pair": NO_TEXT,
                "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]}},
            }
        ),
        (),
    ),
    "a text that comes twice": (
        tokenizer(
            post_processor={
                "type": "TemplateProcessing",
                "single": [{"Sequence": {"id": "A", "type_id": 0}}] * 2,
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}] * 2,
                "special_tokens": {},
            }
        ),
        (),
    ),
    "special pieces without end": (
        tokenizer(
            post_processor={
                "type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}] * 1000
                + [{"Sequence": {"id": "A", "type_id": 0}}],
                "pair": NO_TEXT,
                "special_tokens": {
                    "[CLS]": {"id": "[CLS]", "ids": [2] * 1000, "tokens": ["[CLS]"] * 1000}
                },
            }
        ),
        ("pieces",),
    ),
    "a charsmap of nonsense": (
        tokenizer(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAAAAAA"}),
        ("tokenizer.json",),
    ),
    "inputs of no length": (tokenizer_config(model_max_length=0), ("tokenizer_config.json",)),
    "inputs of no number": (
        tokenizer_config(model_max_length=float("nan")),
        ("tokenizer_config.json",),
    ),
    "inputs of less than nothing": (
        tokenizer_config(model_max_length=-(10**9)),
        ("tokenizer_config.json",),
    ),
    "a tokenizer that reads a pipe": (slow_with_pipe, ("tokenizer",)),
    "a tokenizer with 10^9 pieces": (slow("ByT5Tokenizer", extra_ids=10**9), ("tokenizer",)),
    "a tokenizer that is trusted": (slow("CanineTokenizer", trust_remote_code=True), ("pieces",)),
    # Weights
    "offsets behind the end": (
        weights(evil={"dtype": "F32", "shape": [HUGE], "data_offsets": [0, 4 * HUGE]}),
        ("model.safetensors",),
    ),
    "a tensor over another": (
        weights(evil={"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}),
        ("model.safetensors",),
    ),
    "an empty tensor of 10^12 columns": (
        weights(layer_weights={"dtype": "F32", "shape": [0, HUGE], "data_offsets": [0, 0]}),
        ("model.safetensors",),
    ),
    "a shape of less than nothing": (
        weights(evil={"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}),
        ("model.safetensors",),
    ),
    "a header of 2^63 bytes": (header_size(1 << 63), ("model.safetensors",)),
    "a header of 5 GB": (sparse_weights, ("model.safetensors",)),
    "weights of 5 GB": (sparse("model.safetensors"), ("model.safetensors",)),
    "no weights": (content("model.safetensors", b""), ("model.safetensors",)),
    "a graph of nonsense": (graph(b"evil" * 99), ("model.int8.onnx",)),
    "a graph with options of its own": (graph(b"evil", evil=1), ("model.int8.onnx",)),
    # Files
    "5 GB beside the others": (sparse("extra.bin"), None),
    "a vocabulary of 5 GB": (sparse("vocab.txt"), ("vocab.txt",)),
    "a tokenizer of 5 GB": (sparse("tokenizer.json"), ("tokenizer.json",)),
    "settings of 5 GB": (sparse("config.json"), ("config.json",)),
    "a pipe beside the others": (fifo("extra"), None),
    "a loop beside the others": (loop("extra"), None),
    **{
        f"{what} in place of {name}": (make(name), (name,))
        for name in ("config.json", "model.safetensors", "tokenizer.json", "encoder.json")
        for what, make in (
            ("a pipe", fifo),
            ("a loop", loop),
            ("a link", link),
            ("a folder", as_folder),
        )
    },
    "a pipe in place of the manifest": (fifo(MANIFEST_FILE), (MANIFEST_FILE,)),
}
KEEPS_MANIFEST = {name for name in SPOILED if "manifest" in name}


def spoil(name: str, folder: Path, *, vouched: bool = False) -> tuple[str, ...] | None:
    """Spoil a pipeline.

    folder (Path): Where it is.
    vouched (bool): Whether its manifest agrees: who changes files changes that, too. Else it has
        none.
    RETURNS (Optional[Tuple[str, ...]]): Parts of the message; None if it must load.
    """
    do, said = SPOILED[name]
    model = folder / "transformer" / "model"
    if name not in KEEPS_MANIFEST:
        (model / MANIFEST_FILE).unlink()
    do(model)
    if vouched and name not in KEEPS_MANIFEST:
        small = [p for p in model.iterdir() if p.is_file() and p.stat().st_size < SPARSE]
        files = {p.name: p.read_bytes() for p in small if p.name in FILES}
        (model / MANIFEST_FILE).write_bytes(manifest(files))
    return said


# Folders of heads


def without_manifest(do: Spoil) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / MANIFEST_FILE).unlink()
        do(folder)

    return spoil


def state(values: dict[str, Any]) -> Spoil:
    """Weights of another shape than they had."""

    def spoil(folder: Path) -> None:
        message = srsly.msgpack_loads((folder / "model").read_bytes())
        shims = message["shims"][0]
        tensors = {**load(shims[0]), **values}
        shims[0] = save(tensors)
        (folder / "model").write_bytes(srsly.msgpack_dumps(message))

    return spoil


HEADS: dict[str, tuple[str, Spoil, tuple[str, ...]]] = {
    "labels of nonsense": ("tagger", content("cfg", b"nonsense"), ("tagger", "cfg")),
    "deep labels": ("ner", content("cfg", DEEP), ("ner", "cfg")),
    "no labels": ("ner", content("cfg", b"[]"), ("ner", "cfg")),
    "labels that are a number": ("ner", content("cfg", b'{"labels": 5}'), ("ner",)),
    "more labels than outputs": (
        "ner",
        lambda f: edit(f / "cfg", labels=["A", "B", "C", "D", "E", "F", "G"]),
        ("ner", "13 outputs", "29"),
    ),
    "fewer labels than outputs": ("textcat", lambda f: edit(f / "cfg", labels=[]), ("textcat",)),
    "a pickled model": ("tagger", pickled("model"), ("tagger", "model")),
    "a model of nonsense": ("tagger", content("model", b"nonsense"), ("tagger", "model")),
    "no model": ("chunker", content("model", b""), ("chunker", "model")),
    "a model of 5 GB": ("chunker", sparse("model"), ("chunker", "model")),
    "outputs without end, of nothing": (
        "ner",
        state({"linear.weight": torch.zeros(0, HUGE), "linear.bias": torch.zeros(0)}),
        ("ner",),
    ),
    "a layer without end": (
        "relations",
        state({"output.weight": torch.zeros(0, 10**9)}),
        ("relations",),
    ),
    "tags of an endless chain": (
        "ner",
        state({"transitions.inside": torch.zeros(0, 0, 10**7)}),
        ("ner",),
    ),
    "weights that are not its own": ("textcat", state({"evil": torch.zeros(1)}), ("textcat",)),
    **{
        f"{what} in place of {name}": ("ner", make(name), ("ner", name))
        for name in ("cfg", "model", MANIFEST_FILE)
        for what, make in (
            ("a pipe", fifo),
            ("a loop", loop),
            ("a folder", as_folder),
        )
    },
}
for kind, (head, do, said) in list(HEADS.items()):
    if MANIFEST_FILE not in kind:
        HEADS[kind] = (head, without_manifest(do), said)


# Encoders, which a config names by their folder


def encoder_pickled_instead(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps([Evil(marker(folder)), "a" * 9999]))


def encoder_with_code(folder: Path) -> None:
    text = CODE.format(marker=str(marker(folder)))
    (folder / "evil.py").write_text(text, encoding="utf8")
    names = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
    edit(folder / "config.json", model_type="evil", auto_map=names)


# Words of the message; None if it loads.
SPOILED_ENCODERS: dict[str, tuple[Spoil, tuple[str, ...] | None]] = {
    "an attention kernel": SPOILED["an attention kernel"],
    "a timm backbone": SPOILED["a timm backbone"],
    "quantized weights": SPOILED["quantized weights"],
    "code": (encoder_with_code, ("code of their own", "not run")),
    "a tokenizer with code of its own": (remote_tokenizer, ("code of its own", "not run")),
    "pickled weights instead": (encoder_pickled_instead, ("pytorch_model.bin",)),
    "pickled weights beside the others": (pickled("pytorch_model.bin"), None),
    "an adapter whose base is on the hub": (
        SPOILED["an adapter whose base is on the hub"][0],
        ("adapter_config.json",),
    ),
    "another name": SPOILED["another name"],
    "10^12 pieces": (config(vocab_size=HUGE), ("config.json",)),
    "10^12 columns": (config(hidden_size=HUGE), ("config.json",)),
    "10^7 layers": (config(num_hidden_layers=10**7), ("config.json", "num_hidden_layers")),
    "layers within layers": (
        other_config(**ALBERT, num_hidden_groups=900, inner_group_num=900),
        ("config.json",),
    ),
    "a table of sines": (
        other_config(**DISTILBERT, max_position_embeddings=10**7),
        ("config.json",),
    ),
    "deep JSON": (content("config.json", DEEP), ("config.json", "nested")),
    "deep settings of a tokenizer": (
        content("tokenizer_config.json", DEEP),
        ("tokenizer_config.json", "nested"),
    ),
    "JSON that is not UTF-8": (content("config.json", b'{"a": "\xff"}'), ("config.json",)),
    "a header of 5 GB": (sparse_weights, ("model.safetensors",)),
    "weights of 5 GB": (sparse("model.safetensors"), ("model.safetensors",)),
    "5 GB beside the others": (sparse("extra.bin"), None),
    "a pipe beside the others": (fifo("extra"), None),
    "a pipe in place of the settings": (fifo("config.json"), ("config.json",)),
    "a pipe in place of the weights": (fifo("model.safetensors"), ("model.safetensors",)),
    "a pipe in place of the tokenizer": (fifo("tokenizer.json"), ("tokenizer.json",)),
    "a pipe for an adapter": (fifo("adapter_config.json"), None),
    "a loop in place of the settings": (loop("config.json"), ("config.json",)),
    "an offset behind the end": (
        weights(evil={"dtype": "F32", "shape": [HUGE], "data_offsets": [0, 4 * HUGE]}),
        ("model.safetensors",),
    ),
}
