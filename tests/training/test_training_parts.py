"""Batches, schedules and the optimizer."""

import copy
import itertools
import pickle
from collections.abc import Iterator

import numpy
import pytest
import spacy
import torch
import transformers
from spacy.tokens import Doc
from spacy.training import Example
from torch import nn
from transformers import AutoModel

from spacy_multitask.corpus.reader import CORPUS_KEY
from spacy_multitask.layers.network import TransformerNetwork
from spacy_multitask.plan import Plan, join, opened
from spacy_multitask.training.batching import make_batcher
from spacy_multitask.training.optimizer import clip_gradients, make_adamw
from spacy_multitask.training.schedules import warmup_linear


def examples(sizes, corpora=None):
    nlp = spacy.blank("en")
    made = []
    for i, size in enumerate(sizes):
        doc = Doc(nlp.vocab, words=["w"] * size)
        doc.user_data[CORPUS_KEY] = corpora[i] if corpora else ""
        made.append(Example(Doc(nlp.vocab, words=["w"] * size), doc))
    return made


def sizes_of(batches):
    return [[len(eg.predicted) for eg in batch] for batch in batches]


def test_batches_hold_at_most_so_many_words():
    batches = make_batcher(max_words=10)(examples([4, 4, 4, 30, 1, 1]))
    assert sizes_of(batches) == [[4, 4], [4], [30], [1, 1]]


def test_batches_hold_at_most_so_many_docs():
    batches = make_batcher(max_words=100, max_docs=2)(examples([1] * 5))
    assert sizes_of(batches) == [[1, 1], [1, 1], [1]]


@pytest.mark.parametrize("options", [{"max_words": 0}, {"max_docs": 0}])
def test_wrong_batch_sizes_are_refused(options):
    with pytest.raises(ValueError, match="at least 1"):
        make_batcher(**options)


@pytest.fixture
def plan() -> Iterator[Plan]:
    """YIELDS (Plan): That of the parts that the test builds."""
    with opened():
        yield join()


def rates(n, plan, n_steps=None, **options):
    """RETURNS (List[float]): The first rates; of epochs of so many steps."""
    schedule = warmup_linear(1.0, **options)
    values = [next(schedule)]
    if n_steps:
        plan.begin_epoch(n_steps)
    return [*values, *itertools.islice(schedule, n - 1)]


def test_the_rate_rises_and_falls_over_the_real_number_of_steps(plan):
    plan.max_epochs = 2
    values = rates(21, plan, 10, warmup=0.2)
    assert values[:5] == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0])
    assert values[12] == pytest.approx(0.5)
    assert values[20] == pytest.approx(0.0)


def test_max_steps_limit_the_plan(plan):
    plan.max_epochs, plan.max_steps = 2, 10
    assert rates(11, plan, 100, final=0.1)[-1] == pytest.approx(0.1)


def test_without_a_limit_in_epochs_the_rate_follows_the_steps(plan):
    plan.max_epochs, plan.max_steps = 0, 10
    schedule = warmup_linear(1.0, warmup=0.0)
    next(schedule)
    values = []
    for _ in range(5):
        plan.begin_epoch(2)
        values += itertools.islice(schedule, 2)
    assert values == pytest.approx([1.0, *(1 - i / 9 for i in range(1, 10))], abs=0.12)
    assert plan.total_steps() == 10 and values[-2] > 0.0


@pytest.mark.parametrize(
    "options", [{"learn_rate": -1.0}, {"final": 5.0}, {"final": -0.1}, {"warmup": 1.0}]
)
def test_wrong_rates_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        warmup_linear(**{"learn_rate": 1.0, **options})


def test_the_plan_comes_from_batcher_and_pipeline(plan):
    nlp = spacy.blank("en")
    nlp.config["training"]["max_epochs"], nlp.config["training"]["max_steps"] = 3, 0
    plan.read(nlp)
    assert plan.total_steps() is None
    list(make_batcher(max_words=1)(examples([1] * 7)))
    assert plan.total_steps() == 21


def test_an_unknown_number_of_steps_is_an_error(plan):
    with pytest.raises(ValueError, match="max_steps"):
        rates(2, plan)


