"""Every shipped config and every registered name."""

import configparser
import pkgutil
from importlib import import_module
from pathlib import Path

import catalogue
import pytest
import spacy
from spacy.training.initialize import init_nlp
from spacy.training.loop import train
from spacy.util import load_config, registry

import spacy_multitask
from spacy_multitask.heads.kinds import HeadKind, all_kinds
from tests.integration.conftest import write_corpora

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "configs").glob("*.cfg"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_shipped_configs_train(path, encoder_path, tmp_path, capsys):
    write_corpora(tmp_path / "corpus")
    config = load_config(path)
    config["paths"].update(encoder=encoder_path, corpus=str(tmp_path / "corpus"))
    config["components"]["transformer"]["model"]["overlap"] = 8
    config["training"].update(max_epochs=1, eval_frequency=2)
    if "parser" in config["components"]:
        # spaCy's default leaves out what is seen less than 30 times, here everything.
        config["components"]["parser"]["min_action_freq"] = 1
    # Nothing is filled in: the file is complete.
    nlp = spacy.util.load_model_from_config(config, auto_fill=False)
    assert nlp.pipe_names == config["nlp"]["pipeline"]
    nlp = init_nlp(config)
    (tmp_path / "out").mkdir()
    train(nlp, tmp_path / "out")
    doc = spacy.load(tmp_path / "out" / "model-last")("Mr Smith loves New York")
    assert len(doc) == 5
    assert abs(sum(v or 0 for v in config["training"]["score_weights"].values()) - 1) < 1e-6


def entry_points() -> list[tuple[str, str, str]]:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    rows = []
    for group, lines in parser["options.entry_points"].items():
        for line in lines.strip().splitlines():
            name, target = (part.strip() for part in line.split("="))
            rows.append((group, name, target))
    return rows


@pytest.mark.parametrize(("group", "name", "target"), entry_points())
def test_registered_names_resolve(group, name, target):
    module, _, attribute = target.partition(":")
    found = import_module(module)
    if attribute:
        found = getattr(found, attribute)
    kind = group.removeprefix("spacy_").removeprefix("thinc_")
    if kind == "factories":
        assert name in registry.factories
    elif kind == "multitask_head_kinds":
        assert found in all_kinds()
    else:
        assert registry.get(kind, name) is not None


def test_every_registered_function_has_an_entry_point():
    """Without one, a pipeline would load only where something else imports the module."""
    for module in pkgutil.walk_packages(spacy_multitask.__path__, "spacy_multitask."):
        # What an engine needs may not be installed.
        if not module.name.endswith(("__main__", "engines.on_ray", "engines.on_spark")):
            import_module(module.name)
    # catalogue: (library, registry, name) -> function
    registered = {
        key[-1]
        for key, function in catalogue.REGISTRY.items()
        if (getattr(function, "__module__", None) or "").startswith("spacy_multitask.")
        and not isinstance(function, HeadKind)
    }
    others = ("spacy_cli", "spacy_multitask_head_kinds")
    named = {name for group, name, _ in entry_points() if group not in others}
    # A search registers its logger for its own trials.
    assert registered - named <= {"multitask_trial"}
    assert named - registered - set(registry.factories.get_all()) == set()
