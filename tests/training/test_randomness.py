"""Random numbers go on from where they were."""

import random

import numpy as np
import pytest
import torch

from spacy_multitask.training.randomness import Snapshot, random_state, set_random_state


def draw() -> tuple:
    return (
        random.random(),
        random.gauss(0, 1),
        np.random.random(),
        np.random.standard_normal(),
        torch.rand(3).tolist(),
    )


@pytest.mark.parametrize("n_before", [0, 1], ids=["fresh", "with half a pair of normal numbers"])
def test_numbers_after_setting_the_state_are_those_after_taking_it(n_before):
    for _ in range(n_before):
        draw()
    state = random_state()
    expected = [draw() for _ in range(3)]
    draw()
    set_random_state(state)
    assert [draw() for _ in range(3)] == expected


@pytest.mark.parametrize(
    "draws",
    [
        random.random,
        lambda: random.gauss(0, 1),
        np.random.random,
        np.random.standard_normal,
        lambda: torch.rand(1),
    ],
)
def test_a_snapshot_knows_whether_a_number_was_drawn(draws):
    before = Snapshot()
    assert before.is_now()
    draws()
    assert not before.is_now()
