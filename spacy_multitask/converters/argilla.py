"""Argilla's exports as data sets: answers to questions about a text.

In version 2, `dataset.records.to_datasets()` gives a column "<question>.responses" with the answers
of all users; in version 1, `to_datasets()` gives one column "annotation".

Source: https://docs.argilla.io/latest/how_to_guides/import_export
"""

from collections.abc import Iterator
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc

from .annotated import Annotated, CharSpan, DocMaker
from .records import Record, shorten
from .report import ConversionError, ConversionReport, PathLike
from .rows import parse_columns
from .tables import Table, open_dataset
from .votes import check_annotators, chosen, vote_labels, vote_spans

RESPONSES = ".responses"
ANNOTATION = "annotation"  # of version 1
# Of answers that count, in versions 2 and 1.
SUBMITTED = ("submitted", "Validated", None)


def read_argilla(
    path: PathLike,
    nlp: Language,
    report: ConversionReport,
    *,
    columns: str | None = None,
    split: str | None = None,
    annotators: str = "refuse",
    misaligned: str = "unknown",
    spans_key: str | None = None,
) -> Iterator[Doc]:
    """Read answers that are spans into `doc.ents`, those that are labels into `doc.cats`.

    Only submitted answers count; suggestions are no gold. A question that was not answered is
    unknown; of one that was, the other labels in the data are 0.0.

    path (PathLike): A folder that `save_to_disk` wrote, a Parquet or JSON lines file, or the name
        of a data set of the hub.
    nlp (Language): Tokenizes the texts.
    report (ConversionReport): Counts what is skipped.
    columns (Optional[str]): The field with the text, if it is not called "text", and the questions
        to read, if not all: "text=prompt,ner=entities,topic=kind".
    split (Optional[str]): Which part, where there are several, such as "train".
    annotators (str): Where a question has several answers: "first", "majority" (what more than half
        of them say; where it is just half, nothing is known) or "refuse".
    misaligned (str): Spans that cut a token: "unknown", "expand" or "contract".
    spans_key (Optional[str]): Key of `doc.spans` that the spans go to; None for `doc.ents`.
    YIELDS (Doc): The docs.
    RAISES (ConversionError): If a record is malformed, or the data set is none of Argilla.
    """
    check_annotators(annotators)
    make_doc = DocMaker(nlp, report, misaligned, spans_key)
    table = open_dataset(path, split, None)
    given = parse_columns(columns, ("text", "ner", "topic"))
    text_column = given.pop("text", ["text"])[0]
    questions = find_questions(path, table, given, report)
    options = find_options(table, questions)
    for row in table.rows():
        said = Annotated(row.path, row.line, row.get(text_column, str))
        answers_by_question = {
            question: chosen(
                submitted(row, question, report), annotators, report, row.path, row.line
            )
            for question in questions
        }
        spans = [
            [read_spans(row, question, answer) for answer in answers]
            for question, answers in answers_by_question.items()
            if question not in options and answers
        ]
        for answers in spans:
            agreed, unknown = vote_spans(answers)
            said.spans = [*(said.spans or []), *agreed]
            said.unknown.extend(unknown)
        for question, labels in options.items():
            made = [read_labels(row, question, answer) for answer in answers_by_question[question]]
            said.cats.update(vote_labels(made, labels))
        if said.spans is None and not said.cats:
            report.add_cause("record without a submitted answer: left out", row.path, row.line)
            continue
        doc = make_doc(said)
        if doc is not None:
            yield doc


def find_questions(
    path: PathLike, table: Table, given: dict[str, list[str]], report: ConversionReport
) -> list[str]:
    """RETURNS (List[str]): The columns of answers to the questions given, or of all."""
    found = [column for column in table.columns if column.endswith(RESPONSES)]
    if ANNOTATION in table.columns and "status" in table.columns:
        found.append(ANNOTATION)
    if not found:
        raise ConversionError(
            f"{path}: none of the columns {', '.join(table.columns)} holds answers, such as "
            f"'label{RESPONSES}'. Convert other data sets with the format datasets."
        )
    if not given:
        return found
    wanted = [f"{name}{RESPONSES}" for names in given.values() for name in names]
    for column in wanted:
        if column not in found:
            questions = ", ".join(name.removesuffix(RESPONSES) for name in found)
            raise ConversionError(
                f"{path}: there is no question {column.removesuffix(RESPONSES)!r}. "
                f"The questions are {questions}."
            )
    for column in found:
        if column not in wanted:
            report.add_cause(f"question {column.removesuffix(RESPONSES)}: not read")
    return wanted


def find_options(table: Table, questions: list[str]) -> dict[str, list[str]]:
    """RETURNS (Dict[str, List[str]]): The labels that occur, by question; questions about spans are
    not among them.
    """
    options: dict[str, dict[str, None]] = {}
    about_spans: set[str] = set()
    for row in table.rows():
        for question in questions:
            for answer in answers_of(row, question):
                if is_spans(answer):
                    about_spans.add(question)
                elif answer != [] and answer is not None:
                    labels = read_labels(row, question, answer)
                    options.setdefault(question, {}).update(dict.fromkeys(labels))
    return {name: sorted(found) for name, found in options.items() if name not in about_spans}


def is_spans(answer: Any) -> bool:
    return isinstance(answer, list) and bool(answer) and all(isinstance(a, dict) for a in answer)


def answers_of(row: Record, question: str) -> list[Any]:
    if question == ANNOTATION:
        value = row.fields.get(question)
        return [] if value is None else [value]
    return row.get(question, list, [])


def submitted(row: Record, question: str, report: ConversionReport) -> list[Any]:
    """RETURNS (List[Any]): The answers that were submitted; the others are counted."""
    answers = answers_of(row, question)
    if question == ANNOTATION:
        states = [row.get("status", str, None)] * len(answers)
    else:
        states = row.get(f"{question}.status", list, [None] * len(answers))
    if len(states) != len(answers):
        raise row.error(f"{question} has {len(answers)} answers, but {len(states)} states.")
    kept = []
    for answer, state in zip(answers, states):
        if state in SUBMITTED and answer is not None:
            kept.append(answer)
        else:
            report.add_cause(f"answer that is {state}: left out", row.path, row.line)
    return kept


def read_spans(row: Record, question: str, answer: Any) -> list[CharSpan]:
    if not isinstance(answer, list):
        raise row.error(f"{question} holds {shorten(answer)}, but other answers are spans.")
    spans = [row.item(f"{question}[{i}]", item) for i, item in enumerate(answer)]
    return [
        CharSpan(span.get("start", int), span.get("end", int), span.get("label", str))
        for span in spans
    ]


def read_labels(row: Record, question: str, answer: Any) -> list[str]:
    """RETURNS (List[str]): The labels of an answer, which is one or a list of them."""
    labels = answer if isinstance(answer, list) else [answer]
    for label in labels:
        if not isinstance(label, str) or not label:
            raise row.error(
                f"{question} holds {shorten(label)}, which is no label and no span. Say which "
                "questions to read with the option columns: 'ner=entities,topic=kind'."
            )
    return labels
