"""Relations between the entities of a doc: `doc._.relations`."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from spacy.language import Language
from spacy.scorer import PRFScore
from spacy.tokens import Doc
from spacy.training import Example
from spacy.vocab import Vocab
from thinc.api import Model
from torch import Tensor, nn

from ..cut import keep_places
from ..encoder.batch import PackedBatch
from ..layers.pairs import PairClassifier
from ..layers.transfer import to_device, to_host
from ..relations import KEY, get_relations, place_of, plain
from .architectures import default_model
from .base import Head
from .gold import aligned_entities, trimmed
from .items import Items
from .kinds import HeadKind, Recipe, Score, register
from .labelled import with_rows
from .options import HeadOptions, head_factory
from .scorers import register_scorer
from .teaching import TAUGHT

NONE = 0  # index of "no relation"
CANDIDATES = ("gold", "predicted")
PAIRS = 1 << 20  # of a doc's entities whose distance is looked at in one go


def _count(doc: Doc) -> int | None:
    return len(doc.user_data[KEY]) if KEY in doc.user_data else None


def _items(example: Example, head: Any, key: str) -> Items | None:
    aligned = aligned_relations(example)
    if aligned is None:
        return None
    cut = Counter(r.label for r in get_relations(example.reference))
    cut -= Counter(label for _, _, label in aligned)
    own = {
        (tuple(plain(r.head)), tuple(plain(r.tail)), r.label)
        for r in get_relations(example.predicted)
    }
    return Items(set(aligned), own, cut)


KIND = register(
    HeadKind(
        name="relations",
        factories=("multitask_relations",),
        learns_from="doc._.relations",
        items="relations",
        count=_count,
        scores=(Score("rels_f", _items, title="relations", unit="pair"),),
        place=80,
        recipe=Recipe(initialize=TAUGHT),
    )
)


@head_factory(
    "multitask_relations",
    requires=["doc.ents"],
    assigns=["doc._.relations"],
    default_config={
        "model": default_model("RelationClassifier"),
        "candidates": "gold",
        "max_distance": 100,
        "hidden_width": 256,
        "scorer": {"@scorers": "spacy_multitask.relation_scorer.v1"},
    },
    default_score_weights={
        "rels_f": 1.0,
        "rels_p": 0.0,
        "rels_r": 0.0,
        "rels_boundaries_f": 0.0,
        "rels_per_type": None,
    },
)
def make_relations(
    nlp: Language,
    name: str,
    model: Model,
    options: HeadOptions,
    candidates: str,
    max_distance: int,
    hidden_width: int,
) -> "RelationExtractor":
    """Create a relation extractor that writes `doc._.relations`. It reads `doc.ents`.

    model (Model): See `spacy_multitask.RelationClassifier.v1`.
    candidates (str): Entities whose pairs it learns from: "gold", or "predicted": also those that
        `doc.ents` has in training, which a component before has to set (name it in
        [training] annotating_components).
    max_distance (int): Most tokens between head and tail.
    hidden_width (int): Width of the hidden layer.
    options (HeadOptions): What all heads take. "none" in `class_weights` is no relation.
    """
    return RelationExtractor(
        nlp.vocab,
        model,
        name,
        options,
        candidates=candidates,
        max_distance=max_distance,
        hidden_width=hidden_width,
    )


SpanTuple = tuple[int, int, str]


class Pairs(NamedTuple):
    """All candidate pairs of a batch.

    spans (ndarray): Rows of each entity in the packed batch, shape (n_spans, 2).
    types (ndarray): Entity type of each, shape (n_spans,).
    pairs (ndarray): Head and tail, shape (n_pairs, 2).
    targets (ndarray): Gold label of each pair, shape (n_pairs,).
    """

    spans: np.ndarray
    types: np.ndarray
    pairs: np.ndarray
    targets: np.ndarray


class RelationExtractor(Head):
    """Classifies ordered pairs of a doc's entities: one label for two of them.

    A doc whose relations were never set is unknown and neither trains nor counts; one with
    `doc._.relations = []` has none. Of several relations from one entity to another the last is
    learned, and of those of an entity with itself none; in the score all of them count.
    """

    kind = KIND
    model_name = "relation_classifier"

    def __init__(
        self,
        vocab: Vocab,
        model: Model,
        name: str,
        options: HeadOptions,
        *,
        candidates: str,
        max_distance: int,
        hidden_width: int,
    ):
        super().__init__(vocab, model, name, options)
        if candidates not in CANDIDATES:
            raise ValueError(f"candidates = {candidates!r} is not one of {', '.join(CANDIDATES)}.")
        if max_distance < 0 or hidden_width < 1:
            raise ValueError("max_distance must be at least 0 and hidden_width at least 1.")
        self.candidates = candidates
        self.max_distance = max_distance
        self.hidden_width = hidden_width
        self.cfg.update(labels=[], entity_labels=[])

    @property
    def label_data(self) -> dict[str, list[str]]:
        return {"labels": self.cfg["labels"], "entity_labels": self.cfg["entity_labels"]}

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.cfg["labels"])

    @property
    def classes(self) -> list[str]:
        return ["none", *self.cfg["labels"]]

    @property
    def n_out(self) -> int:
        return 1 + len(self.cfg["labels"])

    def make_module(self, width: int) -> PairClassifier:
        n_types = len(self.cfg["entity_labels"])
        return PairClassifier(width, n_types, self.n_out, self.hidden_width)

    def grow(self, entry: str, label: str) -> None:
        module = self.module
        # As no relation, so that no pair has it at first.
        module.output = with_rows(module.output, self.n_out, 1, slice(0, 1))

    def collect_labels(self, examples: Iterable[Example]) -> dict[str, list[str]]:
        relations: set[str] = set()
        entities: set[str] = set()
        for reference in (example.reference for example in examples):
            relations.update(label for _, _, label, _ in reference.user_data.get(KEY, ()))
            entities.update(ent.label_ for ent in reference.ents if KEY in reference.user_data)
        if not relations:
            return {"labels": [], "entity_labels": []}
        return {"labels": sorted(relations), "entity_labels": sorted(entities)}

    # Training

    def gold(self, examples: list[Example]) -> Pairs | None:
        index = {label: k for k, label in enumerate(self.cfg["labels"], 1)}
        docs: list[list[SpanTuple]] = []
        truth: list[dict[tuple[SpanTuple, SpanTuple], int]] = []
        for example in examples:
            relations = aligned_relations(example)
            entities: dict[SpanTuple, None] = {}
            known: dict[tuple[SpanTuple, SpanTuple], int] = {}
            if relations is not None:
                entities.update(dict.fromkeys(aligned_entities(example)))
                if self.candidates == "predicted":
                    entities.update(dict.fromkeys(map(tuple, map(plain, example.predicted.ents))))
                for head, tail, label in relations:
                    if head == tail:
                        self.warn_once(
                            "itself",
                            f"The training data of {self.name!r} has relations of an entity with "
                            "itself. They are left out: it has pairs of two.",
                        )
                    elif label in index:
                        if known.get((head, tail), index[label]) != index[label]:
                            self.warn_once(
                                "second label",
                                f"The training data of {self.name!r} has several relations from "
                                "one entity to another. It learns the last of them: a pair has "
                                "one label.",
                            )
                        known[head, tail] = index[label]
                        entities.update(dict.fromkeys((head, tail)))
                    else:
                        self.meet(label)
            docs.append(list(entities))
            truth.append(known)
        lengths = [len(eg.predicted) for eg in examples]
        pairs = self._pairs(docs, lengths)
        if not len(pairs.pairs):
            return None
        flat = [(known, entity) for known, found in zip(truth, docs) for entity in found]
        targets = [flat[h][0].get((flat[h][1], flat[t][1]), NONE) for h, t in pairs.pairs.tolist()]
        return pairs._replace(targets=np.array(targets, np.int64))

    def loss(self, module: PairClassifier, batch: PackedBatch, gold: Pairs) -> Tensor:
        logits = module(batch.word_vectors, gold.spans, gold.types, gold.pairs)
        return self.cross_entropy(logits, gold.targets, self.classes)

    def n_items(self, gold: Pairs) -> float:
        return self.weight_of(gold.targets, self.classes)

    def check_teachable(self) -> None:
        pass

    def is_all_known(self, example: Example) -> bool:
        own = self._hide_foreign_gold(example)
        return not len(example.predicted) or KEY in own.reference.user_data

    def lesson(
        self, example: Example, is_complete: bool
    ) -> tuple[list[SpanTuple], dict[tuple[SpanTuple, SpanTuple], tuple[int, float]], bool] | None:
        """RETURNS (Optional[tuple]): The entities; of pairs that are related the label and its
        probability; and whether other pairs are known to be unrelated."""
        if KEY not in example.reference.user_data:
            return None
        index = {label: k for k, label in enumerate(self.cfg["labels"], 1)}
        said = {}
        for relation in get_relations(example.reference):
            ends = example.get_aligned_spans_y2x([relation.head, relation.tail], allow_overlap=True)
            if len(ends) == 2:
                head, tail = ((span.start, span.end, span.label_) for span in ends)
                said[head, tail] = index.get(relation.label, NONE), relation.probability
        return list(dict.fromkeys(aligned_entities(example))), said, is_complete

    def taught(
        self, docs: list[Doc], gold: Any, lessons: dict[int, Any]
    ) -> dict[str, tuple[Pairs, np.ndarray]]:
        """RETURNS (Dict[str, tuple]): Pairs, and probabilities (n_pairs, nO)."""
        entities = [lessons[i][0] if i in lessons else [] for i in range(len(docs))]
        pairs = self._pairs(entities, list(map(len, docs)))
        flat = [(lessons[i], entity) for i, found in enumerate(entities) for entity in found]
        probs = np.zeros((len(pairs.pairs), self.n_out), np.float32)
        for row, (h, t) in enumerate(pairs.pairs.tolist()):
            (_, said, is_complete), head = flat[h]
            if (head, flat[t][1]) in said or is_complete:
                label, p = said.get((head, flat[t][1]), (NONE, 1.0))
                probs[row, NONE] = 1 - p
                probs[row, label] += p
        rows = np.flatnonzero(probs.any(1))
        return {"": (pairs._replace(pairs=pairs.pairs[rows]), probs[rows])} if len(rows) else {}

    def n_taught(self, items: tuple[Pairs, np.ndarray]) -> float:
        return float(len(items[1]))

    def loss_of_taught(
        self, module: PairClassifier, batch: PackedBatch, part: str, items: tuple[Pairs, np.ndarray]
    ) -> Tensor:
        pairs, probs = items
        logits = module(batch.word_vectors, pairs.spans, pairs.types, pairs.pairs)
        (targets,) = to_device(logits.device, probs)
        return nn.functional.cross_entropy(logits, targets)

    # Prediction

    def logits_at(self, docs: list[Doc], gold: Pairs) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        words = self.packed(docs).word_vectors
        logits = self.module.project(words, gold.spans, gold.types, gold.pairs)
        return {"": (logits.cpu().numpy(), gold.targets)}

    def predict(self, docs: Iterable[Doc]) -> tuple[Pairs, np.ndarray, np.ndarray]:
        """RETURNS (tuple): The pairs, the label of each and its probability, (n_pairs,) each."""
        docs = list(docs)
        entities = [[tuple(plain(ent)) for ent in doc.ents] for doc in docs]
        pairs = self._pairs(entities, [len(doc) for doc in docs])
        batch = self.packed(docs)  # without pairs, too: the encoder counts who has read it
        if not len(pairs.pairs):
            return pairs, np.zeros(0, np.int64), np.zeros(0)
        module: PairClassifier = self.module
        logits = module.project(batch.word_vectors, pairs.spans, pairs.types, pairs.pairs)
        best = (logits / self.temperature()).softmax(1).max(1)
        labels, probabilities = to_host(best.indices, best.values.double())
        labels[probabilities < self.abstain] = NONE
        return pairs, labels, probabilities

    def set_annotations(self, docs: Iterable[Doc], predictions: Any) -> None:
        """Write the predicted relations into the docs."""
        pairs, labels, probabilities = predictions
        owners: list[tuple[list, list]] = []
        for doc in docs:
            found: list[list] = []
            keep_places(doc)
            doc.user_data[KEY] = found
            owners.extend((found, place_of(ent)) for ent in doc.ents)
        for k in np.flatnonzero(labels != NONE).tolist():
            head, tail = pairs.pairs[k].tolist()
            found, entity = owners[head]
            label = self.cfg["labels"][labels[k] - 1]
            found.append([entity, owners[tail][1], label, float(probabilities[k])])

    def _pairs(self, docs: list[list[SpanTuple]], lengths: list[int]) -> Pairs:
        """RETURNS (Pairs): All ordered pairs of each doc's entities that are near enough, in order
        of head and tail."""
        types = {label: k for k, label in enumerate(self.cfg["entity_labels"])}
        starts = np.cumsum([0, *lengths])
        spans = np.array(
            [(s + o, e + o) for found, o in zip(docs, starts.tolist()) for s, e, _ in found],
            np.int64,
        ).reshape(-1, 2)
        kinds = [types.get(label, len(types)) for found in docs for _, _, label in found]
        parts = []
        first = 0
        for found in docs:
            n = len(found)
            if n > 1:
                own = spans[first : first + n]
                # So many heads at a time that memory does not grow with the square of the doc.
                for begin in range(0, n, PAIRS // n + 1):
                    heads = own[begin : begin + PAIRS // n + 1]
                    gap = np.maximum(heads[:, None, 0], own[None, :, 0]) - np.minimum(
                        heads[:, None, 1], own[None, :, 1]
                    )
                    near = gap <= self.max_distance
                    near[np.arange(len(heads)), begin + np.arange(len(heads))] = False
                    parts.append(np.argwhere(near) + [first + begin, first])
            first += n
        pairs = np.concatenate(parts) if parts else np.zeros((0, 2), np.int64)
        return Pairs(spans, np.array(kinds, np.int64), pairs, np.zeros(len(pairs), np.int64))


def aligned_relations(example: Example) -> list[tuple[SpanTuple, SpanTuple, str]] | None:
    """RETURNS (Optional[List[tuple]]): Gold relations on the predicted doc's tokens; None if
    nothing is known. A relation whose ends the tokenization cuts is left out."""
    if KEY not in example.reference.user_data:
        return None
    found = []
    for relation in get_relations(example.reference):
        ends = example.get_aligned_spans_y2x(trimmed(relation[:2]), allow_overlap=True)
        if len(ends) == 2:
            head, tail = ((span.start, span.end, span.label_) for span in ends)
            found.append((head, tail, relation.label))
    return found


def score_relations(examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
    """Score relations over docs whose relations are known.

    RETURNS (Dict[str, Any]): Micro-averaged rels_p, rels_r, rels_f, where both spans, both types
        and the label must be right; rels_per_type; rels_boundaries_f, where types need not be.
        None where nothing is known.
    """
    known = [items for eg in examples if (items := _items(eg, None, "")) is not None]
    if not known:
        return {"rels_p": None, "rels_r": None, "rels_f": None, "rels_boundaries_f": None}
    by_label: defaultdict[str, PRFScore] = defaultdict(PRFScore)
    strict, loose = PRFScore(), PRFScore()
    for items in known:
        for label, (right, own, gold) in items.counts_by_label().items():
            by_label[label] += PRFScore(tp=right, fp=own - right, fn=gold - right)
        strict.score_set(items.own, items.gold)
        loose.score_set(
            *({(h[:2], t[:2], x) for h, t, x in side} for side in (items.own, items.gold))
        )
        strict.fn += items.cut.total()
        loose.fn += items.cut.total()
    return {
        "rels_p": strict.precision,
        "rels_r": strict.recall,
        "rels_f": strict.fscore,
        "rels_boundaries_f": loose.fscore,
        "rels_per_type": {label: score.to_dict() for label, score in sorted(by_label.items())},
    }


make_relation_scorer = register_scorer("relation", score_relations)
