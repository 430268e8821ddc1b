"""Tokenizers of Hugging Face: loaded, saved, and what they put around a text."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import srsly

from ..plain import from_json
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
# What their settings may say. Others name files.
_SLOW_OPTIONS = (
    "tokenizer_class",
    "model_max_length",
    "do_lowercase",
    "do_lowercase_and_remove_accent",
    "normalization",
    "additional_special_tokens",
    *(f"{name}_token" for name in ("pad", "unk", "cls", "sep", "bos", "eos", "mask")),
)
_MOST_PIECES = 10_000_000
_MOST_SPECIAL = 64  # around a text
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

    tokenizer = AutoTokenizer.from_pretrained(
        name, trust_remote_code=False, local_files_only=Path(name).is_dir()
    )
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
    values = {name: str(getattr(tokenizer, name, None)) for name in names}
    # Classes have some by default that the file may lack, and the network with it.
    known = tokenizer.backend_tokenizer.token_to_id
    return {name: value for name, value in values.items() if known(value) is not None}


def from_files(files: dict[str, bytes], source: str, n_rows: int | None = None) -> Any:
    """Load what `to_files` gave, in this version or an earlier one. Nothing is fetched, and of the
    classes of transformers only known ones are used.

    source (str): Where the files come from, for error messages.
    n_rows (Optional[int]): Pieces that the network has vectors for, if it is known.
    RETURNS (PreTrainedTokenizerBase): The tokenizer.
    RAISES (ValueError): If a file is missing or damaged, or there are more pieces than rows.
    """
    import transformers

    config = from_json(
        files.get(TOKENIZER_CONFIG_FILE, b"{}"), f"{source}: {TOKENIZER_CONFIG_FILE}"
    )
    if TOKENIZER_FILE in files:
        return _fast(files, config, source, n_rows)
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
        safe = {name: config[name] for name in _SLOW_OPTIONS if name in config}
        Path(folder, TOKENIZER_CONFIG_FILE).write_text(json.dumps(safe), encoding="utf8")
        try:
            made = getattr(transformers, kind).from_pretrained(folder, local_files_only=True)
        except Exception as error:  # of many kinds
            raise ValueError(
                f"{source}: the tokenizer's files are damaged: {' '.join(str(error).split())[:200]}"
            ) from error
    _length_of(config, source)
    if kind != "CanineTokenizer":  # whose pieces are more than there are vectors
        _check_rows(len(made), "the tokenizer", n_rows, source)
    return made


def _length_of(config: dict[str, Any], source: str) -> float | None:
    """RETURNS (Optional[float]): Pieces that a text may have at most, if the settings say.
    RAISES (ValueError): If what they say is no length."""
    length = config.get("model_max_length")
    if length is None or (isinstance(length, (int, float)) and length >= 1):
        return length
    raise ValueError(
        f"{source}: {TOKENIZER_CONFIG_FILE} is damaged: model_max_length = {length!r} is no length."
    )


def _fast(files: dict[str, bytes], config: dict[str, Any], source: str, n_rows: int | None) -> Any:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    old = from_json(
        files.get("special_tokens_map.json", b"{}"), f"{source}: special_tokens_map.json"
    )
    special = {**old, **config}
    options: dict[str, Any] = {}
    for name in _SPECIAL:
        value = special.get(f"{name}_token")
        value = value.get("content") if isinstance(value, dict) else value
        if isinstance(value, str):
            options[f"{name}_token"] = value
    length = _length_of(config, source)
    if length is not None:
        options["model_max_length"] = length
    try:
        tokenizer = Tokenizer.from_str(files[TOKENIZER_FILE].decode("utf8"))
    except Exception as error:  # what tokenizers raises has no class of its own
        raise ValueError(f"{source}: {TOKENIZER_FILE} is damaged: {error}") from error
    added = {name: token for name, token in options.items() if name.endswith("_token")}
    new = sum(tokenizer.token_to_id(token) is None for token in set(added.values()))
    n_pieces = max(tokenizer.get_vocab().values(), default=-1) + 1 + new
    _check_rows(n_pieces, TOKENIZER_FILE, n_rows, source)
    if tokenizer.num_special_tokens_to_add(is_pair=False) > _MOST_SPECIAL:
        raise ValueError(
            f"{source}: {TOKENIZER_FILE} is damaged: it puts more than {_MOST_SPECIAL} pieces "
            "around a text."
        )
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **options)


def _check_rows(n_pieces: int, what: str, n_rows: int | None, source: str) -> None:
    most = _MOST_PIECES if n_rows is None else n_rows
    if n_pieces > most:
        raise ValueError(
            f"{source}: {what} has {n_pieces:,} pieces, the network vectors for {most:,}. Copy the "
            "pipeline again."
        )


def special_pieces(tokenizer: Any) -> tuple[np.ndarray, np.ndarray]:
    """RETURNS (Tuple[ndarray, ndarray]): Ids the tokenizer puts before and after a text."""
    with tokenizers_without_threads():
        bare = tokenizer("a", add_special_tokens=False)["input_ids"]
        full = tokenizer("a", add_special_tokens=True)["input_ids"]
    found = [i for i in range(len(full) + 1) if full[i : i + len(bare)] == bare]
    if not found:
        raise ValueError("The tokenizer does not put special pieces around a text, but within it.")
    at = found[0]
    return np.array(full[:at], np.int64), np.array(full[at + len(bare) :], np.int64)


def is_uncased(tokenizer: Any) -> bool:
    """RETURNS (bool): Whether the tokenizer loses letter case."""

    def ids(word: str) -> list[int]:
        return tokenizer(word, add_special_tokens=False)["input_ids"]

    return all(ids(word) == ids(word.lower()) for word in ("London", "NASA", "The"))
