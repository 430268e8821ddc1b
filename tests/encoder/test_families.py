"""What is claimed of each family of encoders holds, with the version of transformers that is here.

A few families are tried with the other tests, all of them with FAMILIES=all in the environment, as
`nox -s families` does. `benchmarks/families.py` records what comes out, for `docs/encoders.md`.
"""

import json
import os
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import spacy
import torch
from safetensors.torch import save_file
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import fix_random_seed
from transformers import AutoModel

from spacy_multitask.encoder.encode import Encoder
from spacy_multitask.encoder.files import from_files, to_files
from spacy_multitask.encoder.gradients import backprop
from spacy_multitask.encoder.pretrained import load_pretrained
from spacy_multitask.encoder.quantize import _quantize
from spacy_multitask.layers.network import encoder_of
from spacy_multitask.training.optimizer import make_adamw
from tests.conftest import make_nlp
from tests.encoder.families import FAMILIES
from tests.encoder.hub_models import MAJOR, Family, write_tokenizer

ALL = os.environ.get("FAMILIES") == "all"
SOME = ("bert", "roberta", "modernbert", "deberta_v3", "xlm_roberta", "qwen3", "eurobert")
TRIED = FAMILIES if ALL else SOME
NAMES = [name for name in TRIED if FAMILIES[name].is_here]
ABSENT = [name for name in TRIED if not FAMILIES[name].is_here]
N_STEPS = 30 if ALL else 6
TEXTS = [
    'Anna Smith ("York") loves the famous 1996 tours, at 20 km.  naïve 東京です\nNext line.',
    "Won.",
    "The old town near the river made a lot of profit.",
    "",
    "  ",
]
WORDS = "The old town near the river made a lot of profit".split()
# What a family may lack. The others of OPTIONS all of them have.
OPTIONS = {
    "layers": [0, -1],
    "doc_pooling": "cls",
    "word_shapes": True,
    "dropout": 0.25,
    "gradient_checkpointing": True,
    "pooling": "mean",
    "window": 32,
    "overlap": 8,
    "spaces": False,
}


@pytest.fixture(scope="module", params=NAMES)
def family(request) -> Family:
    return FAMILIES[request.param]


@pytest.fixture(scope="module")
def folder(family, tmp_path_factory) -> str:
    return str(family.write(tmp_path_factory.mktemp("family")))


