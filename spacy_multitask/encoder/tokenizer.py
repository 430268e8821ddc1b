"""Tokenizers of Hugging Face: how they are loaded, and what they put around a text."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from .forks import tokenizers_without_threads


def load_tokenizer(name: str, **options: Any) -> Any:
    """Load a tokenizer.

    `tokenizer.json` says how text is cut. Some classes of transformers 5 make a cutter of their own
    from the vocabulary alone, with other pieces: what the file says goes before that.

    name (str): Hub name or folder.
    options: For `from_pretrained`, such as `local_files_only`.
    RETURNS (PreTrainedTokenizerBase): The tokenizer.
    """
    from transformers import AutoTokenizer
    from transformers.utils import cached_file

    tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False, **options)
    if not tokenizer.is_fast:
        return tokenizer
    path = cached_file(
        name,
        "tokenizer.json",
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
        **options,
    )
    if path is not None:
        _cut_as_in(tokenizer, path)
    return tokenizer


def _cut_as_in(tokenizer: Any, path: str) -> None:
    """Let a fast tokenizer cut text as a tokenizer.json says."""
    from tokenizers import Tokenizer

    with open(path, encoding="utf8") as file:
        text = file.read()
    # Whether BERT's tokenizer lowers case is an option of its class, which goes before the file.
    if (json.loads(text).get("normalizer") or {}).get("type") != "BertNormalizer":
        tokenizer._tokenizer = Tokenizer.from_str(text)


def special_pieces(tokenizer: Any) -> tuple[np.ndarray, np.ndarray]:
    """RETURNS (Tuple[ndarray, ndarray]): Ids the tokenizer puts before and after a text."""
    with tokenizers_without_threads():
        bare = tokenizer("a", add_special_tokens=False)["input_ids"]
        full = tokenizer("a", add_special_tokens=True)["input_ids"]
    at = next(i for i in range(len(full)) if full[i : i + len(bare)] == bare)
    return np.array(full[:at], np.int64), np.array(full[at + len(bare) :], np.int64)


def is_uncased(tokenizer: Any) -> bool:
    """RETURNS (bool): Whether the tokenizer loses letter case."""

    def ids(word: str) -> list[int]:
        return tokenizer(word, add_special_tokens=False)["input_ids"]

    return all(ids(word) == ids(word.lower()) for word in ("London", "NASA", "The"))
