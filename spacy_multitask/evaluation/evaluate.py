"""Scores of a pipeline on several corpora."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.training import Example

from ..corpus.reader import CORPUS_KEY, make_multi_corpus
from ..heads.scorers import is_task_score
from ..progress import progress
from .bootstrap import count_correct, interval, score_labels

# One number per task, as papers report it, in the order of the table. A second head's has a prefix.
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
    "ents_f",
    "rels_f",
)


def evaluate(nlp: Language, corpora: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Score each corpus by itself, on its own tokens.

    corpora (Dict[str, str]): Path of a .spacy file, or a folder of them, per corpus name.
    RETURNS (Dict[str, Dict]): Per corpus all scores that apply to it, from 0 to 1, also per label;
        the number of docs and words, the words predicted per second, and as "intervals" the 95 %
        bootstrap interval of each main score but cats_score, which is a mean over labels; as
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
            found = {k: v for k, v in pipe.score(examples).items() if v is not None}
            known.update(found)
            owners.update(dict.fromkeys(found, pipe))
    if not any(eg.reference.cats for eg in examples):
        known = {key: v for key, v in known.items() if not key.startswith("cats")}
    intervals, labels = {}, {}
    for score in main_scores(known):
        head = owners[score]
        counts = [c for eg in examples if (c := count_correct(eg, score, head)) is not None]
        if counts:
            intervals[score] = interval(counts)
        # It has no items of its own; those of its labels are counted for another one.
        items = re.sub("cats_score$", "cats_micro_f", score)
        if by_label := score_labels(examples, items, head):
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
    names = [name for name in result if is_task_score(name) or is_kind(name, "dep_uas")]
    names.sort(key=_place)
    return {name: result[name] for name in names if isinstance(result[name], float)}


def _place(name: str) -> int:
    kinds = (place for place, kind in enumerate(MAIN_SCORES) if is_kind(name, kind))
    return next(kinds, len(MAIN_SCORES))


def is_kind(name: str, kind: str) -> bool:
    """RETURNS (bool): Whether a score is of this kind, with a prefix or without."""
    return name == kind or name.endswith(f"_{kind}")
