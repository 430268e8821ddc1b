"""A label more for a head that is trained."""

import io

import numpy as np
import pytest
import spacy
import torch
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from spacy.training.initialize import init_nlp
from spacy.training.loop import train
from spacy.util import fix_random_seed
from thinc.api import Config

from spacy_multitask.heads.options import make_new_labels
from spacy_multitask.relations import set_relations
from tests.conftest import corpus, example, learn, make_nlp, predictions

SMITH = ["Mr", "Smith", "loves", "New", "York"]
TEXTS = ["Mr Smith loves New York", "IBM made a lot of profit", "", "The old town"]
CONFIGS = {"plain": {}, "chain": {"crf": True}}
GOLD = {
    "tagger": {"tags": ["NEW"] * 5},
    "chunker": {"chunks": [(0, 5, "NEW")]},
    "ner": {"ents": [(0, 5, "NEW")]},
    "textcat": {"cats": {"Business": 0.0, "Sports": 0.0, "NEW": 1.0}},
}


def logits(nlp, head, docs):
    pipe = nlp.get_pipe(head)
    return (pipe.doc_logits(docs) if head == "textcat" else pipe.word_logits(docs)[0]).numpy()


@pytest.fixture(scope="module", params=["plain", "chain", "several topics"])
def saved(request, encoder_path, tmp_path_factory):
    fix_random_seed(0)
    nlp = make_nlp(encoder_path, ["tagger"])
    for head in ("chunker", "ner"):
        nlp.add_pipe(f"multitask_{head}", name=head, config=CONFIGS.get(request.param, {}))
    config = {"exclusive_classes": request.param != "several topics"}
    nlp.add_pipe("multitask_textcat", name="textcat", config=config)
    learn(nlp).to_disk(path := tmp_path_factory.mktemp("model"))
    return path


def test_a_new_label_changes_nothing_and_can_be_learned(saved, tmp_path):
    nlp = spacy.load(saved)
    before = predictions(nlp.pipe(TEXTS))
    docs = [nlp.make_doc(text) for text in TEXTS]
    old = {head: logits(nlp, head, docs) for head in GOLD}
    for head in GOLD:
        pipe = nlp.get_pipe(head)
        weights = {name: p.detach().clone() for name, p in pipe.module.linear.named_parameters()}
        assert pipe.add_label("NEW") == 1 and pipe.add_label("NEW") == 0
        for name, p in pipe.module.linear.named_parameters():
            assert torch.equal(p[: len(weights[name])], weights[name])
        assert "NEW" in pipe.labels and len(logits(nlp, head, docs)) == len(old[head])
        # A product with more columns may be rounded in another way.
        new = logits(nlp, head, docs)[:, : old[head].shape[1]]
        assert np.allclose(new, old[head], rtol=1e-5, atol=1e-5)
    after = predictions(nlp.pipe(TEXTS))
    for one, two in zip(before, after):
        assert one[:2] == two[:2]
        assert {label: p for label, p in two[2].items() if label != "NEW"} == one[2]
        assert two[2].get("NEW", 0.0) < 1e-6
    nlp.to_disk(tmp_path)
    nlp = spacy.load(tmp_path)
    assert predictions(nlp.pipe(TEXTS)) == after
    sgd = nlp.resume_training()
    sgd.learn_rate = 0.01
    gold = {k: v for part in GOLD.values() for k, v in part.items()}
    for _ in range(80):
        nlp.update([example(nlp, SMITH, **gold)], sgd=sgd)
    doc = nlp(Doc(nlp.vocab, words=SMITH))
    assert [t.tag_ for t in doc] == ["NEW"] * 5
    assert [(s.start, s.end, s.label_) for s in doc.ents] == [(0, 5, "NEW")]
    assert [(s.start, s.end, s.label_) for s in doc.spans["np"]] == [(0, 5, "NEW")]
    assert max(doc.cats, key=doc.cats.get) == "NEW"


def test_a_head_that_is_not_trained_gets_its_labels_from_data(encoder_path):
    nlp = make_nlp(encoder_path, ["ner"])
    with pytest.raises(ValueError, match="of 'ner' come from the training data"):
        nlp.get_pipe("ner").add_label("NEW")


