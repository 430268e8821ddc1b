"""A kind of head that the package does not know: a number for each token, such as reading times.

It is all in this file. Gold is in `doc.user_data["reading_times"]`, a list with a float per token,
and predictions are written to the same place.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import registry
from thinc.api import Model
from torch import Tensor

from spacy_multitask.encoder.batch import PackedBatch
from spacy_multitask.heads.architectures import default_model
from spacy_multitask.heads.base import Head
from spacy_multitask.heads.gold import same_tokens
from spacy_multitask.heads.kinds import HeadKind, Recipe, Score, register
from spacy_multitask.heads.options import HeadOptions, head_factory

KEY = "reading_times"
KIND = register(
    HeadKind(
        name="reading",
        factories=("reading_times",),
        learns_from=f'doc.user_data["{KEY}"]',
        items="timed words",
        count=lambda doc: len(doc) if KEY in doc.user_data else None,
        scores=(Score("reading_r2"),),
        recipe=Recipe(loss_weight=0.5, options=lambda train: {"scale": 10.0}),
    )
)


@head_factory(
    "reading_times",
    assigns=["doc.user_data"],
    default_config={
        "model": default_model("TokenClassifier"),
        "scale": 1.0,
        "scorer": {"@scorers": "tests.reading_scorer.v1"},
    },
    default_score_weights={"reading_r2": 1.0},
)
def make_reading_times(
    nlp: Language, name: str, model: Model, options: HeadOptions, scale: float
) -> "ReadingTimes":
    """Create a head that says how long a token is looked at.

    scale (float): What the values are divided by for learning.
    """
    return ReadingTimes(nlp.vocab, model, name, options, scale=scale)


class ReadingTimes(Head):
    """Learns a number per token. A doc without them is unknown."""

    kind = KIND
    n_out = 1

    def __init__(self, *args: Any, scale: float):
        super().__init__(*args)
        self.scale = scale

    def collect_labels(self, examples: Iterable[Example]) -> dict[str, list[str]]:
        return {"labels": [KEY] if any(KEY in eg.y.user_data for eg in examples) else []}

    def gold(self, examples: list[Example]) -> np.ndarray | None:
        """RETURNS (Optional[ndarray]): Values of all words, NaN where unknown, shape (n_words,)."""
        parts = [
            eg.y.user_data[KEY]
            if KEY in eg.y.user_data and same_tokens(eg)
            else np.full(len(eg.x), np.nan)
            for eg in examples
        ]
        values = np.concatenate(parts).astype(np.float32) / self.scale
        return None if np.isnan(values).all() else values

    def loss(self, module: Any, batch: PackedBatch, gold: np.ndarray) -> Tensor:
        known = torch.from_numpy(np.flatnonzero(~np.isnan(gold)))
        found = module(batch.word_vectors[known])[:, 0]
        return torch.nn.functional.mse_loss(found, torch.from_numpy(gold)[known])

    def n_items(self, gold: np.ndarray) -> float:
        return float((~np.isnan(gold)).sum())

    def predict(self, docs: Iterable[Doc]) -> list[np.ndarray]:
        logits, lengths = self.word_logits(list(docs))
        return np.split(logits[:, 0].cpu().numpy() * self.scale, np.cumsum(lengths)[:-1])

    def set_annotations(self, docs: Iterable[Doc], predictions: list[np.ndarray]) -> None:
        for doc, values in zip(docs, predictions):
            doc.user_data[KEY] = values.tolist()


@registry.scorers("tests.reading_scorer.v1")
def make_reading_scorer() -> Callable:
    return score_reading


def score_reading(examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): reading_r2, the part of the variance that is explained."""
    known = [eg for eg in examples if KEY in eg.y.user_data and same_tokens(eg)]
    if not known:
        return {"reading_r2": None}
    gold, own = (
        np.concatenate([doc.user_data[KEY] for doc in docs])
        for docs in ([eg.y for eg in known], [eg.x for eg in known])
    )
    return {"reading_r2": float(1 - ((gold - own) ** 2).sum() / ((gold - gold.mean()) ** 2).sum())}
