"""Who may run the encoder: any number of threads that predict, or one that trains."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """Lets threads predict side by side, and a thread that trains run alone.

    A network in training drops out, one in prediction does not, and which of the two it does is a
    state of the network. A thread that predicts must not change that under one that trains, nor
    see weights of which a step has changed a part. Neither section may be entered inside the other.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._n_predicting = 0
        self._training = False

    def __reduce__(self) -> tuple:
        return Gate, ()  # a copy, in this process or in another, has threads of its own

    @contextmanager
    def predicting(self) -> Iterator[None]:
        """Wait until no thread is in `training`."""
        with self._changed:
            self._changed.wait_for(lambda: not self._training)
            self._n_predicting += 1
        try:
            yield
        finally:
            with self._changed:
                self._n_predicting -= 1
                self._changed.notify_all()

    @contextmanager
    def training(self) -> Iterator[None]:
        """Wait until no other thread is in either section; keep new ones out meanwhile."""
        with self._changed:
            self._changed.wait_for(lambda: not self._training)
            self._training = True
        try:
            with self._changed:
                self._changed.wait_for(lambda: not self._n_predicting)
            yield
        finally:
            with self._changed:
                self._training = False
                self._changed.notify_all()
