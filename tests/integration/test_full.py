"""`configs/full.cfg`: our heads and spaCy's on one encoder, each learning from its own corpus."""

import pytest
import spacy
from spacy.tokens import Doc
from spacy.training.initialize import init_nlp
from spacy.training.loop import train
from spacy.util import load_config

from tests.conftest import example
from tests.integration.conftest import ROOT, parsed, write_corpora


@pytest.fixture(scope="module")
def trained(encoder_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("full")
    write_corpora(folder / "corpus")
    config = load_config(ROOT / "configs" / "full.cfg")
    config["paths"].update(encoder=encoder_path, corpus=str(folder / "corpus"))
    config["components"]["transformer"].update(precision="float32")
    config["components"]["transformer"]["model"]["overlap"] = 8
    # A handful of sentences: every action and every edit counts.
    config["components"]["parser"]["min_action_freq"] = 1
    config["components"]["lemmatizer"]["min_tree_freq"] = 1
    config["training"].update(max_epochs=60, eval_frequency=10**6)
    config["training"]["batcher"]["max_words"] = 60
    config["training"]["optimizer"]["learn_rate"]["learn_rate"] = 0.003
    config["training"]["optimizer"]["head_learn_rate"]["learn_rate"] = 0.01
    nlp = init_nlp(config)
    (folder / "out").mkdir()
    train(nlp, folder / "out")
    return spacy.load(folder / "out" / "model-last")


def test_every_head_learns(trained):
    gold = parsed(trained)
    doc = trained(Doc(trained.vocab, words=[t.text for t in gold]))
    for attribute in ("tag_", "pos_", "lemma_", "dep_"):
        assert [getattr(t, attribute) for t in doc] == [getattr(t, attribute) for t in gold]
    assert [t.head.i for t in doc] == [t.head.i for t in gold]
    assert [str(t.morph) for t in doc] == [str(t.morph) for t in gold]
    assert [s.text for s in doc.sents] == ["Mr Smith loves New York", "It grew"]
    # These come from other corpora.
    doc = trained(Doc(trained.vocab, words="Mr Smith loves New York".split()))
    assert [(e.text, e.label_) for e in doc.ents] == [("Smith", "PER"), ("New York", "LOC")]
    assert [s.text for s in doc.spans["np"]] == ["Mr Smith", "loves", "New York"]
    doc = trained(Doc(trained.vocab, words="IBM made a lot of profit .".split()))
    assert doc.cats["Business"] > 0.5


def test_the_senter_learns(trained):
    gold = parsed(trained)
    with trained.select_pipes(disable="parser"):
        doc = trained(Doc(trained.vocab, words=[t.text for t in gold]))
    assert [s.text for s in doc.sents] == ["Mr Smith loves New York", "It grew"]


@pytest.mark.parametrize("name", ["morphologizer", "parser", "senter", "lemmatizer"])
def test_a_doc_without_gold_teaches_spacys_heads_nothing(trained, name):
    trained.get_pipe("transformer").update([example(trained, ["The", "old", "town"])])
    losses = {}
    trained.get_pipe(name).update([example(trained, ["The", "old", "town"])], losses=losses)
    assert losses[name] == 0
