"""Of words without their text it is guessed where spaces were; where these are known they stay."""

import numpy as np
import spacy
from spacy.attrs import ORTH, SPACY
from spacy.tokens import Doc

from spacy_multitask.encoder.spacing import known_spaces

VOCAB = spacy.blank("en").vocab


def text_of(*docs: Doc) -> list[str]:
    """RETURNS (List[str]): Each doc's words with the spaces that are known or guessed."""
    orths, spaces = np.concatenate([doc.to_array([ORTH, SPACY]) for doc in docs if len(doc)]).T
    lengths = np.array([len(doc) for doc in docs])
    found = known_spaces(spaces, np.ascontiguousarray(orths), lengths, VOCAB.strings)
    parts = np.split(found, np.cumsum(lengths)[:-1])
    return [
        "".join(token.text + " " * int(space) for token, space in zip(doc, part))
        for doc, part in zip(docs, parts)
    ]


def guessed(words: str) -> str:
    (text,) = text_of(Doc(VOCAB, words=words.split()))
    return text.strip()


def test_marks_brackets_and_clitics_are_joined_as_in_text():
    assert guessed("Smith ( 40 ) , who did n't pay $ 5 , says : no ...") == (
        "Smith (40), who didn't pay $5, says: no..."
    )
    assert guessed("He 's here , they’re not and / or I 'D go !!") == (
        "He's here, they’re not and/or I'D go!!"
    )
    assert guessed("a well - known dash -- stays") == "a well - known dash -- stays"


def test_quotes_open_and_close_in_turn_in_each_doc():
    docs = [
        Doc(VOCAB, words=w.split()) for w in ('say " no " or', "\" yes \" , `` hm '' !", "' a '")
    ]
    assert [text.strip() for text in text_of(*docs)] == ['say "no" or', "\"yes\", ``hm''!", "'a'"]


def test_spaces_that_are_known_stay():
    words = ["Smith", ",", "(", "York"]
    known = Doc(VOCAB, words=words, spaces=[True, True, True, False])
    empty = Doc(VOCAB)
    assert text_of(known, empty, Doc(VOCAB, words=words)) == ["Smith , ( York", "", "Smith, (York "]
