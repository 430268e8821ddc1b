"""Temperatures, thresholds and abstaining."""

import json

import numpy as np
import pytest
import spacy
import srsly
from spacy.tokens import Doc, DocBin
from spacy.util import fix_random_seed
from typer.testing import CliRunner

from spacy_multitask.cli import app
from spacy_multitask.evaluation.calibrate import calibrate
from spacy_multitask.evaluation.reliability import best_threshold, fit_temperature, reliability
from spacy_multitask.heads.scorers import score_cats
from spacy_multitask.relations import set_relations
from tests.conftest import ALL_HEADS, corpus, example, make_nlp, predictions

WORDS = ["Mr", "Smith", "loves", "New", "York"]


@pytest.mark.parametrize(
    ("probs", "truth", "expected"),
    [
        # F1 of the cuts after each doc: 2/3, 4/5, 2/3, 4/6
        ([0.9, 0.8, 0.3, 0.2], [1, 1, 0, 0], 0.55),
        ([0.9, 0.3, 0.2, 0.1], [0, 1, 1, 0], 0.15),
        ([0.4, 0.4, 0.2], [1, 0, 0], 0.3),  # equal probabilities are not told apart
        ([0.2, 0.1], [0, 1], 0.05),
        ([0.2, 0.1], [0, 0], None),
    ],
)
def test_the_threshold_has_the_best_f1(probs, truth, expected):
    found = best_threshold(np.array(probs), np.array(truth, bool))
    assert found == (None if expected is None else pytest.approx(expected))


def test_a_temperature_that_was_put_in_is_found_again():
    rng = np.random.default_rng(0)
    true_logits = rng.normal(0, 2, (4000, 3))
    chances = np.exp(true_logits) / np.exp(true_logits).sum(1, keepdims=True)
    targets = np.array([rng.choice(3, p=p) for p in chances])
    found = fit_temperature(3.0 * true_logits, targets)
    assert found == pytest.approx(3.0, rel=0.08)
    before = reliability(3.0 * true_logits, targets).error
    assert reliability(3.0 * true_logits, targets, temperature=found).error < before / 3


def test_a_head_that_is_always_right_gives_a_temperature_all_the_same():
    for size in (4.0, 90.0):
        assert 0.05 <= fit_temperature(np.array([[size, 0.0]] * 5), np.zeros(5, int)) <= 1


@pytest.fixture
def folder(trained, tmp_path):
    """A pipeline and docs, some of which it gets wrong."""
    trained.to_disk(tmp_path / "model")
    cats = trained(Doc(trained.vocab, words=WORDS)).cats
    wrong = [
        example(trained, WORDS, tags=["NN"] + ["NNP"] * 4, ents=[(0, 2, "PER")]),
        example(trained, WORDS, cats={label: round(1 - p) for label, p in cats.items()}),
    ]
    docs = [eg.reference for eg in [*corpus(trained) * 4, *wrong]]
    DocBin(docs=docs).to_disk(tmp_path / "dev.spacy")
    return tmp_path


def test_calibrated_heads_err_less_and_choose_the_same(folder):
    nlp = spacy.load(folder / "model")
    docs = [nlp(Doc(nlp.vocab, words=WORDS)), nlp("IBM made a lot of profit .")]
    cats = dict(docs[0].cats)
    before = predictions(docs)
    found = calibrate(nlp, {"all": str(folder / "dev.spacy")})
    assert set(found) == {"tagger.tags", "chunker", "ner", "textcat"}
    for name in ("tagger.tags", "ner", "textcat"):
        assert found[name]["temperature"] > 1, "too sure of itself by far"
    # There are too few topics for the error's bins.
    for name in ("tagger.tags", "ner"):
        assert found[name]["error_after"] < found[name]["error_before"], name
    docs = [nlp(Doc(nlp.vocab, words=WORDS)), nlp("IBM made a lot of profit .")]
    assert [p[:2] for p in predictions(docs)] == [p[:2] for p in before]
    assert max(docs[0].cats, key=docs[0].cats.get) == max(cats, key=cats.get)
    assert max(docs[0].cats.values()) < max(cats.values())