class Net(nn.Module):
    def __init__(self, is_encoder):
        super().__init__()
        self.is_encoder = is_encoder
        self.weight = nn.Parameter(torch.ones(3, 3))
        self.bias = nn.Parameter(torch.ones(3))


def test_steps_are_those_of_torch():
    sgd = make_adamw(learn_rate=0.01, head_learn_rate=0.1, grad_clip=0.0)
    ours, theirs = Net(True), Net(True)
    reference = torch.optim.AdamW(
        [
            {"params": [theirs.weight], "weight_decay": 0.01},
            {"params": [theirs.bias], "weight_decay": 0.0},
        ],
        lr=0.01,
    )
    for i in range(5):
        for net in (ours, theirs):
            net.weight.grad = torch.full((3, 3), 0.1 * i - 0.2)
            net.bias.grad = torch.full((3,), 0.3)
        sgd.step_module(1, ours)
        reference.step()
    assert ours.weight.grad is None
    assert torch.allclose(ours.weight, theirs.weight, atol=1e-7)
    assert torch.allclose(ours.bias, theirs.bias, atol=1e-7)


def test_heads_and_encoder_have_their_own_rates():
    sgd = make_adamw(learn_rate=0.0, head_learn_rate=0.1)
    for is_encoder, moves in ((True, False), (False, True)):
        net = Net(is_encoder)
        net.bias.grad = torch.ones(3)
        sgd.step_module(int(is_encoder), net)
        assert bool((net.bias != 1.0).all()) is moves


def test_new_weights_of_an_encoder_and_deep_layers_have_rates_of_their_own(encoder_path):
    network = TransformerNetwork(
        AutoModel.from_pretrained(encoder_path), n_shapes=4, layers=[0, -1]
    )
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    sgd = make_adamw(
        learn_rate=0.001, weight_decay=0.0, grad_clip=0.0, layer_decay=0.5, new_lr_scale=4.0
    )
    sgd.step_module(1, network)
    moved = {name: (before[name] - p).mean() for name, p in network.named_parameters()}
    assert moved["shape_embedding.weight"].item() == pytest.approx(0.004, rel=1e-3)
    assert moved["layer_weights"].item() == pytest.approx(0.004, rel=1e-3)
    n_layers = network.transformer.config.num_hidden_layers
    for i in range(n_layers):
        name = f"transformer.encoder.layer.{i}.output.dense.weight"
        expected = 0.001 * 0.5 ** (n_layers - 1 - i)
        assert moved[name].item() == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize(
    "options",
    [
        {name: -1.0}
        for name in (
            "learn_rate",
            "head_learn_rate",
            "weight_decay",
            "grad_clip",
            "layer_decay",
            "new_lr_scale",
            "beta1",
        )
    ]
    + [{"beta2": 1.0}, {"eps": 0.0}],
)
def test_numbers_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        make_adamw(**options)


def test_a_module_loaded_in_place_of_another_learns():
    sgd = make_adamw(head_learn_rate=0.1, use_averages=True)
    for net in (Net(False), Net(False)):
        net.bias.grad = torch.ones(3)
        sgd.step_module(7, net)
        assert bool((net.bias < 1.0).all())
        # Not mixed with the weights of the one before.
        assert sgd.nr_update[7, "bias"] == 1


