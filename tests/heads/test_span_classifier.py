"""Labels of spans that are there already: `span._.NAME`."""

import numpy as np
import pytest
import spacy
import torch
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example
from spacy.util import fix_random_seed

from spacy_multitask.composing.config import compose
from spacy_multitask.evaluation.bootstrap import count_correct
from spacy_multitask.evaluation.calibrate import calibrate
from spacy_multitask.heads.kinds import gold_counts, score_named
from tests.conftest import make_nlp

FEVER = "Anna has no fever but a cough".split()
FEVER_ENTS = ["B-PER", "O", "O", "B-FIND", "O", "B-FIND", "I-FIND"]
COUGH = "Smith has a cough".split()
COUGH_ENTS = ["B-PER", "O", "B-FIND", "I-FIND"]


def gold(nlp, words, ents, values, name="negated", predicted=None, key=None):
    """RETURNS (Example): The predicted doc has the entities, too. Values are set if not None."""
    reference = Doc(nlp.vocab, words=words, ents=ents)
    own = Doc(nlp.vocab, words=predicted or words, ents=None if predicted else ents)
    if key is not None:
        for doc in (reference, own):
            doc.spans[key] = list(doc.ents)
            doc.set_ents([])
    spans = reference.ents if key is None else reference.spans[key]
    for span, value in zip(spans, values):
        if value is not None:
            span._.set(name, value)
    return Example(own, reference)


def corpus(nlp):
    return [
        gold(nlp, FEVER, FEVER_ENTS, [None, True, False]),
        gold(nlp, COUGH, COUGH_ENTS, [None, False]),
        gold(nlp, FEVER, FEVER_ENTS, [None, None, None]),
        gold(nlp, [], [], []),
    ]


def several(nlp):
    return [
        gold(nlp, FEVER, FEVER_ENTS, [[], ["negated", "sure"], ["sure"]], "traits"),
        gold(nlp, COUGH, COUGH_ENTS, [None, {"negated": 0.0}], "traits"),
    ]


def make(encoder_path, name="negated", examples=corpus, n_updates=0, **config):
    fix_random_seed(0)
    nlp = make_nlp(encoder_path, [])
    nlp.add_pipe("multitask_span_classifier", name="attr", config={"attribute": name, **config})
    sgd = nlp.initialize(lambda: examples(nlp))
    sgd.learn_rate = 0.005
    for _ in range(n_updates):
        nlp.update(examples(nlp), sgd=sgd)
    return nlp


@pytest.fixture(scope="module")
def trained(encoder_path):
    return make(encoder_path, n_updates=30)


@pytest.fixture
def nlp(encoder_path):
    return make(encoder_path)


def doc_of(nlp, words=FEVER, ents=FEVER_ENTS):
    return Doc(nlp.vocab, words=words, ents=ents)


def values(doc, name="negated"):
    return [span._.get(name) for span in doc.ents]


def test_flags_are_learned_and_written_as_flags(trained):
    doc = trained(doc_of(trained))
    assert values(doc)[1:] == [True, False]
    assert values(trained(doc_of(trained, COUGH, COUGH_ENTS)))[1] is False
    scores = trained.evaluate(corpus(trained))
    assert scores["attr_acc"] == 1.0 and scores["attr_per_type"]["True"]["f"] == 1.0
    (probs,) = trained.get_pipe("attr").probs(doc)
    assert probs.shape == (3, 2) and probs[1, 1] > 0.5
    np.testing.assert_allclose(probs.sum(1), 1, atol=1e-6)


def test_probabilities_are_left_on_the_spans_if_asked_for(trained, monkeypatch):
    assert trained(doc_of(trained)).ents[1]._.negated_prob is None
    monkeypatch.setattr(trained.get_pipe("attr"), "writes_probs", True)
    doc = trained(doc_of(trained))
    (probs,) = trained.get_pipe("attr").probs(doc)
    np.testing.assert_allclose([ent._.negated_prob for ent in doc.ents], probs.max(1), atol=1e-6)


def test_several_labels_may_be_true(encoder_path):
    nlp = make(encoder_path, "traits", several, 40, exclusive_classes=False)
    assert values(nlp(doc_of(nlp)), "traits") == [[], ["negated", "sure"], ["sure"]]
    assert nlp.evaluate(several(nlp))["attr_f"] == 1.0


