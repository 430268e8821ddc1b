"""Does sharing help? Each task trained alone, all together, and all but one, on one budget."""

from __future__ import annotations

import copy
import io
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import spacy
from spacy.language import Language
from spacy.training import Example
from spacy.training.initialize import init_nlp
from spacy.training.loop import train
from spacy.util import dot_to_object, load_model_from_config, registry
from thinc.api import Config

from ..corpus.leaks import paths_of
from ..corpus.reader import MultiCorpus, make_multi_corpus
from ..corpus.survey import Survey, survey, survey_docs
from ..evaluation.bootstrap import Difference, count_correct, paired_difference
from ..evaluation.evaluate import check_gold, predict_corpus
from ..heads.kinds import gold_counts
from ..heads.scorers import main_score
from ..loading import load_pipeline
from ..training.forecast import Learner, learners_of
from .conflict import gradient_cosines

RUNS = ("alone", "all", "without")
# Docs of each training corpus whose gradients are compared.
CONFLICT_DOCS = 100


class Run(NamedTuple):
    """A set of heads to train.

    name (str): "alone: TASK", "all" or "without: TASK".
    heads (Tuple[str]): Components that learn, besides the encoder.
    corpora (Tuple[str]): Training corpora with gold for one of them.
    """

    name: str
    heads: tuple[str, ...]
    corpora: tuple[str, ...]


