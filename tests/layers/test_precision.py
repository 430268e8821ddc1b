"""bfloat16 where a processor is slow in it."""

import warnings

import pytest
import torch

from spacy_multitask.encoder import encode
from spacy_multitask.layers.precision import computes_bfloat16


class Mkldnn:
    def __init__(self, has_it: bool):
        self._is_mkldnn_bf16_supported = lambda: has_it


@pytest.fixture(autouse=True)
def asked_anew():
    computes_bfloat16.cache_clear()
    yield
    computes_bfloat16.cache_clear()


def pretend(monkeypatch, has_it: bool) -> None:
    monkeypatch.setattr(torch.ops, "mkldnn", Mkldnn(has_it))


def test_a_cpu_without_bfloat16_computes_in_float32_and_says_so_once(monkeypatch):
    pretend(monkeypatch, False)
    with pytest.warns(UserWarning, match="no AVX-512"):
        assert not computes_bfloat16("cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not computes_bfloat16("cpu")
        assert computes_bfloat16("cuda")


def test_a_cpu_with_bfloat16_uses_it(monkeypatch):
    pretend(monkeypatch, True)
    assert computes_bfloat16("cpu")


@pytest.mark.parametrize("has_it", [True, False])
def test_the_encoder_asks(monkeypatch, nlp, has_it):
    monkeypatch.setattr(encode, "computes_bfloat16", lambda device: has_it)
    encoder = nlp.get_pipe("transformer").shim.encoder
    docs = [nlp.make_doc("Anna lives in Berlin .")]
    exact, half = (
        encoder.encode(docs, is_train=False, precision=precision).word_vectors
        for precision in ("float32", "bfloat16")
    )
    assert torch.equal(exact, half) != has_it
