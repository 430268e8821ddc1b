"""Label Studio's JSON export: regions with labels, choices, relations.

Source: https://labelstud.io/guide/export and https://labelstud.io/guide/task_format
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from spacy.language import Language
from spacy.tokens import Doc

from .annotated import Annotated, CharSpan, DocMaker
from .records import Record, read_records, shorten
from .report import ConversionReport, PathLike
from .rows import parse_columns
from .votes import check_annotators, chosen, majority, vote_labels, vote_spans

DIRECTIONS = ("right", "left", "bi")
# Kinds of results that are read, besides relations.
SPANS, CHOICES, RELATION = "labels", "choices", "relation"
NO_LABEL = "related"  # of a relation that has none


# Head and tail, None for a region that is not read, and label.
LSRelation = tuple[CharSpan | None, CharSpan | None, str]


@dataclass
class Answer:
    """What one annotator says of a text.

    spans (List[CharSpan]): The regions.
    choices (Dict[str, List[str]]): What was chosen, by the name of the control.
    relations (List[LSRelation]): The relations.
    unread (List[str]): Results that are not read, by what they are.
    """

    spans: list[CharSpan] = field(default_factory=list)
    choices: dict[str, list[str]] = field(default_factory=dict)
    relations: list[LSRelation] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


@dataclass
class Project:
    """What the tasks of a file ask for, as far as their results show it.

    spans, relations (bool): Whether there is one in the file.
    options (Dict[str, Dict[str, None]]): The choices that occur, by the name of the control.
    """

    spans: bool = False
    relations: bool = False
    options: dict[str, dict[str, None]] = field(default_factory=dict)


def read_label_studio(
    path: PathLike,
    nlp: Language,
    report: ConversionReport,
    *,
    annotators: str = "refuse",
    columns: str | None = None,
    misaligned: str = "unknown",
    spans_key: str | None = None,
) -> Iterator[Doc]:
    """Read labelled regions into `doc.ents`, choices into `doc.cats`, relations into
    `doc._.relations`.

    In a file with regions, an annotation without any says that there are none; so with relations. A
    choice that was not made is unknown; of one that was made the other options in the file are 0.0.
    Tasks without annotation and cancelled annotations are left out, and predictions are no gold.

    path (PathLike): The file, plain or gzipped; it is read whole.
    nlp (Language): Tokenizes the texts.
    report (ConversionReport): Counts what is skipped.
    annotators (str): Where a task has several annotations: "first", "majority" (what more than half
        of them say; where it is just half, nothing is known) or "refuse".
    columns (Optional[str]): Key of the text in a task's data: "text=body". None for "text", or the
        only one.
    misaligned (str): Spans that cut a token: "unknown", "expand" or "contract".
    spans_key (Optional[str]): Key of `doc.spans` that the regions go to; None for `doc.ents`.
    YIELDS (Doc): The docs.
    RAISES (ConversionError): If a task is malformed.
    """
    check_annotators(annotators)
    text_key = parse_columns(columns, ("text",)).get("text", [None])[0]
    make_doc = DocMaker(nlp, report, misaligned, spans_key)
    project = Project()
    for task in read_records(path):
        for annotation in annotations_of(task):
            look_into(annotation, project)
    for task in read_records(path):
        predictions = task.get("predictions", list, [])
        if predictions:
            cause = "prediction of a model: no gold"
            report.add_cause(cause, task.path, task.line, len(predictions))
        text = text_of(task, text_key)
        answers = []
        for annotation in annotations_of(task):
            if annotation.get("was_cancelled", bool, False):
                report.add_cause("cancelled annotation: left out", task.path, task.line)
            else:
                answers.append(read_annotation(annotation, text))
        answers = chosen(answers, annotators, report, task.path, task.line)
        for answer in answers:
            for what in answer.unread:
                report.add_cause(f"{what}: left out", task.path, task.line)
        if not answers:
            report.add_cause("task without annotation: left out", task.path, task.line)
            continue
        said = join_answers(task, text, answers, project)
        if said.spans is None and not said.cats:
            report.add_cause("task without gold: left out", task.path, task.line)
            continue
        doc = make_doc(said)
        if doc is not None:
            yield doc


def annotations_of(task: Record) -> list[Record]:
    """RETURNS (List[Record]): The annotations, under today's name or the one of old versions.

    RAISES (ConversionError): If there are none, as in the exports for other programs.
    """
    if "annotations" not in task.fields and "completions" not in task.fields:
        raise task.error(
            f"the task has no annotations, only {', '.join(task.fields) or 'nothing'}. Export the "
            "project as JSON, not as JSON-MIN or for another program."
        )
    return task.items("annotations" if "annotations" in task.fields else "completions")


def look_into(annotation: Record, project: Project) -> None:
    for result in annotation.items("result"):
        kind = result.get("type", str)
        project.spans = project.spans or kind == SPANS
        project.relations = project.relations or kind == RELATION
        if is_choice(result):
            name = result.get("from_name", str)
            project.options.setdefault(name, {}).update(
                dict.fromkeys(value_of(result).texts("choices"))
            )


def is_choice(result: Record) -> bool:
    """Tell a choice for the text from one for a region."""
    return result.get("type", str) == CHOICES and "start" not in value_of(result).fields


def value_of(result: Record) -> Record:
    value = result.within("value")
    if value is None:
        raise result.error(f"there is no {result.name}value.")
    return value


def text_of(task: Record, key: str | None) -> str:
    data = task.within("data")
    if data is None:
        raise task.error("there is no data, which must be an object with the text.")
    if key is None:
        texts = [name for name, value in data.fields.items() if isinstance(value, str)]
        if "text" not in texts and len(texts) != 1:
            raise task.error(
                f"data holds {', '.join(data.fields) or 'nothing'}. Say which of them is the text "
                f"with the option columns, such as 'text={next(iter(texts), 'body')}'."
            )
        key = "text" if "text" in texts else texts[0]
    return data.get(key, str)


def read_annotation(annotation: Record, text: str) -> Answer:
    answer = Answer()
    by_id: dict[str, CharSpan | None] = {}
    relations = []
    for result in annotation.items("result"):
        kind = result.get("type", str)
        spans: list[CharSpan] = []
        if kind == RELATION:
            relations.append(result)
        elif kind == SPANS:
            spans = read_region(result, text)
            answer.spans.extend(spans)
            answer.unread.extend([] if spans else ["region without a label"])
        elif is_choice(result):
            answer.choices[result.get("from_name", str)] = value_of(result).texts("choices")
        else:
            region = " for a region" if kind == CHOICES else ""
            answer.unread.append(f"result of the type {kind}{region}")
        by_id.setdefault(result.get("id", str, ""), spans[0] if spans else None)
    for result in relations:
        answer.relations.extend(read_relation(result, by_id))
    return answer


def read_region(result: Record, text: str) -> list[CharSpan]:
    """RETURNS (List[CharSpan]): The region, once for each of its labels.

    RAISES (ConversionError): If it has another text than there is at its place.
    """
    value = value_of(result)
    start, end = value.get("start", int), value.get("end", int)
    written = value.get("text", str, text[start:end])
    if not _same(written, text[start:end]):
        # Browsers count the halves of characters beyond the first 65,536.
        units = text.encode("utf-16-le", "surrogatepass")
        before = units[: 2 * start].decode("utf-16-le", "replace")
        inner = units[2 * start : 2 * end].decode("utf-16-le", "replace")
        if not _same(inner, written):
            raise result.error(
                f"{value.name}text is {shorten(written)}, but from character {start} to {end} "
                f"there is {shorten(text[start:end])}."
            )
        start, end = len(before), len(before) + len(inner)
    return [CharSpan(start, end, label) for label in value.texts("labels")]


def _same(one: str, other: str) -> bool:
    """Compare texts but for their blanks, which browsers change."""
    return "".join(one.split()) == "".join(other.split())


def read_relation(result: Record, by_id: dict[str, CharSpan | None]) -> list[LSRelation]:
    """RETURNS (List[LSRelation]): The relation for each of its labels, and both ways where it has
    no direction.
    """
    ends = []
    for key in ("from_id", "to_id"):
        name = result.get(key, str)
        if name not in by_id:
            raise result.error(f"{result.name}{key} is {name!r}, which is no result of the task.")
        ends.append(by_id[name])
    direction = result.get("direction", str, "right")
    if direction not in DIRECTIONS:
        raise result.error(
            f"{result.name}direction is {direction!r}, but must be one of {', '.join(DIRECTIONS)}."
        )
    labels = result.texts("labels") if result.get("labels", list, []) else [NO_LABEL]
    head, tail = ends if direction != "left" else ends[::-1]
    found = [(head, tail, label) for label in labels]
    if direction == "bi":
        found += [(tail, head, label) for label in labels]
    return found


def join_answers(task: Record, text: str, answers: list[Answer], project: Project) -> Annotated:
    """RETURNS (Annotated): What the annotators agree on."""
    said = Annotated(task.path, task.line, text)
    if project.spans:
        said.spans, said.unknown = vote_spans([answer.spans for answer in answers])
        if project.relations:
            places: dict[CharSpan | None, int] = {span: i for i, span in enumerate(said.spans)}
            said.relations = [
                (places.get(head), places.get(tail), label)
                for head, tail, label in majority([answer.relations for answer in answers])
            ]
    for name, options in project.options.items():
        made = [answer.choices[name] for answer in answers if name in answer.choices]
        said.cats.update(vote_labels(made, options))
    return said
