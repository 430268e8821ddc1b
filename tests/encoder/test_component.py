"""The encoder component: rows per token, batches and memory."""

import gc
import pickle
import shutil
import weakref

import numpy as np
import pytest
import spacy
import torch
from spacy.tokens import Doc
from spacy.training import Example

from spacy_multitask.encoder.listener import EncoderListener
from tests.conftest import ALL_HEADS, PARSER_MODEL, corpus, make_nlp, predictions

ODD = [
    [],
    [" ", "\n", "  "],
    ["\x07", "\x00", "\u200d", "\ufe0f"],
    ["Mr", "\ufe0f", "Smith", " ", "loves"],
    ["x" * 300],
    ["word"] * 500,
    ["🙂", "中文", "e\u0301", "\U0010ffff"],
]


def docs_of(nlp, texts):
    return [Doc(nlp.vocab, words=words) for words in texts]


def test_every_token_owns_a_row(nlp):
    encoder = nlp.get_pipe("transformer")
    batch = encoder.shim.encoder.encode(
        docs_of(nlp, ODD), is_train=False, precision="float32", budget=100
    )
    assert batch.words.shape == (sum(map(len, ODD)), 32)
    assert batch.doc_vectors.shape == (len(ODD), 32)
    assert bool(batch.words.isfinite().all())


def test_odd_docs_alone_and_in_a_batch_get_the_same_predictions(trained):
    nlp = trained
    alone = predictions(nlp(doc) for doc in docs_of(nlp, ODD))
    for size in (1, 3, 100):
        assert predictions(nlp.pipe(docs_of(nlp, ODD), batch_size=size)) == alone
    assert predictions(reversed(list(nlp.pipe(docs_of(nlp, ODD[::-1]))))) == alone


@pytest.mark.parametrize("pooling", ["first", "last", "mean"])
def test_poolings_agree_with_the_plain_transformer(encoder_path, pooling):
    import torch
    from transformers import AutoModel, AutoTokenizer

    nlp = make_nlp(encoder_path, ["tagger"], model={"pooling": pooling})
    nlp.initialize(lambda: corpus(nlp))
    words = ["Unaffability", "playoffs", "of", "Lyonnais", "won", "."]
    shim = nlp.get_pipe("transformer").shim
    batch = shim.encoder.encode(
        docs_of(nlp, [words]), is_train=False, precision="float32", budget=100
    )
    encoding = AutoTokenizer.from_pretrained(encoder_path)(
        words, is_split_into_words=True, return_tensors="pt"
    )
    model = AutoModel.from_pretrained(encoder_path).eval()
    with torch.no_grad():
        hidden = model(**encoding).last_hidden_state[0]
    assert len(encoding.word_ids()) > len(words) + 2, "some word must have several pieces"
    for i in range(len(words)):
        rows = hidden[[p for p, word in enumerate(encoding.word_ids()) if word == i]]
        expected = {"first": rows[0], "last": rows[-1], "mean": rows.mean(0)}[pooling]
        assert torch.allclose(batch.words[i], expected, atol=1e-5)
    assert torch.allclose(batch.doc_vectors[0], hidden.mean(0), atol=1e-5)


def test_a_learned_mix_starts_as_the_mean_of_its_layers(encoder_path):
    import torch

    nlp = make_nlp(encoder_path, ["tagger"], model={"layers": [-1, -2]})
    nlp.initialize(lambda: corpus(nlp))
    network = nlp.get_pipe("transformer").shim.module
    ids = torch.tensor([[2, 10, 11, 3]])
    hidden = network.transformer(input_ids=ids, output_hidden_states=True).hidden_states
    mixed = network(ids, torch.full_like(ids, 60), None)
    assert torch.allclose(mixed, (hidden[-1] + hidden[-2]) / 2, atol=1e-6)
    nlp.update(corpus(nlp), sgd=nlp.create_optimizer())
    assert network.layer_weights.abs().sum() > 0


