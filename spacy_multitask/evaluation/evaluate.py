"""Scores of a pipeline on several corpora."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.training import Example

from ..corpus.reader import CORPUS_KEY, make_multi_corpus
from ..heads.kinds import in_order
from ..heads.scorers import known_scores
from ..progress import progress
from .bootstrap import count_correct, interval, score_labels


def evaluate(nlp: Language, corpora: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Score each corpus by itself, on its own tokens.

    corpora (Dict[str, str]): Path of a .spacy file, or a folder of them, per corpus name.
    RETURNS (Dict[str, Dict]): Per corpus all scores that apply to it, from 0 to 1, also per label;
        the number of docs and words, the words predicted per second, and as "intervals" the 95 %
        bootstrap interval of each main score that counts items, unlike a mean over labels; as
        "labels", per main score that has some, each label's precision, recall, F with its interval,
        and number of gold items.
    """
    scores = {
        name: score_corpus(nlp, *predict_corpus(nlp, name, path))[0]
        for name, path in corpora.items()
    }
    check_gold(labelled(nlp), {name: bool(main_scores(result)) for name, result in scores.items()})
    return scores


def predict_corpus(nlp: Language, name: str, path: str) -> tuple[list[Example], float]:
    """RETURNS (tuple): A corpus' examples with predictions on its own tokens, and the seconds that
    prediction took."""
    # A head that learned from corpora of its own is scored on those, and on corpora that no head
    # knows by name.
    named = {c for _, pipe in nlp.pipeline for c in getattr(pipe, "corpora", None) or ()}
    reader = make_multi_corpus({name: {"path": path}})
    examples = list(reader(nlp))
    for eg in examples if name not in named else ():
        del eg.reference.user_data[CORPUS_KEY]
    started = time.perf_counter()
    docs = nlp.pipe(eg.predicted for eg in examples)
    desc = f"Predicting {Path(path).name}"
    for eg, doc in zip(examples, progress(docs, desc, total=len(examples)), strict=True):
        eg.predicted = doc
    return examples, time.perf_counter() - started


def score_corpus(
    nlp: Language, examples: list[Example], seconds: float
) -> tuple[dict[str, Any], dict[str, Any]]:
    """RETURNS (tuple): A corpus' entry in what `evaluate` returns, and by score the component whose
    it is."""
    # As nlp.evaluate does, which keeps its predictions to itself.
    known: dict[str, Any] = {}
    owners: dict[str, Any] = {}
    for _, pipe in nlp.pipeline:
        if hasattr(pipe, "score"):
            # A head without gold here takes nothing from one whose scores have the same names.
            found = known_scores(pipe, examples)
            known.update(found)
            owners.update(dict.fromkeys(found, pipe))
    intervals, labels = {}, {}
    for score in main_scores(known):
        head = owners[score]
        counts = [c for eg in examples if (c := count_correct(eg, score, head)) is not None]
        if counts:
            intervals[score] = interval(counts)
        if by_label := score_labels(examples, score, head):
            labels[score] = by_label
    known.update(intervals=intervals, labels=labels)
    known["docs"] = len(examples)
    known["words"] = sum(len(eg.predicted) for eg in examples)
    known["speed"] = known["words"] / seconds
    return known, owners


def labelled(nlp: Language) -> list[str]:
    """RETURNS (List[str]): Components that have labels, in order."""
    return [name for name, labels in nlp.pipe_labels.items() if labels]


def check_gold(heads: Iterable[str], scored: dict[str, bool]) -> None:
    """Tell of corpora for which a pipeline has no score.

    heads (Iterable[str]): Names of the components that could have one.
    scored (Dict[str, bool]): Whether there is one, by corpus name.
    RAISES (ValueError): If there is none at all.
    """
    without = [name for name, is_scored in scored.items() if not is_scored]
    if not without:
        return
    names = ", ".join(heads) or "the pipeline, which has no heads,"
    message = f"No gold for any of {names} in the corpora {', '.join(without)}."
    if len(without) == len(scored):
        raise ValueError(message)
    warnings.warn(message, stacklevel=3)


def main_scores(result: dict[str, Any]) -> dict[str, float]:
    """RETURNS (Dict[str, float]): The scores that sum up a corpus."""
    return {name: result[name] for name in in_order(result) if isinstance(result[name], float)}
