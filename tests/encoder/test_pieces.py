import json
import pickle

import numpy as np
import pytest
import spacy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spacy.strings import StringStore

from spacy_multitask.encoder.pieces import PieceCache
from spacy_multitask.encoder.shapes import N_SHAPES, word_shape
from spacy_multitask.encoder.tokenizer import is_uncased
from tests.conftest import make_nlp, make_tokenizer

KINDS = ["wordpiece", "bpe", "unigram", "unigram_first"]
WORDS = st.lists(
    st.one_of(
        st.text(min_size=1, max_size=12),
        st.sampled_from(["New", "York", "\n", " ", "\u200d", "\ufe0f", "\x07", "un-well", "3-1"]),
    ),
    min_size=1,
    max_size=12,
)


@pytest.fixture(scope="module")
def caches():
    return {kind: PieceCache(make_tokenizer(kind), style="split") for kind in KINDS}


def lookup(cache, texts):
    """RETURNS (List[List[int]]): Piece ids per word, all texts end to end."""
    strings = StringStore()
    words = [word for text in texts for word in text]
    orths = np.array([strings.add(word) for word in words], np.uint64)
    pieces = cache.lookup(orths, strings)
    return [pieces.ids[a : a + n].tolist() for a, n in zip(pieces.starts, pieces.counts)]


@pytest.mark.parametrize("kind", KINDS)
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(texts=st.lists(WORDS, min_size=1, max_size=3))
def test_split_words_get_what_the_tokenizer_gives_split_words(kind, caches, texts):
    cache = caches[kind]
    expected = []
    for text in texts:
        encoding = cache.cutter.tokenizer(text, is_split_into_words=True, add_special_tokens=False)
        words = [[] for _ in text]
        for piece, word in zip(encoding["input_ids"], encoding.word_ids()):
            words[word].append(piece)
        expected.extend(words)
    # Twice: once from the tokenizer, once from the cache.
    assert lookup(cache, texts) == expected
    assert lookup(cache, texts) == expected


def test_the_cache_is_emptied_when_full():
    cache = PieceCache(make_tokenizer("wordpiece"), max_words=10)
    sizes = []
    for i in range(10):
        lookup(cache, [[f"word{i}{j}" for j in range(3)]])
        sizes.append(len(cache))
    # It fills with three words at a time, and the fourth time does not fit.
    assert sizes == [3, 6, 9] * 3 + [3]


def test_a_batch_of_more_words_than_fit_is_looked_up_whole():
    tokenizer = make_tokenizer("bpe")
    cache = PieceCache(tokenizer, max_words=3)
    words = [f"w{i}" for i in range(8)]
    expected = tokenizer(words, add_special_tokens=False)["input_ids"]
    for _ in range(2):
        assert lookup(cache, [words]) == expected


def test_the_cache_is_not_saved(trained, tmp_path):
    list(trained.pipe(["Mr Smith loves New York"]))
    assert len(trained.get_pipe("transformer").shim.encoder.cache)
    trained.to_disk(tmp_path / "before")
    list(trained.pipe(["words unheard so far"]))
    trained.to_disk(tmp_path / "after")
    before, after = (tmp_path / name / "transformer" for name in ("before", "after"))
    names = {path.relative_to(before) for path in before.rglob("*") if path.is_file()}
    assert names == {path.relative_to(after) for path in after.rglob("*") if path.is_file()}
    for name in names:
        assert (before / name).read_bytes() == (after / name).read_bytes()
    assert not len(spacy.load(tmp_path / "after").get_pipe("transformer").shim.encoder.cache)
    assert not len(pickle.loads(pickle.dumps(trained.get_pipe("transformer").shim.encoder.cache)))


def test_another_tokenizer_does_not_get_the_pieces_of_the_last(trained, encoder_path):
    nlp = make_nlp(encoder_path).from_bytes(trained.to_bytes())
    shim = nlp.get_pipe("transformer").shim
    before = lookup(shim.encoder.cache, [["Smith"]])
    files = shim.to_files()
    tokenizer = json.loads(files["tokenizer.json"])
    vocab = tokenizer["model"]["vocab"]
    # The same words with other ids.
    swapped = dict(zip(vocab, [*list(vocab.values())[:4], *list(vocab.values())[:3:-1]]))
    tokenizer["model"]["vocab"] = swapped
    files["tokenizer.json"] = json.dumps(tokenizer).encode("utf8")
    files["encoder.json"] = b"{}"  # as of 0.1.0, without the pieces that it should give
    shim.from_files(files, "test")
    (after,) = lookup(shim.encoder.cache, [["Smith"]])
    assert after == shim.encoder.tokenizer("Smith", add_special_tokens=False)["input_ids"]
    assert [after] != before


def test_long_words_are_cut():
    cache = PieceCache(make_tokenizer("bpe"), max_word_pieces=5)
    (pieces,) = lookup(cache, [["x" * 200]])
    assert len(pieces) == 5


def test_case_of_the_tokenizer_is_found():
    assert is_uncased(make_tokenizer("wordpiece"))
    assert not is_uncased(make_tokenizer("bpe"))


def test_shapes_tell_apart_what_uncased_tokenizers_do_not():
    words = ["us", "US", "Us", "uS", "1996", "F16", "-", "A", "a", "well-known", "Well-Known", "."]
    shapes = [word_shape(word) for word in words]
    assert len(set(shapes)) == len(words)
    assert all(0 <= shape < N_SHAPES - 1 for shape in shapes)
    assert word_shape("London") == word_shape("Paris")
