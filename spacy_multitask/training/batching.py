"""Batches of about equal size in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile, zip_longest

from spacy.training import Example
from spacy.util import registry

from ..corpus.reader import corpus_of
from ..registering import with_types
from .plan import PLAN, Reading


@registry.batchers("spacy_multitask.batch_by_words.v1")
@with_types
def make_batcher(
    max_words: int = 400, max_docs: int = 32, homogeneous: bool = False
) -> Callable[[Iterable[Example]], Iterator[list[Example]]]:
    """Group examples, in the order they come.

    spaCy asks its reader for examples once, and hands the same list to the batcher in every epoch,
    shuffled. Where a `MultiCorpus` draws some examples of many, batches from the second epoch on
    are those of a new draw; where its corpora take turns, they are given their turns back.

    max_words (int): Most words in a batch; a longer doc is a batch of its own.
    max_docs (int): Most docs in a batch.
    homogeneous (bool): Whether a batch holds examples of one corpus only.
    """
    if max_words < 1 or max_docs < 1:
        raise ValueError(f"max_words = {max_words} and max_docs = {max_docs} must be at least 1.")

    first: list[Example] | None = None
    reading: Reading | None = None

    def batches(examples: Iterable[Example]) -> Iterator[list[Example]]:
        nonlocal first, reading
        if PLAN.stopped:
            return
        if isinstance(examples, list):
            if examples is not first:
                first, reading = examples, PLAN.reading_of(examples)
                PLAN.begin_training()
            elif reading is not None and reading.again is not None:
                examples = reading.again()
            if reading is not None and reading.in_turn:
                examples = in_turn(examples)
        grouped = group_by_words(examples, max_words, max_docs, homogeneous)
        if isinstance(examples, list):
            # All of an epoch is here, so its number of steps is known before the first of them.
            known = list(grouped)
            PLAN.begin_epoch(len(known))
            grouped = iter(known)
        else:
            PLAN.begin_training()
        yield from takewhile(lambda _: not PLAN.stopped, grouped)

    return batches


def in_turn(examples: list[Example]) -> list[Example]:
    """RETURNS (List[Example]): The same, one of each corpus after the other; those of one corpus
    in the order they come."""
    by_corpus: dict[str, list[Example]] = {}
    for example in examples:
        by_corpus.setdefault(corpus_of(example), []).append(example)
    turns = zip_longest(*(by_corpus[name] for name in sorted(by_corpus)))
    return [example for turn in turns for example in turn if example is not None]


def group_by_words(
    examples: Iterable[Example], max_words: int, max_docs: int, homogeneous: bool
) -> Iterator[list[Example]]:
    """YIELDS (List[Example]): Batches, with options as of `make_batcher`."""
    open_batches: dict[str, list[Example]] = {}
    n_words: dict[str, int] = {}
    for example in examples:
        key = corpus_of(example) if homogeneous else ""
        batch = open_batches.setdefault(key, [])
        n = len(example.predicted)
        if batch and (n_words[key] + n > max_words or len(batch) >= max_docs):
            yield batch
            batch = open_batches[key] = []
        if not batch:
            n_words[key] = 0
        batch.append(example)
        n_words[key] += n
    yield from (batch for batch in open_batches.values() if batch)
