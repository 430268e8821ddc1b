import itertools

import numpy as np
import pytest

from spacy_multitask.layers import bioes

# 0 O, then B I E S of two types
LABELS = ["O", "B-0", "I-0", "E-0", "S-0", "B-1", "I-1", "E-1", "S-1"]
ID = {label: i for i, label in enumerate(LABELS)}


def is_legal(labels) -> bool:
    """Spelled out by hand, apart from the code under test."""
    inside = None
    for label in labels:
        kind, _, type_ = LABELS[label].partition("-")
        if kind in "IE" and inside != type_:
            return False
        if kind in "OBS" and inside is not None:
            return False
        inside = type_ if kind in "BI" else None
    return inside is None


def brute_force(logits: np.ndarray) -> float:
    """RETURNS (float): Score of the best legal sequence, by trying all."""
    n_tokens, n_labels = logits.shape
    return max(
        sum(logits[t, label] for t, label in enumerate(labels))
        for labels in itertools.product(range(n_labels), repeat=n_tokens)
        if is_legal(labels)
    )


@pytest.mark.parametrize("seed", range(30))
def test_decoding_finds_the_best_legal_sequence(seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 5, size=4)
    # Sharp and flat scores: some docs are legal at once, some are cut, some searched whole.
    logits = rng.normal(scale=[0.5, 2.0, 6.0][seed % 3], size=(lengths.sum(), 9))
    logits[:, 0] += rng.choice([0.0, 4.0], size=len(logits))
    labels = bioes.decode(logits, logits.argmax(1), lengths)
    start = 0
    for n in lengths:
        part, scores = labels[start : start + n], logits[start : start + n]
        assert is_legal(part)
        got = sum(scores[t, label] for t, label in enumerate(part))
        assert got == pytest.approx(brute_force(scores)) if n else True
        start += n


def search_of_labels(logits: np.ndarray) -> float:
    """RETURNS (float): As `brute_force`, by a search over all pairs of labels."""
    follows = np.full((9, 9), -np.inf)
    for a, b in itertools.product(range(9), repeat=2):
        for rest in ([], [ID["E-0"]], [ID["E-1"]]):
            before = [ID["B-" + LABELS[a][-1]], a] if LABELS[a][0] in "IE" else [a]
            if is_legal([*before, b, *rest]):
                follows[a, b] = 0.0
    ends = [0.0 if LABELS[a][0] in "OES" else -np.inf for a in range(9)]
    best = np.where([LABELS[a][0] in "OBS" for a in range(9)], logits[0], -np.inf)
    for x in logits[1:]:
        best = (best[:, None] + follows).max(0) + x
    return float((best + ends).max())


@pytest.mark.parametrize("seed", range(5))
def test_many_docs_of_many_lengths_get_their_best_legal_sequences(seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 40, size=60)
    # Small whole numbers have many ties.
    logits = rng.integers(-3, 4, size=(lengths.sum(), 9)).astype(np.float32)
    logits[:, 0] += rng.choice([0.0, 4.0], size=len(logits))
    labels = bioes.decode(logits, logits.argmax(1), lengths)
    for part, scores in zip(*(np.split(x, np.cumsum(lengths)[:-1]) for x in (labels, logits))):
        assert is_legal(part)
        if len(part):
            assert scores[np.arange(len(part)), part].sum() == search_of_labels(scores)


def test_legal_greedy_labels_are_left_alone():
    labels = np.array([ID["O"], ID["S-1"], ID["B-0"], ID["I-0"], ID["E-0"]])
    assert not bioes.illegal(labels, np.array([0])).any()


@pytest.mark.parametrize(
    "sequence, starts, wrong",
    [
        (["I-0"], [0], [True]),
        (["B-0"], [0], [True]),
        (["B-0", "O"], [0], [True, True]),
        (["B-0", "E-1"], [0], [True, True]),
        (["O", "E-0", "O"], [0], [True, True, False]),
        # Legal as one doc, not as two.
        (["B-0", "E-0"], [0, 1], [True, True]),
    ],
)
def test_both_tokens_of_an_illegal_pair_are_found(sequence, starts, wrong):
    labels = np.array([ID[label] for label in sequence])
    assert bioes.illegal(labels, np.array(starts)).tolist() == wrong


def test_spans_are_read_back_as_written():
    labels = np.zeros(7, np.int64)
    bioes.write_span(labels, 0, 1, 1)
    bioes.write_span(labels, 1, 3, 0)
    bioes.write_span(labels, 4, 7, 1)
    assert [LABELS[i] for i in labels] == ["S-1", "B-0", "E-0", "O", "B-1", "I-1", "E-1"]
    spans = bioes.read_spans(labels)
    assert list(zip(spans.start, spans.end, spans.type)) == [(0, 1, 1), (1, 3, 0), (4, 7, 1)]


def test_long_documents_are_searched_in_parts():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 9))
    logits[:, 0] += rng.choice([0.0, 8.0], size=len(logits), p=[0.3, 0.7])
    labels = bioes.decode(logits, logits.argmax(1), np.array([20_000]))
    assert is_legal(labels)
    one_sequence = np.ones(len(logits), np.int64)
    assert labels.tolist() == bioes.viterbi(bioes.Scores.of(logits), one_sequence).tolist()
