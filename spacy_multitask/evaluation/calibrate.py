"""Probabilities that mean something: temperatures and thresholds from held-out data."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.training import Example

from ..corpus.reader import corpus_of
from ..heads.base import Head
from ..progress import progress
from .evaluate import predict_corpus
from .reliability import best_threshold, fit_temperature, reliability

PART = 500  # docs that all heads look at before the next ones are encoded


def calibrate(nlp: Language, corpora: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Fit a temperature per part of each head's task, and thresholds per label where several may
    be true, and put them into the heads. The most probable label stays what it was.

    A head with `corpora` takes gold from corpora of those names alone, and a warning tells of gold
    that it did not take: other than `evaluate`, which scores it on corpora that no head knows by
    name, too, this changes the head, and their gold may follow another scheme.

    nlp (Language): A trained pipeline.
    corpora (Dict[str, str]): Path of a .spacy file, or a folder of them, per corpus name: data
        that the pipeline was not trained on.
    RETURNS (Dict[str, Dict]): Per head and part ("tagger.pos", "ner"): the number of items with
        gold, the temperature, and the expected calibration error before and after, from 0 to 1;
        for labels that do not exclude each other also their thresholds.
    RAISES (ValueError): If no head has gold in the corpora.
    """
    parts = {name: predict_corpus(nlp, name, path)[0] for name, path in corpora.items()}
    examples = [eg for part in parts.values() for eg in part]
    heads = [(name, head) for name, head in nlp.pipeline if isinstance(head, Head)]
    found: dict[str, dict[str, Any]] = {}
    logits, values = _look(heads, examples)
    for name, head in heads:
        temperatures: dict[str, float] = {}
        for part in logits[name]:
            x, y = (np.concatenate(arrays) for arrays in zip(*logits[name][part]))
            before = head.temperature(part)
            temperatures[part] = fit_temperature(x, y)
            found[f"{name}.{part}".rstrip(".")] = {
                "items": len(y),
                "temperature": temperatures[part],
                "error_before": reliability(x, y, temperature=before).error,
                "error_after": reliability(x, y, temperature=temperatures[part]).error,
            }
        if temperatures:
            # Parts without gold here keep what was fitted to other corpora before.
            head.cfg["temperatures"] = {**head.cfg.get("temperatures", {}), **temperatures}
        if values[name]:
            x, y = (np.concatenate(arrays) for arrays in zip(*values[name]))
            # Older ones went with the older temperature.
            head.cfg["thresholds"] = _thresholds(head, x, y)
            found[name]["thresholds"] = head.cfg["thresholds"]
    unknown = {name: part for name, part in parts.items() if not any(map(corpus_of, part))}
    passed_over = _passed_over(heads, unknown)
    if passed_over:
        message = (
            f"No head learns from a corpus named {' or '.join(unknown)}. Gold there was not taken "
            f"for heads that learn from others by name: {', '.join(passed_over)}. If it is of the "
            "same scheme, give the corpus the name of the one that the head learns from: NAME=PATH."
        )
        if not found:
            raise ValueError(message)
        warnings.warn(message, stacklevel=2)
    if not found:
        named = ", ".join(_described(name, head) for name, head in heads)
        raise ValueError(
            f"The corpora {', '.join(corpora)} have no gold for any of "
            f"{named or 'the pipeline, which has no heads'}. Give a corpus that has."
        )
    return found


def _passed_over(heads: list[tuple[str, Head]], unknown: dict[str, list[Example]]) -> list[str]:
    """RETURNS (List[str]): Heads that would have gold in corpora of names that no head knows."""
    examples = [eg for part in unknown.values() for eg in part]
    picky = [(name, head) for name, head in heads if head.corpora is not None and examples]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # labels of another scheme are no surprise here
        return [_described(name, head) for name, head in picky if head.gold(examples) is not None]


def _described(name: str, head: Head) -> str:
    return name if head.corpora is None else f"{name} (from {', '.join(sorted(head.corpora))})"


def _look(heads: list[tuple[str, Head]], examples: list[Example]) -> tuple[dict, dict]:
    """RETURNS (tuple): By head, `gold_logits` per part of its task, and `gold_values`; both of some
    examples after the other."""
    logits: dict[str, dict[str, list]] = {name: {} for name, _ in heads}
    values: dict[str, list] = {name: [] for name, _ in heads}
    for start in progress(range(0, len(examples), PART), "Calibrating", unit="part"):
        some = examples[start : start + PART]
        for name, head in heads:
            for part, pair in head.gold_logits(some).items():
                logits[name].setdefault(part, []).append(pair)
            if (found := head.gold_values(some)) is not None:
                values[name].append(found)
    return logits, values


def _thresholds(head: Head, logits: np.ndarray, values: np.ndarray) -> dict[str, float]:
    probs = 1 / (1 + np.exp(-logits / head.temperature()))
    best = {}
    for k, label in enumerate(head.labels):
        known = ~np.isnan(values[:, k])
        best[label] = best_threshold(probs[known, k], values[known, k] >= 0.5)
    return {label: threshold for label, threshold in best.items() if threshold is not None}
