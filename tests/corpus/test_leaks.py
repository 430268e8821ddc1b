"""Sentences of a training part in a held-out part: what counts, what is dropped."""

import json
import os
import time
import warnings

import pytest
import spacy
from spacy.tokens import Doc, DocBin
from typer.testing import CliRunner

from spacy_multitask.cli import app
from spacy_multitask.corpus.leaks import (
    HeldOut,
    check_leaks,
    held_out_parts,
    letters_of,
)
from spacy_multitask.corpus.minhash import jaccard, signatures
from spacy_multitask.corpus.reader import make_multi_corpus

STORM = "The storm closed the harbour for two days and cost the town a bridge ."
RACE = "Anna Brown won the race in the last minute before a crowd of thousands ."
PRICE = "Prices of wheat rose for a third week as the drought in the south went on ."


@pytest.fixture
def vocab():
    return spacy.blank("en").vocab


def write(path, vocab, *docs):
    """Docs of sentences, each a string of words."""
    made = []
    for sentences in docs:
        words = [s.split() for s in ([sentences] if isinstance(sentences, str) else sentences)]
        starts = [k == 0 for sent in words for k in range(len(sent))]
        made.append(Doc(vocab, words=[w for sent in words for w in sent], sent_starts=starts))
    DocBin(docs=made).to_disk(path)
    return str(path)


def pairs(found):
    return [
        (leak.train, leak.sentence.doc, leak.held, leak.source.doc, round(leak.similarity, 2))
        for leak in found.leaks
    ]


def test_case_spacing_and_punctuation_do_not_count(vocab, tmp_path):
    train = write(tmp_path / "train.spacy", vocab, RACE, STORM, PRICE)
    other = STORM.upper().replace("HARBOUR", "harb our").replace(" .", "!")
    dev = write(
        tmp_path / "dev.spacy", vocab, "Nothing of the kind is in any of the other files .", other
    )
    found = check_leaks({"pos": train}, [("ner", dev)])
    assert pairs(found) == [("pos", 1, "ner", 1, 1.0)]
    assert found.leaking == {"pos": {1}} and found.docs == {"pos": 3}


def test_near_duplicates_are_found_by_their_exact_similarity(vocab, tmp_path):
    near = STORM.replace("two days", "three days")
    train = write(tmp_path / "train.spacy", vocab, near)
    dev = write(tmp_path / "dev.spacy", vocab, STORM)
    similarity = jaccard(letters_of(near), letters_of(STORM))
    found = check_leaks({"a": train}, [("b", dev)], threshold=0.7)
    assert pairs(found) == [("a", 0, "b", 0, round(similarity, 2))]
    assert check_leaks({"a": train}, [("b", dev)], threshold=similarity + 0.01).leaks == []
    assert check_leaks({"a": train}, [("b", dev)], threshold=1.0).leaks == []


def test_jaccard_by_hand():
    # abcde bcdef cdefg against abcde bcdef cdefx
    assert jaccard("abcdefg", "abcdefx") == 2 / 4


def test_short_sentences_repeat_by_themselves(vocab, tmp_path):
    short = "LONDON , Nov. 24"
    train = write(tmp_path / "train.spacy", vocab, short, [short, RACE])
    dev = write(tmp_path / "dev.spacy", vocab, short)
    assert check_leaks({"a": train}, [("a", dev)]).leaks == []
    assert len(check_leaks({"a": train}, [("a", dev)], min_words=4).leaks) == 2


def test_docs_are_compared_sentence_by_sentence(vocab, tmp_path):
    """One corpus has whole documents, the other single sentences."""
    train = write(tmp_path / "train.spacy", vocab, [STORM, RACE, PRICE], RACE)
    dev = write(tmp_path / "dev.spacy", vocab, PRICE, RACE)
    found = check_leaks({"news": train}, [("news", dev)])
    assert pairs(found) == [
        ("news", 0, "news", 1, 1.0), ("news", 0, "news", 0, 1.0), ("news", 1, "news", 1, 1.0)
    ]  # fmt: skip
    # 29 of 43 words of the first doc leak.
    assert found.leaking == {"news": {0, 1}}
    assert check_leaks({"news": train}, [("news", dev)], share=0.7).leaking == {"news": {1}}


