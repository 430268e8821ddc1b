"""One pipeline used from many threads."""

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from spacy.language import Language
from spacy.util import fix_random_seed

from spacy_multitask.encoder.pieces import PieceCache
from tests.conftest import TEXTS, corpus, make_nlp, predictions, write_encoder

N_THREADS = 8


def many_texts(n: int, seed: int) -> list[str]:
    """RETURNS (List[str]): Texts of many words, so that threads fill the cache at once."""
    rng = random.Random(seed)
    words = [word for text in TEXTS for word in text.split()]
    return [
        " ".join(rng.choice(words) + str(rng.randrange(100)) for _ in range(rng.randrange(30)))
        for _ in range(n)
    ]


def test_eight_threads_predict_what_one_does(trained, monkeypatch):
    texts = [many_texts(12, seed) for seed in range(N_THREADS)]
    expected = [predictions(trained.pipe(part, batch_size=4)) for part in texts]
    shim = trained.get_pipe("transformer").shim
    small = PieceCache(shim.encoder.tokenizer, max_words=100, max_word_pieces=20)
    monkeypatch.setattr(shim.encoder, "cache", small)
    with ThreadPoolExecutor(N_THREADS) as pool:
        found = list(pool.map(lambda part: predictions(trained.pipe(part, batch_size=4)), texts))
    assert found == expected


@contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[None]:
    """Do something again and again in three threads. Their errors are raised at the end."""
    done = threading.Event()

    def run() -> None:
        work()
        while not done.is_set():
            work()

    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(run) for _ in range(3)]
        try:
            yield
        finally:
            done.set()
    for future in futures:
        future.result()


@pytest.fixture
def dropping_out(tmp_path) -> Callable[[], Language]:
    """Makes pipelines whose encoder drops out in training, and must not in prediction."""
    encoder = str(write_encoder(tmp_path, dropout=0.2))

    def make() -> Language:
        fix_random_seed(0)
        nlp = make_nlp(encoder, heads=("tagger", "chunker", "ner", "textcat"))
        nlp.initialize(lambda: corpus(nlp))
        return nlp

    return make


def test_threads_that_predict_do_not_disturb_one_that_trains(dropping_out):
    def train(nlp: Language) -> bytes:
        sgd = nlp.create_optimizer()
        examples = corpus(nlp)
        fix_random_seed(0)
        for _ in range(10):
            nlp.update(examples, sgd=sgd)
        return nlp.get_pipe("transformer").to_bytes()

    nlp = dropping_out()
    with meanwhile(lambda: predictions(nlp.pipe(TEXTS))):
        found = train(nlp)
    assert found == train(dropping_out())


def test_a_thread_that_trains_does_not_disturb_those_that_predict(dropping_out):
    nlp = dropping_out()
    expected = predictions(nlp.pipe(TEXTS))
    sgd = nlp.create_optimizer()
    sgd.learn_rate = 0.0  # so that what is right stays the same
    examples = corpus(nlp)

    def check() -> None:
        assert predictions(nlp.pipe(TEXTS)) == expected

    with meanwhile(check):
        for _ in range(10):
            nlp.update(examples, sgd=sgd)
