"""The multi-corpus reader: what an epoch holds, in which order."""

import copy
import gc
import logging
import pickle
import weakref
from collections import Counter
from itertools import islice

import pytest
import spacy
from spacy.tokens import Doc, DocBin
from spacy.training.loop import create_train_batches

from spacy_multitask.corpus.reader import corpus_of, make_multi_corpus
from spacy_multitask.corpus.reading import CORPUS_KEY, Mark, reading_of
from spacy_multitask.training.batching import make_batcher
from spacy_multitask.training.schedules import warmup_linear


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


def test_epochs_of_unequal_length_end_at_the_last_rate(nlp, tmp_path):
    docs = [Doc(nlp.vocab, words=["w"] * (1 + 9 * (i % 2))) for i in range(40)]
    DocBin(docs=docs).to_disk(tmp_path / "a.spacy")
    nlp.config["training"].update(max_epochs=6, max_steps=0)
    reader = make_multi_corpus({"a": {"path": str(tmp_path / "a.spacy"), "sample": 7}})
    rates = warmup_linear(1.0, warmup=0.1)
    found, lengths = [next(rates)], Counter()
    for epoch, _ in create_train_batches(nlp, reader, make_batcher(max_words=10), 6):
        found.append(next(rates))
        lengths[epoch] += 1
    assert len(set(lengths.values())) > 1, "or the test says nothing"
    assert min(found[1:-1]) > 0
    assert found[-1] == 0.0


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
    with pytest.raises(ValueError, match=r"'large': none of the docs.*max_length = 1"):
        list(make_multi_corpus(paths)(nlp))


def test_the_first_example_of_a_pass_knows_of_others(paths, nlp):
    first, *others = make_multi_corpus(paths, mixing="uniform")(nlp)
    reading = reading_of([*others, first])
    assert reading is not None and reading.lacks_some and reading.is_drawn
    assert len(list(reading.all())) == len(reading.again()) == 44
    assert reading_of(others) is None
    assert reading_of(make_multi_corpus(paths)(nlp)) is None, "all are there"


def test_what_an_example_knows_of_others_is_not_saved(paths, nlp):
    doc = next(make_multi_corpus(paths, mixing="uniform")(nlp)).reference
    assert type(doc.user_data[CORPUS_KEY]) is Mark
    name = str(doc.user_data[CORPUS_KEY])
    (from_bin,) = DocBin(docs=[doc], store_user_data=True).get_docs(nlp.vocab)
    from_bytes = Doc(nlp.vocab).from_bytes(doc.to_bytes())
    for copied in (from_bin, from_bytes, pickle.loads(pickle.dumps(doc)), copy.deepcopy(doc)):
        assert type(copied.user_data[CORPUS_KEY]) is str
        assert copied.user_data[CORPUS_KEY] == name


def test_examples_do_not_keep_a_pipeline_alive(paths):
    nlp = spacy.blank("en")
    examples = list(make_multi_corpus(paths, mixing="uniform")(nlp))
    dropped = weakref.ref(nlp)
    del nlp
    gc.collect()
    assert dropped() is None
    with pytest.raises(ValueError, match=r"pipeline .* is gone.*Keep it"):
        reading_of(examples).again()


def test_empty_docs_are_no_examples(paths, nlp, tmp_path):
    DocBin(docs=[Doc(nlp.vocab)] * 40).to_disk(tmp_path / "none.spacy")
    corpora = {**paths, "none": {"path": str(tmp_path / "none.spacy")}}
    with pytest.raises(ValueError, match=r"'none'.*has no docs"):
        list(make_multi_corpus(corpora)(nlp))
    words = [["w"], [], ["w"], []] * 5
    DocBin(docs=[Doc(nlp.vocab, words=w) for w in words]).to_disk(tmp_path / "none.spacy")
    counted = Counter(names(make_multi_corpus(corpora, mixing="uniform"), nlp))
    assert counted == {"small": 18, "large": 18, "none": 18}


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
        ({"a": {"path": "x"}}, {"shuffle_buffer": -1}, "shuffle_buffer"),
        ({"a": {"path": "x", "sample": 2.5}}, {}, "sample"),
        ({"a": {"path": "x", "sample": -1}}, {}, "sample"),
        ({"a": {"path": "x", "limit": -1}}, {}, "limit"),
        ({"a": {"path": "x", "max_length": -1}}, {}, "max_length"),
    ],
)
def test_wrong_options_are_refused(corpora, options, message):
    with pytest.raises(ValueError, match=message):
        make_multi_corpus(corpora, **options)


