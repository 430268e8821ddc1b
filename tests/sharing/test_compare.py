"""Tasks trained alone, together, and all but one."""

import copy
import json

import numpy as np
import pytest
from spacy.tokens import Doc, DocBin
from spacy.util import load_config, registry
from spacy.vocab import Vocab
from typer.testing import CliRunner

from spacy_multitask.cli import app
from spacy_multitask.corpus.reader import MIXINGS
from spacy_multitask.evaluation.bootstrap import paired_difference
from spacy_multitask.sharing.compare import Comparison, Run, effects
from tests.integration.conftest import ROOT, project  # noqa: F401  a fixture


def test_the_same_docs_are_drawn_for_both():
    """A system that is right on one more item of each doc is better on every draw."""
    second = np.array([[k % 3, 4, 4] for k in range(20)])
    first = second + [1, 0, 0]
    found = paired_difference(first, second)
    assert found[:3] == pytest.approx((0.25, 0.25, 0.25))
    assert found.p == pytest.approx(2 / 2001)
    assert paired_difference(second, first).value == pytest.approx(-0.25)


def test_a_difference_of_one_doc_in_many_is_chance():
    second = np.ones((30, 3), int)
    first = second.copy()
    second[0, 0] = 0
    found = paired_difference(first, second)
    assert found.value == pytest.approx(1 / 30)
    assert found.low == 0 < found.high and found.p > 0.3
    assert paired_difference(first, first).p == 1.0


@pytest.fixture(scope="module")
def config(project):  # noqa: F811
    return load_config(project / "config.cfg", interpolate=True)


def test_runs_have_their_heads_corpora_and_budget(config):
    comparison = Comparison(config, tasks=["tagger", "ner"], epochs=4)
    names = [run.name for run in comparison.runs()]
    assert names == ["alone: tagger", "alone: ner", "all", "without: tagger", "without: ner"]
    alone, _, together, without, _ = comparison.runs()
    assert alone == Run("alone: tagger", ("tagger",), ("pos",))
    assert together.heads == ("tagger", "chunker", "ner", "textcat")
    assert set(together.corpora) == {"pos", "chunk", "ner", "topic"}
    assert without.heads == ("chunker", "ner", "textcat") and "pos" not in without.corpora


@pytest.mark.parametrize("mixing", MIXINGS)
@pytest.mark.parametrize("sample", [0, 4, 0.25])
def test_each_corpus_is_passed_as_often_in_every_run(config, mixing, sample):
    mixed = copy.deepcopy(config)
    mixed["corpora"]["train"]["mixing"] = mixing
    mixed["corpora"]["train"]["corpora"]["pos"]["sample"] = sample
    comparison = Comparison(mixed, epochs=10)
    sizes = {name: found.docs for name, found in comparison.surveys.items()}
    assert len(set(sizes.values())) > 1
    together = comparison.reader.shares(sizes)
    runs = list(comparison.runs())
    assert len(runs) > 1
    for run in runs:
        found = comparison.config_of(run, 0, ROOT / "x.jsonl")
        assert found["training"]["max_epochs"] == 10
        reader = registry.resolve({"reader": found["corpora"]["train"]})["reader"]
        shares = reader.shares({name: sizes[name] for name in run.corpora})
        assert shares == {name: together[name] for name in run.corpora}, run.name


def test_tests_without_gold_are_refused_before_the_training(config, tmp_path):
    dev = config["corpora"]["dev"]["corpora"]
    picky = copy.deepcopy(config)
    picky["components"]["ner"]["corpora"] = ["ner"]
    # What no head knows by name is for all heads.
    comparison = Comparison(picky, epochs=1, tests={"wire": dev["ner"]["path"]})
    assert "ner" in comparison.tested["wire"] and "tagger" not in comparison.tested["wire"]
    empty = tmp_path / "empty.spacy"
    DocBin(docs=[Doc(Vocab(), words=["a"])]).to_disk(empty)
    with pytest.raises(ValueError, match="No gold for any of tagger, chunker, ner, textcat in"):
        Comparison(config, epochs=1, tests={"x": str(empty)})


def test_what_a_config_leaves_to_spacy_is_filled_in(config):
    short = copy.deepcopy(config)
    for name in ("frozen_components", "annotating_components", "patience", "logger"):
        del short["training"][name]
    del short["initialize"]
    comparison = Comparison(short, epochs=1)
    found = [comparison.config_of(run, 0, ROOT / "x.jsonl") for run in comparison.runs()]
    assert found and all(one["training"]["frozen_components"] == [] for one in found)


def test_each_run_looks_for_leaks_into_the_same_docs(config):
    leaky = copy.deepcopy(config)
    leaky["corpora"]["train"]["leaks"] = "drop"
    comparison = Comparison(leaky, tasks=["ner"], epochs=1, tests={"wire": comparison_path(config)})
    runs = list(comparison.runs())
    assert len(runs) > 1
    for run in runs:
        train = comparison.config_of(run, 0, ROOT / "x.jsonl")["corpora"]["train"]
        dev = {f"{name}_dev" for name in config["corpora"]["dev"]["corpora"]}
        assert set(train["held_out"]) == {*dev, "wire"}


def comparison_path(config):
    return config["corpora"]["dev"]["corpora"]["ner"]["path"]


