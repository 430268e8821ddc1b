"""Options of the encoder that change what training costs, and nothing else."""

import pytest
import torch
from spacy.util import fix_random_seed
from torch.overrides import TorchFunctionMode

from spacy_multitask.layers.network import TransformerNetwork
from tests.conftest import TEXTS, corpus, make_nlp, predictions
from tests.encoder.test_gradients import plain_sgd, weights


def learned(encoder_path, **options):
    """RETURNS (Tuple[Dict[str, Tensor], int]): The encoder's weights after one step, and how often
    a layer has run for it."""
    fix_random_seed(0)
    nlp = make_nlp(encoder_path, model={"dropout": 0.2, **options})
    nlp.initialize(lambda: corpus(nlp))
    runs = []
    for layer in nlp.get_pipe("transformer").shim.module.transformer.encoder.layer:
        # Inside the layer: transformers 5 leaves its own hooks out of what it computes again.
        layer.attention.register_forward_pre_hook(lambda *_: runs.append(1))
    fix_random_seed(1)
    nlp.update(corpus(nlp), sgd=plain_sgd())
    return weights(nlp), len(runs)


def assert_same_step(found, expected, encoder_path):
    nlp = make_nlp(encoder_path)
    nlp.initialize(lambda: corpus(nlp))
    start = weights(nlp)
    for name, weight in expected.items():
        assert torch.allclose(found[name], weight, atol=1e-6), name
    assert sum((expected[name] - weight).abs().sum() for name, weight in start.items()) > 0.1


def test_gradient_checkpointing_gives_the_same_gradients(encoder_path, monkeypatch):
    # The same random numbers, which attention would use otherwise without checkpointing.
    monkeypatch.setattr(TransformerNetwork, "takes_steps", lambda *_: False)
    expected, n_runs = learned(encoder_path)
    found, n_runs_twice = learned(encoder_path, gradient_checkpointing=True)
    assert n_runs_twice == 2 * n_runs
    assert_same_step(found, expected, encoder_path)


def test_attention_takes_steps_in_training_on_a_cpu(encoder_path):
    for options, expected in (
        ({}, True),
        ({"gradient_checkpointing": True}, False),
        ({"compile": True}, False),
    ):
        nlp = make_nlp(encoder_path, model=options)
        nlp.initialize(lambda nlp=nlp: corpus(nlp))
        network = nlp.get_pipe("transformer").shim.module
        assert not network.takes_steps(torch.device("cpu")), "it is not in training"
        network.train()
        assert network.takes_steps(torch.device("cpu")) == expected
        assert not network.takes_steps(torch.device("cuda"))


def test_dropout_reaches_every_part_of_the_encoder(encoder_path):
    nlp = make_nlp(encoder_path, model={"dropout": 0.25})
    nlp.initialize(lambda: corpus(nlp))
    rates = []

    class Rates(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            if func is torch.nn.functional.scaled_dot_product_attention:
                rates.append(kwargs["dropout_p"])
            return func(*args, **(kwargs or {}))

    network = nlp.get_pipe("transformer").shim.module
    network.train()
    network.takes_steps = lambda *_: False
    with Rates():
        network(torch.ones(1, 3, dtype=torch.long), torch.zeros(1, 3, dtype=torch.long), None)
    assert set(rates) == {0.25}
    assert {m.p for m in network.modules() if isinstance(m, torch.nn.Dropout)} == {0.25}


@pytest.fixture
def graphs_only(monkeypatch):
    """Compile without making machine code, which takes a compiler and a minute."""
    real = torch.nn.Module.compile
    shapes = []

    def backend(graph, inputs):
        shapes.append([tuple(x.shape) for x in inputs if isinstance(x, torch.Tensor)])
        return graph

    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda self, **kwargs: real(self, backend=backend, **kwargs)
    )
    return shapes


def test_a_compiled_encoder_predicts_the_same_for_any_shape(encoder_path, trained, graphs_only):
    nlp = make_nlp(encoder_path, model={"compile": True}).from_bytes(trained.to_bytes())
    texts = [" ".join(text.split()[:n]) for text in TEXTS for n in (1, 2, 4, 7, 11)]
    assert predictions(nlp.pipe(texts[:4])) == predictions(trained.pipe(texts[:4]))
    n_graphs = len(graphs_only)
    assert n_graphs, "nothing was compiled"
    for n in (1, 2, 3, 7, 15):
        assert predictions(nlp.pipe(texts[:n])) == predictions(trained.pipe(texts[:n]))
    # Sizes of 1 and inputs without padding are cases of their own, other shapes are not.
    assert len(graphs_only) <= 4 * n_graphs


def test_weights_of_a_compiled_encoder_keep_their_names(encoder_path, trained, graphs_only):
    nlp = make_nlp(encoder_path, model={"compile": True}).from_bytes(trained.to_bytes())
    expected = predictions(trained.pipe(TEXTS))
    list(nlp.pipe(TEXTS))
    assert predictions(make_nlp(encoder_path).from_bytes(nlp.to_bytes()).pipe(TEXTS)) == expected
    names = [name for name, _ in nlp.get_pipe("transformer").shim.module.named_parameters()]
    assert not any("_orig_mod" in name for name in names)


def test_a_compiled_encoder_learns(encoder_path, graphs_only):
    expected, _ = learned(encoder_path, dropout=0.0)
    found, _ = learned(encoder_path, dropout=0.0, compile=True)
    assert graphs_only, "nothing was compiled"
    assert_same_step(found, expected, encoder_path)