def test_docs_without_spans_and_empty_docs(trained):
    docs = [Doc(trained.vocab, words=words) for words in ([], ["no", "fever"])]
    for doc in trained.pipe(docs):
        assert not any(key[0] == "._." for key in doc.user_data)


def test_alone_and_in_a_batch(trained):
    make_docs = lambda: [  # noqa: E731
        doc_of(trained), Doc(trained.vocab, words=[]), doc_of(trained, COUGH, COUGH_ENTS)
    ]  # fmt: skip
    alone = [values(trained(doc)) for doc in make_docs()]
    assert list(map(values, trained.pipe(make_docs()))) == alone


def test_what_was_never_set_is_unknown(nlp):
    head = nlp.get_pipe("attr")
    assert head.gold([gold(nlp, FEVER, FEVER_ENTS, [None] * 3)]) is None
    found = head.gold(
        [gold(nlp, COUGH, COUGH_ENTS, []), gold(nlp, FEVER, FEVER_ENTS, [None, True])]
    )
    assert found.spans.tolist() == [[4 + 3, 4 + 4]]
    losses = {}
    before = head.module.output.weight.detach().clone()
    sgd = nlp.create_optimizer()
    nlp.update([gold(nlp, FEVER, FEVER_ENTS, [None] * 3)], sgd=sgd, losses=losses)
    assert losses["attr"] == 0.0 and torch.equal(before, head.module.output.weight.detach())
    assert head.score([gold(nlp, FEVER, FEVER_ENTS, [None] * 3)])["attr_acc"] is None


def test_a_default_of_others_is_no_gold(encoder_path):
    if not Span.has_extension("by_default"):
        Span.set_extension("by_default", default=False)
    nlp = make(encoder_path, "by_default", lambda nlp: [
        gold(nlp, FEVER, FEVER_ENTS, [None, True, False], "by_default")
    ])  # fmt: skip
    assert (
        len(nlp.get_pipe("attr").gold([gold(nlp, COUGH, COUGH_ENTS, [True], "by_default")]).spans)
        == 1
    )


def test_of_a_dict_of_labels_the_others_are_unknown(encoder_path):
    nlp = make(encoder_path, "traits", several, exclusive_classes=False)
    head = nlp.get_pipe("attr")
    assert head.labels == ("negated", "sure")
    known = head.gold(several(nlp))
    assert known.spans.tolist() == [[0, 1], [3, 4], [5, 7], [9, 11]]
    np.testing.assert_array_equal(known.values, [[0, 0], [1, 1], [0, 1], [0, np.nan]])


def gradient_of(nlp, examples):
    nlp.update(examples, sgd=False)
    nlp.get_pipe("transformer").settle()
    found = {}
    for name in ("attr", "transformer"):
        module = nlp.get_pipe(name).model.shims[0].module
        for part, p in module.named_parameters():
            if p.grad is not None:
                found[f"{name} {part}"] = p.grad.to_dense().clone()
        module.zero_grad(set_to_none=True)
    return found


def test_the_gradient_is_that_of_the_spans_with_gold(nlp):
    one = gold(nlp, FEVER, FEVER_ENTS, [None, True, False])
    other = gold(nlp, COUGH, COUGH_ENTS, [None, False])
    unknown = gold(nlp, FEVER, FEVER_ENTS, [None] * 3)
    apart = [gradient_of(nlp, [eg]) for eg in (one, other)]
    together = gradient_of(nlp, [unknown, one, other, unknown])
    assert any(name.startswith("transformer") and g.any() for name, g in together.items())
    for name, gradient in together.items():
        wanted = (2 * apart[0][name] + apart[1][name]) / 3
        torch.testing.assert_close(gradient, wanted, rtol=1e-3, atol=1e-6)


def test_spans_are_aligned_and_those_that_are_cut_left_out(nlp):
    words = ["Anna", "has", "no", "fever", "buta", "cough"]
    eg = gold(nlp, FEVER, FEVER_ENTS, [None, True, False], predicted=words)
    assert nlp.get_pipe("attr").gold([eg]).spans.tolist() == [[3, 4]]


def test_spans_of_a_group(encoder_path):
    examples = lambda nlp: [  # noqa: E731
        gold(nlp, FEVER, FEVER_ENTS, [None, "no", "yes"], "there", key="sc")
    ]
    nlp = make(encoder_path, "there", examples, 25, spans_key="sc")
    doc = nlp(examples(nlp)[0].predicted)
    assert [span._.there for span in doc.spans["sc"]][1:] == ["no", "yes"]