def test_a_missing_file_names_corpus_and_path(nlp):
    with pytest.raises(ValueError, match=r"'a'.*nowhere\.spacy"):
        list(make_multi_corpus({"a": {"path": "nowhere.spacy"}})(nlp))


@pytest.mark.parametrize(
    ("sample", "expected"), [(0.25, 10), (7, 7), (100, 40), (0, 40), (1, 1), (1.0, 40)]
)
def test_a_sample_is_a_share_or_a_number_of_docs(paths, nlp, sample, expected):
    paths["large"]["sample"] = sample
    assert Counter(names(make_multi_corpus(paths), nlp)) == {"small": 4, "large": expected}


def test_mixing_goes_by_the_sizes_of_samples(paths, nlp):
    paths["large"]["sample"] = 0.5
    counted = Counter(names(make_multi_corpus(paths, mixing="uniform"), nlp))
    assert counted == {"small": 12, "large": 12}


def test_each_call_draws_a_sample_of_its_own(paths, nlp):
    paths["large"]["sample"] = 10
    reader = make_multi_corpus(paths)
    first, second = texts(reader, nlp), texts(reader, nlp)
    assert len(first) == len(set(first)) == 14
    assert set(first) != set(second)
    again = make_multi_corpus(paths)
    assert [texts(again, nlp), texts(again, nlp)] == [first, second]


@pytest.mark.parametrize(("sample", "n_epochs"), [(10, 4), (16, 5), (15, 7), (0.4, 3)])
@pytest.mark.parametrize("mixing", ["proportional", "uniform"])
def test_samples_use_up_a_corpus_before_they_repeat(paths, nlp, sample, n_epochs, mixing):
    seen = Counter(dict.fromkeys(texts(make_multi_corpus({"a": paths["large"]}), nlp), 0))
    assert len(seen) == 40
    paths["large"]["sample"] = sample
    reader = make_multi_corpus(paths, mixing=mixing)
    for _ in range(n_epochs):
        drawn = [text for text in texts(reader, nlp) if "large" in text]
        if mixing == "proportional":
            assert len(drawn) == len(set(drawn))
        seen.update(drawn)
        assert max(seen.values()) - min(seen.values()) <= 1
    seen = Counter(text for _ in range(n_epochs) for text in texts(reader, nlp))
    small = [n for text, n in seen.items() if "small" in text]
    assert max(small) - min(small) <= 1


def epochs(nlp, reader, n, max_epochs):
    """RETURNS (List[List[str]]): What spaCy's training gets in each epoch."""
    nlp.config["training"]["max_epochs"] = max_epochs
    found = [[] for _ in range(n)]
    for epoch, batch in create_train_batches(nlp, reader, make_batcher(max_docs=5), max_epochs):
        if epoch == n:
            break
        found[epoch] += [eg.reference.text for eg in batch]
    return found


@pytest.mark.parametrize("max_epochs", [3, -1], ids=["list", "stream"])
@pytest.mark.parametrize("mixing", ["proportional", "uniform"])
def test_each_epoch_of_a_training_draws_anew(paths, nlp, max_epochs, mixing):
    paths["large"]["sample"] = 10
    one, two, three = epochs(nlp, make_multi_corpus(paths, mixing=mixing), 3, max_epochs)
    share = 10 if mixing == "proportional" else 7
    for epoch in (one, two, three):
        assert sum("large" in text for text in epoch) == share
    large = [{text for text in epoch if "large" in text} for epoch in (one, two, three)]
    assert large[0] != large[1] and large[1] != large[2]
    # In the order of a shuffle, and not of the file.
    numbers = [int(text.split()[1]) for text in two if "large" in text]
    assert numbers != sorted(numbers)


def test_the_draws_of_a_training_are_the_seeds(paths, nlp):
    paths["large"]["sample"] = 10
    runs = []
    for seed in (0, 0, 1):
        spacy.util.fix_random_seed(0)
        runs.append(epochs(nlp, make_multi_corpus(paths, seed=seed), 3, 3))
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_an_epoch_of_everything_is_read_once(paths, nlp, monkeypatch):
    reader = make_multi_corpus(paths)
    one, two = epochs(nlp, reader, 2, 2)
    assert reader.epoch == 1
    assert sorted(one) == sorted(two)


