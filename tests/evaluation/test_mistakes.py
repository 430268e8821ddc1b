"""What was taken for what."""

from collections import Counter

import spacy
from spacy.tokens import Doc
from spacy.training import Example

from spacy_multitask.evaluation.mistakes import NOTHING, Pair, find_pairs, pair_items
from spacy_multitask.heads.items import Items
from tests.conftest import make_nlp


def test_spans_are_paired_by_their_place_and_then_by_overlap():
    gold = {(0, 2, "PER"), (3, 5, "ORG"), (6, 7, "LOC"), (9, 10, "LOC")}
    own = {(0, 2, "PER"), (3, 5, "LOC"), (6, 8, "LOC"), (12, 13, "PER")}
    assert pair_items(Items(gold, own, Counter(["MISC"])), "span") == [
        Pair("PER", "PER", True, (0, 2), (0, 2)),
        Pair("ORG", "LOC", False, (3, 5), (3, 5)),
        Pair("LOC", "LOC", False, (6, 7), (6, 8)),
        Pair("LOC", NOTHING, False, (9, 10), None),
        Pair(NOTHING, "PER", False, None, (12, 13)),
        Pair("MISC", NOTHING, False, None, None),
    ]


def test_words_docs_and_relations_are_paired_by_what_they_are():
    words = pair_items(Items({(0, "go", ""), (1, "B")}, {(0, "goes", ""), (1, "")}), "word")
    assert [(p.gold, p.own, p.gold_place) for p in words] == [
        ("go", "goes", (0, 1)),
        ("B", NOTHING, (1, 2)),
    ]
    (doc,) = pair_items(Items({("A",)}, {("B",)}), "doc")
    assert doc == Pair("A", "B", False, None, None)
    head, tail = (0, 1, "PER"), (2, 4, "LOC")
    (related,) = pair_items(Items({(head, tail, "in")}, {(head, tail, "near")}), "pair")
    assert related == Pair("in", "near", False, (0, 1, 2, 4), (0, 1, 2, 4))


def test_a_mistake_is_counted_once_for_each_task():
    vocab = spacy.blank("en").vocab
    words = ["It", "rains", "here"]
    gold = Doc(vocab, words=words, tags=["PRP", "VBZ", "RB"], pos=["PRON", "VERB", "ADV"])
    own = Doc(vocab, words=words, tags=["PRP", "NNS", "NN"], pos=["PRON", "NOUN", "NOUN"])
    gold.cats = own.cats = {"A": 1.0, "B": 0.0}
    owners = dict.fromkeys(["tag_acc", "pos_acc", "cats_acc", "cats_score", "sents_f"])
    tasks = find_pairs("x", [Example(own, gold)], owners)
    assert [(t.title, t.counts().total()) for t in tasks] == [
        ("tags", 3),
        ("parts of speech", 3),
        ("topics", 1),
    ]
    assert tasks[0].counts() == {
        ("PRP", "PRP", True): 1,
        ("VBZ", "NNS", False): 1,
        ("RB", "NN", False): 1,
    }


def test_of_topics_of_which_several_may_be_true_none_is_taken_for_another(encoder_path):
    nlp = make_nlp(encoder_path, [])
    head = nlp.add_pipe("multitask_textcat", config={"exclusive_classes": False})
    head.cfg["labels"] = ["A", "B", "C"]
    gold, own = (Doc(nlp.vocab, words=["rain"]) for _ in range(2))
    gold.cats = {"A": 1.0, "B": 1.0, "C": 0.0}
    own.cats = {"A": 0.9, "B": 0.4, "C": 0.8}
    (task,) = find_pairs("x", [Example(own, gold)], {"cats_score": head})
    assert task.counts() == {
        ("A", "A", True): 1,
        ("B", NOTHING, False): 1,
        (NOTHING, "C", False): 1,
    }
