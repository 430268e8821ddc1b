"""What comes from others, a model folder or a corpus, is read and never run."""

import json
import shutil

import spacy
import srsly
from spacy.tokens import Doc, DocBin, Span

from spacy_multitask.report.page import build_report
from tests.conftest import TEXTS, predictions
from tests.integration.test_kept_pipelines import DATA

HOSTILE = "<img src=x onerror=alert(1)>\"'&"


def test_code_in_a_model_folder_is_not_run(tmp_path):
    shutil.copytree(DATA / "0.1.0", tmp_path / "model")
    folder = tmp_path / "model" / "transformer" / "model"
    marker = tmp_path / "was_run"
    (folder / "evil.py").write_text(f"open({str(marker)!r}, 'w').close()\n", encoding="utf8")
    for name, auto_map in (
        ("config.json", {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}),
        ("tokenizer_config.json", {"AutoTokenizer": ["evil.Tokenizer", "evil.Fast"]}),
    ):
        settings = json.loads((folder / name).read_text(encoding="utf8"))
        srsly.write_json(folder / name, {**settings, "auto_map": auto_map})
    (folder / "manifest.json").unlink(missing_ok=True)  # who changes the files changes this, too
    try:
        spacy.load(tmp_path / "model")(TEXTS[0])
    except ValueError:
        pass  # a refusal is as good
    assert not marker.exists()


def test_everything_of_a_corpus_is_escaped_in_the_report(trained, tmp_path):
    doc = Doc(trained.vocab, words=[HOSTILE, "b"], tags=[HOSTILE, "NN"])
    doc.set_ents([Span(doc, 0, 1, label=HOSTILE)])
    doc.spans["np"] = [Span(doc, 0, 2, label=HOSTILE)]
    doc.cats = {HOSTILE: 1.0, "Sports": 0.0}
    DocBin(docs=[doc], store_user_data=True).to_disk(tmp_path / "corpus.spacy")
    line = {"epoch": 0, "step": 1, "losses": {HOSTILE: 1.0}, "scores": {f"{HOSTILE}_f": 0.5}}
    srsly.write_jsonl(tmp_path / "log.jsonl", [{**line, "weights": {HOSTILE: 1.0}}])
    page = build_report(
        trained,
        {HOSTILE: str(tmp_path / "corpus.spacy")},
        title=HOSTILE,
        log=tmp_path / "log.jsonl",
    )
    assert "onerror=alert" in page, "it is shown as text"
    assert "<img" not in page


def test_memory_zones_free_words_and_leave_what_the_pipeline_needs(trained):
    texts = ["Zoneword loves New York", *TEXTS]
    expected = predictions(trained.pipe(TEXTS))
    n_strings = len(trained.vocab.strings)
    for _ in range(2):  # the second time the pieces are cached, and the strings are gone
        with trained.memory_zone():
            assert predictions(trained.pipe(texts))[1:] == expected
        assert len(trained.vocab.strings) == n_strings
        assert "Zoneword" not in trained.vocab.strings
    assert predictions(trained.pipe(TEXTS)) == expected