def test_probabilities_are_those_of_the_temperature(folder):
    nlp = spacy.load(folder / "model")
    doc = Doc(nlp.vocab, words=WORDS)
    for name, part in (("tagger", "tags"), ("ner", ""), ("textcat", "")):
        head = nlp.get_pipe(name)
        head.cfg["temperatures"] = {part: 2.0}
    tagger, ner, textcat = (nlp.get_pipe(n) for n in ("tagger", "ner", "textcat"))

    def softmax(x):
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    logits = tagger.word_logits([doc])[0].numpy()[:, : len(tagger.cfg["tags"])]
    assert np.allclose(tagger.probs([doc])["tags"][0], softmax(logits / 2), atol=1e-5)
    logits = ner.word_logits([doc])[0].numpy()
    assert np.allclose(ner.probs([doc])[0], softmax(logits / 2), atol=1e-5)
    ents = list(nlp(doc).ents)
    least = [softmax(logits / 2).max(1)[e.start : e.end].min() for e in ents]
    assert ents and np.allclose(ner.span_probs(doc, ents), least, atol=1e-5)
    logits = textcat.doc_logits([doc]).numpy()
    assert np.allclose(textcat.predict([doc]), softmax(logits / 2), atol=1e-5)


def test_the_command_saves_what_it_fitted(folder):
    arguments = ["calibrate", folder / "model", folder / "out", "-c", f"a={folder / 'dev.spacy'}",
                 "--json", folder / "found.json"]  # fmt: skip
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert done.exit_code == 0, done.output
    assert "error before" in done.output and "tagger.tags" in done.output
    found = json.loads((folder / "found.json").read_text())
    nlp = spacy.load(folder / "out")
    temperatures = [found[part]["temperature"] for part in ("ner", "tagger.tags")]
    loaded = [nlp.get_pipe("ner").temperature(), nlp.get_pipe("tagger").temperature("tags")]
    assert loaded == pytest.approx(temperatures) and 1.0 not in loaded
    again = CliRunner().invoke(app, [*map(str, arguments)])
    assert again.exit_code == 1 and "is already there" in again.output


def test_corpora_without_gold_are_refused(trained, tmp_path):
    DocBin(docs=[Doc(trained.vocab, words=WORDS)]).to_disk(tmp_path / "dev.spacy")
    with pytest.raises(ValueError, match="no gold for any of tagger"):
        calibrate(trained, {"dev": str(tmp_path / "dev.spacy")})


def test_training_anew_forgets_the_temperature(nlp):
    nlp.get_pipe("ner").cfg.update(temperatures={"": 3.0})
    nlp.initialize(lambda: corpus(nlp))
    assert nlp.get_pipe("ner").temperature() == 1.0


def test_training_on_drops_what_was_fitted_and_says_so(nlp):
    for name in ("tagger", "ner"):
        nlp.get_pipe(name).cfg["temperatures"] = {"": 2.0}
    tags = [eg for eg in corpus(nlp) if eg.reference.has_annotation("TAG")]
    with pytest.warns(UserWarning, match="'tagger' was calibrated and now learns on"):
        nlp.update(tags)
    assert "temperatures" not in nlp.get_pipe("tagger").cfg
    assert nlp.get_pipe("ner").cfg["temperatures"], "it had nothing to learn"


@pytest.fixture
def multilabel(encoder_path):
    fix_random_seed(0)
    nlp = make_nlp(encoder_path, ["textcat"])
    nlp.get_pipe("textcat").exclusive_classes = False
    nlp.initialize(lambda: corpus(nlp))
    return nlp


def test_thresholds_per_label_are_tuned_and_scored(multilabel, tmp_path):
    nlp = multilabel
    texts = [["a"], ["b", "c"], ["d", "e", "f"], ["g"] * 4]
    gold = [{"Business": float(i < 2), "Sports": float(i > 0)} for i in range(4)]
    examples = [example(nlp, words, cats=cats) for words, cats in zip(texts, gold)]
    del examples[0].reference.cats["Sports"]
    DocBin(docs=[eg.reference for eg in examples]).to_disk(tmp_path / "dev.spacy")
    before = nlp.evaluate(examples)["cats_macro_f"]
    found = calibrate(nlp, {"topic": str(tmp_path / "dev.spacy")})["textcat"]
    assert found["items"] == 7, "what is unknown does not count"
    assert set(found["thresholds"]) == {"Business", "Sports"}
    after = nlp.evaluate(examples)["cats_macro_f"]
    # All true is 2/3 for Business and 1 for Sports, and a threshold can have that.
    assert after >= max(before, (2 / 3 + 1) / 2 - 1e-6)
    head = nlp.get_pipe("textcat")
    doc = nlp("d e f")
    assert head.true_labels(doc) == [
        label for label, p in doc.cats.items() if p >= found["thresholds"][label]
    ]


