"""Batches of about equal size in words."""

from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from typing import Any

from spacy.training import Example
from spacy.util import registry

from ..corpus.reading import Reading, reading_of
from ..gone import NO_HOMOGENEOUS, refuse_gone
from ..plan import join
from ..registering import refuse_quoted_numbers


@registry.batchers("spacy_multitask.batch_by_words.v1")
@refuse_quoted_numbers
def make_batcher(
    max_words: int = 400, max_docs: int = 32, homogeneous: Any = False
) -> Callable[[Iterable[Example]], Iterator[list[Example]]]:
    """Group examples, in the order they come.

    spaCy asks its reader for examples once, and hands the same list to the batcher in every epoch,
    shuffled. Where a `MultiCorpus` draws some examples of many, batches from the second epoch on
    are those of a new draw.

    max_words (int): Most words in a batch; a longer doc is a batch of its own.
    max_docs (int): Most docs in a batch.
    homogeneous (bool): Gone; configs of 0.1.0 have it.
    """
    refuse_gone("homogeneous of [training.batcher]", homogeneous, False, NO_HOMOGENEOUS)
    if max_words < 1 or max_docs < 1:
        raise ValueError(f"max_words = {max_words} and max_docs = {max_docs} must be at least 1.")

    plan = join()
    first: list[Example] | None = None
    reading: Reading | None = None

    def batches(examples: Iterable[Example]) -> Iterator[list[Example]]:
        nonlocal first, reading
        if plan.stopped:
            return
        if isinstance(examples, list):
            if examples is not first:
                first, reading = examples, reading_of(examples)
                plan.begin()
            elif reading is not None and reading.is_drawn:
                examples = reading.again()
        grouped = group_by_words(examples, max_words, max_docs)
        if isinstance(examples, list):
            # All of an epoch is here, so its number of steps is known before the first of them.
            known = list(grouped)
            plan.begin_epoch(len(known))
            grouped = iter(known)
        else:
            plan.begin()
        yield from takewhile(lambda _: not plan.stopped, grouped)

    return batches


def group_by_words(
    examples: Iterable[Example], max_words: int, max_docs: int
) -> Iterator[list[Example]]:
    """YIELDS (List[Example]): Batches, with options as of `make_batcher`."""
    batch: list[Example] = []
    n_words = 0
    for example in examples:
        n = len(example.predicted)
        if batch and (n_words + n > max_words or len(batch) >= max_docs):
            yield batch
            batch, n_words = [], 0
        batch.append(example)
        n_words += n
    if batch:
        yield batch
