"""The logger that a training talks to."""

from __future__ import annotations

from typing import IO, Any

from spacy.language import Language

from ..plan import join
from .logger import LogPrinter


def no_logger(nlp: Language, stdout: IO, stderr: IO) -> tuple[Any, Any]:
    """That of a process whose log another one writes."""
    return (lambda info: None), (lambda: None)


class Log:
    """The logger that the config names.

    Ours knows where it was when a training goes on; others are told of the past once more. It may
    be one of several in spaCy's ChainLogger.
    """

    def __init__(self, make: Any, nlp: Language, stdout: IO, stderr: IO):
        plan = join()
        self._log_step, self.close = make(nlp, stdout, stderr)
        self._printer: LogPrinter | None = plan.printer
        if self._printer is not None:
            self._printer.end_is_evaluated = True

    def step(self, info: dict[str, Any], is_best: bool | None) -> None:
        self._log_step(info if is_best is not None else None)

    def past_step(self, info: dict[str, Any], is_best: bool | None) -> None:
        if self._printer is None:
            self.step(info, is_best)
        elif self._log_step != self._printer.log:
            self._printer.is_silent = True
            self.step(info, is_best)
            self._printer.is_silent = False

    def place(self) -> dict[str, Any] | None:
        """RETURNS (Optional[Dict[str, Any]]): What `go_on` takes."""
        return None if self._printer is None else self._printer.place()

    def go_on(self, place: dict[str, Any] | None) -> None:
        if self._printer is not None and place is not None:
            self._printer.go_on(place)
