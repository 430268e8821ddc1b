"""Heads that read a layer below the last one."""

import threading
import time

import numpy as np
import pytest
import spacy
import srsly
import torch
from spacy.tokens import Doc
from spacy.util import fix_random_seed

from spacy_multitask.training.optimizer import make_adamw as AdamW
from tests.conftest import ALL_HEADS, PARSER_MODEL, TEXTS, corpus, learn, make_nlp, predictions
from tests.encoder.test_gradients import (
    assert_stepped,
    dense,
    plain_sgd,
    weights,
)

LAYERS = {"tagger": 1, "chunker": -2, "ner": None, "textcat": 0}


def listener(layer):
    model = {"@architectures": "spacy_multitask.EncoderListener.v1"}
    return model if layer is None else {**model, "layer": layer}


def build(encoder_path, layers=LAYERS, **transformer):
    nlp = make_nlp(encoder_path, [], **transformer)
    for head, layer in layers.items():
        classifier = "DocClassifier" if head == "textcat" else "TokenClassifier"
        model = {
            "@architectures": f"spacy_multitask.{classifier}.v1",
            "tok2vec": listener(layer),
        }
        nlp.add_pipe(f"multitask_{head}", name=head, config={"model": model})
    return nlp


@pytest.fixture
def layered(encoder_path):
    fix_random_seed(0)
    nlp = build(encoder_path)
    nlp.initialize(lambda: corpus(nlp))
    return nlp


@pytest.fixture(scope="module")
def learned(encoder_path):
    fix_random_seed(0)
    return learn(build(encoder_path))