def make_pipeline(folder: str, **options):
    """RETURNS (Language): A tagger on the encoder, initialised; what is warned of is left aside."""
    fix_random_seed(0)
    nlp = make_nlp(folder, ("tagger",), **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nlp.initialize(lambda: examples(nlp))
    return nlp


def examples(nlp) -> list[Example]:
    """RETURNS (List[Example]): A long doc, a short one, and one of a single piece."""
    docs = []
    for words in (WORDS * 4, WORDS[:2], ["a"]):
        tags = ["LONG" if len(word) > 3 else "SHORT" for word in words]
        docs.append(Example(Doc(nlp.vocab, words=words), Doc(nlp.vocab, words=words, tags=tags)))
    return docs


@pytest.fixture(scope="module")
def nlp(folder):
    return make_pipeline(folder)


@pytest.fixture(scope="module")
def encoder(nlp):
    return nlp.get_pipe("transformer").shim.encoder


def load(encoder: Encoder, folder: str, **options) -> Encoder:
    """RETURNS (Encoder): One as another, fresh, with other options."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_pretrained(folder, replace(encoder.options, **options))


def model_by_itself(family: Family, folder: str):
    """RETURNS (PreTrainedModel): The model that transformers loads; None if this version of it
    does something else than the family is made for."""
    if family.title == "EmbeddingGemma" and MAJOR == 4:
        return None  # it looks only back there, and should not
    model = encoder_of(AutoModel.from_pretrained(folder).eval())
    if family.title == "BigBird":
        model.set_attention_type("original_full")
    return model


def vectors(encoder, docs) -> torch.Tensor:
    return encoder.encode(docs, is_train=False, precision="float32").words


def test_a_token_gets_one_row_and_the_same_in_any_company(nlp, encoder):
    docs = [nlp.make_doc(text) for text in TEXTS]
    together = vectors(encoder, docs)
    assert together.shape == (sum(map(len, docs)), encoder.width)
    alone = torch.cat([vectors(encoder, [doc]) for doc in docs])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("text", TEXTS[:3])
def test_pieces_and_vectors_are_those_of_the_model_by_itself(family, folder, nlp, encoder, text):
    doc = nlp.make_doc(text)
    pieces = encoder.cache.pieces_of([doc])
    ids = [*encoder.prefix, *pieces.ids, *encoder.suffix]
    assert ids == encoder.tokenizer(text)["input_ids"]
    if (model := model_by_itself(family, folder)) is None:
        return
    with torch.no_grad():
        expected = model(input_ids=torch.tensor([ids])).last_hidden_state[0].float()
    has_pieces = np.flatnonzero(pieces.counts)
    rows = expected[pieces.starts[has_pieces] + len(encoder.prefix)]
    torch.testing.assert_close(vectors(encoder, [doc])[has_pieces], rows, atol=1e-5, rtol=1e-5)


def test_gradients_are_those_of_the_model_by_itself(family, folder, nlp, encoder):
    if (model := model_by_itself(family, folder)) is None:
        return
    options = {} if "dropout" in family.lacks else {"dropout": 0.0}
    encoder = load(encoder, folder, word_shapes=False, **options)
    doc = nlp.make_doc(TEXTS[2])
    batch = encoder.encode([doc], is_train=True, precision="float32")
    batch.words.grad = batch.words.detach().clone()
    with encoder.learning():
        backprop(batch)
    pieces = encoder.cache.pieces_of([doc])
    ids = torch.tensor([[*encoder.prefix, *pieces.ids, *encoder.suffix]])
    rows = model(input_ids=ids).last_hidden_state[0][pieces.starts + len(encoder.prefix)]
    (rows.square().sum() / 2).backward()
    ours = dict(encoder.network.transformer.named_parameters())
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    atol = 1e-5 * float(max(grad.abs().max() for grad in grads.values()))
    for name, grad in grads.items():
        torch.testing.assert_close(ours[name].grad.to_dense(), grad, atol=atol, rtol=1e-3)


def test_training_sees_what_prediction_sees(family, folder, nlp, encoder):
    options = {} if "dropout" in family.lacks else {"dropout": 0.0}
    encoder = load(encoder, folder, **options)
    for texts in (TEXTS, ["a"]):  # one piece has attention of its own kind in some models
        docs = [nlp.make_doc(text) for text in texts]
        batch = encoder.encode(docs, is_train=True, precision="float32")
        expected = vectors(encoder, docs)
        torch.testing.assert_close(batch.words.detach(), expected, atol=1e-5, rtol=1e-5)


def test_a_long_text_is_read_in_one_window(family, folder, nlp, encoder):
    if (model := model_by_itself(family, folder)) is None:
        return
    limit = min(family.limit, 2048)
    encoder = load(encoder, folder, window=limit)
    assert encoder.capacity == limit - len(encoder.prefix) - len(encoder.suffix)
    doc = nlp.make_doc(" ".join(WORDS * (limit // len(WORDS))))
    pieces = encoder.cache.pieces_of([doc])
    n_words = int(np.searchsorted(pieces.starts + pieces.counts, encoder.capacity, side="right"))
    doc = doc[:n_words].as_doc()
    pieces = encoder.cache.pieces_of([doc])
    assert len(pieces.ids) > 0.9 * limit
    ids = torch.tensor([[*encoder.prefix, *pieces.ids, *encoder.suffix]])
    with torch.no_grad():
        expected = model(input_ids=ids).last_hidden_state[0]
    rows = expected[pieces.starts + len(encoder.prefix)]
    torch.testing.assert_close(vectors(encoder, [doc]), rows, atol=1e-4, rtol=1e-4)


def test_limit_direction_and_padding_are_as_claimed(family, encoder, record_property):
    traits = encoder.traits
    record_property("limit", traits.longest_input)
    record_property("causal", traits.causal)
    record_property("pads", traits.pads)
    found = (traits.longest_input, traits.causal, traits.pads)
    assert found == (family.limit, family.causal, family.pads)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_loss_falls(folder, precision):
    nlp = make_pipeline(folder, precision=precision)
    sgd = make_adamw(learn_rate=0.002, head_learn_rate=0.01)
    losses = []
    for _ in range(N_STEPS):
        found: dict[str, float] = {}
        nlp.update(examples(nlp), sgd=sgd, losses=found)
        losses.append(found["tagger"])
    assert losses[-1] < (0.5 if ALL else 0.9) * losses[0]
    encoder = nlp.get_pipe("transformer").shim.encoder
    assert all(p.isfinite().all() for p in encoder.network.parameters())


def test_the_options_that_it_has_go_together(family, folder, nlp, encoder):
    taken = {k: v for k, v in OPTIONS.items() if k not in family.lacks}
    encoder = load(encoder, folder, **taken)
    assert encoder.traits.pieces == "spaced"
    docs = [example.reference for example in examples(nlp)]
    assert sum(map(len, docs)) > encoder.capacity
    batch = encoder.encode(docs, is_train=True, precision="float32")
    batch.words.grad = torch.ones_like(batch.words)
    batch.doc_vectors.grad = torch.ones_like(batch.doc_vectors)
    with encoder.learning():  # what is computed anew is computed with dropout, too
        backprop(batch)
    grads = [p.grad.to_dense() for p in encoder.network.parameters() if p.grad is not None]
    assert all(grad.isfinite().all() for grad in grads)
    assert sum(bool(grad.any()) for grad in grads) > 5


def test_the_options_that_it_lacks_are_refused_by_name(
    family, folder, nlp, encoder, record_property
):
    record_property("lacks", sorted(family.lacks))
    for name in family.lacks:
        with pytest.raises(ValueError, match=name) as caught:
            other = load(encoder, folder, **{name: OPTIONS[name]})
            vectors(other, [nlp.make_doc("Won")])
        assert "\n" not in str(caught.value)


def test_what_is_saved_predicts_the_same(nlp, encoder, tmp_path):
    docs = [nlp.make_doc(text) for text in TEXTS]
    expected = vectors(encoder, docs)
    nlp.to_disk(tmp_path)
    for other in (
        spacy.load(tmp_path),
        make_nlp("nowhere", ("tagger",)).from_bytes(nlp.to_bytes()),
    ):
        again = other.get_pipe("transformer").shim.encoder
        assert again.traits == encoder.traits
        docs = [other.make_doc(text) for text in TEXTS]
        torch.testing.assert_close(vectors(again, docs), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.skipif(not ALL, reason="exporting takes a while")
def test_int8_gives_about_the_same_or_is_refused(family, nlp, encoder, record_property):
    docs = [nlp.make_doc(text) for text in TEXTS[1:3]]
    expected = vectors(encoder, docs)
    component = nlp.get_pipe("transformer")
    before = component.shim.encoder
    try:
        # The encoder of the other tests stays as it is.
        component.shim._set(from_files(to_files(encoder), "test", encoder.options))
        _quantize(component, "It")
        found = component.shim.encoder.encode(docs, is_train=False, precision="int8").words
    except ValueError as error:
        assert "can't be quantized" in str(error)
        found = None
    finally:
        component.shim._set(before)
    record_property("int8", found is not None)
    assert (found is not None) == (MAJOR in family.int8)
    if found is not None:
        assert torch.nn.functional.cosine_similarity(found, expected, dim=1).min() > 0.8


@pytest.mark.parametrize("name", ABSENT)
def test_a_family_that_this_version_lacks_is_refused_by_name(name, tmp_path):
    family = FAMILIES[name]
    write_tokenizer(tmp_path, family)
    save_file({"weight": torch.zeros(1)}, tmp_path / "model.safetensors", {"format": "pt"})
    Path(tmp_path, "config.json").write_text(json.dumps({"model_type": family.kind}))
    with pytest.raises(ValueError, match=f"no models of the kind '{family.kind}'.*Update it"):
        make_nlp(str(tmp_path), ("tagger",)).initialize()
