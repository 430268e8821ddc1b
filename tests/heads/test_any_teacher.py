"""Teachers that are no head of the same kind: other pipelines, and files of labels."""

import numpy as np
import pytest
import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example
from spacy.training.initialize import init_nlp
from spacy.util import fix_random_seed
from thinc.api import Config

from spacy_multitask.relations import set_relations
from tests.conftest import example, make_nlp

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

WORDS = ["Anna", "loves", "New", "York"]
TEXT = "Anna loves New York"


def write(path, *rows):
    """RETURNS (str): The path of a file with these rows."""
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return str(path)


def span(start, end, label, score=None):
    return {"start": start, "end": end, "label": label, "score": score}


def make(encoder_path, head, teacher, examples, config=None, **settings):
    fix_random_seed(0)
    nlp = make_nlp(encoder_path, [])
    nlp.add_pipe(f"multitask_{head}", name=head, config=config or {})
    nlp.config["initialize"]["components"] = {head: {"teacher": teacher, **settings}}
    nlp.initialize(lambda: examples(nlp))
    return nlp


def told(nlp, head, words=WORDS):
    """RETURNS (Any): What the teacher says of these words."""
    return nlp.get_pipe(head).teacher.say([Doc(nlp.vocab, words=words)])[0]


def known_ents(nlp):
    return [
        example(nlp, ["Smith", "left", "Lyon"], ents=[(0, 1, "PER"), (2, 3, "LOC")]),
        example(nlp, WORDS),
    ]


# From a file


def test_probabilities_of_entities(encoder_path, tmp_path):
    said = {"text": TEXT, "spans": [span(0, 4, "PER", 0.75), span(11, 19, "LOC", 0.5)]}
    nlp = make(encoder_path, "ner", write(tmp_path / "said.parquet", said), known_ents)
    O, LOC, PER = 0, 1, 5  # of BIOES  # noqa: E741
    wanted = np.zeros((4, 9))
    wanted[0, [O, PER + 3]] = 0.25, 0.75
    wanted[1, O] = 1.0
    wanted[2, [O, LOC]] = wanted[3, [O, LOC + 2]] = 0.5, 0.5
    np.testing.assert_array_equal(told(nlp, "ner"), wanted)


def test_the_gradient_is_that_of_the_probabilities(encoder_path, tmp_path):
    said = {"text": TEXT, "spans": [span(0, 4, "PER", 0.75), span(11, 19, "LOC", None)]}
    path = write(tmp_path / "said.parquet", said)
    nlp = make(encoder_path, "ner", path, known_ents, teacher_weight=0.5)
    head, eg = nlp.get_pipe("ner"), example(nlp, WORDS)
    (vectors,) = nlp.get_pipe("transformer").model.predict([eg.predicted])
    logits = head.module.linear(torch.from_numpy(np.array(vectors)))
    probs = torch.from_numpy(told(nlp, "ner")).float()
    (0.5 * torch.nn.functional.cross_entropy(logits, probs)).backward()
    wanted = head.module.linear.weight.grad.clone()
    head.module.zero_grad(set_to_none=True)
    unsaid = example(nlp, ["nobody", "knows"])  # it is not in the file
    nlp.update([unsaid, eg], sgd=False)
    torch.testing.assert_close(head.module.linear.weight.grad, wanted)
    assert wanted.abs().sum() > 0.01


def test_entities_that_overlap_or_cut_a_token(encoder_path, tmp_path):
    rows = [span(0, 10, "PER", 0.2), span(0, 4, "PER", 0.8), span(11, 16, "LOC", 0.9)]
    path = write(tmp_path / "said.parquet", {"text": TEXT, "spans": rows})
    lesson = told(make(encoder_path, "ner", path, known_ents), "ner")
    assert lesson[0].argmax() == 8 and lesson[1].argmax() == 0, "the more probable one"
    assert lesson[2].argmax() == 0 and np.isnan(lesson[3]).all(), "'York' is cut"


