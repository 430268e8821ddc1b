"""What a family of encoders is described by, and tiny random ones written as files of the hub."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from tests.encoder import hub_tokenizers as hub

MAJOR = int(transformers.__version__.split(".")[0])
BERT = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
ROBERTA = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "cls_token": "<s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}
GEMMA = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
NO_LIMIT = 1000000000000000019884624838656  # what tokenizers say that know no limit
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}


@dataclass
class Family:
    """What is claimed of a family, and how to make one.

    title (str): What the docs call it.
    tokenizer (Callable): Makes the text of tokenizer.json.
    tokenizer_class (str): As in tokenizer_config.json on the hub.
    special (Dict[str, Any]): The rest of that file.
    model (str): Class whose weights the hub has.
    config (Dict[str, Any]): Its config, besides the vocabulary's size; or what makes it.
    limit (int): Most pieces that the model takes at once, special ones included.
    majors (Tuple[int, ...]): Major versions of transformers that have it.
    kind (str): Its model_type, if one of them does not have it.
    pads (bool): Whether padding changes nothing, so that texts of any length share a micro-batch.
    int8 (Tuple[int, ...]): Major versions in which it can be quantized.
    causal (bool): Whether it sees only what stands before.
    refuses (Tuple[str, ...]): Options of the encoder that it lacks.
    refuses_4 (Tuple[str, ...]): Those that it lacks in transformers 4 alone.
    notes (str): For the docs.
    """

    title: str
    tokenizer: Callable[[], str]
    tokenizer_class: str
    special: dict[str, Any]
    model: str
    config: Callable[[], dict[str, Any]] | dict[str, Any]
    limit: int = 512
    majors: tuple[int, ...] = (4, 5)
    kind: str = ""
    pads: bool = True
    int8: tuple[int, ...] = (4, 5)
    causal: bool = False
    refuses: tuple[str, ...] = ()
    refuses_4: tuple[str, ...] = ()
    notes: str = ""

    @property
    def is_here(self) -> bool:
        """RETURNS (bool): Whether this version of transformers has it."""
        return MAJOR in self.majors

    @property
    def lacks(self) -> tuple[str, ...]:
        """RETURNS (Tuple[str, ...]): Options that it lacks in this version."""
        return (*self.refuses, *(self.refuses_4 if MAJOR == 4 else ()))

    def write(self, folder: Path) -> Path:
        """Write the files of a model with random weights, as on the hub."""
        folder.mkdir(parents=True, exist_ok=True)
        n_pieces = write_tokenizer(folder, self)
        model_class = getattr(transformers, self.model)
        torch.manual_seed(0)
        config = self.config() if callable(self.config) else self.config
        model = model_class(model_class.config_class(**{"vocab_size": n_pieces, **config}))
        randomize(model)
        model.save_pretrained(folder)
        return folder


def write_tokenizer(folder: Path, family: Family) -> int:
    """RETURNS (int): Pieces that the tokenizer has."""
    text = family.tokenizer()
    config = {"tokenizer_class": family.tokenizer_class, **family.special}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf8")
    if not text:
        return 0
    (folder / "tokenizer.json").write_text(text, encoding="utf8")
    data = json.loads(text)
    vocab = data["model"]["vocab"]
    # The files from before tokenizer.json, which most old models have, too.
    if data["model"]["type"] == "WordPiece":
        lines = sorted(vocab, key=vocab.__getitem__)
        (folder / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf8")
    elif data["model"]["type"] == "BPE" and "ByteLevel" in json.dumps(data["pre_tokenizer"]):
        (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf8")
        merges = [m if isinstance(m, str) else " ".join(m) for m in data["model"]["merges"]]
        (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", "utf8")
    return max(len(vocab), *(token["id"] + 1 for token in data["added_tokens"]))


def randomize(model: Any) -> None:
    """Give weights so large that every part of the model shows in what comes out."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2:
                parameter.normal_(0, 0.12, generator=generator)
            elif "bias" in name:
                parameter.normal_(0, 0.05, generator=generator)
            else:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)


def bert_like(title: str, model: str, *, lower: bool = True, **options: Any) -> Family:
    config = {**SIZES, **options.pop("config", {})}
    special = {"do_lower_case": lower, "model_max_length": options.pop("said", 512), **BERT}
    tokenizer_class = options.pop("tokenizer_class", "BertTokenizer")
    return Family(
        title, lambda: hub.word_piece(lower), tokenizer_class, special, model, config, **options
    )


def roberta_like(title: str, model: str, **options: Any) -> Family:
    limit = options.setdefault("limit", 512)
    special = {"add_prefix_space": False, "model_max_length": limit, **ROBERTA}
    ids = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "type_vocab_size": 1}
    config = {**SIZES, **ids, "max_position_embeddings": limit + 2, **options.pop("config", {})}
    tokenizer_class = options.pop("tokenizer_class", "RobertaTokenizer")

    def tokenizer() -> str:
        return hub.byte_level("<s> <pad> </s> <unk> <mask>", "<s> $A </s>")

    return Family(title, tokenizer, tokenizer_class, special, model, config, **options)


