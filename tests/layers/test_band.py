"""The layer that scores spans by their first word, last word, mean word and width."""

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from spacy_multitask.layers import band
from spacy_multitask.layers.band import Found, SpanBand, band_gold, bucket, choose, room

LENGTHS = np.array([5, 0, 3])
N = 8


@pytest.fixture
def layer():
    torch.manual_seed(0)
    layer = SpanBand(6, 3, 4, hidden=7)
    torch.nn.init.normal_(layer.widths)
    torch.nn.init.normal_(layer.output.bias)
    return layer


def one_by_one(layer, X, start, end):
    """RETURNS (Tensor): Logits of a span, as the formula has it."""
    weight, bias, h = layer.words.weight, layer.words.bias, layer.hidden
    first = X[start] @ weight[:h].T + bias[:h]
    last = X[end - 1] @ weight[h : 2 * h].T + bias[h : 2 * h]
    mean = X[start:end].mean(0) @ weight[2 * h : 3 * h].T + bias[2 * h : 3 * h]
    width = layer.widths[int(bucket(np.array([end - start]))[0])]
    return layer.output(torch.nn.functional.gelu(first + last + mean + width))


def test_every_cell_is_the_span_of_its_row_and_width(layer):
    X = torch.randn(N, 6)
    cells = layer.cells(layer(X), range(2, 7), 4)
    assert cells.shape == (5, 4, 3)
    for row in range(5):
        for column in range(4):
            if row + 2 + column < N:
                wanted = one_by_one(layer, X, row + 2, row + 3 + column)
                torch.testing.assert_close(cells[row, column], wanted)


def test_single_spans_have_the_scores_of_their_cells_however_far_behind(layer):
    before = torch.randn(5000, 6) * 100
    X = torch.cat([before, torch.randn(N, 6)])
    rows, columns = torch.tensor([5000, 5001, 5004]), torch.tensor([3, 0, 2])
    wanted = torch.stack(
        [one_by_one(layer, X, r, r + c + 1) for r, c in zip(rows.tolist(), columns.tolist())]
    )
    torch.testing.assert_close(layer.scores(layer.project(X), rows, columns), wanted)
    cells = layer.cells(layer.project(X), range(5000, 5000 + N), 4)
    torch.testing.assert_close(cells[rows - 5000, columns], wanted)


def test_hidden_values_are_dropped_in_training_alone(layer):
    gold = band_gold(np.array([N]), np.zeros(N, bool), np.zeros((0, 3), np.int64), 4)
    words = layer.project(torch.randn(N, 6))
    layer.set_dropout(0.5)
    torch.testing.assert_close(layer.cells(words, range(N), 4), layer.cells(words, range(N), 4))
    assert layer.loss(words, gold) != layer.loss(words, gold)
    layer.set_dropout(0.0)
    assert layer.loss(words, gold) == layer.loss(words, gold)


def test_spans_stay_in_their_sequence():
    assert room(LENGTHS, 4).tolist() == [4, 4, 3, 2, 1, 3, 2, 1]


def test_gold_by_hand():
    unknown = np.array([0, 0, 0, 1, 0, 0, 0, 0], bool)
    spans = np.array([[0, 2, 1], [2, 5, 0], [0, 5, 2], [5, 6, band.NOT_KNOWN]])
    gold = band_gold(LENGTHS, unknown, spans, 4)
    assert gold.known.astype(int).tolist() == [
        [1, 1, 1, 0],
        [1, 1, 0, 0],
        [1, 0, 1, 0],  # the span of three words is gold, though one of them is unknown
        [0, 0, 0, 0],
        [1, 0, 0, 0],
        [0, 1, 1, 0],  # the label of the span of one word is none of these
        [1, 1, 0, 0],
        [1, 0, 0, 0],
    ]
    assert gold.spans.tolist() == [[0, 1, 1], [2, 2, 0]], "one is too wide"
    assert gold.edges[:, 0].tolist() == [1, 1, 1, 0, 1, 0, 1, 1]
    assert gold.edges[:, 1].tolist() == [1, 1, 1, 0, 1, 0, 1, 1]


def test_the_band_is_no_wider_than_the_longest_doc():
    gold = band_gold(np.array([2, 3, 0]), np.zeros(5, bool), np.zeros((0, 3), np.int64), 64)
    assert gold.known.astype(int).tolist() == [
        [1, 1, 0],
        [1, 0, 0],
        [1, 1, 1],
        [1, 1, 0],
        [1, 0, 0],
    ]


def test_a_span_with_a_label_is_known_whatever_other_labels_it_has():
    spans = np.array([[0, 2, 1], [0, 2, band.NOT_KNOWN]])
    for order in (spans, spans[::-1]):
        gold = band_gold(np.array([3]), np.zeros(3, bool), order, 2)
        assert gold.known.tolist() == [[True, True], [True, True], [True, False]]
        assert gold.spans.tolist() == [[0, 1, 1]] and gold.edges.all()