def test_a_threshold_of_its_own_decides_for_a_label(nlp):
    eg = example(nlp, ["a"], cats={"A": 1.0, "B": 0.0})
    eg.predicted.cats = {"A": 0.3, "B": 0.6}
    options = {"labels": ["A", "B"], "multi_label": True, "threshold": 0.5}
    assert score_cats([eg], **options)["cats_micro_f"] == 0.0
    tuned = score_cats([eg], **options, thresholds={"A": 0.25, "B": 0.7})
    assert tuned["cats_micro_f"] == pytest.approx(1.0)


def test_the_threshold_can_be_set_when_loading(multilabel, tmp_path):
    multilabel.to_disk(tmp_path)
    cfg = tmp_path / "textcat" / "cfg"
    assert "threshold" not in srsly.read_json(cfg)
    # Older versions saved it there as well.
    srsly.write_json(cfg, {**srsly.read_json(cfg), "threshold": 0.5})
    (tmp_path / "textcat" / "manifest.json").unlink()
    several = {"components.textcat.exclusive_classes": False}
    doc = Doc(multilabel.vocab, words=["a"])
    doc.cats = {"Business": 0.95, "Sports": 0.8}
    head = spacy.load(tmp_path, config=several).get_pipe("textcat")
    assert head.true_labels(doc) == ["Business", "Sports"]
    options = {**several, "components.textcat.threshold": 0.9}
    head = spacy.load(tmp_path, config=options).get_pipe("textcat")
    assert head.true_labels(doc) == ["Business"]
    assert head.score_options()["threshold"] == 0.9


def abstaining(nlp, **heads):
    for name in heads:
        nlp.get_pipe(name).abstain = heads[name]
    return nlp


@pytest.fixture
def unsure(trained, tmp_path):
    """All heads give every label about the same probability."""
    trained.to_disk(tmp_path / "model")
    nlp = spacy.load(tmp_path / "model")
    for name in ALL_HEADS:
        nlp.get_pipe(name).cfg["temperatures"] = {"": 1e6, "tags": 1e6, "pos": 1e6}
    return nlp


def test_below_their_threshold_heads_say_nothing(unsure):
    doc = unsure(Doc(unsure.vocab, words=WORDS))
    assert doc.ents and doc.spans["np"] and doc.cats and all(t.tag_ for t in doc)
    abstaining(unsure, **dict.fromkeys(ALL_HEADS, 0.6))
    doc = unsure(Doc(unsure.vocab, words=WORDS))
    assert [t.tag_ for t in doc] == [""] * 5
    assert not doc.ents and doc.has_annotation("ENT_IOB") and not doc.spans["np"]
    assert doc.cats == {}
    assert unsure.get_pipe("textcat").true_labels(doc) == []
    scores = unsure.evaluate(corpus(unsure))
    assert scores["cats_acc"] == scores["tag_acc"] == scores["ents_f"] == 0.0


def test_where_topics_are_left_out_old_ones_go(unsure):
    abstaining(unsure, textcat=0.6)
    doc = Doc(unsure.vocab, words=WORDS)
    doc.cats = {"Business": 0.7, "Mood": 0.9}
    assert unsure(doc).cats == {"Mood": 0.9}, "those of others stay"


def test_above_it_they_say_what_they_said(trained, tmp_path):
    trained.to_disk(tmp_path / "model")
    # The spans were learned by heart. Of tags and topics not all were, but the best of n labels has
    # a probability of 1 / n or more.
    n_tags = len(trained.get_pipe("tagger").cfg["tags"])
    least = {"tagger": 0.99 / n_tags, "chunker": 0.5, "ner": 0.5, "textcat": 0.49}
    options = {f"components.{name}.abstain": value for name, value in least.items()}
    nlp = spacy.load(tmp_path / "model", config=options)
    assert {name: nlp.get_pipe(name).abstain for name in ALL_HEADS} == least
    sample = [
        Doc(nlp.vocab, words=WORDS),
        Doc(nlp.vocab),
        Doc(nlp.vocab, words=["The", "old", "town"]),
    ]
    other = [Doc(trained.vocab, words=[t.text for t in doc]) for doc in sample]
    assert predictions(nlp.pipe(sample)) == predictions(trained.pipe(other))


