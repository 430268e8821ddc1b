"""Relations between entities."""

import numpy as np
import pytest
import spacy
import torch
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from spacy.util import fix_random_seed

from spacy_multitask.converters import ConversionError, convert
from spacy_multitask.evaluation.bootstrap import count_correct
from spacy_multitask.heads import relations
from spacy_multitask.heads.relations import score_relations
from spacy_multitask.layers.pairs import PairClassifier, pool_max
from spacy_multitask.relations import get_relations, set_relations
from tests.conftest import make_nlp

TEXT = "Anna Brown works for IBM in New York".split()
ENTS = ["B-PER", "I-PER", "O", "O", "B-ORG", "O", "B-LOC", "I-LOC"]
OTHER = "IBM opened a shop in New York".split()
OTHER_ENTS = ["B-ORG", "O", "O", "O", "O", "B-LOC", "I-LOC"]


def gold(nlp, words, ents, relations, known=True):
    reference = Doc(nlp.vocab, words=words, ents=ents)
    if known:
        e = reference.ents
        set_relations(reference, [(e[h], e[t], label, 1.0) for h, t, label in relations])
    return Example(Doc(nlp.vocab, words=words), reference)


def corpus(nlp):
    return [
        gold(nlp, TEXT, ENTS, [(0, 1, "works_for"), (1, 2, "located_in")]),
        gold(nlp, OTHER, OTHER_ENTS, [(0, 1, "located_in")]),
        gold(
            nlp, "Anna Brown left New York".split(), ["B-PER", "I-PER", "O", "B-LOC", "I-LOC"], []
        ),
        gold(nlp, TEXT, ENTS, [], known=False),
        gold(nlp, [], [], []),
    ]


def found(doc):
    return {(r.head.text, r.tail.text, r.label) for r in doc._.relations}


def test_pairs_of_a_long_doc_are_the_same_in_parts(trained, monkeypatch):
    head = trained.get_pipe("relations")
    monkeypatch.setattr(head, "max_distance", 6)
    docs = [[(i, i + 1 + i % 3, "LOC") for i in range(0, 60, 2)], [], [(0, 1, "PER"), (3, 4, "X")]]
    whole = head._pairs(docs, [62, 0, 5])
    spans = whole.spans.tolist()
    near = [
        [i, j]
        for i, (s, e) in enumerate(spans)
        for j, (t, f) in enumerate(spans)
        if i != j and (i < 30) == (j < 30) and max(s, t) - min(e, f) <= 6
    ]
    assert whole.pairs.tolist() == near
    monkeypatch.setattr(relations, "PAIRS", 64)
    assert head._pairs(docs, [62, 0, 5]).pairs.tolist() == near


EXPECTED = {("Anna Brown", "IBM", "works_for"), ("IBM", "New York", "located_in")}


@pytest.fixture(scope="module")
def trained(encoder_path):
    fix_random_seed(0)
    nlp = make_nlp(encoder_path, ["ner"])
    nlp.add_pipe("multitask_relations", name="relations")
    sgd = nlp.initialize(lambda: corpus(nlp))
    sgd.learn_rate = 0.003
    for _ in range(60):
        nlp.update(corpus(nlp), sgd=sgd)
    return nlp


def test_relations_are_learned_beside_entities(trained):
    doc = trained(Doc(trained.vocab, words=TEXT))
    assert found(doc) == EXPECTED
    relation = doc._.relations[0]
    assert relation.head.label_ == "PER" and 0.5 < relation.probability <= 1.0
    assert trained.evaluate(corpus(trained))["rels_f"] == 1.0
    assert found(trained(Doc(trained.vocab, words=["Anna", "Brown", "left"]))) == set()
    assert found(trained(Doc(trained.vocab, words=[]))) == set()


def test_counts_for_the_interval_sum_up_to_the_score(trained):
    examples = corpus(trained)
    scores = trained.evaluate(examples)
    for eg in examples:
        eg.predicted = trained(eg.predicted)
    # One that is wrong, so that the three counts differ.
    set_relations(examples[1].predicted, [])
    counts = [c for eg in examples if (c := count_correct(eg, "rels_f")) is not None]
    right, own, gold = map(sum, zip(*counts))
    assert (right, own, gold) == (2, 2, 3)
    assert score_relations(examples)["rels_f"] == pytest.approx(2 * right / (own + gold))
    assert scores["rels_f"] == 1.0


