"""spaCy's own commands on our config."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import spacy
from spacy.cli._util import app
from spacy.tokens import DocBin
from spacy.training.initialize import init_nlp
from typer.testing import CliRunner


def run(*arguments: object, ok: bool = True) -> str:
    """RETURNS (str): What the command printed."""
    spacy.util.registry.cli.get_all()  # loads the commands of installed packages, as spaCy does
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if ok and result.exit_code:
        raise AssertionError(result.output) from result.exception
    return result.output


@pytest.fixture(scope="module")
def model(project: Path) -> Path:
    """RETURNS (Path): What `spacy train` made."""
    run("train", project / "config.cfg", "--output", project / "out")
    return project / "out" / "model-best"


def test_train_scores_every_head_on_its_own_corpus(model):
    performance = json.loads((model / "meta.json").read_text())["performance"]
    for key in ("tag_acc", "spans_np_f", "ents_f", "cats_acc"):
        assert performance[key] > 0.5, key
    for head in ("tagger", "chunker", "ner", "textcat", "transformer"):
        assert performance[f"{head}_loss"] > 0, head


def test_evaluate(model, project):
    output = project / "evaluate.json"
    run("evaluate", model, project / "corpus" / "pos-dev.spacy", "--output", output)
    scores = json.loads(output.read_text())
    assert scores["tag_acc"] > 0.5
    assert scores["ents_f"] is None and scores["spans_np_f"] is None, "unknown is not scored"


def test_multitask_evaluate(model, project):
    output = project / "metrics" / "all.json"
    corpora = [
        argument
        for name in ("pos", "chunk", "ner", "topic")
        for argument in ("--corpus", f"{name}={project}/corpus/{name}-dev.spacy")
    ]
    corpora += ["--corpus", f"again={project}/corpus/ner-dev.spacy"]  # a second test set
    printed = run("multitask", "evaluate", model, *corpora, "--output", output, "--labels")
    scores = json.loads(output.read_text())
    assert set(scores) == {"pos", "chunk", "ner", "topic", "again"}
    assert scores["again"]["ents_f"] == scores["ner"]["ents_f"]
    assert "ner ents_f" in printed and "PER" in printed and "precision" in printed
    low, high = scores["ner"]["labels"]["ents_f"]["PER"]["interval"]
    assert 0 <= low <= scores["ner"]["labels"]["ents_f"]["PER"]["f"] <= high <= 1
    assert scores["chunk"]["spans_np_f"] > 0.5 and "spans_np_f" in printed


def test_package_makes_a_package_that_requires_this_one(model, project):
    (project / "packages").mkdir()
    run("package", model, project / "packages", "--name", "multitask", "--build", "none")
    folder = project / "packages" / "en_multitask-0.0.0"
    meta = json.loads((folder / "meta.json").read_text())
    assert any(r.startswith("spacy_multitask") for r in meta["requirements"]), meta["requirements"]
    doc = spacy.load(folder / "en_multitask" / folder.name)("Mr Smith loves New York")
    assert [t.tag_ for t in doc] == ["NNP", "NNP", "VBZ", "NNP", "NNP"]


def test_assemble(model, project):
    config = spacy.util.load_config(model / "config.cfg")
    for name in config["components"]:
        config["components"][name] = {"source": str(model)}
    config["initialize"]["components"] = {}
    config.to_disk(project / "assemble.cfg")
    run("assemble", project / "assemble.cfg", project / "assembled")
    text = "Mr Smith loves New York"
    ours, theirs = spacy.load(project / "assembled")(text), spacy.load(model)(text)
    assert ours.to_json() == theirs.to_json()
    assert ours.cats == theirs.cats


def test_apply(model, project):
    (project / "texts.jsonl").write_text(
        '{"text": "Mr Smith loves New York"}\n{"text": "The old town"}\n'
    )
    run("apply", model, project / "texts.jsonl", project / "applied.spacy", "--batch-size", 2)
    nlp = spacy.load(model)
    docs = list(DocBin().from_disk(project / "applied.spacy").get_docs(nlp.vocab))
    assert [t.tag_ for t in docs[0]] == ["NNP", "NNP", "VBZ", "NNP", "NNP"]
    assert all("np" in doc.spans and doc.cats for doc in docs)


def test_benchmark_speed(model, project):
    printed = run(
        "benchmark", "speed", model, project / "corpus" / "pos-train.spacy", "--batches", 30
    )
    assert "Mean:" in printed and "words/s" in printed


def test_debug_config(project):
    assert "Config is valid" in run("debug", "config", project / "config.cfg")


def test_debug_data(project):
    # It fails for the tiny corpora's size and overlap, not for our components.
    printed = run("debug", "data", project / "config.cfg", ok=False)
    assert "Pipeline can be initialized with data" in printed
    assert "Corpus is loadable" in printed


def test_fill_config(project):
    run("init", "fill-config", project / "config.cfg", project / "filled.cfg")
    filled = spacy.util.load_config(project / "filled.cfg")
    assert filled["components"]["tagger"]["model"]["tok2vec"]["@architectures"]
    assert spacy.util.load_model_from_config(filled, auto_fill=False).pipe_names


def test_init_labels_are_used(project):
    run("init", "labels", project / "config.cfg", project / "labels")
    labels = json.loads((project / "labels" / "ner.json").read_text())
    assert "PER" in json.dumps(labels)
    config = spacy.util.load_config(project / "config.cfg")
    for head in ("tagger", "chunker", "ner", "textcat"):
        reader = {"@readers": "spacy.read_labels.v1", "path": f"{project}/labels/{head}.json"}
        config.setdefault("initialize", {}).setdefault("components", {})[head] = {"labels": reader}
    config["initialize"]["components"]["ner"]["labels"]["path"] = f"{project}/labels/chunker.json"
    nlp = init_nlp(config)
    assert "NP" in json.dumps(nlp.get_pipe("ner").label_data), "the file decides, not the corpus"


def test_find_threshold(project):
    config = spacy.util.load_config(project / "config.cfg")
    config["nlp"]["pipeline"] = ["transformer", "textcat"]
    config["components"]["textcat"]["exclusive_classes"] = False
    for name in ("tagger", "chunker", "ner"):
        del config["components"][name]
    for part in ("train", "dev"):
        config["corpora"][part]["corpora"] = {"topic": config["corpora"][part]["corpora"]["topic"]}
    config.to_disk(project / "multilabel.cfg")
    run("train", project / "multilabel.cfg", "--output", project / "multilabel")
    printed = run(
        "find-threshold", project / "multilabel" / "model-best",
        project / "corpus" / "topic-dev.spacy", "textcat", "threshold", "cats_macro_f",
    )  # fmt: skip
    assert "Best threshold" in printed


def run_code(code: str, **environment: str) -> str:
    """RETURNS (str): What a fresh process printed. A hang is a failure, not a wait."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment},
        start_new_session=True,
    )
    try:
        printed, _ = process.communicate(timeout=300)  # a busy machine takes its time
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0, printed
    return printed


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_predict_the_same(model, method, tmp_path):
    script = f"""
        import multiprocessing, spacy
        if __name__ == "__main__":
            multiprocessing.set_start_method({method!r})
            nlp = spacy.load({str(model)!r})
            texts = ["Mr Smith loves New York", "", "IBM made a lot of profit."] * 3
            def seen(docs):
                return [
                    (doc.to_json()["tokens"], doc.to_json()["ents"], doc.to_json()["spans"],
                     [(label, round(p, 4)) for label, p in doc.cats.items()])
                    for doc in docs
                ]
            here = seen(nlp.pipe(texts, batch_size=2))
            print(nlp.get_pipe("transformer").shim.encoder.device, flush=True)
            there = seen(nlp.pipe(texts, n_process=2, batch_size=2))
            assert here == there, (here, there)
            print("same")
    """
    file = tmp_path / "script.py"
    file.write_text(textwrap.dedent(script))
    # More than one thread, since that is what hangs after a fork.
    printed = run_code(f"import runpy; runpy.run_path({str(file)!r}, run_name='__main__')",
                       OMP_NUM_THREADS="2")  # fmt: skip
    assert printed.split() == ["cpu", "same"], "nothing else, such as a warning"


def test_offline_in_a_fresh_process(model, tmp_path):
    """Nothing of the folder that the encoder came from is needed, nor the network."""
    code = f"""
        import socket
        def refuse(*a, **k): raise OSError("no network")
        socket.socket.connect = refuse
        import spacy
        doc = spacy.load({str(model)!r})("Mr Smith loves New York")
        print([t.tag_ for t in doc], len(doc.spans["np"]), sorted(doc.cats))
    """
    printed = run_code(code, HOME=str(tmp_path))
    assert "['NNP', 'NNP', 'VBZ', 'NNP', 'NNP'] 3 ['Business', 'Sports']" in printed
