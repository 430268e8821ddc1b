"""A project in a folder: corpora of one task each, and the demo config on a tiny encoder."""

from pathlib import Path

import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.util import load_config

from spacy_multitask.relations import set_relations
from tests.conftest import corpus

ROOT = Path(__file__).parents[2]


def write_corpora(folder: Path) -> None:
    nlp = spacy.blank("en")
    docs = [eg.reference for eg in corpus(nlp)]
    parts = {
        "pos": [d for d in docs if d.has_annotation("TAG")],
        "chunk": [d for d in docs if "np" in d.spans],
        "ner": [d for d in docs if d.has_annotation("ENT_IOB")],
        "topic": [d for d in docs if d.cats],
    }
    folder.mkdir(parents=True, exist_ok=True)
    related = [d.copy() for d in parts["ner"] if len(d.ents) > 1]
    for doc in related:
        set_relations(doc, [(doc.ents[0], doc.ents[1], "Live_In", 1.0)])
    parts["relations"] = related
    parts["ud"] = [parsed(nlp)]
    for name, part in parts.items():
        assert part
        for split, times in (("train", 6), ("dev", 1)):
            DocBin(docs=part * times, store_user_data=True).to_disk(
                folder / f"{name}-{split}.spacy"
            )


def parsed(nlp: Language) -> Doc:
    """RETURNS (Doc): Two sentences with all that Universal Dependencies annotates."""
    return Doc(
        nlp.vocab,
        words=["Mr", "Smith", "loves", "New", "York", "It", "grew"],
        tags=["NNP", "NNP", "VBZ", "NNP", "NNP", "PRP", "VBD"],
        pos=["PROPN", "PROPN", "VERB", "PROPN", "PROPN", "PRON", "VERB"],
        morphs=["Number=Sing", "Number=Sing", "Tense=Pres", "Number=Sing", "Number=Sing"]
        + ["Person=3", "Tense=Past"],
        lemmas=["Mr", "Smith", "love", "New", "York", "it", "grow"],
        heads=[1, 2, 2, 4, 2, 6, 6],
        deps=["compound", "nsubj", "ROOT", "compound", "obj", "nsubj", "ROOT"],
    )


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory, encoder_path: str) -> Path:
    """RETURNS (Path): A folder with `config.cfg` and `corpus/`."""
    folder = tmp_path_factory.mktemp("project")
    write_corpora(folder / "corpus")
    config = load_config(ROOT / "configs" / "demo.cfg", interpolate=False)
    config["paths"]["encoder"] = encoder_path
    config["paths"]["corpus"] = str(folder / "corpus")
    config["components"]["transformer"]["model"]["overlap"] = 8
    config["training"]["batcher"]["max_words"] = 25
    config["training"]["max_epochs"] = 15
    config["training"]["eval_frequency"] = 50
    config["training"]["optimizer"]["learn_rate"]["learn_rate"] = 0.005
    config["training"]["optimizer"]["head_learn_rate"]["learn_rate"] = 0.01
    config.to_disk(folder / "config.cfg")
    return folder