def bag_of_words(version: str, **options) -> dict:
    """RETURNS (Dict): Config of a textcat with a linear model."""
    bow = {"@architectures": f"spacy.TextCatBOW.{version}", "ngram_size": 1, **options}
    return {
        "model": {
            "@architectures": "spacy_multitask.DocClassifier.v1",
            "tok2vec": {"@architectures": "spacy_multitask.EncoderListener.v1"},
            "linear_model": {"exclusive_classes": True, "no_output_layer": True, **bow},
        }
    }


@pytest.mark.parametrize("exclusive", [True, False])
def test_a_bag_of_words_grows_along(encoder_path, exclusive, tmp_path):
    nlp = make_nlp(encoder_path, [])
    config = {**bag_of_words("v3", length=64, nO=None), "exclusive_classes": exclusive}
    pipe = nlp.add_pipe("multitask_textcat", name="textcat", config=config)
    learn(nlp)
    docs = list(nlp.pipe(TEXTS))
    assert np.abs(pipe.linear_model.predict(docs)).max() > 0.1
    before = [doc.cats for doc in docs]
    assert pipe.add_label("NEW") == 1
    after = [doc.cats for doc in nlp.pipe(TEXTS)]
    for old, new in zip(before, after):
        assert {label: p for label, p in new.items() if label != "NEW"} == old
        assert new["NEW"] < 1e-6
    nlp.to_disk(tmp_path)
    nlp = spacy.load(tmp_path)
    assert [doc.cats for doc in nlp.pipe(TEXTS)] == after
    sgd = nlp.resume_training()
    sgd.learn_rate = 0.01
    for _ in range(80):
        nlp.update([example(nlp, SMITH, **GOLD["textcat"])], sgd=sgd)
    cats = nlp(Doc(nlp.vocab, words=SMITH)).cats
    assert max(cats, key=cats.get) == "NEW"


def test_heads_that_cannot_grow_say_what_to_do(encoder_path):
    nlp = make_nlp(encoder_path, [])
    # Its weights are kept word by word, those of all labels in one place.
    nlp.add_pipe("multitask_textcat", name="textcat", config=bag_of_words("v2", nO=None))
    nlp.initialize(lambda: corpus(nlp))
    with pytest.raises(NotImplementedError, match="Add a head of its own for 'NEW', or train"):
        nlp.get_pipe("textcat").add_label("NEW")
    assert nlp.get_pipe("textcat").labels == ("Business", "Sports")


# new_labels


BROWN = ["Dr", "Brown", "left", "."]


def new_examples(nlp):
    """RETURNS (List[Example]): Of the old labels and of new ones."""
    return [
        *corpus(nlp),
        example(nlp, BROWN, ents=[(0, 2, "TITLED")]),
        example(nlp, SMITH, tags=["NEW", "NNP", "OTHER", "NNP", "NNP"], pos=["NOUN"] * 5),
        example(nlp, SMITH, cats={"Business": 0.0, "Sports": 0.0, "Travel": 1.0}),
    ]


def write(examples, path):
    DocBin(docs=[eg.reference for eg in examples]).to_disk(path)
    return str(path)


SOURCED = """
[nlp]
lang = "en"
pipeline = ["transformer", "tagger", "ner", "textcat"]
[components]
[components.transformer]
source = "{base}"
[components.tagger]
source = "{base}"
[components.ner]
source = "{base}"
[components.textcat]
source = "{base}"
[corpora]
[corpora.train]
@readers = "spacy.Corpus.v1"
path = "{path}"
[corpora.dev]
@readers = "spacy.Corpus.v1"
path = "{path}"
[training]
seed = 0
gpu_allocator = null
max_epochs = 150
eval_frequency = 100
[training.optimizer]
@optimizers = "{optimizer}"
learn_rate = 0.01
{more}
"""
ADD = """
[initialize]
[initialize.after_init]
@callbacks = "spacy_multitask.new_labels.v1"
heads = ["tagger", "ner", "textcat"]
"""


@pytest.fixture(scope="module")
def base(encoder_path, tmp_path_factory):
    fix_random_seed(0)
    nlp = learn(make_nlp(encoder_path, ["tagger", "ner", "textcat"]))
    nlp.to_disk(path := tmp_path_factory.mktemp("base"))
    return path


