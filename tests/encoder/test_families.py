"""What is claimed of each family of encoders holds, with the version of transformers that is here.

A few families are tried with the other tests, all of them with FAMILIES=all in the environment, as
`nox -s families` does.
"""

import os
import warnings

import numpy as np
import pytest
import spacy
import torch
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import fix_random_seed
from transformers import AutoModel

from spacy_multitask.encoder.files import from_files, to_files
from spacy_multitask.layers.network import encoder_of
from spacy_multitask.training.optimizer import make_adamw
from tests.conftest import make_nlp
from tests.encoder.families import FAMILIES
from tests.encoder.hub_models import MAJOR, Family

SOME = ("bert", "roberta", "modernbert", "deberta_v3", "xlm_roberta", "qwen3", "eurobert")
TRIED = FAMILIES if os.environ.get("FAMILIES") == "all" else SOME
NAMES = [name for name in TRIED if FAMILIES[name].is_here]
TEXTS = [
    'Anna Smith ("York") loves the famous 1996 tours, at 20 km.  naïve 東京です\nNext line.',
    "Won.",
    "The old town near the river made a lot of profit.",
    "",
    "  ",
]
WORDS = "The old town near the river made a lot of profit".split()


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
    """RETURNS (List[Example]): A long doc and a short one."""
    docs = []
    for words in (WORDS * 4, WORDS[:2]):
        tags = ["LONG" if len(word) > 3 else "SHORT" for word in words]
        docs.append(Example(Doc(nlp.vocab, words=words), Doc(nlp.vocab, words=words, tags=tags)))
    return docs


@pytest.fixture(scope="module")
def nlp(folder):
    return make_pipeline(folder)


@pytest.fixture(scope="module")
def encoder(nlp):
    return nlp.get_pipe("transformer").shim.encoder


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
    if family.title == "EmbeddingGemma" and MAJOR == 4:
        return  # the model by itself looks only back there, and should not
    model = encoder_of(AutoModel.from_pretrained(folder).eval())
    if family.title == "BigBird":
        model.set_attention_type("original_full")
    with torch.no_grad():
        expected = model(input_ids=torch.tensor([ids])).last_hidden_state[0].float()
    has_pieces = np.flatnonzero(pieces.counts)
    rows = expected[pieces.starts[has_pieces] + len(encoder.prefix)]
    torch.testing.assert_close(vectors(encoder, [doc])[has_pieces], rows, atol=1e-5, rtol=1e-5)


def test_limit_direction_and_padding_are_as_claimed(family, encoder):
    traits = encoder.traits
    found = (traits.longest_input, traits.causal, traits.pads)
    assert found == (family.limit, family.causal, family.pads)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_loss_falls(folder, precision):
    nlp = make_pipeline(folder, precision=precision)
    sgd = make_adamw(learn_rate=0.002, head_learn_rate=0.01)
    losses = []
    for _ in range(5):
        found: dict[str, float] = {}
        nlp.update(examples(nlp), sgd=sgd, losses=found)
        losses.append(found["tagger"])
    assert losses[-1] < 0.9 * losses[0]
    encoder = nlp.get_pipe("transformer").shim.encoder
    assert all(p.isfinite().all() for p in encoder.network.parameters())


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


@pytest.mark.skipif(os.environ.get("FAMILIES") != "all", reason="exporting takes a while")
def test_int_8_gives_about_the_same(family, nlp, encoder):
    docs = [nlp.make_doc(text) for text in TEXTS[1:3]]
    expected = vectors(encoder, docs)
    shim = nlp.get_pipe("transformer").shim
    other = type(shim)(shim.name, shim.options)
    other._set(from_files(to_files(encoder), "test", encoder.options))
    if not family.int8:
        with pytest.raises(ValueError, match="int8"):
            other.quantize()
        return
    other.quantize()
    found = other.encoder.encode(docs, is_train=False, precision="int8").words
    assert torch.nn.functional.cosine_similarity(found, expected, dim=1).min() > 0.8