class Comparison:
    """The runs that a training config asks for.

    config (Config): Interpolated, of a pipeline with several heads and a `MultiCorpus`.
    tasks (Optional[List[str]]): Components to train alone and to leave out; None for all heads.
    kinds (Iterable[str]): Of "alone", "all", "without".
    epochs (Optional[int]): In place of [training] max_epochs.
    tests (Optional[Dict[str, str]]): Path of the test docs by corpus; None takes [training]
        dev_corpus.
    RAISES (ValueError): If the config has no such heads, no limit in epochs, or another reader,
        or if the tests have no gold for a head.
    """

    def __init__(
        self,
        config: Config,
        *,
        tasks: list[str] | None = None,
        kinds: Iterable[str] = RUNS,
        epochs: int | None = None,
        tests: dict[str, str] | None = None,
    ):
        nlp = load_model_from_config(config, auto_fill=True)
        # Options that the config leaves to spaCy; components stay as they are, sourced ones too.
        filled = nlp.config.interpolate()
        for section in ("system", "nlp", "training", "initialize"):
            config = Config({**config, section: filled[section]})
        self.config = config
        self.kinds = list(kinds)
        if not self.kinds or set(self.kinds) - set(RUNS):
            raise ValueError(f"Runs are {', '.join(RUNS)}, not {', '.join(self.kinds) or 'none'}.")
        self.epochs = epochs or config["training"]["max_epochs"]
        if self.epochs < 1:
            raise ValueError(
                f"[training] max_epochs = {self.epochs}: runs on one budget need a number of "
                "epochs. Give --epochs."
            )
        frozen = config["training"]["frozen_components"]
        self.learners = {learner.name: learner for learner in learners_of(nlp, frozen)}
        self.scores = {name: _scores(nlp, name) for name in self.learners}
        self.needs = {name: _needs(nlp, name, self.learners) for name in self.learners}
        self.tasks = list(self.learners) if tasks is None else tasks
        unknown = set(self.tasks) - set(self.learners)
        if unknown or len(self.learners) < 2:
            raise ValueError(
                f"Can't compare {', '.join(map(repr, sorted(unknown))) or 'one task with itself'}. "
                f"The heads of this pipeline that learn: {', '.join(self.learners)}."
            )
        self.dev = paths_of(config, "dev_corpus")
        self.tests = tests or self.dev
        self.reader = _resolve(config, "train_corpus")
        self.reader.held_out |= self._held_out()
        self.reader.find_leaks(nlp)
        counts = gold_counts()
        docs = {name: self.reader.docs(name) for name in self.reader.corpora}
        self.surveys = {name: survey_docs(found, counts) for name, found in docs.items()}
        # Where mixing weighs corpora against each other, that is done with all of them, once.
        self.shares: dict[str, int] | None = None
        if self.reader.mixing != "proportional" or self.reader.given_shares is not None:
            self.shares = self.reader.shares({n: found.docs for n, found in self.surveys.items()})
        self.test_surveys = {name: survey(path, counts) for name, path in self.tests.items()}
        self.dev_surveys = {name: survey(path, counts) for name, path in self.dev.items()}
        self.tested = {
            corpus: [name for name in self.learners if self._is_tested(name, corpus)]
            for corpus in self.tests
        }
        check_gold(self.learners, {corpus: bool(heads) for corpus, heads in self.tested.items()})

    def runs(self) -> list[Run]:
        """RETURNS (List[Run]): In the order of training; sets of heads that are alike come once."""
        wanted = [
            (f"{kind}: {task}" if task else kind, self._heads(kind, task))
            for kind in RUNS
            if kind in self.kinds
            for task in ([""] if kind == "all" else self.tasks)
        ]
        runs: dict[tuple[str, ...], Run] = {}
        for name, heads in wanted:
            corpora = tuple(c for c, found in self.surveys.items() if self._gold(heads, c, found))
            runs.setdefault(heads, Run(name, heads, corpora))
        return [run for heads, run in runs.items() if heads]

    def _heads(self, kind: str, task: str) -> tuple[str, ...]:
        """RETURNS (Tuple[str]): What learns in a run of a kind, in order."""
        # Heads that need what a task writes can't do without it.
        heads = {
            "alone": {task, *self.needs.get(task, ())},
            "all": set(self.learners),
            "without": {n for n in self.learners if n != task and task not in self.needs[n]},
        }[kind]
        return tuple(name for name in self.learners if name in heads)

    def run_of(self, runs: Iterable[Run], kind: str, task: str = "") -> Run | None:
        """RETURNS (Optional[Run]): The run that serves as this kind for the task."""
        return next((run for run in runs if run.heads == self._heads(kind, task)), None)

    def _held_out(self) -> dict[str, str]:
        return {**{f"{name}_dev": path for name, path in self.dev.items()}, **self.tests}

    def _is_tested(self, name: str, corpus: str) -> bool:
        learner = self.learners[name]
        # As `predict_corpus` has it.
        if not any(corpus in (other.corpora or ()) for other in self.learners.values()):
            learner = learner._replace(corpora=None)
        return _has_gold(learner, corpus, self.test_surveys[corpus])

    def _gold(self, heads: Iterable[str], corpus: str, found: Survey) -> bool:
        return any(_has_gold(self.learners[name], corpus, found) for name in heads)

    def config_of(self, run: Run, seed: int, log: Path) -> Config:
        """RETURNS (Config): That of the whole training, without what the run does not have."""
        config = copy.deepcopy(self.config)
        out = set(self.learners) - set(run.heads)
        config["nlp"]["pipeline"] = [n for n in config["nlp"]["pipeline"] if n not in out]
        training = config["training"]
        for name in out:
            del config["components"][name]
            config["initialize"].get("components", {}).pop(name, None)
        for key in ("frozen_components", "annotating_components"):
            training[key] = [name for name in training[key] if name not in out]
        training.update(seed=seed, max_epochs=self.epochs, max_steps=0, patience=0)
        # Scores of heads that are not there, and evaluations after the end, would be warned of.
        gone = {s for name in out for s in self.scores[name]}
        gone.difference_update(*(self.scores[name] for name in run.heads))
        weights = training["score_weights"]
        training["score_weights"] = {s: w for s, w in weights.items() if s not in gone}
        if max_words := training["batcher"].get("max_words"):
            words = sum(self.surveys[name].words for name in run.corpora)
            n_steps = max(1, int(words * self.epochs / max_words))
            training["eval_frequency"] = min(training["eval_frequency"], n_steps)
        config["system"]["seed"] = seed
        training["logger"] = {
            "@loggers": "spacy_multitask.Logger.v1",
            "output_file": str(log),
            "plan": False,
        }
        train = dot_to_object(config, training["train_corpus"])
        train["seed"] = seed
        train["corpora"] = {name: train["corpora"][name] for name in run.corpora}
        # Each corpus is passed as often as in the run with all.
        if self.shares is not None:
            train["shares"] = {name: self.shares[name] for name in run.corpora}
        dev = dot_to_object(config, training["dev_corpus"])
        if "corpora" in dev:
            known = {
                name: options
                for name, options in dev["corpora"].items()
                if self._gold(run.heads, name, self.dev_surveys[name])
            }
            # Where only the test docs have gold for these heads, dev scores say nothing anyway.
            dev["corpora"] = known or dev["corpora"]
        if train.get("leaks", "ignore") != "ignore":
            # Each run is to drop the same docs.
            train["held_out"] = {**(train.get("held_out") or {}), **self._held_out()}
        return config

    def train_and_count(self, run: Run, seed: int, folder: Path, *, gpu_id: int) -> dict[str, Any]:
        """Train, and count on the test docs what is right.

        folder (Path): For models and the log. The last model counts: when the learning rate has
            come to its end, and not chosen on any data.
        RETURNS (Dict[str, Any]): By "TASK on CORPUS" the score's name and value, and counts per
            doc (n_docs, 3) if they are known; and under "conflict" the cosines of the heads'
            gradients.
        """
        folder.mkdir(parents=True, exist_ok=True)
        config = self.config_of(run, seed, folder / "log.jsonl")
        train(init_nlp(config, use_gpu=gpu_id), folder, use_gpu=gpu_id, stdout=io.StringIO())
        nlp = load_pipeline(folder / "model-last")
        found: dict[str, Any] = {}
        for corpus, path in self.tests.items():
            heads = [name for name in run.heads if name in self.tested[corpus]]
            if not heads:
                continue
            examples, _ = predict_corpus(nlp, corpus, path)
            for name in heads:
                head: Any = nlp.get_pipe(name)
                scores = head.score(examples)
                score = main_score(scores)
                if score is None:  # labels of another head of its kind
                    continue
                found[f"{name} on {corpus}"] = {
                    "score": score,
                    "value": scores[score],
                    "counts": _counts(examples, score, head),
                }
        if len(run.heads) > 1:
            cosines = gradient_cosines(nlp, self._training_examples(nlp, run.corpora))
            found["conflict"] = {f"{a} - {b}": value for (a, b), value in cosines.items()}
        return found

    def _training_examples(self, nlp: Language, corpora: Iterable[str]) -> list[Example]:
        few = {name: {**self.reader.corpora[name], "limit": CONFLICT_DOCS} for name in corpora}
        return list(make_multi_corpus(few)(nlp))


