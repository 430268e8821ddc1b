"""What a training says while it runs: each head's loss, each corpus' score, the time left."""

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from spacy.language import Language
from spacy.util import dot_to_object, logger, registry
from thinc.api import Config
from tqdm import tqdm
from wasabi import row, table

from ..corpus.reader import READER, MultiCorpus
from ..encoder.component import link
from ..heads.scorers import is_task_score
from ..plan import Plan, join
from ..registering import refuse_quoted_numbers
from .batching import BATCHER
from .forecast import (
    ALIGNS,
    HEADER,
    Row,
    dependents,
    describe_spoiled,
    describe_training,
)
from .log_file import LogFile

Printer = Callable[[dict[str, Any] | None], None]


@registry.loggers("spacy_multitask.Logger.v1")
@refuse_quoted_numbers
def make_logger(
    output_file: str | None = None,
    progress_bar: bool = True,
    plan: bool = True,
    patience: int = 0,
) -> Callable[..., tuple[Printer, Callable[[], None]]]:
    """Log to the console and, if asked to, to a file.

    output_file (Optional[str]): JSONL file, one line per evaluation: epoch, step, words, seconds,
        the mean loss per step of each head since the line before (with accumulate_gradient, the
        losses of a batch's parts are added up), the factor on its loss where that is learned, all
        scores from 0 to 1; null for what is not a number. An older file of that name is replaced.
    progress_bar (bool): Whether to show steps and time left, if standard error is a terminal.
    plan (bool): Whether to read the corpora before the first step, and say what gold each head
        has in them and what the training will take.
    patience (int): Evaluations without a better score of any task, after which training ends; 0
        for never. [training] patience looks at the weighted sum alone.
    RETURNS (Callable): What spaCy calls as a logger.
    """

    if patience < 0:
        raise ValueError(f"patience = {patience} must not be negative.")
    training = join()

    def setup(
        nlp: Language, stdout: IO = sys.stdout, stderr: IO = sys.stderr
    ) -> tuple[Printer, Callable[[], None]]:
        link(nlp)  # sourced components do not know which pipeline they are in
        training.read(nlp)
        _check_draws(nlp)
        if patience:
            _check_that_it_can_stop(nlp)
        rows = _print_plan(nlp, stdout, training.n_devices) if plan else None
        run = LogPrinter(nlp, output_file, progress_bar, stdout, stderr, patience, training)
        if rows is not None:
            run.planned = _numbers_of(rows)
            run.untaught.clear()  # it was said, if there are any
        training.printer = run
        return run.log, run.close

    return setup


def _print_plan(nlp: Language, stdout: IO, n_devices: int) -> list[Row] | None:
    """RETURNS (Optional[List[Row]]): The rows of its table; None if there is none."""
    described = describe_training(nlp, n_devices)
    if described is None:
        return None
    rows, text = described
    print(table(rows, header=HEADER, divider=True, aligns=ALIGNS), file=stdout)
    print(text, file=stdout, flush=True)
    return rows


def _numbers_of(rows: list[Row]) -> dict[str, float]:
    """RETURNS (Dict[str, float]): Gold items and passes of the plan, by task and corpus."""
    found = {}
    for task, _, corpus, _, _, gold, passes in rows:
        found[f"plan/{task}/{corpus}/gold"] = float(gold.split()[0].replace(",", ""))
        found[f"plan/{task}/{corpus}/passes"] = float(passes)
    return found


def _check_draws(nlp: Language) -> None:
    """Warn where what a reader draws anew is not what is wanted, or is not drawn anew."""
    config = nlp.config.interpolate()
    training = config["training"]
    drawn = {part: _drawn(nlp, config, part) for part in ("train_corpus", "dev_corpus")}
    if drawn["dev_corpus"]:
        logger.warning(
            "[%s] draws other docs of %s at each evaluation, so that its scores are not of the "
            "same docs. Take limit in place of sample.",
            training["dev_corpus"],
            ", ".join(drawn["dev_corpus"]),
        )
    batcher = training["batcher"].get("@batchers")
    if drawn["train_corpus"] and batcher != BATCHER and training["max_epochs"] not in (-1, 1):
        logger.warning(
            "[%s] draws other docs of %s for each epoch only with the batcher %s. With %s all "
            "epochs have those of the first.",
            training["train_corpus"],
            ", ".join(drawn["train_corpus"]),
            BATCHER,
            batcher,
        )


def _drawn(nlp: Language, config: Config, part: str) -> list[str]:
    """RETURNS (List[str]): Corpora of which an epoch has some docs oftener than others."""
    try:
        section = dot_to_object(config, config["training"][part])
    except KeyError:
        return []  # not there, as in a training from Python
    plain = section.get("mixing", "proportional") == "proportional" and not section.get("shares")
    if section.get("@readers") != READER or (
        plain and not any(options.get("sample") for options in section["corpora"].values())
    ):
        return []  # and no need to count
    reader: MultiCorpus = registry.resolve({"corpus": section})["corpus"]
    sizes = reader.sizes(nlp)
    return [name for name, n in reader.shares(sizes).items() if n % sizes[name]]


