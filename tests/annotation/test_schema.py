"""The columns that are promised, and those that others read."""

import re
from pathlib import Path

import pyarrow as pa
import pytest
import spacy
from spacy.tokens import Doc, Span
from spacy.vocab import Vocab

from spacy_multitask import annotate, annotate_batch
from spacy_multitask.annotation.columns import Columns
from spacy_multitask.annotation.schema import LAYERS, fields_of, layers_of, schema_of
from spacy_multitask.probabilities import set_span_probs
from spacy_multitask.relations import set_relations
from tests.annotation.conftest import TEXTS

PAGE = Path(__file__).parents[2] / "docs" / "annotate.md"


def shown(type: pa.DataType | None) -> str:
    """RETURNS (str): As the page has it."""
    if pa.types.is_list(type):
        return f"[{shown(type.value_type)}]"
    if pa.types.is_struct(type):
        return "{" + ", ".join(field.name for field in type) + "}"
    return str(type)


def test_the_page_has_each_column():
    expected = []
    for name, layer in LAYERS.items():
        sure = "" if layer.probs is None else f"`{shown(layer.probs)}`"
        sure = f"and `{layer.column_of_probs}`" if layer.column_of_probs else sure
        cells = (f"`{name}`", f"`{shown(layer.type)}`", sure, layer.meaning)
        expected.append("| " + " | ".join(cells).replace("|  |", "| |") + " |")
    table = re.findall(r"^\| `\w+` \| `\[.*$", PAGE.read_text(), re.MULTILINE)
    assert table == expected


def test_the_types_are_those_of_version_1():
    """Whoever changes one counts VERSION up."""
    assert [(f.name, str(f.type)) for f in fields_of(LAYERS, True)] == [
        ("tokens", "list<item: struct<start: int32, end: int32>>"),
        ("tags", "list<item: string>"),
        ("tag_probs", "list<item: float>"),
        ("pos", "list<item: string>"),
        ("pos_probs", "list<item: float>"),
        ("chunks", "list<item: struct<start: int32, end: int32, label: string, prob: float>>"),
        ("entities", "list<item: struct<start: int32, end: int32, label: string, prob: float>>"),
        (
            "spans",
            "list<item: struct<key: string, start: int32, end: int32, label: string, prob: float>>",
        ),
        ("topics", "list<item: struct<label: string, prob: float>>"),
        (
            "relations",
            "list<item: struct<head: struct<start: int32, end: int32, label: string>, "
            "tail: struct<start: int32, end: int32, label: string>, label: string, prob: float>>",
        ),
    ]


def test_every_layer_is_read_off_docs():
    nlp = spacy.blank("en")
    doc = Doc(nlp.vocab, words=["Ann", "met", "Bob"], tags=["N", "V", ""], pos=["NOUN", "VERB", ""])
    doc.ents = [Span(doc, 0, 1, "PER"), Span(doc, 2, 3, "PER")]
    doc.spans["np"] = [Span(doc, 1, 3, "VP")]
    doc.spans["sc"] = [Span(doc, 0, 3, "S"), Span(doc, 0, 1, "A")]
    doc.cats = {"a": 0.25, "b": 0.75}
    set_relations(doc, [(doc.ents[0], doc.ents[1], "met", 0.5)])
    set_span_probs(doc, "ents", [(0, 3, "PER", 0.5)])
    set_span_probs(doc, "spans:sc", [(0, 11, "S", 0.25)])
    docs = [Doc(nlp.vocab), doc, Doc(nlp.vocab, words=["x"])]
    columns = Columns(docs, nlp.vocab.strings, chunk_keys=["np"], probs=True)
    found = columns.of_layers(LAYERS)
    for field in fields_of(LAYERS, True):
        assert found[field.name].cast(field.type).to_pylist()[0] == [], field
    row = {name: column.to_pylist()[1] for name, column in found.items()}
    ann, bob = ({"start": s, "end": e, "label": "PER"} for s, e in ((0, 3), (8, 11)))
    assert row == {
        "tokens": [{"start": 0, "end": 3}, {"start": 4, "end": 7}, {"start": 8, "end": 11}],
        "tags": ["N", "V", None],
        "tag_probs": [None] * 3,
        "pos": ["NOUN", "VERB", None],
        "pos_probs": [None] * 3,
        "chunks": [{"start": 4, "end": 11, "label": "VP", "prob": None}],
        "entities": [{**ann, "prob": 0.5}, {**bob, "prob": None}],
        "spans": [
            {"key": "sc", "start": 0, "end": 11, "label": "S", "prob": 0.25},
            {"key": "sc", "start": 0, "end": 3, "label": "A", "prob": None},
        ],
        "topics": [{"label": "b", "prob": 0.75}, {"label": "a", "prob": 0.25}],
        "relations": [{"head": ann, "tail": bob, "label": "met", "prob": 0.5}],
    }


def test_relations_are_at_their_words_when_tokens_were_merged():
    nlp = spacy.blank("en")
    doc = Doc(nlp.vocab, words="Ann Lee of Rome met Bob Ray there".split())
    doc.ents = [Span(doc, 0, 2, "PER"), Span(doc, 5, 7, "PER")]
    set_relations(doc, [(doc.ents[0], doc.ents[1], "met", 0.5)])
    doc = nlp.create_pipe("merge_entities")(doc)
    columns = Columns([doc], nlp.vocab.strings, chunk_keys=["np"], probs=False)
    ((found,),) = columns.of_layers(["relations"])["relations"].to_pylist()
    assert [(found[e]["start"], found[e]["end"]) for e in ("head", "tail")] == [(0, 7), (20, 27)]


