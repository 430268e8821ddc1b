"""Scores per corpus, and intervals that agree with them."""

import numpy as np
import pytest
import spacy
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example

from spacy_multitask.evaluation.bootstrap import count_correct, interval, score_labels
from spacy_multitask.evaluation.evaluate import evaluate, main_scores
from tests.conftest import corpus, make_nlp


def f_score(counts):
    right, predicted, gold = map(sum, zip(*counts, strict=True))
    return 2 * right / (predicted + gold)


@pytest.mark.parametrize("score", ["tag_acc", "ents_f", "spans_np_f", "cats_acc"])
def test_counts_give_the_scorers_figures(nlp, score):
    """An untrained pipeline, so that not everything is right."""
    examples = corpus(nlp)
    scores = nlp.evaluate(examples)
    for eg in examples:
        eg.predicted = nlp(eg.predicted)
    counts = [c for eg in examples if (c := count_correct(eg, score)) is not None]
    assert 0 < len(counts) < len(examples), "unknown does not count"
    assert f_score(counts) == pytest.approx(scores[score])


@pytest.mark.parametrize(
    ("factory", "scores"),
    [
        ("parser", ["dep_uas", "dep_las", "sents_f"]),
        ("morphologizer", ["pos_acc", "morph_acc"]),
        ("trainable_lemmatizer", ["lemma_acc"]),
    ],
)
def test_counts_give_the_figures_of_spacys_own_heads(factory, scores):
    nlp = spacy.blank("en")
    gold = Doc(
        nlp.vocab,
        words=["She", "sees", "him", ".", "He", "runs", "on"],
        heads=[1, 1, 1, 1, 5, 5, 5],
        deps=["nsubj", "ROOT", "obj", "punct", "nsubj", "ROOT", ""],
        pos=["PRON", "VERB", "PRON", "PUNCT", "PRON", "VERB", ""],
        morphs=["Case=Nom", "Number=Sing", "Case=Acc", "_", "Case=Nom", "", ""],
        lemmas=["she", "see", "he", ".", "he", "run", ""],
    )
    own = Doc(
        nlp.vocab,
        words=[t.text for t in gold],
        heads=[1, 1, 1, 2, 4, 5, 5],
        deps=["nsubj", "ROOT", "nsubj", "punct", "ROOT", "punct", "advmod"],
        pos=["PRON", "NOUN", "PRON", "PUNCT", "PRON", "VERB", "ADP"],
        morphs=["Case=Nom", "Number=Plur", "Case=Acc", "Case=Acc", "_", "", ""],
        lemmas=["she", "see", "him", ".", "he", "", "on"],
    )
    examples = [Example(own, gold), Example(own.copy(), Doc(nlp.vocab, words=["a"] * 7))]
    found = nlp.add_pipe(factory).score(examples[:1])
    for score in scores:
        counts = [count_correct(eg, score) for eg in examples]
        assert counts[1] is None, "unknown does not count"
        assert 0 < found[score] < 1
        assert f_score(counts[:1]) == pytest.approx(found[score]), score
    assert "PRON" in score_labels(examples, "pos_acc")
    assert score_labels(examples, "lemma_acc") == {}, "as many as there are words"


@pytest.mark.parametrize("score", ["cats_score", "spans_np_p", "speed"])
def test_what_can_not_be_counted_is_not(score):
    doc = Doc(spacy.blank("en").vocab, words=["a"])
    doc.cats = {"A": 1.0}
    assert count_correct(Example(doc.copy(), doc), score) is None


def test_second_heads_are_among_the_main_scores():
    names = [
        "transformer_loss", "coarse_tag_acc", "tag_acc", "dep_uas", "news_cats_acc", "cats_acc",
        "ents_p", "spans_fine_f", "spans_fine_per_type", "ents_f", "cats_macro_f", "worst_task",
    ]  # fmt: skip
    assert list(main_scores(dict.fromkeys(names, 0.5))) == [
        "coarse_tag_acc", "tag_acc", "dep_uas", "news_cats_acc", "cats_acc", "ents_f",
        "spans_fine_f",
    ]  # fmt: skip
    assert main_scores({"tag_acc": None, "ents_f": 0.5}) == {"ents_f": 0.5}


def test_gold_that_the_tokenization_cuts_is_missed(trained):
    reference = Doc(trained.vocab, words=["NewYork", "is"], ents=["B-LOC", "O"])
    predicted = Doc(trained.vocab, words=["New", "Yorkis"], spaces=[False, False])
    assert count_correct(Example(predicted, reference), "ents_f") == (0, 0, 1)


def test_intervals_hold_the_score_and_shrink_with_more_docs():
    few = [(1, 1, 1)] * 8 + [(0, 1, 1)] * 2
    low, high = interval(few)
    assert low < 0.8 < high
    narrow = interval(few * 50)
    assert narrow[1] - narrow[0] < (high - low) / 3
    assert interval(few) == (low, high), "the seed decides"
    assert interval([(3, 3, 3)] * 5) == (1.0, 1.0)
    with pytest.raises(ValueError, match="no docs"):
        interval([])


