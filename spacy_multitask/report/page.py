"""One self-contained HTML page about a pipeline: how good, how sure, how fast, how large."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import Model

from ..evaluation.bootstrap import count_correct, label_pairs
from ..evaluation.evaluate import check_gold, labelled, main_scores, predict_corpus, score_corpus
from ..evaluation.reliability import Reliability, reliability
from ..heads.base import Head
from ..heads.kinds import all_kinds, is_task_score, score_named
from ..layers.shim import TorchShim
from ..progress import progress
from .charts import line_chart
from .visualize import draw

MATRIX_SIZE = 14  # labels in a confusion matrix
MISTAKES = 5  # docs shown per corpus
SHOWN_WORDS = 60  # longer docs are cut there
CALIBRATION_DOCS = 1000


def build_report(
    nlp: Language,
    corpora: dict[str, str],
    *,
    title: str = "",
    log: str | Path | None = None,
) -> str:
    """Make the page.

    nlp (Language): A trained pipeline.
    corpora (Dict[str, str]): Path of a .spacy file, or a folder of them, per corpus name.
    title (str): Heading; the pipeline's name by default.
    log (Optional[Path]): What `spacy_multitask.Logger.v1` wrote while training, for the curves.
    RETURNS (str): HTML that needs nothing else. All strings from data are escaped.
    RAISES (ValueError): If there is gold for no head.
    """
    # Jinja escapes what is put in; charts and displaCy's drawings have done so themselves.
    environment = Environment(loader=PackageLoader("spacy_multitask", "report"), autoescape=True)
    curves = _curves(log) if log is not None else []  # first: a file that is none is soon told
    scores, per_label, matrices, mistakes, charts = [], [], [], [], []
    scored: dict[str, bool] = {}
    for name, path in progress(corpora.items(), "Reporting", total=len(corpora), unit="corpus"):
        examples, seconds = predict_corpus(nlp, name, path)
        result, owners = score_corpus(nlp, examples, seconds)
        scores += _score_rows(name, result)
        per_label += _label_tables(name, result)
        heads = {score: owners[score] for score in main_scores(result)}
        scored[name] = bool(heads)
        matrices += _matrices(name, examples, heads)
        mistakes += _mistakes(name, examples, heads)
        charts += _calibration(name, nlp, examples)
    check_gold(labelled(nlp), scored)
    meta = nlp.meta
    return environment.get_template("template.html").render(
        title=title or f"{meta['lang']}_{meta['name']} {meta['version']}",
        description=", ".join(nlp.pipe_names),
        scores=scores,
        per_label=per_label,
        matrices=matrices,
        mistakes=mistakes,
        calibration=charts,
        curves=curves,
        sizes=_sizes(nlp),
    )


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"


def _interval(limits: Sequence[float]) -> str:
    return " - ".join(f"{100 * limit:.1f}" for limit in limits)


def _score_rows(name: str, result: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "corpus": name,
            "score": score,
            "value": _percent(value),
            "interval": _interval(result["intervals"].get(score, ())),
            "docs": result["docs"],
            "words": result["words"],
            "speed": f"{result['speed']:.0f}",
        }
        for score, value in main_scores(result).items()
    ]


def _label_tables(name: str, result: dict[str, Any]) -> list[dict[str, Any]]:
    # Of other tasks, such as parsing, what spaCy's scorers say.
    counted = tuple(f"{score.rpartition('_')[0]}_" for score in result["labels"])
    others = {
        key: value
        for key, value in result.items()
        if isinstance(value, dict)
        and key not in ("intervals", "labels")
        and not key.startswith(counted)
    }
    tables = []
    for key, labels in {**result["labels"], **others}.items():
        rows = [
            {
                "label": label,
                **{k: _percent(scores[k]) for k in "prf"},
                "interval": _interval(scores.get("interval", ())),
                "gold": scores.get("gold", ""),
            }
            for label, scores in sorted(labels.items())
            if isinstance(scores, dict) and all(isinstance(scores.get(k), float) for k in "prf")
        ]
        if rows:
            tables.append({"corpus": name, "name": key, "rows": rows})
    return tables


def _matrices(name: str, examples: list[Example], heads: dict[str, Any]) -> list[dict[str, Any]]:
    """
    heads (Dict[str, Any]): By main score, the component whose it is.
    """
    found = []
    for score, head in heads.items():
        known = score_named(score, head)
        if known is None or not known.score.confused:
            continue
        pairs = sum((label_pairs(eg, score, head) for eg in examples), Counter())
        if pairs:
            title = f"{name}: {known.prefix.replace('_', ' ')}{known.score.confused}"
            found.append({"title": title, **_matrix(pairs)})
    return found


def _matrix(pairs: Counter[tuple[str, str]]) -> dict[str, Any]:
    wrong: Counter[str] = Counter()
    for (gold, own), n in pairs.items():
        wrong[gold] += n * (gold != own)
        wrong[own] += n * (gold != own)
    labels = sorted(label for label, _ in wrong.most_common(MATRIX_SIZE))
    rows = []
    for gold in labels:
        total = sum(n for (g, _), n in pairs.items() if g == gold) or 1
        cells = []
        for own in labels:
            n = pairs[gold, own]
            hue = "200, 69, 59" if gold != own else "46, 155, 106"
            # Mistakes are few: a root makes them visible.
            cells.append({"n": n, "color": f"rgba({hue}, {0.8 * (n / total) ** 0.5:.2f})"})
        rows.append({"label": gold, "cells": cells})
    return {"labels": labels, "rows": rows}


def _mistakes(name: str, examples: list[Example], heads: dict[str, Any]) -> list[dict[str, Any]]:
    """
    heads (Dict[str, Any]): By main score, the component whose it is.
    """
    # What a drawing does not show is not counted: of each layer it has one label for each word.
    drawn: dict[tuple[str, str], str] = {}
    for score, head in heads.items():
        known = score_named(score, head)
        if known is not None and known.layer:
            drawn.setdefault((known.layer, known.prefix), score)
    wrong = []
    for i, eg in enumerate(examples):
        n = 0
        for score in drawn.values():
            counts = count_correct(eg, score, heads[score])
            if counts is not None:
                right, own, gold = counts
                n += max(own, gold) - right
        if n:
            wrong.append((n, i))
    # Of two docs with as many mistakes, the shorter one is easier to read.
    wrong.sort(key=lambda item: (-item[0], len(examples[item[1]].predicted)))
    found = []
    for n, i in wrong[:MISTAKES]:
        reference, predicted = examples[i].reference, examples[i].predicted
        layers = known_layers(reference)
        found.append(
            {
                "corpus": name,
                "number": i + 1,
                "wrong": n,
                # draw() escapes what it is given.
                "gold": Markup(draw(reference, layers, limit=SHOWN_WORDS, other=predicted)),
                "predicted": Markup(draw(predicted, layers, limit=SHOWN_WORDS, other=reference)),
            }
        )
    return found


def known_layers(doc: Doc) -> set[str]:
    """RETURNS (Set[str]): Layers that a gold doc annotates; only those can be compared."""
    example, layers = Example(doc, doc), set()
    for kind in all_kinds():
        key = kind.recipe.spans_key if kind.recipe else ""
        for score in kind.scores[:1]:
            if score.layer and score.items and score.items(example, None, key) is not None:
                layers.add(score.layer)
    return layers


def _calibration(name: str, nlp: Language, examples: list[Example]) -> list[dict[str, Any]]:
    charts = []
    for head_name, head in nlp.pipeline:
        if not isinstance(head, Head):
            continue
        for part, (logits, targets) in head.gold_logits(examples[:CALIBRATION_DOCS]).items():
            before = reliability(logits, targets)
            after = reliability(logits, targets, temperature=head.temperature(part))
            error = f"{100 * after.error:.1f}"
            if head.temperature(part) != 1:
                error += f" (before calibration {100 * before.error:.1f})"
            charts.append(
                {
                    "title": f"{name}: {head_name} {part}".strip(),
                    "error": error,
                    "svg": _reliability_chart(before, after),
                }
            )
    return charts


def _reliability_chart(before: Reliability, after: Reliability) -> Markup:
    lines = [("calibrated", after.confidence.tolist(), after.accuracy.tolist())]
    if before.error != after.error:
        lines.append(("before", before.confidence.tolist(), before.accuracy.tolist()))
    else:
        lines = [("", *lines[0][1:])]
    # A dot is as large as the part of the predictions in its bin, or few would seem to be many.
    parts = [found.size / found.size.sum() for found in (after, before)]
    radii = [(1.5 + 8 * np.sqrt(part)).tolist() for part in parts[: len(lines)]]
    return line_chart(lines, x_label="probability", y_range=(0.0, 1.0), diagonal=True, radii=radii)


def _curves(log: str | Path) -> list[dict[str, Any]]:
    lines = _read_log(Path(log))
    if not lines:
        return []
    steps = [float(line["step"]) for line in lines]
    curves = []
    for title, key, factor in (
        ("Mean loss per step", "losses", 1.0),
        ("Scores on dev, percent", "scores", 100.0),
        ("Loss weights", "weights", 1.0),
    ):
        logged = [
            {name: v for name, v in (line.get(key) or {}).items() if _is_number(v)}
            for line in lines
        ]
        # What has a value at some steps only, such as a score, is drawn there.
        names = dict.fromkeys(name for values in logged for name in values)
        drawn = [
            (
                name,
                [s for s, values in zip(steps, logged) if name in values],
                [factor * values[name] for values in logged if name in values],
            )
            for name in names
            if name != "transformer" and (key != "scores" or is_task_score(name))
        ]
        if drawn:
            curves.append({"title": title, "svg": line_chart(drawn, x_label="step")})
    return curves


def _read_log(path: Path) -> list[dict[str, Any]]:
    """RETURNS (List[Dict[str, Any]]): The lines of a log.
    RAISES (ValueError): If one is not as `spacy_multitask.Logger.v1` writes it.
    """
    lines = []
    with path.open(encoding="utf8") as file:
        for line_no, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                line = json.loads(text)  # takes NaN, which other loggers may write
            except ValueError:
                line = None
            if not isinstance(line, dict) or not _is_number(line.get("step")):
                raise ValueError(
                    f"{path}:{line_no}: {text.strip()[:60]!r} is not a line of a training log: "
                    "JSON with a step. Give the file that output_file of spacy_multitask.Logger.v1 "
                    "names."
                )
            lines.append(line)
    return lines


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


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
