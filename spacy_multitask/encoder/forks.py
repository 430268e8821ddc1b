"""What must hold in processes made by `fork`, such as those of `nlp.pipe(n_process=2)` on Linux,
and in other threads."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from thinc.api import get_torch_default_device

_VARIABLE = "TOKENIZERS_PARALLELISM"
_imported_in = os.getpid()


def use_one_thread_if_forked() -> None:
    """Threads of OpenMP do not survive a fork: torch would wait for them for ever.

    RAISES (RuntimeError): If the process was forked from one that uses a GPU, which can't go on.
    """
    global _imported_in
    if torch.cuda._is_in_bad_fork():
        raise RuntimeError(
            "A process that has begun to use a GPU can't be forked. Before anything else, call "
            "multiprocessing.set_start_method('spawn'); or use n_process=1: a batch on a GPU "
            "needs one process."
        )
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


def warn_of_thread(name: str) -> None:
    """Warn if a pipeline is loaded for the CPU by a thread of a process that uses a GPU: thinc's
    choice holds for the thread that made it.

    name (str): The component's.
    """
    is_main = threading.current_thread() is threading.main_thread()
    on_cpu = get_torch_default_device().type == "cpu"
    if not is_main and on_cpu and torch.cuda.is_initialized():
        warnings.warn(
            f"The component {name!r} is loaded for the CPU, though this process uses a GPU: "
            "spacy.require_gpu() holds for the thread that calls it. Call it in this thread, too, "
            "or load the pipeline before threads start.",
            stacklevel=2,
        )
