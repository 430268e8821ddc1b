"""Settings of a config that are overridden on the command line."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any


def overrides_of(config_path: Path, arguments: list[str]) -> dict[str, Any]:
    """Read overrides such as `--training.max_epochs 3`.

    spaCy takes any name in a section that is there, and some commands would not notice.

    config_path (Path): The config that they are for.
    arguments (List[str]): What the command line has besides the command's own options.
    RETURNS (Dict[str, Any]): Values by dotted name.
    RAISES (ValueError): If the config has no such setting, and what it names takes none.
    """
    from spacy.cli._util import parse_config_overrides
    from spacy.language import Language
    from spacy.util import load_config
    from thinc.config import ConfigValidationError

    overrides = parse_config_overrides(arguments)
    if not overrides:
        return {}
    try:
        config = load_config(config_path, interpolate=False)
    except ConfigValidationError:
        return overrides  # who reads it next says what is wrong
    Language()  # makes the factories of installed packages known
    sections = dict(_sections(config))
    known = [
        f"{section}.{name}"
        for section, options in sections.items()
        for name in {*options, *(_taken(section, options) or ())}
    ]
    for name in overrides:
        section = name.rpartition(".")[0]
        is_open = section in sections and _taken(section, sections[section]) is None
        if name not in known and not is_open:
            near = get_close_matches(name, known, n=3, cutoff=0.7)
            advice = f"The nearest: {', '.join(near)}." if near else "docs/configs.md lists them."
            raise ValueError(f"--{name}: {config_path} has no such setting. {advice}")
    return overrides


def _sections(block: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """YIELDS (Tuple[str, Mapping]): Dotted name and content of each section."""
    for key, value in block.items():
        if isinstance(value, Mapping):
            path = f"{name}.{key}" if name else key
            yield path, value
            yield from _sections(value, path)


def _taken(section: str, options: Mapping[str, Any]) -> set[str] | None:
    """RETURNS (Optional[Set[str]]): Options that a section takes besides those that it has; None if
    it takes any, or it is not known which."""
    from spacy.language import DEFAULT_CONFIG, Language

    if section == "paths":
        return set()
    if section in DEFAULT_CONFIG:
        return set(DEFAULT_CONFIG[section])
    if section.startswith("components.") and section.count(".") == 1:
        factory = options.get("factory", "")
        if not Language.has_factory(factory):
            return None
        return {"factory", *(Language.get_factory_meta(factory).default_config or {})}
    kind = next((key for key in options if key.startswith("@")), "")
    return _parameters(kind[1:], options[kind]) if kind else None


def _parameters(kind: str, name: str) -> set[str] | None:
    """RETURNS (Optional[Set[str]]): Those of a registered function, None if it takes any or there
    is none."""
    from catalogue import RegistryError
    from spacy.util import registry

    try:
        parameters = inspect.signature(registry.get(kind, name)).parameters.values()
    except (RegistryError, ValueError):
        return None
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    return None if takes_any else {p.name for p in parameters}
