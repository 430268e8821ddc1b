"""Annotated folders: complete, in order, each doc once; whatever happens on the way."""

import json
import os
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import spacy
from spacy.tokens import DocBin

from spacy_multitask import annotate, annotate_batch
from spacy_multitask.annotation import docs, shards
from spacy_multitask.annotation.addresses import Store
from spacy_multitask.annotation.run import TooManyErrors
from spacy_multitask.annotation.schema import VERSION_KEY
from spacy_multitask.annotation.shards import KILLED, Annotator
from tests.annotation.conftest import TEXTS, errors_in, rounded, rows_of, write_texts


def test_rows_are_what_the_pipeline_says(model, texts, tmp_path):
    summary = annotate(model, texts, tmp_path / "out", shard_docs=16, probs=True)
    nlp = spacy.load(model, config={f"components.{n}.probs": True for n in ("tagger", "ner")})
    rows = summary.dataset().to_table().to_pylist()
    assert [row["id"] for row in rows] == [f"d{i}" for i in range(40)]
    assert [row["year"] for row in rows] == list(range(1990, 2030))
    for row in rows[:4]:
        doc = nlp(row["text"])
        assert [(t["start"], t["end"]) for t in row["tokens"]] == [
            (t.idx, t.idx + len(t)) for t in doc
        ]
        assert row["tags"] == [t.tag_ for t in doc]
        assert rounded(row["tag_probs"]) == rounded([t._.tag_prob for t in doc])
        assert [(e["start"], e["end"], e["label"]) for e in row["entities"]] == [
            (e.start_char, e.end_char, e.label_) for e in doc.ents
        ]
        assert rounded([e["prob"] for e in row["entities"]]) == rounded(
            [e._.prob for e in doc.ents]
        )
        assert len(row["chunks"]) == len(doc.spans["np"])
        assert rounded({t["label"]: t["prob"] for t in row["topics"]}) == rounded(doc.cats)
        assert row["topics"][0]["prob"] == max(t["prob"] for t in row["topics"])
    total = summary.total
    assert (total.docs, total.words) == (40, sum(len(row["tokens"]) for row in rows))
    assert sum(total.labels["tags"].values()) == total.words
    assert sum(total.labels["topics"].values()) == 40
    assert pq.read_schema(summary.files[0].removeprefix("file://")).metadata[VERSION_KEY] == b"1"
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["docs"] == 40
    assert "tags: NNP" in summary.render()


def test_a_second_run_does_nothing_and_another_one_is_refused(
    model, trained, texts, tmp_path, undisturbed, monkeypatch
):
    out = tmp_path / "out"
    assert rows_of(annotate(model, texts, out, shard_docs=10)) == undisturbed
    before = {path: path.stat().st_mtime_ns for path in (out / "data").iterdir()}
    monkeypatch.setattr(shards.spacy, "load", None)  # not even a pipeline is loaded
    assert rows_of(annotate(model, texts, out, shard_docs=10)) == undisturbed
    monkeypatch.undo()
    assert {path: path.stat().st_mtime_ns for path in (out / "data").iterdir()} == before
    with pytest.raises(ValueError, match=r"was begun with probs = False. Give the same"):
        annotate(model, texts, out, shard_docs=10, probs=True)
    other = write_texts(tmp_path / "other.jsonl", 40, d7="Another one")
    with pytest.raises(ValueError, match=r"begun with other input \(other.jsonl, texts.jsonl\)"):
        annotate(model, other, out, shard_docs=10)
    trained.to_disk(tmp_path / "model")
    (tmp_path / "model" / "meta.json").write_text("{}")
    with pytest.raises(ValueError, match=r"begun with another model \(.*tiny\)"):
        annotate(tmp_path / "model", texts, out, shard_docs=10)
    assert rows_of(annotate(model, texts, out, shard_docs=20, overwrite=True)) == undisturbed
    assert len(list((out / "data").iterdir())) == 2


def test_a_folder_with_other_files_is_refused(model, texts, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"has other files \(thesis.tex\)"):
        annotate(model, texts, tmp_path / "out")


RUN = "import sys; from spacy_multitask import annotate; annotate(*sys.argv[1:4], shard_docs=10)"


