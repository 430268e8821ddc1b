"""The pieces of words, cached: the tokenizer is asked only about words never seen before."""

from __future__ import annotations

import json
import threading
from typing import Any, NamedTuple

import numpy as np
from spacy.strings import StringStore

from .forks import tokenizers_without_threads
from .shapes import word_shape


class _Table(NamedTuple):
    """One immutable state of the cache; readers in other threads keep the one they took."""

    keys: np.ndarray  # uint64 (n_words,), sorted: the words' orth hashes
    starts: np.ndarray  # int64 (n_words,): where the word's pieces start in flat
    counts: np.ndarray  # int64 (n_words,): how many there are, 0 for words without pieces
    shapes: np.ndarray  # int64 (n_words,): the words' shape ids
    flat: np.ndarray  # int32 (n_pieces,): piece ids of all words


_EMPTY = _Table(
    np.zeros(0, np.uint64),
    np.zeros(0, np.int64),
    np.zeros(0, np.int64),
    np.zeros(0, np.int64),
    np.zeros(0, np.int32),
)


class Pieces(NamedTuple):
    """The pieces of a run of words, end to end."""

    ids: np.ndarray  # int64 (n_pieces,)
    starts: np.ndarray  # int64 (n_words,): each word's first piece in ids
    counts: np.ndarray  # int64 (n_words,): 0 for words that give no piece
    shapes: np.ndarray  # int64 (n_words,)


class PieceCache:
    """Looks up pieces per `token.orth` for a whole batch at once.

    Gives what `tokenizer(words, is_split_into_words=True, add_special_tokens=False)` gives. There
    each word is cut by itself, wherever it stands, whatever the kind of tokenizer.
    """

    def __init__(self, tokenizer: Any, *, max_words: int = 500_000, max_word_pieces: int = 256):
        """
        tokenizer (PreTrainedTokenizerBase): The encoder's tokenizer.
        max_words (int): The cache is emptied when it would hold more words than this.
        max_word_pieces (int): Further pieces of a longer word are left out.
        """
        self.tokenizer = tokenizer
        self.max_words = max_words
        self.max_word_pieces = max_word_pieces
        self._lock = threading.Lock()
        self._table = _EMPTY

    def __getstate__(self) -> dict[str, Any]:
        # The cache is rebuilt on use; locks can't be pickled.
        state = self.__dict__.copy()
        del state["_lock"]
        state["_table"] = _EMPTY
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._table.keys)

    def lookup(self, orths: np.ndarray, strings: StringStore) -> Pieces:
        """Get the pieces of words.

        orths (ndarray): `token.orth` of each word, uint64, shape (n_words,).
        strings (StringStore): Resolves the orths.
        RETURNS (Pieces): Arrays over all words and all their pieces.
        """
        table = self._fill(orths, strings)
        index = np.searchsorted(table.keys, orths)
        starts, counts, shapes = table.starts[index], table.counts[index], table.shapes[index]
        ends = np.cumsum(counts)
        own_starts = ends - counts
        # For each piece: its place in flat is its word's start plus its rank within the word.
        places = np.repeat(starts - own_starts, counts) + np.arange(ends[-1] if len(ends) else 0)
        return Pieces(table.flat[places].astype(np.int64), own_starts, counts, shapes)

    def _fill(self, orths: np.ndarray, strings: StringStore) -> _Table:
        """Add the words that are missing. RETURNS (_Table): One that holds all of them."""
        table = self._table
        if not len(_missing(table, orths)):
            return table
        with self._lock:
            table = self._table
            missing = _missing(table, orths)
            if len(table.keys) + len(missing) > self.max_words:
                table = _EMPTY
                missing = _missing(table, orths)
            words = [strings[int(orth)] for orth in missing]
            pieces = [ids[: self.max_word_pieces] for ids in self._tokenize([[w] for w in words])]
            table = _merge(table, missing, pieces, [word_shape(word) for word in words])
            self._table = table
        return table

    def _tokenize(self, texts: list[list[str]]) -> list[list[int]]:
        with tokenizers_without_threads():
            return self.tokenizer(
                texts,
                is_split_into_words=True,
                add_special_tokens=False,
                return_attention_mask=False,
                return_token_type_ids=False,
                truncation=False,
                verbose=False,
            )["input_ids"]


def load_tokenizer(name: str, **kwargs: Any) -> Any:
    """Load a Hugging Face tokenizer so that it can be asked about single words.

    name (str): Hub name or folder.
    RETURNS (PreTrainedTokenizerBase): The tokenizer; byte-level BPE gets `add_prefix_space=True`,
        without which it refuses text that is split into words.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False, **kwargs)
    if _is_byte_level(tokenizer) and not getattr(tokenizer, "add_prefix_space", True):
        tokenizer = AutoTokenizer.from_pretrained(
            name, trust_remote_code=False, add_prefix_space=True, **kwargs
        )
    return tokenizer


def special_pieces(tokenizer: Any) -> tuple[np.ndarray, np.ndarray]:
    """RETURNS (Tuple[ndarray, ndarray]): Ids the tokenizer puts before and after a text."""
    arguments = {"is_split_into_words": True}
    with tokenizers_without_threads():
        bare = tokenizer(["a"], add_special_tokens=False, **arguments)["input_ids"]
        full = tokenizer(["a"], add_special_tokens=True, **arguments)["input_ids"]
    at = next(i for i in range(len(full)) if full[i : i + len(bare)] == bare)
    return np.array(full[:at], np.int64), np.array(full[at + len(bare) :], np.int64)


def is_uncased(tokenizer: Any) -> bool:
    """RETURNS (bool): Whether the tokenizer loses letter case."""

    def ids(word: str) -> list[int]:
        return tokenizer(word, add_special_tokens=False)["input_ids"]

    return all(ids(word) == ids(word.lower()) for word in ("London", "NASA", "The"))


def _is_byte_level(tokenizer: Any) -> bool:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return False
    pre_tokenizer = json.loads(backend.to_str()).get("pre_tokenizer") or {}
    return '"ByteLevel"' in json.dumps(pre_tokenizer)


def _missing(table: _Table, orths: np.ndarray) -> np.ndarray:
    """RETURNS (ndarray): The distinct orths that the table lacks, sorted."""
    if not len(table.keys):
        return np.unique(orths)
    index = np.minimum(np.searchsorted(table.keys, orths), len(table.keys) - 1)
    absent = table.keys[index] != orths
    return np.unique(orths[absent]) if absent.any() else orths[:0]


def _merge(table: _Table, orths: np.ndarray, pieces: list[list[int]], shapes: list[int]) -> _Table:
    """RETURNS (_Table): The table with new words; orths must be sorted, distinct and absent."""
    counts = np.fromiter(map(len, pieces), np.int64, len(pieces))
    starts = len(table.flat) + np.cumsum(counts) - counts
    at = np.searchsorted(table.keys, orths)
    new = np.fromiter((piece for ids in pieces for piece in ids), np.int32, int(counts.sum()))
    return _Table(
        np.insert(table.keys, at, orths),
        np.insert(table.starts, at, starts),
        np.insert(table.counts, at, counts),
        np.insert(table.shapes, at, shapes),
        np.concatenate([table.flat, new]),
    )
