"""Any docs, in any company: what a pipeline predicts for one does not depend on the others."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from spacy.language import Language
from spacy.tokens import Doc

from tests.fuzz.cases import cases

# spaCy stores strings as UTF-8, which has no surrogates, and refuses empty tokens.
CHARACTERS = st.characters(exclude_categories=["Cs"])
# Special pieces, what gives no piece, what is cut into many, what tokenizers normalise.
NASTY = [
    " ", "\n", "\t \r\n", "\x00", "\x1f", "\u200d", "\ufe0f", "\u2028", "\ufeff", "\ufffd",
    "[SEP]", "[PAD]", "[CLS]", "[UNK]", "##s", "a" * 300, "ﬁ", "İ", "ß", "e\u0301\u0323", "ไทย",
    "العربية", "漢字", "👩‍👩‍👧‍👦", "🏳️‍🌈", "\U000e0041", "\u202e", "Z\u0335\u0321a", "½", "²",
]  # fmt: skip
PLAIN = "Mr Smith loves New York IBM made a lot of profit in 1996 well-known 3-1 .".split()
WORDS = st.one_of(
    st.sampled_from(PLAIN), st.sampled_from(NASTY), st.text(CHARACTERS, min_size=1, max_size=12)
)


@st.composite
def pretokenized(draw: st.DrawFn) -> tuple[list[str], list[bool]]:
    """Words and whether a space follows; the model's limit is 64 pieces."""
    words = draw(st.lists(WORDS, max_size=10))
    words *= draw(st.sampled_from([1, 1, 1, 1, 20]))
    spaces = draw(st.lists(st.booleans(), min_size=len(words), max_size=len(words)))
    return words, spaces


TEXTS = st.one_of(st.text(CHARACTERS, max_size=60), st.lists(WORDS, max_size=15).map(" ".join))
DOCS = st.lists(st.one_of(pretokenized(), TEXTS), max_size=6)


def make_doc(nlp: Language, made: tuple[list[str], list[bool]] | str) -> Doc:
    if isinstance(made, str):
        return nlp.make_doc(made)
    words, spaces = made
    return Doc(nlp.vocab, words=words, spaces=spaces)


def written(doc: Doc) -> list:
    """RETURNS (List): The labels that heads write."""
    return [
        [(t.tag_, t.ent_iob_, t.ent_type_) for t in doc],
        [(s.start, s.end, s.label_) for s in doc.spans["np"]],
    ]


def probabilities(nlp: Language, docs: list[Doc]) -> list[list[np.ndarray]]:
    """RETURNS (List[List[ndarray]]): Of each doc, from the tagger, chunker, ner and textcat."""
    tags = nlp.get_pipe("tagger").probs(docs)["tags"]
    spans = [nlp.get_pipe(name).probs(docs) for name in ("chunker", "ner")]
    cats = [np.array([list(doc.cats.values())]) for doc in docs]
    return [list(parts) for parts in zip(tags, *spans, cats, strict=True)]


def is_clear(probs: list[np.ndarray]) -> bool:
    """RETURNS (bool): Whether no two labels are so close that rounding may choose."""
    for table in probs:
        if len(table):
            ordered = np.sort(table, axis=1)
            if (ordered[:, -1] - ordered[:, -2]).min() < 1e-3:
                return False
    return True


@cases(80, 20_000)
@given(
    made=DOCS,
    batch_size=st.integers(1, 7),
    budget=st.sampled_from([None, 1, 70, 300]),
)
def test_docs_get_the_same_predictions_alone_and_in_company(trained, made, batch_size, budget):
    encoder = trained.get_pipe("transformer")
    encoder.max_batch_pieces = budget
    try:
        together = [make_doc(trained, each) for each in made]
        texts = [doc.text for doc in together]
        found = list(trained.pipe(together, batch_size=batch_size))
    finally:
        encoder.max_batch_pieces = None
    assert all(a is b for a, b in zip(found, together, strict=True)), "order is kept"
    assert [doc.text for doc in found] == texts
    if not found:
        return
    # Probabilities as they come about in a batch of all docs; `probs` asks the encoder again.
    in_company = probabilities(trained, found)
    for doc, each, probs in zip(found, made, in_company, strict=True):
        alone = trained(make_doc(trained, each))
        (expected,) = probabilities(trained, [alone])
        for own, other in zip(probs, expected, strict=True):
            assert own.shape == other.shape
            np.testing.assert_allclose(own, other, atol=1e-4)
        for table in probs[:3]:
            assert len(table) == len(doc), "one row per token"
        assert all(token.tag_ for token in doc)
        if is_clear(expected):
            assert written(doc) == written(alone)
