"""Tokenizers shaped like those on the hub, trained on the bundled samples. Nothing is downloaded.

Each is a `tokenizers.Tokenizer` with the normalizer, pre-tokenizer, model and post-processor that
`tokenizer.json` of the family has there. How they treat spaces is what matters here.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from tests.vocabularies import unigram_pieces, word_pieces

ASSETS = Path(__file__).parents[2] / "assets"
OTHER_SCRIPTS = [
    "東京は日本の首都です。",
    "한국어 문장입니다.",
    "Привет, Москва!",
    "naïve café über Straße",
]
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
# SentencePiece trains no piece that joins letters, digits and marks.
SPM_TRAINING = pre_tokenizers.Split(
    Regex(r"▁?[\p{L}\p{M}]+|▁?\p{N}+|▁?[^\p{L}\p{M}\p{N}▁]+|▁"), "isolated"
)
_MARKS = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA_3 = _CONTRACTIONS + r"\p{N}{1,3}" + _MARKS
QWEN_2 = _CONTRACTIONS + r"\p{N}" + _MARKS


@dataclass
class Training:
    """What tokenizers are trained on: texts, and how many pieces they get, about."""

    texts: Sequence[str] | None = None
    n_pieces: int = 1500


TRAINING = Training()


def sentences() -> Sequence[str]:
    """RETURNS (Sequence[str]): What tokenizers are trained on."""
    return samples() if TRAINING.texts is None else TRAINING.texts


@cache
def samples() -> tuple[str, ...]:
    """RETURNS (Tuple[str, ...]): The samples in the assets as running text."""
    found, words = [], []
    for line in (ASSETS / "ner" / "train.txt").read_text(encoding="utf8").splitlines():
        if line.strip():
            words.append(line.split()[0])
        elif words:
            found.append(" ".join(words).replace(" ,", ",").replace(" .", "."))
            words = []
    with (ASSETS / "topic" / "train.csv").open(encoding="utf8") as file:
        found += [" ".join(row[1:]) for row in csv.reader(file)]
    return (*found, *OTHER_SCRIPTS * 4)


def _template(tokenizer: Tokenizer, single: str) -> None:
    names = [part for part in single.split() if part != "$A"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=[(name, tokenizer.token_to_id(name)) for name in names]
    )


@cache
def word_piece(lower: bool = True, special: str = "[PAD] [UNK] [CLS] [SEP] [MASK]") -> str:
    """BERT and its kin. Special pieces: padding, unknown, first, last, mask."""
    names = special.split()
    vocabulary = word_pieces(sentences(), TRAINING.n_pieces, names, lower=lower)
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=names[1]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(names)
    _template(tokenizer, f"{names[2]} $A {names[3]}")
    return tokenizer.to_str()


@cache
def byte_level(special: str, single: str, pattern: str = "", added: str = "") -> str:
    """Byte-level BPE: GPT-2 and RoBERTa; with a pattern, Llama 3 and Qwen."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if pattern:
        split = pre_tokenizers.Split(Regex(pattern), "isolated")
        bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.normalizer = normalizers.NFC()
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=TRAINING.n_pieces,
        special_tokens=special.split(),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences(), trainer)
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in added.split()])
    _template(tokenizer, single)
    return tokenizer.to_str()


@cache
def unigram(
    special: str, unknown: str, single: str, lower: bool = False, split: bool = True
) -> str:
    """SentencePiece with a unigram model: XLM-R, T5, ALBERT, DeBERTa v3.

    split (bool): Whether it is cut at white space before a space is put before each part.
    """
    steps: list[Any] = [normalizers.Nmt(), normalizers.NFKC()]
    if lower:
        steps += [normalizers.StripAccents(), normalizers.Lowercase()]
    normalizer = normalizers.Sequence([*steps, normalizers.Replace(Regex(" {2,}"), " ")])
    metaspace = pre_tokenizers.Metaspace(prepend_scheme="always")
    names = special.split()
    pieces = unigram_pieces(
        sentences(),
        TRAINING.n_pieces * 4 // 5,
        names,
        normalizer=normalizer,
        pre_tokenizer=pre_tokenizers.Sequence([metaspace, SPM_TRAINING]),
    )
    tokenizer = Tokenizer(models.Unigram(pieces, names.index(unknown)))
    tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.add_special_tokens(names)
    parts = [pre_tokenizers.WhitespaceSplit(), metaspace]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts) if split else metaspace
    _template(tokenizer, single)
    return tokenizer.to_str()


@cache
def gemma(single: str) -> str:
    """BPE over the whole text, with a mark for each space and none before the first word."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = SPM_TRAINING
    bytes_ = [f"<0x{i:02X}>" for i in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=TRAINING.n_pieces + 200, special_tokens=special + bytes_, show_progress=False
    )
    tokenizer.train_from_iterator(sentences(), trainer)
    data = json.loads(tokenizer.to_str())
    data["pre_tokenizer"] = json.loads(
        '{"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious",'
        ' "invert": false}'
    )
    data["added_tokens"] = [t for t in data["added_tokens"] if not t["content"].startswith("<0x")]
    tokenizer = Tokenizer.from_str(json.dumps(data))
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(parts)
    _template(tokenizer, single)
    return tokenizer.to_str()


def llama_2() -> str:
    """BPE over the whole text, with a mark before the first word, too: Llama 2 and Mistral."""
    data = json.loads(gemma("<bos> $A"))
    data["pre_tokenizer"] = None
    data["normalizer"] = json.loads(
        '{"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},'
        ' {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}'
    )
    return json.dumps(data)
