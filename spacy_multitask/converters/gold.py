"""From what a file says of a doc to the doc's layers: tags, spans of tokens, categories."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from spacy.language import Language
from spacy.parts_of_speech import IDS as POS_IDS
from spacy.tokens import Doc, Span, SpanGroup

from .iob import IOBDecoder
from .report import ConversionReport, PathLike, error_at
from .sentences import Sentence

# First token, end (exclusive) and label.
TokenSpan = tuple[int, int, str]
# Attribute of a group of spans: tokens of which nothing is known, a list of their places. It is
# kept where the group is: in a DocBin, and in what Doc.to_bytes gives.
UNKNOWN_TOKENS = "unknown"


def make_text_doc(
    path: PathLike,
    line: int | str,
    nlp: Language,
    text: str,
    cats: dict[str, float],
    report: ConversionReport,
) -> Doc | None:
    """Tokenize a text and give it its categories.

    RETURNS (Optional[Doc]): The doc, or None for a text without words, which is counted.
    RAISES (ConversionError): If the text is longer than `nlp.max_length` characters.
    """
    if not text.strip():
        report.add_cause("empty text: skipped", path, line)
        return None
    if len(text) > nlp.max_length:
        raise error_at(
            path,
            line,
            f"the text has {len(text):,} characters, more than the {nlp.max_length:,} that spaCy "
            "tokenizes. Check that lines end where texts do.",
        )
    doc = nlp.make_doc(text)
    doc.cats = cats
    return doc


def trim_blanks(
    words: Sequence[str],
    span: TokenSpan,
    report: ConversionReport,
    path: PathLike,
    line: int | str,
) -> TokenSpan | None:
    """Take tokens of blanks off a span's edges: newlines, double spaces, no-break spaces.

    RETURNS (Optional[TokenSpan]): The span, or None if it has no other tokens. Both are counted.
    """
    start, end, label = span
    while start < end and words[start].isspace():
        start += 1
    while start < end and words[end - 1].isspace():
        end -= 1
    if start == end:
        report.add_cause("span of blanks alone: left out", path, line)
        return None
    if (start, end) != span[:2]:
        report.add_cause("span with blanks at its edges: trimmed", path, line)
    return start, end, label


def spans_of(
    path: PathLike,
    sentences: Iterable[Sentence],
    decode: IOBDecoder,
    column: int,
    report: ConversionReport,
) -> list[TokenSpan]:
    """RETURNS (List[TokenSpan]): Spans in a column of the sentences, by tokens of their doc."""
    spans: list[TokenSpan] = []
    offset = 0
    for sentence in sentences:
        words = sentence.words
        for span in decode(sentence.column(column), sentence.lines):
            trimmed = trim_blanks(words, span, report, path, sentence.line + span[0])
            if trimmed is not None:
                spans.append((offset + trimmed[0], offset + trimmed[1], trimmed[2]))
        offset += len(sentence.rows)
    return spans


def set_entities(
    doc: Doc,
    spans: Sequence[TokenSpan],
    report: ConversionReport,
    path: PathLike,
    line: int | str,
    *,
    unknown: Iterable[int] = (),
    partial: bool = False,
) -> list[Span | None]:
    """Write spans to `doc.ents`.

    Where spans overlap, which `doc.ents` cannot hold, their tokens are unknown.

    doc (Doc): The doc.
    spans (Sequence[TokenSpan]): The entities.
    unknown (Iterable[int]): Tokens of which nothing is known.
    partial (bool): Whether nothing is known of the tokens outside of the spans, either.
    RETURNS (List[Optional[Span]]): For each span the entity, or None if it was left out.
    """
    distinct = dict.fromkeys(spans)
    if len(distinct) < len(spans):
        n_twice = len(spans) - len(distinct)
        report.add_cause("span that is there twice: kept once", path, line, n_twice)
    covered = Counter(token for start, end, _ in distinct for token in range(start, end))
    overlapping = [
        span for span in distinct if any(covered[token] > 1 for token in range(span[0], span[1]))
    ]
    if overlapping:
        cause = "span that overlaps another: its tokens are unknown in doc.ents"
        report.add_cause(cause, path, line, len(overlapping))
    missing = {*unknown, *(token for span in overlapping for token in range(span[0], span[1]))}
    kept: dict[TokenSpan, Span] = {}
    for span in distinct:
        tokens = range(span[0], span[1])
        if missing.isdisjoint(tokens):
            kept[span] = Span(doc, span[0], span[1], label=span[2])
        elif span not in overlapping:
            report.add_cause("span on tokens that are unknown: left out", path, line)
            missing.update(tokens)
    doc.set_ents(
        list(kept.values()),
        missing=[Span(doc, token, token + 1) for token in sorted(missing)],
        default="missing" if partial else "outside",
    )
    return [kept.get(span) for span in spans]


def set_spans(
    doc: Doc, key: str, spans: Iterable[TokenSpan], unknown: Collection[int] = ()
) -> list[Span]:
    """Write spans to `doc.spans[key]`, where they may overlap; none is 'there are none'.

    unknown (Collection[int]): Tokens of which nothing is known.
    RETURNS (List[Span]): Each of them.
    """
    group = [Span(doc, start, end, label=label) for start, end, label in spans]
    attrs = {UNKNOWN_TOKENS: sorted(unknown)} if unknown else {}
    doc.spans[key] = SpanGroup(doc, name=key, attrs=attrs, spans=group)
    return group


class PosColumn:
    """Parts of speech of one file, of which the first values tell what they are.

    Universal ones go to `token.pos_`, those of another tag set to `token.tag_`.

    path (PathLike): The file, for errors.
    report (ConversionReport): Is told of another tag set.
    """

    def __init__(self, path: PathLike, report: ConversionReport) -> None:
        self.path = path
        self.report = report
        self.layer = ""

    def __call__(
        self, values: Sequence[str], lines: Sequence[int | str]
    ) -> tuple[str, Sequence[str]]:
        """Look at the values of one doc.

        values (Sequence[str]): A value for each token; empty where it is missing.
        lines (Sequence[Union[int, str]]): The place of each token, as `error_at` takes it.
        RETURNS (Tuple[str, Sequence[str]]): The layer, "pos" or "tag", and the values.
        RAISES (ConversionError): If a value is not universal and those before it were.
        """
        other = next((i for i, value in enumerate(values) if value not in POS_IDS), None)
        if not self.layer and any(values):
            self.layer = "pos" if other is None else "tag"
            if other is not None:
                self.report.add_cause(
                    f"parts of speech such as {values[other]!r}, which are not universal: "
                    "kept as token.tag_",
                    self.path,
                    lines[other],
                )
        elif self.layer == "pos" and other is not None:
            raise error_at(
                self.path,
                lines[other],
                f"{values[other]!r} is not a universal part of speech, as all before it are. "
                "Correct it, or call the column 'tag', which takes any tags.",
            )
        return self.layer or "pos", values
