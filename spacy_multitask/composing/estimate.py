"""What a training that is being composed will take."""

from __future__ import annotations

import torch

from ..training.forecast import Estimate, Learner, Row, Work, estimate_work, rows_of, sentence
from .composition import Composition, Sizes


def estimate(composition: Composition, sizes: Sizes) -> Estimate:
    """Say what a training will take.

    RETURNS (Estimate): Good to a factor of two; the time is that of the device named in the
        composition, if it is here.
    """
    gpu = composition.gpu and torch.cuda.is_available()
    return estimate_work(
        composition.encoder_size,
        _work(composition, sizes),
        device="cuda" if gpu else "cpu",
        half=composition.gpu,
        frozen=False,
    )


def _work(composition: Composition, sizes: Sizes) -> Work:
    n_docs = sum(found.docs for found in composition.surveys.values())
    return Work(composition.words, n_docs, sizes.epochs, sizes.batch_words)


def describe(composition: Composition, sizes: Sizes) -> tuple[list[Row], str]:
    """Describe a training that is being composed.

    RETURNS (Tuple[List[Row], str]): A row under HEADER per task and corpus with gold for it, and
        sentences about steps, memory and time.
    """
    kinds = [component.kind for component in composition.components]
    learners = [
        Learner(
            one.task.name,
            one.kind,
            (one.kind.name,),
            # As in the config that is written: heads of one kind keep to their corpora.
            frozenset([one.corpus]) if kinds.count(one.kind) > 1 else None,
        )
        for one in composition.components
    ]
    passes = dict.fromkeys(composition.surveys, float(sizes.epochs))
    text = sentence(_work(composition, sizes), estimate(composition, sizes))
    if not composition.encoder_size.known:
        text += " The encoder is not at hand; it is taken to be as large as BERT-base."
    return rows_of(learners, composition.surveys, passes), text
