"""What annotation tools say of a text, by characters, and the doc that is made of it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from spacy.language import Language
from spacy.tokens import Doc, Span

from ..relations import set_relations
from .gold import TokenSpan, make_text_doc, set_entities, set_spans
from .records import shorten
from .report import ConversionError, ConversionReport, PathLike, error_at

# What is done with spans that begin or end within a token, and how the report says it.
MISALIGNED = {
    "unknown": "its tokens are unknown",
    "expand": "all of its tokens taken",
    "contract": "its whole tokens taken",
}


class CharSpan(NamedTuple):
    """First character, end (exclusive) and label."""

    start: int
    end: int
    label: str


# Places of head and tail in a list of spans, None for what is not in it, and label.
CharRelation = tuple[int | None, int | None, str]


@dataclass
class Annotated:
    """A text with what is known of it.

    path (PathLike): The file.
    line (Union[int, str]): Its line, or what the place is called.
    text (str): The text.
    words (Optional[List[Tuple[int, int]]]): Characters of its tokens, if they are given.
    spans (Optional[List[CharSpan]]): The spans; None if nothing is known of spans.
    partial (bool): Whether nothing is known of what is outside of the spans.
    unknown (List[Tuple[int, int]]): Characters of which nothing is known.
    relations (Optional[List[CharRelation]]): Relations between the spans; None if nothing is known
        of them.
    cats (Dict[str, float]): The categories; empty if nothing is known of them.
    """

    path: PathLike
    line: int | str
    text: str
    words: list[tuple[int, int]] | None = None
    spans: list[CharSpan] | None = None
    partial: bool = False
    unknown: list[tuple[int, int]] = field(default_factory=list)
    relations: list[CharRelation] | None = None
    cats: dict[str, float] = field(default_factory=dict)

    def error(self, message: str) -> ConversionError:
        return error_at(self.path, self.line, message)


class DocMaker:
    """Makes docs of annotated texts.

    nlp (Language): Tokenizes the texts whose tokens are not given.
    report (ConversionReport): Counts what is left out.
    misaligned (str): What to do with spans that begin or end within a token: leave their tokens
        "unknown", "expand" them to the token's ends, or "contract" them to the whole tokens.
    spans_key (Optional[str]): Key of `doc.spans` that spans go to; None for `doc.ents`.
    RAISES (ConversionError): If `misaligned` is none of these.
    """

    def __init__(
        self,
        nlp: Language,
        report: ConversionReport,
        misaligned: str = "unknown",
        spans_key: str | None = None,
    ) -> None:
        if misaligned not in MISALIGNED:
            raise ConversionError(
                f"misaligned is {misaligned!r}, but must be one of {', '.join(MISALIGNED)}."
            )
        self.nlp = nlp
        self.report = report
        self.misaligned = misaligned
        self.spans_key = spans_key

    def __call__(self, said: Annotated) -> Doc | None:
        """RETURNS (Optional[Doc]): The doc, or None for a text without words, which is counted.

        RAISES (ConversionError): If a span is not within the text.
        """
        doc = self._tokenize(said)
        if doc is None or said.spans is None:
            return doc
        unknown = self._tokens_at(doc, said.unknown)
        spans: list[TokenSpan | None] = []
        for span in said.spans:
            tokens, not_known = self._align(doc, span, said)
            spans.append(tokens)
            unknown.update(not_known)
        placed = self._set_spans(doc, spans, unknown, said)
        if said.relations is not None:
            self._set_relations(doc, said.relations, placed, said)
        return doc

    def _tokenize(self, said: Annotated) -> Doc | None:
        doc = None
        if said.words is not None and said.text.strip():
            doc = doc_with_words(self.nlp, said.text, said.words)
            if doc is None:
                cause = "text that its tokens do not spell: tokenized anew"
                self.report.add_cause(cause, said.path, said.line)
        if doc is None:
            return make_text_doc(said.path, said.line, self.nlp, said.text, said.cats, self.report)
        doc.cats = said.cats
        return doc

    def _align(
        self, doc: Doc, span: CharSpan, said: Annotated
    ) -> tuple[TokenSpan | None, Iterable[int]]:
        """RETURNS (Tuple[Optional[TokenSpan], Iterable[int]]): The span by tokens, if there is one,
        and the tokens of which nothing is known.
        """
        start, end, label = span
        if not 0 <= start < end <= len(said.text) or not label:
            raise said.error(
                f"the span from character {start} to {end} with the label {label!r} is empty, has "
                f"no label, or goes past the text, which has {len(said.text):,} characters."
            )
        inner = said.text[start:end]
        if not inner.strip():
            self._count("span of blanks alone: left out", said)
            return None, ()
        if inner != inner.strip():
            self._count("span with blanks at its edges: trimmed", said)
            start += len(inner) - len(inner.lstrip())
            end -= len(inner) - len(inner.rstrip())
        found = doc.char_span(start, end)
        if found is None:
            wide = doc.char_span(start, end, alignment_mode="expand")
            assert wide is not None, "it is within the text"
            self._count(f"span that cuts a token: {MISALIGNED[self.misaligned]}", said)
            self.report.misaligned.update(_cut_tokens(wide, start, end))
            if self.misaligned == "expand":
                found = wide
            elif self.misaligned == "contract":
                found = doc.char_span(start, end, alignment_mode="contract")
            if not found:
                return None, range(wide.start, wide.end)
        return (found.start, found.end, label), ()

    def _set_spans(
        self, doc: Doc, spans: list[TokenSpan | None], unknown: set[int], said: Annotated
    ) -> list[Span | None]:
        """RETURNS (List[Optional[Span]]): What became of each span."""
        known = [span for span in spans if span is not None]
        if self.spans_key is None:
            entities: list[Span | None] = list(
                set_entities(
                    doc,
                    known,
                    self.report,
                    said.path,
                    said.line,
                    unknown=unknown,
                    partial=said.partial,
                )
            )
        else:
            if said.partial:
                within = {token for start, end, _ in known for token in range(start, end)}
                unknown = unknown | (set(range(len(doc))) - within)
            entities = list(set_spans(doc, self.spans_key, known, unknown))
        placed = iter(entities)
        return [None if span is None else next(placed) for span in spans]

    def _set_relations(
        self,
        doc: Doc,
        relations: list[CharRelation],
        placed: list[Span | None],
        said: Annotated,
    ) -> None:
        kept = []
        for head, tail, label in relations:
            head_span = None if head is None else placed[head]
            tail_span = None if tail is None else placed[tail]
            if head_span is None or tail_span is None:
                self._count("relation of what is no span, or none that was kept: left out", said)
            else:
                kept.append((head_span, tail_span, label, 1.0))
        set_relations(doc, kept)

    def _tokens_at(self, doc: Doc, places: list[tuple[int, int]]) -> set[int]:
        tokens: set[int] = set()
        for start, end in places:
            span = doc.char_span(start, end, alignment_mode="expand")
            tokens.update(range(span.start, span.end) if span else ())
        return tokens

    def _count(self, cause: str, said: Annotated) -> None:
        self.report.add_cause(cause, said.path, said.line)


def _cut_tokens(wide: Span, start: int, end: int) -> list[str]:
    """RETURNS (List[str]): Each token that a span cuts, behind the part of it."""
    cases = []
    for token in dict.fromkeys((wide[0], wide[-1])):
        first = max(start - token.idx, 0)
        last = min(end - token.idx, len(token))
        if (first, last) != (0, len(token)):
            cases.append(f"{shorten(token.text[first:last])} of {shorten(token.text)}")
    return cases


def doc_with_words(nlp: Language, text: str, words: list[tuple[int, int]]) -> Doc | None:
    """Make a doc of a text whose tokens are given.

    words (List[Tuple[int, int]]): First character and end (exclusive) of each token.
    RETURNS (Optional[Doc]): The doc; None if tokens and single blanks do not spell the text.
    """
    tokens = [text[start:end] for start, end in words]
    ends = [start for start, _ in words[1:]] + [len(text)]
    spaces = [end < following for (_, end), following in zip(words, ends)]
    if not words or not all(tokens):
        return None
    if "".join(token + " " * space for token, space in zip(tokens, spaces)) != text:
        return None
    return Doc(nlp.vocab, words=tokens, spaces=spaces)
