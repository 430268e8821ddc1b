"""What can't be learned, or can't be meant, is refused by name."""

import pytest
import spacy
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import registry

from tests.conftest import corpus, example, make_nlp

WORDS = ["Mr", "Smith", "loves", "New", "York"]
LISTENER = {"@architectures": "spacy_multitask.EncoderListener.v1"}


@pytest.mark.parametrize(
    "cats, exclusive, message",
    [
        ({"A": 0.0, "B": 0.0}, True, "No training example has gold"),
        ({"A": 5.0, "B": 0.0}, False, "'A' has the value 5.0"),
        ({"A": 1.0, "B": -1.0}, True, "'B' has the value -1.0"),
    ],
)
def test_values_of_topics_that_nothing_can_be_learned_from(encoder_path, cats, exclusive, message):
    nlp = make_nlp(encoder_path, heads=())
    nlp.add_pipe("multitask_textcat", config={"exclusive_classes": exclusive})
    with pytest.raises(ValueError, match=message):
        nlp.initialize(lambda: [example(nlp, WORDS, cats=cats)])


def test_values_of_topics_that_come_later(nlp):
    wrong = example(nlp, WORDS, cats={"Business": 2.0})
    with pytest.raises(ValueError, match=r"'Business' has the value 2.0"):
        nlp.update([wrong])


def test_values_of_labels_of_others_are_their_affair(nlp):
    cats = {"Business": 1.0, "Sports": 0.0, "sentiment": -0.5}
    with pytest.warns(UserWarning, match="sentiment"):
        losses = nlp.update([example(nlp, WORDS, cats=cats)])
    assert losses["textcat"] > 0


def test_several_labels_may_all_be_false(encoder_path):
    nlp = make_nlp(encoder_path, heads=())
    nlp.add_pipe("multitask_textcat", config={"exclusive_classes": False})
    nlp.initialize(lambda: [example(nlp, WORDS, cats={"A": 0.0, "B": 0.0})])
    assert set(nlp.get_pipe("multitask_textcat").labels) == {"A", "B"}


def test_relations_of_which_there_are_none(encoder_path):
    nlp = make_nlp(encoder_path, heads=("ner",))
    nlp.add_pipe("multitask_relations")
    reference = Doc(nlp.vocab, words=WORDS)
    reference.ents = [Span(reference, 1, 2, label="PER"), Span(reference, 3, 5, label="LOC")]
    reference._.relations = []
    with pytest.raises(ValueError, match=r"'multitask_relations': it learns from doc._.relations"):
        nlp.initialize(lambda: [Example(Doc(nlp.vocab, words=WORDS), reference)])


@pytest.mark.parametrize(
    "head, architecture, wanted",
    [
        ("tagger", "spacy_multitask.RelationClassifier.v1", "TokenClassifier"),
        ("ner", "spacy_multitask.DocClassifier.v1", "TokenClassifier"),
        ("textcat", "spacy_multitask.TokenClassifier.v1", "DocClassifier"),
        ("relations", "spacy_multitask.TokenClassifier.v1", "RelationClassifier"),
        ("tagger", "spacy.Tagger.v2", "TokenClassifier"),
    ],
)
def test_a_model_for_another_head(head, architecture, wanted):
    model = {"@architectures": architecture, "tok2vec": LISTENER}
    with pytest.raises(ValueError, match=f"'it' is a .*spacy_multitask.{wanted}.v1"):
        spacy.blank("en").add_pipe(f"multitask_{head}", name="it", config={"model": model})


def test_a_model_under_another_name(encoder_path):
    def build(tok2vec):
        model = registry.architectures.get("spacy_multitask.TokenClassifier.v1")(tok2vec)
        model.name = "my_classifier"
        return model

    registry.architectures("my.Classifier.v1", func=build)
    nlp = make_nlp(encoder_path, heads=())
    nlp.add_pipe(
        "multitask_ner",
        config={"model": {"@architectures": "my.Classifier.v1", "tok2vec": LISTENER}},
    )
    nlp.initialize(lambda: corpus(nlp))


def test_two_heads_for_one_group_of_which_one_is_disabled(encoder_path):
    nlp = make_nlp(encoder_path, heads=("chunker",))
    nlp.add_pipe("multitask_chunker", name="other")
    nlp.disable_pipe("chunker")
    nlp.initialize(lambda: corpus(nlp))


def test_two_heads_for_one_group(encoder_path):
    nlp = make_nlp(encoder_path, heads=("chunker",))
    nlp.add_pipe("multitask_ner", name="ner", config={"spans_key": "np"})
    with pytest.raises(ValueError, match=r"both write doc.spans\['np'\]"):
        nlp.initialize(lambda: corpus(nlp))


def test_options_out_of_range(encoder_path):
    with pytest.raises(ValueError, match="extension of 'multitask_tagger' is empty"):
        spacy.blank("en").add_pipe("multitask_tagger", config={"extension": ""})
    for dropout in (-0.5, 1.0, 2.0):
        with pytest.raises(ValueError, match=f"dropout = {dropout} must be"):
            make_nlp(encoder_path, model={"dropout": dropout})


def test_a_head_before_its_encoder_is_told_of_when_it_is_saved(nlp, encoder_path, tmp_path):
    other = make_nlp(encoder_path, heads=("tagger",))
    other.initialize(lambda: corpus(other))
    other.add_pipe("ner", source=nlp, first=True)
    other.get_pipe("transformer").find_listeners(other.get_pipe("ner"))
    with pytest.warns(UserWarning, match="'ner' comes before the encoder 'transformer'"):
        other.to_disk(tmp_path / "model")