@pytest.mark.parametrize("optimizer", ["spacy_multitask.AdamW.v1", "Adam.v1"])
def test_heads_from_a_pipeline_take_up_labels_of_new_corpora(base, optimizer, tmp_path):
    path = write(new_examples(spacy.load(base)), tmp_path / "new.spacy")
    text = SOURCED.format(base=base, path=path, optimizer=optimizer, more=ADD)
    nlp = init_nlp(Config().from_str(text))
    assert predictions_of(nlp) == predictions_of(spacy.load(base)), "before the training"
    (tmp_path / "out").mkdir()
    nlp, _ = train(nlp, tmp_path / "out", stdout=io.StringIO(), stderr=io.StringIO())
    nlp = spacy.load(tmp_path / "out" / "model-last")
    assert nlp.get_pipe("ner").labels == ("LOC", "ORG", "PER", "TITLED")
    assert {"NEW", "OTHER"} < set(nlp.get_pipe("tagger").labels)
    assert nlp.get_pipe("textcat").labels == ("Business", "Sports", "Travel")
    assert [ent.label_ for ent in nlp(Doc(nlp.vocab, words=BROWN)).ents] == ["TITLED"]
    assert [ent.label_ for ent in nlp("IBM made a lot of profit.").ents] == ["ORG"]


def predictions_of(nlp):
    return [
        ([t.tag_ for t in d], [(e.text, e.label_) for e in d.ents], d.cats) for d in nlp.pipe(TEXTS)
    ]


def test_they_refuse_them_by_default(base, tmp_path):
    nlp = spacy.load(base)
    sgd = nlp.resume_training()
    with pytest.warns(UserWarning, match=r"'ner' did not see.*'TITLED'.*new_labels = \"add\""):
        nlp.update(new_examples(nlp), sgd=sgd)
    assert nlp.get_pipe("ner").labels == ("LOC", "ORG", "PER")


def test_the_option_may_be_set_when_a_pipeline_is_loaded(base):
    nlp = spacy.load(base, config={"components.ner.new_labels": "add"})
    nlp.update(new_examples(nlp), sgd=nlp.resume_training())
    assert nlp.get_pipe("ner").labels == ("LOC", "ORG", "PER", "TITLED")
    assert "Travel" not in nlp.get_pipe("textcat").labels


def test_scores_add_no_labels(base):
    nlp = spacy.load(base, config={"components.ner.new_labels": "add"})
    with pytest.warns(UserWarning, match="TITLED"):
        nlp.get_pipe("ner").has_gold(new_examples(nlp))
    nlp.evaluate(new_examples(nlp))
    assert nlp.get_pipe("ner").labels == ("LOC", "ORG", "PER")


def test_what_can_not_be_set_is_refused(base, encoder_path):
    with pytest.raises(ValueError, match="new_labels = 'yes' of 'ner' is not one of refuse, add"):
        spacy.load(base, config={"components.ner.new_labels": "yes"})
    with pytest.raises(ValueError, match=r"'nor' is no head.*tagger, ner, textcat"):
        make_new_labels(["nor"])(spacy.load(base))


def test_a_new_relation_changes_nothing_and_can_be_learned(encoder_path, tmp_path):
    nlp = make_nlp(encoder_path, [])
    pipe = nlp.add_pipe("multitask_relations", name="relations")

    def related(label):
        doc = Doc(nlp.vocab, words=SMITH, ents=ENTS)
        set_relations(doc, [(doc.ents[0], doc.ents[1], label, 1.0)])
        return Example(Doc(nlp.vocab, words=SMITH, ents=ENTS), doc)

    sgd = nlp.initialize(lambda: [related("loves")])
    sgd.learn_rate = 0.005
    for _ in range(30):
        nlp.update([related("loves")], sgd=sgd)
    doc = related("loves").predicted
    doc.ents = related("loves").reference.ents
    before = [r[2:] for r in nlp(doc.copy())._.relations]
    assert [label for label, _ in before] == ["loves"]
    pipe.new_labels = "add"
    assert pipe.add_label("hates") == 1
    assert [r[2:] for r in nlp(doc.copy())._.relations] == before
    for _ in range(60):
        nlp.update([related("leaves")], sgd=sgd)
    assert pipe.labels == ("loves", "hates", "leaves")
    nlp.to_disk(tmp_path)
    assert [r.label for r in spacy.load(tmp_path)(doc.copy())._.relations] == ["leaves"]


ENTS = ["O", "B-PER", "O", "B-LOC", "I-LOC"]