def compare(
    comparison: Comparison,
    seeds: list[int],
    *,
    folder: Path | None = None,
    gpu_id: int = -1,
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Train all runs and say what each task gains from the others.

    seeds (List[int]): Each run is trained with each of them; counts are summed up.
    folder (Optional[Path]): Where models and logs stay; None for nowhere.
    gpu_id (int): GPU to use, or -1 for the CPU.
    log (Callable): Takes a line about each training.
    RETURNS (Dict[str, Any]): "runs": heads and corpora of each; "epochs"; "scores": values by run,
        task and corpus, one per seed; "effects": see `effects`; "conflict": by run the mean cosine
        of each two heads' gradients.
    """
    if gpu_id >= 0:
        spacy.require_gpu(gpu_id)
    runs = comparison.runs()
    results: dict[str, list[dict[str, Any]]] = {run.name: [] for run in runs}
    with tempfile.TemporaryDirectory() as scratch:
        for i, (seed, run) in enumerate((seed, run) for seed in seeds for run in runs):
            log(
                f"{i + 1}/{len(seeds) * len(runs)} {run.name}, seed {seed}: {', '.join(run.heads)} "
                f"on {', '.join(run.corpora)}, {comparison.epochs} epochs"
            )
            place = (folder or Path(scratch)) / f"{run.name.replace(': ', '-')}-{seed}"
            results[run.name].append(comparison.train_and_count(run, seed, place, gpu_id=gpu_id))
    scores = {
        name: {
            task: {"score": first["score"], "seeds": [r[task]["value"] for r in found]}
            for task, first in found[0].items()
            if task != "conflict"
        }
        for name, found in results.items()
    }
    conflict = {
        name: {
            pair: float(np.mean([r["conflict"][pair] for r in found]))
            for pair in set.intersection(*(set(r["conflict"]) for r in found))
        }
        for name, found in results.items()
        if "conflict" in found[0]
    }
    return {
        "seeds": seeds,
        "epochs": comparison.epochs,
        "runs": {run.name: run._asdict() for run in runs},
        "scores": scores,
        "effects": effects(comparison, runs, results),
        "conflict": conflict,
    }


def effects(
    comparison: Comparison, runs: list[Run], results: Mapping[str, list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """Say what training together does to each task.

    RETURNS (List[Dict]): Per task and test corpus, with the others ("all" against "alone") and with
        each single one ("all" against "without"): "task", "with", the mean "difference" of the
        scores from 0 to 1, and where docs can be counted its 95 % "interval", "p" and a "verdict":
        gains, loses or no difference.
    """
    found: list[dict[str, Any]] = []
    together = comparison.run_of(runs, "all")
    if together is None or together.name not in results:
        return []
    for key in results[together.name][0]:
        if key == "conflict":
            continue
        task = key.split(" on ")[0]
        others = [("all others", comparison.run_of(runs, "alone", task))]
        others += [(n, comparison.run_of(runs, "without", n)) for n in comparison.tasks]
        for other, run in others:
            if run in (None, together) or other == task or key not in results[run.name][0]:
                continue
            mine, base = ([r[key] for r in results[n]] for n in (together.name, run.name))
            difference = np.mean([r["value"] for r in mine]) - np.mean([r["value"] for r in base])
            effect = {"task": key, "with": other, "difference": float(difference)}
            if mine[0]["counts"] is not None:
                counts = [np.sum([r["counts"] for r in side], axis=0) for side in (mine, base)]
                effect.update(_verdict(paired_difference(*counts)))
            found.append(effect)
    return found


def _verdict(found: Difference) -> dict[str, Any]:
    verdict = "no difference"
    if found.p < 0.05:
        verdict = "gains" if found.value > 0 else "loses"
    return {"interval": [found.low, found.high], "p": found.p, "verdict": verdict}


def _counts(examples: list[Example], score: str, head: Any) -> np.ndarray | None:
    """RETURNS (Optional[ndarray]): Right, predicted and gold per doc; None if they are not known
    for this score."""
    found = [count_correct(eg, score, head) for eg in examples]
    if all(counts is None for counts in found):
        return None
    return np.array([(0, 0, 0) if counts is None else counts for counts in found])


def _has_gold(learner: Learner, corpus: str, found: Survey) -> bool:
    own = learner.corpora is None or corpus in learner.corpora
    return own and any(found.known[layer] for layer in learner.layers)


def _needs(nlp: Language, name: str, learners: Mapping[str, Learner]) -> set[str]:
    """RETURNS (Set[str]): Heads before this one that write what it reads, such as `doc.ents`."""
    required = set(nlp.get_pipe_meta(name).requires)
    before = nlp.pipe_names[: nlp.pipe_names.index(name)]
    return {n for n in before if n in learners and required & set(nlp.get_pipe_meta(n).assigns)}


def _scores(nlp: Language, name: str) -> set[str]:
    """RETURNS (Set[str]): Scores in [training.score_weights] that are a head's."""
    weights = nlp.config["training"]["score_weights"]
    own = nlp.get_pipe_meta(name).default_score_weights or {}
    group = getattr(nlp.get_pipe(name), "spans_key", None)
    starts = (f"{name}_", f"spans_{group}_") if group else (f"{name}_",)
    return {score for score in weights if score in own or score.startswith(starts)}


def _resolve(config: Config, part: str) -> MultiCorpus:
    section = dot_to_object(config, config["training"][part])
    reader = registry.resolve({"corpus": section})["corpus"]
    if not isinstance(reader, MultiCorpus):
        raise ValueError(
            f"[training] {part} is read by {section.get('@readers')}; to leave corpora out it must "
            "be spacy_multitask.MultiCorpus.v1."
        )
    return reader