def test_docs_without_sentence_boundaries_are_cut(vocab, tmp_path):
    doc = Doc(vocab, words=f"{STORM} {RACE}".split())
    DocBin(docs=[doc]).to_disk(tmp_path / "train.spacy")
    dev = write(tmp_path / "dev.spacy", vocab, RACE)
    found = check_leaks({"a": tmp_path / "train.spacy"}, [("a", dev)])
    assert [leak.sentence.text for leak in found.leaks] == [RACE]


def test_empty_docs_and_odd_texts_are_passed_over(vocab, tmp_path):
    train = write(tmp_path / "train.spacy", vocab, " ".join("-" * 12), " ".join("ab" * 10), STORM)
    DocBin(docs=[Doc(vocab), Doc(vocab, words=["a"] * 30)]).to_disk(tmp_path / "dev.spacy")
    assert check_leaks({"a": train}, [("a", tmp_path / "dev.spacy")]).leaks == []


@pytest.mark.parametrize("options", [{"min_words": 0}, {"threshold": 0.0}, {"share": 1.5}])
def test_options_out_of_range_are_refused(vocab, tmp_path, options):
    path = write(tmp_path / "a.spacy", vocab, STORM)
    with pytest.raises(ValueError, match="must be at least 1"):
        check_leaks({"a": path}, [("a", path)], **options)


def test_a_missing_file_names_corpus_and_path():
    with pytest.raises(ValueError, match=r"'a'.*nowhere\.spacy"):
        check_leaks({"a": "nowhere.spacy"}, [])


def test_signatures_agree_as_often_as_shingles_do():
    """MinHash's estimate is unbiased; 40 hashes put it within 0.25 of the similarity."""
    texts = [letters_of(t) for t in (STORM, STORM.replace("bridge", "church"), RACE)]
    ours = signatures(texts)
    alike = jaccard(texts[0], texts[1])
    assert abs((ours[0] == ours[1]).mean() - alike) < 0.25
    assert (ours[0] == ours[2]).mean() < 0.25
    # A text's signature does not depend on its neighbours.
    assert (signatures(texts[::-1])[::-1] == ours).all()


def test_parts_of_one_name_are_told_apart(vocab, tmp_path):
    train = write(tmp_path / "train.spacy", vocab, RACE, STORM)
    dev = write(tmp_path / "dev.spacy", vocab, PRICE, STORM)
    test = write(tmp_path / "test.spacy", vocab, STORM, RACE)
    parts = held_out_parts({"pos": dev, "ner": dev}, {"pos": test, "chunk": test})
    assert [name for name, _ in parts] == ["pos (dev)", "ner", "pos (test)", "chunk"]
    found = check_leaks({"pos": train}, held_out_parts({"pos": dev}, {"pos": test}))
    assert pairs(found) == [
        ("pos", 0, "pos (test)", 1, 1.0),
        ("pos", 1, "pos (dev)", 1, 1.0), ("pos", 1, "pos (test)", 0, 1.0),
    ]  # fmt: skip
    counts = [(p["held_out"], p["same"], p["held_out_docs"]) for p in found.summary()]
    assert counts == [("pos (dev)", 1, 1), ("pos (test)", 2, 2)]


def test_a_name_that_comes_twice_is_refused(vocab, tmp_path):
    path = write(tmp_path / "a.spacy", vocab, STORM)
    with pytest.raises(ValueError, match="Two held-out parts are named 'a'"):
        check_leaks({"a": path}, [("a", path), ("b", path), ("a", path)])


def test_many_docs_take_linear_time(vocab):
    """Also if they are all alike, as form letters are."""
    letters = [f"{STORM} {i:06d} {i * 7919 % 999983:06d}" for i in range(4000)]
    docs = [Doc(vocab, words=text.split()) for text in letters]
    started = time.process_time()
    held = HeldOut([("dev", docs[:2000])], min_words=10, threshold=0.95)
    n = sum(1 for _ in held.find("train", docs[2000:]))
    assert time.process_time() - started < 10
    assert n <= 2000


