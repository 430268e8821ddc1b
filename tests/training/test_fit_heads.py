"""Heads fit the encoder as it is, before the training."""

import pytest
import spacy
import torch
from spacy.tokens import Doc, DocBin
from spacy.training.initialize import init_nlp
from spacy.training.loop import train as train_loop
from spacy.util import logger

from spacy_multitask.composing.config import compose
from spacy_multitask.corpus.reader import MultiCorpus
from spacy_multitask.training.fit_heads import make_head_fitter
from tests.integration.conftest import write_corpora

KINDS = {"pos": "tagger", "chunk": "chunker", "ner": "ner", "topic": "textcat"}
HEADS = list(KINDS.values())


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpora")
    write_corpora(folder)
    return folder


def make_config(corpora, encoder_path, **options):
    tasks = {name: (kind, corpora / name) for name, kind in KINDS.items()}
    config = compose(encoder_path, tasks, epochs=2, batch_words=30)
    config["components"]["transformer"]["model"]["overlap"] = 8
    callback = {"@callbacks": "spacy_multitask.fit_heads.v1", **options}
    config["initialize"]["after_init"] = callback
    return config


def weights(nlp, name):
    return {k: v.clone() for k, v in nlp.get_pipe(name).model.shims[0].module.state_dict().items()}


