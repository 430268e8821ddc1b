"""A search for settings that train better: rates, batch words, passes and loss weights.

Each trial is a training of its own, scored on the development part. Test parts are not looked at.

Source: Akiba et al. (2019), https://arxiv.org/abs/1907.10902
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from spacy.language import Language
from spacy.training.initialize import init_nlp
from spacy.util import dict_to_dot, load_config, registry
from thinc.api import Config

from ..plan import join
from ..safe_files import locked, write_text
from .batching import BATCHER
from .loop import train
from .state import Diverged

STUDY_FILE = "study.db"
BEST_FILE = "best.cfg"
PAGE_FILE = "tuning.md"
# For this process alone: no config that is saved names it.
_LOGGER = "multitask_trial"
_STUDY = "spacy_multitask"
# Trials use seeds from here on, so that the seed of the config is one that no choice was made by.
FIRST_SEED = 1_000_000
# A trial is given up when its worst task is below the median of the trials before, from this many
# trials on.
_TRIALS_BEFORE_PRUNING = 4


class _Pruned(BaseException):
    """A trial is given up. No Exception: a training that fails with one saves its model."""


@dataclass(frozen=True)
class Setting:
    """A setting that is searched.

    name (str): Dotted, as in the config.
    value (float): What the config says.
    low, high (float): Limits of the search; from one to the other by factors.
    whole (bool): Whether it is a whole number.
    """

    name: str
    value: float
    low: float
    high: float
    whole: bool = False

    def show(self, value: float) -> str:
        return str(round(value)) if self.whole else f"{value:.3g}"


def settings_of(config: Mapping[str, Any]) -> list[Setting]:
    """Find out what can be searched in a config.

    config (Mapping): Interpolated.
    RETURNS (List[Setting]): Rates of encoder and heads, words in a batch, passes, and loss weights
        of all heads that learn but the first, to which the others are relative.
    """
    training = config["training"]
    frozen = training.get("frozen_components", [])
    found = []
    for rate in ("learn_rate", "head_learn_rate"):
        value, name = training["optimizer"].get(rate), f"training.optimizer.{rate}"
        for inner in ("learn_rate", "initial_rate"):
            if isinstance(value, Mapping) and inner in value:
                value, name = value[inner], f"{name}.{inner}"
        if isinstance(value, int | float) and value > 0:
            found.append(Setting(name, value, value / 4, value * 4))
    words = training["batcher"].get("max_words")
    if training["batcher"].get("@batchers") == BATCHER and words:
        found.append(Setting("training.batcher.max_words", words, words // 3, words * 3, True))
    if (epochs := training.get("max_epochs", 0)) > 0:
        low = max(1, epochs // 2)
        found.append(Setting("training.max_epochs", epochs, low, epochs * 2, True))
    weights = {
        f"components.{name}.loss_weight": float(options.get("loss_weight", 1.0))
        for name, options in config["components"].items()
        if name not in frozen and _is_weighted(options)
    }
    for name, value in list(weights.items())[1:]:
        if value > 0:
            found.append(Setting(name, value, value / 4, value * 4))
    return found


def _is_weighted(options: Mapping[str, Any]) -> bool:
    factory = options.get("factory", "")
    if options.get("balance") is not None or not Language.has_factory(factory):
        return False
    return "loss_weight" in (Language.get_factory_meta(factory).default_config or {})


def tune(
    config_path: Path,
    output: Path,
    *,
    n_trials: int,
    overrides: Mapping[str, Any] | None = None,
    use_gpu: int = -1,
    overwrite: bool = False,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Search for better settings, and write a config with the best and a page of what mattered.

    The first trial has the settings of the config. The search goes on where it was interrupted.

    config_path (Path): A training config.
    output (Path): Folder for study, best config and page.
    n_trials (int): Trials in all, those of earlier calls included.
    overrides (Optional[Mapping[str, Any]]): Settings that differ from the config's.
    use_gpu (int): The GPU that `require_gpu` was called for, or -1.
    overwrite (bool): Forget the search that is in the folder.
    say (Callable): Is told of each trial.
    RETURNS (Dict[str, Any]): "best" with its "score", "worst_task" and "settings"; "trials", the
        same for each; "importance" of each setting, from 0 to 1.
    RAISES (ImportError): If the extra "tune" is not installed.
    RAISES (ValueError): If there is nothing to search, or the folder has another search.
    """
    try:
        import optuna
    except ImportError as error:
        raise ImportError("tune needs Optuna: pip install 'spacy_multitask[tune]'") from error
    if n_trials < 1:
        raise ValueError(f"trials = {n_trials} must be at least 1.")
    config = load_config(config_path, overrides=dict(overrides or {}), interpolate=False)
    known = config.interpolate()
    settings = settings_of(known)
    if not settings:
        raise ValueError(
            f"{config_path} has no rate, batch or weight to vary. Take a config of init-config."
        )
    with locked(output):
        if overwrite:
            (output / STUDY_FILE).unlink(missing_ok=True)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = _study(optuna, output / STUDY_FILE, known, settings)
        _take_up(optuna, study, settings)
        while len(_done(study)) < n_trials:
            trial = study.ask()
            _run_trial(optuna, study, trial, config, settings, use_gpu)
            say(_line(study.trials[trial.number], n_trials))
        result = _result(optuna, study, settings)
        if "best" in result:
            best = _with(config, result["best"]["settings"])
            write_text(output / BEST_FILE, best.to_str(interpolate=False))
        write_text(output / PAGE_FILE, page(result, settings, config_path))
    return result


