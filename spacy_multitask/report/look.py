"""One self-contained HTML page about corpora."""

from datetime import datetime, timezone

from .. import __version__
from ..corpus.overview import Look
from .rendering import render


def build_look(looks: list[tuple[str, Look]]) -> str:
    """Make the page.

    looks (List[Tuple[str, Look]]): What was counted, by the path of the corpus.
    RETURNS (str): HTML that needs nothing else. All strings from data are escaped.
    """
    docs, words = (sum(getattr(look, name) for _, look in looks) for name in ("docs", "words"))
    return render(
        "look.html",
        title="Corpora",
        looks=looks,
        meta=[
            ("docs", f"{docs:,}"),
            ("words", f"{words:,}"),
            ("made", datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")),
            ("with", f"spacy_multitask {__version__}"),
        ],
    )
