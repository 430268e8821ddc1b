"""Tokenizers of Hugging Face: loaded, saved, and what they put around a text."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import srsly

from .forks import tokenizers_without_threads

NO_LENGTH = 1e6  # tokenizers that know of no limit say 10^30
TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
# Besides these: what tokenizers consist of that have no tokenizer.json, and what 0.1.0 saved.
TOKENIZER_FILES = (
    TOKENIZER_FILE,
    TOKENIZER_CONFIG_FILE,
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "bpe.codes",
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
    "tokenizer.model",
)
# Those that have no tokenizer.json and read nothing but these files.
_SLOW = (
    "CanineTokenizer",
    "ByT5Tokenizer",
    "XLMTokenizer",
    "FlaubertTokenizer",
    "PhobertTokenizer",
    "BertweetTokenizer",
)
_SPECIAL = ("pad", "unk", "cls", "sep", "bos", "eos", "mask")


def load_tokenizer(name: str) -> Any:
    """Load a tokenizer.

    `tokenizer.json` says how text is cut. Some classes of transformers 5 make a cutter of their own
    from the vocabulary alone, with other pieces: what the file says goes before that.

    name (str): Hub name or folder.
    RETURNS (PreTrainedTokenizerBase): The tokenizer.
    RAISES (ValueError): If it could not be saved.
    """
    from transformers import AutoTokenizer
    from transformers.utils import cached_file

    tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    if not tokenizer.is_fast:
        if type(tokenizer).__name__ not in _SLOW:
            raise ValueError(
                f"its {type(tokenizer).__name__} has no form that can be saved (tokenizer.json)."
            )
        return tokenizer
    path = cached_file(
        name,
        TOKENIZER_FILE,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    if path is not None:
        _cut_as_in(tokenizer, Path(path).read_text(encoding="utf8"))
    return tokenizer


def _cut_as_in(tokenizer: Any, text: str) -> None:
    """Let a fast tokenizer cut text as a tokenizer.json says."""
    from tokenizers import Tokenizer

    # Whether BERT's tokenizer lowers case is an option of its class, which goes before the file.
    if (json.loads(text).get("normalizer") or {}).get("type") != "BertNormalizer":
        tokenizer._tokenizer = Tokenizer.from_str(text)


def to_files(tokenizer: Any) -> dict[str, bytes]:
    """RETURNS (Dict[str, bytes]): Files by name, which any version of transformers can read."""
    if not tokenizer.is_fast:
        with tempfile.TemporaryDirectory() as folder:
            tokenizer.save_pretrained(folder)
            paths = [Path(folder, name) for name in TOKENIZER_FILES]
            return {path.name: path.read_bytes() for path in paths if path.is_file()}
    data = json.loads(tokenizer.backend_tokenizer.to_str())
    data.update(truncation=None, padding=None)
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **_special_tokens(tokenizer),
    }
    if tokenizer.model_max_length < NO_LENGTH:
        config["model_max_length"] = int(tokenizer.model_max_length)
    return {
        TOKENIZER_FILE: json.dumps(data, ensure_ascii=False, indent=2).encode("utf8"),
        TOKENIZER_CONFIG_FILE: srsly.json_dumps(config, indent=2).encode("utf8"),
    }


def _special_tokens(tokenizer: Any) -> dict[str, str]:
    names = [f"{name}_token" for name in _SPECIAL]
    values = {name: getattr(tokenizer, name, None) for name in names}
    return {name: str(value) for name, value in values.items() if value is not None}


def from_files(files: dict[str, bytes], source: str) -> Any:
    """Load what `to_files` gave, in this version or an earlier one. Nothing is fetched, and of the
    classes of transformers only known ones are used.

    source (str): Where the files come from, for error messages.
    RETURNS (PreTrainedTokenizerBase): The tokenizer.
    RAISES (ValueError): If a file is missing or damaged.
    """
    from transformers import AutoTokenizer

    config = _read(files, TOKENIZER_CONFIG_FILE, source)
    if TOKENIZER_FILE in files:
        return _fast(files, config, source)
    kind = config.get("tokenizer_class")
    if kind not in _SLOW:
        raise ValueError(
            f"{source}: the file {TOKENIZER_FILE} is missing, and {TOKENIZER_CONFIG_FILE} names no "
            f"tokenizer that does without it. Copy the pipeline again."
        )
    with tempfile.TemporaryDirectory() as folder:
        for name in TOKENIZER_FILES:
            if name in files:
                Path(folder, name).write_bytes(files[name])
        safe = {name: value for name, value in config.items() if name != "auto_map"}
        Path(folder, TOKENIZER_CONFIG_FILE).write_text(json.dumps(safe), encoding="utf8")
        try:
            return AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        except Exception as error:  # of many kinds
            raise ValueError(
                f"{source}: the tokenizer's files are damaged: {' '.join(str(error).split())[:200]}"
            ) from error


def _fast(files: dict[str, bytes], config: dict[str, Any], source: str) -> Any:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    special = {**_read(files, "special_tokens_map.json", source), **config}
    options: dict[str, Any] = {}
    for name in _SPECIAL:
        value = special.get(f"{name}_token")
        value = value.get("content") if isinstance(value, dict) else value
        if isinstance(value, str):
            options[f"{name}_token"] = value
    length = config.get("model_max_length")
    if isinstance(length, (int, float)):
        options["model_max_length"] = length
    try:
        tokenizer = Tokenizer.from_str(files[TOKENIZER_FILE].decode("utf8"))
    except Exception as error:  # what tokenizers raises has no class of its own
        raise ValueError(f"{source}: {TOKENIZER_FILE} is damaged: {error}") from error
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **options)


def _read(files: dict[str, bytes], name: str, source: str) -> dict[str, Any]:
    try:
        data = json.loads(files.get(name, b"{}"))
    except ValueError as error:
        raise ValueError(f"{source}: {name} is damaged: {error}") from error
    if not isinstance(data, dict):
        raise ValueError(f"{source}: {name} is damaged: it holds no JSON object.")
    return data


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
