"""Read docstrings in spaCy's form, so that mkdocstrings shows them as tables.

`name (Type): ...`, `RETURNS (Type): ...`, `YIELDS (Type): ...` and `RAISES (Error): ...` become the
sections of Google's form, which griffe knows.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

TITLES = {"RETURNS": "Returns", "YIELDS": "Yields", "RAISES": "Raises"}
ENTRY = re.compile(
    r"^(RETURNS|YIELDS|RAISES|\w+(?:, \w+)*)(?: \(([^)]*(?:\([^)]*\))*[^)]*)\))?: (.*)$"
)


def to_google(text: str) -> str:
    """RETURNS (str): The docstring in Google's form; as it is, if it has no entries."""
    prose: list[str] = []
    sections: dict[str, list[str]] = {}
    lines = text.splitlines()
    i = 0
    while i < len(lines):
        found = ENTRY.match(lines[i])
        if found is None or found[1] == "Source" or not (found[2] or sections.get("Args")):
            prose.append(lines[i])
            i += 1
            continue
        name, kind, first = found.groups()
        words = [first]
        i += 1
        while i < len(lines) and lines[i].startswith("    "):
            words.append(lines[i].strip())
            i += 1
        title = TITLES.get(name, "Args")
        kind = f" ({kind})" if kind else ""
        entry = f"{name}{kind}" if title == "Args" else (found[2] or "Any")
        sections.setdefault(title, []).append(f"    {entry}: {' '.join(words)}")
    parts = ["\n".join(prose).strip()]
    parts += ["\n".join([f"{title}:", *entries]) for title, entries in sections.items()]
    return "\n\n".join(part for part in parts if part)


class SpacyDocstrings(griffe.Extension):
    """Rewrites the docstrings of functions and classes before they are parsed."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = to_google(obj.docstring.value)
