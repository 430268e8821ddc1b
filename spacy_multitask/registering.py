"""What functions need that a config calls by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from types import UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin

F = TypeVar("F", bound=Callable)


def refuse_quoted_numbers(function: F) -> F:
    """Refuse a string where an argument's type has a number: all releases of spaCy let "2" pass as
    one, and leave it a string.

    The function's annotations must be types, and not strings: configs are checked against them.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            quoted = _quoted_number(value, function.__annotations__.get(name))
            if quoted is not None:
                raise ValueError(
                    f"{name} holds {quoted!r}, but wants a number or true or false. Write it "
                    "without quotes."
                )
        return function(*args, **kwargs)

    # spaCy asks for the names of arguments in a way that does not look behind a wrapper.
    cast(Any, checked).__signature__ = signature
    return cast(F, checked)


def _quoted_number(value: Any, annotation: Any) -> str | None:
    """RETURNS (Optional[str]): A string that stands where the type has something else; None if
    there is none."""
    branches = (
        get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    )
    if isinstance(value, str):
        wants_number = any(branch in (int, float, bool) for branch in branches)
        return value if wants_number and str not in branches else None
    for branch in branches:
        inner = get_args(branch)
        if isinstance(value, list | tuple) and get_origin(branch) in (list, tuple) and inner:
            parts = value
        elif isinstance(value, dict) and get_origin(branch) is dict:
            parts = list(value.values())
        else:
            continue
        return next((q for v in parts if (q := _quoted_number(v, inner[-1])) is not None), None)
    return None
