"""What must hold in processes made by `fork`, such as those of `nlp.pipe(n_process=2)` on Linux."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_VARIABLE = "TOKENIZERS_PARALLELISM"
_imported_in = os.getpid()


def use_one_thread_if_forked() -> None:
    """Threads of OpenMP do not survive a fork: torch would wait for them for ever."""
    global _imported_in
    if os.getpid() != _imported_in:
        _imported_in = os.getpid()
        torch.set_num_threads(1)


@contextmanager
def tokenizers_without_threads() -> Iterator[None]:
    """Keep the library tokenizers from starting threads, about which it warns at the next fork."""
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = before or "false"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_VARIABLE, None)
