"""What stands before a word in its text, and the pieces that the word has there."""

from __future__ import annotations

from typing import Any

import numpy as np
from spacy.strings import StringStore

from .forks import tokenizers_without_threads

# What stands before a word: nothing, a space, a line break or other white space, a character that
# is none.
START, SPACE, LINE, JOINED = range(4)
# "text": as in running text, with the spaces that are there. "spaced": as in running text, with a
# space before every word but the first. "split": each word by itself, as for text that was split
# into words; pipelines of 0.1.0 were trained so.
STYLES = ("text", "spaced", "split")

# What to put before a word to see its pieces where it is joined to another: the first that the
# tokenizer keeps apart from the word. Letters grow together with letters, marks with marks.
_BEFORE_LETTERS = ("(", '"', "1")
_BEFORE_MARKS = ("a", "1", "(")
# Words whose pieces tell which contexts a tokenizer keeps apart.
_PROBES = ("York", "well", "1996", ",", "'s", "(", "-based", "naïve", "東京", "Москва")


def contexts_of(attributes: np.ndarray, lengths: np.ndarray, strings: StringStore) -> np.ndarray:
    """Find out what stands before each word.

    attributes (ndarray): ORTH, SPACY and IS_SPACE of each word, shape (n_words, 3).
    lengths (ndarray): Words per doc, shape (n_docs,).
    strings (StringStore): Resolves the orths.
    RETURNS (ndarray): START, SPACE, LINE or JOINED, shape (n_words,).
    """
    orths, has_space, is_blank = attributes.T
    contexts = np.full(len(orths), JOINED)
    before = np.where(has_space[:-1] > 0, SPACE, JOINED)
    blanks = np.flatnonzero((is_blank[:-1] > 0) & (has_space[:-1] == 0))
    for i in blanks:
        before[i] = SPACE if strings[int(orths[i])][-1:] == " " else LINE
    contexts[1:] = before
    contexts[(np.cumsum(lengths) - lengths)[lengths > 0]] = START
    return contexts


class Cutter:
    """Cuts words into pieces as the tokenizer does where they stand.

    It puts something before the word, such as a letter and a space, asks the tokenizer and leaves
    out the pieces of what it has put there.
    """

    def __init__(self, tokenizer: Any, style: str):
        """
        tokenizer (PreTrainedTokenizerBase): The encoder's tokenizer.
        style (str): One of STYLES.
        """
        self.tokenizer = tokenizer
        self.style = style
        # For each context the first one that gives the same pieces.
        self.forms = np.zeros(4, np.int64)
        if style != "split":
            self.forms = self._find_forms()

    @property
    def tells_apart(self) -> bool:
        """RETURNS (bool): Whether it matters what stands before a word."""
        return bool(self.forms.any())

    def cut(self, words: list[str], forms: np.ndarray) -> list[list[int]]:
        """Get the pieces of words.

        words (List[str]): The words.
        forms (ndarray): What stands before each, shape (n_words,).
        RETURNS (List[List[int]]): The ids of each word's pieces.
        """
        if self.style == "split":
            return self._call([[word] for word in words], is_split_into_words=True)
        blank = np.array([word.isspace() for word in words], bool)
        found: list[list[int]] = [[] for _ in words]
        for form in np.unique(forms):
            for kind, cut in ((blank, self._cut_blanks), (~blank, self._cut_words)):
                index = np.flatnonzero((forms == form) & kind)
                for i, ids in zip(index, cut([words[i] for i in index], int(form))):
                    found[i] = ids
        return found

    def _find_forms(self) -> np.ndarray:
        probes = list(_PROBES)
        found = [self._cut_words(probes, form) for form in (START, SPACE, LINE, JOINED)]
        forms = np.array([found.index(pieces) for pieces in found])
        return forms[[START, SPACE, SPACE, SPACE]] if self.style == "spaced" else forms

    def _cut_words(self, words: list[str], form: int) -> list[list[int]]:
        if form == START:
            return self._call(words)
        if form == JOINED:
            return self._cut_joined(words)
        before, (head,) = ("x ", self._call(["x"]))
        if form == LINE:
            before = "x\n"
            head = head + self._cut_blanks(["\n"], JOINED)[0]
        found = self._call([before + word for word in words])
        return [_after(head, ids, ids) for ids in found]

    def _cut_joined(self, words: list[str]) -> list[list[int]]:
        found = self._call(words)
        befores = [_BEFORE_LETTERS if word[0].isalnum() else _BEFORE_MARKS for word in words]
        waiting = list(range(len(words)))
        for turn in range(len(_BEFORE_MARKS)):
            here = [befores[i][turn] for i in waiting]
            heads = dict(zip(here, self._call(here)))
            asked = self._call([before + words[i] for i, before in zip(waiting, here)])
            for i, before, ids in zip(tuple(waiting), here, asked):
                head = heads[before]
                if ids[: len(head)] == head:
                    found[i] = ids[len(head) :]
                    waiting.remove(i)
        return found

    def _cut_blanks(self, words: list[str], form: int) -> list[list[int]]:
        """As `_cut_words`, of white space. Its end may be in the pieces of the word after it."""
        if not words:
            return []
        before = {START: "", SPACE: "a "}.get(form, "a")
        (head,) = self._call([before.strip()])
        # The word after it may have pieces as at the start, after a space or joined.
        (spaced,), (bare,), (joined,) = (self._cut_words(["x"], f) for f in (SPACE, START, JOINED))
        found = []
        for word, ids in zip(words, self._call([f"{before}{word}x" for word in words])):
            ids = _after(head, ids, [])
            tails = (spaced,) if word[-1] == " " else (bare, joined)
            cuts = [ids[: len(ids) - len(tail)] for tail in tails if ids[-len(tail) :] == tail]
            found.append(cuts[0] if cuts else [])
        return found

    def _call(self, texts: list, **options: Any) -> list[list[int]]:
        if not texts:
            return []
        with tokenizers_without_threads():
            return self.tokenizer(
                texts,
                add_special_tokens=False,
                return_attention_mask=False,
                return_token_type_ids=False,
                truncation=False,
                verbose=False,
                **options,
            )["input_ids"]


def _after(head: list[int], ids: list[int], otherwise: list[int]) -> list[int]:
    """RETURNS (List[int]): What comes after the head, if it is there."""
    return ids[len(head) :] if ids[: len(head)] == head else otherwise