SIZES = {"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "vocab_size": 20}


@pytest.mark.parametrize(
    ("name", "options", "depths"),
    [
        (
            "Bert",
            {"intermediate_size": 8},
            {"embeddings.LayerNorm.weight": 3, "encoder.layer.0.output.dense.weight": 2},
        ),
        (
            "Albert",  # its layers are one
            {"intermediate_size": 8, "embedding_size": 4},
            {
                "embeddings.word_embeddings.weight": 3,
                "encoder.albert_layer_groups.0.albert_layers.0.ffn.weight": 0,
            },
        ),
        (
            "ModernBert",
            {"intermediate_size": 8, "pad_token_id": 0},
            {
                "embeddings.tok_embeddings.weight": 3,
                "layers.2.mlp.Wi.weight": 0,
                "final_norm.weight": 0,
            },
        ),
        (
            "T5Encoder",
            {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 3, "num_heads": 2},
            {
                "shared.weight": 3,
                "encoder.block.1.layer.0.SelfAttention.q.weight": 1,
                "encoder.final_layer_norm.weight": 0,
            },
        ),
    ],
)
def test_layers_are_counted_from_the_top(name, options, depths):
    config = getattr(transformers, f"{name.removesuffix('Encoder')}Config")(**{**SIZES, **options})
    network = TransformerNetwork(getattr(transformers, f"{name}Model")(config), n_shapes=4)
    found = {n: network.depth_from_top(n) for n, _ in network.named_parameters()}
    assert found.pop("shape_embedding.weight") is None
    assert set(found.values()) <= set(range(4))
    assert {n: found[f"transformer.{n}"] for n in depths} == depths


def test_spacys_heads_learn_while_the_encoders_rate_is_zero():
    sgd = make_adamw(learn_rate=0.0, head_learn_rate=0.1, weight_decay=0.0)
    weights = numpy.ones(3, "f")
    sgd((0, "W"), weights, numpy.ones(3, "f"))
    assert weights == pytest.approx([0.9] * 3, rel=1e-3)
    assert sgd.learn_rate == 0.0


def test_an_optimizer_can_be_sent_to_another_process():
    sgd = make_adamw(head_learn_rate=0.1)
    net = Net(False)
    for used in (sgd, pickle.loads(pickle.dumps(sgd)), copy.deepcopy(sgd)):
        before = net.bias.detach().clone()
        net.bias.grad = torch.ones(3)
        used.step_module(7, net)
        assert bool((net.bias < before).all())
        pickle.dumps(used)


def test_parameters_without_gradient_stay():
    sgd = make_adamw(learn_rate=0.1)
    net = Net(True)
    net.bias.grad = torch.ones(3)
    sgd.step_module(1, net)
    assert bool((net.weight == 1.0).all())


def test_averages_follow_the_weights():
    sgd = make_adamw(head_learn_rate=0.1, use_averages=True)
    net = Net(False)
    for _ in range(3):
        net.bias.grad = torch.ones(3)
        sgd.step_module(7, net)
    average = sgd.averages[7, "bias"]
    assert bool((average > net.bias).all()) and bool((average < 1.0).all())


def test_a_sparse_gradient_moves_the_rows_it_names_and_counts_in_the_norm():
    net = nn.Embedding(50, 4, sparse=True)
    before = net.weight.detach().clone()
    net(torch.tensor([3, 7, 3])).sum().backward()
    optimizer = make_adamw(learn_rate=0.1, head_learn_rate=0.1, grad_clip=1.0)
    optimizer.step_module(0, net)
    moved = (net.weight.detach() != before).any(dim=1).nonzero().flatten().tolist()
    assert moved == [3, 7]
    # The same step as AdamW's on these rows, without decay.
    other = nn.Embedding(50, 4)
    other.weight.data.copy_(before)
    other(torch.tensor([3, 7, 3])).sum().backward()
    optimizer = make_adamw(learn_rate=0.1, head_learn_rate=0.1, grad_clip=1.0, weight_decay=0.0)
    optimizer.step_module(0, other)
    assert torch.allclose(net.weight, other.weight, atol=1e-6)


@pytest.mark.parametrize("limit", [0.5, 100.0])
def test_clipping_is_torchs(limit):
    torch.manual_seed(0)
    parameters = [nn.Parameter(torch.zeros(3, 4)), nn.Parameter(torch.zeros(6))]
    gradients = [torch.randn(p.shape) for p in parameters]
    for p, g in zip(parameters, gradients):
        p.grad = g.clone()
    clip_gradients(parameters, limit)
    own = [p.grad.clone() for p in parameters]
    for p, g in zip(parameters, gradients):
        p.grad = g.clone()
    nn.utils.clip_grad_norm_(parameters, limit)
    for p, gradient in zip(parameters, own):
        assert torch.allclose(p.grad, gradient, atol=1e-6)
