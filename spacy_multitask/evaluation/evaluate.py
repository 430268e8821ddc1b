"""Scores of a pipeline on several corpora."""

from __future__ import annotations

from typing import Any

from spacy.language import Language

from ..corpus.reader import MultiCorpus

# One number per task, as papers report it.
MAIN_SCORES = ("tag_acc", "pos_acc", "cats_acc", "cats_score")


def evaluate(nlp: Language, corpora: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Score each corpus by itself, on its own tokens.

    corpora (Dict[str, str]): Path of a .spacy file, or a folder of them, per corpus name.
    RETURNS (Dict[str, Dict]): Per corpus all scores that apply to it, the number of docs and words,
        and the words predicted per second. Accuracies and F scores are from 0 to 1.
    """
    results = {}
    for name, path in corpora.items():
        reader = MultiCorpus({name: {"path": path}}, mixing="proportional", temperature=1.0, seed=0)
        examples = list(reader(nlp))
        scores = nlp.evaluate(examples)
        known = {
            key: value
            for key, value in scores.items()
            if value is not None and not key.startswith("token_")
        }
        if not any(eg.reference.cats for eg in examples):
            known = {key: v for key, v in known.items() if not key.startswith("cats")}
        known["docs"] = len(examples)
        known["words"] = sum(len(eg.predicted) for eg in examples)
        results[name] = known
    return results


def main_scores(result: dict[str, Any]) -> dict[str, float]:
    """RETURNS (Dict[str, float]): The scores that sum up a corpus."""
    names = [
        *MAIN_SCORES,
        "ents_f",
        *(k for k in result if k.startswith("spans_") and k.endswith("_f")),
    ]
    return {name: result[name] for name in names if isinstance(result.get(name), float)}