def test_it_survives_saving(trained, tmp_path):
    doc = trained(doc_of(trained))
    data = DocBin(docs=[doc], store_user_data=True).to_bytes()
    (again,) = DocBin().from_bytes(data).get_docs(spacy.blank("en").vocab)
    assert values(again) == values(doc)
    trained.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    assert values(loaded(doc_of(loaded))) == values(doc)


def test_only_spans_that_were_found_count(trained):
    eg = gold(trained, FEVER, FEVER_ENTS, [None, True, False])
    eg.predicted = Doc(trained.vocab, words=FEVER, ents=["O"] * 5 + ["B-FIND", "I-FIND"])
    eg.predicted.ents[0]._.negated = True
    head = trained.get_pipe("attr")
    scores = head.score([eg])
    assert scores["attr_acc"] == 0.0
    assert scores["attr_per_type"] == {
        "False": {"p": 0.0, "r": 0.0, "f": 0.0}, "True": {"p": 0.0, "r": 0.0, "f": 0.0}
    }  # fmt: skip
    assert count_correct(eg, "attr_acc", head) == (0, 1, 1)


def test_it_abstains(trained, monkeypatch):
    head = trained.get_pipe("attr")
    monkeypatch.setattr(head, "abstain", 1.1)  # it is as sure as float32 can say
    assert values(trained(doc_of(trained))) == [None] * 3


def test_a_new_label_changes_nothing(trained, tmp_path):
    trained.to_disk(tmp_path)
    nlp = spacy.load(tmp_path)
    head = nlp.get_pipe("attr")
    (before,) = head.probs(doc_of(nlp))
    assert head.add_label("unsure") == 1
    (after,) = head.probs(doc_of(nlp))
    np.testing.assert_allclose(after[:, :2], before, atol=1e-6)
    assert values(nlp(doc_of(nlp)))[1] == "True", "flags are flags only among themselves"


def test_values_of_another_kind_are_refused(nlp, encoder_path):
    with pytest.raises(
        ValueError, match=r"span._.negated of 'fever' is .*Set exclusive_classes = false"
    ):
        nlp.get_pipe("attr").gold([gold(nlp, FEVER, FEVER_ENTS, [None, ["x"]])])
    with pytest.raises(ValueError, match="there is one only, 'True'"):
        make(encoder_path, examples=lambda nlp: [gold(nlp, COUGH, COUGH_ENTS, [None, True])])
    with pytest.raises(ValueError, match="attribute = 'a b' of 'attr' is no name"):
        make(encoder_path, "a b")
    Span.set_extension("computed", getter=lambda span: "x", force=True)
    with pytest.raises(ValueError, match="'computed' of 'attr' is computed by a function"):
        make(encoder_path, "computed")


def test_calibration(trained, tmp_path):
    trained.to_disk(tmp_path / "model")
    nlp = spacy.load(tmp_path / "model")
    docs = [eg.reference for eg in corpus(nlp)]
    DocBin(docs=docs, store_user_data=True).to_disk(tmp_path / "dev.spacy")
    assert calibrate(nlp, {"dev": str(tmp_path / "dev.spacy")})["attr"]["items"] == 3


def test_init_config_names_the_attribute_after_the_task(encoder_path, tmp_path):
    nlp = make_nlp(encoder_path, [])
    for examples, name, option in ((corpus, "negated", True), (several, "traits", False)):
        make(encoder_path, name, examples, exclusive_classes=option)
        for part in ("train", "dev"):
            bin = DocBin(docs=[eg.reference for eg in examples(nlp)], store_user_data=True)
            bin.to_disk(tmp_path / f"{name}-{part}.spacy")
        path = tmp_path / name
        tasks = {"ents": ("ner", path), name: ("span_classifier", path)}
        config = compose(encoder_path, tasks)
        own = config["components"][name]
        assert own["attribute"] == name and own["exclusive_classes"] is option
        weights = config["training"]["score_weights"]
        assert weights["attr_acc" if option else "attr_f"] == 0.5
        with pytest.raises(ValueError, match=r"need doc.ents, which another head"):
            compose(encoder_path, {name: tasks[name]})
    assert gold_counts()["span_classifier"](corpus(nlp)[0].reference) == 2
    assert score_named("attr_acc").kind.name == "span_classifier"
