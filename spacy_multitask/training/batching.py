"""Batches of about equal size in words."""

from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from typing import Any, TypeVar

from spacy.training import Example
from spacy.util import registry

from ..corpus.reading import Reading, reading_of
from ..gone import NO_HOMOGENEOUS, refuse_gone
from ..plan import join
from ..registering import refuse_quoted_numbers

BATCHER = "spacy_multitask.batch_by_words.v1"
MAX_WORDS, MAX_DOCS = 400, 32
Item = TypeVar("Item")


@registry.batchers(BATCHER)
@refuse_quoted_numbers
def make_batcher(
    max_words: int = MAX_WORDS, max_docs: int = MAX_DOCS, homogeneous: Any = False
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


def _n_words(example: Example) -> int:
    return len(example.predicted)


def group_by_words(
    items: Iterable[Item],
    max_words: int,
    max_docs: int,
    *,
    length: Callable[[Any], int] = _n_words,
) -> Iterator[list[Item]]:
    """Group docs, with options as of `make_batcher`.

    items (Iterable[Any]): Examples, or what stands for them.
    length (Callable): Gives the number of tokens.
    YIELDS (List[Any]): Batches.
    """
    batch: list[Item] = []
    n_words = 0
    for item in items:
        n = length(item)
        if batch and (n_words + n > max_words or len(batch) >= max_docs):
            yield batch
            batch, n_words = [], 0
        batch.append(item)
        n_words += n
    if batch:
        yield batch