def test_long_documents_get_each_word_with_context_from_both_sides(encoder_path):
    """Each vector is that of a stretch that holds several pieces before and after the word."""
    from transformers import AutoTokenizer

    window, overlap = 24, 16
    nlp = make_nlp(encoder_path, [], model={"window": window, "overlap": overlap})
    nlp.initialize()
    encoder = nlp.get_pipe("transformer").shim.encoder

    def vectors(texts):
        return encoder.encode(
            docs_of(nlp, texts), is_train=False, precision="float32", budget=1000
        ).words.numpy()

    words = (
        "Mr Smith loves New York and the old town near the river . IBM made a lot of profit".split()
    )
    words += "said Anna Brown of Reuters . The players won against rivals on Sunday .".split()
    long = vectors([words])
    tokenizer = AutoTokenizer.from_pretrained(encoder_path)
    pieces = tokenizer(words, add_special_tokens=False)["input_ids"]
    edges = np.cumsum([0, *map(len, pieces)])
    # All stretches of words that fit into a window, each as a doc of its own.
    stretches = [
        (a, b)
        for a in range(len(words))
        for b in range(a + 1, len(words) + 1)
        if edges[b] - edges[a] <= window
    ]
    alone = vectors([words[a:b] for a, b in stretches])
    firsts = np.cumsum([0, *(b - a for a, b in stretches)])
    for word, vector in enumerate(long):
        found = [
            (a, b)
            for (a, b), first in zip(stretches, firsts)
            if a <= word < b and np.allclose(alone[first + word - a], vector, atol=1e-5)
        ]
        assert found, f"{words[word]} has a vector of no stretch of the doc"
        # A word of half of the overlap's size may stand between.
        wanted = overlap // 2 - max(map(len, pieces))
        assert wanted >= 1
        assert any(
            (a == 0 or edges[word] - edges[a] >= wanted)
            and (b == len(words) or edges[b] - edges[word + 1] >= wanted)
            for a, b in found
        ), f"{words[word]} has too little context"
    # The vectors do depend on the context.
    assert not np.allclose(vectors([[words[5]]])[0], long[5], atol=1e-5)


def test_the_encoder_runs_once_per_batch(trained, monkeypatch):
    calls = []
    shim = trained.get_pipe("transformer").shim
    encode = shim.encoder.encode
    monkeypatch.setattr(shim.encoder, "encode", lambda *a, **k: calls.append(1) or encode(*a, **k))
    list(trained.pipe(["Mr Smith loves New York"] * 10, batch_size=4))
    assert len(calls) == 3


def test_no_vectors_stay_behind(trained):
    encoder = trained.get_pipe("transformer")
    docs = list(trained.pipe(["Mr Smith loves New York"] * 3))
    assert encoder._kept._predicted is None
    assert all(doc.tensor.size == 0 and not doc.user_data for doc in docs)


def test_no_vectors_stay_behind_when_a_head_is_disabled(trained):
    encoder = trained.get_pipe("transformer")
    with trained.select_pipes(disable=["textcat"]):
        trained("Mr Smith loves New York")
    assert encoder._kept._predicted is None


def test_vectors_are_kept_if_asked_for(encoder_path):
    nlp = make_nlp(encoder_path, keep_vectors=True)
    nlp.initialize(lambda: corpus(nlp))
    doc = nlp("Mr Smith loves New York")
    assert doc.tensor.shape == (5, 32)
    assert np.abs(doc.tensor).sum() > 0


def test_heads_that_batch_otherwise_get_the_right_vectors(trained):
    texts = ["Mr Smith loves New York", "IBM made a lot of profit .", "The old town"] * 3
    expected = predictions(trained.pipe(texts))
    config = {
        "transformer": {"batch_size": 4},
        "ner": {"batch_size": 5},
        "tagger": {"batch_size": 2},
    }
    assert predictions(trained.pipe(texts, component_cfg=config)) == expected


@spacy.Language.component("merge_first_two")
def merge_first_two(doc):
    with doc.retokenize() as retokenizer:
        retokenizer.merge(doc[0:2])
    return doc


def test_a_component_that_merges_tokens_in_between_is_noticed(trained, encoder_path):
    nlp = make_nlp(encoder_path).from_bytes(trained.to_bytes())
    nlp.add_pipe("merge_first_two", after="transformer")
    doc = nlp("Mr Smith loves New York")
    assert len(doc) == 4
    assert all(token.tag_ for token in doc)


