"""Several heads of one kind, each with its own corpora, labels and place in the doc."""

import warnings

import pytest
import spacy
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from spacy.util import fix_random_seed

from spacy_multitask.corpus.reader import corpus_of, make_multi_corpus
from spacy_multitask.evaluation.bootstrap import count_correct
from spacy_multitask.evaluation.calibrate import calibrate
from spacy_multitask.evaluation.evaluate import evaluate, main_scores
from spacy_multitask.evaluation.mistakes import find_pairs
from spacy_multitask.report.mistakes import matrix
from tests.conftest import example, make_nlp

SMITH = ["Mr", "Smith", "loves", "New", "York"]
FINE = ["NNP", "NNP", "VBZ", "NNP", "NNP"]
COARSE = ["N", "N", "V", "N", "N"]
IBM = ["IBM", "made", "a", "lot", "of", "profit", "."]


@pytest.fixture
def corpora(tmp_path):
    nlp = spacy.blank("en")
    parts = {
        "fine": example(nlp, SMITH, tags=FINE, ents=[(1, 2, "PER"), (3, 5, "LOC")]),
        "coarse": example(nlp, SMITH, tags=COARSE, ents=[(0, 2, "human")]),
        "topics": example(nlp, IBM, cats={"Business": 1.0, "Sports": 0.0}),
        "moods": example(nlp, IBM, cats={"good": 1.0, "bad": 0.0}),
    }
    paths = {}
    for name, eg in parts.items():
        paths[name] = {"path": str(tmp_path / f"{name}.spacy")}
        DocBin(docs=[eg.reference] * 2, store_user_data=True).to_disk(paths[name]["path"])
    return make_multi_corpus(paths)


def scorer(kind: str, prefix: str) -> dict:
    return {"@scorers": f"spacy_multitask.{kind}_scorer.v1", "prefix": prefix}


@pytest.fixture
def nlp(encoder_path, corpora):
    fix_random_seed(0)
    nlp = make_nlp(encoder_path, [])
    add = nlp.add_pipe
    add("multitask_tagger", name="fine", config={"corpora": ["fine"]})
    config = {"corpora": ["coarse"], "extension": "coarse", "scorer": scorer("tagger", "coarse_")}
    add("multitask_tagger", name="coarse", config=config)
    add("multitask_ner", name="ner", config={"corpora": ["fine"]})
    add("multitask_ner", name="humans", config={"corpora": ["coarse"], "spans_key": "humans"})
    add("multitask_textcat", name="topics", config={"corpora": ["topics"]})
    config = {"corpora": ["moods"], "scorer": scorer("textcat", "mood_")}
    add("multitask_textcat", name="moods", config=config)
    sgd = nlp.initialize(lambda: corpora(nlp))
    sgd.learn_rate = 0.005
    for _ in range(60):
        nlp.update(list(corpora(nlp)), sgd=sgd)
    return nlp


def test_each_learns_its_own_scheme(nlp, corpora, tmp_path):
    labels = {name: list(pipe.labels) for name, pipe in nlp.pipeline[1:]}
    assert labels == {
        "fine": ["NNP", "VBZ"],
        "coarse": ["N", "V"],
        "ner": ["LOC", "PER"],
        "humans": ["human"],
        "topics": ["Business", "Sports"],
        "moods": ["bad", "good"],
    }
    nlp.to_disk(tmp_path / "model")
    nlp = spacy.load(tmp_path / "model")
    doc, other = nlp.pipe([Doc(nlp.vocab, words=SMITH), Doc(nlp.vocab, words=IBM)])
    assert [t.tag_ for t in doc] == FINE
    assert [t._.coarse for t in doc] == COARSE
    assert [(e.text, e.label_) for e in doc.ents] == [("Smith", "PER"), ("New York", "LOC")]
    assert [(s.text, s.label_) for s in doc.spans["humans"]] == [("Mr Smith", "human")]
    assert other.cats["Business"] > 0.8 and other.cats["good"] > 0.8
    restored = Doc(nlp.vocab).from_bytes(doc.to_bytes())
    assert [t._.coarse for t in restored] == COARSE


def test_each_is_scored_on_its_own_corpus(nlp, corpora):
    scores = nlp.evaluate(list(corpora(nlp)))
    for name in ("tag_acc", "coarse_tag_acc", "ents_f", "spans_humans_f", "cats_acc"):
        assert scores[name] == 1.0, name
    assert scores["mood_cats_acc"] == 1.0


@pytest.fixture
def paths(corpora):
    return {name: options["path"] for name, options in corpora.corpora.items()}


def test_each_head_has_a_row_intervals_and_labels(nlp, paths):
    found = evaluate(nlp, paths)
    assert {name: main_scores(scores) for name, scores in found.items()} == {
        "fine": {"tag_acc": 1.0, "ents_f": 1.0},
        "coarse": {"coarse_tag_acc": 1.0, "spans_humans_f": 1.0},
        # Of two labels one is never gold, and does not count.
        "topics": {"cats_acc": 1.0, "cats_score": 1.0},
        "moods": {"mood_cats_acc": 1.0, "mood_cats_score": 1.0},
    }
    labels = {name: {k: sorted(v) for k, v in f["labels"].items()} for name, f in found.items()}
    assert labels == {
        "fine": {"tag_acc": ["NNP", "VBZ"], "ents_f": ["LOC", "PER"]},
        "coarse": {"coarse_tag_acc": ["N", "V"], "spans_humans_f": ["human"]},
        "topics": {"cats_acc": ["Business"]},
        "moods": {"mood_cats_acc": ["good"]},
    }
    for scores in found.values():
        assert scores["intervals"] == dict.fromkeys(scores["labels"], (1.0, 1.0))


