"""Ctrl-C and SIGTERM: a training ends after its step, so that it can go on from there."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# What Python and the system do about them. Other handlers are left in place.
DEFAULTS = (signal.default_int_handler, signal.SIG_DFL)


class StoppedEvaluation(BaseException):
    """The signal came in an evaluation, which may take long and changes nothing."""


class Stop:
    """Takes note of the first signal; the second one ends at once, as does one before any step.

    As a context manager it listens, if it is in the main thread.

    is_silent (bool): Whether to say nothing of it.
    """

    def __init__(self, *, is_silent: bool = False) -> None:
        self.is_silent = is_silent
        # The signal that asked for the end.
        self.asked: int | None = None
        # Whether there is something to save.
        self.has_begun = False
        self._is_evaluating = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) in DEFAULTS:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        while self._before:
            signal.signal(*self._before.popitem())

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked is not None or not self.has_begun:
            self.__exit__()
            raise self.error(number)
        self.asked = number
        where = "in this evaluation" if self._is_evaluating else "after this step"
        text = f"\nStopping {where}, with a checkpoint. Once more, and it ends at once.\n"
        with suppress(OSError):
            # Not by way of an object that may be in the middle of writing.
            os.write(2, b"" if self.is_silent else text.encode())
        if self._is_evaluating:
            raise StoppedEvaluation

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Let a signal break off what is done within, or one that came before."""
        if self.asked is not None:
            raise StoppedEvaluation
        self._is_evaluating = True
        try:
            yield
        finally:
            self._is_evaluating = False

    def error(self, number: int | None = None) -> BaseException:
        """RETURNS (BaseException): What ends a process as the signal would."""
        number = self.asked if number is None else number
        if number == signal.SIGINT:
            return KeyboardInterrupt()
        return SystemExit(128 + (number or 0))
