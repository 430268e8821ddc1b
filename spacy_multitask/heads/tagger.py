"""Part-of-speech tags: `token.tag_` and `token.pos_`."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from spacy.attrs import POS, TAG
from spacy.language import Language
from spacy.tokens import Doc, Token
from spacy.training import Example
from spacy.vocab import Vocab
from thinc.api import Model
from torch import Tensor

from ..corpus.survey import Survey
from ..encoder.batch import PackedBatch, blank_tokens
from ..given import given_docs
from ..layers.classifier import Classifier
from ..layers.crf import UNKNOWN
from ..layers.transfer import to_device, to_host
from ..probabilities import add_token_extension, set_token_probs
from .architectures import default_model
from .gold import pack_targets, same_tokens
from .items import token_items
from .kinds import HeadKind, Recipe, Score, Second, register, words_with
from .labelled import with_rows
from .options import HeadOptions, head_factory
from .teaching import TAUGHT
from .tokens import TokenHead

# cfg entry -> attribute of the doc
ATTRIBUTES = {"tags": TAG, "pos": POS}
NO_LABEL, BLANK = -1, -2
# As spaCy's pipelines have it.
OF_BLANKS = {"tags": "_SP", "pos": "SPACE"}
# token._.tag_prob and token._.pos_prob
PROBS = {"tags": "tag", "pos": "pos"}
FINE = "token.tag_"


def _scores(train: Survey, dev: Survey) -> tuple[str, ...]:
    return ("tag_acc", "pos_acc") if dev.known[FINE] else ("pos_acc", "tag_acc")


KIND = register(
    HeadKind(
        name="tagger",
        factories=("multitask_tagger", "tagger"),
        learns_from=f"{FINE} or token.pos_",
        items="tagged words",
        count=words_with(TAG, POS),
        parts={FINE: words_with(TAG)},
        scores=(
            Score("tag_acc", token_items("TAG"), title="tags", unit="word"),
            Score("pos_acc", token_items("POS"), title="parts of speech", unit="word"),
        ),
        place=10,
        recipe=Recipe(
            scores=_scores, second=Second(option="extension", part=FINE), initialize=TAUGHT
        ),
    )
)


@head_factory(
    "multitask_tagger",
    assigns=["token.tag", "token.pos"],
    default_config={
        "model": default_model("TokenClassifier"),
        "extension": None,
        "scorer": {"@scorers": "spacy_multitask.tagger_scorer.v1"},
    },
    default_score_weights={"tag_acc": 1.0, "pos_acc": 0.0},
)
def make_tagger(
    nlp: Language, name: str, model: Model, options: HeadOptions, extension: str | None
) -> "Tagger":
    """Create a tagger for fine-grained tags and coarse parts of speech.

    model (Model): See `spacy_multitask.TokenClassifier.v1`.
    extension (Optional[str]): Write tags to this extension of tokens, `token._.EXTENSION`, in place
        of `token.tag_`: for a second tagger with other tags. It still learns from `token.tag_`, so
        name its `corpora`; and give its scorer a prefix.
    options (HeadOptions): What all heads take. A word whose label of a layer stays below `abstain`
        gets "" for it. `class_weights` are of tags and of parts of speech.
    """
    return Tagger(nlp.vocab, model, name, options, extension=extension)


class TagPredictions(NamedTuple):
    """Labels of all words of a batch, by layer.

    best (Dict[str, ndarray]): Class index, int64 (n_words,); NO_LABEL where the head abstains,
        BLANK for blanks.
    probs (Dict[str, ndarray]): Probability of the label, float32 (n_words,), NaN where there is
        none; empty if they are not asked for.
    """

    best: dict[str, np.ndarray]
    probs: dict[str, np.ndarray]


class Tagger(TokenHead):
    """Labels each token with a tag, a part of speech, or both: what the training data has.

    A token without tag is unknown: it is left out of the loss and of the score, for each of the
    two layers on its own. So are tokens that have no counterpart in the gold tokenization, and
    blanks (a line break, a second space), which always get "_SP" and "SPACE".
    """

    kind = KIND

    def __init__(
        self, vocab: Vocab, model: Model, name: str, options: HeadOptions, *, extension: str | None
    ):
        super().__init__(vocab, model, name, options)
        if extension == "":
            raise ValueError(
                f"extension of {name!r} is empty. null writes token.tag_ and token.pos_; a name "
                "writes token._ under that name."
            )
        self.extension = extension
        if extension is not None:
            if not Token.has_extension(extension):
                Token.set_extension(extension, default="")
            add_token_extension(extension)

    @property
    def layers(self) -> dict[str, int]:
        """RETURNS (Dict[str, int]): What it may learn; an extension holds one label per token."""
        return ATTRIBUTES if self.extension is None else {"tags": TAG}

    def score_options(self) -> dict[str, Any]:
        return {"extension": self.extension}

    @property
    def label_data(self) -> dict[str, list[str]]:
        return {layer: self.cfg.get(layer, []) for layer in self.layers}

    @property
    def n_out(self) -> int:
        return sum(map(len, self.label_data.values()))

    def main_entry(self) -> str:
        return "tags" if self.cfg.get("tags") else "pos"

    def grow(self, entry: str, label: str) -> None:
        columns = self._columns(entry)
        module = self.module
        module.linear = with_rows(module.linear, columns.stop, 1, columns)

    @property
    def choices(self) -> dict[str, slice]:
        return {layer: self._columns(layer) for layer in self.layers if self.cfg.get(layer)}

    def parts_of(
        self, gold: dict[str, tuple[np.ndarray, np.ndarray]]
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        return gold

    def collect_labels(self, examples: Iterable[Example]) -> dict[str, list[str]]:
        found: dict[str, dict[int, str]] = {layer: {} for layer in self.layers}
        for example in examples:
            reference = example.reference
            words = ~blank_tokens(reference)
            for layer, attr in self.layers.items():
                for i in np.unique(reference.to_array(attr)[words]).tolist():
                    if i and i not in found[layer]:
                        found[layer][i] = reference.vocab.strings[i]
        return {layer: sorted(names.values()) for layer, names in found.items()}

    def gold(self, examples: list[Example]) -> dict[str, tuple[np.ndarray, np.ndarray]] | None:
        gold = {}
        for layer, attr in self.layers.items():
            if self.cfg.get(layer):
                targets = pack_targets(self._targets(examples, layer, attr))
                if targets is not None:
                    gold[layer] = targets
        return gold or None

    def _targets(self, examples: list[Example], layer: str, attr: int) -> Iterator[np.ndarray]:
        """YIELDS (ndarray): Class index or UNKNOWN per token of each predicted doc."""
        index = {self.vocab.strings[label]: i for i, label in enumerate(self.cfg[layer])}
        index[0] = UNKNOWN
        for example in examples:
            values = example.reference.to_array(attr)
            if not values.any():
                yield np.full(len(example.predicted), UNKNOWN)
                continue
            if not same_tokens(example):
                name = "TAG" if attr == TAG else "POS"
                values = np.array([v or 0 for v in example.get_aligned(name)], np.uint64)
            values[blank_tokens(example.predicted)] = 0
            try:
                yield np.array([index[v] for v in values.tolist()], np.int64)
            except KeyError as error:
                self.meet(example.reference.vocab.strings[error.args[0]], layer)
                yield np.array([index.get(v, UNKNOWN) for v in values.tolist()], np.int64)

    def loss(
        self,
        module: Classifier,
        batch: PackedBatch,
        gold: dict[str, tuple[np.ndarray, np.ndarray]],
    ) -> Tensor:
        total: Any = 0.0
        for layer, (rows, targets) in gold.items():
            vectors = batch.word_vectors
            words = vectors[to_device(vectors.device, rows)[0]]
            logits = module(words)[:, self._columns(layer)]
            total = total + self.cross_entropy(logits, targets, self.cfg[layer])
        return total

    def gold_of_part(self, gold: Any, part: str) -> Any | None:
        return {part: gold[part]} if part in gold else None

    def n_items(self, gold: dict[str, tuple[np.ndarray, np.ndarray]]) -> float:
        return sum(self.weight_of(targets, self.cfg[x]) for x, (_, targets) in gold.items())

    def _columns(self, layer: str) -> slice:
        n_tags = len(self.cfg.get("tags", []))
        return slice(0, n_tags) if layer == "tags" else slice(n_tags, self.n_out)

    def predict(self, docs: Iterable[Doc]) -> TagPredictions:
        """RETURNS (TagPredictions): The most probable label of each word, in each layer."""
        logits, batch = self.logits_and_batch(list(docs))
        best, probs = {}, {}
        for layer, columns in self.choices.items():
            own = logits[:, columns]
            best[layer] = own.argmax(1)
            if self.abstain or self.writes_probs:
                probs[layer] = (own / self.temperature(layer)).softmax(1).amax(1)
            if self.abstain:
                best[layer] = best[layer].where(probs[layer] >= self.abstain, NO_LABEL)
        wanted = [best, probs] if self.writes_probs else [best]
        found, *said = to_host(*(torch.stack(list(part.values())) for part in wanted))
        if batch.blank is not None:
            found[:, batch.blank] = BLANK
        if not said:
            return TagPredictions(dict(zip(best, found)), {})
        (sure,) = said
        sure[found < 0] = np.nan
        return TagPredictions(dict(zip(best, found)), dict(zip(probs, sure)))

    def probs(self, docs: Doc | Iterable[Doc]) -> dict[str, list[np.ndarray]]:
        """RETURNS (Dict[str, List[ndarray]]): Per layer and doc, shape (n_tokens, n_labels)."""
        probs, lengths = self.word_probs(given_docs(docs, "probs"))
        found, cuts = probs.cpu().numpy(), np.cumsum(lengths)[:-1]
        return {layer: np.split(found[:, columns], cuts) for layer, columns in self.choices.items()}

    def logits_at(self, docs: list[Doc], gold: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        logits = self.word_logits(docs)[0].cpu().numpy()
        return {
            layer: (logits[rows, self._columns(layer)], targets)
            for layer, (rows, targets) in gold.items()
        }

    def set_annotations(self, docs: Iterable[Doc], predictions: TagPredictions) -> None:
        """Write the predicted tags into the docs."""
        docs = list(docs)
        self._set_probs(docs, predictions)
        if self.extension is not None:
            self._set_extension(docs, predictions.best["tags"], self.extension)
            return
        strings = self.vocab.strings
        attrs = [ATTRIBUTES[layer] for layer in predictions.best]
        columns = [
            # NO_LABEL takes the last, BLANK the one before.
            np.array([*map(strings.add, [*self.cfg[layer], OF_BLANKS[layer]]), 0], np.uint64)[best]
            for layer, best in predictions.best.items()
        ]
        array: Any = np.stack(columns, axis=1)
        start = 0
        for doc in docs:
            if len(doc):
                self.lend_labels(doc, *OF_BLANKS.values())
                doc.from_array(attrs, array[start : start + len(doc)])
            start += len(doc)

    def _set_probs(self, docs: list[Doc], predictions: TagPredictions) -> None:
        for layer in predictions.best:
            name = self.extension or PROBS[layer]
            probs = predictions.probs.get(layer)
            start = 0
            for doc in docs:
                own = None if probs is None else probs[start : start + len(doc)]
                set_token_probs(doc, name, own)
                start += len(doc)

    def _set_extension(self, docs: Iterable[Doc], best: np.ndarray, extension: str) -> None:
        names = [*self.cfg["tags"], OF_BLANKS["tags"], ""]  # as in `set_annotations`
        tags = [names[k] for k in best.tolist()]
        start = 0
        for doc in docs:
            for token, tag in zip(doc, tags[start : start + len(doc)]):
                token._.set(extension, tag)
            start += len(doc)
