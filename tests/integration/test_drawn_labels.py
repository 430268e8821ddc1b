"""Labels are those of the corpora, however few of their docs an epoch draws."""

import pytest
import spacy
from spacy.tokens import Doc, DocBin
from spacy.training.initialize import init_nlp
from spacy.util import load_config

TAGS = [f"T{i:03}" for i in range(200)]


@pytest.fixture
def config(project, tmp_path):
    vocab = spacy.blank("en").vocab
    docs = [Doc(vocab, words=["loves"], tags=[tag]) for tag in TAGS]
    DocBin(docs=docs).to_disk(tmp_path / "pos.spacy")
    config = load_config(project / "config.cfg")
    config["corpora"]["train"]["corpora"]["pos"]["path"] = str(tmp_path / "pos.spacy")
    return config


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("corpora.train.corpora.pos.sample", 0.1),
        ("corpora.train.mixing", "uniform"),
        ("training.max_epochs", -1),
    ],
)
def test_each_label_of_a_corpus_that_is_drawn_from(config, option, value):
    *sections, name = option.split(".")
    section = config
    for key in sections:
        section = section[key]
    section[name] = value
    config["training"]["max_steps"] = 10
    nlp = init_nlp(config)
    assert nlp.get_pipe("tagger").label_data["tags"] == TAGS
    assert nlp.get_pipe("ner").labels == ("LOC", "ORG", "PER")


def test_labels_of_the_examples_that_were_given(config, nlp):
    tagger = nlp.get_pipe("tagger")
    before = tagger.label_data
    init_nlp(config)  # leaves behind what it read
    nlp.initialize(lambda: nlp_examples(nlp))
    assert tagger.label_data != before
    assert tagger.label_data["tags"] == ["A"]


def nlp_examples(nlp):
    from tests.conftest import corpus, example

    others = [eg for eg in corpus(nlp) if not eg.reference.has_annotation("TAG")]
    return [*others, example(nlp, ["loves"], tags=["A"])]