def test_a_killed_run_goes_on(model, texts, tmp_path, undisturbed):
    out = tmp_path / "out"
    child = subprocess.Popen([sys.executable, "-c", RUN, model, str(texts), str(out)])
    while len(Store(str(out)).names("data")) <= 2 and child.poll() is None:
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.wait()
    done = {p: p.stat().st_mtime_ns for p in (out / "data").glob("part-*")}
    assert rows_of(annotate(model, texts, out, shard_docs=10)) == undisturbed
    assert all(path.stat().st_mtime_ns == time for path, time in done.items())
    assert {path.name for path in (out / "data").iterdir()} == {
        f"part-{n:06d}.parquet" for n in range(4)
    }
    assert not list((out / "shards").glob("*.tries"))


def test_a_shard_whose_process_died_is_done_again_in_parts(
    model, texts, tmp_path, undisturbed, monkeypatch
):
    """What a process that dies leaves is the count of tries."""
    out = tmp_path / "out"
    monkeypatch.setattr(shards.Annotator, "_annotate", _die)
    for tries in (1, 2):
        with pytest.raises(Death):
            annotate(model, texts, out, shard_docs=10)
        Store(str(out)).write("shards/000000.tries", tries)
    monkeypatch.undo()
    summary = annotate(model, texts, out, shard_docs=10)
    assert rows_of(summary) == undisturbed
    assert summary.total.docs == 40 and summary.total.words == sum(
        len(row["tokens"]) for row in undisturbed
    )
    assert sorted(path.name for path in (out / "shards").iterdir()) == [
        f"{n:06d}.json" for n in range(4)
    ]


class Death(Exception):
    pass


def _die(*args):
    raise Death


@pytest.mark.parametrize("to", ["parquet", "spacy"])
def test_a_doc_that_kills_is_skipped_and_named(model, tmp_path, to, monkeypatch):
    texts = write_texts(tmp_path / "texts.jsonl", 20, d13="deadly")
    annotate_one = shards.annotate_texts

    def killing(nlp, given):
        if "deadly" in given:
            raise Death
        return annotate_one(nlp, given)

    monkeypatch.setattr(shards, "annotate_texts", killing)
    # As a killed process, it leaves the count of tries.
    remove = Store.remove
    kept = lambda self, name: None if sys.exc_info()[0] is Death else remove(self, name)  # noqa: E731
    monkeypatch.setattr(Store, "remove", kept)
    deaths = 0
    while True:
        try:
            summary = annotate(model, texts, tmp_path / "out", shard_docs=20, to=to)
            break
        except Death:
            deaths += 1
            assert deaths < 10
    assert errors_in(tmp_path / "out") == {"d13": KILLED}
    assert summary.total.docs == 19
    (file,) = (tmp_path / "out" / "data").iterdir()
    if to == "parquet":
        ids = pq.read_table(file)["id"].to_pylist()
    else:
        docs = DocBin().from_disk(file).get_docs(spacy.blank("en").vocab)
        ids = [doc.user_data["id"] for doc in docs]
    assert ids == [f"d{i}" for i in range(20) if i != 13]


def test_a_worker_that_dies_is_replaced(model, tmp_path):
    """The deadly doc ends its process for real."""
    code = tmp_path / "deadly.py"
    code.write_text(
        "import os\n"
        "from spacy.language import Language\n"
        "@Language.component('deadly')\n"
        "def deadly(doc):\n"
        "    if doc.text == 'deadly':\n"
        "        os.kill(os.getpid(), 9)\n"
        "    return doc\n"
    )
    spacy.util.import_file("python_code", code)
    nlp = spacy.blank("en")
    nlp.add_pipe("deadly")
    nlp.to_disk(tmp_path / "model")
    texts = write_texts(tmp_path / "texts.jsonl", 4, d2="deadly")
    summary = annotate(
        tmp_path / "model", texts, tmp_path / "out", shard_docs=2, processes=2, code=code
    )
    assert errors_in(tmp_path / "out") == {"d2": KILLED}
    assert [row["id"] for row in rows_of(summary)] == ["d0", "d1", "d3"]


def test_several_processes_write_the_same(model, texts, tmp_path, undisturbed):
    summary = annotate(model, texts, tmp_path / "out", shard_docs=10, processes=2)
    assert rows_of(summary) == undisturbed
    assert summary.done == summary.shards == 4