def _study(optuna: Any, path: Path, config: Config, settings: list[Setting]) -> Any:
    """RETURNS (Study): A new one, or the one in the file.
    RAISES (ValueError): If that is of another config.
    """
    text = json.dumps([dict_to_dot(config), [asdict(s) for s in settings]], default=str)
    own = hashlib.sha256(text.encode()).hexdigest()
    n_before = 0
    if path.exists():
        n_before = len(optuna.load_study(study_name=_STUDY, storage=f"sqlite:///{path}").trials)
    study = optuna.create_study(
        study_name=_STUDY,
        storage=f"sqlite:///{path}",
        load_if_exists=True,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=n_before, n_startup_trials=6),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=_TRIALS_BEFORE_PRUNING),
    )
    if study.user_attrs.setdefault("config", own) != own:
        raise ValueError(
            f"{path} is a search for another config. Choose another folder by --output, or drop "
            "that search, with --overwrite."
        )
    study.set_user_attr("config", own)
    return study


def _take_up(optuna: Any, study: Any, settings: list[Setting]) -> None:
    """Begin with the config's own settings; do again what an interruption cut short."""
    if not study.trials:
        study.enqueue_trial({s.name: s.value for s in settings})
    for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        study.enqueue_trial(trial.params)


def _done(study: Any) -> list[Any]:
    """RETURNS (List[FrozenTrial]): Trials with an outcome: a score, or that they were given up."""
    return [t for t in study.trials if t.state.name in ("COMPLETE", "PRUNED")]


def _run_trial(
    optuna: Any, study: Any, trial: Any, config: Config, settings: list[Setting], use_gpu: int
) -> None:
    chosen = {
        s.name: trial.suggest_int(s.name, int(s.low), int(s.high), log=True)
        if s.whole
        else trial.suggest_float(s.name, s.low, s.high, log=True)
        for s in settings
    }
    try:
        score = train_once(_with(config, chosen), trial, FIRST_SEED + trial.number, use_gpu)
    except (_Pruned, Diverged):
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    else:
        study.tell(trial, score)


def _with(config: Config, values: Mapping[str, Any]) -> Config:
    """RETURNS (Config): A copy with other values, by dotted name."""
    copied = config.copy()
    for name, value in values.items():
        *sections, last = name.split(".")
        block: Any = copied
        for section in sections:
            block = block[section]
        block[last] = value
    return copied


def train_once(config: Config, trial: Any, seed: int, use_gpu: int) -> float:
    """Train with a seed of its own.

    trial (Trial): Is told the worst task's score after each evaluation, by hundredths of the way.
    RETURNS (float): The score of the best evaluation.
    RAISES (_Pruned): If the trial is not worth going on.
    """
    scores: list[float] = []

    def make() -> Callable[..., tuple[Callable, Callable]]:
        plan = join()

        def setup(nlp: Language, *_: IO) -> tuple[Callable, Callable]:
            plan.read(nlp)
            weights = nlp.config["training"]["score_weights"]
            return lambda info: log(info, weights), lambda: None

        def log(info: dict[str, Any] | None, weights: Mapping[str, float]) -> None:
            plan.has_begun = True
            if info is None:
                return
            scores.append(info["score"])
            worst = worst_task(info["other_scores"], weights)
            trial.set_user_attr("worst_task", worst)
            n_steps = plan.total_steps() or max(1, info["step"])
            trial.report(worst, round(100 * info["step"] / n_steps))
            if trial.should_prune():
                raise _Pruned

        return setup

    registry.loggers.register(_LOGGER, func=make)
    config = config.copy()
    config["training"]["logger"] = {"@loggers": _LOGGER}
    config["training"]["seed"] = seed
    for section in (config.get("system", {}), config["corpora"].get("train", {})):
        if isinstance(section.get("seed"), int):
            section["seed"] = seed
    with TemporaryDirectory() as folder:
        train(
            init_nlp(config, use_gpu=use_gpu),
            Path(folder, "training"),
            use_gpu=use_gpu,
            checkpoint_steps=10**9,
            stdout=io.StringIO(),
            stderr=io.StringIO(),
        )
    return max(scores)


