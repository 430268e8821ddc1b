"""A training goes on only if it is the one that began."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import spacy
from safetensors.torch import load_file, save_file
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from spacy.training.initialize import init_nlp
from spacy.util import load_config

from spacy_multitask.training.from_python import train
from spacy_multitask.training.run import Past
from spacy_multitask.training.sameness import checksum_of_gold
from tests.conftest import write_encoder
from tests.integration.conftest import ROOT, write_corpora


def config_of(folder: Path, **training):
    config = load_config(ROOT / "configs" / "demo.cfg", interpolate=False)
    config["paths"] = {"corpus": str(folder / "corpus"), "encoder": str(folder / "encoder")}
    config["components"]["transformer"]["model"]["overlap"] = 8
    config["training"]["batcher"]["max_words"] = 25
    config["training"]["logger"] = {
        "@loggers": "spacy_multitask.Logger.v1",
        "plan": False,
        "progress_bar": False,
        "output_file": str(folder / "log.jsonl"),
    }
    config["training"].update(max_epochs=0, max_steps=2, eval_frequency=100, **training)
    return config


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    """RETURNS (Path): A folder with corpora, encoder and a training that is done."""
    folder = tmp_path_factory.mktemp("done")
    write_corpora(folder / "corpus")
    write_encoder(folder / "encoder")
    train(config_of(folder), folder / "out")
    return folder


@pytest.fixture
def folder(done, tmp_path) -> Path:
    shutil.copytree(done, tmp_path / "copy")
    return tmp_path / "copy"


def rewrite(file: Path, change: Callable[[list[Doc]], object]) -> None:
    docs = list(DocBin().from_disk(file).get_docs(spacy.blank("en").vocab))
    change(docs)
    DocBin(docs=docs, store_user_data=True).to_disk(file)


def other_tags(folder: Path) -> str:
    def retag(docs):
        docs[-1][0].tag_, docs[-1][1].tag_ = docs[-1][1].tag_, "DT"

    rewrite(folder / "corpus" / "pos-train.spacy", retag)
    return "the training part of 'pos'"


def swapped_topics(folder: Path) -> str:
    def swap(docs):
        docs[0].cats, docs[1].cats = docs[1].cats, docs[0].cats

    rewrite(folder / "corpus" / "topic-train.spacy", swap)
    return "the training part of 'topic'"


def another_order(folder: Path) -> str:
    rewrite(folder / "corpus" / "ner-train.spacy", lambda docs: docs.reverse())
    return "the training part of 'ner'"


def another_development_part(folder: Path) -> str:
    rewrite(folder / "corpus" / "chunk-dev.spacy", lambda docs: docs.pop())
    return "the development part of 'chunk'"


def another_encoder(folder: Path) -> str:
    """Under the same path, of the same size."""
    file = folder / "encoder" / "model.safetensors"
    tensors = load_file(file)
    tensors["embeddings.LayerNorm.bias"][3] += 0.5
    save_file(tensors, file, metadata={"format": "pt"})
    return "the pretrained encoder of 'transformer'"


def another_tokenizer(folder: Path) -> str:
    file = folder / "encoder" / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    vocab = tokenizer["model"]["vocab"]
    vocab["mr"], vocab["smith"] = vocab.get("smith", 0), vocab.get("mr", 1)
    file.write_text(json.dumps(tokenizer))
    return "the tokenizer of 'transformer'"


@pytest.mark.parametrize(
    "change",
    [
        other_tags,
        swapped_topics,
        another_order,
        another_development_part,
        another_encoder,
        another_tokenizer,
    ],
)
def test_what_is_no_longer_the_same_is_named(folder, change):
    name = change(folder)
    with pytest.raises(ValueError, match=f"with other data: [^.]*{name}.*what it was") as error:
        train(config_of(folder), folder / "out", resume=True)
    assert "--overwrite" in str(error.value)
    others = {"'pos'", "'topic'", "'ner'", "'chunk'", "encoder"} - set(name.split())
    assert not [other for other in others if other in str(error.value).split("other data")[1]]


def test_labels_from_another_file_are_named(folder, tmp_path):
    config = config_of(folder)
    labels = init_nlp(config).get_pipe("tagger").label_data
    config["initialize"]["components"]["tagger"] = {
        "labels": {"@readers": "spacy.read_labels.v1", "path": str(tmp_path / "labels.json")}
    }
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    train(config, folder / "labelled")
    (tmp_path / "labels.json").write_text(json.dumps({**labels, "tags": labels["tags"][::-1]}))
    with pytest.raises(ValueError, match="the labels of 'tagger'"):
        train(config, folder / "labelled", resume=True)


def test_what_is_the_same_elsewhere_goes_on(folder, monkeypatch):
    meta = (folder / "out" / "model-last" / "meta.json").read_bytes()
    monkeypatch.setattr(spacy.Language, "evaluate", None)  # the end was looked at before
    train(config_of(folder), folder / "out", resume=True)
    assert (folder / "out" / "model-last" / "meta.json").read_bytes() == meta


def test_a_training_is_extended_on_purpose(folder):
    longer = config_of(folder)
    longer["training"]["max_steps"] = 4
    with pytest.raises(ValueError, match=r"max_steps was 2 and is 4\. --extend lets"):
        train(longer, folder / "out", resume=True)
    train(longer, folder / "out", resume=True, extend=True)
    past = Past(folder / "out" / "checkpoint.safetensors")
    assert past.step == 4
    # The first step, the one that was the last, the one that is.
    assert [found["step"] for found in past.notes["evaluations"]] == [0, 2, 4]
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 2, 4]
    again = config_of(folder)
    with pytest.raises(ValueError, match=r"max_steps was 4 and is 2\. It can only grow"):
        train(again, folder / "out", resume=True, extend=True)


def test_the_best_end_of_before_stays_the_best(folder, monkeypatch):
    """An evaluation that spaCy's loop does not know of."""
    best = (folder / "out" / "model-best" / "meta.json").read_bytes()
    past = Past(folder / "out" / "checkpoint.safetensors")
    scores = [found["score"] for found in past.notes["evaluations"]]
    monkeypatch.setattr(spacy.Language, "evaluate", lambda *_: {"tag_acc": min(scores) / 2 - 0.1})
    longer = config_of(folder)
    longer["training"]["max_steps"], longer["training"]["eval_frequency"] = 4, 100
    train(longer, folder / "out", resume=True, extend=True)
    assert (folder / "out" / "model-best" / "meta.json").read_bytes() == best