def test_topics_of_which_one_is_true(encoder_path, tmp_path):
    known = lambda nlp: [  # noqa: E731
        example(nlp, ["Lyon"], cats={"A": 1.0}), example(nlp, ["town"], cats={"B": 1.0}),
        example(nlp, ["old"], cats={"C": 1.0}), example(nlp, WORDS),
    ]  # fmt: skip
    row = {"text": TEXT, "cats": [{"label": "A", "score": 0.5}, {"label": "D", "score": 0.1}]}
    other = {"text": "x", "cats": [{"label": "B", "score": 1.0}, {"label": "C", "score": 1.0}]}
    nlp = make(encoder_path, "textcat", write(tmp_path / "said.parquet", row, other), known)
    np.testing.assert_array_equal(told(nlp, "textcat"), [0.5, 0.25, 0.25])
    head, eg = nlp.get_pipe("textcat"), example(nlp, WORDS)
    logits = head.module.linear(torch.from_numpy(head.packed([eg.predicted]).doc_vectors.numpy()))
    torch.nn.functional.cross_entropy(logits, torch.tensor([[0.5, 0.25, 0.25]])).backward()
    wanted = head.module.linear.weight.grad.clone()
    head.module.zero_grad(set_to_none=True)
    nlp.update([eg], sgd=False)
    torch.testing.assert_close(head.module.linear.weight.grad, wanted, rtol=1e-4, atol=1e-6)


def test_of_several_topics_only_those_without_gold_are_taught(encoder_path, tmp_path):
    known = lambda nlp: [example(nlp, WORDS, cats={"A": 1.0}), example(nlp, ["x"], cats={"B": 0.0})]  # noqa: E731
    row = {"text": TEXT, "cats": [{"label": "A", "score": 0.0}, {"label": "B", "score": 0.25}]}
    path = write(tmp_path / "said.parquet", row)
    config = {"exclusive_classes": False}
    nlp = make(encoder_path, "textcat", path, known, config)
    head = nlp.get_pipe("textcat")
    eg = known(nlp)[0]
    logits = head.module.linear(torch.from_numpy(head.packed([eg.predicted]).doc_vectors.numpy()))
    loss = torch.nn.functional.binary_cross_entropy_with_logits
    (loss(logits[0, 0], torch.tensor(1.0)) + loss(logits[0, 1], torch.tensor(0.25))).backward()
    wanted = head.module.linear.weight.grad.clone()
    head.module.zero_grad(set_to_none=True)
    nlp.update([eg], sgd=False)
    torch.testing.assert_close(head.module.linear.weight.grad, wanted, rtol=1e-4, atol=1e-6)


def test_spans_that_overlap(encoder_path, tmp_path):
    def known(nlp):
        eg, unknown = example(nlp, ["Lyon", "left"]), example(nlp, WORDS)
        eg.reference.spans["sc"] = [Span(eg.reference, 0, 1, label="LOC")]
        return [eg, unknown]

    rows = [span(0, 10, "LOC", 0.25), span(11, 19, "LOC", 0.5), span(6, 10, "LOC", 1.0)]
    path = write(tmp_path / "said.parquet", {"text": TEXT, "spans": rows})
    nlp = make(encoder_path, "spans", path, known, {"max_width": 3})
    spans, unknown, probs = told(nlp, "spans")
    assert dict(zip(spans, probs)) == {(0, 2, "LOC"): 0.25, (2, 4, "LOC"): 0.5}
    assert unknown == [1], "a span cuts 'loves'"
    head = nlp.get_pipe("spans")
    before = head.module.output.weight.detach().clone()
    nlp.update([known(nlp)[1]], sgd=nlp.create_optimizer())
    assert not torch.equal(before, head.module.output.weight.detach())


def test_without_gold_the_labels_are_those_of_the_file(encoder_path, tmp_path):
    none = lambda nlp: [example(nlp, WORDS), example(nlp, ["nobody", "knows"])]  # noqa: E731
    rows = [
        {
            "text": TEXT,
            "spans": [span(0, 4, "PER", 0.9)],
            "cats": [{"label": "love", "score": 0.9}],
        },
        {"text": "nobody knows", "spans": [], "cats": [{"label": "doubt", "score": 1.0}]},
    ]
    path = write(tmp_path / "said.parquet", *rows)
    assert make(encoder_path, "ner", path, none).get_pipe("ner").labels == ("PER",)
    nlp = make(encoder_path, "textcat", path, none)
    assert nlp.get_pipe("textcat").labels == ("doubt", "love")
    sgd = nlp.create_optimizer()
    sgd.learn_rate = 0.01
    for _ in range(15):
        nlp.update(none(nlp), sgd=sgd)
    cats = nlp(Doc(nlp.vocab, words=WORDS)).cats
    assert 0.75 < cats["love"] < 0.97, "as sure as it was told"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"text": "other"}], "has the columns text. Columns are"),
        ([{"text": "other", "spans": [span(0, 5, "PER")]}], "says nothing of any training doc"),
        ([{"text": "x", "spans": [span(0, 2, "PER")]}], "row 0: the span from character 0 to 2"),
        ([{"text": TEXT, "spans": [span(0, 4, "PER", 1.5)]}], "the score 1.5 of 'PER' is not"),
        (
            [{"text": TEXT, "spans": [{"start": 0, "label": "PER"}]}],
            "row 0: .* in 'spans'. Columns",
        ),
    ],
)
def test_files_of_another_form_are_refused(encoder_path, tmp_path, rows, message):
    with pytest.raises(ValueError, match=message):
        make(encoder_path, "ner", write(tmp_path / "said.parquet", *rows), known_ents)


