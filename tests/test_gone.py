"""Configs of 0.1.0 that ask for what is gone: each is told what to write instead."""

import pytest
import spacy
from spacy.util import registry

from spacy_multitask.corpus.reader import make_multi_corpus


@pytest.mark.parametrize(
    ("section", "advice"),
    [
        ({"@misc": "spacy_multitask.pcgrad.v1"}, "loss_weight"),
        ({"@callbacks": "spacy_multitask.fit_heads.v1", "heads": ["textcat"]}, "after_init = null"),
        ({"@batchers": "spacy_multitask.batch_by_words.v1", "homogeneous": True}, "Take the line"),
        ({"@architectures": "spacy_multitask.EncoderListener.v1", "layer": -2}, "Take the line"),
        ({"@optimizers": "spacy_multitask.AdamW.v1", "pretrained_decay": 3.0}, "Take the line"),
    ],
)
def test_what_is_gone_is_refused_with_advice(section, advice):
    with pytest.raises(ValueError, match=f"removed in version 0.2.0.*{advice}"):
        registry.resolve({"section": section})


def test_a_mixing_that_is_gone_is_refused_with_advice():
    with pytest.raises(ValueError, match=r"'round_robin' was removed.*mixing = \"uniform\""):
        make_multi_corpus({"a": {"path": "a.spacy"}}, mixing="round_robin")


def test_an_encoder_with_surgery_is_refused_with_advice():
    with pytest.raises(ValueError, match=r"surgery.*removed in version 0\.2\.0.*loss_weight"):
        spacy.blank("en").add_pipe("multitask_transformer", config={"surgery": "pcgrad"})


def test_options_that_are_gone_and_asked_for_nothing_are_taken():
    spacy.blank("en").add_pipe("multitask_transformer", config={"surgery": None})
    batcher = {"@batchers": "spacy_multitask.batch_by_words.v1", "homogeneous": False}
    registry.resolve({"batcher": batcher})
    registry.resolve({"m": {"@architectures": "spacy_multitask.EncoderListener.v1", "layer": None}})
    registry.resolve({"o": {"@optimizers": "spacy_multitask.AdamW.v1", "pretrained_decay": 0.0}})
