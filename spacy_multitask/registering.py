"""What functions need that a config calls by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

F = TypeVar("F", bound=Callable)


def with_types(function: F) -> F:
    """Put types in the place of annotations that are strings, but for what is returned.

    Configs are checked against the annotations. In older releases of spaCy 3.8 pydantic 1 does
    that, which finds no types for strings.
    """
    function.__annotations__ = {
        name: eval(annotation, function.__globals__) if isinstance(annotation, str) else annotation
        for name, annotation in function.__annotations__.items()
        if name != "return"
    }
    return function