def test_layers_are_those_that_the_pipeline_writes(trained, encoder_path):
    assert layers_of(trained) == ["tokens", "tags", "chunks", "entities", "topics"]
    nlp = spacy.blank("en")
    for factory, config in (
        ("tagger", {}),
        ("morphologizer", {}),
        ("spancat", {}),
        ("multitask_ner", {"spans_key": "other"}),
        ("multitask_relations", {}),
    ):
        nlp.add_pipe(factory, config=config)
    assert layers_of(nlp) == ["tokens", "tags", "pos", "spans", "relations"]


def test_a_batch_gets_columns(trained):
    table = pa.table({"text": [*TEXTS, None], "n": range(5)})
    found = annotate_batch(trained, table, probs=True)
    assert found.column_names[:2] == ["text", "n"] and len(found) == 5
    assert found["error"].to_pylist() == [None] * 4 + ["ValueError: There is no text."]
    assert found["tags"].to_pylist()[4] is None
    assert found["tags"].to_pylist()[0] == [t.tag_ for t in trained(TEXTS[0])]
    assert all(0 < p <= 1 for p in found["tag_probs"].to_pylist()[0])
    assert not trained.get_pipe("tagger").writes_probs  # as it was
    chosen = annotate_batch(trained, table.to_batches()[0], layers=["topics"])
    assert chosen.column_names == ["text", "n", "topics", "error"]
    for batch, message in (
        (pa.table({"body": ["x"]}), "no column 'text'. It has: body"),
        (
            pa.table({"text": ["x"], "tags": [1]}),
            "The table already has tags, which annotating adds",
        ),
        ([{"text": "x"}], "takes a table of pyarrow, not list"),
    ):
        with pytest.raises(ValueError, match=message):
            annotate_batch(trained, batch)


@pytest.mark.parametrize("reader", ["duckdb", "datasets", "polars"])
def test_others_read_it(model, texts, tmp_path, reader):
    module = pytest.importorskip(reader, reason=f"{reader} is not installed")
    summary = annotate(model, texts, tmp_path / "out", shard_docs=20, probs=True)
    expected = summary.dataset().to_table().to_pylist()
    files = str(tmp_path / "out" / "data" / "*.parquet")
    if reader == "duckdb":
        rows = module.sql(f"SELECT id, text, tokens, tags FROM read_parquet('{files}')").fetchall()
        assert rows == [tuple(row.values())[:4] for row in expected]
        query = f"SELECT count(*) FROM (SELECT unnest(entities) e FROM '{files}')"
        ((count,),) = module.sql(f"{query} WHERE e.label = 'LOC'").fetchall()
        assert count == summary.total.labels["entities"]["LOC"]
    elif reader == "datasets":
        found = module.load_dataset(
            "parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache")
        )
        assert list(found) == expected
    else:
        assert module.read_parquet(files).to_dicts() == expected


def test_kept_columns_come_last():
    schema = schema_of(["topics"], False, [pa.field("n", pa.int64())], has_pieces=True)
    assert schema.names == ["id", "text", "piece", "topics", "n"]


def test_columns_have_the_spans_of_the_docs():
    vocab = Vocab()
    first = Doc(vocab, words=["New", "York", "Bob", "ran"])
    first.set_ents([Span(first, 0, 2, "LOC"), Span(first, 2, 3, "PER")])
    second = Doc(vocab, words=["Ann", "met", "Bo"])
    second.set_ents([Span(second, 0, 1, "PER"), Span(second, 2, 3, "PER")])
    third = Doc(vocab, words=["Not", "Bo"])
    third.set_ents([], blocked=[Span(third, 1, 2)], default="missing")
    docs = [first, second, Doc(vocab), third]
    second.spans["np"] = [Span(second, 2, 3, "NP"), Span(second, 0, 1, "NP")]
    second.spans["sc"] = [Span(second, 0, 3, "ALL"), Span(second, 1, 1, "NONE")]
    columns = Columns(docs, vocab.strings, chunk_keys=["np"], probs=False)
    found = {
        name: [
            [tuple(span.values()) for span in row] for row in getattr(columns, name)().to_pylist()
        ]
        for name in ("entities", "chunks", "spans")
    }
    assert found["entities"] == [
        [(span.start_char, span.end_char, span.label_) for span in doc.ents] for doc in docs
    ]
    assert found["entities"][:2] == [
        [(0, 8, "LOC"), (9, 12, "PER")],
        [(0, 3, "PER"), (8, 10, "PER")],
    ]
    assert found["chunks"] == [[], [(8, 10, "NP"), (0, 3, "NP")], [], []]
    assert found["spans"] == [[], [("sc", 0, 10, "ALL")], [], []]


def test_chunks_of_several_groups_come_in_the_order_of_the_pipeline():
    vocab = Vocab()
    doc = Doc(vocab, words=["Ann", "ran"])
    doc.spans["b"] = [Span(doc, 0, 1, "B")]
    doc.spans["a"] = [Span(doc, 1, 2, "A")]
    columns = Columns([doc], vocab.strings, chunk_keys=["a", "b"], probs=False)
    assert [span["label"] for span in columns.chunks().to_pylist()[0]] == ["A", "B"]
