"""What can be wrong with `doc.cats` of training data."""

from __future__ import annotations

from collections.abc import Collection

ABSENT = ("unknown", "false")  # what a label may be that a doc lacks
ROUNDING = 1e-6  # of values in float32
BOTH_TRUE = (
    "{both} are both true of a doc, but {name!r} takes its labels to exclude each other. Set "
    "exclusive_classes = false if several may be true; or, if they belong to two heads, tell each "
    "its labels ([initialize.components]) or its corpora."
)
TRUE_ALONE = (
    "No training example of {name!r} says of a label that it is false, so that all labels would be "
    'learned as true. If docs lack the labels that are not true of them, set absent = "false".'
)


def check_choice(name: str, labels: Collection[str]) -> None:
    """
    name (str): The head's, for messages.
    RAISES (ValueError): If there is nothing to choose from.
    """
    if len(labels) == 1:
        raise ValueError(
            f"{name!r} takes its labels to exclude each other, but there is one only, "
            f"{min(labels)!r}, so that it would be true of every doc. Set exclusive_classes = "
            "false."
        )


def check_values(name: str, cats: dict[str, float]) -> None:
    """
    name (str): The head's, for messages.
    RAISES (ValueError): If a value is not between 0 and 1.
    """
    for label, value in cats.items():
        if value < -ROUNDING or value > 1 + ROUNDING:
            raise ValueError(
                f"{label!r} has the value {value} in doc.cats of an example. {name!r} "
                "learns from 1 for true, 0 for false, or a value in between."
            )
