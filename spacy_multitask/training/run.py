"""What stands between spaCy's loop and the pipeline, so that a training can go on where it was.

The steps up to the checkpoint are gone through once more without training: reader, batcher,
schedules and loop then stand where they stood, and weights, optimizer and random numbers come from
the file.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from timeit import default_timer
from typing import Any

import spacy
import torch
from spacy.language import Language
from spacy.training import Example
from spacy.util import dict_to_dot
from thinc.api import Optimizer, get_torch_default_device

from .checkpoint import read_checkpoint, write_checkpoint
from .randomness import RandomState, Snapshot, random_state, set_random_state
from .state import capture, restore

# Settings that may change between two parts of a training: where things are, what is printed...
FREE_SETTINGS = ("paths.", "training.logger.")
# ...but for this one, which ends the training.
LOGGER_PATIENCE = "training.logger.patience"

CHANGED_DATA = (
    "The corpora give other batches than before {path} was written. Restore the corpora that the "
    "training began with, or train from the beginning, without --resume."
)

Batch = tuple[int, list[Example]]
Evaluation = tuple[float, dict[str, Any]]


class Past:
    """A checkpoint of a training that was interrupted."""

    def __init__(self, path: Path):
        self.path = path
        self.tensors, self.notes = read_checkpoint(path)
        self.step: int = self.notes["step"]

    def random_states(self) -> dict[int, RandomState]:
        """RETURNS (Dict[int, Dict[str, Tensor]]): State before each batch that drew from it."""
        states: dict[int, RandomState] = {}
        for name, tensor in self.tensors.items():
            kind, _, rest = name.partition("/")
            if kind == "draws":
                step, _, generator = rest.partition("/")
                states.setdefault(int(step), {})[generator] = tensor
        return states

    def differences(self, nlp: Language) -> list[str]:
        """Compare the config and the machine with those that the training began with.

        RETURNS (List[str]): What may change results in the last bits.
        RAISES (ValueError): If the config is another; the settings are named. Or if it is another
            kind of device.
        """
        before, now = self.notes["settings"], _settings(nlp)
        changed = [
            f"{name} was {before.get(name)!r} and is {now.get(name)!r}"
            for name in sorted({*before, *now})
            if before.get(name) != now.get(name)
        ]
        if changed:
            more = f", and {len(changed) - 5} more" if len(changed) > 5 else ""
            raise ValueError(
                f"{self.path} belongs to another config: {'; '.join(changed[:5])}{more}. "
                "Resume with the config that it began with (only [paths] and [training.logger] may "
                "change), or train from the beginning, without --resume."
            )
        before, now = self.notes["environment"], _environment()
        if before["device"].split(":")[0] != now["device"].split(":")[0]:
            # On a CPU the optimizer keeps other moments, of the rows in use.
            raise ValueError(
                f"{self.path} was written on {before['device']}, and can't go on on "
                f"{now['device']}. Resume on a device of that kind, or train from the beginning, "
                "without --resume."
            )
        return [
            f"{name} was {before.get(name)} and is {value}: the last bits of the weights may differ"
            for name, value in now.items()
            if before.get(name) != value
        ]


class Run:
    """Stands between spaCy's loop and the pipeline.

    In steps of the past it does no work: it only brings back what came of them.
    """

    def __init__(self, nlp: Language, optimizer: Optimizer, past: Past | None):
        self.nlp = nlp
        self.optimizer = optimizer
        self.past = past
        self.step = -1
        self.draws = {} if past is None else past.random_states()
        self.evaluations: list[dict[str, Any]] = [] if past is None else past.notes["evaluations"]
        self.past_evaluations = {evaluation["step"]: evaluation for evaluation in self.evaluations}
        self.seconds_before = 0.0 if past is None else past.notes["seconds"]
        self.started = default_timer()

    @property
    def is_live(self) -> bool:
        return self.past is None

    @property
    def seconds(self) -> float:
        """RETURNS (float): Time spent on training, interruptions not counted."""
        return self.seconds_before + default_timer() - self.started

    # What spaCy's loop asks of a pipeline

    @property
    def pipeline(self) -> list[tuple[str, Any]]:
        """RETURNS (List[Tuple[str, Callable]]): The components that take a step."""
        return self.nlp.pipeline if self.is_live else []

    def update(
        self, examples: Iterable[Example], *, losses: dict[str, float], **options: Any
    ) -> None:
        if self.past is None:
            self.nlp.update(examples, losses=losses, **options)
        elif self.step == self.past.step:
            losses.update(self.past.notes["losses"])
        else:
            losses.update(self.past_evaluations.get(self.step, {}).get("losses", {}))

    def use_params(self, params: dict) -> AbstractContextManager:
        return self.nlp.use_params(params)

    # What the loop is given besides

    def batches(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """YIELDS (Tuple[int, List[Example]]): The same. If the reader or the batcher draw random
        numbers, the state of the generators is noted, and is set in a later run."""
        while True:
            step = self.step + 1
            if not self.is_live and step in self.draws:
                set_random_state(self.draws[step])
            before = Snapshot()
            batch = next(batches, None)
            if batch is None:
                return
            if self.is_live and not before.is_now():
                self.draws[step] = before.tensors()
            self.step = step
            yield batch

    def evaluation(self, evaluate: Callable[[], Evaluation], dev_corpus: Any) -> Callable:
        """RETURNS (Callable): The same; in the past it gives the scores of then."""

        def evaluate_or_remember() -> Evaluation:
            if self.is_live:
                return evaluate()
            if hasattr(dev_corpus, "skip"):
                dev_corpus.skip()
            evaluation = self.past_evaluations[self.step]
            return evaluation["score"], evaluation["other_scores"]

        return evaluate_or_remember

    # Notes

    def bring_back(self, info: dict[str, Any]) -> None:
        """Give a past step the time it had."""
        evaluation = self.past_evaluations.get(info["step"], {})
        info["seconds"] = int(evaluation.get("seconds", self.seconds_before))

    def take_note(self, info: dict[str, Any], is_best: bool | None) -> None:
        """Keep what came of an evaluation."""
        info["seconds"] = int(self.seconds)
        if is_best is not None:
            names = ("step", "score", "other_scores", "seconds")
            self.evaluations.append(
                {**{name: info[name] for name in names}, "losses": dict(info["losses"])}
            )

    def save(self, path: Path, batch: list[Example], info: dict[str, Any], logger: Any) -> None:
        """Write a checkpoint.

        logger (Any): What the logger wants to know when the training goes on.
        """
        tensors, notes = capture(self.nlp, self.optimizer)
        states = {"random": random_state()}
        states.update({f"draws/{step}": state for step, state in self.draws.items()})
        for place, state in states.items():
            tensors.update({f"{place}/{name}": tensor for name, tensor in state.items()})
        notes.update(
            step=info["step"],
            losses=dict(info["losses"]),
            evaluations=self.evaluations,
            words=info["words"],
            batch=_checksum(batch),
            seconds=self.seconds,
            logger=logger,
            strings=list(self.nlp.vocab.strings),
            settings=_settings(self.nlp),
            environment=_environment(),
        )
        write_checkpoint(path, tensors, notes)

    def go_live(self, batch: list[Example], info: dict[str, Any]) -> None:
        """Put everything as it was at the checkpoint; from here on steps are taken.

        RAISES (ValueError): If the batches of the past were others.
        """
        assert self.past is not None
        tensors, notes = self.past.tensors, self.past.notes
        if info["words"] != notes["words"] or _checksum(batch) != notes["batch"]:
            raise ValueError(CHANGED_DATA.format(path=self.past.path))
        for string in notes["strings"]:
            self.nlp.vocab.strings.add(string)
        restore(self.nlp, self.optimizer, tensors, notes)
        set_random_state(
            {name.removeprefix("random/"): t for name, t in tensors.items() if "random/" in name}
        )
        self.past = None
        self.started = default_timer()


def _settings(nlp: Language) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): The config by dotted name, but for what may change."""
    settings = dict_to_dot(nlp.config)
    # Once through JSON, so that they compare with those from a file.
    text = json.dumps(
        {
            name: value
            for name, value in settings.items()
            if not name.startswith(FREE_SETTINGS) or name == LOGGER_PATIENCE
        }
    )
    return json.loads(text)


def _environment() -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): What the last bits of sums depend on."""
    return {
        "spacy": spacy.__version__,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": str(get_torch_default_device()),
    }


def _checksum(batch: list[Example]) -> int:
    return zlib.crc32("\n".join(example.reference.text for example in batch).encode("utf8"))
