"""Learning rates over the real number of steps."""

from __future__ import annotations

from collections.abc import Iterator

from spacy.util import registry

from .batching import PLAN


@registry.schedules("spacy_multitask.warmup_linear.v1")
def warmup_linear(
    learn_rate: float,
    warmup: float = 0.1,
    max_epochs: int = 0,
    max_steps: int = 0,
    final: float = 0.0,
) -> Iterator[float]:
    """Yield rates that rise linearly from zero and then fall linearly.

    learn_rate (float): The highest rate.
    warmup (float): Share of the steps in which the rate rises.
    max_epochs, max_steps (int): As in [training]; the steps of an epoch are counted by
        `spacy_multitask.batch_by_words.v1`.
    final (float): The last rate, as a share of the highest.
    YIELDS (float): The rate of each step.
    RAISES (ValueError): If the number of steps can't be known.
    """
    if not 0 <= warmup < 1:
        raise ValueError(f"warmup = {warmup} must be at least 0 and less than 1.")
    step = 0
    yield 0.0  # asked for before the first batch is made
    while True:
        step += 1
        total = _total_steps(max_epochs, max_steps)
        rising = max(1.0, warmup * total)
        if step < rising:
            yield learn_rate * step / rising
        else:
            left = max(0.0, (total - step) / max(1.0, total - rising))
            yield learn_rate * (final + (1 - final) * left)


def _total_steps(max_epochs: int, max_steps: int) -> int:
    known: list[int | None] = [max_steps or None]
    if max_epochs > 0 and PLAN.steps_per_epoch:
        known.append(max_epochs * PLAN.steps_per_epoch)
    steps = [n for n in known if n]
    if not steps:
        raise ValueError(
            "The number of training steps is not known. Set [training] max_steps, or max_epochs "
            "together with the batcher spacy_multitask.batch_by_words.v1, and pass both on to the "
            "schedule (max_epochs = ${training.max_epochs})."
        )
    return min(steps)
