import numpy as np
import pytest

from spacy_multitask.encoder.budget import OVERHEADS, TRAINING_BUDGETS
from spacy_multitask.encoder.windows import cut_windows, micro_batches


def make(counts, lengths):
    counts = np.array(counts, np.int64)
    return np.cumsum(counts) - counts, counts, np.array(lengths, np.int64)


def test_short_documents_are_one_window_each_and_empty_ones_none():
    windows = cut_windows(*make([1, 2, 1, 0], [2, 0, 1, 1]), capacity=8, overlap=2)
    assert windows.doc.tolist() == [0, 2]
    assert windows.start.tolist() == [0, 3]
    assert windows.size.tolist() == [3, 1]
    assert list(zip(windows.own_start, windows.own_end)) == [(0, 2), (2, 3)]


def test_a_long_document_is_cut_with_overlap_and_words_go_where_context_is():
    # Ten words of one piece, windows of 6, overlap 4: [0, 6), [2, 8), [4, 10).
    windows = cut_windows(*make([1] * 10, [10]), capacity=6, overlap=4)
    assert list(zip(windows.start, windows.start + windows.size)) == [(0, 6), (2, 8), (4, 10)]
    # Word 4 has one piece after it in the first window, two before it in the second.
    assert list(zip(windows.own_start, windows.own_end)) == [(0, 4), (4, 6), (6, 10)]


@pytest.mark.parametrize("seed", range(50))
def test_every_word_is_owned_once_and_seen_whole_by_its_window(seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 60, size=5)
    starts, counts, lengths = make(rng.integers(0, 5, size=lengths.sum()), lengths)
    capacity = int(rng.integers(12, 30))
    overlap = int(rng.integers(0, capacity - 5))
    windows = cut_windows(starts, counts, lengths, capacity, overlap)
    assert (windows.size <= capacity).all()
    owners = np.zeros(len(counts), int)
    for i in range(len(windows.doc)):
        owned = slice(windows.own_start[i], windows.own_end[i])
        owners[owned] += 1
        assert (starts[owned] >= windows.start[i]).all()
        assert (starts[owned] + counts[owned] <= windows.start[i] + windows.size[i]).all()
    has_window = np.repeat(np.isin(np.arange(len(lengths)), windows.doc), lengths)
    assert owners.tolist() == has_window.astype(int).tolist()


@pytest.mark.parametrize("overhead", [0, 5, 1000])
def test_micro_batches_keep_to_the_budget_and_lose_nothing(overhead):
    sizes = np.array([3, 30, 5, 8, 8, 1, 100])
    groups = [group.tolist() for group in micro_batches(sizes, 2, 40, overhead)]
    assert sorted(i for group in groups for i in group) == list(range(7))
    for group in groups:
        padded = (sizes[group].max() + 2) * len(group)
        assert padded <= 40 or len(group) == 1
        assert overhead or len(set(sizes[group])) == 1, "none is padded"
    assert groups[0] == [6]


def lengths_of_text(n_docs: int) -> np.ndarray:
    """RETURNS (ndarray): Sentences of news and web text have such lengths."""
    return np.random.default_rng(0).lognormal(3.0, 0.7, n_docs).clip(1, 510).astype(np.int64)


@pytest.mark.parametrize("n_docs", [1, 3, 1000])
def test_groups_that_cost_least_keep_to_the_budget_and_lose_nothing(n_docs):
    sizes = lengths_of_text(n_docs)
    groups = list(micro_batches(sizes, 2, 65536, 2500))
    assert sorted(np.concatenate(groups)) == list(range(n_docs))
    padded = [(int(sizes[group].max()) + 2) * len(group) for group in groups]
    assert max(padded) <= 65536
    assert all(np.all(np.diff(sizes[group]) <= 0) for group in groups), "longest first"
    if n_docs == 1000:
        assert (sizes + 2).sum() / sum(padded) >= 0.7


@pytest.mark.parametrize("n_docs", [20, 60, 250])
def test_a_cpu_computes_little_padding_in_batches_of_training_and_prediction(n_docs):
    sizes = lengths_of_text(n_docs)
    groups = list(micro_batches(sizes, 2, TRAINING_BUDGETS["cpu"], OVERHEADS["cpu"]))
    padded = sum((int(sizes[group].max()) + 2) * len(group) for group in groups)
    assert (sizes + 2).sum() / padded >= 0.75
    assert len(groups) < n_docs / 2, "and few groups"


def test_a_group_of_one_size_is_cut_by_the_budget():
    groups = list(micro_batches(np.full(10, 8), 2, 40, 5))
    assert [len(group) for group in groups] == [4, 4, 2]