def config_with(tmp_path, **options):
    lines = [
        "[training]", 'train_corpus = "corpora.train"', 'dev_corpus = "corpora.dev"',
        "[corpora]", "[corpora.train]", '@readers = "spacy_multitask.MultiCorpus.v1"',
        *(f"{k} = {json.dumps(v)}" for k, v in options.items()),
        "[corpora.train.corpora]",
        "[corpora.train.corpora.pos]", f'path = "{tmp_path}/train.spacy"',
        "[corpora.dev]", '@readers = "spacy_multitask.MultiCorpus.v1"',
        "[corpora.dev.corpora]", "[corpora.dev.corpora.ner]", f'path = "{tmp_path}/dev.spacy"',
    ]  # fmt: skip
    return "\n".join(lines)


@pytest.fixture
def nlp(vocab, tmp_path):
    write(tmp_path / "train.spacy", vocab, RACE, STORM, PRICE)
    write(tmp_path / "dev.spacy", vocab, STORM)
    write(tmp_path / "test.spacy", vocab, PRICE)
    nlp = spacy.blank("en")
    (tmp_path / "config.cfg").write_text(config_with(tmp_path))
    config = spacy.util.load_config(tmp_path / "config.cfg")
    nlp.config["training"].update(config["training"])
    nlp.config["corpora"] = config["corpora"]
    return nlp


def test_training_tells_parts_of_one_name_apart(nlp, tmp_path):
    write(tmp_path / "test.spacy", nlp.vocab, PRICE, STORM)
    reader = make_multi_corpus(
        {"pos": {"path": f"{tmp_path}/train.spacy"}},
        leaks="warn",
        held_out={"ner": f"{tmp_path}/test.spacy"},
    )
    with pytest.warns(UserWarning) as caught:
        list(reader(nlp))
    assert "are in 1 held-out docs of 'ner (dev)'" in str(caught[0].message)
    assert "are in 2 held-out docs of 'ner (test)'" in str(caught[0].message)


def test_training_warns_of_leaks(nlp, tmp_path):
    reader = make_multi_corpus({"pos": {"path": f"{tmp_path}/train.spacy"}}, leaks="warn")
    with pytest.warns(UserWarning, match="1 training sentences of 'pos'.* held-out docs of 'ner'"):
        assert len(list(reader(nlp))) == 3


@pytest.mark.parametrize(
    ("held_out", "limit", "left"),
    [(None, 0, [RACE, PRICE]), ("test", 0, [RACE]), (None, 1, [RACE])],
)
def test_training_can_leave_leaks_out(nlp, tmp_path, held_out, limit, left):
    reader = make_multi_corpus(
        {"pos": {"path": f"{tmp_path}/train.spacy", "limit": limit}},
        leaks="drop",
        held_out=held_out and {"pos": f"{tmp_path}/{held_out}.spacy"},
    )
    with pytest.warns(UserWarning, match="left out of training"):
        assert [eg.reference.text.strip() for eg in reader(nlp)] == left


def test_no_leaks_no_warning(nlp, vocab, tmp_path):
    write(
        tmp_path / "dev.spacy",
        vocab,
        "A sentence that the training part does not have at all , not even nearly .",
    )
    reader = make_multi_corpus({"pos": {"path": f"{tmp_path}/train.spacy"}}, leaks="drop")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(reader(nlp))) == 3


def test_an_unknown_way_to_treat_leaks_is_refused(tmp_path):
    with pytest.raises(ValueError, match="leaks = 'yes' is not one of ignore, warn, drop"):
        make_multi_corpus({"a": {"path": "x"}}, leaks="yes")


def run(*arguments):
    return CliRunner().invoke(app, ["leaks", *map(str, arguments)])


