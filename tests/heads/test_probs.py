"""The option `probs`: how sure heads are, on the doc, from the pass that predicts."""

import pickle

import numpy as np
import pytest
import spacy
from spacy.tokens import Doc, DocBin, Span, Token
from spacy.util import fix_random_seed
from spacy.vocab import Vocab

from spacy_multitask.probabilities import set_span_probs, set_token_probs, span_prob
from spacy_multitask.relations import Relation
from tests.conftest import example, learn, make_nlp

TEXTS = ["Mr Smith loves New York", "IBM made\n a lot of profit .", "", "The old town \n"]
WORD_HEADS = ("tagger", "chunker", "ner")


@pytest.fixture(scope="module")
def chained(encoder_path):
    fix_random_seed(0)
    nlp = make_nlp(encoder_path, ["tagger"])
    for head in ("chunker", "ner"):
        nlp.add_pipe(f"multitask_{head}", name=head, config={"crf": True})
    return learn(nlp)


@pytest.fixture
def surely(trained):
    """RETURNS (Language): The trained pipeline, whose heads leave probabilities."""
    for name in WORD_HEADS:
        trained.get_pipe(name).writes_probs = True
    yield trained
    for name in WORD_HEADS:
        trained.get_pipe(name).writes_probs = False


def asked(nlp, doc):
    """RETURNS (tuple): What `probs` and `span_probs` give, which run the encoder again."""
    tagger = nlp.get_pipe("tagger")
    (probs,) = tagger.probs(doc)["tags"]
    tags = [
        None if token.is_space else probs[token.i, tagger.cfg["tags"].index(token.tag_)]
        for token in doc
    ]
    spans = [
        prob
        for name, found in (("ner", doc.ents), ("chunker", doc.spans["np"]))
        for prob in (nlp.get_pipe(name).span_probs(doc, found) if len(doc) else [])
    ]
    return tags, spans


def kept(doc):
    """RETURNS (tuple): What the doc has."""
    return (
        [token._.tag_prob for token in doc],
        [span._.prob for span in [*doc.ents, *doc.spans["np"]]],
    )


def same(one, other):
    return all(
        len(a) == len(b) and all(x == pytest.approx(y, abs=1e-6) for x, y in zip(a, b))
        for a, b in zip(one, other)
    )


