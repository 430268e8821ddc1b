"""Adding heads to a pipeline that is done, and combining heads of several pipelines."""

import io

import numpy as np
import pytest
import spacy
from spacy.tokens import Doc
from spacy.training.initialize import init_nlp
from spacy.training.loop import train
from spacy.util import load_config

from spacy_multitask.evaluation.evaluate import evaluate, main_scores
from tests.conftest import TEXTS

HEADS = {"pos": "tagger", "chunk": "chunker", "ner": "ner", "topic": "textcat"}


@pytest.fixture(scope="module")
def base(project):
    return load_config(project / "config.cfg", interpolate=True)


def configure(base, corpora, heads, *, source=None, frozen=(), epochs=6):
    """RETURNS (Config): For these corpora and heads; `source` says where trained ones are."""
    config = base.copy()
    config["nlp"]["pipeline"] = ["transformer", *heads]
    config["components"] = {
        name: {"source": str(source[name])} if name in (source or {}) else block
        for name, block in config["components"].items()
        if name == "transformer" or name in heads
    }
    for part in ("train", "dev"):
        paths = config["corpora"][part]["corpora"]
        config["corpora"][part]["corpora"] = {name: paths[name] for name in corpora}
    config["training"].update(frozen_components=list(frozen), max_epochs=epochs)
    return config


def run(config, folder):
    """RETURNS (Path): The last model."""
    folder.mkdir()
    train(init_nlp(config), folder, stdout=io.StringIO())
    return folder / "model-last"


@pytest.fixture(scope="module")
def shipped(base, tmp_path_factory):
    """A pipeline of tagger and chunker, with the encoder that they were trained with."""
    folder = tmp_path_factory.mktemp("shipped")
    return run(configure(base, ["pos", "chunk"], ["tagger", "chunker"]), folder / "out")


def docs(nlp):
    return [Doc(nlp.vocab, words=text.split()) for text in TEXTS]


def outputs(path, head):
    """RETURNS (List[ndarray]): Logits of a head of a saved pipeline, to the last bit."""
    nlp = spacy.load(path)
    pipe = nlp.get_pipe(head)
    if head == "textcat":
        return pipe.doc_logits(docs(nlp)).numpy()
    return pipe.word_logits(docs(nlp))[0].numpy()


def score(path, base, head):
    nlp = spacy.load(path)
    corpus = next(name for name, h in HEADS.items() if h == head)
    path = base["corpora"]["dev"]["corpora"][corpus]["path"]
    found = evaluate(nlp, {corpus: path})[corpus]
    return next(iter(main_scores(found).values()))


def test_a_head_added_on_a_frozen_encoder_leaves_the_old_ones_bit_equal(base, shipped, tmp_path):
    source = dict.fromkeys(("transformer", "tagger", "chunker"), shipped)
    heads = ["tagger", "chunker", "ner"]
    config = configure(base, ["ner"], heads, source=source, frozen=source, epochs=40)
    model = run(config, tmp_path / "out")
    for head in ("tagger", "chunker"):
        assert np.array_equal(outputs(model, head), outputs(shipped, head)), head
    assert score(model, base, "ner") > 0.5, "the new head has learned"
    nlp, old = spacy.load(model), spacy.load(shipped)
    for doc, other in zip(nlp.pipe(docs(nlp)), old.pipe(docs(old)), strict=True):
        assert len(doc)
        assert [t.tag_ for t in doc] == [t.tag_ for t in other]
        assert [(s.start, s.end, s.label_) for s in doc.spans["np"]] == [
            (s.start, s.end, s.label_) for s in other.spans["np"]
        ]


def test_a_head_added_on_a_tuned_encoder_with_the_old_corpora_replayed(base, shipped, tmp_path):
    source = dict.fromkeys(("transformer", "tagger", "chunker"), shipped)
    heads = ["tagger", "chunker", "ner"]
    config = configure(base, ["pos", "chunk", "ner"], heads, source=source)
    before = {head: score(shipped, base, head) for head in ("tagger", "chunker")}
    model = run(config, tmp_path / "out")
    assert not np.array_equal(outputs(model, "tagger"), outputs(shipped, "tagger"))
    for head in ("tagger", "chunker"):
        assert score(model, base, head) >= before[head] - 0.1, head
    assert score(model, base, "ner") > 0.5


def test_heads_trained_apart_on_one_frozen_encoder_are_combined(base, shipped, tmp_path):
    parts = {}
    for corpus, head in (("ner", "ner"), ("topic", "textcat")):
        config = configure(
            base, [corpus], [head], source={"transformer": shipped}, frozen=["transformer"]
        )
        parts[head] = run(config, tmp_path / head)
    nlp = spacy.load(shipped)
    for head, path in parts.items():
        nlp.add_pipe(head, source=spacy.load(path))
    nlp.to_disk(tmp_path / "combined")
    origins = {"tagger": shipped, "chunker": shipped, **parts}
    for head, origin in origins.items():
        assert np.array_equal(outputs(tmp_path / "combined", head), outputs(origin, head)), head
    combined = spacy.load(tmp_path / "combined")
    assert combined.pipe_names == ["transformer", "tagger", "chunker", "ner", "textcat"]
    assert len(combined.get_pipe("transformer").listening_components) == 4
    (doc,) = combined.pipe(docs(combined)[:1])
    # All four have written; what so short a training has learned is not the point.
    assert doc.has_annotation("TAG") and doc.has_annotation("ENT_IOB")
    assert "np" in doc.spans and doc.cats


def test_a_config_combines_heads_by_their_sources(base, shipped, tmp_path):
    """As `spacy assemble` does it: nothing is trained."""
    config = configure(
        base, ["ner"], ["ner"], source={"transformer": shipped}, frozen=["transformer"], epochs=2
    )
    ner = run(config, tmp_path / "ner")
    source = {"transformer": shipped, "tagger": shipped, "ner": ner}
    config = configure(base, ["ner"], ["tagger", "ner"], source=source)
    nlp = spacy.util.load_model_from_config(config, auto_fill=True)
    nlp.to_disk(tmp_path / "combined")
    for head, origin in (("tagger", shipped), ("ner", ner)):
        assert np.array_equal(outputs(tmp_path / "combined", head), outputs(origin, head)), head
