"""Line breaks, second spaces, tabs: tokens that are no words."""

import numpy as np
import pytest
import spacy
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import fix_random_seed

from spacy_multitask.heads.items import group_items
from spacy_multitask.heads.scorers import score_chunks, score_ents
from tests.conftest import corpus, example, learn, make_nlp

SMITH = ["Mr", "Smith", "loves", "New", "York"]
BLANKS = ["\n", "  ", "\t", "\xa0"]


def spans(doc):
    """RETURNS (tuple): Entities and chunks, by their words."""
    return [
        [([t.text for t in span if not t.is_space], span.label_) for span in group]
        for group in (doc.ents, doc.spans["np"])
    ]


def with_blanks(words, blank):
    """RETURNS (List[str]): The same with a blank before, between and behind all of them."""
    return [blank, *(token for word in words for token in (word, blank))]


@pytest.fixture(scope="module")
def chained(encoder_path):
    """RETURNS (Language): Chunker and recogniser with a linear chain."""
    fix_random_seed(0)
    nlp = make_nlp(encoder_path, ["tagger"])
    for head in ("chunker", "ner"):
        nlp.add_pipe(f"multitask_{head}", name=head, config={"crf": True})
    return learn(nlp)


@pytest.mark.parametrize("crf", [False, True])
def test_spans_are_found_as_if_blanks_were_not_there(trained, chained, crf, monkeypatch):
    nlp = chained if crf else trained
    rng = np.random.default_rng(0)
    heads = [nlp.get_pipe(name) for name in ("ner", "chunker")]
    dense = Doc(nlp.vocab, words=SMITH * 3)
    sparse = Doc(nlp.vocab, words=with_blanks(SMITH * 3, "\n"))
    # The same for each word in both docs; blanks are all that would be a span.
    vectors = rng.normal(size=(len(dense), 32)).astype(np.float32)
    encoder = nlp.get_pipe("transformer")
    encode = encoder.shim.encoder.encode

    def encoded(docs, **options):
        batch = encode(docs, **{**options, "projections": None, "keep_words": True})
        start = 0
        for doc in docs:
            rows = start + np.flatnonzero([not t.is_space for t in doc])
            batch.words[rows] = batch.words.new_tensor(vectors[: len(rows)])
            start += len(doc)
        return batch

    monkeypatch.setattr(encoder.shim.encoder, "encode", encoded)
    for head in heads:
        for docs in ([dense], [Doc(nlp.vocab), sparse, Doc(nlp.vocab, words=["\n"])]):
            head.set_annotations(docs, head.predict(docs))
    assert spans(sparse) == spans(dense) and any(spans(dense))
    assert any(len(span) > 2 for span in [*sparse.ents, *sparse.spans["np"]])
    # Probabilities, too.
    for head, own, other in zip(
        heads, (dense.ents, dense.spans["np"]), (sparse.ents, sparse.spans["np"])
    ):
        assert head.span_probs(dense, own) == pytest.approx(
            head.span_probs(sparse, other), rel=1e-4
        )


@pytest.mark.parametrize("crf", [False, True])
@pytest.mark.parametrize("blank", BLANKS)
def test_no_span_begins_or_ends_with_a_blank(trained, chained, crf, blank):
    nlp = chained if crf else trained
    texts = [with_blanks(SMITH, blank), [blank], [blank, *SMITH], ["IBM", blank, blank, "made"]]
    docs = [Doc(nlp.vocab, words=words) for words in texts]
    for doc in nlp.pipe(docs):
        for span in [*doc.ents, *doc.spans["np"]]:
            assert not span[0].is_space and not span[-1].is_space


@pytest.mark.parametrize("blank", BLANKS)
def test_blanks_get_the_tag_that_spacy_gives_them(trained, blank):
    doc = trained(Doc(trained.vocab, words=with_blanks(SMITH, blank)))
    assert {t.tag_ for t in doc if t.is_space} == {"_SP"}
    assert {t.pos_ for t in doc if t.is_space} == {""}, "the head has learned no parts of speech"
    assert "_SP" not in {t.tag_ for t in doc if not t.is_space}
    assert "_SP" not in trained.get_pipe("tagger").labels


def test_blanks_are_spaces_as_parts_of_speech_and_in_an_extension(encoder_path):
    nlp = make_nlp(encoder_path, ["tagger"])
    nlp.add_pipe("multitask_tagger", name="other", config={"extension": "fine", "abstain": 0.99})
    gold = [example(nlp, SMITH, pos=["PROPN"] * 5, tags=["NNP"] * 5)]
    nlp.initialize(lambda: gold)
    doc = nlp(Doc(nlp.vocab, words=["Mr", "\n", "Smith"]))
    assert [doc[1].tag_, doc[1].pos_, doc[1]._.fine] == ["_SP", "SPACE", "_SP"]
    assert doc[0].pos_ == "PROPN"