@pytest.mark.parametrize("crf", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_probs_are_those_of_a_pass_of_their_own(surely, chained, crf, temperature, monkeypatch):
    nlp = chained if crf else surely
    for name, part in (("tagger", "tags"), ("ner", ""), ("chunker", "")):
        head = nlp.get_pipe(name)
        monkeypatch.setattr(head, "writes_probs", True)
        monkeypatch.setitem(head.cfg, "temperatures", {part: temperature})
    docs = list(nlp.pipe(TEXTS))
    assert sum(len(doc.ents) for doc in docs) > 1 and sum(len(doc.spans["np"]) for doc in docs) > 2
    for doc in docs:
        assert same(kept(doc), asked(nlp, doc)), doc


def test_the_encoder_runs_once(surely, monkeypatch):
    encoder = surely.get_pipe("transformer").shim.encoder
    calls = []
    encode = type(encoder).encode
    monkeypatch.setattr(
        type(encoder),
        "encode",
        lambda self, *args, **kw: calls.append(1) or encode(self, *args, **kw),
    )
    doc = surely(TEXTS[0])
    assert doc[0]._.tag_prob is not None and doc.ents[0]._.prob is not None
    assert len(calls) == 1


def test_nothing_is_left_by_default_and_old_values_go(trained):
    doc = trained(TEXTS[0])
    assert not any("prob" in str(key) for key in doc.user_data)
    assert kept(doc) == ([None] * 5, [None] * (len(doc.ents) + len(doc.spans["np"])))
    trained.get_pipe("tagger").writes_probs = trained.get_pipe("ner").writes_probs = True
    try:
        trained(doc)
        assert doc[0]._.tag_prob and doc.ents[0]._.prob
    finally:
        trained.get_pipe("tagger").writes_probs = trained.get_pipe("ner").writes_probs = False
    trained(doc)
    assert doc[0]._.tag_prob is None and doc.ents[0]._.prob is None


def test_a_config_asks_for_them(trained, tmp_path):
    trained.to_disk(tmp_path)
    nlp = spacy.load(tmp_path, config={f"components.{name}.probs": True for name in WORD_HEADS})
    assert None not in [value for part in kept(nlp(TEXTS[0])) for value in part]
    assert nlp.config["components"]["ner"]["probs"] is True


def test_docbin_bytes_and_pickle_keep_them(surely):
    docs = list(surely.pipe(TEXTS))
    before = [kept(doc) for doc in docs]
    assert None not in before[0][0] + before[0][1]
    data = DocBin(docs=docs, store_user_data=True).to_bytes()
    assert [kept(doc) for doc in DocBin().from_bytes(data).get_docs(surely.vocab)] == before
    assert [kept(Doc(surely.vocab).from_bytes(doc.to_bytes())) for doc in docs] == before
    assert kept(pickle.loads(pickle.dumps(docs[0]))) == before[0]
    assert kept(docs[0].copy()) == before[0]


def test_an_entity_and_a_chunk_of_the_same_words_each_have_their_own():
    doc = Doc(Vocab(), words=["New", "York", "grew"])
    set_span_probs(doc, "ents", [(0, 8, "LOC", 0.25)])
    set_span_probs(doc, "spans:np", [(0, 8, "NP", 0.75), (9, 13, "VP", 0.5)])
    assert Span(doc, 0, 2, "LOC")._.prob == 0.25
    assert Span(doc, 0, 2, "NP")._.prob == 0.75
    assert Span(doc, 2, 3, "VP")._.prob == 0.5
    assert Span(doc, 0, 1, "NP")._.prob is None and Span(doc, 0, 2, "PER")._.prob is None
    # The same words and label in two layers: whoever knows the layer gets its own.
    set_span_probs(doc, "spans:other", [(0, 8, "LOC", 0.5)])
    span = Span(doc, 0, 2, "LOC")
    assert (span_prob(span, "spans:other"), span_prob(span, "ents")) == (0.5, 0.25)


def test_merged_tokens_keep_spans_and_lose_what_is_no_longer_theirs():
    doc = Doc(Vocab(), words=["New", "York", "grew"])
    doc.ents = [Span(doc, 0, 2, "LOC")]
    set_span_probs(doc, "ents", [(0, 8, "LOC", 0.25)])
    set_token_probs(doc, "tag", np.array([0.5, 0.75, 1.0]))
    assert doc[1]._.tag_prob == 0.75
    with doc.retokenize() as retokenizer:
        retokenizer.merge(doc[0:2])
    assert doc.ents[0]._.prob == 0.25
    assert [token._.tag_prob for token in doc] == [None, None]


def test_what_no_head_has_said_has_none(surely):
    doc = surely("Mr Smith \n loves New York")
    blank = next(token for token in doc if token.is_space)
    assert blank._.tag_prob is None
    ruled = surely.make_doc(TEXTS[0])
    ruled.ents = [Span(ruled, 1, 2, "RULE")]
    (ent,) = (ent for ent in surely(ruled).ents if ent.label_ == "RULE")
    assert ent._.prob is None


def test_what_a_head_leaves_out_has_none(surely, monkeypatch):
    monkeypatch.setattr(surely.get_pipe("tagger"), "abstain", 0.999999)
    ner = surely.get_pipe("ner")
    sure = [ent._.prob for ent in surely(TEXTS[0]).ents]
    monkeypatch.setattr(ner, "abstain", sum(sure) / 2)
    doc = surely(TEXTS[0])
    assert [token._.tag_prob for token in doc if not token.tag_] == [None] * 5
    assert [ent._.prob for ent in doc.ents] == [max(sure)]


def test_a_second_tagger_has_its_own(encoder_path):
    nlp = make_nlp(encoder_path, ["tagger"])
    config = {"extension": "coarse_of_test", "probs": True}
    nlp.add_pipe("multitask_tagger", name="coarse", config=config)
    examples = [example(nlp, ["Mr", "Smith"], tags=["NNP", "NN"])]
    nlp.initialize(lambda: examples)
    doc = nlp("Mr Smith")
    assert 0.5 <= doc[0]._.coarse_of_test_prob <= 1 and doc[0]._.tag_prob is None
    assert Token.has_extension("tag_prob") and Token.has_extension("pos_prob")


def test_relations_have_theirs_under_the_same_name():
    doc = Doc(Vocab(), words=["a", "b"])
    assert Relation(doc[0:1], doc[1:2], "of", 0.5).prob == 0.5
