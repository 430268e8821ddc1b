"""Topics from the words alone, besides those from the encoder."""

import numpy as np
import pytest
import spacy
import torch
from spacy.tokens import Doc
from thinc.api import Config, NumpyOps, get_current_ops, set_current_ops

from spacy_multitask.heads.architectures import copy_of
from tests.conftest import corpus, example, make_nlp

BAG = """
[model]
@architectures = "spacy_multitask.DocClassifier.v1"
linear_weight = 2.0

[model.tok2vec]
@architectures = "spacy_multitask.EncoderListener.v1"

[model.linear_model]
@architectures = "spacy.TextCatBOW.v3"
exclusive_classes = true
ngram_size = 1
no_output_layer = true
length = 1024
nO = null
"""


def make(encoder_path, *, text=BAG, **options):
    nlp = make_nlp(encoder_path, heads=("tagger",))
    config = {**Config().from_str(text), **options}
    nlp.add_pipe("multitask_textcat", name="textcat", config=config)
    return nlp


def linear_weights(nlp):
    (node,) = (n for n in nlp.get_pipe("textcat").linear_model.walk() if n.has_param("W"))
    return node.get_param("W"), node


def scores(nlp, doc):
    """RETURNS (Tuple): Logits of the layer on the encoder, and those of the words."""
    head = nlp.get_pipe("textcat")
    both = head.doc_logits([doc])
    weight, head.model.attrs["linear_weight"] = head.model.attrs["linear_weight"], 0.0
    alone = head.doc_logits([doc])
    head.model.attrs["linear_weight"] = weight
    return alone.numpy(), head.linear_model.predict([doc]), both.numpy()


@pytest.mark.parametrize("exclusive", [True, False])
def test_both_learn_and_their_logits_are_added(encoder_path, exclusive):
    nlp = make(encoder_path, exclusive_classes=exclusive)
    sgd = nlp.initialize(lambda: corpus(nlp))
    sgd.learn_rate = 0.005
    for _ in range(40):
        nlp.update(corpus(nlp), sgd=sgd)
    doc = Doc(nlp.vocab, words=["The", "old", "town"])
    alone, words, both = scores(nlp, doc)
    # Labels are sorted: Business, Sports.
    assert alone[0, 1] - alone[0, 0] > 1
    assert words[0, 1] - words[0, 0] > 0.2
    np.testing.assert_allclose(both, alone + 2 * words, rtol=1e-5)
    assert nlp.get_pipe("textcat").model.predict([doc]) == pytest.approx(both, rel=1e-5)
    assert nlp(doc).cats["Sports"] > 0.9


def test_the_words_learn_from_a_loss_of_their_own(encoder_path):
    """Their gradient is that of their own logits, and the encoder's is what it is without them."""
    gradients = {}
    for text in (BAG, BAG.split("[model.linear_model]")[0]):
        torch.manual_seed(0)
        nlp = make(encoder_path, text=text, loss_weight=3.0)
        nlp.initialize(lambda: corpus(nlp))  # noqa: B023
        head = nlp.get_pipe("textcat")
        with torch.no_grad():
            head.module.linear.weight.fill_(0.01)[0].neg_()
        losses = {}
        examples = corpus(nlp)
        for name in ("transformer", "textcat"):
            nlp.get_pipe(name).update(examples, sgd=False, losses=losses)
        nlp.get_pipe("transformer").settle()
        shim = nlp.get_pipe("transformer").shim
        found = {name: p.grad for name, p in shim.module.named_parameters()}
        gradients[text] = {n: g.to_dense() for n, g in found.items() if g is not None}, losses
        if head.linear_model is not None:
            _, node = linear_weights(nlp)
            # Of two docs each label has one; at first both have a half.
            np.testing.assert_allclose(node.get_grad("b"), [0.0, 0.0], atol=1e-6)
            # Each key stands for two places, and each doc counts for a half of the loss.
            n_words = 7 + 3
            total = np.abs(node.get_grad("W")).sum()
            assert total == pytest.approx(3.0 * 0.5 * 0.5 * 2 * 2 * n_words, rel=0.05)
    (with_words, losses), (without, losses_without) = gradients.values()
    assert losses == losses_without
    assert with_words.keys() == without.keys()
    for name, gradient in with_words.items():
        torch.testing.assert_close(gradient, without[name])


def test_docs_without_topics_are_unknown_to_the_words(encoder_path):
    nlp = make(encoder_path)
    sgd = nlp.initialize(lambda: corpus(nlp))
    tagged = [example(nlp, ["The", "old", "town"], tags=["NNP", "DT", "NN"])]
    nlp.update(tagged, sgd=sgd)
    assert not linear_weights(nlp)[0].any()
    nlp.update(corpus(nlp), sgd=sgd)
    before = linear_weights(nlp)[0].copy()
    assert before.any()
    for _ in range(3):
        nlp.update(tagged, sgd=sgd)  # nor is it moved by what it learned before
    np.testing.assert_array_equal(linear_weights(nlp)[0], before)