def test_docs_that_fail_are_listed_and_the_rest_goes_on(model, tmp_path, undisturbed, monkeypatch):
    # The columns are those of the first lines, where years are numbers.
    monkeypatch.setattr("spacy_multitask.annotation.lines.SAMPLED_LINES", 20)
    lines = write_texts(tmp_path / "texts.jsonl", 40).read_text().splitlines()
    lines[3] = "nonsense"
    lines[12] = json.dumps({"id": "none", "text": None, "year": 1})
    lines[25] = json.dumps({"id": "typed", "text": "x", "year": "soon"})
    lines[33] = json.dumps({"id": "long", "text": "x" * 1_000_001, "year": 1})
    path = tmp_path / "texts.jsonl"
    path.write_text("\n".join(lines))
    summary = annotate(model, path, tmp_path / "out", shard_docs=10)
    found = errors_in(tmp_path / "out")
    place, reason = next(iter(found.items()))
    assert place.startswith("texts.jsonl:") and "It is not JSON" in reason
    assert found["none"] == "ValueError: There is no text."
    assert found["typed"] == "year = 'soon' is no int64."
    assert "1000001 characters, more than nlp.max_length = 1000000" in found["long"]
    good = [row for i, row in enumerate(undisturbed) if i not in (3, 12, 25, 33)]
    assert rows_of(summary) == good
    assert "4 docs failed: see" in summary.render()


def test_a_component_that_fails_on_a_doc_loses_that_one(trained, monkeypatch):
    from spacy_multitask.annotation.docs import annotate_texts

    chunker = trained.get_pipe("chunker")
    write = chunker.write_spans

    def failing(doc, spans):
        if doc.text == TEXTS[2]:
            raise RuntimeError("no such town")
        write(doc, spans)

    monkeypatch.setattr(chunker, "write_spans", failing, raising=False)
    before = trained.default_error_handler
    done = annotate_texts(trained, TEXTS)
    assert done.rows == [0, 1, 3] and done.errors == {2: "chunker: RuntimeError: no such town"}
    assert trained.default_error_handler is before
    with pytest.raises(RuntimeError):
        trained(TEXTS[2])


def test_too_many_errors_end_the_run_and_more_may_be_allowed(model, tmp_path):
    path = tmp_path / "texts.jsonl"
    lines = write_texts(path, 40).read_text().splitlines()
    path.write_text("\n".join([*lines[:20], *["nonsense"] * 3, *lines[20:]]))
    with pytest.raises(
        TooManyErrors, match=r"3 docs have failed, and max_errors allows 2\. .*errors\.jsonl"
    ):
        annotate(model, path, tmp_path / "out", shard_docs=10, max_errors=2)
    summary = annotate(model, path, tmp_path / "out", shard_docs=10, max_errors=3)
    assert summary.total.docs == 40 and len(errors_in(tmp_path / "out")) == 3


def test_long_texts_are_split_at_blank_lines(model, tmp_path, monkeypatch):
    monkeypatch.setattr(spacy.language.Language, "max_length", 30, raising=False)
    load = spacy.load

    def short(*args, **options):
        nlp = load(*args, **options)
        nlp.max_length = 30
        return nlp

    monkeypatch.setattr(shards.spacy, "load", short)
    long = "Mr Smith loves New York\n\nThe old town\n \nIBM made a lot"
    path = write_texts(tmp_path / "texts.jsonl", 4, d1=long, d2="x " * 20)
    summary = annotate(model, path, tmp_path / "out", long="split")
    rows = [(row["id"], row["piece"], row["text"], row["year"]) for row in rows_of(summary)]
    assert rows == [
        ("d0", 0, TEXTS[0], 1990),
        ("d1", 0, "Mr Smith loves New York\n\n", 1991),
        ("d1", 1, "The old town\n \nIBM made a lot", 1991),
        ("d3", 0, TEXTS[3], 1993),
    ]
    assert list(errors_in(tmp_path / "out")) == ["d2"]


def test_layers_can_be_chosen(model, texts, tmp_path):
    summary = annotate(model, texts, tmp_path / "out", layers=["entities"], keep=[])
    assert summary.dataset().schema.names == ["id", "text", "entities"]
    with pytest.raises(ValueError, match=r"no layer 'ents'\. There are: tokens, tags"):
        annotate(model, texts, tmp_path / "a", layers=["ents"])
    with pytest.raises(ValueError, match=r"does not write relations\. It writes: tokens, tags"):
        annotate(model, texts, tmp_path / "b", layers=["relations"])


