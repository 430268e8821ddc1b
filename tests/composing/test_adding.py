"""A head that is added to a finished pipeline."""

import pytest
import spacy
import torch
from spacy.util import load_config
from typer.testing import CliRunner

import spacy_multitask
from spacy_multitask.cli import app
from spacy_multitask.composing.adding import add_head
from spacy_multitask.composing.config import compose, parse_task
from tests.conftest import TEXTS, predictions
from tests.integration.conftest import write_corpora


@pytest.fixture(scope="module")
def project(encoder_path, tmp_path_factory):
    """RETURNS (Path): Corpora, and in "old" a pipeline of a tagger and a recogniser."""
    folder = tmp_path_factory.mktemp("adding")
    write_corpora(folder)
    tasks = {"pos": ("tagger", folder / "pos"), "ner": ("ner", folder / "ner")}
    config = compose(encoder_path, tasks, epochs=2)
    config["components"]["transformer"]["model"]["overlap"] = 8
    spacy_multitask.train(config, folder / "training").to_disk(folder / "old")
    return folder


def written(project, output, *arguments):
    words = ["add-head", project / "old", *arguments, "--output", output, "--epochs", 2]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.output


def weights(nlp, name):
    pipe = nlp.get_pipe(name)
    module = pipe.shim.module if name == "transformer" else pipe.module
    return list(module.state_dict().values())


def labels_of_old_heads(docs):
    return [(tags_and_entities, chunks) for tags_and_entities, chunks, _ in predictions(docs)]


def test_a_head_on_a_frozen_pipeline_leaves_the_others_as_they_are(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = written(project, tmp_path / "c.cfg", f"topic:textcat={project / 'topic'}")
    assert "Frozen: transformer, pos, ner." in out
    nlp = spacy_multitask.train(tmp_path / "c.cfg", tmp_path / "out")
    assert nlp.config["training"]["score_weights"]["tag_acc"] is None, "it does not change"
    assert nlp.pipe_names == ["transformer", "pos", "ner", "topic"]
    old = spacy.load(project / "old")
    ours, theirs = list(nlp.pipe(TEXTS)), list(old.pipe(TEXTS))
    assert all(doc.cats for doc in ours)
    for mine, its in zip(ours, theirs):
        mine.spans["np"] = its.spans["np"] = []
    assert labels_of_old_heads(ours) == labels_of_old_heads(theirs)
    docs = [nlp.make_doc(text) for text in TEXTS]
    for name in ("transformer", "pos", "ner"):
        assert all(map(torch.equal, weights(nlp, name), weights(old, name))), name
    assert (nlp.get_pipe("ner").probs(docs)[0] == old.get_pipe("ner").probs(docs)[0]).all()


def test_a_second_head_of_a_kind_writes_elsewhere(project):
    config = add_head(project / "old", parse_task(f"wire:ner={project / 'topic'}"))
    head = config["components"]["wire"]
    assert head["spans_key"] == "wire" and head["corpora"] == ["wire"]
    with pytest.raises(ValueError, match="'ner' is a ner, too, and would learn the labels"):
        add_head(project / "old", parse_task(f"wire:ner={project / 'topic'}"), tune=True)


def test_tuning_trains_all_with_the_corpora_of_the_old_heads(project, tmp_path):
    arguments = [f"topic:textcat={project / 'topic'}", "--tune"]
    assert "from topic, pos, ner." in written(project, tmp_path / "c.cfg", *arguments)
    config = load_config(tmp_path / "c.cfg")
    assert config["training"]["frozen_components"] == []
    assert set(config["training"]["score_weights"]) >= {"cats_score", "tag_acc", "ents_f"}
    spacy_multitask.train(config, tmp_path / "out")
    nlp = spacy.load(tmp_path / "out" / "model-last")
    assert nlp.pipe_names == ["transformer", "pos", "ner", "topic"]
    old = spacy.load(project / "old")
    for name in ("transformer", "pos", "ner"):
        assert not all(map(torch.equal, weights(nlp, name), weights(old, name))), name


def test_relations_may_read_the_entities_of_an_old_head(project):
    config = add_head(project / "old", parse_task(f"r:relations={project / 'relations'}"))
    assert config["nlp"]["pipeline"][-1] == "r"


def test_what_can_not_be_added_is_refused(project, tmp_path):
    with pytest.raises(ValueError, match="'pos' another name: pos is taken"):
        add_head(project / "old", parse_task(f"pos:chunker={project / 'chunk'}"))
    with pytest.raises(ValueError, match="has no gold for a chunker"):
        add_head(project / "old", parse_task(f"np:chunker={project / 'pos'}"))
    spacy.blank("en").to_disk(tmp_path / "blank")
    with pytest.raises(ValueError, match="no component multitask_transformer"):
        add_head(tmp_path / "blank", parse_task(f"np:chunker={project / 'chunk'}"))
