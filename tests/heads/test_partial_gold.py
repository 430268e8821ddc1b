"""No annotation means unknown, an empty one means none: in training and in scores."""

import warnings

import numpy as np
import pytest
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example

from tests.conftest import ALL_HEADS, corpus, example

SMITH = ["Mr", "Smith", "loves", "New", "York"]
NOTHING = {"tagger": {}, "chunker": {}, "ner": {}, "textcat": {}}
GOLD = {
    "tagger": {"tags": ["NNP"] * 5},
    "chunker": {"chunks": [(0, 2, "NP")]},
    "ner": {"ents": [(1, 2, "PER")]},
    "textcat": {"cats": {"Business": 1.0}},
}


@pytest.mark.parametrize("head", ALL_HEADS)
def test_docs_without_gold_give_no_loss_and_no_gradient(nlp, head):
    losses = {}
    pipe = nlp.get_pipe(head)
    before = pipe.module.linear.weight.detach().clone()
    other = {k: v for name, gold in GOLD.items() if name != head for k, v in gold.items()}
    nlp.update([example(nlp, SMITH, **other)], sgd=nlp.create_optimizer(), losses=losses)
    assert losses[head] == 0.0
    assert np.array_equal(before, pipe.module.linear.weight.detach())


@pytest.mark.parametrize("head", ALL_HEADS)
def test_docs_without_gold_do_not_change_the_loss_of_others(nlp, head):
    pipe = nlp.get_pipe(head)
    known = example(nlp, SMITH, **GOLD[head])
    alone, mixed = {}, {}
    pipe.update([known], losses=alone)
    pipe.update([example(nlp, ["The", "town"]), known, example(nlp, SMITH)], losses=mixed)
    assert alone[head] == pytest.approx(mixed[head], abs=1e-5)
    assert alone[head] > 0


@pytest.mark.parametrize(
    "head, gold", [("chunker", {"chunks": []}), ("ner", {"ents": []})], ids=["chunker", "ner"]
)
def test_an_empty_layer_is_learned_as_none(nlp, head, gold):
    losses = {}
    nlp.update([example(nlp, SMITH, **gold)], losses=losses)
    assert losses[head] > 0


def test_a_token_without_tag_is_left_out(nlp):
    tagger = nlp.get_pipe("tagger")
    gold = tagger.gold([example(nlp, SMITH, tags=["NNP", "", "VBZ", "", "NNP"])])
    rows, targets = gold["tags"]
    assert rows.tolist() == [0, 2, 4]
    assert [tagger.cfg["tags"][i] for i in targets] == ["NNP", "VBZ", "NNP"]


def test_tokens_with_missing_entity_information_are_left_out(nlp):
    eg = example(nlp, SMITH)
    eg.reference.set_ents(
        [Span(eg.reference, 3, 5, label="LOC")],
        missing=[eg.reference[0:1]],
        outside=[eg.reference[1:3]],
        default="missing",
    )
    rows, _ = nlp.get_pipe("ner").gold([eg])
    assert rows.tolist() == [1, 2, 3, 4]


def test_absent_category_labels_are_unknown(encoder_path):
    from tests.conftest import make_nlp

    nlp = make_nlp(encoder_path, [])
    nlp.add_pipe("multitask_textcat", name="textcat", config={"exclusive_classes": False})
    gold = [
        example(nlp, SMITH, cats={"A": 1.0, "B": 0.0}),
        example(nlp, SMITH, cats={"B": 1.0}),
        example(nlp, SMITH),
    ]
    nlp.initialize(lambda: gold)
    rows, values = nlp.get_pipe("textcat").gold(gold)
    assert rows.tolist() == [0, 1]
    assert values[0].tolist() == [1.0, 0.0]
    assert np.isnan(values[1][0]) and values[1][1] == 1.0


def test_exclusive_categories_need_one_that_is_true(nlp):
    textcat = nlp.get_pipe("textcat")
    assert textcat.gold([example(nlp, SMITH, cats={"Business": 0.0})]) is None


