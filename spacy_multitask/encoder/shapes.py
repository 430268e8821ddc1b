"""Word shapes: what an uncased tokenizer throws away, as one small id per word."""

from __future__ import annotations

# case pattern (5) x digits (3) x hyphen (2) x single character (2), and one id for the pieces
# that belong to no word (padding, [CLS], [SEP]).
N_CASES = 5
N_DIGITS = 3
NO_WORD = N_CASES * N_DIGITS * 2 * 2
N_SHAPES = NO_WORD + 1


def word_shape(word: str) -> int:
    """RETURNS (int): The id of a word's shape, 0 to NO_WORD - 1.

    The case pattern is none, lower, UPPER, Title or mIxed; digits are none, some or all.
    """
    if word.islower():
        case = 1
    elif word.isupper():
        case = 2
    elif not any(map(str.isalpha, word)):
        case = 0
    elif word[0].isupper() and word[1:].islower():
        case = 3
    else:
        case = 4
    n_digits = sum(map(str.isdigit, word))
    digits = 0 if not n_digits else 2 if n_digits == len(word) else 1
    return ((case * N_DIGITS + digits) * 2 + ("-" in word)) * 2 + (len(word) == 1)
