"""Places of tokens, and components that change the tokens."""

import warnings

import pytest
from spacy.tokens import Doc, Span

from tests.conftest import corpus, make_nlp

SMITH = ["Mr", "Smith", "loves", "New", "York"]


def test_tokens_merged_behind_a_head_that_writes_spans_are_warned_of(encoder_path, tmp_path):
    nlp = make_nlp(encoder_path, ["ner", "chunker"])
    nlp.initialize(lambda: corpus(nlp))
    nlp.add_pipe("merge_entities", before="chunker")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nlp.to_disk(tmp_path)
    nlp.remove_pipe("merge_entities")
    nlp.add_pipe("merge_entities")
    with pytest.warns(UserWarning, match="'merge_entities' merges or splits .* 'chunker'"):
        nlp.to_disk(tmp_path)


def test_chunks_are_found_under_another_key(encoder_path):
    nlp = make_nlp(encoder_path, [])
    nlp.add_pipe("multitask_chunker", name="chunker", config={"spans_key": "sc"})
    doc = Doc(nlp.vocab, words=SMITH)
    nlp.get_pipe("chunker").write_spans(doc, [(0, 2, nlp.vocab.strings.add("NP"))])
    assert [span.text for span in doc._.chunks] == ["Mr Smith"]
    assert [span.text for span in doc._.noun_chunks] == ["Mr Smith"]
    other = Doc(nlp.vocab, words=SMITH)
    other.spans["np"] = [Span(other, 0, 1, "NP")]
    assert len(other._.chunks) == 1