def test_labels_are_scored_one_by_one():
    vocab = spacy.blank("en").vocab
    gold = [["N", "N", "V"], ["N", "V", ""]]
    own = [["N", "V", "V"], ["N", "N", "N"]]
    examples = [
        Example(Doc(vocab, words=["a"] * 3, tags=o), Doc(vocab, words=["a"] * 3, tags=g))
        for g, o in zip(gold, own, strict=True)
    ]
    found = score_labels(examples, "tag_acc")
    # N: 2 right of 3 predicted and 3 gold (the word without gold does not count); V: 1 of 2 and 2.
    assert {k: found["N"][k] for k in "prf"} == pytest.approx(dict.fromkeys("prf", 2 / 3))
    assert (found["V"]["p"], found["V"]["r"], found["V"]["gold"]) == (0.5, 0.5, 2)
    low, high = found["V"]["interval"]
    # Drawn twice, the first doc gives 2 * 1 / (2 + 1), the second nothing.
    assert (low, high) == (0.0, pytest.approx(2 / 3))
    assert score_labels(examples, "ents_f") == {}, "no gold, no labels"


def test_draws_without_a_rare_label_do_not_count_for_it():
    vocab = spacy.blank("en").vocab
    tags = ["X", *["N"] * 19]
    docs = [Doc(vocab, words=["a"], tags=[tag]) for tag in tags]
    found = score_labels([Example(doc, doc.copy()) for doc in docs], "tag_acc")
    assert found["X"]["interval"] == (1.0, 1.0), "X was right wherever it was"
    assert interval([(0, 0, 0)] * 3) == (0.0, 0.0)


def test_gold_spans_that_the_tokenization_cuts_count_for_their_label(trained):
    reference = Doc(trained.vocab, words=["NewYork", "is"], ents=["B-LOC", "O"])
    predicted = Doc(trained.vocab, words=["New", "Yorkis"], spaces=[False, False])
    found = score_labels([Example(predicted, reference)], "ents_f")
    assert found["LOC"]["gold"] == 1 and found["LOC"]["r"] == 0.0


def test_each_corpus_is_scored_for_what_it_annotates(trained, tmp_path):
    docs = [eg.reference for eg in corpus(trained)]
    DocBin(docs=[d for d in docs if d.has_annotation("TAG")]).to_disk(tmp_path / "pos.spacy")
    DocBin(docs=[d for d in docs if d.cats]).to_disk(tmp_path / "topic.spacy")
    paths = {name: str(tmp_path / f"{name}.spacy") for name in ("pos", "topic")}
    scores = evaluate(trained, paths)
    assert scores["pos"]["tag_acc"] == 1.0 and "cats_acc" not in scores["pos"]
    assert scores["topic"]["cats_acc"] == 1.0 and "tag_acc" not in scores["topic"]
    assert scores["pos"]["intervals"]["tag_acc"] == (1.0, 1.0)
    assert scores["pos"]["labels"]["tag_acc"]["NNP"]["gold"] == 5
    assert scores["pos"]["docs"] == 2


@pytest.mark.parametrize("key", [None, "fine"])
def test_entities_on_unknown_tokens_count_nowhere(encoder_path, key):
    nlp = make_nlp(encoder_path, [])
    head = nlp.add_pipe("multitask_ner", config={"spans_key": key})
    score = "ents_f" if key is None else f"spans_{key}_f"
    reference = Doc(nlp.vocab, words="Smith saw New York and Oslo".split())
    person, city, oslo = (
        Span(reference, start, end, label=label)
        for start, end, label in ((0, 1, "PER"), (2, 4, "LOC"), (5, 6, "LOC"))
    )
    reference.set_ents([person], missing=[reference[3:6]], default="outside")
    predicted = Doc(nlp.vocab, words=[t.text for t in reference])
    found = [Span(predicted, s.start, s.end, label=s.label) for s in (person, city, oslo)]
    if key is None:
        predicted.ents = found
    else:
        predicted.spans[key] = found
    examples = [Example(predicted, reference)]
    assert head.score(examples)[score] == 1.0
    assert count_correct(examples[0], score, head) == (1, 1, 1)
    assert score_labels(examples, score, head).keys() == {"PER"}
    # What is known to be no entity is wrong.
    reference.set_ents([person], default="outside")
    assert head.score(examples)[score] == 0.5
    assert count_correct(examples[0], score, head) == (1, 3, 1)


def test_labels_of_which_several_may_be_true_are_scored_one_by_one(encoder_path, tmp_path):
    nlp = make_nlp(encoder_path, [])
    config = {"exclusive_classes": False, "threshold": 0.3}
    head = nlp.add_pipe("multitask_textcat", config=config)
    gold = [
        {"A": 1.0, "B": 0.0, "C": 1.0}, {"A": 0.0, "B": 1.0}, {"C": 0.0, "A": 1.0}, {}
    ]  # fmt: skip
    docs = [Doc(nlp.vocab, words=["Mr", str(i)]) for i in range(len(gold))]
    for doc, cats in zip(docs, gold):
        doc.cats = cats
    nlp.initialize(lambda: [Example(doc, doc) for doc in docs])
    head.cfg["thresholds"] = {"A": 0.6}
    head.predict = lambda docs: np.array([[0.5, 0.5, 0.5]] * len(docs), np.float32)
    DocBin(docs=docs, store_user_data=True).to_disk(tmp_path / "gold.spacy")
    found = evaluate(nlp, {"x": str(tmp_path / "gold.spacy")})["x"]
    by_label = found["labels"]["cats_score"]
    assert by_label.keys() == {"A", "B", "C"} and by_label["B"]["gold"] == 1
    assert found["cats_f_per_type"].keys() == by_label.keys()
    for label, scores in found["cats_f_per_type"].items():
        assert by_label[label]["f"] == pytest.approx(scores["f"]), label
        low, high = by_label[label]["interval"]
        assert low <= scores["f"] <= high
    assert (by_label["A"]["f"], by_label["B"]["p"]) == (0.0, 0.5)