def worst_task(scores: Mapping[str, Any], weights: Mapping[str, float | None]) -> float:
    """RETURNS (float): The least of the scores that the best model is chosen by; 0 without any."""
    known = [scores.get(name) for name, weight in weights.items() if weight]
    return min((float(s) for s in known if isinstance(s, int | float)), default=0.0)


# What is said


def _line(trial: Any, n_trials: int) -> str:
    worst = trial.user_attrs.get("worst_task", 0.0)
    if trial.state.name == "COMPLETE":
        what = f"score {100 * trial.value:.2f}, worst task {100 * worst:.2f}"
    else:
        what = f"given up, worst task {100 * worst:.2f}"
    return f"Trial {trial.number + 1} of {n_trials}: {what}"


def _result(optuna: Any, study: Any, settings: list[Setting]) -> dict[str, Any]:
    trials = [
        {
            "trial": trial.number + 1,
            "score": trial.value if trial.state.name == "COMPLETE" else None,
            "worst_task": trial.user_attrs.get("worst_task"),
            "settings": trial.params,
        }
        for trial in _done(study)
    ]
    result: dict[str, Any] = {"trials": trials, "importance": {}}
    complete = [found for found in trials if found["score"] is not None]
    if complete:
        result["best"] = max(complete, key=lambda found: found["score"])
    if len({found["score"] for found in complete}) > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it calls itself experimental
            evaluator = optuna.importance.PedAnovaImportanceEvaluator()
            found = optuna.importance.get_param_importances(study, evaluator=evaluator)
        result["importance"] = {name: round(value, 4) for name, value in found.items()}
    return result


def page(result: Mapping[str, Any], settings: list[Setting], config_path: Path) -> str:
    """RETURNS (str): What was tried and what mattered, as Markdown."""
    n_trials, best = len(result["trials"]), result.get("best")
    n_pruned = sum(found["score"] is None for found in result["trials"])
    lines = [
        f"# What was tried with {config_path.name}",
        "",
        f"{n_trials} trials, of which {n_pruned} were given up on the way. All scores are of the "
        "development part. The best of many trials looks better than it is: train the best config "
        "with several seeds, and look at the test part once, at the end.",
        "",
    ]
    if best is None:
        return "\n".join([*lines, "No trial came to its end. Lower the rates.", ""])
    first = next((found for found in result["trials"] if found["trial"] == 1), best)
    lines += [
        f"Best score {_percent(best['score'])} (trial {best['trial']}); with the settings of the "
        f"config it was {_percent(first['score'])}.",
        "",
        "| setting | config | best | searched | importance |",
        "|---|---|---|---|---|",
    ]
    by_importance = sorted(settings, key=lambda s: -result["importance"].get(s.name, 0.0))
    for s in by_importance:
        share = result["importance"].get(s.name)
        cells = [s.name, s.show(s.value), s.show(best["settings"][s.name])]
        cells += [
            f"{s.show(s.low)} to {s.show(s.high)}",
            "-" if share is None else f"{100 * share:.0f} %",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "Importance is the part of the difference between good trials and all trials that a "
        "setting explains (PED-ANOVA). With few trials it is a rough guess.",
        "",
        f"| trial | score | worst task | {' | '.join(s.name for s in by_importance)} |",
        "|---" * (3 + len(settings)) + "|",
    ]
    for found in sorted(result["trials"], key=lambda f: -(f["score"] or -1.0)):
        cells = [str(found["trial"]), _percent(found["score"]), _percent(found["worst_task"])]
        cells += [s.show(found["settings"][s.name]) for s in by_importance]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _percent(value: float | None) -> str:
    return "given up" if value is None else f"{100 * value:.2f}"
