"""Values that JSON can hold."""

from __future__ import annotations

import json
import math
from typing import Any


def to_json(value: Any, *, indent: int | None = None) -> str:
    """RETURNS (str): JSON, with null for NaN and infinity, which it does not have.
    RAISES (TypeError): If a value is neither plain nor an array or a number of NumPy's or torch's.
    """
    return json.dumps(finite(value), indent=indent, default=plain, allow_nan=False)


def from_json(data: bytes | str, source: str) -> dict[str, Any]:
    """Read a JSON object that comes from others.

    source (str): Where it comes from, for error messages.
    RAISES (ValueError): If it is none, or nested too deep to be read.
    """
    try:
        value = json.loads(data)
    except ValueError as error:
        raise ValueError(f"{source} is damaged: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{source} is damaged: it is nested too deep.") from error
    if not isinstance(value, dict):
        raise ValueError(f"{source} is damaged: it holds no JSON object.")
    return value


def finite(value: Any) -> Any:
    """RETURNS (Any): The same, with None for each float within that is NaN or infinite."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    if hasattr(value, "tolist"):
        return finite(plain(value))
    return None if isinstance(value, float) and not math.isfinite(value) else value


def plain(value: Any) -> Any:
    """RETURNS (Any): A number or nested lists of numbers, in place of NumPy's or torch's."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"JSON can't hold {value!r}.")
