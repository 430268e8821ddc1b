"""New heads that fit the pretrained encoder before it begins to learn."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch
from spacy.language import Language
from spacy.training import Example
from spacy.util import logger, registry, resolve_dot_names

from ..corpus.reader import corpus_of
from ..encoder.batch import PackedBatch
from ..encoder.listener import EncoderListener
from ..heads.base import Head, all_examples
from ..registering import with_types

# Docs that are encoded at once. Their heads' losses make a step.
BATCH = 64
WEIGHT_DECAY = 1e-3


@registry.callbacks("spacy_multitask.fit_heads.v1")
@with_types
def make_head_fitter(
    heads: list[str] | None = None,
    max_docs: int = 2000,
    passes: int = 15,
    learn_rate: float = 0.01,
) -> Callable[[Language], None]:
    """Fit the new heads to the encoder as it is, for `after_init` in [initialize].

    Heads that start from nothing send the encoder gradients that distort what it knows, and
    spend the first steps on what a linear model finds at once. This takes one pass through
    the encoder, of which nothing changes. Heads that are frozen or come from a pipeline stay as
    they are, as do those that do not listen to a `multitask_transformer`.

    Source: linear probing before fine-tuning, Kumar et al. (2022),
        https://arxiv.org/abs/2202.10054.

    heads (Optional[List[str]]): Names of the heads to fit; None for all.
    max_docs (int): Most docs of each training corpus, drawn at random; the first ones of a stream
        that is not read by a `MultiCorpus`.
    passes (int): Passes over their vectors.
    learn_rate (float): At the start; it falls to zero.
    RAISES (ValueError): If an option is not positive; in `after_init`, if there is no such head.
    """
    for option, value in (("max_docs", max_docs), ("passes", passes), ("learn_rate", learn_rate)):
        if value <= 0:
            raise ValueError(f"{option} = {value} of fit_heads must be greater than 0.")

    def fit_heads(nlp: Language) -> None:
        for name in heads or ():
            if name not in nlp.component_names:
                raise ValueError(f"fit_heads is to fit {name!r}, which is not in the pipeline.")
        # spaCy has disabled what is not new.
        new = [
            pipe
            for name, pipe in nlp.pipeline
            if isinstance(pipe, Head) and _listens(pipe) and (heads is None or name in heads)
        ]
        skipped = [name for name in heads or () if all(name != head.name for head in new)]
        if skipped:
            logger.warning("fit_heads leaves these as they are: %s", ", ".join(skipped))
        if not new:
            return
        examples = _draw(nlp, max_docs)
        with _vectors_for(new):
            found = _encode(new, examples)
        for head in new:
            if found[head.name]:
                _fit(head, found[head.name], passes, learn_rate)
        fitted = ", ".join(head.name for head in new if found[head.name])
        logger.info("Fitted to the encoder before the training: %s", fitted or "no head has gold")

    return fit_heads


def _listens(head: Head) -> bool:
    return isinstance(head.tok2vec, EncoderListener) and head.tok2vec.encoder is not None


def _draw(nlp: Language, max_docs: int) -> list[Example]:
    """RETURNS (List[Example]): So many of each training corpus, shuffled."""
    try:
        return _draw_from(nlp, max_docs)
    except (KeyError, OSError, ValueError) as error:
        raise ValueError(
            "[initialize] after_init: fit_heads reads the corpus that [training] train_corpus "
            f"names, and could not: {error} To initialise from other examples, set after_init = "
            "null."
        ) from error


def _draw_from(nlp: Language, max_docs: int) -> list[Example]:
    config = nlp.config.interpolate()
    training = config["training"]
    (read,) = resolve_dot_names(config, [training["train_corpus"]])
    is_endless = training["max_epochs"] < 0
    rngs: dict[str, random.Random] = defaultdict(lambda: random.Random(0))
    drawn: dict[str, list[Example]] = defaultdict(list)
    n_seen: dict[str, int] = defaultdict(int)
    examples = iter(all_examples(lambda: read(nlp)))
    for example in examples:
        corpus = corpus_of(example)
        if not corpus and is_endless:
            # Another reader's stream.
            return [example, *islice(examples, max_docs - 1)]
        n_seen[corpus] += 1
        if n_seen[corpus] <= max_docs:
            drawn[corpus].append(example)
        elif (place := rngs[corpus].randrange(n_seen[corpus])) < max_docs:
            drawn[corpus][place] = example
    # In one order, however they were mixed; and no batch of one label, where a corpus is sorted.
    found = [example for corpus in sorted(drawn) for example in drawn[corpus]]
    random.Random(0).shuffle(found)
    return found


@contextmanager
def _vectors_for(heads: list[Head]) -> Iterator[None]:
    """Let the encoder give the vectors that it keeps to itself in prediction, where heads take
    logits."""
    listeners: list[Any] = [head.tok2vec for head in heads]
    before = [(listener.needs_words, listener.projection) for listener in listeners]
    try:
        for listener in listeners:
            # Heads that have neither read document vectors alone.
            if listener.projection is not None:
                listener.needs_words, listener.projection = True, None
        yield
    finally:
        for listener, (needs_words, projection) in zip(listeners, before):
            listener.needs_words, listener.projection = needs_words, projection


def _encode(heads: list[Head], examples: list[Example]) -> dict[str, list[tuple]]:
    """RETURNS (Dict[str, List[Tuple[PackedBatch, Any]]]): Vectors and gold by head, batch by
    batch, without those from which a head has nothing to learn."""
    found: dict[str, list[tuple[PackedBatch, Any]]] = {head.name: [] for head in heads}
    for start in range(0, len(examples), BATCH):
        part = examples[start : start + BATCH]
        docs = [example.predicted for example in part]
        encoded = set()
        for head in heads:
            gold = head.gold(list(map(head._hide_foreign_gold, part)))
            if gold is None:
                continue
            listener: Any = head.tok2vec
            encoder = listener.encoder
            if id(encoder) not in encoded:
                with torch.no_grad():
                    encoder.set_annotations(docs, encoder.predict(docs))
                encoded.add(id(encoder))
            found[head.name].append((head.packed(docs), gold))
    return found


def _fit(
    head: Head, batches: list[tuple[PackedBatch, Any]], passes: int, learn_rate: float
) -> None:
    module = head.module
    module.train()
    module.set_dropout(0.0)
    optimizer = torch.optim.AdamW(module.parameters(), lr=learn_rate, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LinearLR(
        optimizer, start_factor=1.0, end_factor=0.0, total_iters=passes * len(batches)
    )
    for _ in range(passes):
        for batch, gold in batches:
            optimizer.zero_grad()
            with torch.enable_grad():
                head.loss(module, batch, gold).backward()
            optimizer.step()
            schedule.step()
    # Or the first step of the training would add these gradients to its own.
    optimizer.zero_grad()
