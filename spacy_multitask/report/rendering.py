"""Pages that need nothing else: styles, scripts and data are within.

Plots are drawn by uPlot (MIT license, beside it), in the release that its first line names. It does
what the pages want: lines on axes with round numbers, and values under the pointer. It takes 50 KB.
Vega-Lite with its parts would take some 800 KB, and the smallest build of Plotly 1 MB.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

# In data within a page: what could end it, or begin markup.
ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def render(template: str, *, data: dict[str, Any] | None = None, **values: Any) -> str:
    """Make a page.

    template (str): File in `pages/`.
    data (Optional[Dict[str, Any]]): What its script reads.
    values (Any): What the template names; strings in it are escaped.
    RETURNS (str): HTML that loads nothing, and runs no script but its own.
    """
    environment = Environment(
        loader=PackageLoader("spacy_multitask", "report/pages"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    css = "\n".join(map(_file, ("uplot.min.css", "page.css")))
    scripts = [_file("uplot.min.js"), _file("page.js")]
    return environment.get_template(template).render(
        css=Markup(css),
        scripts=list(map(Markup, scripts)),
        hashes=Markup(" ").join(map(_hash, scripts)),
        data=Markup(_embed(data or {"charts": []})),
        **values,
    )


def _file(name: str) -> str:
    return (files("spacy_multitask") / "report" / "pages" / name).read_text(encoding="utf8")


def _hash(script: str) -> Markup:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Markup(f"'sha256-{digest}'")


def _embed(data: dict[str, Any]) -> str:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return "".join(ESCAPES.get(char, char) for char in text)
