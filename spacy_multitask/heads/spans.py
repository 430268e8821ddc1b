"""Flat labelled spans as BIOES labels: what chunker and entity recogniser share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from spacy.attrs import IDX, LENGTH
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab
from thinc.api import Model
from torch import Tensor

from ..encoder.batch import PackedBatch, blank_tokens
from ..given import given_docs
from ..layers import bioes
from ..layers.classifier import Classifier
from ..layers.crf import UNKNOWN, Transitions
from ..layers.transfer import OnTheWay, to_device
from ..probabilities import layer_of, set_span_probs
from .base import Head
from .gold import SpanTuple, pack_targets
from .groups import HashedSpan, over_words, sureness_of
from .labelled import with_rows
from .options import HeadOptions
from .sequences import sequences_of
from .tokens import TokenHead


class SpanPredictions(NamedTuple):
    """Spans of a batch.

    spans (bioes.Spans): Over the batch's packed rows.
    first (ndarray): Index of each doc's first span, and the end of the last, shape (n_docs + 1,).
    starts (ndarray): First row of each doc, shape (n_docs,).
    probs (Optional[ndarray]): Probability of each span, that of its least probable word, float32
        (n_spans,); None if it is not asked for.
    """

    spans: bioes.Spans
    first: np.ndarray
    starts: np.ndarray
    probs: np.ndarray | None


class SpanHead(TokenHead):
    """Finds non-overlapping spans. Subclasses say where they stand in a doc.

    Tokens of gold spans that overlap are unknown. So are blanks (a line break, a second space):
    spans are found as if they were not there, may have some within, and have none at their edges.
    """

    def __init__(
        self,
        vocab: Vocab,
        model: Model,
        name: str,
        options: HeadOptions,
        *,
        crf: bool,
        cross_sentences: bool,
    ):
        super().__init__(vocab, model, name, options)
        if crf and (options.label_smoothing or options.class_weights):
            raise ValueError(
                f"crf = true of {name!r} takes the loss over whole sequences, which have neither "
                "label_smoothing nor class_weights. Leave out one or the other."
            )
        self.crf = crf
        self.cross_sentences = cross_sentences
        self.cfg["labels"] = []

    def check_pipeline(self, nlp: Language) -> None:
        refuse_shared_group(nlp, self)

    def check_teachable(self) -> None:
        if self.crf:
            raise ValueError(
                f"{self.name!r} can't have a teacher with crf = true, which takes the loss over "
                "whole sequences. Leave out one or the other."
            )

    # To be said by subclasses

    def spans_in_gold(self, doc: Doc) -> Iterable[Span]:
        """RETURNS (Iterable[Span]): The spans in a gold doc."""
        raise NotImplementedError

    def gold_spans(self, example: Example) -> tuple[list[SpanTuple], list[int]] | None:
        """RETURNS (Optional[tuple]): Spans over the predicted doc's tokens, and tokens about which
        nothing is known; None if the doc has no gold at all."""
        raise NotImplementedError

    def write_spans(self, doc: Doc, spans: list[HashedSpan]) -> None:
        """Write predicted spans into a doc."""
        raise NotImplementedError

    # Training

    @property
    def n_out(self) -> int:
        return bioes.n_labels(len(self.cfg["labels"]))

    def grow(self, entry: str, label: str) -> None:
        module = self.module
        # As what is outside all spans, so that no path through the new labels is the best.
        module.linear = with_rows(module.linear, self.n_out, 4, slice(0, 1))
        if module.transitions is not None:
            module.transitions = module.transitions.with_type()

    @property
    def choices(self) -> dict[str, slice]:
        return {"": slice(0, self.n_out)}

    def parts_of(
        self, gold: tuple[np.ndarray, np.ndarray]
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        return {"": gold}

    def lesson(self, example: Example, is_complete: bool) -> np.ndarray | None:
        probs = super().lesson(example, is_complete)
        if probs is None:
            return None
        if not is_complete:
            probs[probs[:, bioes.O] == 1] = np.nan
        for (start, end), sure in self._sureness(example).items():
            within = probs[start:end]
            is_span = within[:, bioes.O] == 0
            within[is_span] *= sure
            within[is_span, bioes.O] = 1 - sure
        return probs

    def _sureness(self, example: Example) -> dict[tuple[int, int], float]:
        """RETURNS (Dict[Tuple[int, int], float]): How probable the spans that a teacher found are,
        if it says so, by first and end token."""
        spans = list(self.spans_in_gold(example.reference))
        sure = sureness_of(example.reference, self.score_options()["spans_key"])
        return {
            (aligned.start, aligned.end): p
            for span, p in zip(spans, sure)
            for aligned in example.get_aligned_spans_y2x([span])
        }

    @property
    def classes(self) -> list[str]:
        return ["O", *(label for label in self.cfg["labels"] for _ in "BIES")]

    def make_module(self, width: int) -> Classifier:
        transitions = Transitions(len(self.cfg["labels"])) if self.crf else None
        return Classifier(width, self.n_out, transitions)

    def collect_labels(self, examples: Iterable[Example]) -> dict[str, list[str]]:
        labels: set[str] = set()
        n_cut = 0
        for eg in examples:
            spans = list(self.spans_in_gold(eg.y))
            labels.update(span.label_ for span in spans)
            n_cut += sum(map(_has_blank_edge, spans))
        if n_cut:
            self.warn_of_blanks(f"{n_cut} spans")
        return {"labels": sorted(labels)}

    def gold(self, examples: list[Example]) -> tuple[np.ndarray, np.ndarray] | None:
        return pack_targets(self._targets(examples))

    def _targets(self, examples: list[Example]) -> Iterator[np.ndarray]:
        """YIELDS (ndarray): BIOES label or UNKNOWN per token of each predicted doc."""
        index = {label: k for k, label in enumerate(self.cfg["labels"])}
        for example in examples:
            targets = np.full(len(example.predicted), UNKNOWN, np.int64)
            found = self.gold_spans(example)
            if found is not None:
                spans, unknown = found
                blank = blank_tokens(example.predicted)
                targets[~blank] = 0
                targets[unknown] = UNKNOWN
                targets[~blank] = self._with_spans(targets[~blank], self._trim(spans, blank), index)
            yield targets

    def _trim(self, spans: list[SpanTuple], blank: np.ndarray) -> list[SpanTuple]:
        """RETURNS (List[tuple]): As `over_words`."""
        if not blank.any():
            return list(dict.fromkeys(spans))
        if any(start < end and (blank[start] or blank[end - 1]) for start, end, _ in spans):
            self.warn_of_blanks("spans")
        return over_words(spans, blank)

    def _with_spans(
        self, targets: np.ndarray, spans: list[SpanTuple], index: dict[str, int]
    ) -> np.ndarray:
        """RETURNS (ndarray): The targets of words, (n_words,), with the spans written into them."""
        n_spans = np.zeros(len(targets), np.int64)
        # In most docs no spans overlap, and to count them takes longer than to write them.
        some_overlap = any(one[1] > other[0] for one, other in pairwise(sorted(spans)))
        for start, end, _ in spans if some_overlap else ():
            n_spans[start:end] += 1
        for start, end, label in spans:
            if start >= end:
                self.warn_once(
                    "empty",
                    f"The training data of {self.name!r} has spans without tokens. They are "
                    "left out.",
                )
            elif some_overlap and n_spans[start:end].max() > 1:
                targets[start:end] = UNKNOWN
                self.warn_once(
                    "overlap",
                    f"The training data of {self.name!r} has spans that overlap. They are left "
                    "out, and nothing is learned of their tokens: each can be in one span.",
                )
            elif label in index:
                bioes.write_span(targets, start, end, index[label])
            else:
                targets[start:end] = UNKNOWN
                self.meet(label)
        return targets

    def loss(
        self, module: Classifier, batch: PackedBatch, gold: tuple[np.ndarray, np.ndarray]
    ) -> Tensor:
        if module.transitions is not None:
            return self._chain_loss(module, module.transitions, batch, gold)
        rows, targets = gold
        vectors = batch.word_vectors
        words = vectors[to_device(vectors.device, rows)[0]]
        return self.cross_entropy(module(words), targets, self.classes)

    def n_items(self, gold: tuple[np.ndarray, np.ndarray]) -> float:
        return self.weight_of(gold[1], self.classes)

    def _chain_loss(
        self,
        module: Classifier,
        transitions: Transitions,
        batch: PackedBatch,
        gold: tuple[np.ndarray, np.ndarray],
    ) -> Tensor:
        """RETURNS (Tensor): Minus the log likelihood of the known labels, per known label."""
        rows, known = gold
        targets = np.full(int(batch.lengths.sum()), UNKNOWN)
        targets[rows] = known
        # All words of the docs with gold: the sum over what is not known needs them, too.
        doc_of_word = np.repeat(np.arange(len(batch.lengths)), batch.lengths)
        docs, doc_of_gold = np.unique(doc_of_word[rows]), np.isin(doc_of_word, doc_of_word[rows])
        words = np.flatnonzero(doc_of_gold if batch.blank is None else doc_of_gold & ~batch.blank)
        vectors = batch.word_vectors
        logits = module(vectors[to_device(vectors.device, words)[0]])
        lengths = sequences_of(batch).lengths[docs]
        likelihood = transitions.log_likelihood(logits, targets[words], lengths)
        return -likelihood.sum() / len(known)

    # Prediction

    def predict(self, docs: Iterable[Doc]) -> SpanPredictions:
        """RETURNS (SpanPredictions): The best legal spans of each doc."""
        logits, batch = self.logits_and_batch(list(docs))
        (logits,) = OnTheWay(logits).tensors()
        sequences = sequences_of(batch, by_sentence=not self.cross_sentences)
        labels = self._decode(sequences.of_words(logits), sequences.lengths)
        spans = bioes.read_spans(labels)
        probs = None
        if self.abstain or self.writes_probs:
            probs = _least(spans, sequences.of_words(self.probs_of(logits, batch)), labels)
        if probs is not None and self.abstain:
            sure = probs >= self.abstain
            spans, probs = bioes.Spans(*(values[sure] for values in spans)), probs[sure]
        spans = sequences.to_tokens(spans)
        first = np.searchsorted(spans.start, np.append(0, batch.ends))
        return SpanPredictions(spans, first, batch.starts, probs if self.writes_probs else None)

    def _decode(self, logits: Tensor, lengths: np.ndarray) -> np.ndarray:
        """RETURNS (ndarray): The best legal labels of words, int64 (n_words,).

        logits (Tensor): Of the words, shape (n_words, nO), on the CPU.
        lengths (ndarray): Words per sequence, shape (n_sequences,).
        """
        # A search takes many small steps, which a device does no faster.
        transitions = self.shim.part_on(logits.device, "transitions")
        if transitions is not None:
            return transitions.decode(logits, lengths)
        return bioes.decode(logits.numpy(), logits.argmax(1).numpy(), lengths)

    def probs(self, docs: Doc | Iterable[Doc]) -> list[np.ndarray]:
        """RETURNS (List[ndarray]): Per doc, the probability of each BIOES label of each token,
        shape (n_tokens, 1 + 4 * n_labels); label order as in `layers/bioes.py`."""
        probs, lengths = self.word_probs(given_docs(docs, "probs"))
        return np.split(probs.cpu().numpy(), np.cumsum(lengths)[:-1])

    def logits_of_words(self, logits: Tensor, batch: PackedBatch) -> Tensor:
        # Those of a chain take the other words of the doc into account.
        transitions = self.shim.part_on(logits.device, "transitions")
        if transitions is None:
            return logits
        sequences = sequences_of(batch)
        probs = transitions.marginals(sequences.of_words(logits), sequences.lengths)
        if sequences.rows is not None:
            of_tokens = torch.zeros_like(logits)
            of_tokens[:, bioes.O] = 1.0
            of_tokens[to_device(logits.device, sequences.rows)[0]] = probs
            probs = of_tokens
        return probs.clamp(min=1e-12).log()

    def span_probs(self, doc: Doc, spans: Iterable[Span]) -> list[float]:
        """Get the probability of spans: that of their least probable word.

        spans (Iterable[Span]): Spans of the doc with labels that this head knows.
        RETURNS (List[float]): One per span.
        """
        (probs,) = self.probs([doc])
        index = {label: k for k, label in enumerate(self.cfg["labels"])}
        blank = blank_tokens(doc)
        result = []
        for span in spans:
            rows = span.start + np.flatnonzero(~blank[span.start : span.end])
            labels = np.zeros(len(rows), np.int64)
            bioes.write_span(labels, 0, len(rows), index[span.label_])
            result.append(float(probs[rows, labels].min()))
        return result

    def logits_at(self, docs: list[Doc], gold: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        rows, targets = gold
        logits = self.logits_of_words(*self.logits_and_batch(docs))
        return {"": (logits.cpu().numpy()[rows], targets)}

    def set_annotations(self, docs: Iterable[Doc], predictions: SpanPredictions) -> None:
        """Write the predicted spans into the docs."""
        layer = layer_of(self.score_options()["spans_key"])
        for doc, spans, probs in placed_spans(self, docs, predictions):
            self.write_spans(doc, spans)
            keep_probs(doc, layer, spans, probs)


def placed_spans(
    head: Head, docs: Iterable[Doc], predictions: SpanPredictions
) -> Iterator[tuple[Doc, list[HashedSpan], np.ndarray | None]]:
    """YIELDS (tuple): Each doc with its spans, and their probabilities if there are some."""
    found, first = predictions.spans, predictions.first
    offsets = np.repeat(predictions.starts, np.diff(first))
    hashes = np.array([head.vocab.strings.add(x) for x in head.cfg["labels"]], np.uint64)
    columns = (found.start - offsets, found.end - offsets, hashes[found.type])
    # Lists of numbers, since Python's garbage collector would keep track of a tuple for each span.
    starts, ends, labels = (values.tolist() for values in columns)
    probs = predictions.probs
    for doc, (a, b) in zip(docs, pairwise(first.tolist())):
        head.lend_labels(doc)
        spans = list(zip(starts[a:b], ends[a:b], labels[a:b]))
        yield doc, spans, None if probs is None else probs[a:b]


def keep_probs(doc: Doc, layer: str, spans: list[HashedSpan], probs: np.ndarray | None) -> None:
    """Keep how sure a head is of spans for `span._.prob`; None forgets those of an earlier
    prediction."""
    found = None
    if probs is not None:
        starts, lengths = doc.to_array([IDX, LENGTH]).astype(np.int64).T.tolist()
        strings = doc.vocab.strings
        found = [
            (starts[first], starts[end - 1] + lengths[end - 1], strings[label], prob)
            for (first, end, label), prob in zip(spans, probs.tolist())
        ]
    set_span_probs(doc, layer, found)


def _least(spans: bioes.Spans, probs: Tensor, labels: np.ndarray) -> np.ndarray:
    """
    probs (Tensor): Of all labels of words, shape (n_words, n_labels).
    labels (ndarray): Of words, shape (n_words,).
    RETURNS (ndarray): Probability of the least probable word of each span, float32 (n_spans,).
    """
    if not len(spans.start):
        return np.zeros(0, np.float32)
    own = probs.gather(1, torch.from_numpy(labels).to(probs.device)[:, None])[:, 0]
    # One more, since a span may end after the last word.
    of_words = np.append(own.cpu().numpy(), np.float32(1.0))
    borders = np.stack([spans.start, spans.end], axis=1).ravel()
    return np.minimum.reduceat(of_words, borders)[::2]


def refuse_shared_group(nlp: Language, head: Head) -> None:
    """RAISES (ValueError): If another head writes to the same group of `doc.spans`."""
    key = head.score_options().get("spans_key")
    for name, pipe in _at_work(nlp) if key is not None else ():
        if pipe is not head and isinstance(pipe, Head):
            if pipe.score_options().get("spans_key") == key:
                raise ValueError(
                    f"{name!r} and {head.name!r} both write doc.spans[{key!r}]. Give one of "
                    "them another spans_key."
                )


def _at_work(nlp: Language) -> list[tuple[str, Any]]:
    """RETURNS (List[tuple]): Components that are not disabled, or only while others learn."""
    frozen = nlp.config.get("training", {}).get("frozen_components", [])
    return [
        (name, pipe) for name, pipe in nlp.components if name not in nlp.disabled or name in frozen
    ]


def _has_blank_edge(span: Span) -> bool:
    return len(span) > 0 and (span[0].is_space or span[-1].is_space)