def test_labels_that_exclude_each_other_are_not_both_true(nlp, encoder_path):
    from tests.conftest import make_nlp

    both = example(nlp, SMITH, cats={"Business": 1.0, "Sports": 1.0})
    textcat = nlp.get_pipe("textcat")
    with pytest.warns(UserWarning, match="'Business' and 'Sports' are both true"):
        textcat.gold([both])
    # Annotators who do not agree are another thing, and so are labels of another head.
    new = make_nlp(encoder_path, ["textcat"])
    halves = example(new, SMITH, cats={"Business": 0.5, "Sports": 0.5})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        textcat.gold([halves, example(nlp, SMITH, cats={"Business": 1.0, "Sports": 0.0})])
    new.initialize(lambda: [halves])
    with pytest.raises(ValueError, match="exclusive_classes = false"):
        new.initialize(lambda: [halves, both])


def test_scores_count_only_docs_with_gold(trained):
    nlp = trained
    everything = nlp.evaluate(corpus(nlp))
    for key in ("tag_acc", "spans_np_f", "ents_f", "cats_acc"):
        assert everything[key] == 1.0, key
    # The same docs without gold would each be an error if they counted.
    blank = [Example(Doc(nlp.vocab, words=SMITH), Doc(nlp.vocab, words=SMITH)) for _ in range(9)]
    with_unknown = nlp.evaluate([*corpus(nlp), *blank])
    for key in ("tag_acc", "spans_np_f", "ents_f", "cats_acc", "cats_micro_f"):
        assert with_unknown[key] == everything[key], key


def test_scores_without_any_gold_are_none(trained):
    scores = trained.evaluate([example(trained, SMITH)])
    for key in ("tag_acc", "pos_acc", "spans_np_f", "ents_f", "cats_acc", "cats_score"):
        assert scores[key] is None, key


def test_spans_where_there_are_none_count_as_errors(trained):
    scores = trained.evaluate([example(trained, SMITH, ents=[], chunks=[])])
    assert scores["ents_p"] == 0.0
    assert scores["spans_np_p"] == 0.0


def test_labels_unknown_to_training_count_in_scores(trained):
    scores = trained.evaluate(
        [example(trained, SMITH, ents=[(0, 1, "TITLE"), (1, 2, "PER"), (3, 5, "LOC")])]
    )
    assert scores["ents_p"] == 1.0
    assert scores["ents_r"] == pytest.approx(2 / 3)


def test_labels_that_initialisation_did_not_see_are_warned_of_and_left_out(nlp):
    with pytest.warns(UserWarning, match="'NEW'"):
        assert nlp.get_pipe("ner").gold([example(nlp, SMITH, ents=[(0, 5, "NEW")])]) is None


def chunk_labels(nlp, chunks):
    """RETURNS (Dict[int, str]): BIOES label by token with gold."""
    chunker = nlp.get_pipe("chunker")
    eg = example(nlp, SMITH)
    eg.reference.spans["np"] = [Span(eg.reference, s, e, label=label) for s, e, label in chunks]
    names = ["O", *(f"{k}-{label}" for label in chunker.cfg["labels"] for k in "BIES")]
    rows, targets = chunker.gold([eg])
    return {row: names[target] for row, target in zip(rows.tolist(), targets.tolist())}


def test_of_spans_that_overlap_nothing_is_learned(nlp):
    with pytest.warns(UserWarning, match="'chunker' has spans that overlap"):
        found = chunk_labels(nlp, [(0, 3, "NP"), (1, 2, "NP"), (3, 4, "VP")])
    assert found == {3: "S-VP", 4: "O"}
    # Two labels for the same tokens are no better.
    assert chunk_labels(nlp, [(3, 4, "VP"), (0, 3, "NP"), (0, 3, "VP")]) == {3: "S-VP", 4: "O"}


