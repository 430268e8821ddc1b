"""Vocabularies trained on a few texts. They come out the same in every process.

The trainers of `tokenizers` for WordPiece and Unigram walk through hash tables in an order that no
two processes share: what is as frequent as something else is a piece in one and none in the other.
Its trainer for BPE has a fixed order, so that the pieces of all kinds come from there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

_MARK = "▁"


def frequent_pieces(
    texts: Iterable[str], n_pieces: int, *, normalizer: Any, pre_tokenizer: Any
) -> list[str]:
    """RETURNS (List[str]): Characters and frequent strings, the most frequent first among each."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    trainer = trainers.BpeTrainer(vocab_size=n_pieces, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    vocabulary = tokenizer.get_vocab()
    return sorted(vocabulary, key=vocabulary.__getitem__)


def word_pieces(
    texts: Iterable[str], n_pieces: int, special: list[str], *, lower: bool = True
) -> dict[str, int]:
    """RETURNS (Dict[str, int]): For a WordPiece model: pieces that go on a word begin with ##."""
    found = frequent_pieces(
        texts,
        n_pieces,
        normalizer=normalizers.BertNormalizer(lowercase=lower),
        pre_tokenizer=pre_tokenizers.Sequence(
            [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Metaspace(prepend_scheme="always")]
        ),
    )
    pieces = [*special, *(piece for piece in found if len(piece) == 1 and piece != _MARK)]
    pieces += [f"##{p}" if p[0] != _MARK else p[1:] for p in found if p != _MARK]
    return {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}


def unigram_pieces(
    texts: Iterable[str], n_pieces: int, special: list[str], *, normalizer: Any, pre_tokenizer: Any
) -> list[tuple[str, float]]:
    """RETURNS (List[Tuple[str, float]]): For a Unigram model, with Zipf's frequencies."""
    found = frequent_pieces(
        texts, n_pieces - len(special), normalizer=normalizer, pre_tokenizer=pre_tokenizer
    )
    strings = [piece for piece in found if len(piece) > 1]
    ranked = [*strings, *(piece for piece in found if len(piece) == 1)]
    scored = [(piece, -math.log(rank)) for rank, piece in enumerate(ranked, start=10)]
    return [*((name, 0.0) for name in special), *scored]
