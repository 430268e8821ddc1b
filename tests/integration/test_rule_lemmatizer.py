"""spaCy's rule lemmatizer reads the parts of speech that our tagger sets."""

import spacy
from spacy.lookups import Lookups
from spacy.tokens import Doc
from spacy.util import fix_random_seed

from tests.conftest import example, make_nlp

WORDS = ["She", "leaves", "the", "leaves"]


def lookups() -> Lookups:
    tables = Lookups()
    tables.add_table("lemma_rules", {"verb": [["s", ""]], "noun": [["aves", "af"]]})
    tables.add_table("lemma_index", {"verb": ["leave"], "noun": ["leaf"]})
    tables.add_table("lemma_exc", {"verb": {}, "noun": {}})
    return tables


def test_parts_of_speech_feed_the_rule_lemmatizer(encoder_path, tmp_path):
    fix_random_seed(0)
    nlp = make_nlp(encoder_path, ["tagger"])
    nlp.add_pipe("lemmatizer", config={"mode": "rule"})
    nlp.get_pipe("lemmatizer").initialize(lookups=lookups())
    gold = [example(nlp, WORDS, pos=["PRON", "VERB", "DET", "NOUN"])]
    with nlp.select_pipes(disable="lemmatizer"):
        sgd = nlp.initialize(lambda: gold)
        sgd.learn_rate = 0.005
        for _ in range(40):
            nlp.update(gold, sgd=sgd)
    nlp.to_disk(tmp_path)
    nlp = spacy.load(tmp_path)
    doc = nlp(Doc(nlp.vocab, words=WORDS))
    assert [t.lemma_ for t in doc][1::2] == ["leave", "leaf"]
