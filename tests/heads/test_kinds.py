"""Kinds of heads describe themselves, and nothing else names them."""

import ast
from pathlib import Path

import pytest
import spacy
from spacy.language import Language

import spacy_multitask
from spacy_multitask.heads.kinds import all_kinds, in_order, kind_of, score_named
from tests.conftest import make_nlp

PACKAGE = Path(spacy_multitask.__file__).parent
OWN = [kind for kind in all_kinds() if kind.factories[0] != "reading_times"]
# `visualize` names layers of docs, some of which are called as heads are.
FILES = sorted(
    path
    for folder in ("composing", "corpus", "evaluation", "report", "sharing", "training")
    for path in (PACKAGE / folder).glob("*.py")
    # These name layers of docs or parts of a drawing, some of which are called as the kinds are.
    if path.stem not in ("visualize", "joining", "overview", "curves")
)


def test_every_kind_has_factories_that_are_there():
    spacy.blank("en")
    assert {kind.name for kind in OWN} >= {"tagger", "chunker", "ner", "textcat", "relations"}
    assert {kind.name for kind in OWN} >= {"parser", "morphologizer", "senter", "spancat"}
    for kind in OWN:
        assert all(Language.has_factory(name) for name in kind.factories), kind.name
        weights = Language.get_factory_meta(kind.factories[0]).default_score_weights
        assert set(in_order(weights)) & {s.name for s in kind.scores} or kind.is_in_groups


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_no_file_but_its_own_names_a_kind_of_head_or_its_scores(path):
    names = {kind.name for kind in OWN} | {s.name for kind in OWN for s in kind.scores}
    names |= {factory for kind in OWN for factory in kind.factories}
    tree = ast.parse(path.read_text(encoding="utf8"))
    strings = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)}
    assert not strings & names


def test_components_are_known_by_what_they_say_or_by_their_factory(encoder_path):
    nlp = make_nlp(encoder_path)
    assert [kind_of(pipe).name for _, pipe in nlp.pipeline[1:]] == nlp.pipe_names[1:]
    parser = nlp.add_pipe("parser")
    assert kind_of(parser) is None and kind_of(parser, "parser").name == "parser"
    assert kind_of(parser, "sentencizer") is None


@pytest.mark.parametrize(
    ("name", "score", "prefix", "key"),
    [
        ("tag_acc", "tag_acc", "", ""),
        ("coarse_tag_acc", "tag_acc", "coarse_", ""),
        ("wire/ents_f", "ents_f", "wire/", ""),
        ("wire/x_spans_np_f", "spans_*_f", "wire/x_", "np"),
        ("spans_my_ents_f", "spans_*_f", "", "my_ents"),
    ],
)
def test_scores_are_known_with_a_prefix_and_a_key(name, score, prefix, key):
    found = score_named(name)
    assert (found.score.name, found.prefix, found.key) == (score, prefix, key)


@pytest.mark.parametrize("name", ["tag_acc_x", "mytag_acc", "spans_f", "ents_p", "token_acc"])
def test_other_scores_are_not_listed(name):
    assert score_named(name) is None


def test_a_second_recogniser_has_a_score_of_its_own(encoder_path):
    nlp = make_nlp(encoder_path, [])
    head = nlp.add_pipe("multitask_ner", config={"spans_key": "mine"})
    assert score_named("spans_mine_f", head).kind is head.kind
    assert score_named("spans_mine_f").kind.name == "chunker", "who else writes groups"
    assert score_named("sents_f", head).kind.name == "senter", "one that it does not have"


def test_scores_are_told_in_words(encoder_path):
    nlp = make_nlp(encoder_path, [])
    second = nlp.add_pipe("multitask_ner", config={"spans_key": "mine"})
    titles = {
        "tag_acc": "tags",
        "coarse_tag_acc": "coarse tags",
        "spans_np_f": "chunks",
        "spans_other_f": "chunks other",
        "dep_uas": "",
    }
    assert {name: score_named(name).title for name in titles} == titles
    assert score_named("spans_mine_f", second).title == "entities mine"