def vectors_of_layers(encoder_path, text):
    """RETURNS (List[Tuple]): Of each layer the vectors of the words' first pieces and their mean,
    from transformers alone."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(encoder_path)
    model = AutoModel.from_pretrained(encoder_path).eval()
    inputs = tokenizer(text.split(), is_split_into_words=True, return_tensors="pt")
    words = inputs.word_ids()
    first = [words.index(i) for i in range(len(text.split()))]
    with torch.no_grad():
        hidden = model(**inputs, output_hidden_states=True).hidden_states
    return [(h[0, first].numpy(), h[0].mean(0).numpy()) for h in hidden]


@pytest.mark.parametrize("is_train", [False, True])
def test_each_head_reads_the_vectors_of_its_layer(layered, encoder_path, is_train):
    docs = [Doc(layered.vocab, words=text.split()) for text in TEXTS]
    if is_train:
        examples = [spacy.training.Example(doc, doc) for doc in docs]
        layered.get_pipe("transformer").update(examples)
    expected = [vectors_of_layers(encoder_path, text) for text in TEXTS]
    for head, layer in LAYERS.items():
        node = layered.get_pipe(head).tok2vec
        node.needs_words = True
        batch = node.packed(docs, is_train)
        place = {None: 2, -2: 1}.get(layer, layer)
        words = np.concatenate([vectors[place][0] for vectors in expected])
        means = np.stack([vectors[place][1] for vectors in expected])
        assert np.allclose(batch.word_vectors.detach().numpy(), words, atol=1e-5), head
        assert np.allclose(batch.doc_vectors.detach().numpy(), means, atol=1e-5), head
        assert node.get_dim("nO") == batch.word_vectors.shape[1] == 32


@pytest.mark.parametrize("exclude", [[], ["tagger"], ["ner", "textcat"]])
def test_update_steps_by_the_sum_of_gradients(layered, exclude):
    nlp = layered
    encoder = nlp.get_pipe("transformer")
    network = encoder.shim.module
    examples = corpus(nlp)
    docs = [eg.predicted for eg in examples]
    losses = []
    for name in set(ALL_HEADS) - set(exclude):
        # Each head with an encoder run of its own, which gives its layer alone.
        layer = LAYERS[name]
        layers = () if layer is None else (layer,)
        batch = encoder.shim.encoder.encode(
            docs, is_train=True, precision="float32", budget=10_000, layers=layers
        )
        batch.words, batch.doc_vectors = batch.graph
        head = nlp.get_pipe(name)
        head.module.set_dropout(0.0)
        losses.append(head.loss(head.module, batch.of_layer(layer), head.gold(examples)))
    sum(losses).backward()
    gradients = {
        name: torch.zeros_like(p) if p.grad is None else dense(p.grad)
        for name, p in network.named_parameters()
    }
    for module in (network, *(nlp.get_pipe(name).module for name in ALL_HEADS)):
        module.zero_grad(set_to_none=True)
    before = weights(nlp)
    nlp.update(corpus(nlp), sgd=plain_sgd(), exclude=exclude)
    assert_stepped(before, gradients, weights(nlp))


@pytest.mark.parametrize("sgd", [plain_sgd(), AdamW(learn_rate=0.01, weight_decay=0.1)])
def test_a_head_of_the_embeddings_moves_no_layer_above(encoder_path, sgd):
    fix_random_seed(0)
    nlp = build(encoder_path, {"textcat": 0})
    nlp.initialize(lambda: corpus(nlp))
    before = weights(nlp)
    nlp.update(corpus(nlp), sgd=sgd)
    moved = {name for name, w in weights(nlp).items() if not torch.equal(w, before[name])}
    assert moved
    assert not any(".layer." in name for name in moved)


def assert_learned(nlp):
    scores = nlp.evaluate(corpus(nlp))
    for name in ("cats_score", "tag_acc", "spans_np_f", "ents_f"):
        assert scores[name] == 1.0, name


def test_the_heads_learn(learned):
    # The embeddings alone tell the two topics apart, and layer 1 the tags of these sentences.
    assert_learned(learned)


def test_alone_and_in_a_batch(learned):
    assert predictions(learned.pipe(TEXTS)) == predictions(map(learned, TEXTS))


@pytest.mark.parametrize("disable", [["tagger"], ["ner", "textcat"]])
def test_heads_that_are_disabled_change_nothing_for_the_others(learned, disable):
    expected = list(learned.pipe(TEXTS))
    with learned.select_pipes(disable=disable):
        found = list(learned.pipe(TEXTS))
    for a, b in zip(found, expected, strict=True):
        if "tagger" not in disable:
            assert [t.tag_ for t in a] == [t.tag_ for t in b]
        if "textcat" not in disable:
            assert a.cats == pytest.approx(b.cats, abs=1e-5)
        assert [(s.start, s.end) for s in a.spans["np"]] == [
            (s.start, s.end) for s in b.spans["np"]
        ]
    # Disabled components that are called by themselves.
    for doc, theirs in zip(found, expected, strict=True):
        for name in disable:
            learned.get_pipe(name)(doc)
        assert predictions([doc]) == predictions([theirs])


def test_saved_and_loaded(learned, tmp_path):
    expected = predictions(learned.pipe(TEXTS))
    learned.to_disk(tmp_path)
    assert predictions(spacy.load(tmp_path).pipe(TEXTS)) == expected
    nlp = spacy.load(tmp_path, disable=["tagger"])
    nlp.enable_pipe("tagger")
    assert predictions(nlp.pipe(TEXTS)) == expected


def test_an_encoder_of_the_heads_own_gives_its_layer(learned, tmp_path):
    expected = predictions(learned.pipe(TEXTS))
    nlp = spacy.blank("en").from_config(learned.config).from_bytes(learned.to_bytes())
    for head in ("tagger", "textcat"):
        nlp.replace_listeners("transformer", head, ["model.tok2vec"])
    assert predictions(nlp.pipe(TEXTS)) == expected
    nlp.to_disk(tmp_path)
    nlp = spacy.load(tmp_path)
    assert predictions(nlp.pipe(TEXTS)) == expected
    before = nlp.get_pipe("tagger").tok2vec.shims[0].module.transformer.embeddings
    weight = before.word_embeddings.weight.detach().clone()
    nlp.update(corpus(nlp), sgd=plain_sgd())
    assert not torch.equal(before.word_embeddings.weight, weight)


def test_kept_vectors_are_those_of_the_last_layer(encoder_path):
    nlp = build(encoder_path, keep_vectors=True)
    nlp.initialize(lambda: corpus(nlp))
    tensor = nlp(TEXTS[0]).tensor
    words = vectors_of_layers(encoder_path, TEXTS[0])[-1][0]
    assert np.allclose(tensor, words, atol=1e-5)


def test_in_int8(learned, encoder_path, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from spacy_multitask.encoder.quantize import quantize
    from spacy_multitask.layers.onnx import OnnxNetwork

    learned.to_disk(tmp_path / "float")
    quantize(tmp_path / "float", tmp_path / "int8")
    nlp = spacy.load(tmp_path / "int8")
    assert_learned(nlp)  # what it was not taught may differ
    texts = [" ".join(t.text for t in eg.reference) for eg in corpus(nlp)]
    found = predictions(nlp.pipe(texts))
    nlp.replace_listeners("transformer", "tagger", ["model.tok2vec"])
    assert predictions(nlp.pipe(texts)) == found
    # Other names of the same layers: the last one, and the one before.
    same = {"chunker": 1, "tagger": -2, "ner": -1}
    config = {f"components.{head}.model.tok2vec.layer": layer for head, layer in same.items()}
    assert predictions(spacy.load(tmp_path / "int8", config=config).pipe(texts)) == found
    assert nlp.get_pipe("transformer").wiring.layers == (0, 1)
    config = {"components.textcat.model.tok2vec.layer": None}
    assert spacy.load(tmp_path / "int8", config=config)(texts[0]).cats
    files = tmp_path / "int8" / "transformer" / "model"
    older = srsly.read_json(files / "onnx.json")
    for name in ("n_layers", "mixed", "layers"):
        del older[name]
    assert OnnxNetwork((files / "model.int8.onnx").read_bytes(), **older).place_of(None) is None
    with pytest.raises(ValueError, match="quantize it again"):
        OnnxNetwork((files / "model.int8.onnx").read_bytes(), **older).place_of(1)
    nlp = build(encoder_path, {"tagger": 1})
    nlp.initialize(lambda: corpus(nlp))
    nlp.to_disk(tmp_path / "one")
    quantize(tmp_path / "one", tmp_path / "one int8")
    config = {"components.tagger.model.tok2vec.layer": 0}
    with pytest.raises(ValueError, match=r"'tagger': Can't read layer 0: .* quantize it again"):
        spacy.load(tmp_path / "one int8", config=config)


def test_a_layer_that_the_encoder_does_not_have(encoder_path, learned, tmp_path):
    nlp = build(encoder_path, {"tagger": 3})
    with pytest.raises(
        ValueError, match=r"'tagger': Can't read layer 3: this encoder has layers 0 .* to 2"
    ):
        nlp.initialize(lambda: corpus(nlp))
    learned.to_disk(tmp_path)
    with pytest.raises(ValueError, match="layer -4"):
        spacy.load(tmp_path, config={"components.tagger.model.tok2vec.layer": -4})


def test_spacys_parser_on_a_lower_layer(encoder_path):
    from spacy.training import Example

    fix_random_seed(0)
    nlp = build(encoder_path, {"tagger": None})
    model = {**PARSER_MODEL, "tok2vec": listener(1)}
    nlp.add_pipe("parser", config={"model": model, "min_action_freq": 1})
    words = ["Mr", "Smith", "loves", "New", "York"]
    gold = {"heads": [1, 2, 2, 4, 2], "deps": ["nn", "nsubj", "ROOT", "nn", "dobj"]}
    tags = ["NNP", "NNP", "VBZ", "NNP", "NNP"]

    def examples():
        y = Doc(nlp.vocab, words=words, tags=tags, **gold)
        return [Example(Doc(nlp.vocab, words=words), y)]

    sgd = nlp.initialize(examples)
    sgd.learn_rate = 0.005
    for _ in range(60):
        nlp.update(examples(), sgd=sgd)
    doc = nlp(Doc(nlp.vocab, words=words))
    assert [t.dep_ for t in doc] == gold["deps"]
    assert [t.tag_ for t in doc] == tags


def test_a_mistake_is_forgotten_once_the_head_is_gone(encoder_path):
    nlp = build(encoder_path, {"tagger": 1, "chunker": None})
    nlp.initialize(lambda: corpus(nlp))
    encoder = nlp.get_pipe("transformer")
    assert encoder.wiring.layers == (1,)
    model = {"@architectures": "spacy_multitask.TokenClassifier.v1", "tok2vec": listener(9)}
    nlp.add_pipe("multitask_ner", name="ner", config={"model": model})
    with pytest.raises(ValueError, match="'ner': Can't read layer 9"):
        nlp(TEXTS[0])
    nlp.remove_pipe("ner")
    nlp(TEXTS[0])
    nlp.remove_pipe("tagger")
    nlp(TEXTS[0])
    assert encoder.wiring.layers == ()


def test_the_nearest_of_two_encoders_has_the_layer(encoder_path):
    nlp = build(encoder_path, {"tagger": None})
    model = {"@architectures": "spacy_multitask.Encoder.v1", "name": encoder_path, "overlap": 8}
    mixed = {**model, "layers": [0, 1]}
    nlp.add_pipe("multitask_transformer", name="second", config={"model": mixed})
    head = {"@architectures": "spacy_multitask.TokenClassifier.v1", "tok2vec": listener(-1)}
    nlp.add_pipe("multitask_ner", name="ner", config={"model": head})
    nlp.initialize(lambda: corpus(nlp))
    assert nlp.get_pipe("transformer").wiring.layers == ()
    # Where the encoder gives a mix, the last layer is one that stands beside it.
    assert nlp.get_pipe("second").wiring.layers == (2,)
    nlp.update(corpus(nlp), sgd=plain_sgd())
    nlp(TEXTS[0])


def test_a_head_that_is_enabled_later_learns(learned):
    nlp = spacy.blank("en").from_config(learned.config, disable=["tagger"])
    nlp.from_bytes(learned.to_bytes())
    plain = spacy.blank("en").from_config(learned.config).from_bytes(learned.to_bytes())
    nlp.enable_pipe("tagger")
    for pipeline in (nlp, plain):
        pipeline.update(corpus(pipeline), sgd=plain_sgd())
    for name, weight in weights(plain).items():
        assert torch.allclose(weights(nlp)[name], weight, atol=1e-6), name


def test_threads_wait_where_transformers_can_not_serve_several(learned, monkeypatch):
    from spacy_multitask.encoder import encode

    monkeypatch.setattr(encode, "sees_hidden_states_in_threads", lambda: False)
    encoder = learned.get_pipe("transformer")
    forward, inside, most = encoder.shim.module._encode, [], []

    def watched(*arguments):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.02)  # for others to come in
        try:
            return forward(*arguments)
        finally:
            inside.pop()

    monkeypatch.setattr(encoder.shim.module, "_encode", watched)
    expected = predictions(learned.pipe(TEXTS))
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(predictions(learned.pipe(TEXTS))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4
    assert len(most) >= 5 and max(most) == 1