def _check_that_it_can_stop(nlp: Language) -> None:
    training = nlp.config.interpolate()["training"]
    if training["max_epochs"] < 1:
        raise ValueError(
            f"patience of the logger ends the epochs, so it needs a limit, but [training] "
            f"max_epochs = {training['max_epochs']}. Set it to 100, say."
        )
    batcher = training["batcher"].get("@batchers")
    if batcher != BATCHER:
        raise ValueError(
            f"patience of the logger needs the batcher {BATCHER}, but [training.batcher] is "
            f"{batcher}."
        )


class LogPrinter:
    """Prints and writes what there is to say after each step."""

    def __init__(
        self,
        nlp: Language,
        output_file: str | None,
        progress_bar: bool,
        stdout: IO,
        stderr: IO,
        patience: int,
        plan: Plan,
    ):
        self.nlp = nlp
        self.plan = plan
        self.stdout, self.stderr = stdout, stderr
        self.shows_bar = progress_bar
        self.bar: tqdm | None = None
        self.patience = patience
        # For other loggers beside this one, see `_tell`.
        self.planned: dict[str, float] = {}
        # Whether steps are taken note of only to tell others of them.
        self.is_silent = False
        # `spacy train` does not look at the last step, unless it falls on an evaluation.
        self.end_is_evaluated = False
        self.eval_frequency = nlp.config["training"]["eval_frequency"]
        self.best: dict[str, float] = {}
        self.n_without_gain = 0
        self.diverged: set[str] = set()
        self.has_evaluated = False
        # Heads that have had no gold so far, as their losses tell: that of a single class is 0.
        self.untaught = {n for n in dependents(nlp) if len(nlp.pipe_labels.get(n, ())) > 1}
        weights = nlp.config["training"]["score_weights"]
        self.scores = [name for name, weight in weights.items() if weight]
        self.heads = [
            name
            for name, pipe in nlp.pipeline
            if getattr(pipe, "is_trainable", False) and name not in frozen(nlp)
        ]
        self.balanced: dict[str, Any] = {
            name: pipe
            for name, pipe in nlp.pipeline
            if name in self.heads and getattr(pipe, "balance", None) is not None
        }
        middle = [*self.heads, *(f"w({name})" for name in self.balanced), *self.scores]
        self.widths = [5, 7, *(max(7, len(n)) for n in middle), 7]
        header = ["epoch", "step", *middle, "score"]
        self._row(header)
        self._row(["-" * width for width in self.widths])
        self.started = time.perf_counter()
        self.step = 0
        self.file = LogFile(Path(output_file) if output_file else None)

    def _row(self, cells: list[str]) -> None:
        text = row(cells, widths=self.widths, aligns=["r"] * len(cells), spacing=2)
        print(text, file=self.stdout, flush=True)

    def log(self, info: dict[str, Any] | None) -> None:
        """Take note of a step; of an evaluation too, if it was followed by one."""
        self.plan.has_begun = True
        if info is None:
            if self.bar is not None:
                self.bar.update(1)
            return
        if self.is_silent:
            self._tell(info, self._mean_losses(info), {})
            return
        if self.bar is not None:
            self.bar.close()
        if not self.has_evaluated:
            self.has_evaluated = True
            self._warn_of_missing_scores(info["other_scores"])
        if not info["step"]:
            self._warn_of_no_evaluation()
        losses = self._mean_losses(info)
        self._warn_of_divergence(losses)
        self.untaught -= {name for name, loss in losses.items() if loss}
        if info["epoch"] > 0:
            self._warn_of_untaught()
        weights = {name: head.weight for name, head in self.balanced.items()}
        self._print_line(info, losses, weights)
        if self.file.path is not None:
            self._write_line(info, losses, weights)
        scores = info["other_scores"]
        self._tell(info, losses, weights)
        if self.patience and self._is_at_an_end(scores):
            self._say_end()
        elif self.shows_bar:
            self.bar = tqdm(
                total=self.plan.total_steps(),
                initial=info["step"],
                disable=None,  # where standard error is no terminal
                leave=False,
                file=self.stderr,
                unit="step",
            )

    def _tell(
        self, info: dict[str, Any], losses: dict[str, float], weights: dict[str, float]
    ) -> None:
        """Add what is said here to the scores that loggers after this one are given, such as those
        for Weights & Biases and MLflow."""
        told: dict[str, Any] = dict(info["other_scores"])
        told.update({f"mean_loss/{name}": loss for name, loss in losses.items()})
        told.update({f"loss_weight/{name}": weight for name, weight in weights.items()})
        if self.planned:
            steps = self.plan.total_steps()
            told.update(self.planned, **({"plan/steps": float(steps)} if steps else {}))
            self.planned = {}
        info["other_scores"] = told

    def _mean_losses(self, info: dict[str, Any]) -> dict[str, float]:
        """RETURNS (Dict[str, float]): Each head's, per step since the line before: spaCy adds them
        up between two evaluations."""
        n_steps = max(1, info["step"] - self.step)
        self.step = info["step"]
        return {name: float(info["losses"].get(name, 0.0)) / n_steps for name in self.heads}

    def _print_line(
        self, info: dict[str, Any], losses: dict[str, float], weights: dict[str, float]
    ) -> None:
        self._row(
            [
                str(info["epoch"]),
                str(info["step"]),
                *(f"{losses[name]:.3f}" for name in self.heads),
                *(f"{weight:.3f}" for weight in weights.values()),
                *(_percent(info["other_scores"].get(name)) for name in self.scores),
                _percent(info["score"]),
            ]
        )

    def _write_line(
        self, info: dict[str, Any], losses: dict[str, float], weights: dict[str, float]
    ) -> None:
        scores = info["other_scores"]
        self.file.write(
            {
                "epoch": info["epoch"],
                "step": info["step"],
                "words": info["words"],
                "seconds": round(time.perf_counter() - self.started, 1),
                "losses": losses,
                "weights": weights,
                "scores": {k: v for k, v in scores.items() if isinstance(v, int | float)},
                "score": info["score"],
            }
        )

    def _warn_of_no_evaluation(self) -> None:
        n_steps = self.plan.total_steps()
        if n_steps and n_steps <= self.eval_frequency and not self.end_is_evaluated:
            logger.warning(
                "[training] eval_frequency = %s, but there are only %s steps: model-best will be "
                "the model before training. Lower it, or use model-last.",
                self.eval_frequency,
                n_steps,
            )

    def _warn_of_untaught(self) -> None:
        if self.untaught:
            logger.warning(describe_spoiled([n for n in self.heads if n in self.untaught]))
            self.untaught.clear()

    def _warn_of_missing_scores(self, scores: dict[str, Any]) -> None:
        known = {name for name, value in scores.items() if isinstance(value, int | float)}
        missing = [name for name in self.scores if name not in known]
        if missing:
            found = sorted(name for name in known if is_task_score(name) or name == "worst_task")
            logger.warning(
                "[training.score_weights] names %s, and there is no such score: no development doc "
                "has gold for it, or no component gives it. It counts as 0 when the best model is "
                "chosen. The scores are: %s.",
                ", ".join(missing),
                ", ".join(found) or "none",
            )

    def _warn_of_divergence(self, losses: dict[str, float]) -> None:
        """Once for each head whose loss is not a number."""
        bad = {name for name, loss in losses.items() if not math.isfinite(loss)} - self.diverged
        if bad:
            self.diverged |= bad
            logger.warning(
                "The loss of %s is no longer a number: the training has diverged, and won't "
                "recover. Stop it, lower the learning rate and start anew.",
                ", ".join(sorted(bad)),
            )

    def place(self) -> dict[str, Any]:
        """RETURNS (Dict[str, Any]): What `go_on` takes: the step of the last line, seconds since
        the start, the length of the file in bytes, and the tasks' best scores so far."""
        return {
            "step": self.step,
            "seconds": time.perf_counter() - self.started,
            "n_bytes": self.file.length(),
            "best": self.best,
            "n_without_gain": self.n_without_gain,
        }

    def go_on(self, place: dict[str, Any]) -> None:
        """Go on after an interruption. Lines written after `place` are taken out of the file: the
        steps that they tell of will be taken again."""
        self.step = place["step"]
        self.untaught.clear()  # the lines before are not read again
        self.best, self.n_without_gain = place["best"], place["n_without_gain"]
        self.started = time.perf_counter() - place["seconds"]
        # It may have been interrupted between its last step and its end.
        self.plan.stopped = bool(self.patience) and self.n_without_gain >= self.patience
        self.file.go_on(place["n_bytes"])

    def _is_at_an_end(self, scores: dict[str, Any]) -> bool:
        """RETURNS (bool): Whether no task has gained for too long."""
        tasks = {name: value for name, value in scores.items() if is_task_score(name)}
        gains = {n: v for n, v in tasks.items() if v > self.best.get(n, -1.0)}
        self.best.update(gains)
        self.n_without_gain = 0 if gains else self.n_without_gain + 1
        return self.n_without_gain >= self.patience

    def _say_end(self) -> None:
        self.plan.stopped = True
        text = f"No task has gained for {self.patience} evaluations: training ends."
        print(text, file=self.stdout, flush=True)

    def close(self) -> None:
        # `spacy train` saves before it logs, and can't save a loss that is not a number.
        saved = self.nlp.meta.get("performance", {})
        self._warn_of_divergence({name: saved.get(f"{name}_loss") or 0.0 for name in self.heads})
        if self.step:
            self._warn_of_untaught()
        if self.bar is not None:
            self.bar.close()
        self.file.close()


def frozen(nlp: Language) -> list[str]:
    """RETURNS (List[str]): Components that the training leaves alone."""
    return nlp.config["training"].get("frozen_components", [])


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"