def test_mistakes_are_those_of_the_head_that_the_score_belongs_to(nlp):
    """Each head's predictions beside another head's that are right, and the other way round."""
    gold = example(nlp, SMITH, tags=COARSE, ents=[(0, 2, "human")], cats={"good": 1.0}).reference
    own = Doc(nlp.vocab, words=SMITH, tags=COARSE, ents=["B-human", "I-human", "O", "O", "O"])
    own.spans["humans"] = []
    own.cats = {"good": 0.6, "bad": 0.4, "Business": 0.9, "Sports": 0.1}
    for token in own:
        token._.coarse = "N"
    eg = Example(own, gold)
    coarse, humans, moods = (nlp.get_pipe(name) for name in ("coarse", "humans", "moods"))
    assert count_correct(eg, "coarse_tag_acc", coarse) == (4, 5, 5)
    assert count_correct(eg, "tag_acc", nlp.get_pipe("fine")) == (5, 5, 5)
    assert count_correct(eg, "spans_humans_f", humans) == (0, 0, 1)
    assert count_correct(eg, "mood_cats_acc", moods) == (1, 1, 1)
    assert count_correct(eg, "cats_acc", nlp.get_pipe("topics")) is None, "no topic is gold"
    own.cats = {"bad": 0.6, "good": 0.4, "Business": 0.1}
    assert count_correct(eg, "mood_cats_acc", moods) == (0, 1, 1)
    heads = {"coarse_tag_acc": coarse, "mood_cats_acc": moods, "mood_cats_score": moods}
    found = {task.title: matrix(task)["labels"] for task in find_pairs("x", [eg], heads)}
    assert found == {"coarse tags": ["N", "V"], "mood topics": ["bad", "good"]}
    own.cats = {"Business": 0.9}
    assert count_correct(eg, "mood_cats_acc", moods) == (0, 1, 1), "it abstained"


def test_a_second_tagger_that_abstains_does_not_get_the_first_ones_tags(nlp, corpora):
    head = nlp.get_pipe("coarse")
    head.abstain = 0.6
    head.cfg["temperatures"] = {"tags": 1e6}  # both labels are as probable
    eg = next(eg for eg in corpora(nlp) if corpus_of(eg) == "coarse")
    eg.predicted = nlp(eg.predicted)
    for token, tag in zip(eg.predicted, COARSE):
        token.tag_ = tag
    assert [t._.coarse for t in eg.predicted] == [""] * 5
    assert head.score([eg]) == {"coarse_tag_acc": 0.0}


def test_calibrating_says_whose_gold_it_did_not_take(nlp, paths):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(calibrate(nlp, {"fine": paths["fine"]})) == {"fine.tags", "ner"}
    test = {"test": paths["fine"]}
    assert evaluate(nlp, test)["test"]["tag_acc"] == 1.0, "scored all the same"
    expected = r"corpus named test.* fine \(from fine\).*, ner \(from fine\).*NAME=PATH"
    with pytest.warns(UserWarning, match=expected) as warned:
        found = calibrate(nlp, {**test, "moods": paths["moods"]})
    assert set(found) == {"moods"} and len(warned) == 1
    with pytest.raises(ValueError, match=expected):
        calibrate(nlp, test)


def test_heads_whose_scores_have_one_name_are_told_apart_in_a_warning(nlp, corpora, paths):
    examples = list(corpora(nlp))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nlp.evaluate(examples)
    moods = nlp.get_pipe("moods")
    moods.scorer = nlp.get_pipe("topics").scorer
    expected = r"'topics' and 'moods' both have the score cats_.*prefix = \"moods_\""
    with pytest.warns(UserWarning, match=expected) as warned:
        nlp.evaluate(examples)
        nlp.evaluate(examples)
    assert len(warned) == 1, "once in a training"
    topics = evaluate(nlp, {"topics": paths["topics"]})["topics"]
    assert topics["cats_acc"] == 1.0, "the other one has no gold there"


def test_heads_that_are_scored_alike_may_share_a_name(encoder_path, corpora):
    nlp = make_nlp(encoder_path, [])
    for name in ("first", "second"):  # the second keeps the entities of the first
        nlp.add_pipe("multitask_ner", name=name)
    nlp.initialize(lambda: corpora(nlp))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nlp.evaluate(list(corpora(nlp)))


def test_a_corpus_name_that_does_not_exist_is_an_error(encoder_path, corpora):
    nlp = make_nlp(encoder_path, [])
    nlp.add_pipe("multitask_tagger", name="tagger", config={"corpora": ["fin"]})
    with pytest.raises(ValueError, match="of the corpora fin has gold for the component 'tagger'"):
        nlp.initialize(lambda: corpora(nlp))


def test_a_corpus_name_beside_right_ones_that_does_not_exist_is_named(encoder_path, corpora):
    nlp = make_nlp(encoder_path, [])
    nlp.add_pipe("multitask_ner", config={"corpora": ["fine", "wire", "web_typo"]})
    nlp.config["training"]["dev_corpus"] = "corpora.dev"
    nlp.config["corpora"]["dev"] = {"corpora": {"wire": {"path": "wire.spacy"}}}
    with pytest.warns(UserWarning, match="names web_typo, which .*: coarse, fine, moods, topics"):
        nlp.initialize(lambda: corpora(nlp))
    # Another reader may call something else so.
    nlp.config["corpora"]["dev"] = {"@readers": "mine", "corpora": ["wire.spacy"]}
    nlp.initialize(lambda: corpora(nlp))
