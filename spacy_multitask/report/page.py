"""One self-contained HTML page about a pipeline: how good, how sure, how fast, what to mend."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import Model

from .. import __version__
from ..corpus.overview import Look
from ..evaluation.evaluate import check_gold, labelled, main_scores, predict_corpus, score_corpus
from ..evaluation.mistakes import TaskPairs, find_pairs
from ..heads.kinds import kind_of, score_named
from ..layers.shim import TorchShim
from ..progress import progress
from .cards import Scored, changes_from, interval_text, make_cards, percent, title_of
from .curves import FEWEST, calibration_charts, read_log, training_curves
from .mistakes import PASSAGE_WORDS, SHOWN_NOTHING, choose, matrix, passages_of
from .rendering import render
from .weaknesses import weaknesses

N_COLORS = 8
CALLS = 20  # docs given one by one, to see how long one takes
PARTS = {
    "next": "What to look at first",
    "scores": "Scores",
    "labels": "Labels",
    "confusion": "Confusion",
    "mistakes": "Mistakes",
    "training": "Training",
    "data": "Data",
    "calibration": "Calibration",
    "speed": "Speed and size",
}
NO_LOG = (
    "No log was given. Name the file that output_file of spacy_multitask.Logger.v1 names: "
    "spacy multitask report MODEL OUT --log training/log.jsonl"
)


@dataclass
class _Found:
    """What is gathered corpus by corpus."""

    scores: list[dict[str, Any]] = field(default_factory=list)
    labels: list[dict[str, Any]] = field(default_factory=list)
    cards: list[dict[str, Any]] = field(default_factory=list)
    tasks: list[TaskPairs] = field(default_factory=list)
    passages: list[dict[str, Any]] = field(default_factory=list)
    calibration: list[dict[str, Any]] = field(default_factory=list)
    speed: list[dict[str, Any]] = field(default_factory=list)
    looks: list[tuple[str, Look]] = field(default_factory=list)


def build_report(
    nlp: Language,
    corpora: dict[str, str],
    *,
    title: str = "",
    log: str | Path | None = None,
    baseline: Language | None = None,
) -> str:
    """Make the page.

    nlp (Language): A trained pipeline.
    corpora (Dict[str, str]): Path of a .spacy file, or a folder of them, per corpus name.
    title (str): Heading; the pipeline's name by default.
    log (Optional[Path]): What `spacy_multitask.Logger.v1` wrote while training, for the curves.
    baseline (Optional[Language]): Another pipeline, whose scores on the same docs are compared.
    RETURNS (str): HTML that needs nothing else. All strings from data are escaped.
    RAISES (ValueError): If there is gold for no head.
    """
    colors = _Colors(nlp)
    curves = (
        training_curves(log, colors) if log is not None else []
    )  # first: soon told if it is none
    history = _history(log)
    other = _name(baseline) if baseline is not None else ""
    found = _Found()
    scored: dict[str, bool] = {}
    for name, path in progress(corpora.items(), "Reporting", total=len(corpora), unit="corpus"):
        examples, owners, result = own = _scored(nlp, name, path)
        colors.learn(owners)
        scored[name] = bool(main_scores(result))
        changes = {}
        if baseline is not None:
            changes = changes_from(own, _scored(baseline, name, path), other)
        heads = {score: owners[score] for score in main_scores(result)}
        found.scores += _score_rows(name, result, owners, changes)
        found.labels += _label_rows(name, result, owners)
        found.cards += make_cards(name, result, owners, history, changes, colors)
        tasks = find_pairs(name, examples, heads)
        numbered = list(enumerate(tasks, len(found.tasks)))
        found.tasks += tasks
        found.passages += passages_of(name, examples, numbered)
        found.calibration += calibration_charts(name, nlp, examples, colors)
        found.speed.append(_speed(nlp, name, examples, result))
        found.looks.append((name, _look(examples)))
    check_gold(labelled(nlp), scored)
    return _render(nlp, corpora, found, title, curves, other, log is not None, colors)


def _render(
    nlp: Language,
    corpora: dict[str, str],
    found: _Found,
    title: str,
    curves: list[dict[str, Any]],
    baseline: str,
    has_log: bool,
    colors: _Colors,
) -> str:
    found.passages.sort(key=lambda p: (-len(p["m"]), len(p["w"])))
    chosen = choose(found.passages)
    tasks = [{"corpus": t.corpus, "title": t.title, "color": colors(t.score)} for t in found.tasks]
    charts = [*curves, *found.calibration]
    drawn = [{key: one[key] for key in ("id", "x", "series", "unit", "limits")} for one in charts]
    return render(
        "report.html",
        data={"charts": drawn, "tasks": tasks, "passages": chosen, "nothing": SHOWN_NOTHING},
        title=title or _name(nlp),
        meta=_facts(nlp, corpora, baseline),
        parts=PARTS.items(),
        cards=found.cards,
        weaknesses=weaknesses(found.tasks, found.calibration),
        scores=found.scores,
        labels=found.labels,
        baseline=baseline,
        matrices=[m for task in found.tasks if (m := matrix(task)) is not None],
        passages=len(chosen),
        passage_words=PASSAGE_WORDS,
        left_out=len(found.passages) - len(chosen),
        curves=curves,
        no_curves="The log has no lines yet." if has_log else NO_LOG,
        looks=found.looks,
        calibration=found.calibration,
        fewest=FEWEST,
        speed=found.speed,
        sizes=_sizes(nlp),
        machine=f"{platform.machine()}, {torch.get_num_threads()} threads",
    )


class _Colors:
    """One colour for each head, in all parts of the page."""

    def __init__(self, nlp: Language):
        self.nlp = nlp
        self.heads = {name: k % N_COLORS for k, name in enumerate(labelled(nlp) or nlp.pipe_names)}
        self.scores: dict[str, int] = {}

    def learn(self, owners: dict[str, Any]) -> None:
        names = {id(pipe): name for name, pipe in self.nlp.pipeline}
        self.scores.update({score: self(names[id(owner)]) for score, owner in owners.items()})

    def __call__(self, name: str) -> int:
        """
        name (str): Of a head or a score.
        RETURNS (int): The number of its colour.
        """
        if name in self.heads or name in self.scores:
            return self.heads.get(name, self.scores.get(name, 0))
        named = score_named(name)
        for head in self.heads:
            kind = kind_of(self.nlp.get_pipe(head), self.nlp.get_pipe_meta(head).factory)
            if named is not None and kind is named.kind:
                return self.heads[head]
        return self.heads.setdefault(name, len(self.heads) % N_COLORS)


def _name(nlp: Language) -> str:
    meta = nlp.meta
    if (meta["name"], meta["version"]) == ("pipeline", "0.0.0") and nlp.path is not None:
        # The name that spaCy gives all pipelines tells nothing.
        return "/".join(nlp.path.absolute().parts[-2:])
    return f"{meta['lang']}_{meta['name']} {meta['version']}"


def _facts(nlp: Language, corpora: dict[str, str], baseline: str) -> list[tuple[str, str]]:
    config = nlp.config.interpolate()
    rows = [
        ("encoder", "/".join(Path(str(part["model"]["name"])).parts[-2:]))
        for part in config["components"].values()
        if part.get("factory") == "multitask_transformer"
    ]
    rows.append(("heads", ", ".join(labelled(nlp))))
    rows.append(("scored on", ", ".join(f"{name} ({path})" for name, path in corpora.items())))
    if baseline:
        rows.append(("compared with", baseline))
    if (seed := config.get("training", {}).get("seed")) is not None:
        rows.append(("seed", str(seed)))
    rows.append(("made", datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")))
    rows.append(("with", f"spacy_multitask {__version__}, spaCy {spacy.__version__}"))
    return rows


def _history(log: str | Path | None) -> dict[str, list[float]]:
    """RETURNS (Dict[str, List[float]]): By score its values while training."""
    history: dict[str, list[float]] = {}
    for entry in read_log(Path(log)) if log is not None else []:
        for score, value in (entry.get("scores") or {}).items():
            if isinstance(value, float):
                history.setdefault(score, []).append(value)
    return history


def _scored(nlp: Language, name: str, path: str) -> Scored:
    examples, seconds = predict_corpus(nlp, name, path)
    result, owners = score_corpus(nlp, examples, seconds)
    return examples, owners, result


def _score_rows(
    name: str, result: dict[str, Any], owners: dict[str, Any], changes: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    return [
        {
            "corpus": name,
            "title": title_of(score, owners[score]),
            "score": score,
            "value": percent(value),
            "interval": interval_text(result["intervals"].get(score, ())),
            "baseline": percent(changes[score]["other"]) if score in changes else "",
            "docs": result["docs"],
        }
        for score, value in main_scores(result).items()
    ]


def _label_rows(name: str, result: dict[str, Any], owners: dict[str, Any]) -> list[dict[str, Any]]:
    # Of other tasks, such as parsing, what spaCy's scorers say.
    counted = tuple(f"{score.rpartition('_')[0]}_" for score in result["labels"])
    others = {
        key: value
        for key, value in result.items()
        if isinstance(value, dict)
        and key not in ("intervals", "labels")
        and not key.startswith(counted)
    }
    return [
        {
            "corpus": name,
            "title": title_of(key, owners.get(key)),
            "label": label,
            **{k: percent(scores[k]) for k in "prf"},
            "interval": interval_text(scores.get("interval", ())),
            "gold": scores.get("gold", ""),
        }
        for key, labels in {**result["labels"], **others}.items()
        for label, scores in sorted(labels.items())
        if isinstance(scores, dict) and all(isinstance(scores.get(k), float) for k in "prf")
    ]


def _look(examples: Iterable[Example]) -> Look:
    look = Look()
    for eg in examples:
        look.add(eg.reference)
    return look


def _speed(
    nlp: Language, name: str, examples: list[Example], result: dict[str, Any]
) -> dict[str, Any]:
    taken = []
    # Spread over the corpus, whose docs may be in order of their length.
    for eg in examples[:: max(1, len(examples) // CALLS)][:CALLS]:
        doc = Doc(nlp.vocab, words=[token.text for token in eg.predicted])
        started = time.perf_counter()
        nlp(doc)
        taken.append(1000 * (time.perf_counter() - started))
    p50, p95 = np.quantile(taken or [0.0], [0.5, 0.95])  # a corpus may be empty
    return {
        "corpus": name,
        "words": f"{result['words']:,}",
        "speed": f"{result['speed']:,.0f}",
        "p50": f"{p50:.0f}",
        "p95": f"{p95:.0f}",
    }


def _sizes(nlp: Language) -> list[dict[str, str]]:
    rows = []
    total = 0
    for name, pipe in nlp.pipeline:
        model = getattr(pipe, "model", None)
        nodes = list(model.walk()) if isinstance(model, Model) else []
        parameters = sum(
            p.numel()
            for node in nodes
            for shim in node.shims
            if isinstance(shim, TorchShim) and shim.has_module
            for p in shim.module.parameters()
        ) + sum(
            node.get_param(param).size
            for node in nodes
            for param in node.param_names
            if node.has_param(param)
        )
        size = len(pipe.to_bytes()) if hasattr(pipe, "to_bytes") else 0
        total += size
        rows.append({"name": name, "parameters": f"{parameters:,}", "mib": f"{size / 2**20:.1f}"})
    rows.append({"name": "all", "parameters": "", "mib": f"{total / 2**20:.1f}"})
    return rows
