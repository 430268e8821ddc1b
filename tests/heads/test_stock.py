"""spaCy's textcat and spancat, which take unknown for negative unless they are told."""

import numpy as np
import pytest
import spacy
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import fix_random_seed

from tests.conftest import example

LISTENER = {"@architectures": "spacy_multitask.EncoderListener.v1", "upstream": "*"}
FACTORIES = {
    "partial_textcat": {
        "@architectures": "spacy.TextCatReduce.v1",
        "exclusive_classes": True,
        "use_reduce_first": False,
        "use_reduce_last": False,
        "use_reduce_max": False,
        "use_reduce_mean": True,
        "tok2vec": LISTENER,
    },
    "partial_textcat_multilabel": {
        "@architectures": "spacy.TextCatReduce.v1",
        "exclusive_classes": False,
        "use_reduce_first": False,
        "use_reduce_last": False,
        "use_reduce_max": False,
        "use_reduce_mean": True,
        "tok2vec": LISTENER,
    },
    "partial_spancat": {
        "@architectures": "spacy.SpanCategorizer.v1",
        "reducer": {"@layers": "spacy.mean_max_reducer.v1", "hidden_size": 16},
        "scorer": {"@layers": "spacy.LinearLogistic.v1", "nO": None, "nI": None},
        "tok2vec": LISTENER,
    },
}
SENTER = {"@architectures": "spacy.Tagger.v2", "nO": None, "tok2vec": LISTENER}
SMITH = ["Mr", "Smith", "loves", "New", "York"]
IBM = ["IBM", "made", "a", "lot", "of", "profit", "."]


def known(nlp, words, cats, spans) -> Example:
    eg = example(nlp, words, cats=cats)
    eg.reference.spans["sc"] = [Span(eg.reference, a, b, label=label) for a, b, label in spans]
    return eg


def data(nlp) -> list[Example]:
    return [
        known(nlp, SMITH, {"Love": 1.0, "Money": 0.0}, [(1, 2, "PER"), (3, 5, "LOC")]),
        known(nlp, IBM, {"Love": 0.0, "Money": 1.0}, [(0, 1, "ORG")]),
    ]


@pytest.fixture(params=FACTORIES)
def nlp(request, encoder_path):
    fix_random_seed(0)
    nlp = spacy.blank("en")
    model = {"@architectures": "spacy_multitask.Encoder.v1", "name": encoder_path, "overlap": 8}
    nlp.add_pipe("multitask_transformer", name="transformer", config={"model": model})
    nlp.add_pipe(request.param, name="head", config={"model": FACTORIES[request.param]})
    nlp.initialize(lambda: data(nlp))
    return nlp


def gradient(nlp, examples) -> np.ndarray:
    """RETURNS (ndarray): Gradient on the predictions of the last example."""
    head = nlp.get_pipe("head")
    scores = head.predict([eg.predicted for eg in examples])
    n_rows = scores[0].lengths[-1] if isinstance(scores, tuple) else 1
    return np.asarray(head.get_loss(examples, scores)[1])[-n_rows:]


def test_a_doc_without_gold_gives_no_gradient(nlp):
    town = example(nlp, ["The", "old", "town"])
    assert not gradient(nlp, [*data(nlp), town]).any()
    nothing = known(nlp, ["The", "old", "town"], {"Love": 0.0, "Money": 0.0}, [])
    assert gradient(nlp, [*data(nlp), nothing]).any(), "none is not unknown"


def test_unknown_docs_do_not_count_in_the_score(nlp):
    towns = [example(nlp, ["The", "old", "town"]) for _ in range(3)]
    main = "spans_sc_f" if "spancat" in nlp.get_pipe_meta("head").factory else "cats_score"
    alone, mixed = nlp.evaluate(data(nlp)), nlp.evaluate([*data(nlp), *towns])
    assert mixed[main] == pytest.approx(alone[main])
    assert nlp.evaluate(towns)[main] is None


def test_it_learns_beside_docs_that_know_nothing(nlp, tmp_path):
    sgd = nlp.create_optimizer()
    sgd.learn_rate = 0.005
    for _ in range(60):
        nlp.update([*data(nlp), *(example(nlp, IBM) for _ in range(6))], sgd=sgd)
    nlp.to_disk(tmp_path)
    nlp = spacy.load(tmp_path)
    doc = nlp(Doc(nlp.vocab, words=IBM))
    if "spancat" in nlp.get_pipe_meta("head").factory:
        assert [(s.text, s.label_) for s in doc.spans["sc"]] == [("IBM", "ORG")]
    else:
        assert doc.cats["Money"] > 0.8


def learned(nlp, examples) -> tuple[float, dict]:
    """RETURNS (tuple): The loss, and the gradient on each parameter of head and encoder."""
    losses: dict = {}
    nlp.update(examples, sgd=False, losses=losses)
    encoder = nlp.get_pipe("transformer")
    encoder.settle()
    found = {}
    for node in nlp.get_pipe("head").model.walk():
        for name in node.param_names:
            if node.has_grad(name):
                found[node.id, name] = np.array(node.get_grad(name))
                node.set_grad(name, node.ops.xp.zeros_like(found[node.id, name]))
    for name, p in encoder.shim.module.named_parameters():
        if p.grad is not None:
            found[name] = p.grad.to_dense().numpy().copy()
            p.grad = None
    return losses["head"], found


@pytest.mark.parametrize("factory", [*FACTORIES, "partial_senter"])
def test_docs_that_know_nothing_change_neither_loss_nor_gradient(factory, encoder_path):
    fix_random_seed(0)
    nlp = spacy.blank("en")
    model = {"@architectures": "spacy_multitask.Encoder.v1", "name": encoder_path, "overlap": 8}
    nlp.add_pipe("multitask_transformer", name="transformer", config={"model": model})
    nlp.add_pipe(factory, name="head", config={"model": FACTORIES.get(factory, SENTER)})
    examples = data(nlp)
    for eg in examples:
        for token in eg.reference:
            token.is_sent_start = token.i in (0, 2)
    nlp.initialize(lambda: examples)
    unknown = [example(nlp, words) for words in (["The", "old", "town"], IBM, IBM)]
    loss, alone = learned(nlp, examples)
    loss_beside, beside = learned(nlp, [unknown[0], *examples, *unknown[1:]])
    assert loss == pytest.approx(loss_beside, rel=1e-5) and loss > 0
    assert alone.keys() == beside.keys() and len(alone) > 10
    for name, gradient in alone.items():
        np.testing.assert_allclose(gradient, beside[name], atol=1e-5, err_msg=str(name))
