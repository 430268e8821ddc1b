"""The pieces of words, cached: the tokenizer is asked only about words never seen before."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np
from spacy.attrs import IS_SPACE, ORTH, SPACY
from spacy.strings import StringStore
from spacy.tokens import Doc

from .contexts import Cutter, contexts_of
from .shapes import word_shape
from .spacing import known_spaces


class _Table(NamedTuple):
    """One immutable state of the cache; readers in other threads keep the one they took."""

    keys: np.ndarray  # uint64 (n_words,), sorted: of words in their contexts
    starts: np.ndarray  # int64 (n_words,): where the word's pieces start in flat
    counts: np.ndarray  # int64 (n_words,): how many there are, 0 for words without pieces
    shapes: np.ndarray  # int64 (n_words,): the words' shape ids
    flat: np.ndarray  # int32 (n_pieces,): piece ids of all words


_ATTRIBUTES = [ORTH, SPACY, IS_SPACE]
# Orths are hashes: with such a number each is changed into one that no other word has.
_SALTS = np.array([0, 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB], np.uint64)
_EMPTY = _Table(
    np.zeros(0, np.uint64),
    np.zeros(0, np.int64),
    np.zeros(0, np.int64),
    np.zeros(0, np.int64),
    np.zeros(0, np.int32),
)


def attributes_of(docs: list[Doc]) -> np.ndarray:
    """RETURNS (ndarray): Orth, whether a space follows, and whether it is a blank, of all tokens,
    uint64 (n_words, 3). Asking a doc costs more than its words do, so it is done once a batch."""
    found = [doc.to_array(_ATTRIBUTES) for doc in docs if len(doc)]
    return np.concatenate(found) if found else np.zeros((0, len(_ATTRIBUTES)), np.uint64)


def strings_of(docs: list[Doc]) -> StringStore:
    """RETURNS (StringStore): One that resolves the words of all docs, which may be of several
    vocabs."""
    first = docs[0].vocab
    if all(doc.vocab is first for doc in docs):
        return first.strings
    return StringStore(token.text for doc in docs for token in doc)


class _Words:
    """Words to look up. Their keys are their orths, changed by what stands before them."""

    def __init__(self, orths: np.ndarray, forms: np.ndarray):
        self.orths, self.forms = orths, forms
        self.keys = orths ^ _SALTS[forms]


class Pieces(NamedTuple):
    """The pieces of a run of words, end to end."""

    ids: np.ndarray  # int64 (n_pieces,)
    starts: np.ndarray  # int64 (n_words,): each word's first piece in ids
    counts: np.ndarray  # int64 (n_words,): 0 for words that give no piece
    shapes: np.ndarray  # int64 (n_words,)


class PieceCache:
    """Looks up pieces per `token.orth`, and what stands before it, for a whole batch at once."""

    def __init__(
        self,
        tokenizer: Any,
        *,
        style: str = "text",
        max_words: int = 500_000,
        max_word_pieces: int = 256,
    ):
        """
        tokenizer (PreTrainedTokenizerBase): The encoder's tokenizer.
        style (str): How words are cut, see `contexts.STYLES`.
        max_words (int): The cache is emptied when it would hold more words than this.
        max_word_pieces (int): Further pieces of a longer word are left out.
        """
        self.cutter = Cutter(tokenizer, style)
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

    def pieces_of(self, docs: list[Doc], attributes: np.ndarray | None = None) -> Pieces:
        """Get the pieces of all words of docs, in order; of empty docs none.

        attributes (Optional[ndarray]): What `attributes_of` gives of them, if it is known.
        """
        if attributes is None:
            attributes = attributes_of(docs)
        if not len(attributes):
            return Pieces(*(np.zeros(0, np.int64) for _ in Pieces._fields))
        lengths = np.fromiter(map(len, docs), np.int64, len(docs))
        strings = strings_of(docs)
        contexts = None
        orths = np.ascontiguousarray(attributes[:, 0])
        if self.cutter.tells_apart:
            attributes[:, 1] = known_spaces(attributes[:, 1], orths, lengths, strings)
            contexts = contexts_of(attributes, lengths, strings)
        return self.lookup(orths, strings, contexts)

    def lookup(
        self, orths: np.ndarray, strings: StringStore, contexts: np.ndarray | None = None
    ) -> Pieces:
        """Get the pieces of words.

        orths (ndarray): `token.orth` of each word, uint64, shape (n_words,).
        strings (StringStore): Resolves the orths.
        contexts (Optional[ndarray]): What stands before each word, shape (n_words,), see
            `contexts_of`; None: each begins a text.
        RETURNS (Pieces): Arrays over all words and all their pieces.
        """
        words = _Words(orths, np.zeros(len(orths), np.int64))
        if contexts is not None:
            words = _Words(orths, self.cutter.forms[contexts])
        table = self._table
        index = np.searchsorted(table.keys, words.keys)
        if not _has_all(table, words, index):
            table = self._fill(words, strings)
            index = np.searchsorted(table.keys, words.keys)
        starts, counts, shapes = table.starts[index], table.counts[index], table.shapes[index]
        ends = np.cumsum(counts)
        own_starts = ends - counts
        # For each piece: its place in flat is its word's start plus its rank within the word.
        places = np.repeat(starts - own_starts, counts) + np.arange(ends[-1] if len(ends) else 0)
        return Pieces(table.flat[places].astype(np.int64), own_starts, counts, shapes)

    def _fill(self, words: _Words, strings: StringStore) -> _Table:
        """Add the words that are missing. RETURNS (_Table): One that holds all of them."""
        with self._lock:
            table = self._table
            missing = _missing(table, words)
            if not len(missing):
                return table
            if len(table.keys) + len(missing) > self.max_words:
                table = _EMPTY
                missing = _missing(table, words)
            texts = [strings[int(orth)] for orth in words.orths[missing]]
            found = self.cutter.cut(texts, words.forms[missing])
            pieces = [ids[: self.max_word_pieces] for ids in found]
            table = _merge(table, words.keys[missing], pieces, [word_shape(text) for text in texts])
            self._table = table
        return table


def _has_all(table: _Table, words: _Words, index: np.ndarray) -> bool:
    """RETURNS (bool): Whether the words are in the table, at these places if they are."""
    n = len(table.keys)
    return n > 0 and bool((table.keys[np.minimum(index, n - 1)] == words.keys).all())


def _missing(table: _Table, words: _Words) -> np.ndarray:
    """RETURNS (ndarray): Indices of words whose keys the table lacks, one for each key, in the
    order of the keys."""
    absent = np.arange(len(words.keys))
    if len(table.keys):
        index = np.minimum(np.searchsorted(table.keys, words.keys), len(table.keys) - 1)
        absent = np.flatnonzero(table.keys[index] != words.keys)
    return absent[np.unique(words.keys[absent], return_index=True)[1]]


def _merge(table: _Table, keys: np.ndarray, pieces: list[list[int]], shapes: list[int]) -> _Table:
    """RETURNS (_Table): The table with new words; keys must be sorted, distinct and absent."""
    counts = np.fromiter(map(len, pieces), np.int64, len(pieces))
    starts = len(table.flat) + np.cumsum(counts) - counts
    at = np.searchsorted(table.keys, keys)
    new = np.fromiter((piece for ids in pieces for piece in ids), np.int32, int(counts.sum()))
    return _Table(
        np.insert(table.keys, at, keys),
        np.insert(table.starts, at, starts),
        np.insert(table.counts, at, counts),
        np.insert(table.shapes, at, shapes),
        np.concatenate([table.flat, new]),
    )
