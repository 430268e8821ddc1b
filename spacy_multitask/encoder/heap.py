"""Memory that is free, but that others lack."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any

from thinc.api import CupyOps, get_current_ops, set_gpu_allocator

# Encoding as many takes half a second and more, giving memory back some milliseconds.
MANY_WORDS = 10_000


@cache
def _libc() -> Any:
    """RETURNS (Optional[CDLL]): The C library, if it is glibc."""
    try:
        library = ctypes.CDLL("libc.so.6") if sys.platform == "linux" else None
    except OSError:
        return None
    return library if hasattr(library, "malloc_trim") else None


def give_back_memory() -> None:
    """Let glibc give free memory back to the system.

    Arrays leave holes between what is kept for longer, those of long documents large ones. glibc
    holds on to them, and a process would grow by and by, though nothing leaks.
    Other C libraries are left alone.
    """
    library = _libc()
    if library is not None:
        library.malloc_trim(0)


def share_memory(nlp: Any) -> None:
    """Let CuPy take its memory from PyTorch, if the config says so: spaCy heeds it in training
    alone, and each of the two would hold on to memory that the other lacks.

    nlp (Optional[Language]): The pipeline.
    """
    allocator = None if nlp is None else nlp.config.get("system", {}).get("gpu_allocator")
    if allocator == "pytorch" and isinstance(get_current_ops(), CupyOps):
        set_gpu_allocator(allocator)