def test_other_formats_hold_the_same(model, texts, tmp_path, undisturbed):
    annotate(model, texts, tmp_path / "json", to="jsonl", shard_docs=20)
    lines = [
        json.loads(line)
        for path in sorted((tmp_path / "json" / "data").iterdir())
        for line in path.read_text().splitlines()
    ]
    assert rounded(lines) == undisturbed
    annotate(model, texts, tmp_path / "docs", to="spacy", shard_docs=40, probs=True)
    (path,) = (tmp_path / "docs" / "data").iterdir()
    docs = list(DocBin().from_disk(path).get_docs(spacy.blank("en").vocab))
    assert [[t.tag_ for t in doc] for doc in docs] == [row["tags"] for row in undisturbed]
    assert [doc.user_data["year"] for doc in docs] == [row["year"] for row in undisturbed]
    assert docs[0].ents[0]._.prob > 0 and docs[0][0]._.tag_prob > 0


def test_an_output_may_be_elsewhere(model, texts, undisturbed):
    summary = annotate(model, texts, "memory://annotated", shard_docs=10)
    assert rows_of(summary) == undisturbed
    assert summary.files[0] == "memory:///annotated/data/part-000000.parquet"


def test_a_dry_run_writes_no_rows(model, texts, tmp_path):
    found = annotate(model, texts, tmp_path / "out", shard_docs=10, dry_run=True)
    assert (found.shards, found.todo) == (4, 4)
    assert found.seconds > 0 and found.output_bytes > 0
    assert "4 of 4 shards to do" in found.render()
    assert not (tmp_path / "out" / "data").exists()
    annotate(model, texts, tmp_path / "out", shard_docs=10)
    assert annotate(model, texts, tmp_path / "out", shard_docs=10, dry_run=True).todo == 0


def test_two_runs_into_one_folder_are_refused(model, texts, tmp_path):
    from spacy_multitask.safe_files import SavingError, locked

    with locked(tmp_path / "out"), pytest.raises(SavingError, match="Another process is writing"):
        annotate(model, texts, tmp_path / "out")


def strings_by_shard(model, folder) -> list[int]:
    """RETURNS (List[int]): Strings that the vocabulary has after each of four shards, whose words
    are all new."""
    path = folder / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": f"word{i} other{i}"}) + "\n" for i in range(400)))
    annotate(model, path, folder / "out", shard_docs=100, dry_run=True)
    annotator = Annotator(str(folder / "out"))
    found = []
    for shard in range(len(annotator.job.shards)):
        annotator.annotate_shard(shard)
        found.append(len(annotator.nlp.vocab.strings))
    return found


def test_memory_of_strings_stays_flat_once_many_are_known(model, tmp_path, monkeypatch):
    monkeypatch.setattr(docs, "WORDS_KEPT", 100)
    first, *others = strings_by_shard(model, tmp_path)
    assert others == [first] * 3


def test_the_tokenizer_keeps_the_words_it_met(model, tmp_path):
    found = strings_by_shard(model, tmp_path)
    assert sorted(set(found)) == found  # they grow


def test_the_tokenizer_remembers_more_than_10_000_words(model, texts, tmp_path):
    annotate(model, texts, tmp_path / "out", dry_run=True)
    tokenizer = Annotator(str(tmp_path / "out")).nlp.tokenizer
    assert tokenizer.max_cache_size == docs.WORDS_KEPT


def test_a_batch_is_annotated_within_a_zone_of_the_callers(model, monkeypatch):
    monkeypatch.setattr(docs, "WORDS_KEPT", 0)
    nlp = spacy.load(model)
    table = pa.table({"text": ["Anna is new here."]})
    with nlp.memory_zone():
        within = annotate_batch(nlp, table)
    assert within.equals(annotate_batch(nlp, table))


def test_standard_input(model, texts, tmp_path, undisturbed):
    command = [sys.executable, "-m", "spacy", "multitask", "annotate", model, "-"]
    command += ["--output", str(tmp_path / "out"), "--shard-docs", "10"]
    command += ["--format", "jsonl", "--json", "-"]
    for _ in range(2):
        done = subprocess.run(
            command, input=texts.read_bytes(), capture_output=True, env=os.environ, check=True
        )
        assert json.loads(done.stdout)["docs"] == 40
    rows = pq.read_table(tmp_path / "out" / "data").to_pylist()
    assert rounded(rows) == undisturbed
