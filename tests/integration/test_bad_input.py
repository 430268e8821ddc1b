"""Each mistake gives an error that says what to do, or a correct empty result."""

import pytest
import spacy
from spacy.tokens import Doc, DocBin
from spacy.training.initialize import init_nlp
from spacy.util import load_config

from tests.conftest import ALL_HEADS, corpus, example, make_nlp


def test_a_head_without_an_encoder(encoder_path):
    nlp = spacy.blank("en")
    nlp.add_pipe("multitask_tagger", name="tagger")
    with pytest.raises(ValueError, match="multitask_transformer"):
        nlp.initialize(lambda: corpus(nlp))


def test_a_head_before_its_encoder(encoder_path):
    nlp = make_nlp(encoder_path, [])
    nlp.add_pipe("multitask_tagger", name="tagger", first=True)
    with pytest.raises(ValueError, match="before"):
        nlp.initialize(lambda: corpus(nlp))


def test_a_listener_with_an_unknown_upstream(encoder_path):
    nlp = make_nlp(encoder_path, [])
    tok2vec = {"@architectures": "spacy_multitask.EncoderListener.v1", "upstream": "bert"}
    section = {"@architectures": "spacy_multitask.TokenClassifier.v1", "tok2vec": tok2vec}
    nlp.add_pipe("multitask_tagger", name="tagger", config={"model": section})
    with pytest.raises(ValueError, match="bert"):
        nlp.initialize(lambda: corpus(nlp))


def test_a_config_whose_encoder_is_not_there(project):
    config = load_config(project / "config.cfg")
    config["paths"]["encoder"] = str(project / "nowhere")
    with pytest.raises((ValueError, OSError), match="nowhere"):
        init_nlp(config)


def test_a_config_without_encoder(project):
    config = load_config(project / "config.cfg")
    del config["components"]["transformer"]
    config["nlp"]["pipeline"].remove("transformer")
    with pytest.raises(ValueError, match="multitask_transformer"):
        init_nlp(config)


def test_a_corpus_path_that_does_not_exist(project):
    config = load_config(project / "config.cfg")
    config["corpora"]["train"]["corpora"]["ner"]["path"] = str(project / "no.spacy")
    with pytest.raises(ValueError, match=r"'ner'.*no\.spacy"):
        init_nlp(config)


def test_a_corpus_with_no_gold_for_any_head(project, tmp_path):
    nlp = spacy.blank("en")
    DocBin(docs=[Doc(nlp.vocab, words=["plain", "words"])] * 3).to_disk(tmp_path / "plain.spacy")
    config = load_config(project / "config.cfg")
    config["corpora"]["train"]["corpora"] = {"plain": {"path": str(tmp_path / "plain.spacy")}}
    with pytest.raises(ValueError, match="has gold for the component"):
        init_nlp(config)


def test_an_empty_corpus_file(project, tmp_path):
    DocBin().to_disk(tmp_path / "empty.spacy")
    config = load_config(project / "config.cfg")
    config["corpora"]["train"]["corpora"]["ner"]["path"] = str(tmp_path / "empty.spacy")
    with pytest.raises(ValueError, match="has no docs"):
        init_nlp(config)


def test_labels_that_training_never_saw(trained):
    nlp = trained
    words = ["IBM", "made", "a", "lot", "of", "profit", "."]
    new = example(
        nlp,
        words,
        tags=["XX"] * 7,
        ents=[(0, 1, "PLANET")],
        chunks=[(0, 1, "QP")],
        cats={"Weather": 1.0},
    )
    scores = nlp.evaluate([new])
    assert scores["tag_acc"] == 0.0
    assert scores["ents_f"] == 0.0 and scores["spans_np_f"] == 0.0
    assert scores["cats_acc"] in (0.0, None)


def test_training_on_labels_that_initialization_never_saw_says_so(nlp):
    new = example(nlp, ["IBM"], tags=["XX"])
    sgd = nlp.resume_training()
    with pytest.warns(UserWarning, match="XX"):
        nlp.update([new], sgd=sgd)


@pytest.mark.parametrize("words", [[], [" "], ["\n", "\t "], ["\x00", "\x07"], ["\u200b"]])
def test_docs_of_nothing(trained, words):
    doc = trained(Doc(trained.vocab, words=words))
    assert len(doc) == len(words)
    assert doc.has_annotation("ENT_IOB") or not words
    assert "np" in doc.spans and set(doc.cats) == {"Business", "Sports"}
    assert not any(e.text.isspace() for e in doc.ents)


def test_training_on_docs_of_nothing(nlp):
    odd = [example(nlp, []), example(nlp, [" ", "\n"]), example(nlp, ["\x00"], tags=["NNP"])]
    losses = nlp.update(odd + corpus(nlp), sgd=nlp.resume_training())
    assert all(value == value for value in losses.values())
    assert set(ALL_HEADS) <= set(losses)