def test_what_is_no_file_is_refused(encoder_path, tmp_path):
    with pytest.raises(ValueError, match="there is no such file"):
        make(encoder_path, "ner", str(tmp_path / "gone.parquet"), known_ents)
    (tmp_path / "text.parquet").write_text("no such thing")
    with pytest.raises(ValueError, match="is no Parquet file, or a damaged one"):
        make(encoder_path, "ner", str(tmp_path / "text.parquet"), known_ents)


# From any pipeline


def ruler(path, *labels):
    """RETURNS (str): Folder of a pipeline that finds Anna and New York."""
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns(
        [{"label": labels[0], "pattern": "Anna"}, {"label": labels[1], "pattern": "New York"}]
    )
    nlp.to_disk(path)
    return str(path)


def test_a_pipeline_of_others_teaches_labels_of_the_same_name(encoder_path, tmp_path):
    lesson = told(make(encoder_path, "ner", ruler(tmp_path, "PER", "LOC"), known_ents), "ner")
    assert lesson.argmax(1).tolist() == [8, 0, 1, 3] and (lesson.max(1) == 1).all()


def test_where_a_teacher_lacks_labels_only_what_it_finds_is_learned(encoder_path, tmp_path):
    lesson = told(make(encoder_path, "ner", ruler(tmp_path, "PER", "GPE"), known_ents), "ner")
    # New York may be a LOC, and so may anything else.
    assert lesson[0].argmax() == 8 and np.isnan(lesson[1:]).all()


def test_a_pipeline_that_says_nothing_of_the_layer_is_refused(encoder_path, tmp_path):
    tags = lambda nlp: [example(nlp, WORDS, tags=["N", "V", "N", "N"]), example(nlp, ["x"])]  # noqa: E731
    with pytest.raises(ValueError, match=r"says nothing of any training doc.*It has: entity_ruler"):
        make(encoder_path, "tagger", ruler(tmp_path, "PER", "LOC"), tags)


@Language.component("say_that_they_live_there")
def say_that_they_live_there(doc):
    person, place = doc.ents if len(doc.ents) == 2 else (None, None)
    set_relations(doc, [(person, place, "lives_in", 0.75)] if person is not None else [])
    return doc


def test_relations(encoder_path, tmp_path):
    ruler(tmp_path / "ruler", "PER", "LOC")
    wise = spacy.load(tmp_path / "ruler")
    wise.add_pipe("say_that_they_live_there")
    wise.to_disk(tmp_path / "wise")

    def known(nlp):
        eg = example(nlp, ["Smith", "left", "Lyon"], ents=[(0, 1, "PER"), (2, 3, "LOC")])
        e = eg.reference.ents
        set_relations(eg.reference, [(e[0], e[1], "lives_in", 1.0)])
        return [eg, example(nlp, WORDS)]

    nlp = make(encoder_path, "relations", str(tmp_path / "wise"), known)
    entities, said, _ = told(nlp, "relations")
    assert entities == [(0, 1, "PER"), (2, 4, "LOC")]
    assert said == {((0, 1, "PER"), (2, 4, "LOC")): (1, 0.75)}
    head = nlp.get_pipe("relations")
    lessons = {1: (entities, said, True)}
    batch = head.packed([eg.predicted for eg in known(nlp)])
    rows = np.array([[3, 4], [5, 7]])
    pairs = np.array([[0, 1], [1, 0]])
    with torch.no_grad():
        taught = head.taught(batch.docs, None, lessons)[""]
        loss = head.loss_of_taught(head.module.eval(), batch, "", taught)
        logits = head.module(batch.word_vectors, rows, np.array([1, 0]), pairs)
        probs = torch.tensor([[0.25, 0.75], [1.0, 0.0]])
        torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(logits, probs))


# Heads that come from another pipeline


