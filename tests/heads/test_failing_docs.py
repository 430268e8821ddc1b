"""A doc that fails in the middle of a stream is lost alone, if errors are not raised."""

import pytest
from spacy.util import ignore_error

from tests.conftest import corpus, make_nlp, predictions

TEXTS = ["Mr Smith loves New York", "The old town", "bad luck", "IBM made a lot of profit ."]


def fail_on_bad(function):
    def predict(docs, *args, **options):
        if any("bad" in doc.text for doc in docs):
            raise RuntimeError("a bad doc")
        return function(docs, *args, **options)

    return predict


@pytest.mark.parametrize("name", ["transformer", "tagger", "chunker", "ner", "textcat"])
@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_only_the_doc_that_fails_is_lost(encoder_path, name, batch_size, monkeypatch):
    nlp = make_nlp(encoder_path)
    nlp.initialize(lambda: corpus(nlp))
    good = [text for text in TEXTS if "bad" not in text] * 2
    expected = predictions(nlp.pipe(good))
    told = []

    def handle(name, component, docs, error):
        told.append((name, [doc.text for doc in docs], str(error)))

    if name == "transformer":
        encoder = nlp.get_pipe(name).shim.encoder
        monkeypatch.setattr(encoder, "encode", fail_on_bad(encoder.encode))
    else:
        pipe = nlp.get_pipe(name)
        pipe.predict = fail_on_bad(pipe.predict)
    with pytest.raises(RuntimeError, match="a bad doc"):
        list(nlp.pipe(TEXTS, batch_size=batch_size))
    nlp.set_error_handler(handle)
    docs = list(nlp.pipe(TEXTS * 2, batch_size=batch_size))
    assert [doc.text for doc in docs] == good
    assert predictions(docs) == expected
    assert told == [(name, ["bad luck"], "a bad doc")] * 2
    nlp.set_error_handler(ignore_error)
    assert len(list(nlp.pipe(["bad luck"]))) == 0
