"""The encoder's gradient is the exact sum of the heads' gradients, whoever is there."""

import pytest
import torch
from spacy.util import fix_random_seed
from thinc.api import SGD

from tests.conftest import ALL_HEADS, corpus, make_nlp

RATE = 0.1


@pytest.fixture
def build():
    """RETURNS (Callable): Makes a pipeline."""

    def build(encoder_path, heads=ALL_HEADS):
        fix_random_seed(0)
        nlp = make_nlp(encoder_path, heads)
        nlp.initialize(lambda: corpus(nlp))
        return nlp

    return build


def dense(gradient):
    return gradient.to_dense() if gradient.is_sparse else gradient.clone()


def reference_gradients(nlp, batches, heads):
    """One torch graph from the encoder's parameters to the summed loss of all heads."""
    encoder = nlp.get_pipe("transformer")
    network = encoder.shim.module
    for parameter in network.parameters():
        parameter.grad = None
    for examples in batches:
        docs = [eg.predicted for eg in examples]
        batch = encoder.shim.encoder.encode(docs, is_train=True, precision="float32", budget=10_000)
        batch.words, batch.doc_vectors = batch.graph
        losses = []
        for name in heads:
            head = nlp.get_pipe(name)
            gold = head.gold(examples)
            if gold is not None:
                head.module.set_dropout(0.0)
                losses.append(head.loss(head.module, batch, gold))
        if losses:
            sum(losses).backward()
    gradients = {
        name: torch.zeros_like(p) if p.grad is None else dense(p.grad)
        for name, p in network.named_parameters()
    }
    for parameter in network.parameters():
        parameter.grad = None
    for name in heads:
        nlp.get_pipe(name).module.zero_grad(set_to_none=True)
    return gradients


def weights(nlp):
    encoder = nlp.get_pipe("transformer")
    encoder.settle()
    network = encoder.shim.module
    return {name: p.detach().clone() for name, p in network.named_parameters()}


def plain_sgd():
    return SGD(RATE, grad_clip=0.0, use_averages=False)


def assert_stepped(before, gradients, after):
    moved = 0.0
    for name, weight in before.items():
        expected = weight - RATE * gradients[name]
        assert torch.allclose(after[name], expected, atol=1e-5), name
        moved += float(gradients[name].abs().sum())
    assert moved > 0


@pytest.mark.parametrize(
    "exclude",
    [[], ["tagger"], ["textcat"], ["ner", "textcat"], ["tagger", "chunker", "ner"]],
    ids=lambda names: "without " + "+".join(names) if names else "all",
)
def test_update_with_optimizer_steps_by_the_sum_of_gradients(build, encoder_path, exclude):
    nlp = build(encoder_path)
    heads = [name for name in ALL_HEADS if name not in exclude]
    gradients = reference_gradients(nlp, [corpus(nlp)], heads)
    before = weights(nlp)
    nlp.update(corpus(nlp), sgd=plain_sgd(), exclude=exclude)
    assert_stepped(before, gradients, weights(nlp))


@pytest.mark.parametrize("last", ALL_HEADS)
def test_any_head_may_be_last(build, encoder_path, last):
    heads = [*(name for name in ALL_HEADS if name != last), last]
    nlp = build(encoder_path, heads)
    gradients = reference_gradients(nlp, [corpus(nlp)], heads)
    before = weights(nlp)
    nlp.update(corpus(nlp), sgd=plain_sgd())
    assert_stepped(before, gradients, weights(nlp))


@pytest.mark.parametrize("layer", ["tags", "chunks", "ents", "cats"])
def test_heads_without_gold_in_the_batch_lose_no_gradient(build, encoder_path, layer):
    nlp = build(encoder_path)

    def batch():
        has = {
            "tags": lambda y: y.has_annotation("TAG"),
            "chunks": lambda y: "np" in y.spans,
            "ents": lambda y: y.has_annotation("ENT_IOB"),
            "cats": lambda y: bool(y.cats),
        }[layer]
        examples = [eg for eg in corpus(nlp) if has(eg.reference)]
        if layer == "ents":
            for eg in examples:
                eg.reference.cats = {}
                eg.reference.spans.pop("np", None)
        return examples

    gradients = reference_gradients(nlp, [batch()], ALL_HEADS)
    before = weights(nlp)
    nlp.update(batch(), sgd=plain_sgd())
    assert_stepped(before, gradients, weights(nlp))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["gold last", "no gold last"])
def test_accumulated_gradients_are_the_sum_over_sub_batches(build, encoder_path, order):
    """As `spacy train` does it: updates without a step, then finish_update on all."""
    nlp = build(encoder_path)

    def batches():
        examples = corpus(nlp)
        parts = [examples[-1:], examples[:-1]]
        return [parts[i] for i in order]

    gradients = reference_gradients(nlp, batches(), ALL_HEADS)
    before = weights(nlp)
    for batch in batches():
        nlp.update(batch, sgd=False)
    for _, proc in nlp.pipeline:
        if proc.model not in (True, False, None):
            proc.finish_update(sgd := plain_sgd())
    assert sgd is not None
    assert_stepped(before, gradients, weights(nlp))