def test_a_head_with_a_source_may_have_a_teacher(encoder_path, tmp_path):
    nlp = make_nlp(encoder_path, ["ner"])
    nlp.initialize(lambda: known_ents(nlp))
    nlp.to_disk(tmp_path / "old")
    docs = DocBin(docs=[eg.reference for eg in known_ents(nlp)])
    docs.to_disk(tmp_path / "train.spacy")
    config = Config().from_str(nlp.config.to_str())
    source = {"source": str(tmp_path / "old")}
    config["components"] = {"transformer": source, "ner": source}
    reader = {
        "@readers": "spacy_multitask.MultiCorpus.v1",
        "corpora": {"a": {"path": str(tmp_path / "train.spacy")}},
    }
    config["corpora"] = {"train": reader, "dev": reader}
    config["training"].update(train_corpus="corpora.train", dev_corpus="corpora.dev")
    teachers = {"ner": ruler(tmp_path / "ruler", "PER", "LOC")}
    config["initialize"]["components"] = {}
    after = {"@callbacks": "spacy_multitask.teachers.v1", "teachers": teachers}
    config["initialize"]["after_init"] = after
    head = init_nlp(config).get_pipe("ner")
    assert head.teacher is not None and head.teacher_weight == 1.0
    assert len(head.teacher._said) == 1, "it has looked at what has no gold"
    after["teachers"] = {"nobody": "x"}
    with pytest.raises(ValueError, match=r"names 'nobody', which is no head.* There are: .*ner"):
        init_nlp(config)


def test_heads_that_can_not_be_taught_say_so(encoder_path, tmp_path):
    known = lambda nlp: [example(nlp, WORDS)]  # noqa: E731
    with pytest.raises(ValueError, match="'span_classifier' can't learn from a teacher"):
        make(encoder_path, "span_classifier", "x", known, {"attribute": "negated"}, labels={
            "labels": ["a", "b"]
        })  # fmt: skip


def test_examples_with_all_gold_are_not_asked_for(encoder_path, tmp_path):
    path = write(tmp_path / "said.parquet", {"text": TEXT, "spans": []})
    nlp = make(encoder_path, "ner", path, known_ents)
    teacher = nlp.get_pipe("ner").teacher
    teacher.say = None  # it would fail
    nlp.update([Example(eg.predicted, eg.reference) for eg in known_ents(nlp)[:1]], sgd=False)


# New labels


def test_after_a_new_label_a_file_is_asked_again(encoder_path, tmp_path):
    """It may know the label; if not, only what it finds is still learned."""
    rows = [
        {"text": TEXT, "spans": [span(0, 4, "PER"), span(11, 19, "CITY")]},
        {"text": "Smith left Lyon", "spans": [span(0, 5, "LOC")]},
    ]
    path = write(tmp_path / "said.parquet", *rows)
    nlp = make(encoder_path, "ner", path, known_ents, {"new_labels": "add"})
    assert np.isnan(told(nlp, "ner")[2:]).all(), "the head does not know CITY yet"
    nlp.update([example(nlp, WORDS, ents=[(2, 4, "CITY")]), known_ents(nlp)[1]], sgd=False)
    assert told(nlp, "ner").argmax(1).tolist() == [8, 0, 9, 11]
    nlp.update([example(nlp, WORDS, ents=[(2, 4, "TOWN")]), known_ents(nlp)[1]], sgd=False)
    lesson = told(nlp, "ner")
    assert lesson.shape == (4, 17) and lesson[0].argmax() == 8
    assert np.isnan(lesson[1]).all(), "it may be a TOWN"


@pytest.mark.parametrize("exclusive", [True, False])
def test_topics_that_came_later_are_unknown_to_a_file(encoder_path, tmp_path, exclusive):
    known = lambda nlp: [  # noqa: E731
        example(nlp, ["Lyon"], cats={"A": 1.0, "B": 0.0}),
        example(nlp, ["town"], cats={"A": 0.0, "B": 1.0}),
        example(nlp, WORDS),
    ]
    row = {"text": TEXT, "cats": [{"label": "A", "score": 0.75}, {"label": "B", "score": 0.25}]}
    config = {"new_labels": "add", "exclusive_classes": exclusive}
    nlp = make(encoder_path, "textcat", write(tmp_path / "said.parquet", row), known, config)
    nlp.update([example(nlp, ["old"], cats={"C": 1.0}), known(nlp)[2]], sgd=False)
    assert nlp.get_pipe("textcat").labels == ("A", "B", "C")
    lesson = told(nlp, "textcat")
    np.testing.assert_array_equal(lesson, [0.75, 0.25, 0.0 if exclusive else np.nan])
