"""The options of the training craft, all at once, as a config file has them."""

import io
from typing import Any

import spacy
import srsly
from spacy.training.initialize import init_nlp
from spacy.training.loop import train
from spacy.util import load_config

from tests.integration.conftest import ROOT, write_corpora

UNCERTAINTY = {"@misc": "spacy_multitask.uncertainty_weight.v1", "rate": 5.0}
OPTIONS: dict[str, dict[str, Any]] = {
    "components.tagger": {
        "balance": UNCERTAINTY,
        "class_weights": {"NNP": 2.0},
        "label_smoothing": 0.05,
    },
    "components.chunker": {"balance": UNCERTAINTY, "crf": True},
    "components.ner": {"crf": True},
    "components.textcat": {"loss_weight": 0.5, "class_weights": {"Sports": 2.0}},
    "corpora.train": {"mixing": "temperature"},
    "corpora.train.corpora.pos": {"sample": 0.5},
    "corpora.train.corpora.ner": {"sample": 4},
    "training": {"max_epochs": 3, "eval_frequency": 4},
    "training.optimizer": {
        "use_averages": True,
        "layer_decay": 0.9,
        "new_lr_scale": 2.0,
    },
}


def test_a_training_with_every_option_is_saved_and_loaded(encoder_path, tmp_path):
    write_corpora(tmp_path / "corpus")
    config = load_config(ROOT / "configs" / "demo.cfg")
    for name, options in OPTIONS.items():
        section = config
        for part in name.split("."):
            section = section[part]
        section.update(options)
    config["paths"].update(encoder=encoder_path, corpus=str(tmp_path / "corpus"))
    config["components"]["transformer"]["model"]["overlap"] = 8
    config["training"]["logger"]["output_file"] = str(tmp_path / "log.jsonl")
    config.to_disk(tmp_path / "config.cfg")
    nlp = init_nlp(load_config(tmp_path / "config.cfg"))
    (tmp_path / "out").mkdir()
    stdout = io.StringIO()
    train(nlp, tmp_path / "out", stdout=stdout)
    assert "w(chunker)" in stdout.getvalue()
    *_, line = srsly.read_jsonl(tmp_path / "log.jsonl")
    assert set(line["weights"]) == {"tagger", "chunker"}
    assert line["weights"]["tagger"] != 1.0
    loaded = spacy.load(tmp_path / "out" / "model-last")
    assert loaded.get_pipe("tagger").weight != 1.0
    for head in ("chunker", "ner"):
        assert loaded.get_pipe(head).module.transitions is not None
    again = spacy.blank("en").from_config(loaded.config).from_bytes(loaded.to_bytes())
    one, other = (nlp("Mr Smith loves New York") for nlp in (loaded, again))
    assert [t.tag_ for t in one] == [t.tag_ for t in other]
    assert one.cats == other.cats
    assert [str(s) for s in one.spans["np"]] == [str(s) for s in other.spans["np"]]