def xlmr_tokenizer() -> str:
    return hub.unigram("<s> <pad> </s> <unk> <mask>", "<unk>", "<s> $A </s>")


def xlmr_like(title: str, model: str, **options: Any) -> Family:
    limit = options.setdefault("limit", 512)
    special = {"model_max_length": options.pop("said", limit), **ROBERTA}
    ids = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "type_vocab_size": 1}
    config = {**SIZES, **ids, "max_position_embeddings": limit + 2, **options.pop("config", {})}
    tokenizer_class = options.pop("tokenizer_class", "XLMRobertaTokenizer")
    return Family(title, xlmr_tokenizer, tokenizer_class, special, model, config, **options)


def modernbert_tokenizer() -> str:
    added = "[UNK] [CLS] [SEP] [PAD] [MASK]"
    return hub.byte_level("<|padding|>", "[CLS] $A [SEP]", added=added)


def modernbert_config(**more: Any) -> dict[str, Any]:
    ids = {t["content"]: t["id"] for t in json.loads(modernbert_tokenizer())["added_tokens"]}
    names = {"pad": "[PAD]", "cls": "[CLS]", "sep": "[SEP]", "bos": "[CLS]", "eos": "[SEP]"}
    return {**{f"{key}_token_id": ids[name] for key, name in names.items()}, **MODERN, **more}


MODERN = dict(
    max_position_embeddings=8192, local_attention=16, global_attn_every_n_layers=2, **SIZES
)
GROUPED = dict(num_key_value_heads=1, head_dim=16, **SIZES)  # one key for two queries
LLAMA_3 = "<|begin_of_text|> <|end_of_text|> <|mask|> <|pad|>"


def llama_3_tokenizer(single: str) -> Callable[[], str]:
    return lambda: hub.byte_level("", single, hub.LLAMA_3, LLAMA_3)


def gemma_like(title: str, model: str, single: str, **options: Any) -> Family:
    limit = options.setdefault("limit", 8192)
    special = {**GEMMA, "model_max_length": options.pop("said", NO_LIMIT)}
    ids = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
    config = options.pop("config", {**GROUPED, **ids, "sliding_window": 32})
    config.setdefault("max_position_embeddings", limit)
    tokenizer_class = options.pop("tokenizer_class", "GemmaTokenizer")
    return Family(
        title, lambda: hub.gemma(single), tokenizer_class, special, model, config, **options
    )


def qwen_like(title: str, model: str, suffix: str = "") -> Family:
    names = "<|endoftext|> <|im_start|> <|im_end|>"
    special = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "model_max_length": 131072}
    single = f"$A {suffix}".strip()
    return Family(
        title,
        lambda: hub.byte_level("", single, hub.QWEN_2, names),
        "Qwen2Tokenizer",
        {"add_prefix_space": False, **special},
        model,
        dict(bos_token_id=None, max_position_embeddings=32768, rope_theta=1e6, **GROUPED),
        limit=32768,
        causal=True,
        refuses=() if suffix else ("doc_pooling",),
    )


def t5_like(title: str, model: str, **options: Any) -> Family:
    special = {
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "model_max_length": 512,
    }
    config = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
    ids = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
    return Family(
        title,
        lambda: hub.unigram("<pad> </s> <unk> <extra_id_0>", "<unk>", "$A </s>"),
        options.pop("tokenizer_class", "T5Tokenizer"),
        special,
        model,
        {**config, **ids, **options.pop("config", {})},
        int8=(4,),
        **options,
    )


def bart_config(limit: int) -> dict[str, Any]:
    sides = {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in (("layers", 2), ("attention_heads", 2), ("ffn_dim", 64))
    }
    ids = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    return dict(d_model=32, max_position_embeddings=limit, **sides, **ids)


def spm_bert_tokenizer(lower: bool = False, split: bool = True) -> Callable[[], str]:
    special = "<pad> <unk> [CLS] [SEP] [MASK]"
    return lambda: hub.unigram(special, "<unk>", "[CLS] $A [SEP]", lower, split)


SPM_BERT = {**BERT, "pad_token": "<pad>", "unk_token": "<unk>", "model_max_length": 512}
DEBERTA = dict(
    relative_attention=True,
    pos_att_type=["c2p", "p2c"],
    position_biased_input=False,
    max_relative_positions=-1,
    max_position_embeddings=512,
    type_vocab_size=0,
    pad_token_id=0,
    **SIZES,
)


def deberta_v3_tokenizer() -> str:
    return hub.unigram("[PAD] [CLS] [SEP] [UNK] [MASK]", "[UNK]", "[CLS] $A [SEP]", split=False)


def deberta_v2_like(title: str, **config: Any) -> Family:
    return Family(
        title,
        deberta_v3_tokenizer,
        "DebertaV2Tokenizer",
        {"do_lower_case": False, "vocab_type": "spm", "model_max_length": NO_LIMIT, **BERT},
        "DebertaV2Model",
        {**DEBERTA, **config},
    )


V3 = {"position_buckets": 256, "norm_rel_ebd": "layer_norm", "share_att_key": True}
FAST = "PreTrainedTokenizerFast"