def test_each_update_takes_its_own_step(build, encoder_path):
    """Not one step late, as with stock listeners, and none lost at the end."""
    nlp = build(encoder_path)
    sgd = plain_sgd()
    before = weights(nlp)
    for part in (slice(0, 4), slice(4, 8)):
        gradients = reference_gradients(nlp, [corpus(nlp)[part]], ALL_HEADS)
        nlp.update(corpus(nlp)[part], sgd=sgd)
        after = weights(nlp)
        assert_stepped(before, gradients, after)
        before = after


def test_step_put_off_is_taken_before_saving(build, encoder_path):
    nlp = build(encoder_path)
    gradients = reference_gradients(nlp, [corpus(nlp)], ["tagger"])
    before = weights(nlp)
    nlp.update(corpus(nlp), sgd=plain_sgd(), exclude=["chunker", "ner", "textcat"])
    saved = nlp.to_bytes()
    other = make_nlp(encoder_path).from_bytes(saved)
    assert_stepped(before, gradients, weights(other))


def test_frozen_encoder_stays_as_it_is_while_heads_learn(build, encoder_path):
    nlp = build(encoder_path)
    before = weights(nlp)
    head = nlp.get_pipe("ner").module.linear.weight.detach().clone()
    nlp.update(corpus(nlp), sgd=plain_sgd(), exclude=["transformer"])
    after = weights(nlp)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not torch.equal(head, nlp.get_pipe("ner").module.linear.weight)


def test_annotating_head_costs_the_encoder_no_gradient(build, encoder_path):
    nlp = build(encoder_path)
    gradients = reference_gradients(nlp, [corpus(nlp)], ALL_HEADS)
    before = weights(nlp)
    nlp.update(corpus(nlp), sgd=plain_sgd(), annotates=["transformer", "ner"])
    assert_stepped(before, gradients, weights(nlp))


@pytest.mark.parametrize("annotates", [["ner"], ["tagger", "chunker"], ["transformer", "tagger"]])
def test_annotating_in_smaller_batches_costs_the_encoder_no_gradient(
    build, encoder_path, annotates
):
    nlp = build(encoder_path)
    nlp.batch_size = 3
    gradients = reference_gradients(nlp, [corpus(nlp)], ALL_HEADS)
    before = weights(nlp)
    nlp.update(corpus(nlp), sgd=plain_sgd(), annotates=annotates)
    assert_stepped(before, gradients, weights(nlp))


@pytest.mark.parametrize("disabled", [["tagger"], ["textcat"], ["ner", "textcat"]])
def test_heads_that_were_disabled_when_listeners_were_found_learn(build, encoder_path, disabled):
    nlp = build(encoder_path)
    with nlp.select_pipes(disable=disabled):
        nlp._link_components()
    gradients = reference_gradients(nlp, [corpus(nlp)], ALL_HEADS)
    before = weights(nlp)
    nlp.update(corpus(nlp), sgd=plain_sgd())
    assert_stepped(before, gradients, weights(nlp))


def test_a_component_that_learns_from_some_of_the_docs_sends_its_gradient(build, encoder_path):
    nlp = build(encoder_path)
    tagger = nlp.get_pipe("tagger")
    examples = corpus(nlp)
    some = [examples[4], examples[0]]
    gradients = reference_gradients(nlp, [some], ["tagger"])
    before = weights(nlp)
    encoder = nlp.get_pipe("transformer")
    encoder.update(examples)
    tagger.update(some)
    encoder.finish_update(plain_sgd())
    assert_stepped(before, gradients, weights(nlp))


def test_spacys_own_heads_send_their_gradient(build, encoder_path):
    nlp = build(encoder_path, ["tagger"])
    listener = {"@architectures": "spacy_multitask.EncoderListener.v1"}
    nlp.add_pipe(
        "tagger",
        name="stock",
        config={"model": {"@architectures": "spacy.Tagger.v2", "tok2vec": listener}},
    )
    nlp.initialize(lambda: corpus(nlp))
    # Its output layer starts at zero and gives no gradient until it has learned a step itself.
    nlp.update(corpus(nlp), sgd=plain_sgd(), exclude=["transformer"])
    ours = reference_gradients(nlp, [corpus(nlp)], ["tagger"])
    before = weights(nlp)
    nlp.update(corpus(nlp), sgd=plain_sgd())
    after = weights(nlp)
    moved = sum(
        float((after[name] - (before[name] - RATE * ours[name])).abs().sum()) for name in before
    )
    assert moved > 1e-4, "the stock tagger's gradient did not reach the encoder"
