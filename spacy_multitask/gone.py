"""What version 0.1.0 had and 0.2.0 has not: configs that ask for it are told what to write instead.

It gained too little to stay; docs/tried.md has the figures.
"""

from typing import Any

from spacy.util import registry

NO_SURGERY = (
    "Gradients of heads are added up. Take the line `surgery` out of the encoder's section, and "
    "weigh the heads by their loss_weight."
)
NO_FIT_HEADS = "Set [initialize] after_init = null."
NO_HOMOGENEOUS = "Batches hold examples of all corpora. Take the line out."
NO_LAYER = "All heads read what the encoder gives. Take the line out, and train again."
NO_ROUND_ROBIN = 'Write mixing = "uniform": it gives all corpora the same share, too.'


def refuse_gone(option: str, value: Any, neutral: Any, advice: str) -> None:
    """Take an option of 0.1.0 only where it asks for nothing, since saved configs name it.

    option (str): Its place in a config.
    neutral (Any): The value that asked for nothing.
    advice (str): What to write instead.
    RAISES (ValueError): If the value is another one.
    """
    if value != neutral:
        raise ValueError(f"{option} = {value!r} was removed in version 0.2.0. {advice}")


@registry.misc("spacy_multitask.pcgrad.v1")
def refuse_pcgrad() -> Any:
    """RAISES (ValueError): In any case."""
    raise ValueError(f"spacy_multitask.pcgrad.v1 was removed in version 0.2.0. {NO_SURGERY}")


@registry.callbacks("spacy_multitask.fit_heads.v1")
def refuse_fit_heads(
    heads: Any = None, max_docs: int = 0, passes: int = 0, learn_rate: float = 0.0
) -> Any:
    """RAISES (ValueError): In any case."""
    raise ValueError(f"spacy_multitask.fit_heads.v1 was removed in version 0.2.0. {NO_FIT_HEADS}")