def test_tokens_that_are_merged_and_split_again_are_noticed(trained, encoder_path):
    """There are as many as before, but not the same."""
    nlp = make_nlp(encoder_path).from_bytes(trained.to_bytes())

    @spacy.Language.component("merge_and_split")
    def merge_and_split(doc):
        with doc.retokenize() as retokenizer:
            retokenizer.merge(doc[0:2])
            retokenizer.split(doc[3], ["Ne", "w"], heads=[doc[3], doc[4]])
        return doc

    nlp.add_pipe("merge_and_split", after="transformer")
    found = nlp("Mr Smith loves New York")
    assert [t.text for t in found] == ["Mr Smith", "loves", "Ne", "w", "York"]
    again = trained(Doc(trained.vocab, words=[t.text for t in found]))
    assert [t.tag_ for t in found] == [t.tag_ for t in again]


def count_encodings(nlp, monkeypatch):
    """RETURNS (List[int]): Gets the docs of each run of the encoder."""
    calls = []
    shim = nlp.get_pipe("transformer").shim
    encode = shim.encoder.encode
    monkeypatch.setattr(
        shim.encoder, "encode", lambda docs, **k: calls.append(len(docs)) or encode(docs, **k)
    )
    return calls


TEXTS = ["Mr Smith loves New York", "IBM made a lot of profit .", "The old town"] * 4


@pytest.mark.parametrize("where", ["first", "last"])
def test_a_component_that_sorts_docs_by_length_is_served_from_the_batch(
    trained, encoder_path, monkeypatch, where
):
    nlp = make_nlp(encoder_path).from_bytes(trained.to_bytes())

    head = nlp.get_pipe("tagger" if where == "first" else "textcat")

    def pipe(self, docs, **_):
        docs = list(docs)
        by_length = sorted(docs, key=len)
        for i in range(0, len(docs), 5):
            part = by_length[i : i + 5]
            self.set_annotations(part, self.predict(part))
        yield from docs

    expected = predictions(map(trained, TEXTS))
    monkeypatch.setattr(type(head), "pipe", pipe)
    calls = count_encodings(nlp, monkeypatch)
    assert predictions(nlp.pipe(TEXTS)) == expected
    assert calls == [12]
    assert nlp.get_pipe("transformer")._kept._predicted is None


def test_spacys_parser_reads_the_batch_that_is_there(encoder_path, monkeypatch):
    nlp = make_nlp(encoder_path, ["tagger"])
    nlp.add_pipe("parser", before="tagger", config={"model": PARSER_MODEL, "min_action_freq": 1})
    words = ["Smith", "won"]
    gold = Doc(nlp.vocab, words=words, tags=["A", "B"], heads=[1, 1], deps=["nsubj", "ROOT"])
    nlp.initialize(lambda: [Example(Doc(nlp.vocab, words=words), gold)])
    calls = count_encodings(nlp, monkeypatch)
    list(nlp.pipe(TEXTS))
    list(nlp.pipe(TEXTS, batch_size=4))
    assert calls == [12, 4, 4, 4]
    assert nlp.get_pipe("transformer")._kept._predicted is None


def test_a_head_that_was_disabled_when_loaded_predicts(trained, tmp_path, monkeypatch):
    trained.to_disk(tmp_path)
    nlp = spacy.load(tmp_path, disable=["ner", "textcat"])
    nlp("Mr Smith loves New York")
    nlp.enable_pipe("ner")
    nlp.enable_pipe("textcat")
    expected = predictions(trained.pipe(TEXTS))
    assert predictions(nlp.pipe(TEXTS)) == expected
    calls = count_encodings(nlp, monkeypatch)
    assert predictions(nlp.pipe(TEXTS)) == expected
    assert calls == [12]


def test_a_disabled_head_predicts_when_it_is_asked(trained):
    expected = [[t.ent_type_ for t in doc] for doc in trained.pipe(TEXTS)]
    with trained.select_pipes(disable=["ner"]):
        docs = list(trained.pipe(TEXTS))
        found = list(trained.get_pipe("ner").pipe(docs))
        assert [[t.ent_type_ for t in doc] for doc in found] == expected
    assert trained.get_pipe("transformer")._kept._predicted is None


