import numpy as np
import pytest
import spacy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spacy_multitask.encoder.pieces import PieceCache, is_uncased, load_tokenizer
from spacy_multitask.encoder.shapes import N_SHAPES, word_shape
from tests.conftest import make_tokenizer

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
    return {kind: PieceCache(make_tokenizer(kind)) for kind in KINDS}


def lookup(cache, texts):
    """RETURNS (List[List[int]]): Piece ids per word, all texts end to end."""
    strings = spacy.blank("en").vocab.strings
    words = [word for text in texts for word in text]
    orths = np.array([strings.add(word) for word in words], np.uint64)
    pieces = cache.lookup(orths, strings)
    return [pieces.ids[a : a + n].tolist() for a, n in zip(pieces.starts, pieces.counts)]


@pytest.mark.parametrize("kind", KINDS)
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(texts=st.lists(WORDS, min_size=1, max_size=3))
def test_pieces_are_those_of_the_tokenizer(kind, caches, texts):
    cache = caches[kind]
    expected = []
    for text in texts:
        encoding = cache.tokenizer(text, is_split_into_words=True, add_special_tokens=False)
        words = [[] for _ in text]
        for piece, word in zip(encoding["input_ids"], encoding.word_ids()):
            words[word].append(piece)
        expected.extend(words)
    # Twice: once from the tokenizer, once from the cache.
    assert lookup(cache, texts) == expected
    assert lookup(cache, texts) == expected


def test_the_cache_is_emptied_when_full():
    cache = PieceCache(make_tokenizer("wordpiece"), max_words=10)
    for i in range(10):
        lookup(cache, [[f"word{i}{j}" for j in range(3)]])
        assert len(cache) <= 10


def test_long_words_are_cut():
    cache = PieceCache(make_tokenizer("bpe"), max_word_pieces=5)
    (pieces,) = lookup(cache, [["x" * 200]])
    assert len(pieces) == 5


def test_byte_level_tokenizers_are_loaded_with_a_prefix_space(tmp_path):
    from tokenizers import pre_tokenizers

    tokenizer = make_tokenizer("bpe")
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(str(tmp_path))
    (alone,) = lookup(PieceCache(loaded), [["York"]])
    assert (
        alone == loaded(["York"], is_split_into_words=True, add_special_tokens=False)["input_ids"]
    )


def test_case_of_the_tokenizer_is_found():
    assert is_uncased(make_tokenizer("wordpiece"))
    assert not is_uncased(make_tokenizer("bpe"))


def test_shapes_tell_apart_what_uncased_tokenizers_do_not():
    words = ["us", "US", "Us", "uS", "1996", "F16", "-", "A", "a", "well-known", "Well-Known", "."]
    shapes = [word_shape(word) for word in words]
    assert len(set(shapes)) == len(words)
    assert all(0 <= shape < N_SHAPES - 1 for shape in shapes)
    assert word_shape("London") == word_shape("Paris")