def test_alone_and_in_a_batch(trained):
    docs = [words for eg in corpus(trained) if (words := [t.text for t in eg.reference])]
    make = lambda: [Doc(trained.vocab, words=words) for words in docs]  # noqa: E731
    alone = [found(trained(doc)) for doc in make()]
    assert [found(doc) for doc in trained.pipe(make(), batch_size=10)] == alone


def test_relations_survive_saving(trained, tmp_path):
    doc = trained(Doc(trained.vocab, words=TEXT))
    data = DocBin(docs=[doc], store_user_data=True).to_bytes()
    (again,) = DocBin().from_bytes(data).get_docs(spacy.blank("en").vocab)
    assert found(again) == EXPECTED
    assert found(Doc(trained.vocab).from_bytes(doc.to_bytes())) == EXPECTED
    trained.to_disk(tmp_path)
    assert found(spacy.load(tmp_path)(Doc(trained.vocab, words=TEXT))) == EXPECTED


def test_unknown_is_not_negative(encoder_path):
    nlp = make_nlp(encoder_path, ["ner"])
    nlp.add_pipe("multitask_relations", name="relations")
    nlp.initialize(lambda: corpus(nlp))
    head = nlp.get_pipe("relations")
    unknown = gold(nlp, TEXT, ENTS, [], known=False)
    none = gold(nlp, TEXT, ENTS, [])
    assert head.gold([unknown]) is None
    assert head.gold([none]).targets.tolist() == [0] * 6, "all ordered pairs of three entities"
    assert score_relations([unknown])["rels_f"] is None
    assert score_relations([none])["rels_f"] == 0.0


@pytest.mark.parametrize(
    ("second", "message"),
    [((0, 1, "located_in"), "several relations from one entity"), ((1, 1, "works_for"), "itself")],
)
def test_relations_that_can_not_be_learned_are_warned_of_and_missed(trained, second, message):
    eg = gold(trained, TEXT, ENTS, [(0, 1, "works_for"), (1, 2, "located_in"), second])
    head = trained.get_pipe("relations")
    head._warned.clear()
    with pytest.warns(UserWarning, match=f"'relations' has .*{message}"):
        targets = head.gold([eg]).targets
    assert np.count_nonzero(targets) == 2
    assert trained.evaluate([eg])["rels_r"] == pytest.approx(2 / 3)


def test_the_same_relation_twice_is_no_surprise(trained, recwarn):
    head = trained.get_pipe("relations")
    head._warned.clear()
    once = gold(trained, TEXT, ENTS, [(0, 1, "works_for")])
    twice = gold(trained, TEXT, ENTS, [(0, 1, "works_for"), (0, 1, "works_for")])
    assert head.gold([twice]).targets.tolist() == head.gold([once]).targets.tolist()
    assert not recwarn


def test_far_pairs_are_left_out(encoder_path):
    nlp = make_nlp(encoder_path, ["ner"])
    nlp.add_pipe("multitask_relations", name="relations", config={"max_distance": 2})
    nlp.initialize(lambda: corpus(nlp))
    pairs = nlp.get_pipe("relations").gold([gold(nlp, TEXT, ENTS, [])]).pairs
    assert sorted(map(tuple, pairs.tolist())) == [(0, 1), (1, 0), (1, 2), (2, 1)]


def test_scores_by_hand():
    nlp = spacy.blank("en")
    eg = gold(nlp, TEXT, ENTS, [(0, 1, "a"), (1, 2, "b")])
    doc = Doc(
        nlp.vocab, words=TEXT, ents=["B-PER", "I-PER", "O", "O", "B-LOC", "O", "B-LOC", "I-LOC"]
    )
    set_relations(doc, [(doc.ents[0], doc.ents[1], "a", 0.9), (doc.ents[0], doc.ents[2], "a", 0.9)])
    eg.predicted = doc
    scores = score_relations([eg])
    assert scores["rels_f"] == 0.0, "IBM has the wrong type"
    assert scores["rels_boundaries_f"] == 0.5
    assert scores["rels_per_type"]["b"] == {"p": 0.0, "r": 0.0, "f": 0.0}


