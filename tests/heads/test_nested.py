"""Spans that may overlap."""

import numpy as np
import pytest
import spacy
import torch
from spacy.tokens import Doc, DocBin, Span, SpanGroup
from spacy.training import Example
from spacy.util import fix_random_seed

from spacy_multitask.encoder.quantize import quantize
from spacy_multitask.evaluation.bootstrap import count_correct
from spacy_multitask.evaluation.calibrate import calibrate
from spacy_multitask.heads.kinds import kind_of, score_named
from tests.conftest import make_nlp

BANK = "the Bank of New York said".split()
SPANS = [(0, 5, "ORG"), (3, 5, "LOC"), (0, 2, "NP"), (3, 5, "NP")]
MAYOR = "the mayor of Lyon left Lyon".split()
MAYOR_SPANS = [(0, 4, "PER"), (3, 4, "LOC"), (5, 6, "LOC"), (0, 2, "NP")]


def gold(nlp, words, spans, unknown=(), predicted=None):
    """RETURNS (Example): With these spans; None for a doc of which nothing is known."""
    reference = Doc(nlp.vocab, words=words)
    if spans is not None:
        group = [Span(reference, start, end, label=label) for start, end, label in spans]
        attrs = {"unknown": list(unknown)} if unknown else {}
        reference.spans["sc"] = SpanGroup(reference, name="sc", spans=group, attrs=attrs)
    return Example(Doc(nlp.vocab, words=predicted or words), reference)


def corpus(nlp):
    return [
        gold(nlp, BANK, SPANS),
        gold(nlp, MAYOR, MAYOR_SPANS),
        gold(nlp, ["nobody", "left"], []),
        gold(nlp, BANK, None),
        gold(nlp, [], []),
    ]


def make(encoder_path, **config):
    nlp = make_nlp(encoder_path, [])
    nlp.add_pipe("multitask_spans", name="spans", config=config)
    return nlp


def initialized(encoder_path, **config):
    fix_random_seed(0)
    nlp = make(encoder_path, **config)
    nlp.initialize(lambda: corpus(nlp))
    return nlp


@pytest.fixture
def nlp(encoder_path):
    return initialized(encoder_path)


@pytest.fixture(scope="module")
def trained(encoder_path):
    nlp = initialized(encoder_path)
    sgd = nlp.create_optimizer()
    sgd.learn_rate = 0.005
    for _ in range(50):
        nlp.update(corpus(nlp), sgd=sgd)
    return nlp


def found(doc):
    return [(span.start, span.end, span.label_) for span in doc.spans["sc"]]


def test_overlapping_spans_are_learned(trained):
    doc = trained(Doc(trained.vocab, words=BANK))
    assert sorted(found(doc)) == sorted(SPANS)
    assert found(doc) == sorted(found(doc), key=lambda span: span[:2]), "as they stand in the doc"
    assert sorted(found(trained(Doc(trained.vocab, words=MAYOR)))) == sorted(MAYOR_SPANS)
    scores = trained.evaluate(corpus(trained))
    assert scores["spans_sc_f"] == 1.0 and scores["spans_sc_per_type"]["NP"]["r"] == 1.0


def test_an_empty_group_is_written_where_there_is_none(trained):
    for words in (["nobody", "left"], [], [" "]):
        assert found(trained(Doc(trained.vocab, words=words))) == []


def test_alone_and_in_a_batch(trained):
    texts = [BANK, [], MAYOR, ["left"], BANK * 3]
    make = lambda: [Doc(trained.vocab, words=words) for words in texts]  # noqa: E731
    alone = [trained(doc) for doc in make()]
    together = list(trained.pipe(make()))
    assert [found(doc) for doc in together] == [found(doc) for doc in alone]
    for one, other in zip(alone, together):
        scores = one.spans["sc"].attrs["scores"]
        np.testing.assert_allclose(scores, other.spans["sc"].attrs["scores"], atol=1e-5)
        assert len(scores) == len(one.spans["sc"]) and (np.array(scores) >= 0.5).all()


def test_saved_and_loaded_it_finds_the_same(trained, tmp_path):
    trained.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    docs = [pipeline(Doc(pipeline.vocab, words=BANK)) for pipeline in (trained, loaded)]
    assert found(docs[0]) == found(docs[1])
    data = DocBin(docs=docs).to_bytes()
    again = list(DocBin().from_bytes(data).get_docs(loaded.vocab))
    assert list(map(found, again)) == list(map(found, docs))
    np.testing.assert_allclose(again[0].spans["sc"].attrs["scores"],
                               docs[0].spans["sc"].attrs["scores"])  # fmt: skip
    copied = type(loaded).from_config(loaded.config).from_bytes(loaded.to_bytes())
    assert found(copied(" ".join(BANK))) == found(docs[0])


