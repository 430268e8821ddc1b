"""Words get the pieces that they have in running text, whatever the tokenizer does with spaces."""

import numpy as np
import pytest
import spacy
from spacy.attrs import IS_SPACE, ORTH, SPACY
from spacy.tokens import Doc
from transformers import PreTrainedTokenizerFast

from spacy_multitask.encoder.contexts import JOINED, LINE, SPACE, START, Cutter, contexts_of
from spacy_multitask.encoder.pieces import PieceCache
from tests.encoder import hub_tokenizers as hub

TOKENIZERS = {
    "GPT-2": lambda: hub.byte_level("<s>", "$A"),
    "Llama 3": lambda: hub.byte_level("<s>", "$A", hub.LLAMA_3),
    "Qwen": lambda: hub.byte_level("<s>", "$A", hub.QWEN_2),
    "Gemma": lambda: hub.gemma("<bos> $A"),
    "Llama 2": hub.llama_2,
    "XLM-R": lambda: hub.unigram("<s> <unk>", "<unk>", "<s> $A"),
    "DeBERTa v3": lambda: hub.unigram("<s> <unk>", "<unk>", "<s> $A", split=False),
    "BERT": hub.word_piece,
}
TEXTS = [
    "Mr Smith loves New York and the old town near the river.",
    'IBM made "a lot" of profit (in 1996), said Anna Brown\'s Reuters.',
    "The famous players won 3-1 against rivals;  twice.",
    "First line.\nSecond line.\n\nThird - line",
    " Anna began with a space. naïve café",
    "東京は日本の首都です。Москва",
]
WORDS = ["York", "1996", ",", "(", "naïve"]


@pytest.fixture(scope="module", params=TOKENIZERS.values(), ids=TOKENIZERS)
def tokenizer(request):
    from tokenizers import Tokenizer

    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(request.param()))


def pieces_by_word(cache: PieceCache, doc: Doc) -> list[list[int]]:
    pieces = cache.pieces_of([doc])
    return [pieces.ids[a : a + n].tolist() for a, n in zip(pieces.starts, pieces.counts)]


def pieces_by_offset(tokenizer, doc: Doc) -> list[list[int]]:
    """RETURNS (List[List[int]]): Pieces of the whole text, each where its last character is; a
    space belongs to the word after it."""
    encoding = tokenizer(doc.text, add_special_tokens=False, return_offsets_mapping=True)
    ends = [token.idx + len(token) for token in doc]
    found = [[] for _ in doc]
    for piece, (start, end) in zip(encoding["input_ids"], encoding["offset_mapping"]):
        found[np.searchsorted(ends, max(start, end - 1), side="right")].append(piece)
    return found


@pytest.mark.parametrize("text", TEXTS)
def test_words_get_the_pieces_of_running_text(tokenizer, text):
    doc = spacy.blank("en").make_doc(text)
    cache = PieceCache(tokenizer)
    if "  " not in text and "\n" not in text:
        assert pieces_by_word(cache, doc) == pieces_by_offset(tokenizer, doc)
    # White space that is a token shares pieces with its neighbours, so that all of it is compared.
    expected = tokenizer(text, add_special_tokens=False)["input_ids"]
    for _ in range(2):  # from the tokenizer, then from the cache
        assert cache.pieces_of([doc]).ids.tolist() == expected


def test_words_that_were_split_before_get_the_spaces_that_text_has(tokenizer):
    words = ["Smith", "'s", "(", "York", ",", "1996", ")", "river", "."]
    doc = Doc(spacy.blank("en").vocab, words=words)
    text = "Smith's (York, 1996) river."
    expected = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert PieceCache(tokenizer).pieces_of([doc]).ids.tolist() == expected


def test_without_heeding_spaces_each_word_but_the_first_gets_one(tokenizer):
    vocab = spacy.blank("en").vocab
    cache = PieceCache(tokenizer, style="spaced")
    doc = Doc(vocab, words=WORDS, spaces=[False] * len(WORDS))
    spaced = Doc(vocab, words=WORDS, spaces=[True] * 4 + [False])
    assert cache.pieces_of([doc]).ids.tolist() == cache.pieces_of([spaced]).ids.tolist()
    assert pieces_by_word(cache, doc) == pieces_by_word(PieceCache(tokenizer), spaced)


def test_a_word_is_kept_once_for_each_way_of_cutting_it():
    vocab = spacy.blank("en").vocab
    doc = Doc(vocab, words=["York", "York", "York"], spaces=[True, False, False])

    def cache_of(name):
        from tokenizers import Tokenizer

        text = TOKENIZERS[name]()
        return PieceCache(PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(text)))

    bert, gpt = cache_of("BERT"), cache_of("GPT-2")
    for cache, n_kept in ((bert, 1), (gpt, 2)):
        cache.pieces_of([doc])
        assert len(cache) == n_kept
    assert not bert.cutter.tells_apart and gpt.cutter.tells_apart
    first, spaced, joined = pieces_by_word(gpt, doc)
    assert first == joined != spaced


def test_docs_of_a_batch_begin_anew_and_empty_ones_are_passed_over(tokenizer):
    nlp = spacy.blank("en")
    docs = [nlp.make_doc(text) for text in ("New York", "", "York won", "")]
    alone = [PieceCache(tokenizer).pieces_of([doc]).ids for doc in docs]
    assert np.array_equal(PieceCache(tokenizer).pieces_of(docs).ids, np.concatenate(alone))
    assert not len(PieceCache(tokenizer).pieces_of([]).ids)


def test_what_stands_before_each_word():
    nlp = spacy.blank("en")
    docs = [nlp.make_doc(text) for text in ('He said "no".', "", "a\nb  c \n d", "  e")]
    attributes = [doc.to_array([ORTH, SPACY, IS_SPACE]) for doc in docs if len(doc)]
    lengths = np.array([len(doc) for doc in docs])
    found = contexts_of(np.concatenate(attributes), lengths, nlp.vocab.strings).tolist()
    words = [token.text for doc in docs for token in doc]
    assert list(zip(words, found)) == [
        ("He", START),
        ("said", SPACE),
        ('"', SPACE),
        ("no", JOINED),
        ('"', JOINED),
        (".", JOINED),
        ("a", START),
        ("\n", JOINED),
        ("b", LINE),
        (" ", SPACE),
        ("c", SPACE),
        ("\n ", SPACE),
        ("d", SPACE),
        ("  ", START),
        ("e", SPACE),
    ]


def test_slow_tokenizers_are_asked_the_same_way():
    from transformers import CanineTokenizer

    cutter = Cutter(CanineTokenizer(), "text")
    assert cutter.cut(["ab", "ab"], cutter.forms[[START, SPACE]]) == [[97, 98], [32, 97, 98]]
    doc = spacy.blank("en").make_doc("Mr  Smith (York)\nwon")
    ids = PieceCache(CanineTokenizer()).pieces_of([doc]).ids
    assert ids.tolist() == [ord(character) for character in doc.text]
