r"""AG News: CSV lines of class (1 to 4), title and description.

The texts went through a broken HTML cleaner: "&" became a blank ("Dell #39;s", "AT amp;T"), line
breaks became backslashes ("a\man") and "$" got one.

Source: Zhang, Zhao and LeCun (2015), https://arxiv.org/abs/1509.01626
"""

import csv
import html
import re
from collections.abc import Iterator, Sequence

from spacy.language import Language
from spacy.tokens import Doc

from .gold import make_text_doc
from .lines import read_lines
from .report import ConversionError, ConversionReport, PathLike, error_at

LABELS = ("World", "Sports", "Business", "Sci/Tech")

# A blank stands where the cleaner took an "&", so exactly one goes. The list is closed, because
# "lat;" and many another word before a semicolon is an entity of HTML 5 too.
BROKEN_ENTITY = re.compile(
    r"(?:^|[ &])(#\d{2,5}|quot|amp|lt|gt|apos|nbsp|hellip|[mn]dash|[lr][sd]quo|cent|pound|yen|euro"
    r"|copy|reg|trade|[A-Za-z](?:acute|grave|circ|uml|tilde|cedil));"
)
# Tags of HTML by name: "<DELL.O>" is a ticker.
INLINE_TAG = re.compile(r"</?(?:a|b|i|u|em|strong|font|span|tt|sup|sub)(?:\s[^<>]*)?/?>", re.I)
BLOCK_TAG = re.compile(
    r"</?(?:p|br|hr|img|div|table|tbody|tr|td|th|ul|ol|li|h[1-6]|center|blockquote|pre)"
    r"(?:\s[^<>]*)?/?>",
    re.I,
)


def read_ag_news(
    path: PathLike,
    nlp: Language,
    report: ConversionReport,
    *,
    labels: Sequence[str] = LABELS,
    clean: bool = False,
) -> Iterator[Doc]:
    """Read the class into `doc.cats`, where all labels have a value: 1.0 or 0.0.

    path (PathLike): The file, plain or gzipped.
    nlp (Language): Tokenizes the texts: title and description with a blank between them.
    report (ConversionReport): Counts what is skipped.
    labels (Sequence[str]): Names of the classes 1, 2, 3 and 4.
    clean (bool): Remove the debris: backslashes, broken HTML entities, tags.
    YIELDS (Doc): The docs.
    RAISES (ConversionError): If a line is malformed.
    """
    if len(labels) != len(LABELS) or len(set(labels)) != len(LABELS) or not all(labels):
        raise ConversionError(
            f"labels is {', '.join(labels)!r}, but must be {len(LABELS)} different names, "
            f"as {','.join(LABELS)}."
        )
    for line_no, line in read_lines(path):
        if not line.strip():
            continue
        record = parse_record(path, line_no, line)
        if line_no == 1 and record[0].lower().startswith("class"):
            report.add_cause("header line: skipped", path, line_no)
            continue
        if record[0] not in ("1", "2", "3", "4"):
            raise error_at(
                path,
                line_no,
                f"class {record[0]!r} is not 1, 2, 3 or 4. "
                'A line is "class","title","description".',
            )
        text = " ".join(part for part in record[1:] if part)
        if clean:
            text = clean_text(text)
        cats = {label: float(i == int(record[0])) for i, label in enumerate(labels, start=1)}
        doc = make_text_doc(path, line_no, nlp, text, cats, report)
        if doc is not None:
            yield doc


def parse_record(path: PathLike, line_no: int, line: str) -> list[str]:
    """Split one CSV line. The corpus has no line breaks in its fields, so an open quote is an
    error at its own line and cannot swallow the lines after it.
    """
    try:
        records = list(csv.reader([line], strict=True))
    except csv.Error as err:
        raise error_at(
            path,
            line_no,
            f"the line is not valid CSV: {err}. Fields stand in double quotes that are closed on "
            "the same line; a quote inside a field is doubled.",
        ) from err
    if len(records[0]) != 3:
        raise error_at(
            path,
            line_no,
            f"{len(records[0])} fields instead of 3. "
            'A line is "class","title","description"; the title may be empty.',
        )
    return records[0]


def clean_text(text: str) -> str:
    r"""Undo the damage of the HTML cleaner.

    text (str): Text as it is in the corpus: "Dell #39;s  #36;3\billion &lt;b&gt;deal&lt;/b&gt;".
    RETURNS (str): Text without debris, with single blanks: "Dell's $3 billion deal".
    """
    text = re.sub(r'\\([$"#&])', r"\1", text)
    text = text.replace("\\", " ")
    text = html.unescape(BROKEN_ENTITY.sub(r"&\1;", text))
    text = BLOCK_TAG.sub(" ", INLINE_TAG.sub("", text))
    return " ".join(text.split())