def test_a_run_leaves_out_what_it_does_not_have(config):
    comparison = Comparison(config, epochs=2)
    without = next(r for r in comparison.runs() if r.name == "without: tagger")
    found = comparison.config_of(without, 7, ROOT / "x.jsonl")
    assert found["nlp"]["pipeline"] == ["transformer", "chunker", "ner", "textcat"]
    assert "tagger" not in found["components"]
    assert "pos" not in found["corpora"]["train"]["corpora"]
    assert "pos" not in found["corpora"]["dev"]["corpora"]
    assert found["training"]["seed"] == found["corpora"]["train"]["seed"] == 7
    assert "tagger" in config["components"], "the given config stays as it is"


def test_relations_alone_keep_the_entities_that_they_need(project, encoder_path):  # noqa: F811
    config = load_config(ROOT / "configs" / "relations.cfg", interpolate=False)
    config["paths"]["encoder"] = encoder_path
    for part in ("train", "dev"):
        path = str(project / "corpus" / f"relations-{part}.spacy")
        config["corpora"][part]["corpora"] = {"conll04": {"path": path}}
    comparison = Comparison(config.interpolate(), epochs=1)
    runs = {run.name: run.heads for run in comparison.runs()}
    assert runs == {"alone: ner": ("ner",), "alone: relations": ("ner", "relations")}
    # Relations alone are all there is, and without entities there is nothing.
    assert comparison.run_of(comparison.runs(), "all").name == "alone: relations"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": ["tager"]}, "'tager'.* learn: tagger, chunker, ner, textcat"),
        ({"kinds": ["both"]}, "alone, all, without, not both"),
        ({"epochs": -1}, "need a number of epochs"),
    ],
)
def test_wrong_options_are_refused(config, options, message):
    with pytest.raises(ValueError, match=message):
        Comparison(config, **options)


def test_effects_are_told_from_chance(config):
    comparison = Comparison(config, tasks=["tagger", "ner"], kinds=["alone", "all", "without"])
    runs = comparison.runs()
    bad, good = np.tile([1, 2, 2], (40, 1)), np.tile([2, 2, 2], (40, 1))

    def result(pos, ner):
        key = {"tagger on pos": pos, "ner on ner": ner}
        return [
            {k: {"score": "s", "value": c[:, 0].sum() / 80, "counts": c} for k, c in key.items()}
        ]

    results = {run.name: result(bad, bad) for run in runs}
    results["all"] = result(good, bad)
    found = {(e["task"], e["with"]): e["verdict"] for e in effects(comparison, runs, results)}
    assert found == {
        ("tagger on pos", "all others"): "gains",
        ("tagger on pos", "ner"): "gains",
        ("ner on ner", "all others"): "no difference",
        ("ner on ner", "tagger"): "no difference",
    }
    results["all"] = result(bad, bad)
    results["alone: tagger"] = result(good, good)
    verdicts = [e["verdict"] for e in effects(comparison, runs, results)]
    assert verdicts[0] == "loses"


def test_topics_and_second_heads_are_counted_too(config, tmp_path):
    config = copy.deepcopy(config)
    config["nlp"]["pipeline"] = ["transformer", "textcat", "ner"]
    for name in ("tagger", "chunker"):
        del config["components"][name]
    config["components"]["ner"]["spans_key"] = "second"
    comparison = Comparison(config, kinds=["all"], epochs=1)
    (run,) = comparison.runs()
    found = comparison.train_and_count(run, 0, tmp_path, gpu_id=-1)
    for key, score in (("textcat on topic", "cats_acc"), ("ner on ner", "spans_second_f")):
        assert found[key]["score"] == score
        right, own, gold = found[key]["counts"].sum(0)
        assert gold and 2 * right / (own + gold) == pytest.approx(found[key]["value"])


def test_the_command_trains_compares_and_reports(project, tmp_path):  # noqa: F811
    config = load_config(project / "config.cfg", interpolate=False)
    config["nlp"]["pipeline"] = ["transformer", "tagger", "ner"]
    for name in ("chunker", "textcat"):
        del config["components"][name]
    for part in ("train", "dev"):
        corpora = config["corpora"][part]["corpora"]
        config["corpora"][part]["corpora"] = {name: corpora[name] for name in ("pos", "ner")}
    config.to_disk(tmp_path / "config.cfg")
    arguments = [
        "compare", tmp_path / "config.cfg", "--output", tmp_path / "out.json", "--epochs", 2,
        "--seed", 0, "--seed", 1, "--models", tmp_path / "models", "--training.dropout", 0.0,
    ]  # fmt: skip
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "out.json").read_text())
    # With two tasks the one is what is left without the other.
    assert set(result["runs"]) == {"alone: tagger", "alone: ner", "all"}
    assert set(result["scores"]["all"]) == {"tagger on pos", "ner on ner"}
    assert all(len(s["seeds"]) == 2 for run in result["scores"].values() for s in run.values())
    assert [(e["task"], e["with"]) for e in result["effects"]] == [
        ("tagger on pos", "all others"), ("tagger on pos", "ner"),
        ("ner on ner", "all others"), ("ner on ner", "tagger"),
    ]  # fmt: skip
    assert -1 <= result["conflict"]["all"]["tagger - ner"] <= 1
    assert (tmp_path / "models" / "all-1" / "model-last" / "config.cfg").exists()
    assert (tmp_path / "models" / "all-1" / "log.jsonl").exists()
    assert "together with" in done.output and "Cosines of gradients, all" in done.output