def test_pooling_takes_the_largest_values():
    words = torch.arange(12.0).reshape(4, 3) * torch.tensor([1.0, -1.0, 1.0])
    pooled = pool_max(words, np.array([[0, 2], [2, 2], [1, 4]]), torch.full((3,), 7.0))
    expected = [[3.0, -1.0, 5.0], [7.0, 7.0, 7.0], [9.0, -4.0, 11.0]]
    assert pooled.tolist() == expected


def test_blocks_of_pairs_do_not_matter(trained, monkeypatch):
    doc = Doc(trained.vocab, words=TEXT * 5)
    whole = found(trained(doc.copy()))
    monkeypatch.setattr("spacy_multitask.layers.pairs.BLOCK", 30)
    assert found(trained(doc.copy())) == whole


def test_a_block_of_pairs_gathers_few_words(monkeypatch):
    rng = np.random.default_rng(0)
    module = PairClassifier(8, 3, 5, 16)
    words = torch.from_numpy(rng.normal(size=(120, 8)).astype(np.float32))
    spans = np.stack([np.arange(0, 120, 2), np.arange(1, 121, 2)], axis=1)
    pairs = np.argwhere(~np.eye(60, dtype=bool))
    types = rng.integers(0, 4, 60)
    whole = module(words, spans, types, pairs)
    gathered = []

    def count(words, ranges, empty):
        gathered.append(int(np.maximum(0, ranges[:, 1] - ranges[:, 0]).sum()))
        return pool_max(words, ranges, empty)

    monkeypatch.setattr("spacy_multitask.layers.pairs.pool_max", count)
    monkeypatch.setattr("spacy_multitask.layers.pairs.BLOCK", 1000)
    assert torch.allclose(module.project(words, spans, types, pairs), whole, atol=1e-6)
    assert gathered[0] == 60, "the spans themselves, once"
    # One pair may go beyond the limit.
    assert max(gathered[1:]) < 1000 + 120 and sum(gathered[1:]) > 100_000


def test_saved_size_is_found_again():
    module = PairClassifier(8, 3, 5, 16)
    again = PairClassifier.from_state(module.state_dict(), {})
    again.load_state_dict(module.state_dict())


CONLL04 = (
    "#doc 1\n0\tAnna\tB-Peop\t['N']\t[0]\n1\tBrown\tI-Peop\t['Work_For', 'Live_In']\t[3, 5]\n"
    "2\tof\tO\t['N']\t[2]\n3\tIBM\tB-Org\t['N']\t[3]\n4\tin\tO\t['N']\t[4]\n"
    "5\tRome\tB-Loc\t['N']\t[5]\n#doc 2\n0\tHello\tO\t['N']\t[0]\n"
)


def test_conll04(tmp_path):
    (tmp_path / "a.txt").write_text(CONLL04)
    report = convert("conll04", tmp_path / "a.txt", tmp_path / "a.spacy")
    assert report.gold["relations"] == 2 and "Work_For 1" in report.render()
    docs = list(DocBin().from_disk(tmp_path / "a.spacy").get_docs(spacy.blank("en").vocab))
    assert found(docs[0]) == {("Anna Brown", "IBM", "Work_For"), ("Anna Brown", "Rome", "Live_In")}
    assert get_relations(docs[1]) == [] and docs[1].has_annotation("ENT_IOB")
    assert "spacy_multitask_relations" in docs[1].user_data, "none is not unknown"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[3, 5]", "[3, 4]", "does not end an entity"),
        ("[3, 5]", "[3]", "2 labels, but 1 tails"),
        ("'Live_In']", "Live_In]", "is not"),
        ("2\tof", "3\tof", "not token 2"),
        ("B-Org", "X-Org", "is not O"),
    ],
)
def test_malformed_lines_are_named(tmp_path, old, new, message):
    (tmp_path / "a.txt").write_text(CONLL04.replace(old, new))
    with pytest.raises(ConversionError, match=rf"a\.txt:\d+: .*{message}"):
        convert("conll04", tmp_path / "a.txt", tmp_path / "a.spacy")
