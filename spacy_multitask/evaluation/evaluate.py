"""Scores of a pipeline on several corpora."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.scorer import Scorer
from spacy.training import Example

from ..corpus.reader import make_multi_corpus
from ..progress import progress
from .bootstrap import count_correct, interval, score_labels

# One number per task, as papers report it.
MAIN_SCORES = (
    "tag_acc",
    "pos_acc",
    "morph_acc",
    "lemma_acc",
    "dep_uas",
    "dep_las",
    "sents_f",
    "cats_acc",
    "cats_score",
)


def evaluate(nlp: Language, corpora: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Score each corpus by itself, on its own tokens.

    corpora (Dict[str, str]): Path of a .spacy file, or a folder of them, per corpus name.
    RETURNS (Dict[str, Dict]): Per corpus all scores that apply to it, from 0 to 1, also per label;
        the number of docs and words, the words predicted per second, and as "intervals" the 95 %
        bootstrap interval of each main score; as "labels", per main score, each label's precision,
        recall, F with its interval, and number of gold items.
    """
    return {
        name: score_corpus(nlp, *predict_corpus(nlp, name, path)) for name, path in corpora.items()
    }


def predict_corpus(nlp: Language, name: str, path: str) -> tuple[list[Example], float]:
    """RETURNS (tuple): A corpus' examples with predictions on its own tokens, and the seconds that
    prediction took."""
    # A head that learned from corpora of its own is scored on those, and on corpora that no head
    # knows by name.
    named = {c for _, pipe in nlp.pipeline for c in getattr(pipe, "corpora", None) or ()}
    name = name if name in named else ""
    reader = make_multi_corpus({name: {"path": path}})
    examples = list(reader(nlp))
    started = time.perf_counter()
    docs = nlp.pipe(eg.predicted for eg in examples)
    desc = f"Predicting {Path(path).name}"
    for eg, doc in zip(examples, progress(docs, desc, total=len(examples)), strict=True):
        eg.predicted = doc
    return examples, time.perf_counter() - started


def score_corpus(nlp: Language, examples: list[Example], seconds: float) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): A corpus' entry in what `evaluate` returns."""
    # As nlp.evaluate does, which keeps its predictions to itself.
    scores = Scorer(nlp).score(examples)
    known = {
        key: value
        for key, value in scores.items()
        if value is not None and not key.startswith("token_")
    }
    if not any(eg.reference.cats for eg in examples):
        known = {key: v for key, v in known.items() if not key.startswith("cats")}
    known["intervals"], known["labels"] = {}, {}
    for score in main_scores(known):
        counts = [c for eg in examples if (c := count_correct(eg, score)) is not None]
        if counts and score != "cats_score":
            known["intervals"][score] = interval(counts)
            known["labels"][score] = score_labels(examples, score)
    known["docs"] = len(examples)
    known["words"] = sum(len(eg.predicted) for eg in examples)
    known["speed"] = known["words"] / seconds
    return known


def main_scores(result: dict[str, Any]) -> dict[str, float]:
    """RETURNS (Dict[str, float]): The scores that sum up a corpus."""
    names = [
        *MAIN_SCORES,
        "ents_f",
        "rels_f",
        *(k for k in result if k.startswith("spans_") and k.endswith("_f")),
    ]
    return {name: result[name] for name in names if isinstance(result.get(name), float)}
