"""Docs that were not made with the vocab of the pipeline."""

import numpy as np
import spacy
from spacy.tokens import Doc
from spacy.training import Example

from tests.conftest import corpus, make_nlp, predictions

WORDS = [
    ["Mr", "Smith", "loves", "New", "York"],
    [],
    ["Zarquon", "made", "\n", "a", "lot", "in", "Krikkit"],
    ["The", "old", "town"],
]


def test_they_get_the_predictions_of_their_words(trained):
    """In one batch with others, and with words and labels that one of the vocabs does not have."""
    expected = [Doc(trained.vocab, words=words) for words in WORDS]
    vocabs = [trained.vocab, *(spacy.blank(lang).vocab for lang in ("en", "en", "de"))]
    docs = [Doc(vocab, words=words) for vocab, words in zip(vocabs, WORDS)]
    assert predictions(trained.pipe(docs)) == predictions(trained.pipe(expected))


def test_their_gold_is_learned(encoder_path):
    nlp, other = make_nlp(encoder_path), make_nlp(encoder_path)
    examples = [Example(Doc(nlp.vocab, words=[t.text for t in eg.y]), eg.y) for eg in corpus(other)]
    words = ["Zarquon", "won"]
    odd = Doc(other.vocab, words=words, tags=["ODD", "ODD"], ents=["B-ODD", "O"])
    nlp.initialize(lambda: examples)
    own = make_nlp(encoder_path)
    own.initialize(lambda: corpus(own))
    assert all(
        nlp.get_pipe(name).labels == own.get_pipe(name).labels for name in nlp.pipe_names[1:]
    )
    for name in ("tagger", "ner"):
        nlp.get_pipe(name).new_labels = "add"
    losses = {}
    nlp.update([*examples, Example(Doc(nlp.vocab, words=words), odd)], losses=losses)
    assert all("ODD" in nlp.get_pipe(name).labels for name in ("tagger", "ner"))
    assert np.isfinite(list(losses.values())).all()