def test_probabilities_are_those_of_what_is_written(trained):
    head = trained.get_pipe("spans")
    doc = trained(Doc(trained.vocab, words=BANK))
    (probs,) = head.probs(doc)
    assert probs.shape == (6, 5, 4)
    scores = doc.spans["sc"].attrs["scores"]
    np.testing.assert_allclose(head.span_probs(doc, doc.spans["sc"]), scores, atol=1e-6)
    for span, score in zip(doc.spans["sc"], scores):
        k = head.labels.index(span.label_)
        assert probs[span.start, len(span) - 1, k] == pytest.approx(score, abs=1e-6)
    assert (probs >= 0.5).sum() == len(SPANS)
    assert not probs[5, 1:].any() and probs[5, 0].all(), "no span goes beyond the doc"
    assert head.span_probs(doc, [Span(doc, 0, 6, label="ORG")]) == [0.0], "none is that wide"


def test_spans_that_overlap_have_their_own_probability(trained, monkeypatch):
    monkeypatch.setattr(trained.get_pipe("spans"), "writes_probs", True)
    doc = trained(Doc(trained.vocab, words=BANK))
    assert len({span.start for span in doc.spans["sc"]}) < len(doc.spans["sc"])
    own = [span._.prob for span in doc.spans["sc"]]
    np.testing.assert_allclose(own, doc.spans["sc"].attrs["scores"])
    assert Span(doc, 0, 1, label="ORG")._.prob is None


def test_nothing_is_learned_where_nothing_is_known(nlp):
    head = nlp.get_pipe("spans")
    assert head.gold([gold(nlp, BANK, None)]) is None
    losses = {}
    before = head.module.words.weight.detach().clone()
    nlp.update([gold(nlp, BANK, None)], sgd=nlp.create_optimizer(), losses=losses)
    assert losses["spans"] == 0.0 and torch.equal(before, head.module.words.weight.detach())
    nlp.update([gold(nlp, BANK, [])], losses=losses)
    assert losses["spans"] > 0, "an empty group says that there are none"


def gradients(nlp, examples):
    nlp.update(examples, sgd=False)
    nlp.get_pipe("transformer").settle()
    found = {}
    for name in ("spans", "transformer"):
        module = nlp.get_pipe(name).model.shims[0].module
        for part, p in module.named_parameters():
            found[f"{name} {part}"] = None if p.grad is None else p.grad.to_dense().clone()
        module.zero_grad(set_to_none=True)
    return {name: gradient for name, gradient in found.items() if gradient is not None}


def test_the_gradient_is_that_of_the_docs_with_gold(nlp):
    """Mean per known word: two docs of six words have half of each."""
    one, other = gold(nlp, BANK, SPANS), gold(nlp, MAYOR, MAYOR_SPANS)
    unknown = [gold(nlp, ["a", "b", "c"], None), gold(nlp, [], [])]
    parts = [gradients(nlp, [eg]) for eg in (one, other)]
    together = gradients(nlp, [unknown[0], one, *unknown, other])
    assert together.keys() == parts[0].keys() and len(together) > 10
    assert any(name.startswith("transformer") for name in together)
    for name, gradient in together.items():
        wanted = (parts[0][name] + parts[1][name]) / 2
        torch.testing.assert_close(gradient, wanted, rtol=1e-3, atol=1e-6)


def test_what_is_known_of_single_spans_by_hand(nlp):
    head = nlp.get_pipe("spans")
    known = head.gold([gold(nlp, BANK, [(1, 4, "ORG")], unknown=[3])])
    assert known.band.known.astype(int).tolist() == [
        [1, 1, 1, 0, 0],
        [1, 1, 1, 0, 0],  # its third is the gold span, which has the unknown word in it
        [1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 0, 0, 0, 0],
    ]
    assert known.band.spans.tolist() == [[1, 2, head.labels.index("ORG")]]


