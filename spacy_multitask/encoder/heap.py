"""Memory that is free, but not given back to the system."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any

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
