"""The number of steps that a training will take, found out by going through its batches."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import NamedTuple

from spacy.language import Language
from spacy.pipeline import DependencyParser, EntityLinker, EntityRecognizer
from spacy.util import dot_to_object

from ..corpus.reader import READER, MultiCorpus
from .batching import group_by_words

# Docs that are gone through; more would take some seconds.
MAX_COUNTED = 1_000_000
# spaCy's components that draw from the generator that shuffles the docs.
DRAWING = (DependencyParser, EntityRecognizer, EntityLinker)


class StepCount(NamedTuple):
    """How long a training is.

    steps (int): Whole number of steps.
    epochs (float): Passes over the data.
    is_certain (bool): Whether it is sure to take so many, if nothing ends it early.
    """

    steps: int
    epochs: float
    is_certain: bool


def count_steps(
    epochs: Iterable[list[int]], *, max_words: int, max_docs: int, max_epochs: int, max_steps: int
) -> StepCount:
    """Count batches.

    epochs (Iterable[List[int]]): The docs of each epoch in order, as numbers of tokens.
    max_words, max_docs (int): Of a batch, see `make_batcher`.
    max_epochs, max_steps (int): As in [training]; at least one is positive.
    """
    # spaCy ends after the step that has this number, and counts from 0.
    last = max_steps + 1 if max_steps > 0 else float("inf")
    steps = n_epochs = n_docs = 0
    for lengths in epochs:
        n = sum(1 for _ in group_by_words(lengths, max_words, max_docs, length=int))
        if steps + n >= last:
            return StepCount(int(last), n_epochs + (last - steps) / n, True)
        steps, n_epochs, n_docs = steps + n, n_epochs + 1, n_docs + len(lengths)
        if n_epochs == max_epochs:
            return StepCount(steps, n_epochs, True)
        if n_docs >= MAX_COUNTED:
            break
    in_all = min(max_epochs if max_epochs > 0 else float("inf"), last * n_epochs / steps)
    return StepCount(round(in_all * steps / n_epochs), in_all, False)


def epochs_of(reader: MultiCorpus, lengths: Mapping[str, list[int]]) -> Iterator[list[int]]:
    """Go through the epochs that a training will have which begins now.

    reader (MultiCorpus): Of the training corpora.
    lengths (Mapping[str, List[int]]): Tokens of each doc of each corpus.
    YIELDS (List[int]): Tokens of each doc, in the order of an epoch; valid until the next one.
    """
    sizes = {name: len(found) for name, found in lengths.items()}
    # spaCy shuffles the same list for each epoch, with Python's generator as it will be.
    rng = random.Random()
    rng.setstate(random.getstate())
    items = list(reader.epoch_of(sizes, 0).items(lambda name: iter(lengths[name])))
    for number in count():
        epoch = reader.epoch_of(sizes, number)
        rng.shuffle(items)
        is_redrawn = number and epoch.is_drawn
        yield epoch.drawn(lambda name: iter(lengths[name])) if is_redrawn else items


def is_foreseeable(nlp: Language, reader: MultiCorpus) -> bool:
    """RETURNS (bool): Whether docs are sure to come in the order of `epochs_of`, and as long."""
    config = nlp.config.interpolate()
    if not all(options["gold_tokens"] for options in reader.corpora.values()):
        return False  # the pipeline's own tokens are others
    if config["training"]["max_epochs"] == 1:
        return True
    return (
        config["training"]["before_update"] is None
        and dot_to_object(config, config["training"]["dev_corpus"]).get("@readers") == READER
        and not any(isinstance(pipe, DRAWING) for _, pipe in nlp.pipeline)
    )