def test_tags_of_blanks_are_not_learned(nlp, encoder_path):
    words = ["Mr", "\n", "Smith"]
    eg = example(nlp, words, tags=["NNP", "NNP", "NNP"])
    rows, _ = nlp.get_pipe("tagger").gold([eg])["tags"]
    assert rows.tolist() == [0, 2]
    new = make_nlp(encoder_path, ["tagger"])
    new.initialize(lambda: [example(new, words, tags=["NNP", "_SP", "NNP"])])
    assert new.get_pipe("tagger").labels == ("NNP",)


def blank_edges(nlp):
    """RETURNS (Example): With entities and chunks that begin, end or consist of blanks."""
    words = ["\n", "Mr", "\n", "Smith", " ", "loves", "\n"]
    reference = Doc(nlp.vocab, words=words)
    # Entities of spaCy may not have them, but span groups may.
    places = [(0, 5, "NP"), (5, 6, "VP"), (6, 7, "NP")]
    reference.spans["np"] = [Span(reference, s, e, label=label) for s, e, label in places]
    return Example(Doc(nlp.vocab, words=words), reference)


def test_gold_spans_are_trimmed_and_counted_in_one_warning(encoder_path):
    nlp = make_nlp(encoder_path, ["chunker"])
    eg = blank_edges(nlp)
    chunker = nlp.get_pipe("chunker")
    with pytest.warns(
        UserWarning, match="'chunker' has 4 spans that begin or end with b"
    ) as caught:
        nlp.initialize(lambda: [eg, eg])
        rows, targets = chunker.gold([eg])
    assert len([w for w in caught if "blanks" in str(w.message)]) == 1
    assert rows.tolist() == [1, 3, 5]
    names = ["O", *(f"{k}-{label}" for label in chunker.cfg["labels"] for k in "BIES")]
    assert [names[k] for k in targets] == ["B-NP", "E-NP", "S-VP"]


@pytest.mark.parametrize("crf", [False, True])
def test_blanks_change_no_loss(encoder_path, crf, monkeypatch):
    fix_random_seed(0)
    nlp = make_nlp(encoder_path, [])
    nlp.add_pipe("multitask_ner", name="ner", config={"crf": crf})
    nlp.initialize(lambda: corpus(nlp))
    ner = nlp.get_pipe("ner")
    for p in ner.module.linear.parameters():
        p.data.zero_()  # whatever the vectors are
    dense = example(nlp, SMITH, ents=[(1, 2, "PER"), (3, 5, "LOC")])
    words = with_blanks(SMITH, "\n")
    sparse = Example(Doc(nlp.vocab, words=words), Doc(nlp.vocab, words=words))
    sparse.reference.set_ents(
        [Span(sparse.reference, s, e, label=x) for s, e, x in [(3, 4, "PER"), (7, 10, "LOC")]]
    )
    losses = [ner.update([eg], losses={})["ner"] for eg in (dense, sparse)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5) and losses[0] > 0


def test_a_teacher_does_not_teach_blanks(trained, tmp_path, encoder_path):
    trained.to_disk(tmp_path)
    nlp = make_nlp(encoder_path, ["ner"])
    nlp.config["initialize"]["components"]["ner"] = {"teacher": str(tmp_path)}
    nlp.initialize(lambda: [*corpus(nlp), example(nlp, ["\n"])])
    losses = nlp.update([example(nlp, ["\n", "\t"])])
    assert losses["ner"] == 0.0


def test_gold_spans_are_scored_without_blanks_at_their_edges():
    vocab = spacy.blank("en").vocab
    words = ["\n", "New", "York", "\n", "is", "old", " "]
    reference = Doc(vocab, words=words, ents=["B-LOC", "I-LOC", "I-LOC", "I-LOC", "O", "", "O"])
    predicted = Doc(vocab, words=words, ents=["O", "B-LOC", "I-LOC", "O", "O", "O", "O"])
    for doc, spans in ((reference, [(0, 4), (4, 6), (6, 7)]), (predicted, [(1, 3), (4, 6)])):
        doc.spans["np"] = [Span(doc, start, end, label="NP") for start, end in spans]
        doc.spans["ents"] = list(doc.ents)
    example = Example(predicted, reference)
    assert score_ents([example])["ents_f"] == 1.0
    assert score_ents([example], spans_key="ents")["spans_ents_f"] == 1.0
    assert score_chunks([example], spans_key="np")["spans_np_f"] == 1.0
    items = group_items(example, None, "np")
    assert items.gold == items.own == {(1, 3, "NP"), (4, 6, "NP")}
    assert not items.cut
    assert [ent.text for ent in reference.ents] == ["\nNew York\n"], "the gold stays as it is"


def test_predictions_where_gold_is_unknown_do_not_count_beside_blanks():
    vocab = spacy.blank("en").vocab
    words = ["\n", "York", "is", "old"]
    reference = Doc(vocab, words=words, ents=["B-LOC", "I-LOC", "", ""])
    reference.set_ents([Span(reference, 0, 2, "LOC")], default="missing")
    predicted = Doc(vocab, words=words, ents=["O", "B-LOC", "O", "B-LOC"])
    scores = score_ents([Example(predicted, reference)])
    assert (scores["ents_p"], scores["ents_r"]) == (1.0, 1.0)
