"""Our heads on other encoders, and spaCy's own heads on ours."""

import pytest
import spacy
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import fix_random_seed

from tests.conftest import ALL_HEADS, corpus, example, make_nlp, predictions

HASH_EMBED = {
    "@architectures": "spacy.HashEmbedCNN.v2",
    "width": 32,
    "depth": 2,
    "embed_size": 200,
    "window_size": 1,
    "maxout_pieces": 3,
    "subword_features": True,
    "pretrained_vectors": None,
}


TRANSFORMER_LISTENER = {
    "@architectures": "spacy-transformers.TransformerListener.v1",
    "grad_factor": 1.0,
    "pooling": {"@layers": "reduce_mean.v1"},
}


def stock_transformer(encoder_path: str) -> dict:
    """RETURNS (dict): A `model` block for the component of spacy-transformers."""
    return {
        "@architectures": "spacy-transformers.TransformerModel.v3",
        "name": encoder_path,
        "get_spans": {"@span_getters": "spacy-transformers.strided_spans.v1", "window": 32,
                      "stride": 24},
        "tokenizer_config": {"use_fast": True},
        "transformer_config": {},
        "mixed_precision": False,
        "grad_scaler_config": {},
    }  # fmt: skip


def model(head: str, tok2vec: dict) -> dict:
    kind = "DocClassifier" if head == "textcat" else "TokenClassifier"
    return {"@architectures": f"spacy_multitask.{kind}.v1", "tok2vec": tok2vec}


def train(nlp, rate: float, steps: int) -> None:
    fix_random_seed(0)
    sgd = nlp.initialize(lambda: corpus(nlp))
    sgd.learn_rate = rate
    for _ in range(steps):
        nlp.update(corpus(nlp), sgd=sgd)


def check_learned(nlp) -> None:
    doc = nlp(Doc(nlp.vocab, words=["Mr", "Smith", "loves", "New", "York"]))
    assert [t.tag_ for t in doc] == ["NNP", "NNP", "VBZ", "NNP", "NNP"]
    assert [(e.text, e.label_) for e in doc.ents] == [("Smith", "PER"), ("New York", "LOC")]
    assert [s.text for s in doc.spans["np"]] == ["Mr Smith", "loves", "New York"]
    doc = nlp(Doc(nlp.vocab, words=["IBM", "made", "a", "lot", "of", "profit", "."]))
    assert doc.cats["Business"] > 0.5 > doc.cats["Sports"]


def test_hash_embeddings(tmp_path):
    nlp = spacy.blank("en")
    for head in ALL_HEADS:
        nlp.add_pipe(f"multitask_{head}", name=head, config={"model": model(head, HASH_EMBED)})
    train(nlp, 0.01, 60)
    check_learned(nlp)
    nlp.to_disk(tmp_path)
    texts = ["Mr Smith loves New York", "IBM made a lot of profit.", ""]
    assert predictions(spacy.load(tmp_path).pipe(texts)) == predictions(nlp.pipe(texts))


def test_spacys_tok2vec_component():
    nlp = spacy.blank("en")
    nlp.add_pipe("tok2vec", config={"model": HASH_EMBED})
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": 32}
    for head in ALL_HEADS:
        nlp.add_pipe(f"multitask_{head}", name=head, config={"model": model(head, listener)})
    train(nlp, 0.01, 60)
    check_learned(nlp)


def test_spacy_transformers(encoder_path):
    pytest.importorskip("spacy_transformers")
    nlp = spacy.blank("en")
    nlp.add_pipe("transformer", config={"model": stock_transformer(encoder_path)})
    for head in ALL_HEADS:
        nlp.add_pipe(
            f"multitask_{head}", name=head, config={"model": model(head, TRANSFORMER_LISTENER)}
        )
    train(nlp, 0.003, 80)
    check_learned(nlp)


OURS = {"@architectures": "spacy_multitask.EncoderListener.v1", "upstream": "*"}


def spacys_own(nlp, factory: str) -> None:
    section = {**nlp.get_factory_meta(factory).default_config["model"], "tok2vec": OURS}
    config = {"model": section, **({"min_action_freq": 1} if factory == "parser" else {})}
    nlp.add_pipe(factory, name=f"spacy_{factory}", config=config)


def test_spacys_heads_listen_to_our_encoder(encoder_path, tmp_path):
    nlp = make_nlp(encoder_path, ["tagger"])
    for factory in ("tagger", "ner", "morphologizer", "parser", "senter"):
        spacys_own(nlp, factory)
    words = ["Mr", "Smith", "loves", "New", "York"]
    full = Example(
        Doc(nlp.vocab, words=words),
        Doc(
            nlp.vocab,
            words=words,
            tags=["NNP", "NNP", "VBZ", "NNP", "NNP"],
            pos=["PROPN", "PROPN", "VERB", "PROPN", "PROPN"],
            morphs=["Number=Sing", "Number=Sing", "Tense=Pres", "Number=Sing", "Number=Sing"],
            heads=[1, 2, 2, 4, 2],
            deps=["compound", "nsubj", "ROOT", "compound", "obj"],
            ents=["O", "B-PER", "O", "B-LOC", "I-LOC"],
        ),
    )
    data = [full, example(nlp, ["The", "old", "town"]), example(nlp, [])]
    fix_random_seed(0)
    sgd = nlp.initialize(lambda: data)
    encoder = nlp.get_pipe("transformer").shim.module
    before = {name: p.detach().clone() for name, p in encoder.named_parameters()}
    sgd.learn_rate = 0.003
    for _ in range(60):
        nlp.update(data, sgd=sgd)
    changed = [n for n, p in encoder.named_parameters() if not bool((p == before[n]).all())]
    assert any("layer.0" in name for name in changed), "the gradient reaches the lowest layer"
    doc = nlp(Doc(nlp.vocab, words=words))
    assert [t.dep_ for t in doc] == ["compound", "nsubj", "ROOT", "compound", "obj"]
    assert [(e.text, e.label_) for e in doc.ents] == [("Smith", "PER"), ("New York", "LOC")]
    assert doc[2].morph.to_dict() == {"Tense": "Pres"}
    nlp.to_disk(tmp_path)
    again = spacy.load(tmp_path)(Doc(nlp.vocab, words=words))
    assert again.to_json() == doc.to_json()