def test_a_span_that_is_there_twice_is_learned_once(nlp):
    found = chunk_labels(nlp, [(0, 2, "NP"), (0, 2, "NP")])
    assert found == {0: "B-NP", 1: "E-NP", 2: "O", 3: "O", 4: "O"}


def test_spans_without_tokens_say_nothing(nlp):
    with pytest.warns(UserWarning, match="'chunker' has spans without tokens"):
        found = chunk_labels(nlp, [(0, 0, "NP"), (2, 2, "NP"), (1, 2, "VP"), (5, 5, "VP")])
    assert found == {0: "O", 1: "S-VP", 2: "O", 3: "O", 4: "O"}


def test_missing_and_empty_layers_survive_the_corpus_file(nlp, tmp_path):
    references = [eg.reference for eg in corpus(nlp)]
    DocBin(docs=references).to_disk(tmp_path / "all.spacy")
    docs = list(DocBin().from_disk(tmp_path / "all.spacy").get_docs(nlp.vocab))
    assert len(references) == 8
    for old, new in zip(references, docs, strict=True):
        assert old.has_annotation("ENT_IOB") == new.has_annotation("ENT_IOB")
        assert old.has_annotation("TAG") == new.has_annotation("TAG")
        assert ("np" in old.spans) == ("np" in new.spans)
        assert old.cats == new.cats


def test_gold_is_aligned_to_another_tokenization(nlp):
    reference = Doc(
        nlp.vocab,
        words=["New", "York", "-", "based", "IBM"],
        spaces=[True, False, False, True, False],
    )
    reference.set_ents([Span(reference, 0, 2, label="LOC"), Span(reference, 4, 5, label="ORG")])
    predicted = Doc(nlp.vocab, words=["New", "York-based", "IBM"])
    rows, targets = nlp.get_pipe("ner").gold([Example(predicted, reference)])
    # "New York" ends inside a token: nothing is known about it; "IBM" is whole.
    assert rows.tolist() == [2]
    labels = nlp.get_pipe("ner").cfg["labels"]
    assert targets.tolist() == [1 + 4 * labels.index("ORG") + 3]


def test_gold_is_aligned_to_words_in_another_case_and_over_blanks(nlp):
    words = ["Mr", "Smith", "loves", "New", "York"]
    reference = example(nlp, words, ents=[(1, 2, "PER"), (3, 5, "LOC")]).reference
    ner = nlp.get_pipe("ner")
    index = {label: 1 + 4 * k for k, label in enumerate(ner.cfg["labels"])}
    begin, end, single = 0, 2, 3
    per, loc = index["PER"], index["LOC"]
    lower = Doc(nlp.vocab, words=[word.lower() for word in words])
    rows, targets = ner.gold([Example(lower, reference)])
    assert rows.tolist() == [0, 1, 2, 3, 4]
    assert targets.tolist() == [0, per + single, 0, loc + begin, loc + end]
    # As spaCy aligns entities.
    blank = Example(Doc(nlp.vocab, words=[*words[:4], " ", words[4]]), reference)
    assert blank.get_aligned_ner()[3:] == ["B-LOC", "I-LOC", "L-LOC"]
    rows, targets = ner.gold([blank])
    assert rows.tolist() == [0, 1, 2, 3, 5]
    assert targets.tolist()[3:] == [loc + begin, loc + end]


@pytest.mark.parametrize("head", ["tagger", "chunker", "ner", "textcat"])
def test_labels_that_a_head_does_not_know_are_warned_of_once(nlp, head):
    words = ["Mr", "Smith", "won"]
    gold = [
        example(
            nlp,
            words,
            tags=[f"{x}{i}" for i in range(3)],
            ents=[(0, 2, x)],
            chunks=[(0, 2, x)],
            cats={x: 1.0},
        )
        for x in ("X", "Y")
    ]
    with pytest.warns(UserWarning, match=f"'{head}' did not see") as caught:
        nlp.get_pipe(head).gold(gold)
    assert len([w for w in caught if "did not see" in str(w.message)]) == 1