def test_the_command_reads_a_config_and_writes_what_is_left(nlp, tmp_path):
    done = run(tmp_path / "config.cfg", "--test", f"pos={tmp_path}/test.spacy",
               "--output", tmp_path / "leaks.json", "--drop", tmp_path / "clean")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert STORM in done.output
    written = json.loads((tmp_path / "leaks.json").read_text())
    assert written["docs"] == {"pos": 3} and written["leaking_docs"] == {"pos": 2}
    assert [(p["train"], p["held_out"], p["same"]) for p in written["leaks"]] == [
        ("pos", "ner", 1), ("pos", "pos", 1)
    ]  # fmt: skip
    docs = DocBin().from_disk(tmp_path / "clean" / "pos.spacy").get_docs(nlp.vocab)
    assert [doc.text.strip() for doc in docs] == [RACE]


def test_dropping_replaces_no_part(nlp, tmp_path):
    """Nor writes into a folder that is one: its docs would be read twice."""
    (tmp_path / "parts").mkdir()
    for name in ("train", "dev"):
        (tmp_path / f"{name}.spacy").rename(tmp_path / "parts" / f"{name}.spacy")
    parts = tmp_path / "parts"
    before = {path: path.read_bytes() for path in parts.iterdir()}
    (tmp_path / "link").symlink_to(parts)
    for train, test, drop in (
        ("train=train.spacy", "dev.spacy", parts),
        ("train=train.spacy", "dev.spacy", tmp_path / "link"),
        ("dev=train.spacy", "dev.spacy", parts),
        ("new=train.spacy", ".", parts / "within"),
        ("new=.", "dev.spacy", parts),
    ):
        name, path = train.split("=")
        done = run("--train", f"first={parts}/train.spacy", "--train", f"{name}={parts}/{path}",
                   "--test", f"held={parts}/{test}", "--drop", drop)  # fmt: skip
        assert done.exit_code == 1, done.output
        assert "the output would replace an input" in done.output
        assert {path: path.read_bytes() for path in parts.iterdir()} == before


def test_dropping_keeps_the_old_file_if_it_fails(nlp, tmp_path, monkeypatch):
    def fail(source, target):
        raise OSError("disk full")

    (tmp_path / "clean").mkdir()
    (tmp_path / "clean" / "a.spacy").write_bytes(b"old")
    monkeypatch.setattr(os, "replace", fail)
    done = run("--train", f"a={tmp_path}/train.spacy", "--test", f"b={tmp_path}/dev.spacy",
               "--drop", tmp_path / "clean", "--overwrite")  # fmt: skip
    assert done.exit_code == 1 and "disk full" in done.output
    assert [p.read_bytes() for p in (tmp_path / "clean").iterdir()] == [b"old"]


def test_the_command_takes_paths_and_overrides(nlp, tmp_path):
    done = run("--train", f"a={tmp_path}/train.spacy", "--test", f"b={tmp_path}/dev.spacy")
    assert done.exit_code == 0 and STORM in done.output
    override = ("--corpora.dev.corpora.ner.path", tmp_path / "nowhere.spacy")
    done = run(tmp_path / "config.cfg", *override)
    assert done.exit_code == 1 and "nowhere.spacy" in done.output
    done = run("--train", f"a={tmp_path}/train.spacy")
    assert done.exit_code == 1 and "--test" in done.output


def test_the_command_tells_parts_of_one_name_apart(nlp, tmp_path):
    done = run(tmp_path / "config.cfg", "--test", f"ner={tmp_path}/test.spacy")
    assert done.exit_code == 0, done.output
    assert f"ner (dev): {STORM}" in done.output and f"ner (test): {PRICE}" in done.output


def test_a_training_part_of_the_config_is_not_replaced(nlp, tmp_path):
    done = run(tmp_path / "config.cfg", "--train", f"pos={tmp_path}/test.spacy")
    assert done.exit_code == 1
    assert "--train pos: the config has a training part of that name" in done.output
    done = run(tmp_path / "config.cfg", "--train", f"more={tmp_path}/dev.spacy")
    assert done.exit_code == 0 and f"more: {STORM}" in done.output
