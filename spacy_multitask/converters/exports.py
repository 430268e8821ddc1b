"""Predictions as suggestions for annotation tools, in the forms that `convert` reads.

Sources: https://prodi.gy/docs/api-interfaces, https://labelstud.io/guide/predictions,
https://doccano.github.io/doccano, https://docs.argilla.io/latest/how_to_guides/record
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from html import escape
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from spacy.tokens import Doc, Span

from ..relations import Relation
from ..safe_files import write_text

Fields = dict[str, Any]


class Choice(NamedTuple):
    """Labels for a whole text.

    name (str): Of the question.
    labels (List[str]): All there are.
    chosen (List[str]): Those that are suggested.
    exclusive (bool): Whether one of them is true.
    """

    name: str
    labels: list[str]
    chosen: list[str]
    exclusive: bool


@dataclass
class Suggestion:
    """What a model says of a text.

    doc (Doc): The text with its tokens.
    uncertainty (float): From 0 to 1.
    spans (Optional[List[Span]]): None if the model looks for none.
    span_labels (List[str]): All that there are.
    choices (List[Choice]): Labels for the whole text.
    relations (Optional[List[Relation]]): Between spans; None if the model looks for none.
    """

    doc: Doc
    uncertainty: float
    spans: list[Span] | None = None
    span_labels: list[str] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    relations: list[Relation] | None = None


def write_suggestions(suggestions: Iterable[Suggestion], path: Path, tool: str) -> None:
    """Write a file to import into a tool.

    tool (str): One of TOOLS.
    RAISES (SavingError): If it can't be written.
    """
    numbers = count(1)
    records = [TOOLS[tool](suggestion, numbers) for suggestion in suggestions]
    if tool == "labelstudio":  # it wants a list
        text = json.dumps(records, ensure_ascii=False, indent=1) + "\n"
    else:
        text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    write_text(path, text)


def _prodigy(found: Suggestion, _: Any) -> Fields:
    doc = found.doc
    record: Fields = {
        "text": doc.text,
        "meta": {"uncertainty": round(found.uncertainty, 4)},
        "tokens": [
            {
                "text": token.text,
                "start": token.idx,
                "end": token.idx + len(token),
                "id": token.i,
                "ws": bool(token.whitespace_),
            }
            for token in doc
        ],
    }
    if found.spans is not None:
        record["spans"] = [_prodigy_span(span) for span in found.spans]
    if found.choices:
        one = found.choices[0]
        single = len(found.choices) == 1 and one.exclusive
        record["options"] = [{"id": n, "text": n} for c in found.choices for n in c.labels]
        record["accept"] = [name for c in found.choices for name in c.chosen]
        record["config"] = {"choice_style": "single" if single else "multiple"}
    if found.relations is not None:
        record["relations"] = [
            {
                "head": relation.head.end - 1,
                "child": relation.tail.end - 1,
                "label": relation.label,
                "head_span": _prodigy_span(relation.head),
                "child_span": _prodigy_span(relation.tail),
            }
            for relation in found.relations
        ]
    return record


def _prodigy_span(span: Span) -> Fields:
    return {**_span(span), "token_start": span.start, "token_end": span.end - 1}


def _span(span: Span) -> Fields:
    return {"start": span.start_char, "end": span.end_char, "label": span.label_}


def _label_studio(found: Suggestion, numbers: Any) -> Fields:
    results: list[Fields] = []
    places: dict[tuple[int, int, int], str] = {}
    for span in found.spans or ():
        number = places[span.start, span.end, span.label] = f"s{next(numbers)}"
        value = {"start": span.start_char, "end": span.end_char, "text": span.text}
        results.append(_result(number, "label", "labels", {**value, "labels": [span.label_]}))
    for choice in found.choices:
        if choice.chosen:
            value = {"choices": choice.chosen}
            results.append(_result(f"c{next(numbers)}", choice.name, "choices", value))
    for relation in found.relations or ():
        ends = [places.get((s.start, s.end, s.label)) for s in (relation.head, relation.tail)]
        if None not in ends:
            results.append(
                {
                    "type": "relation",
                    "from_id": ends[0],
                    "to_id": ends[1],
                    "direction": "right",
                    "labels": [relation.label],
                }
            )
    score = round(1 - found.uncertainty, 4)
    prediction = {"model_version": "spacy_multitask", "score": score, "result": results}
    return {"data": {"text": found.doc.text}, "annotations": [], "predictions": [prediction]}


def _result(number: str, name: str, kind: str, value: Fields) -> Fields:
    return {"id": number, "from_name": name, "to_name": "text", "type": kind, "value": value}


def label_studio_config(found: Suggestion, relation_labels: Iterable[str] = ()) -> str:
    """RETURNS (str): The labelling interface that suggestions such as this one are for."""
    lines = ["<View>", '  <Text name="text" value="$text"/>']
    if found.spans is not None:
        lines.append('  <Labels name="label" toName="text">')
        lines += [f'    <Label value="{escape(label)}"/>' for label in found.span_labels]
        lines.append("  </Labels>")
    for choice in found.choices:
        style = "single" if choice.exclusive else "multiple"
        lines.append(f'  <Choices name="{escape(choice.name)}" toName="text" choice="{style}">')
        lines += [f'    <Choice value="{escape(label)}"/>' for label in choice.labels]
        lines.append("  </Choices>")
    if found.relations is not None:
        labels = [f'    <Relation value="{escape(label)}"/>' for label in relation_labels]
        lines += ["  <Relations>", *labels, "  </Relations>"]
    return "\n".join([*lines, "</View>"])


def _doccano(found: Suggestion, numbers: Any) -> Fields:
    record: Fields = {"text": found.doc.text, "uncertainty": round(found.uncertainty, 4)}
    chosen = [name for choice in found.choices for name in choice.chosen]
    if found.spans is None:
        return {**record, "label": chosen}
    triples = [[span.start_char, span.end_char, span.label_] for span in found.spans]
    if found.relations is not None:
        ids = {(s.start, s.end, s.label): next(numbers) for s in found.spans}
        record["entities"] = [
            {"id": i, "start_offset": start, "end_offset": end, "label": label}
            for i, (start, end, label) in zip(ids.values(), triples)
        ]
        ends = [
            [ids.get((s.start, s.end, s.label)) for s in (relation.head, relation.tail)]
            for relation in found.relations
        ]
        record["relations"] = [
            {"id": next(numbers), "from_id": head, "to_id": tail, "type": relation.label}
            for relation, (head, tail) in zip(found.relations, ends)
            if head is not None and tail is not None
        ]
    elif found.choices:
        record["entities"] = triples
    else:
        record["label"] = triples
    if found.choices:
        record["cats"] = chosen
    return record


def _argilla(found: Suggestion, _: Any) -> Fields:
    record: Fields = {"text": found.doc.text}
    score = round(1 - found.uncertainty, 4)
    answers: Fields = {}
    if found.spans is not None:
        answers["spans"] = [_span(span) for span in found.spans]
    for choice in found.choices:
        chosen = list(choice.chosen)
        answers[choice.name] = (chosen[0] if chosen else None) if choice.exclusive else chosen
    for question, value in answers.items():
        record[f"{question}.suggestion"] = value
        record[f"{question}.suggestion.score"] = None if question == "spans" else score
    return record


TOOLS: dict[str, Callable[[Suggestion, Any], Fields]] = {
    "prodigy": _prodigy,
    "labelstudio": _label_studio,
    "doccano": _doccano,
    "argilla": _argilla,
}
