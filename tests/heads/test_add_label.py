"""A label more for a head that is trained."""

import numpy as np
import pytest
import spacy
import torch
from spacy.tokens import Doc
from spacy.util import fix_random_seed

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


def test_heads_that_cannot_grow_say_what_to_do(encoder_path):
    nlp = make_nlp(encoder_path, [])
    bow = {"@architectures": "spacy.TextCatBOW.v3", "exclusive_classes": True, "ngram_size": 1}
    model = {
        "@architectures": "spacy_multitask.DocClassifier.v1",
        "tok2vec": {"@architectures": "spacy_multitask.EncoderListener.v1"},
        "linear_model": {**bow, "no_output_layer": True, "length": 64, "nO": None},
    }
    nlp.add_pipe("multitask_textcat", name="textcat", config={"model": model})
    nlp.initialize(lambda: corpus(nlp))
    with pytest.raises(NotImplementedError, match="Add a head of its own for 'NEW', or train"):
        nlp.get_pipe("textcat").add_label("NEW")
    assert nlp.get_pipe("textcat").labels == ("Business", "Sports")
