"""One pretrained transformer, several small heads: multi-task pipelines for spaCy.

spaCy finds the components through entry points. The functions here are for use from Python; they
are imported when they are first asked for, so that `spacy.load` does not pay for them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .annotation.docs import annotate_batch
    from .annotation.run import annotate
    from .composing.config import compose
    from .report.visualize import visualize
    from .training.from_python import train

__version__ = "0.2.0"
__all__ = ["annotate", "annotate_batch", "compose", "train", "visualize"]

_HOMES = {
    "annotate": ".annotation.run",
    "annotate_batch": ".annotation.docs",
    "compose": ".composing.config",
    "train": ".training.from_python",
    "visualize": ".report.visualize",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
