"""The options that every head has, written once: names, types, defaults, checks."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from functools import wraps
from typing import Any

from spacy.language import Language
from spacy.util import registry
from torch import nn

from ..registering import refuse_quoted_numbers

NEW_LABELS = ("refuse", "add")


@dataclass(frozen=True, kw_only=True)
class HeadOptions:
    """What a head takes besides options of its own.

    loss_weight (float): Factor on this head's loss.
    balance (Optional[Module]): What learns a factor on this head's loss besides, such as
        `spacy_multitask.uncertainty_weight.v1`.
    label_smoothing (float): Probability mass spread over all labels in training.
    class_weights (Optional[Dict[str, float]]): Factors on the loss of gold items, by label. Labels
        that are not named have 1.
    abstain (float): Probability below which nothing is said of an item.
    new_labels (str): What a trained head does with labels that it does not know, once it learns on:
        "refuse" leaves their gold out and warns, "add" takes them up as they come.
    probs (bool): Whether to leave the probability of each prediction on the doc, for heads whose
        predictions have no place for it: topics and relations always have theirs.
    corpora (Optional[List[str]]): Names of the training corpora that this head learns from and is
        scored on, if not all: for corpora that annotate one layer after different schemes.
    scorer (Optional[Callable]): Scores examples.
    """

    loss_weight: float = 1.0
    balance: nn.Module | None = None
    label_smoothing: float = 0.0
    class_weights: dict[str, float] | None = None
    abstain: float = 0.0
    new_labels: str = "refuse"
    probs: bool = False
    corpora: list[str] | None = None
    scorer: Callable | None

    def check(self, name: str) -> None:
        """
        name (str): The head's, for messages.
        RAISES (ValueError): If an option is out of its range.
        """
        if self.loss_weight < 0:
            raise ValueError(f"loss_weight = {self.loss_weight} of {name!r} must not be negative.")
        for option in ("label_smoothing", "abstain"):
            value = getattr(self, option)
            if not 0 <= value < 1:
                raise ValueError(f"{option} = {value} of {name!r} must be in [0, 1).")
        check_new_labels(self.new_labels, name)
        for label, weight in (self.class_weights or {}).items():
            if weight <= 0:
                raise ValueError(
                    f"class_weights of {name!r}: {weight} for {label!r} must be greater than 0."
                )


def check_new_labels(choice: str, name: str) -> None:
    """RAISES (ValueError): If a head can't do so with labels that it does not know."""
    if choice not in NEW_LABELS:
        raise ValueError(
            f"new_labels = {choice!r} of {name!r} is not one of {', '.join(NEW_LABELS)}."
        )


@registry.callbacks("spacy_multitask.new_labels.v1")
def make_new_labels(heads: list[str]) -> Callable[[Language], Language]:
    """Let heads take up new labels, for [initialize] after_init: those that come from another
    pipeline (`source`) keep the options that they have there.

    heads (List[str]): Names of the components.
    RETURNS (Callable): Sets their `new_labels` to "add".
    """

    def set_new_labels(nlp: Language) -> Language:
        for name in heads:
            pipe = nlp.get_pipe(name) if name in nlp.component_names else None
            if not hasattr(pipe, "new_labels"):
                known = [n for n, pipe in nlp.components if hasattr(pipe, "new_labels")]
                raise ValueError(
                    f"[initialize.after_init] heads: {name!r} is no head of this pipeline. There "
                    f"are: {', '.join(known) or 'none'}."
                )
            pipe.new_labels = "add"
        return nlp

    return set_new_labels


def head_factory(name: str, *, default_config: dict[str, Any], **meta: Any) -> Callable:
    """Register the factory of a head: `Language.factory`, with the options that all heads have.

    name (str): Of the factory.
    default_config (Dict[str, Any]): The options of its own, and its scorer.
    meta: What `Language.factory` takes besides.
    RETURNS (Callable): Decorates a function with an argument `options`, which gets a `HeadOptions`.
        In configs its fields stand beside the head's own options.
    """
    shared = fields(HeadOptions)
    defaults = {field.name: field.default for field in shared if field.default is not MISSING}

    def register(make: Callable) -> Callable:
        @wraps(make)
        def factory(nlp: Language, name: str, **config: Any) -> Any:
            options = HeadOptions(**{field.name: config.pop(field.name) for field in shared})
            return make(nlp, name, options=options, **config)

        own = dict(inspect.signature(make).parameters)
        kind = own.pop("options").kind
        in_config = [inspect.Parameter(f.name, kind, annotation=f.type) for f in shared]
        signature: Any = inspect.Signature([*own.values(), *in_config])
        # What spaCy reads to check a config, and to tell which options there are.
        vars(factory)["__signature__"] = signature
        factory.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
        register_factory = Language.factory(
            name, default_config={**default_config, **defaults}, **meta
        )
        return register_factory(refuse_quoted_numbers(factory))

    return register
