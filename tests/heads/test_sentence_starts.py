"""Spans end where a component before has said that a sentence does."""

import pytest
import torch
from spacy.tokens import Doc

from tests.conftest import corpus, make_nlp

WORDS = ["New", "York", "old", "town"]


def one_long_span(encoder_path, head, **config):
    """RETURNS (Language): A head that takes all that it can for one span."""
    nlp = make_nlp(encoder_path, [])
    nlp.add_pipe(f"multitask_{head}", name=head, config=config)
    nlp.initialize(lambda: corpus(nlp))
    linear = nlp.get_pipe(head).module.linear
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias.fill_(-9.0)
        linear.bias[2] = 9.0  # inside a span of the first label
        linear.bias[[1, 3]] = 1.0
    return nlp


@pytest.mark.parametrize("crf", [False, True])
@pytest.mark.parametrize("head", ["ner", "chunker"])
def test_no_span_crosses_a_sentence_start_unless_it_may(encoder_path, head, crf):
    expected = {False: [(0, 2), (2, 4)], True: [(0, 4)]}
    for crosses, places in expected.items():
        config = {"crf": crf} if not crosses else {"crf": crf, "cross_sentences": True}
        nlp = one_long_span(encoder_path, head, **config)
        starts = [True, False, True, False]
        docs = [Doc(nlp.vocab, words=WORDS, sent_starts=starts), Doc(nlp.vocab, words=WORDS)]
        docs += [Doc(nlp.vocab), Doc(nlp.vocab, words=["New", "\n", *WORDS[1:]])]
        docs[3][1].is_sent_start = True
        docs = list(nlp.pipe(docs))
        found = [
            [(s.start, s.end) for s in (doc.ents if head == "ner" else doc.spans["np"])]
            for doc in docs
        ]
        assert found[:3] == [places, [(0, 4)], []]
        if not crosses:  # the word behind a blank that starts a sentence
            assert all(not (start < 1 < end) for start, end in found[3])