def test_a_batch_is_gone_with_its_last_reader(trained):
    """At once: vectors would pile up until Python looks for cycles."""
    encoder = trained.get_pipe("transformer")
    docs = docs_of(trained, [["Mr", "Smith"], ["The", "old", "town"]])
    gc.disable()
    try:
        batch = weakref.ref(encoder.predict(docs))
        assert batch() is None
        batch = encoder.predict(docs)
        assert batch.part(docs) is batch
        part = batch.part(docs[::-1])
        whole = weakref.ref(batch)
        del batch
        assert part is not None and whole() is None
    finally:
        gc.enable()


def test_after_training_with_a_frozen_encoder_no_vectors_stay_behind(nlp):
    nlp.update(corpus(nlp), exclude=["transformer"])
    nlp("Mr Smith loves New York")
    assert nlp.get_pipe("transformer")._kept._frozen is None


def test_a_batch_waits_for_heads_after_the_one_that_asked(trained, encoder_path):
    nlp = make_nlp(encoder_path).from_bytes(trained.to_bytes())
    nlp.add_pipe("merge_first_two", after="tagger")
    nlp("Mr Smith loves New York")
    assert nlp.get_pipe("transformer")._kept._predicted is None


def test_an_encoder_that_is_pickled_scores_its_tasks(trained):
    encoder = pickle.loads(pickle.dumps(trained)).get_pipe("transformer")
    assert encoder.scorer is not None


def test_weights_that_are_not_there_are_named(trained, tmp_path):
    trained.to_disk(tmp_path)
    shutil.rmtree(tmp_path / "transformer" / "model")
    with pytest.raises(ValueError, match=r"transformer.model is missing"):
        spacy.load(tmp_path)


def test_bfloat16_is_close_to_float32(trained, encoder_path):
    nlp = make_nlp(encoder_path, precision="bfloat16").from_bytes(trained.to_bytes())
    docs = [eg.predicted for eg in corpus(trained)]
    exact, rough = (
        pipeline.get_pipe("transformer").shim.encoder.encode(
            docs, is_train=False, precision=precision, budget=100
        )
        for pipeline, precision in ((trained, "float32"), (nlp, "bfloat16"))
    )
    for name in ("words", "doc_vectors"):
        vectors = getattr(exact, name)
        error = (getattr(rough, name) - vectors).norm(dim=1) / vectors.norm(dim=1)
        assert 0 < float(error.max()) < 0.03, name
    # A text of which every layer was learned: how close others are to a tie is the machine's.
    texts = ["Mr Smith loves New York"]
    expected = [p[:2] for p in predictions(trained.pipe(texts))]
    assert [p[:2] for p in predictions(nlp.pipe(texts))] == expected


def test_precision_is_an_option_of_loading(trained, tmp_path):
    trained.to_disk(tmp_path)
    nlp = spacy.load(tmp_path, config={"components.transformer.precision": "bfloat16"})
    assert nlp.get_pipe("transformer").precision == "bfloat16"


@pytest.mark.parametrize(
    "options, message",
    [
        ({"precision": "float8"}, "precision = 'float8' is not one of float32, bfloat16"),
        ({"max_batch_pieces": 0}, "max_batch_pieces = 0 must be at least 1"),
        ({"model": {"pooling": "max"}}, "pooling = 'max' is not one of first, last, mean"),
        ({"model": {"overlap": 600}}, "overlap = 600 must be"),
    ],
)
def test_bad_options_are_refused_when_the_pipeline_is_built(encoder_path, options, message):
    with pytest.raises(ValueError, match=message):
        make_nlp(encoder_path, **options)


def test_a_layer_that_does_not_exist_is_refused(encoder_path):
    nlp = make_nlp(encoder_path, model={"layers": [5]})
    with pytest.raises(ValueError, match=r"layers 0 .embeddings. to 2"):
        nlp.initialize(lambda: corpus(nlp))


def test_an_encoder_that_is_not_there_is_named():
    nlp = make_nlp("no/such/folder")
    with pytest.raises(ValueError, match="Can't load the encoder 'no/such/folder'"):
        nlp.initialize(lambda: corpus(nlp))


def test_a_head_without_encoder_says_what_is_missing():
    nlp = spacy.blank("en")
    nlp.add_pipe("multitask_ner", name="ner")
    with pytest.raises(ValueError, match="has found no encoder"):
        nlp.initialize(lambda: corpus(nlp))