def test_examples_of_another_list_are_never_replaced_by_a_draw(paths, nlp):
    paths["large"]["sample"] = 10
    list(make_multi_corpus(paths)(nlp))
    del paths["large"]["sample"]
    own = list(make_multi_corpus(paths)(nlp))
    batcher = make_batcher(max_docs=100)
    for _ in range(2):
        assert sum(map(len, batcher(own))) == 44


def test_a_stream_is_read_file_by_file(nlp, tmp_path, monkeypatch):
    for k in range(5):
        docs = [Doc(nlp.vocab, words=[str(k), str(i)]) for i in range(10)]
        DocBin(docs=docs).to_disk(tmp_path / f"{k}.spacy")
    reader = make_multi_corpus({"a": {"path": str(tmp_path)}}, shuffle_buffer=5)
    list(reader(nlp))  # counts
    opened = []
    from_disk = DocBin.from_disk
    monkeypatch.setattr(
        DocBin, "from_disk", lambda self, path: (opened.append(path), from_disk(self, path))[1]
    )
    nlp.config["training"]["max_epochs"] = -1
    read = [eg.reference.text for eg in islice(reader(nlp), 12)]
    assert len(opened) == 2
    assert all(text[0] in "01" for text in read) and len(set(read)) == 12


def test_a_stream_is_shuffled_within_its_buffer(paths, nlp):
    nlp.config["training"]["max_epochs"] = -1
    paths = {"large": paths["large"]}
    in_order = [f"large {i} " for i in range(40)]
    assert texts(make_multi_corpus(paths, shuffle_buffer=0), nlp) == in_order
    for size in (10, 1000):
        reader = make_multi_corpus(paths, shuffle_buffer=size)
        first, second = texts(reader, nlp), texts(reader, nlp)
        assert sorted(first) == sorted(second) == sorted(in_order)
        assert first != in_order and first != second


def test_warm_up_over_a_stream_needs_max_steps(paths, nlp):
    nlp.config["training"].update(max_epochs=-1, max_steps=20)
    rates = warmup_linear(1.0, warmup=0.5)
    assert next(rates) == 0.0
    stream = make_batcher(max_docs=5)(make_multi_corpus(paths)(nlp))
    next(stream)
    assert [next(rates) for _ in range(10)] == pytest.approx([0.1 * n for n in range(1, 11)])
    nlp.config["training"]["max_steps"] = 0
    rates = warmup_linear(1.0, warmup=0.5)
    assert next(rates) == 0.0
    next(make_batcher(max_docs=5)(make_multi_corpus(paths)(nlp)))
    with pytest.raises(ValueError, match="max_steps"):
        next(rates)


def test_shares_and_seed_are_in_the_log_once(paths, nlp, caplog):
    paths["large"]["sample"] = 0.5
    reader = make_multi_corpus(paths, seed=3)
    with caplog.at_level(logging.INFO, logger="spacy"):
        for _ in range(2):
            list(reader(nlp))
    (line,) = [r.getMessage() for r in caplog.records if "Mixing" in r.getMessage()]
    assert line == "Mixing proportional (seed 3): examples small 4 of 4, large 20 of 40"


def test_a_doc_of_several_layers_is_one_example(nlp, tmp_path):
    doc = Doc(nlp.vocab, words=["Smith", "won"], tags=["NNP", "VBD"], ents=["B-PER", "O"])
    doc.cats = {"Sports": 1.0}
    DocBin(docs=[doc]).to_disk(tmp_path / "all.spacy")
    corpora = {"all": {"path": str(tmp_path / "all.spacy")}}
    (example,) = make_multi_corpus(corpora)(nlp)
    y = example.reference
    assert y.has_annotation("TAG") and y.has_annotation("ENT_IOB") and y.cats


def test_a_file_that_is_named_twice_is_warned_of(paths):
    paths["twin"] = dict(paths["small"])
    with pytest.warns(UserWarning, match="'small' and 'twin'"):
        make_multi_corpus(paths)


def test_shares_may_be_given(paths, nlp):
    for mixing in ("proportional", "uniform"):
        reader = make_multi_corpus(paths, mixing=mixing, shares={"small": 7, "large": 2})
        assert Counter(names(reader, nlp)) == {"small": 7, "large": 2}
    for shares in ({"small": 7}, {"small": 7, "large": 0}, {"small": 7, "large": 1, "x": 1}):
        with pytest.raises(ValueError, match="shares must give"):
            make_multi_corpus(paths, shares=shares)