def test_a_chain_of_labels_is_calibrated_by_its_marginals(encoder_path):
    fix_random_seed(0)
    nlp = make_nlp(encoder_path, [])
    nlp.add_pipe("multitask_ner", name="ner", config={"crf": True})
    nlp.initialize(lambda: corpus(nlp))
    head = nlp.get_pipe("ner")
    doc = Doc(nlp.vocab, words=WORDS)
    (plain,) = head.probs([doc])
    logits, _ = head.gold_logits([example(nlp, WORDS, ents=[(1, 2, "PER")])])[""]
    assert np.allclose(np.exp(logits), plain, atol=1e-5)
    head.cfg["temperatures"] = {"": 2.0}
    root = plain**0.5
    assert np.allclose(head.probs([doc])[0], root / root.sum(1, keepdims=True), atol=1e-5)


def test_only_spans_that_are_too_unsure_are_left_out(trained, tmp_path):
    trained.to_disk(tmp_path / "model")
    nlp = spacy.load(tmp_path / "model")
    ner = nlp.get_pipe("ner")
    ner.cfg["temperatures"] = {"": 3.0}
    doc = nlp(Doc(nlp.vocab, words=WORDS))
    probs = dict(zip([e.text for e in doc.ents], ner.span_probs(doc, doc.ents)))
    assert len(probs) == 2
    ner.abstain = sum(probs.values()) / 2
    doc = nlp(Doc(nlp.vocab, words=WORDS))
    assert [e.text for e in doc.ents] == [max(probs, key=probs.get)]


def test_labels_that_stand_for_themselves_are_left_out_one_by_one(multilabel):
    head = multilabel.get_pipe("textcat")
    head.abstain = 0.8
    doc = Doc(multilabel.vocab, words=["a"])
    head.set_annotations([doc], np.array([[0.9, 0.7]]))
    assert list(doc.cats) == ["Business"]
    head.set_annotations([doc], np.array([[0.5, 0.1]]))
    assert doc.cats == {"Sports": pytest.approx(0.1)}, "surely false is said, too"


def test_relations_have_temperature_and_threshold(encoder_path):
    fix_random_seed(0)
    nlp = make_nlp(encoder_path, ["relations"])

    def examples():
        eg = example(nlp, WORDS, ents=[(1, 2, "PER"), (3, 5, "LOC")])
        eg.predicted.ents = eg.reference.ents
        set_relations(eg.reference, [(eg.reference.ents[0], eg.reference.ents[1], "Live_In", 1.0)])
        return [eg]

    sgd = nlp.initialize(examples)
    sgd.learn_rate = 0.005
    for _ in range(30):
        nlp.update(examples(), sgd=sgd)
    (eg,) = examples()
    head = nlp.get_pipe("relations")
    logits, targets = head.gold_logits([eg])[""]
    assert logits.shape == (2, 2) and sorted(targets) == [0, 1], "both directions"
    sure = nlp(eg.predicted)._.relations[0].probability
    head.cfg["temperatures"] = {"": 4.0}
    (relation,) = nlp(eg.predicted)._.relations
    best = logits[targets == 1][0] / 4
    assert relation.probability == pytest.approx(1 / (1 + np.exp(best[0] - best[1])), abs=1e-4)
    assert 0.5 < relation.probability < sure
    head.abstain = (relation.probability + sure) / 2
    assert nlp(eg.predicted)._.relations == []


@pytest.mark.parametrize("head", [*ALL_HEADS, "relations"])
def test_a_threshold_out_of_range_is_refused(head):
    nlp = spacy.blank("en")
    with pytest.raises(ValueError, match=r"abstain = 1.0 of .* must be in \[0, 1\)"):
        nlp.add_pipe(f"multitask_{head}", config={"abstain": 1.0})


def test_parts_without_gold_keep_their_temperature(encoder_path, tmp_path):
    nlp = make_nlp(encoder_path, ["tagger"])
    both = {"tags": ["NNP"] * 5, "pos": ["PROPN", "PROPN", "VERB", "PROPN", "PROPN"]}
    nlp.initialize(lambda: [example(nlp, WORDS, **both)])
    for name, gold in (("both", both), ("tags", {"tags": both["tags"]})):
        DocBin(docs=[example(nlp, WORDS, **gold).reference]).to_disk(tmp_path / f"{name}.spacy")
    calibrate(nlp, {"x": str(tmp_path / "both.spacy")})
    first = dict(nlp.get_pipe("tagger").cfg["temperatures"])
    assert first.keys() == {"tags", "pos"}
    found = calibrate(nlp, {"x": str(tmp_path / "tags.spacy")})
    assert found.keys() == {"tagger.tags"}
    assert nlp.get_pipe("tagger").cfg["temperatures"] == first
