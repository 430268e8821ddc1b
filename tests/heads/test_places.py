"""Places of tokens, and components that change the tokens."""

import json

import pytest
import spacy
from spacy.tokens import Doc, DocBin, Span

from spacy_multitask.heads.groups import set_group
from spacy_multitask.probabilities import set_span_probs
from spacy_multitask.relations import KEY, set_relations
from tests.conftest import make_nlp

SMITH = ["Mr", "Smith", "loves", "New", "York"]
WORDS = "New York and Anna Brown love the old town near the river .".split()
CHUNKS = [(0, 3, "NP"), (3, 5, "NP"), (5, 6, "VP"), (6, 9, "NP"), (9, 10, "PP"), (10, 12, "NP")]


@pytest.fixture
def doc():
    """A doc as the heads leave it."""
    nlp = spacy.blank("en")
    doc = Doc(nlp.vocab, words=WORDS)
    set_group(doc, "np", [(s, e, nlp.vocab.strings.add(label)) for s, e, label in CHUNKS])
    doc.ents = [Span(doc, 0, 2, "GPE"), Span(doc, 3, 5, "PER"), Span(doc, 10, 12, "LOC")]
    set_relations(doc, [(doc.ents[1], doc.ents[0], "lives_in", 0.5)])
    return doc


def texts(spans):
    return [(span.text, span.label_) for span in spans]


@pytest.mark.parametrize("read", ["whole", "by index", "saved", "copied"])
def test_chunks_and_relations_stay_at_their_words_when_entities_are_merged(doc, read):
    before, ends = texts(doc.spans["np"]), [r[:2] for r in doc._.relations]
    assert len(before) == 6
    ends = [(head.text, tail.text) for head, tail in ends]
    doc = spacy.blank("en").create_pipe("merge_entities")(doc)
    assert len(doc) == 10
    spans = doc.spans["np"]
    if read == "saved":
        doc = Doc(doc.vocab).from_bytes(doc.to_bytes())
        spans = doc.spans["np"]
    elif read == "copied":
        doc = doc.copy()
        spans = doc.spans["np"]
    elif read == "by index":
        spans = [spans[i] for i in range(-6, 0)]
    assert texts(spans) == before
    assert texts(doc._.chunks) == before
    assert [(r.head.text, r.tail.text) for r in doc._.relations] == ends


def test_a_chunk_that_ends_within_a_merged_token_grows_and_another_there_goes(doc):
    with doc.retokenize() as retokenizer:  # as many tokens as before, at other places
        retokenizer.merge(doc[5:8])
        retokenizer.split(doc[8], ["to", "wn"], heads=[doc[8], doc[9]])
        retokenizer.split(doc[11], ["ri", "ver"], heads=[doc[11], doc[12]])
    assert len(doc) == len(WORDS)
    assert texts(doc.spans["np"]) == [
        ("New York and", "NP"),
        ("Anna Brown", "NP"),
        ("love the old", "VP"),
        ("near", "PP"),
        ("the river", "NP"),
    ]
    assert len(doc.spans["np"]) == 5


def test_chunks_that_were_loaded_are_found_at_their_words(doc):
    before = texts(doc.spans["np"])
    (doc,) = DocBin(docs=[doc], store_user_data=True).get_docs(doc.vocab)
    doc = spacy.blank("en").create_pipe("merge_entities")(doc)
    assert texts(doc._.chunks) == before
    assert doc._.relations[0].head.text == "Anna Brown"


def test_spans_that_users_add_are_kept(doc):
    doc.spans["np"].append(Span(doc, 12, 13, "O"))
    doc = spacy.blank("en").create_pipe("merge_entities")(doc)
    assert texts(doc.spans["np"])[-1] == (".", "O")


def test_a_pipeline_may_merge_behind_its_heads(trained, tmp_path):
    trained.to_disk(tmp_path)
    nlp = spacy.load(tmp_path)
    plain = nlp("Mr Smith loves New York")
    chunks = texts(plain.spans["np"])
    assert ("New York", "NP") in chunks
    nlp.add_pipe("merge_entities")
    (doc,) = nlp.pipe(["Mr Smith loves New York"])
    assert [token.text for token in doc] == ["Mr", "Smith", "loves", "New York"]
    assert texts(doc.spans["np"]) == texts(doc._.chunks) == chunks


def test_relations_go_to_json_and_back(doc):
    data = json.loads(json.dumps(doc.to_json(underscore=["relations"]), indent=2))
    assert data["_"]["relations"] == [
        {
            "head": {"start": 13, "end": 23, "label": "PER", "text": "Anna Brown"},
            "tail": {"start": 0, "end": 8, "label": "GPE", "text": "New York"},
            "label": "lives_in",
            "probability": 0.5,
        }
    ]
    again = Doc(doc.vocab).from_json(data)
    assert again.user_data[KEY] == doc.user_data[KEY]
    assert doc._.relations[0].head.label_ == "PER", "they are spans for all others"


@pytest.mark.parametrize("saved", [False, True])
def test_a_doc_that_is_cut_out_has_what_was_said_of_its_words(doc, saved):
    newyork, anna, river = doc.ents
    pairs = [(anna, newyork, "lives_in", 0.5), (anna, river, "lives_near", 0.25)]
    set_relations(doc, pairs)
    said = [(e.start_char, e.end_char, e.label_, p) for e, p in zip(doc.ents, (0.5, 0.75, 1.0))]
    set_span_probs(doc, "ents", said)
    for first, last, relations in ((3, 12, ["lives_near"]), (0, 5, ["lives_in"]), (0, 2, [])):
        cut = doc[first:last].as_doc(copy_user_data=True)
        if saved:
            (cut,) = DocBin(docs=[cut], store_user_data=True).get_docs(doc.vocab)
        assert [r.label for r in cut._.relations] == relations
        assert all(r.head.text == "Anna Brown" for r in cut._.relations)
        known = {e.text: e._.prob for e in doc.ents}
        assert {e.text: e._.prob for e in cut.ents} == {e.text: known[e.text] for e in cut.ents}


def test_places_of_another_doc_do_not_mix_with_new_ones(doc):
    set_span_probs(doc, "ents", [(0, 8, "GPE", 0.5), (13, 23, "PER", 0.75)])
    cut = doc[3:5].as_doc(copy_user_data=True)
    set_relations(cut, [(cut.ents[0], cut.ents[0], "is", 1.0)])
    assert cut.ents[0]._.prob is None
    assert [(r.head.text, r.label) for r in cut._.relations] == [("Anna Brown", "is")]


def test_relations_of_the_first_version_are_read(doc):
    doc.user_data[KEY] = [[[3, 5, "PER"], [0, 2, "GPE"], "lives_in", 0.5]]
    assert [r.head.text for r in doc._.relations] == ["Anna Brown"]


def test_chunks_are_found_under_another_key(encoder_path):
    nlp = make_nlp(encoder_path, [])
    nlp.add_pipe("multitask_chunker", name="chunker", config={"spans_key": "sc"})
    doc = Doc(nlp.vocab, words=SMITH)
    nlp.get_pipe("chunker").write_spans(doc, [(0, 2, nlp.vocab.strings.add("NP"))])
    assert [span.text for span in doc._.chunks] == ["Mr Smith"]
    assert [span.text for span in doc._.noun_chunks] == ["Mr Smith"]
    other = Doc(nlp.vocab, words=SMITH)
    other.spans["np"] = [Span(other, 0, 1, "NP")]
    assert len(other._.chunks) == 1
