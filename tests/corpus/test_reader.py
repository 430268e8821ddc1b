"""The multi-corpus reader: what an epoch holds, in which order."""

from collections import Counter

import pytest
import spacy
from spacy.tokens import Doc, DocBin

from spacy_multitask.corpus.reader import corpus_of, make_multi_corpus


@pytest.fixture
def nlp():
    return spacy.blank("en")


@pytest.fixture
def paths(nlp, tmp_path):
    sizes = {"small": 4, "large": 40}
    for name, size in sizes.items():
        docs = [Doc(nlp.vocab, words=[name, str(i)]) for i in range(size)]
        DocBin(docs=docs).to_disk(tmp_path / f"{name}.spacy")
    return {name: {"path": str(tmp_path / f"{name}.spacy")} for name in sizes}


def names(reader, nlp):
    return [corpus_of(eg) for eg in reader(nlp)]


def texts(reader, nlp):
    return [eg.reference.text for eg in reader(nlp)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"small": 4, "large": 40}),
        ({"mixing": "uniform"}, {"small": 22, "large": 22}),
        ({"mixing": "round_robin"}, {"small": 22, "large": 22}),
        ({"mixing": "temperature", "temperature": 0.5}, {"small": 11, "large": 33}),
        ({"mixing": "temperature", "temperature": 1.0}, {"small": 4, "large": 40}),
    ],
)
def test_shares_of_an_epoch(paths, nlp, options, expected):
    counted = Counter(names(make_multi_corpus(paths, **options), nlp))
    assert all(abs(counted[name] - n) <= 1 for name, n in expected.items()), counted


def test_proportional_reads_each_example_once(paths, nlp):
    read = texts(make_multi_corpus(paths), nlp)
    assert len(read) == len(set(read)) == 44


def test_corpora_are_mixed_over_the_whole_epoch(paths, nlp):
    order = names(make_multi_corpus(paths, mixing="uniform"), nlp)
    half = Counter(order[: len(order) // 2])
    assert min(half["small"], half["large"]) >= 5


def test_round_robin_takes_turns(paths, nlp):
    order = names(make_multi_corpus(paths, mixing="round_robin"), nlp)
    assert order[:4] == ["small", "large", "small", "large"]


def test_the_seed_decides(paths, nlp):
    def epochs(seed):
        reader = make_multi_corpus(paths, mixing="uniform", seed=seed)
        return [texts(reader, nlp) for _ in range(2)]

    assert epochs(1) == epochs(1)
    assert epochs(1) != epochs(2)
    first, second = epochs(1)
    assert first != second, "each epoch has its own draw"


def test_limit_and_max_length(paths, nlp):
    paths["large"]["limit"] = 3
    assert Counter(names(make_multi_corpus(paths), nlp)) == {"small": 4, "large": 3}
    paths["large"]["max_length"] = 1
    with pytest.raises(ValueError, match="has no docs"):
        list(make_multi_corpus(paths)(nlp))


def test_gold_tokens_or_the_pipelines_own(nlp, tmp_path):
    doc = Doc(nlp.vocab, words=["can", "not", "go."], spaces=[False, True, False])
    DocBin(docs=[doc]).to_disk(tmp_path / "a.spacy")
    for gold_tokens, words in ((True, ["can", "not", "go."]), (False, ["can", "not", "go", "."])):
        corpora = {"a": {"path": str(tmp_path / "a.spacy"), "gold_tokens": gold_tokens}}
        (example,) = make_multi_corpus(corpora)(nlp)
        assert [t.text for t in example.predicted] == words


@pytest.mark.parametrize(
    ("corpora", "options", "message"),
    [
        ({}, {}, "No corpora"),
        ({"a": {}}, {}, "needs a path"),
        ({"a": {"path": "x", "limits": 3}}, {}, "limits"),
        ({"a": {"path": "x"}}, {"mixing": "random"}, "mixing"),
        ({"a": {"path": "x"}}, {"temperature": 2.0}, "temperature"),
    ],
)
def test_wrong_options_are_refused(corpora, options, message):
    with pytest.raises(ValueError, match=message):
        make_multi_corpus(corpora, **options)


def test_a_missing_file_names_corpus_and_path(nlp):
    with pytest.raises(ValueError, match=r"'a'.*nowhere\.spacy"):
        list(make_multi_corpus({"a": {"path": "nowhere.spacy"}})(nlp))