def test_tokens_of_spans_that_the_tokenization_cuts_are_unknown(nlp):
    head = nlp.get_pipe("spans")
    words = ["the", "Bank", "of", "New", "Yorksaid"]
    eg = gold(nlp, BANK, [(0, 2, "NP"), (3, 5, "LOC")], predicted=words)
    known = head.gold([eg])
    assert known.band.spans.tolist() == [[0, 1, head.labels.index("NP")]]
    assert known.band.known.astype(int).tolist() == [
        [1, 1, 1, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
    ]
    assert nlp.get_pipe("spans").score([eg])["spans_sc_r"] == 0.0, "it is missed all the same"


def test_blanks_are_passed_over(nlp):
    head = nlp.get_pipe("spans")
    words = ["the", "Bank", " ", "of", "York", "\n"]
    with pytest.warns(UserWarning, match="begin or end with blanks"):
        known = head.gold([gold(nlp, words, [(0, 6, "ORG"), (1, 5, "NP"), (2, 3, "NP")])])
    assert known.rows.tolist() == [0, 1, 3, 4]
    assert sorted(known.band.spans[:, :2].tolist()) == [[0, 3], [1, 2]]
    doc = Doc(nlp.vocab, words=words)
    (probs,) = head.probs(doc)
    assert not probs[2].any() and not probs[5].any() and (probs[0, :4] > 0).all()
    assert not probs[0, 4].any(), "there are four words"
    span = Span(doc, 1, 5, label="NP")
    assert head.span_probs(doc, [span]) == pytest.approx([probs[1, 2, head.labels.index("NP")]])


def test_spans_with_blanks_inside_are_found(trained):
    words = [*BANK[:4], "\n", *BANK[4:]]
    head = trained.get_pipe("spans")
    doc = trained(Doc(trained.vocab, words=words))
    places = [(span.start, span.end) for span in doc.spans["sc"]]
    assert places, "the words are nearly those that it has learned"
    assert not any(doc[start].is_space or doc[end - 1].is_space for start, end in places)
    np.testing.assert_allclose(
        head.span_probs(doc, doc.spans["sc"]), doc.spans["sc"].attrs["scores"], atol=1e-5
    )


def test_of_no_spans_there_are_no_probabilities(trained):
    doc = Doc(trained.vocab, words=BANK)
    assert trained.get_pipe("spans").span_probs(doc, []) == []
    assert trained.get_pipe("spans").span_probs(doc, [doc[2:2]]) == [0.0]


def test_labels_that_it_does_not_know_are_warned_of_and_unknown(nlp):
    with pytest.warns(UserWarning, match="'spans' did not see"):
        known = nlp.get_pipe("spans").gold([gold(nlp, BANK, [(0, 2, "NEW"), (1, 2, "NP")])])
    assert not known.band.known[0, 1] and known.band.known[0, 0]
    assert len(known.band.spans) == 1


def test_a_new_label_changes_nothing_and_can_be_learned(trained, tmp_path):
    trained.to_disk(tmp_path)
    nlp = spacy.load(tmp_path)
    head = nlp.get_pipe("spans")
    (before,) = head.probs(Doc(nlp.vocab, words=BANK))
    assert head.add_label("NEW") == 1 and head.add_label("NEW") == 0
    (after,) = head.probs(Doc(nlp.vocab, words=BANK))
    np.testing.assert_allclose(after[:, :, :-1], before, atol=1e-6)
    assert after[:, :, -1].max() < 1e-6
    sgd = nlp.resume_training()
    sgd.learn_rate = 0.005
    for _ in range(100):
        nlp.update([gold(nlp, BANK, [(1, 3, "NEW")])], sgd=sgd)
    assert found(nlp(Doc(nlp.vocab, words=BANK))) == [(1, 3, "NEW")]


@pytest.mark.parametrize(
    ("overlap", "wanted"),
    [
        ("all", [(0, 3), (1, 4), (2, 3), (4, 6), (4, 6)]),
        ("nested", [(1, 4), (2, 3), (4, 6), (4, 6)]),
        ("flat", [(1, 4), (4, 6)]),
    ],
)
def test_spans_are_chosen_as_overlap_says(nlp, monkeypatch, overlap, wanted):
    from spacy_multitask.layers.band import Found

    head = nlp.get_pipe("spans")
    monkeypatch.setattr(head, "overlap", overlap)
    said = Found(
        np.array([0, 1, 2, 4, 4]), np.array([3, 4, 3, 6, 6]), np.array([0, 1, 0, 2, 1]),
        np.array([0.6, 0.9, 0.8, 0.7, 0.6]),
    )  # fmt: skip
    monkeypatch.setattr(head.module, "find", lambda *args: said)
    doc = Doc(nlp.vocab, words=BANK)
    head.set_annotations([doc], head.predict([doc]))
    assert [(span.start, span.end) for span in doc.spans["sc"]] == wanted
    assert len(doc.spans["sc"].attrs["scores"]) == len(wanted)


def test_spans_of_unknown_tokens_do_not_count_in_the_score(trained):
    eg = gold(trained, BANK, SPANS[1:], unknown=[1])
    eg.predicted = trained(eg.predicted)
    scores = trained.get_pipe("spans").score([eg])
    # The bank is on the unknown token, and so is the first chunk, which is gold.
    assert scores["spans_sc_p"] == scores["spans_sc_r"] == 1.0
    assert count_correct(eg, "spans_sc_f") == (3, 3, 3)
    unknown = gold(trained, BANK, None)
    assert trained.get_pipe("spans").score([unknown])["spans_sc_f"] is None


def test_unknown_tokens_are_kept_with_the_doc_and_heeded_by_the_chunker(nlp, encoder_path):
    doc = gold(nlp, BANK, [(0, 2, "NP")], unknown=[3, 4]).reference
    data = DocBin(docs=[doc]).to_bytes()
    (again,) = DocBin().from_bytes(data).get_docs(nlp.vocab)
    flat = make_nlp(encoder_path, [])
    chunker = flat.add_pipe("multitask_chunker", config={"spans_key": "sc"})
    chunker.cfg["labels"] = ["NP"]
    rows, _ = chunker.gold([Example(Doc(nlp.vocab, words=BANK), again)])
    assert rows.tolist() == [0, 1, 2, 5]


def test_spans_that_are_too_wide_are_told_of(encoder_path):
    nlp = make(encoder_path, max_width=3)
    with pytest.warns(
        UserWarning, match="'spans' has 2 spans of more than 3 words, the widest of 5"
    ):
        nlp.initialize(lambda: corpus(nlp))
    assert nlp.get_pipe("spans").module.max_width == 3
    assert initialized(encoder_path).get_pipe("spans").module.max_width == 5, "what there is"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"overlap": "some"}, "overlap = 'some' of 'spans' is not one of"),
        ({"threshold": 0.0}, r"threshold = 0.0 of 'spans' must be in \(0, 1\]"),
        ({"max_width": 0}, "max_width = 0 of 'spans' must be at least 1"),
        ({"label_smoothing": 0.1}, "label_smoothing of 'spans' would make"),
    ],
)
def test_options_out_of_range_are_refused(encoder_path, config, message):
    with pytest.raises(ValueError, match=message):
        make(encoder_path, **config)