@pytest.mark.parametrize("cells", [1 << 17, 4, 12])
@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 3.0, 0.5])])
def test_loss_and_gradient_are_those_of_single_spans(layer, monkeypatch, cells, weights):
    monkeypatch.setattr(band, "CELLS", cells)
    unknown = np.array([0, 0, 0, 1, 0, 0, 0, 0], bool)
    spans = np.array([[0, 2, 1], [2, 5, 0], [0, 2, 0], [6, 8, 2]])
    probs = np.array([1, 1, 0.25, 1], np.float32)
    gold = band_gold(LENGTHS, unknown, spans, 4, probs)
    X = torch.randn(N, 6, requires_grad=True)
    loss = layer.loss(layer(X), gold, weights)
    found = torch.autograd.grad(loss, [X, *layer.parameters()])

    total = torch.zeros(())
    for row, column in np.argwhere(gold.known).tolist():
        targets = torch.zeros(3)
        for (start, end, label), p in zip(spans.tolist(), probs.tolist()):
            if (start, end) == (row, row + column + 1):
                targets[label] = p
        logits = one_by_one(layer, X, row, row + column + 1)
        total = total + binary_cross_entropy_with_logits(
            logits, targets, pos_weight=weights, reduction="sum"
        )
    edges = (X @ layer.words.weight[-2:].T + layer.words.bias[-2:])[~torch.from_numpy(unknown)]
    # The span of rows 2 to 4 ends at 4. Row 3 is not known.
    is_edge = torch.zeros(N, 2)
    for place in ((0, 0), (1, 1), (2, 0), (4, 1), (6, 0), (7, 1)):
        is_edge[place] = 1.0
    is_edge = is_edge[~torch.from_numpy(unknown)]
    total = total + binary_cross_entropy_with_logits(edges, is_edge, reduction="sum")
    torch.testing.assert_close(loss, total / 7)
    wanted = torch.autograd.grad(total / 7, [X, *layer.parameters()])
    for one, other in zip(found, wanted):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("cells", [1 << 17, 4])
def test_what_is_found_is_what_reaches_the_threshold(layer, monkeypatch, cells):
    monkeypatch.setattr(band, "CELLS", cells)
    X = torch.randn(N, 6)
    with torch.no_grad():
        layer.words.bias[-2:] = 9.0  # all words are plausible
    thresholds = [0.4, 0.6, 0.5]
    found = layer.find(layer.project(X), room(LENGTHS, 4), thresholds, 2.0)
    wanted = {}
    for start in range(N):
        for end in range(start + 1, start + 1 + int(room(LENGTHS, 4)[start])):
            probs = (one_by_one(layer, X, start, end) / 2.0).sigmoid().tolist()
            wanted.update({(start, end, k): p for k, p in enumerate(probs) if p >= thresholds[k]})
    assert 3 < len(wanted) < 40
    own = dict(zip(zip(*(a.tolist() for a in found[:3])), found.prob.tolist()))
    assert own == pytest.approx(wanted, abs=1e-6)
    assert (np.diff(found.start) >= 0).all()


def test_spans_whose_ends_are_not_plausible_are_not_looked_at(layer):
    words = torch.full((N, 3 * layer.hidden + 2), 0.0)
    words[:, -2:] = -9.0
    words[1, -2] = words[5, -2] = words[3, -1] = words[6, -1] = 1.0
    rows, columns = layer.plausible(words, room(LENGTHS, 4))
    # From 1 to 3 and from 5 to 6; what starts at 1 and ends at 6 is in two sequences.
    assert (rows.tolist(), columns.tolist()) == ([1, 5], [2, 1])


def test_nothing_is_found_in_nothing(layer):
    found = layer.find(layer.project(torch.zeros(0, 6)), room(np.zeros(2, np.int64), 4), [0.5] * 3)
    assert [len(values) for values in found] == [0] * 4
    assert len(choose(found, nested=False)) == 0


def test_widths_share_vectors_the_wider_they_are():
    found = bucket(np.arange(1, 34)).tolist()
    assert found[:8] == list(range(8))
    assert found[8:] == [8] * 3 + [9] * 5 + [10] * 6 + [11] * 10 + [12]


def test_saved_size_is_found_again(layer):
    again = SpanBand.from_state(layer.state_dict(), {})
    again.load_state_dict(layer.state_dict())
    assert again.max_width == 4 and again.hidden == 7


def spans(*rows):
    start, end, prob = zip(*rows)
    return Found(*(np.array(x) for x in (start, end, [0] * len(rows), prob)))


def test_the_most_probable_of_spans_that_overlap_is_kept():
    found = spans((0, 3, 0.6), (2, 4, 0.9), (3, 5, 0.7), (5, 6, 0.5), (7, 9, 0.8), (7, 9, 0.6))
    assert choose(found, nested=False).tolist() == [False, True, False, True, True, False]


def test_spans_may_be_within_others_if_they_are_nested():
    found = spans((0, 6, 0.6), (0, 2, 0.9), (1, 4, 0.8), (2, 3, 0.7), (2, 6, 0.5), (2, 3, 0.6))
    # From 1 to 4 begins within the first two words, and ends behind them.
    assert choose(found, nested=True).tolist() == [True, True, False, True, True, True]
