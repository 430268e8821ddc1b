"""Learning rates over the real number of steps."""

from collections.abc import Iterator

from spacy.util import registry

from ..plan import Plan, join
from ..registering import refuse_quoted_numbers


@registry.schedules("spacy_multitask.warmup_linear.v1")
@refuse_quoted_numbers
def warmup_linear(learn_rate: float, warmup: float = 0.1, final: float = 0.0) -> Iterator[float]:
    """Let the rate rise linearly from zero and then fall linearly.

    The number of steps follows from [training] max_epochs and max_steps, which the reader
    `spacy_multitask.MultiCorpus.v1` or the logger `spacy_multitask.Logger.v1` looks up, and from
    the batches, which `spacy_multitask.batch_by_words.v1` counts. Where epochs differ in length,
    those to come are taken to be as long as the present one.

    learn_rate (float): The highest rate.
    warmup (float): Share of the steps in which the rate rises.
    final (float): The last rate, as a share of the highest.
    RETURNS (Iterator[float]): The rate of each step.
    RAISES (ValueError): If a number is out of its range; from the iterator, if the number of steps
        can't be known.
    """
    if learn_rate < 0:
        raise ValueError(f"learn_rate = {learn_rate} must not be negative.")
    if not 0 <= final <= 1:
        raise ValueError(f"final = {final} is a share of learn_rate, from 0 to 1.")
    if not 0 <= warmup < 1:
        raise ValueError(f"warmup = {warmup} must be at least 0 and less than 1.")
    # Now, and not when the first rate is asked for: the parts of a training are built together.
    return _rates(join(), learn_rate, warmup, final)


def _rates(plan: Plan, learn_rate: float, warmup: float, final: float) -> Iterator[float]:
    yield 0.0  # asked for before the first batch is made
    plan.has_begun = True
    step = 0
    while True:
        step += 1
        total = plan.total_steps()
        if total is None:
            raise ValueError(
                "The number of training steps is not known. Set [training] max_steps, or "
                "max_epochs with the batcher spacy_multitask.batch_by_words.v1; and for either, "
                "take the reader spacy_multitask.MultiCorpus.v1 or the logger "
                "spacy_multitask.Logger.v1, which look them up."
            )
        rising = max(1.0, warmup * total)
        if step < rising:
            yield learn_rate * step / rising
        else:
            left = max(0.0, (total - step) / max(1.0, total - rising))
            yield learn_rate * (final + (1 - final) * left)