def test_two_heads_may_not_write_one_group(encoder_path):
    nlp = make(encoder_path)
    nlp.add_pipe("multitask_chunker", config={"spans_key": "sc"})
    with pytest.raises(ValueError, match=r"both write doc.spans\['sc'\]"):
        nlp.initialize(lambda: corpus(nlp))


def test_a_long_doc_is_scored_in_blocks(trained, monkeypatch):
    doc = Doc(trained.vocab, words=BANK * 40)
    whole = trained(doc.copy())
    monkeypatch.setattr("spacy_multitask.layers.band.CELLS", 40)
    parts = trained(doc.copy())
    assert found(parts) == found(whole) and len(found(whole)) > 40


def test_calibration_finds_a_temperature_and_thresholds(trained, tmp_path):
    trained.to_disk(tmp_path / "model")
    nlp = spacy.load(tmp_path / "model")
    data = DocBin(docs=[eg.reference for eg in corpus(nlp)], store_user_data=True)
    data.to_disk(tmp_path / "dev.spacy")
    found = calibrate(nlp, {"dev": str(tmp_path / "dev.spacy")})["spans"]
    assert found["items"] >= 4 * 8 and 0 < found["temperature"] < 2
    assert found["thresholds"].keys() == {"LOC", "NP", "ORG", "PER"}
    assert nlp.get_pipe("spans").threshold("LOC") == found["thresholds"]["LOC"]
    nlp.get_pipe("spans").abstain = 0.95
    assert nlp.get_pipe("spans").threshold("LOC") >= 0.95


def test_class_weights_are_of_true_labels(nlp, encoder_path):
    weighted = initialized(encoder_path, class_weights={"ORG": 3.0})
    losses = []
    for pipeline, spans in ((nlp, SPANS), (weighted, SPANS), (nlp, []), (weighted, [])):
        losses.append(pipeline.get_pipe("spans").update([gold(pipeline, BANK, spans)], sgd=False))
    plain, heavy, none, heavy_none = (loss["spans"] for loss in losses)
    assert heavy > plain + 0.1 and none == pytest.approx(heavy_none, abs=1e-5)


def test_it_works_on_an_int8_encoder(trained, tmp_path):
    pytest.importorskip("onnxruntime")
    trained.to_disk(tmp_path / "model")
    quantize(tmp_path / "model", tmp_path / "int8")
    doc = spacy.load(tmp_path / "int8")(" ".join(BANK))
    assert len({*found(doc)} & {*SPANS}) >= 3


def test_commands_know_its_kind(nlp):
    head = nlp.get_pipe("spans")
    assert kind_of(head).name == "spans" and kind_of(None, "multitask_spans").name == "spans"
    assert score_named("spans_sc_f", head).kind.name == "spans"