def test_a_pipeline_without_weights_says_so(encoder_path):
    with pytest.raises(ValueError, match="no weights yet"):
        make_nlp(encoder_path)("Mr Smith")


@pytest.mark.parametrize("head", ALL_HEADS)
def test_a_head_without_gold_in_any_corpus_is_refused(encoder_path, head):
    from tests.conftest import example

    nlp = make_nlp(encoder_path, [head])
    with pytest.raises(
        ValueError, match=f"No training example has gold for the component '{head}'"
    ):
        nlp.initialize(lambda: [example(nlp, ["Mr", "Smith"])])


def test_replaced_listeners_work_on_their_own_copy(trained, encoder_path):
    nlp = make_nlp(encoder_path).from_bytes(trained.to_bytes())
    expected = predictions([nlp("Mr Smith loves New York")])
    nlp.replace_listeners("transformer", "ner", ["model.tok2vec"])
    assert not any(isinstance(n, EncoderListener) for n in nlp.get_pipe("ner").model.walk())
    assert predictions([nlp("Mr Smith loves New York")]) == expected


@pytest.mark.parametrize("is_saved", [False, True])
@pytest.mark.parametrize("is_other", [False, True])
def test_a_head_put_on_another_encoder_is_named(nlp, tmp_path, recwarn, is_other, is_saved):
    nlp.to_disk(tmp_path)
    target = spacy.load(tmp_path, exclude=["ner"])
    if is_other:
        with torch.no_grad():
            next(target.get_pipe("transformer").shim.module.parameters()).add_(0.1)
    target.add_pipe("ner", source=spacy.load(tmp_path))
    for _ in range(2):
        if is_saved:
            target.to_disk(tmp_path / "combined")
        else:
            target(TEXTS[0])
    said = [str(w.message) for w in recwarn if "other weights" in str(w.message)]
    assert len(said) == is_other
    assert all("'ner' comes from a pipeline whose encoder" in text for text in said)
    # With its encoder it keeps silent, and so it does when it begins anew.
    both = spacy.blank("en", vocab=nlp.vocab)
    for name in ("transformer", "ner"):
        both.add_pipe(name, source=nlp)
    both(TEXTS[0])
    target.initialize(lambda: corpus(target))
    target(TEXTS[0])
    assert len([w for w in recwarn if "other weights" in str(w.message)]) == is_other


@pytest.fixture
def two_encoders(encoder_path):
    nlp = make_nlp(encoder_path, ["tagger"])
    model = {"@architectures": "spacy_multitask.Encoder.v1", "name": encoder_path, "overlap": 8}
    nlp.add_pipe("multitask_transformer", name="second", config={"model": model})
    nlp.add_pipe("multitask_ner", name="ner")
    return nlp


def test_between_two_encoders_no_head_comes_from_elsewhere(two_encoders, tmp_path, recwarn):
    nlp = two_encoders
    nlp.initialize(lambda: corpus(nlp))
    nlp.update(corpus(nlp), sgd=nlp.create_optimizer())
    nlp.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    for pipeline in (nlp, loaded, spacy.load(tmp_path).from_bytes(nlp.to_bytes())):
        pipeline(TEXTS[0])
        pipeline.to_disk(tmp_path / "again")
        for head, encoder in (("tagger", "transformer"), ("ner", "second")):
            assert pipeline.get_pipe(head).tok2vec.encoder is pipeline.get_pipe(encoder)
    assert not [w for w in recwarn if "other weights" in str(w.message)]


@pytest.mark.parametrize("frozen", ["transformer", "second"])
def test_heads_of_a_frozen_encoder_begin_on_it(two_encoders, frozen):
    """spaCy initialises and trains with frozen components disabled."""
    nlp = two_encoders
    with nlp.select_pipes(disable=[frozen]):
        sgd = nlp.initialize(lambda: corpus(nlp))
    for head, encoder in (("tagger", "transformer"), ("ner", "second")):
        assert nlp.get_pipe(head).tok2vec.encoder is nlp.get_pipe(encoder)
    network = nlp.get_pipe(frozen).shim.module
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    losses = nlp.update(corpus(nlp), sgd=sgd, exclude=[frozen])
    assert losses["tagger"] and losses["ner"]
    assert all(torch.equal(p, before[name]) for name, p in network.named_parameters())