def test_saved_with_the_head(encoder_path, tmp_path):
    nlp = make(encoder_path)
    sgd = nlp.initialize(lambda: corpus(nlp))
    for _ in range(3):
        nlp.update(corpus(nlp), sgd=sgd)
    assert linear_weights(nlp)[0].any()
    texts = ["The old town", "", "IBM made a lot of profit .", " "]
    nlp.to_disk(tmp_path / "model")
    expected = [nlp(text).cats for text in texts]
    assert [doc.cats for doc in nlp.pipe(texts)] == [pytest.approx(cats) for cats in expected]
    for loaded in (spacy.load(tmp_path / "model"), make(encoder_path).from_bytes(nlp.to_bytes())):
        assert [loaded(text).cats for text in texts] == expected


def test_it_can_be_initialised_with_other_labels(encoder_path):
    nlp = make(encoder_path)
    nlp.initialize(lambda: corpus(nlp))
    cats = [{"A": 1.0, "B": 0.0, "C": 0.0}, {"A": 0.0, "B": 1.0, "C": 0.0}]
    head = nlp.get_pipe("textcat")
    head.initialize(lambda: [example(nlp, ["old"], cats=c) for c in cats], nlp=nlp)
    assert set(nlp("old town").cats) == {"A", "B", "C"}


def test_averages_hold_for_the_words_too(encoder_path):
    nlp = make(encoder_path)
    sgd = nlp.initialize(lambda: corpus(nlp))
    sgd.averages = {}
    for _ in range(5):
        nlp.update(corpus(nlp), sgd=sgd)
    last = linear_weights(nlp)[0].copy()
    with nlp.use_params(sgd.averages):
        averaged = linear_weights(nlp)[0].copy()
    assert not np.allclose(last, averaged)
    np.testing.assert_array_equal(linear_weights(nlp)[0], last)


def test_docs_without_words(encoder_path):
    nlp = make(encoder_path, text=BAG.replace("ngram_size = 1", "ngram_size = 2"))
    sgd = nlp.initialize(lambda: corpus(nlp))
    nlp.update([*corpus(nlp), example(nlp, [], cats={"Business": 1.0})], sgd=sgd)
    head = nlp.get_pipe("textcat")
    for texts in ([""], ["", "The old town"], ["old town", "", "a lot"]):
        for doc, text in zip(nlp.pipe(texts), texts, strict=True):
            assert doc.cats == pytest.approx(nlp(text).cats)
    docs = [nlp.make_doc(text) for text in ("old town", "", "a lot")]
    logits, backprop = head.model.begin_update(docs)
    assert logits == pytest.approx(head.doc_logits(docs).numpy(), rel=1e-5)
    backprop(np.ones_like(logits))
    assert linear_weights(nlp)[1].get_grad("b").tolist() == pytest.approx([4.0, 4.0])


def test_weight_can_be_set_when_loading(encoder_path, tmp_path):
    nlp = make(encoder_path)
    sgd = nlp.initialize(lambda: corpus(nlp))
    for _ in range(3):
        nlp.update(corpus(nlp), sgd=sgd)
    nlp.to_disk(tmp_path)
    other = spacy.load(tmp_path, config={"components.textcat.model.linear_weight": 50.0})
    assert other("The old town").cats["Sports"] > nlp("The old town").cats["Sports"]
    assert spacy.load(tmp_path)("The old town").cats == nlp("The old town").cats


class Elsewhere(NumpyOps):
    """Stands in for the operations of a GPU."""

    name = "elsewhere"


def test_layers_that_stay_on_a_cpu_stay_there(encoder_path):
    """Their weights must be NumPy's, also where the rest is on a GPU."""
    before = get_current_ops()
    set_current_ops(Elsewhere())
    try:
        nlp = make(encoder_path)
        head = nlp.get_pipe("textcat")
        for model in (head.linear_model, copy_of(head.linear_model)):
            ops = {node.name: type(node.ops) for node in model.walk()}
            assert ops["sparse_linear"] is NumpyOps and Elsewhere in ops.values()
            assert model.ref_names
        expected = {node.name: type(node.ops) for node in head.linear_model.walk()}
        head.cfg["labels"] = ["A", "B"]
        head.make_module(32)
        assert {node.name: type(node.ops) for node in head.linear_model.walk()} == expected
    finally:
        set_current_ops(before)


def test_a_model_for_other_labels_is_refused(encoder_path):
    nlp = make(encoder_path, text=BAG.replace("nO = null", "nO = 3"))
    with pytest.raises(ValueError, match=r"for 3 labels, but there are 2|from 3 to 2"):
        nlp.initialize(lambda: corpus(nlp))


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("no_output_layer = true", "no_output_layer = false", "no_output_layer"),
        ("linear_weight = 2.0", "linear_weight = 0.0", "linear_weight"),
    ],
)
def test_what_can_not_be_meant_is_refused(encoder_path, old, new, message):
    with pytest.raises(ValueError, match=message):
        make(encoder_path, text=BAG.replace(old, new))
