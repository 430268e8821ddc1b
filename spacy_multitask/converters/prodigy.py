"""Prodigy's JSON lines, as `prodigy db-out` writes them: spans, choices, relations.

Source: https://prodi.gy/docs/api-interfaces
"""

from collections.abc import Iterator

from spacy.language import Language
from spacy.tokens import Doc

from .annotated import Annotated, CharRelation, CharSpan, DocMaker
from .records import Record, read_records
from .report import ConversionError, ConversionReport, PathLike

# What is done with a rejected example that has one label.
REJECTED = ("unknown", "negative")
ANSWERS = ("accept", "reject", "ignore")
# Interfaces in which all spans of the text are marked, so that no spans is "there are none".
WITH_SPANS = ("ner_manual", "spans_manual", "relations")
# Those in which a span is accepted by itself: nothing is known of the rest of the text.
ONE_SPAN = ("ner", "spans")
# Those that are about the whole text; spans in them are only highlights.
WITHOUT_SPANS = ("classification", "choice")


def read_prodigy(
    path: PathLike,
    nlp: Language,
    report: ConversionReport,
    *,
    rejected: str = "unknown",
    misaligned: str = "unknown",
    spans_key: str | None = None,
) -> Iterator[Doc]:
    """Read accepted examples: spans into `doc.ents`, options and labels into `doc.cats`, relations
    into `doc._.relations`.

    Rejected and ignored examples are left out and counted. An option that was not chosen is 0.0; of
    a label that was accepted by itself the others are unknown. Where the interface ("_view_id") is
    `ner` or `spans`, what is outside of the accepted spans is unknown.

    path (PathLike): The file, plain or gzipped.
    nlp (Language): Tokenizes the texts whose examples have no tokens.
    report (ConversionReport): Counts what is skipped.
    rejected (str): "negative" to take the label of a rejected example for false where the example
        has one label and no spans; "unknown" to leave it out.
    misaligned (str): Spans that cut a token: "unknown", "expand" or "contract".
    spans_key (Optional[str]): Key of `doc.spans` that the spans go to; None for `doc.ents`.
    YIELDS (Doc): The docs.
    RAISES (ConversionError): If an example is malformed.
    """
    if rejected not in REJECTED:
        raise ConversionError(f"rejected is {rejected!r}, but must be {' or '.join(REJECTED)}.")
    make_doc = DocMaker(nlp, report, misaligned, spans_key)
    with_relations = any("relations" in record.fields for record in read_records(path))
    for record in read_records(path):
        answer = record.get("answer", str, "accept")
        if answer not in ANSWERS:
            raise record.error(f"answer is {answer!r}, but must be one of {', '.join(ANSWERS)}.")
        said = read_example(record, report, answer == "accept", with_relations)
        is_label = said.spans is None and list(said.cats) == [record.fields.get("label")]
        if answer != "accept" and not (answer == "reject" and is_label and rejected == "negative"):
            hint = "" if answer == "ignore" or not is_label else " (see the option rejected)"
            report.add_cause(f"answer {answer}: left out{hint}", record.path, record.line)
        elif said.spans is None and not said.cats:
            report.add_cause("example without gold: left out", record.path, record.line)
        else:
            doc = make_doc(said)
            if doc is not None:
                yield doc


def read_example(
    record: Record, report: ConversionReport, accepted: bool, with_relations: bool
) -> Annotated:
    """RETURNS (Annotated): What an example says.

    with_relations (bool): Whether the file has relations: an example of that interface without
        any says then that there are none.
    """
    view = record.get("_view_id", str, "")
    said = Annotated(record.path, record.line, record.get("text", str))
    said.words = read_tokens(record)
    if view in WITHOUT_SPANS:
        if record.get("spans", list, []):
            cause = f"example with highlights in the interface {view}: no spans taken"
            report.add_cause(cause, record.path, record.line)
    elif "spans" in record.fields or view in WITH_SPANS:
        said.partial = view in ONE_SPAN
        said.spans = [
            CharSpan(span.get("start", int), span.get("end", int), span.get("label", str))
            for span in record.items("spans")
        ]
        if with_relations and (view == "relations" or "relations" in record.fields):
            said.relations = read_relations(record, said.spans)
    if "options" in record.fields:
        said.cats = read_choice(record)
    elif "label" in record.fields and view not in (*WITH_SPANS, *ONE_SPAN):
        said.cats = {record.get("label", str): float(accepted)}
    return said


def read_tokens(record: Record) -> list[tuple[int, int]] | None:
    if "tokens" not in record.fields:
        return None
    return [(token.get("start", int), token.get("end", int)) for token in record.items("tokens")]


def read_choice(record: Record) -> dict[str, float]:
    """RETURNS (Dict[str, float]): 1.0 for the options that were chosen, 0.0 for the others; empty
    where one had to be chosen and none was.
    """
    ids = [str(option.get("id", (str, int))) for option in record.items("options")]
    chosen = record.texts("accept") if "accept" in record.fields else []
    for label in chosen:
        if label not in ids:
            raise record.error(f"accept holds {label!r}, which is none of {', '.join(ids)}.")
    config = record.within("config")
    # Prodigy's own default is a single choice.
    style = config.get("choice_style", str, "single") if config is not None else "single"
    if not chosen and style == "single":
        return {}
    return {label: float(label in chosen) for label in ids}


def read_relations(record: Record, spans: list[CharSpan]) -> list[CharRelation]:
    """RETURNS (List[CharRelation]): Relations, of which one end or both may be no span."""
    places = {(span.start, span.end): i for i, span in enumerate(spans)}
    relations: list[CharRelation] = []
    for relation in record.items("relations"):
        ends = [
            None if span is None else places.get((span.get("start", int), span.get("end", int)))
            for span in (relation.within("head_span"), relation.within("child_span"))
        ]
        relations.append((ends[0], ends[1], relation.get("label", str)))
    return relations