def encoder_weights(nlp):
    (shim,) = nlp.get_pipe("transformer").model.shims
    return {k: v.clone() for k, v in shim.module.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def loss(nlp, head, examples):
    """RETURNS (float): The head's mean loss, without dropout and without learning."""
    with nlp.select_pipes(enable=["transformer", head]):
        return nlp.update(examples, drop=0.0, sgd=False)[head]


def test_heads_know_something_and_the_encoder_is_as_it_was(corpora, encoder_path):
    config = make_config(corpora, encoder_path, passes=40)
    fitted = init_nlp(config)
    config["initialize"]["after_init"] = None
    plain = init_nlp(config)
    assert same(encoder_weights(fitted), encoder_weights(plain))
    for head in HEADS:
        paths = {"only": {"path": str(corpora / f"{_corpus_of(head)}-train.spacy")}}
        losses = []
        for nlp in (plain, fitted):
            examples = list(read(paths, nlp))
            losses.append(loss(nlp, head, examples))
        assert losses[1] < 0.7 * losses[0], head


def _corpus_of(head):
    return next(name for name, kind in KINDS.items() if kind == head)


def read(paths, nlp):
    reader = MultiCorpus(
        paths,
        mixing="proportional",
        temperature=0.5,
        seed=0,
        shuffle_buffer=0,
        leaks="ignore",
        held_out=None,
        shares=None,
    )
    return reader(nlp)


def test_the_training_after_it_begins_without_old_gradients(corpora, encoder_path, tmp_path):
    nlp = init_nlp(make_config(corpora, encoder_path))
    for head in HEADS:
        for parameter in nlp.get_pipe(head).module.parameters():
            assert parameter.grad is None
    train_loop(nlp, tmp_path)
    doc = spacy.load(tmp_path / "model-last")("Mr Smith loves New York")
    assert all(token.tag_ for token in doc) and doc.cats


def test_it_is_the_same_twice_and_leaves_random_numbers_alone(corpora, encoder_path):
    config = make_config(corpora, encoder_path, max_docs=3)
    a, state = init_nlp(config), torch.get_rng_state()
    b = init_nlp(config)
    assert torch.equal(state, torch.get_rng_state())
    config["initialize"]["after_init"] = None
    init_nlp(config)
    assert torch.equal(state, torch.get_rng_state())
    for head in HEADS:
        assert same(weights(a, head), weights(b, head))


def test_heads_that_are_not_new_stay_as_they_are(corpora, encoder_path, tmp_path):
    config = make_config(corpora, encoder_path)
    config["initialize"]["after_init"] = None
    old = init_nlp(config)
    old.to_disk(tmp_path / "old")
    config = make_config(corpora, encoder_path)
    for name in ("transformer", "tagger", "ner"):
        config["components"][name] = {"source": str(tmp_path / "old")}
    config["training"]["frozen_components"] = ["tagger"]
    new = init_nlp(config)
    config["initialize"]["after_init"] = None
    unfitted = init_nlp(config)
    assert same(encoder_weights(new), encoder_weights(old))
    for head in ("tagger", "ner"):
        assert same(weights(new, head), weights(old, head))
    for head in ("chunker", "textcat"):
        assert not same(weights(new, head), weights(unfitted, head))


def test_only_the_heads_that_are_named_are_fitted(corpora, encoder_path):
    config = make_config(corpora, encoder_path, heads=["textcat"])
    fitted = init_nlp(config)
    config["initialize"]["after_init"] = None
    plain = init_nlp(config)
    changed = [head for head in HEADS if not same(weights(fitted, head), weights(plain, head))]
    assert changed == ["textcat"]
    with pytest.raises(ValueError, match="'topics', which is not in the pipeline"):
        make_head_fitter(heads=["topics"])(plain)


def test_a_sample_does_not_hide_docs_from_it(corpora, encoder_path):
    config = make_config(corpora, encoder_path)
    whole = init_nlp(config)
    for options in config["corpora"]["train"]["corpora"].values():
        options["sample"] = 1
    sampled = init_nlp(config)
    for head in HEADS:
        assert same(weights(whole, head), weights(sampled, head))


def test_another_reader_will_do(corpora, encoder_path):
    config = make_config(corpora, encoder_path)
    corpus = {"@readers": "spacy.Corpus.v1", "path": str(corpora / "topic-train.spacy")}
    config["corpora"]["train"] = corpus
    names = [name for name in config["nlp"]["pipeline"] if name in ("transformer", "textcat")]
    config["nlp"]["pipeline"] = names
    config["components"] = {name: config["components"][name] for name in names}
    fitted = init_nlp(config)
    config["initialize"]["after_init"] = None
    assert not same(weights(fitted, "textcat"), weights(init_nlp(config), "textcat"))


@pytest.mark.parametrize("reader", ["spacy.Corpus.v1", "spacy_multitask.MultiCorpus.v1"])
def test_a_corpus_that_is_sorted_by_label_is_no_worse(reader, encoder_path, tmp_path):
    vocab = spacy.blank("en").vocab
    words = {"a": "loves", "b": "York", "c": "Smith"}
    docs = []
    for label, word in words.items():
        for _ in range(100):
            docs.append(Doc(vocab, words=[word, word, "won"]))
            docs[-1].cats = {name: float(name == label) for name in words}
    for part in ("train", "dev"):
        DocBin(docs=docs).to_disk(tmp_path / f"topic-{part}.spacy")
    config = compose(encoder_path, {"topic": ("textcat", tmp_path / "topic")}, epochs=1)
    config["components"]["transformer"]["model"]["overlap"] = 8
    config["initialize"]["after_init"] = {
        "@callbacks": "spacy_multitask.fit_heads.v1",
        "max_docs": 150,
        "passes": 100,
    }
    if reader == "spacy.Corpus.v1":
        path = str(tmp_path / "topic-train.spacy")
        config["corpora"]["train"] = {"@readers": reader, "path": path}
    nlp = init_nlp(config)
    found = [nlp(Doc(nlp.vocab, words=[word, word, "won"])).cats for word in words.values()]
    assert [max(cats, key=cats.get) for cats in found] == list(words)


def test_a_corpus_that_is_not_there_is_said_to_be_what_it_reads(corpora, encoder_path, tmp_path):
    config = make_config(corpora, encoder_path)
    nlp = init_nlp(config)
    nlp.config["corpora"]["train"]["corpora"]["pos"]["path"] = str(tmp_path / "gone.spacy")
    with pytest.raises(ValueError, match=r"fit_heads reads.*gone\.spacy.*after_init = null"):
        make_head_fitter()(nlp)


def test_heads_that_are_named_and_not_new_are_said(corpora, encoder_path, caplog):
    nlp = init_nlp(make_config(corpora, encoder_path))
    logger.propagate = True
    try:
        make_head_fitter(heads=["transformer"])(nlp)
    finally:
        logger.propagate = False
    assert "leaves these as they are: transformer" in caplog.text


def test_a_pipeline_without_heads_is_left_alone():
    nlp = spacy.blank("en")
    make_head_fitter()(nlp)
    assert nlp.pipe_names == []


@pytest.mark.parametrize("option", ["max_docs", "passes", "learn_rate"])
def test_options_that_make_no_sense_are_refused(option):
    with pytest.raises(ValueError, match=f"{option} = 0"):
        make_head_fitter(**{option: 0})
