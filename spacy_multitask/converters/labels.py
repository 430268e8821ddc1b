"""Texts with topic labels, one per line, as fastText reads them: `__label__Sports text ...`.

Every word that begins so is a label, also within and behind the text, and is no part of the text.

Source: https://fasttext.cc/docs/en/supervised-tutorial.html
"""

import re
from collections.abc import Iterator, Sequence

from spacy.language import Language
from spacy.tokens import Doc

from .ag_news import clean_text
from .gold import make_text_doc
from .lines import read_lines
from .report import ConversionError, ConversionReport, PathLike, error_at

PREFIX = "__label__"
# With the blanks behind it, so that those before it go on parting words.
LABEL = re.compile(rf"(?<![^ \t]){PREFIX}([^ \t]*)[ \t]*")


def read_labels(
    path: PathLike,
    nlp: Language,
    report: ConversionReport,
    *,
    labels: Sequence[str] | None = None,
    clean: bool = False,
) -> Iterator[Doc]:
    """Read the labels of each line into `doc.cats`; the other labels are 0.0 there.

    path (PathLike): The file, plain or gzipped.
    nlp (Language): Tokenizes the texts.
    report (ConversionReport): Counts what is skipped.
    labels (Optional[Sequence[str]]): All labels. None to gather them from the file, which is then
        read twice; a part of a corpus may lack some.
    clean (bool): Remove the debris of AG News: backslashes, broken HTML entities, tags.
    YIELDS (Doc): The docs.
    RAISES (ConversionError): If a line is malformed or has another label than the given ones.
    """
    if labels is None:
        found: dict[str, None] = {}
        for _, line_labels, _ in read_labelled_lines(path):
            found.update(dict.fromkeys(line_labels))
        labels = sorted(found)
    elif not all(labels) or len(set(labels)) < len(labels):
        raise ConversionError(
            f"labels is {', '.join(labels)!r}, but must be different names that are not empty."
        )
    for line_no, line_labels, text in read_labelled_lines(path):
        for label in line_labels:
            if label not in labels:
                raise error_at(
                    path,
                    line_no,
                    f"label {label!r} is not one of {', '.join(labels)}. "
                    "Add it to the labels option.",
                )
        if clean:
            text = clean_text(text)
        cats = {label: float(label in line_labels) for label in labels}
        doc = make_text_doc(path, line_no, nlp, text, cats, report)
        if doc is not None:
            yield doc


def read_labelled_lines(path: PathLike) -> Iterator[tuple[int, list[str], str]]:
    for line_no, line in read_lines(path):
        if not line.strip():
            continue
        labels = LABEL.findall(line)
        if not labels or not all(labels):
            lack = f"a {PREFIX!r} without a name" if labels else "no label"
            raise error_at(
                path,
                line_no,
                f"there is {lack} in the line {line[:20]!r}. A line is '{PREFIX}<label> <text>'.",
            )
        yield line_no, labels, LABEL.sub("", line).strip()
