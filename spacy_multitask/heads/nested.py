"""Spans that may overlap, or be within each other: a group of `doc.spans`."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab
from thinc.api import Model
from torch import Tensor

from ..encoder.batch import PackedBatch, blank_tokens
from ..given import given_docs
from ..layers.band import NOT_KNOWN, BandGold, SpanBand, band_gold, choose, room
from ..layers.bioes import Spans
from ..layers.transfer import to_device
from ..probabilities import layer_of
from .architectures import default_model
from .base import Head
from .gold import SpanTuple, gold_group
from .groups import set_group, sureness_of
from .items import group_items
from .kinds import HeadKind, Recipe, Score, register, spans_in
from .labelled import with_rows
from .options import HeadOptions, head_factory
from .sequences import sequences_of
from .spans import SpanPredictions, keep_probs, placed_spans, refuse_shared_group
from .teaching import TAUGHT

KEY = "sc"  # of doc.spans, by default, as spaCy's spancat has it
WIDEST = 64  # words of the widest span that is learned unless max_width says otherwise
OVERLAP = ("all", "nested", "flat")
KIND = register(
    HeadKind(
        name="spans",
        factories=("multitask_spans",),
        learns_from=f'doc.spans["{KEY}"]',
        items="spans that may overlap",
        count=spans_in(KEY),
        is_in_groups=True,
        scores=(Score("spans_*_f", group_items, title="spans", unit="span"),),
        place=92,
        recipe=Recipe(spans_key=KEY, initialize=TAUGHT),
    )
)


@head_factory(
    "multitask_spans",
    assigns=["doc.spans"],
    default_config={
        "model": default_model("SpanFinder"),
        "spans_key": KEY,
        "overlap": "all",
        "threshold": 0.5,
        "max_width": None,
        "scorer": {"@scorers": "spacy_multitask.span_scorer.v1"},
    },
    default_score_weights={f"spans_{KEY}_f": 1.0, f"spans_{KEY}_p": 0.0, f"spans_{KEY}_r": 0.0},
)
def make_spans(
    nlp: Language,
    name: str,
    model: Model,
    options: HeadOptions,
    spans_key: str,
    overlap: str,
    threshold: float,
    max_width: int | None,
) -> "SpanFinder":
    """Create a head that writes labelled spans, which may overlap, to `doc.spans[spans_key]`.

    model (Model): See `spacy_multitask.SpanFinder.v1`.
    spans_key (str): Key of `doc.spans`, for gold and for predictions.
    overlap (str): Which spans a doc may have: "all"; "nested", where each two are apart or one is
        within the other; or "flat", without overlap. The most probable ones are kept.
    threshold (float): Probability from which a span is written, if `spacy multitask calibrate` has
        not found one for its label.
    max_width (Optional[int]): Most words of a span. None takes what the training data has, up to
        64.
    options (HeadOptions): What all heads take. `abstain` is a lower limit on all thresholds.
        `class_weights` are of labels that are true. There is no `label_smoothing`.
    """
    return SpanFinder(
        nlp.vocab,
        model,
        name,
        options,
        spans_key=spans_key,
        overlap=overlap,
        threshold=threshold,
        max_width=max_width,
    )


class Known(NamedTuple):
    """Gold of a batch.

    rows (ndarray): Rows of the words of docs with gold in the packed batch, int64 (n_words,).
    lengths (ndarray): Words of each of these docs, int64 (n_docs,).
    band (BandGold): Over these words.
    """

    rows: np.ndarray
    lengths: np.ndarray
    band: BandGold


class SpanFinder(Head):
    """Finds spans that may overlap, and have the same place with several labels.

    A doc without `doc.spans[spans_key]` is unknown and neither trains nor counts; one where the
    group is empty has no spans. Tokens in `doc.spans[spans_key].attrs["unknown"]` are unknown, and
    so are those of spans that the tokenization cuts: nothing is learned of spans that have one,
    unless they are gold. As for flat spans, blanks are passed over. Spans of more than `max_width`
    words are not found.
    """

    kind = KIND
    model_name = "span_finder"

    def __init__(
        self,
        vocab: Vocab,
        model: Model,
        name: str,
        options: HeadOptions,
        *,
        spans_key: str,
        overlap: str,
        threshold: float,
        max_width: int | None,
    ):
        super().__init__(vocab, model, name, options)
        if overlap not in OVERLAP:
            raise ValueError(f"overlap = {overlap!r} of {name!r} is not one of {OVERLAP}.")
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold = {threshold} of {name!r} must be in (0, 1].")
        if max_width is not None and max_width < 1:
            raise ValueError(f"max_width = {max_width} of {name!r} must be at least 1.")
        if options.label_smoothing:
            raise ValueError(
                f"label_smoothing of {name!r} would make each of many false spans a bit true. "
                "Take the option out."
            )
        self.spans_key = spans_key
        self.overlap = overlap
        self.default_threshold = threshold
        self.max_width = max_width
        self.cfg["labels"] = []

    @property
    def learns_from(self) -> str:
        return f'doc.spans["{self.spans_key}"]'

    @property
    def n_out(self) -> int:
        return len(self.cfg["labels"])

    def score_options(self) -> dict[str, Any]:
        return {"spans_key": self.spans_key}

    def check_pipeline(self, nlp: Language) -> None:
        refuse_shared_group(nlp, self)

    def grow(self, entry: str, label: str) -> None:
        module = self.module
        module.output = with_rows(module.output, self.n_out, 1, None)

    def make_module(self, width: int) -> SpanBand:
        return SpanBand(width, self.n_out, self.max_width or self.cfg.get("widest", WIDEST))

    def collect_labels(self, examples: Iterable[Example]) -> dict[str, list[str]]:
        labels: set[str] = set()
        widths = [1]
        for example in examples:
            for span in example.reference.spans.get(self.spans_key, []):
                labels.add(span.label_)
                widths.append(len(span))
        self.cfg["widest"] = min(max(widths), WIDEST)
        limit = self.max_width or WIDEST
        if too_wide := sum(width > limit for width in widths):
            self.warn_once(
                "wide",
                f"The training data of {self.name!r} has {too_wide} spans of more than {limit} "
                f"words, the widest of {max(widths)}. They are left out. To learn them, set "
                "max_width.",
            )
        return {"labels": sorted(labels)}

    # Training

    def gold(self, examples: list[Example]) -> Known | None:
        found = [gold_group(eg, self.spans_key) for eg in examples]
        return self.known([(eg.predicted, x and (*x, None)) for eg, x in zip(examples, found)])

    def known(
        self, docs: list[tuple[Doc, tuple[list[SpanTuple], list[int], list[float] | None] | None]]
    ) -> Known | None:
        """Bring together what is known of docs.

        docs (List[tuple]): Each doc with its spans, the tokens of which nothing is known, and how
            probable the spans are, if they are not gold; None for a doc of which nothing is known.
        RETURNS (Optional[Known]): None if nothing is known of any.
        """
        rows, unknown, spans = [], [], []
        probs: list[float] = []
        offset = n_words = 0
        for doc, said in docs:
            blank = blank_tokens(doc)
            if said is not None and not blank.all():
                found, missing, how = said
                is_missing = np.zeros(len(doc), bool)
                is_missing[missing] = True
                unknown.append(is_missing[~blank])
                rows.append(offset + np.flatnonzero(~blank))
                placed = self._placed(found, blank, how)
                spans += [(n_words + start, n_words + end, k) for start, end, k in placed]
                probs += placed.values()
                n_words += len(unknown[-1])
            offset += len(doc)
        if not rows:
            return None
        lengths = np.array([len(part) for part in rows], np.int64)
        band = band_gold(
            lengths,
            np.concatenate(unknown),
            np.array(spans, np.int64).reshape(-1, 3),
            self.module.max_width,
            np.array(probs),
        )
        return Known(np.concatenate(rows), lengths, band) if band.known.any() else None

    def _placed(
        self, spans: list[SpanTuple], blank: np.ndarray, probs: list[float] | None
    ) -> dict[tuple[int, int, int], float]:
        """RETURNS (Dict[Tuple[int, int, int], float]): How probable spans over the words are, with
        the indices of their labels."""
        index = {label: k for k, label in enumerate(self.cfg["labels"])}
        before = np.append(0, np.cumsum(~blank)).tolist()  # words before each token
        placed: dict[tuple[int, int, int], float] = {}
        for (first, last, label), p in zip(spans, probs or [1.0] * len(spans)):
            if before[first] >= before[last]:
                continue  # it has no words
            if blank[first] or blank[last - 1]:
                self.warn_of_blanks("spans")
            if label not in index:
                self.meet(label)
            place = before[first], before[last], index.get(label, NOT_KNOWN)
            placed[place] = max(placed.get(place, 0.0), p)
        return placed

    def loss(self, module: SpanBand, batch: PackedBatch, gold: Known) -> Tensor:
        """RETURNS (Tensor): Mean loss per word of which something is known, over all spans that
        start with it; a scalar."""
        weights = self.class_factors(self.classes, batch.word_vectors.device)
        return self._loss_of(module, batch, gold, weights)

    def n_items(self, gold: Known) -> float:
        return max(1.0, float(gold.band.edges.any(1).sum()))

    def _loss_of(
        self, module: SpanBand, batch: PackedBatch, gold: Known, weights: Tensor | None
    ) -> Tensor:
        vectors = batch.word_vectors
        words = module(vectors[to_device(vectors.device, gold.rows)[0]])
        return module.loss(words, gold.band, weights)

    def check_teachable(self) -> None:
        pass

    def lesson(
        self, example: Example, is_complete: bool
    ) -> tuple[list[SpanTuple], list[int], list[float] | None] | None:
        """RETURNS (Optional[tuple]): As `known` has it."""
        said = gold_group(example, self.spans_key)
        if said is None:
            return None
        spans, unknown = said
        sure = sureness_of(example.reference, self.spans_key)
        if not is_complete:
            unknown = list(range(len(example.predicted)))
        return spans, unknown, sure if len(sure) == len(spans) else None

    def taught(
        self, docs: list[Doc], gold: Any | None, lessons: dict[int, Any]
    ) -> dict[str, Known]:
        known = self.known([(doc, lessons.get(i)) for i, doc in enumerate(docs)])
        return {} if known is None else {"": known}

    def n_taught(self, items: Known) -> float:
        return self.n_items(items)

    def loss_of_taught(
        self, module: SpanBand, batch: PackedBatch, part: str, items: Known
    ) -> Tensor:
        return self._loss_of(module, batch, items, None)

    # Prediction

    def threshold(self, label: str) -> float:
        """RETURNS (float): Probability from which a span is written."""
        own = self.cfg.get("thresholds", {}).get(label, self.default_threshold)
        return max(own, self.abstain)

    def logits_and_batch(self, docs: list[Doc]) -> tuple[Tensor, PackedBatch]:
        words, batch = super().logits_and_batch(docs)  # a GPU sends them to the host for all heads
        return words.to(self.shim.device, non_blocking=True), batch

    def predict(self, docs: Iterable[Doc]) -> SpanPredictions:
        """RETURNS (SpanPredictions): The spans of each doc that reach their thresholds."""
        words, batch = self.logits_and_batch(list(docs))
        sequences = sequences_of(batch)
        found = self.module.find(
            sequences.of_words(words),
            room(sequences.lengths, self.module.max_width),
            [self.threshold(label) for label in self.cfg["labels"]],
            self.temperature(),
        )
        start, end, label, probs = found
        if self.overlap != "all":
            kept = choose(found, nested=self.overlap == "nested")
            start, end, label, probs = (values[kept] for values in found)
        spans = sequences.to_tokens(Spans(start, end, label))
        borders = np.append(0, batch.ends)
        first = np.searchsorted(spans.start, borders)
        return SpanPredictions(spans, first, batch.starts, probs)

    def set_annotations(self, docs: Iterable[Doc], predictions: SpanPredictions) -> None:
        """Write the predicted spans into the docs. Their probabilities are in the group's
        `attrs["scores"]`, where spaCy's `spancat` has its scores."""
        layer = layer_of(self.spans_key)
        for doc, spans, probs in placed_spans(self, docs, predictions):
            set_group(doc, self.spans_key, spans, probs)
            keep_probs(doc, layer, spans, probs if self.writes_probs else None)

    def probs(self, docs: Doc | Iterable[Doc]) -> list[np.ndarray]:
        """RETURNS (List[ndarray]): Per doc, the probability of each label of each span, shape
        (n_tokens, max_width, n_labels): at [i, k] that of the span of k + 1 words that starts at
        token i. Where there is none it is 0. For short docs: it has all spans."""
        words, batch = self.logits_and_batch(given_docs(docs, "probs"))
        sequences = sequences_of(batch)
        module: SpanBand = self.module
        of_words = sequences.of_words(words)
        fits = np.arange(module.max_width) < room(sequences.lengths, module.max_width)[:, None]
        found = np.zeros((len(words), module.max_width, self.n_out), np.float32)
        rows = np.arange(len(words)) if sequences.rows is None else sequences.rows
        with torch.no_grad():
            for block in module.blocks(len(of_words), module.max_width):
                logits = module.cells(of_words, block, module.max_width)
                probs = (logits / self.temperature()).sigmoid()
                at = slice(block.start, block.stop)
                found[rows[at]] = probs.cpu().numpy() * fits[at, :, None]
        return np.split(found, batch.ends[:-1])

    def span_probs(self, doc: Doc, spans: Iterable[Span]) -> list[float]:
        """Get the probability of spans.

        spans (Iterable[Span]): Spans of the doc with labels that this head knows.
        RETURNS (List[float]): One per span; 0 for one of more than `max_width` words.
        """
        blank = blank_tokens(doc)
        words = self.word_logits([doc])[0][to_device(self.shim.device, ~blank)[0]]
        before = np.append(0, np.cumsum(~blank))  # words before each token
        index = {label: k for k, label in enumerate(self.cfg["labels"])}
        given = list(spans)
        rows = before[[span.start for span in given]].astype(np.int64)
        columns = before[[span.end for span in given]].astype(np.int64) - rows - 1
        fits = (columns >= 0) & (columns < self.module.max_width)
        places = to_device(words.device, rows[fits], columns[fits])
        labels = [index[span.label_] for span, fit in zip(given, fits) if fit]
        logits = self.module.scores(words, *places).cpu()[range(len(labels)), labels]
        probs = np.zeros(len(given), np.float32)
        probs[fits] = (logits / self.temperature()).sigmoid().numpy()
        return probs.tolist()

    # Calibration

    def logits_at(self, docs: list[Doc], gold: Known) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        logits, values = (x.ravel() for x in self._spans_with_gold(docs, gold))
        return {"": (np.stack([np.zeros_like(logits), logits], axis=1), values >= 0.5)}

    def gold_values(self, examples: list[Example]) -> tuple[np.ndarray, np.ndarray] | None:
        gold = self.gold(list(map(self._hide_foreign_gold, examples)))
        return gold and self._spans_with_gold([eg.predicted for eg in examples], gold)

    def _spans_with_gold(self, docs: list[Doc], gold: Known) -> tuple[np.ndarray, np.ndarray]:
        """RETURNS (Tuple[ndarray, ndarray]): Logits and truth, float32 (n_spans, n_labels), of what
        prediction looks at and of what is gold: the rest is so seldom true that it would drown
        them."""
        words = self.word_logits(docs)[0]
        words = words[to_device(words.device, gold.rows)[0]]
        row, column, label = gold.band.spans.T
        looked_at = np.zeros(gold.band.known.shape, bool)
        found = self.module.plausible(words, room(gold.lengths, self.module.max_width))
        looked_at[tuple(x.cpu().numpy() for x in found)] = True
        looked_at &= gold.band.known
        looked_at[row, column] = True
        truth = np.zeros((*looked_at.shape, self.n_out), np.float32)
        truth[row, column, label] = 1.0
        at = np.nonzero(looked_at)
        places = to_device(words.device, *at)
        with torch.no_grad():
            return self.module.scores(words, *places).cpu().numpy(), truth[at]
