"""Topics that can't be told apart, are given where they are true only, or are new or absent."""

import warnings

import pytest

from spacy_multitask.heads.scorers import score_cats
from tests.conftest import example, make_nlp

SMITH = ["Mr", "Smith", "loves", "New", "York"]
TRUE_ALONE = [{"A": 1.0}, {"A": 1.0, "B": 1.0}, {}, {"C": 1.0}]


def topics(encoder_path, **config):
    nlp = make_nlp(encoder_path, [])
    nlp.add_pipe("multitask_textcat", name="textcat", config=config)
    return nlp


def test_one_label_has_none_to_exclude(encoder_path):
    nlp = topics(encoder_path)
    gold = [example(nlp, SMITH, cats={"GOOD": value}) for value in (1.0, 0.0)]
    with pytest.raises(ValueError, match=r"'GOOD', so that .* exclusive_classes = false"):
        nlp.initialize(lambda: gold)
    topics(encoder_path, exclusive_classes=False).initialize(lambda: gold)


def test_labels_that_are_true_only_are_warned_of(encoder_path):
    nlp = topics(encoder_path, exclusive_classes=False)
    gold = [example(nlp, SMITH, cats=cats) for cats in TRUE_ALONE]
    with pytest.warns(UserWarning, match="of 'textcat' .* set absent = \"false\""):
        nlp.initialize(lambda: gold)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other = topics(encoder_path, exclusive_classes=False)
        other.initialize(lambda: [*gold, example(other, SMITH, cats={"A": 0.0})])


def test_absent_labels_may_be_false(encoder_path):
    nlp = topics(encoder_path, exclusive_classes=False, absent="false")
    gold = [example(nlp, SMITH, cats=cats) for cats in TRUE_ALONE]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nlp.initialize(lambda: gold)
    head = nlp.get_pipe("textcat")
    rows, values = head.gold(gold)
    assert rows.tolist() == [0, 1, 3], "a doc without any label is unknown"
    assert values.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    for eg in gold:
        eg.predicted.cats = {"A": 0.9, "B": 0.9, "C": 0.1}
    # Right are A, A and B; wrong B of the first, A and B of the last; C of it is missed.
    assert head.score(gold)["cats_micro_p"] == pytest.approx(3 / 6)
    assert head.score(gold)["cats_micro_r"] == pytest.approx(3 / 4)
    with pytest.raises(ValueError, match="absent = 'no' of 'textcat' is not one of"):
        topics(encoder_path, absent="no")


@pytest.mark.parametrize("multi_label", [False, True])
def test_docs_of_labels_that_no_head_knows_are_wrong(nlp, multi_label):
    cats = [{"Business": 1.0, "Sports": 0.0}, {"Sports": 1.0}, {"Weather": 1.0}, {"Mood": 1.0}]
    examples = [example(nlp, SMITH, cats=gold) for gold in cats]
    for eg, said in zip(examples, ("Business", "Sports", "Sports", "Business")):
        # Another head has written "Mood".
        eg.predicted.cats = {"Business": 0.0, "Sports": 0.0, said: 1.0, "Mood": 0.5}
    options = {"labels": ["Business", "Sports"], "multi_label": multi_label, "threshold": 0.5}
    with pytest.warns(UserWarning, match="1 docs are of labels .*: Weather. They count as wrong"):
        scores = score_cats(examples, **options)
    if not multi_label:
        assert scores["cats_acc"] == pytest.approx(2 / 3)
    assert scores["cats_micro_r"] == pytest.approx(2 / 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score_cats(examples[:2], **options)


@pytest.mark.parametrize("multi_label", [False, True])
def test_classes_that_the_test_data_lacks_are_no_failures(nlp, multi_label):
    examples = []
    for label in "AABBCC":
        eg = example(nlp, SMITH, cats={x: float(x == label) for x in "ABC"})
        eg.predicted.cats = {x: 0.9 if x == label else 0.05 for x in "ABC"}
        examples.append(eg)
    options = {"labels": list("ABC"), "multi_label": multi_label, "threshold": 0.5}
    for n in (6, 4):
        assert score_cats(examples[:n], **options)["cats_score"] == 1.0
    # One class tells nothing about ranks.
    alone = score_cats(examples[:2], **options)
    assert alone["cats_score"] == (None if multi_label else 1.0)
    assert alone["cats_macro_f"] == alone["cats_micro_f"] == 1.0


def test_macro_scores_are_those_of_spacy_where_all_classes_are_there(nlp):
    examples = [example(nlp, SMITH, cats={"A": 1.0}), example(nlp, SMITH, cats={"B": 1.0})]
    examples.append(examples[0])
    for eg in examples:
        eg.predicted.cats = {"A": 0.9, "B": 0.1}
    scores = score_cats(examples, labels=["A", "B"], multi_label=False, threshold=0.5)
    assert scores["cats_macro_f"] == scores["cats_score"] == pytest.approx((0.8 + 0.0) / 2)