@pytest.mark.parametrize(
    ("options", "message"),
    [({"extend": True}, "give --resume, too"), ({"resume": True, "overwrite": True}, "give one")],
)
def test_options_that_contradict_each_other_are_refused(folder, options, message):
    with pytest.raises(ValueError, match=message):
        train(config_of(folder), folder / "out", **options)


@pytest.mark.parametrize(
    "change",
    [
        lambda doc: doc.spans.pop("np"),
        lambda doc: doc.cats.update(A=0.0),
        lambda doc: doc.set_ents([], default="outside"),
        lambda doc: setattr(doc[0], "tag_", "NN"),
        lambda doc: setattr(doc[1], "lemma_", "x"),
    ],
)
def test_other_gold_has_another_checksum(change):
    def make() -> Doc:
        doc = Doc(spacy.blank("en").vocab, words=["Smith", "won"], tags=["NNP", "VBD"])
        doc.set_ents([doc.char_span(0, 5, label="PER")], default="outside")
        doc.spans["np"] = [doc.char_span(0, 5, label="NP")]
        doc.cats = {"A": 1.0}
        return doc

    def checksum(doc: Doc) -> int:
        return checksum_of_gold([Example(Doc(doc.vocab, words=["Smith", "won"]), doc)])

    other = make()
    change(other)
    assert checksum(make()) == checksum(make()) != checksum(other)
