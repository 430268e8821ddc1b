"""Flat labelled spans as BIOES labels: what chunker and entity recogniser share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from spacy.language import Language
from spacy.tokens import Doc, Span, SpanGroup
from spacy.training import Example
from spacy.vocab import Vocab
from thinc.api import Model
from torch import Tensor

from ..encoder.batch import PackedBatch, blank_tokens
from ..given import given_docs
from ..layers import bioes
from ..layers.classifier import Classifier
from ..layers.crf import UNKNOWN, Transitions
from ..layers.shim import TorchShim
from .gold import pack_targets, same_tokens
from .labelled import with_rows
from .options import HeadOptions
from .sequences import sequences_of
from .tokens import TokenHead

# (first token, end token, label)
SpanTuple = tuple[int, int, str]


class SpanPredictions(NamedTuple):
    """Spans of a batch.

    spans (bioes.Spans): Over the batch's packed rows.
    first (ndarray): Index of each doc's first span, and the end of the last, shape (n_docs + 1,).
    starts (ndarray): First row of each doc, shape (n_docs,).
    """

    spans: bioes.Spans
    first: np.ndarray
    starts: np.ndarray


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
        key = self.score_options()["spans_key"]
        for name, pipe in _at_work(nlp) if key is not None else ():
            if pipe is not self and isinstance(pipe, SpanHead):
                if pipe.score_options()["spans_key"] == key:
                    raise ValueError(
                        f"{name!r} and {self.name!r} both write doc.spans[{key!r}]. Give one of "
                        "them another spans_key."
                    )

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

    # Training

    @property
    def n_out(self) -> int:
        return bioes.n_labels(len(self.cfg["labels"]))

    def grow(self, shim: TorchShim, label: str) -> None:
        module = self.module
        # As what is outside all spans, so that no path through the new labels is the best.
        module.linear = with_rows(module.linear, self.n_out, 4, slice(0, 1))
        if module.transitions is not None:
            module.transitions = module.transitions.with_type()
        self.cfg["labels"] = [*self.cfg["labels"], label]

    @property
    def choices(self) -> dict[str, slice]:
        return {"": slice(0, self.n_out)}

    def rows_with_gold(self, gold: tuple[np.ndarray, np.ndarray]) -> dict[str, np.ndarray]:
        return {"": gold[0]}

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
            self._warn_of_blanks(f"{n_cut} spans")
        return {"labels": sorted(labels)}

    def _warn_of_blanks(self, which: str) -> None:
        self.warn_once(
            "blanks",
            f"The training data of {self.name!r} has {which} that begin or end with blanks, such "
            "as line breaks. It learns the spans without these.",
        )

    def gold(self, examples: list[Example]) -> tuple[np.ndarray, np.ndarray] | None:
        return pack_targets(self._targets(examples))

    def _targets(self, examples: list[Example]) -> Iterator[np.ndarray]:
        """YIELDS (ndarray): BIOES label or UNKNOWN per token of each predicted doc."""
        index = {label: k for k, label in enumerate(self.cfg["labels"])}
        for example in examples:
            blank = blank_tokens(example.predicted)
            targets = np.full(len(blank), UNKNOWN, np.int64)
            found = self.gold_spans(example)
            if found is not None:
                spans, unknown = found
                targets[~blank] = 0
                targets[unknown] = UNKNOWN
                targets[~blank] = self._with_spans(targets[~blank], self._trim(spans, blank), index)
            yield targets

    def _trim(self, spans: list[SpanTuple], blank: np.ndarray) -> list[SpanTuple]:
        """RETURNS (List[tuple]): Spans over tokens as spans over the words among them; each once,
        where a span group may have it twice."""
        before = np.append(0, np.cumsum(~blank)).tolist()  # words before each token
        if any(start < end and (blank[start] or blank[end - 1]) for start, end, _ in spans):
            self._warn_of_blanks("spans")
        # Those of blanks alone are gone; those without tokens are told of elsewhere.
        left = [span for span in spans if span[0] >= span[1] or not blank[span[0] : span[1]].all()]
        words = [(before[s], before[e], label) for s, e, label in left]
        return list(dict.fromkeys(words))

    def _with_spans(
        self, targets: np.ndarray, spans: list[SpanTuple], index: dict[str, int]
    ) -> np.ndarray:
        """RETURNS (ndarray): The targets of words, (n_words,), with the spans written into them."""
        n_spans = np.zeros(len(targets), np.int64)
        for start, end, _ in spans:
            n_spans[start:end] += 1
        for start, end, label in spans:
            if start >= end:
                self.warn_once(
                    "empty",
                    f"The training data of {self.name!r} has spans without tokens. They are "
                    "left out.",
                )
            elif n_spans[start:end].max() > 1:
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
                self.warn_of_label(label)
        return targets

    def loss(
        self, module: Classifier, batch: PackedBatch, gold: tuple[np.ndarray, np.ndarray]
    ) -> Tensor:
        if module.transitions is not None:
            return self._chain_loss(module, module.transitions, batch, gold)
        rows, targets = gold
        vectors = batch.word_vectors
        words = vectors[torch.from_numpy(rows).to(vectors.device)]
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
        logits = module(vectors[torch.from_numpy(words).to(vectors.device)])
        lengths = sequences_of(batch).lengths[docs]
        likelihood = transitions.log_likelihood(logits, targets[words], lengths)
        return -likelihood.sum() / len(known)

    # Prediction

    def predict(self, docs: Iterable[Doc]) -> SpanPredictions:
        """RETURNS (SpanPredictions): The best legal spans of each doc."""
        logits, batch = self.logits_and_batch(list(docs))
        sequences = sequences_of(batch, by_sentence=not self.cross_sentences)
        labels = self._decode(sequences.of_words(logits), sequences.lengths)
        spans = bioes.read_spans(labels)
        if self.abstain:
            probs = sequences.of_words(self.probs_of(logits, batch)).cpu().numpy()
            spans = self._sure_spans(spans, probs, labels)
        spans = sequences.to_tokens(spans)
        borders = np.append(0, batch.ends)
        return SpanPredictions(spans, np.searchsorted(spans.start, borders), batch.starts)

    def _decode(self, logits: Tensor, lengths: np.ndarray) -> np.ndarray:
        """RETURNS (ndarray): The best legal labels of words, int64 (n_words,).

        logits (Tensor): Of the words, shape (n_words, nO).
        lengths (ndarray): Words per sequence, shape (n_sequences,).
        """
        if self.module.transitions is not None:
            return self.module.transitions.decode(logits, lengths)
        labels = logits.argmax(1).cpu().numpy()
        starts = (np.cumsum(lengths) - lengths)[lengths > 0]
        if len(labels) and bioes.illegal(labels, starts).any():
            labels = bioes.decode(logits.cpu().numpy(), labels, lengths)
        return labels

    def _sure_spans(self, spans: bioes.Spans, probs: np.ndarray, labels: np.ndarray) -> bioes.Spans:
        """RETURNS (Spans): Those whose least probable token reaches `abstain`."""
        if not len(spans.start):
            return spans
        # One more, since a span may end after the last token.
        probs = np.append(probs[np.arange(len(labels)), labels], 1.0)
        borders = np.stack([spans.start, spans.end], axis=1).ravel()
        sure = np.minimum.reduceat(probs, borders)[::2] >= self.abstain
        return bioes.Spans(*(values[sure] for values in spans))

    def probs(self, docs: Doc | Iterable[Doc]) -> list[np.ndarray]:
        """RETURNS (List[ndarray]): Per doc, the probability of each BIOES label of each token,
        shape (n_tokens, 1 + 4 * n_labels); label order as in `layers/bioes.py`."""
        probs, lengths = self.word_probs(given_docs(docs, "probs"))
        return np.split(probs.cpu().numpy(), np.cumsum(lengths)[:-1])

    def logits_of_words(self, logits: Tensor, batch: PackedBatch) -> Tensor:
        # Those of a chain take the other words of the doc into account.
        if self.module.transitions is None:
            return logits
        sequences = sequences_of(batch)
        probs = self.module.transitions.marginals(sequences.of_words(logits), sequences.lengths)
        if sequences.rows is not None:
            of_tokens = torch.zeros_like(logits)
            of_tokens[:, bioes.O] = 1.0
            of_tokens[torch.from_numpy(sequences.rows).to(logits.device)] = probs
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

    def doc_spans(
        self, docs: Iterable[Doc], predictions: SpanPredictions
    ) -> Iterator[tuple[Doc, list[tuple[int, int, int]]]]:
        """YIELDS (tuple): Each doc with (first token, end token, label hash) of its spans."""
        hashes = [self.vocab.strings.add(label) for label in self.cfg["labels"]]
        start = predictions.spans.start.tolist()
        end = predictions.spans.end.tolist()
        labels = [hashes[k] for k in predictions.spans.type.tolist()]
        first = predictions.first.tolist()
        for i, (doc, offset) in enumerate(zip(docs, predictions.starts.tolist())):
            which = range(first[i], first[i + 1])
            yield doc, [(start[j] - offset, end[j] - offset, labels[j]) for j in which]


def _at_work(nlp: Language) -> list[tuple[str, Any]]:
    """RETURNS (List[tuple]): Components that are not disabled, or only while others learn."""
    frozen = nlp.config.get("training", {}).get("frozen_components", [])
    return [
        (name, pipe) for name, pipe in nlp.components if name not in nlp.disabled or name in frozen
    ]


def gold_group(example: Example, spans_key: str) -> tuple[list[SpanTuple], list[int]] | None:
    """RETURNS (Optional[tuple]): As `SpanHead.gold_spans`, from a span group of the reference."""
    spans = example.reference.spans.get(spans_key)
    if spans is None:
        return None
    if same_tokens(example):
        return [(span.start, span.end, span.label_) for span in spans], []
    return align_spans(example, spans)


def set_group(doc: Doc, spans_key: str, spans: list[tuple[int, int, int]]) -> None:
    """Write (first token, end token, label hash) as the span group of a doc."""
    doc.spans[spans_key] = SpanGroup(
        doc,
        name=spans_key,
        spans=[Span(doc, start, end, label=label) for start, end, label in spans],
    )


def align_spans(example: Example, spans: Iterable[Span]) -> tuple[list[SpanTuple], list[int]]:
    """Bring gold spans onto the predicted doc's tokens.

    RETURNS (tuple): The spans that fall on token borders, and the predicted tokens that the others
        touch: about those nothing is known.
    """
    found, unknown = [], set()
    y2x = example.alignment.y2x
    for span in spans:
        tokens = sorted({int(i) for j in range(span.start, span.end) for i in y2x[j]})
        if not tokens:
            continue
        start, end = tokens[0], tokens[-1] + 1
        covered = example.predicted[start:end]
        # Blank tokens within are in the span, too: they are aligned with nothing.
        n_words = sum(not token.is_space or token.i in tokens for token in covered)
        if n_words == len(tokens) and _letters(covered) == _letters(span):
            found.append((start, end, span.label_))
        else:
            unknown.update(tokens)
    return found, sorted(unknown)


def _has_blank_edge(span: Span) -> bool:
    return len(span) > 0 and (span[0].is_space or span[-1].is_space)


def _letters(span: Span) -> str:
    """RETURNS (str): The text as spaCy aligns it: without blanks and case."""
    return "".join(span.text.split()).lower()
