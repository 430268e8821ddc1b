"""From labels that another model gave to texts, in a file, to a pipeline of our own: no network."""

import pytest
import spacy
from spacy.tokens import Doc, DocBin, Span

import spacy_multitask
from spacy_multitask import compose

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

# What a language model has said, with its doubts.
SAID = [
    ("Anna loves Lyon", [("Anna", "PER", 0.95), ("Lyon", "LOC", 0.9)]),
    ("Smith left Rome", [("Smith", "PER", 0.9), ("Rome", "LOC", 0.97)]),
    ("the town was old", []),
    ("Brown met Smith", [("Brown", "PER", 0.8), ("Smith", "PER", 0.99)]),
]
LABELLED = ["Reuters", "praised", "York"]  # by people


def test_a_pipeline_learns_what_a_file_says_of_texts(encoder_path, tmp_path, capsys):
    nlp = spacy.blank("en")
    rows = []
    for text, found in SAID:
        places = [(text.index(name), text.index(name) + len(name), *rest) for name, *rest in found]
        names = ("start", "end", "label", "score")
        rows.append({"text": text, "spans": [dict(zip(names, place)) for place in places]})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "said.parquet")
    texts = DocBin(docs=[nlp.make_doc(text) for text, _ in SAID] * 4)
    texts.to_disk(tmp_path / "texts.spacy")
    gold = Doc(nlp.vocab, words=LABELLED)
    gold.set_ents([Span(gold, 0, 1, label="ORG"), Span(gold, 2, 3, label="LOC")])
    other = Doc(nlp.vocab, words=["Anna"], ents=["B-PER"])
    for part in ("train", "dev"):
        DocBin(docs=[gold, other]).to_disk(tmp_path / f"few-{part}.spacy")

    config = compose(encoder_path, {"ents": ("ner", tmp_path / "few")}, epochs=20, batch_words=12)
    config["components"]["transformer"]["model"]["overlap"] = 8
    config["corpora"]["train"]["corpora"]["texts"] = {"path": str(tmp_path / "texts.spacy")}
    config["initialize"]["components"]["ents"]["teacher"] = str(tmp_path / "said.parquet")
    config["training"]["eval_frequency"] = 100
    trained = spacy_multitask.train(config, tmp_path / "out")
    printed = capsys.readouterr().out.replace("\n", " ")
    assert "No head learns from gold of texts. ents: a teacher labels what has no gold." in printed

    for text, found in SAID:
        # The file knows no ORG, so where it is silent nothing is known: that comes from the gold.
        own = {(ent.text, ent.label_) for ent in trained(text).ents}
        assert own >= {(name, label) for name, label, _ in found}
    assert trained.get_pipe("ents").labels == ("LOC", "ORG", "PER"), "those of the gold"
    saved = spacy.load(tmp_path / "out" / "model-last")
    assert saved.get_pipe("ents").teacher is None
