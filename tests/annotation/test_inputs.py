"""Whatever texts are in: each row is read once, whatever the cuts."""

import bz2
import csv
import gzip
import io
import json

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import spacy
from spacy.tokens import Doc, DocBin

from spacy_multitask.annotation import job as jobs
from spacy_multitask.annotation.addresses import File, checksum, find_files
from spacy_multitask.annotation.inputs import Bad, batches
from spacy_multitask.annotation.job import FORMATS, Options, plan

VOCAB = spacy.blank("en").vocab


@pytest.fixture(autouse=True)
def no_model(monkeypatch):
    monkeypatch.setattr(jobs, "model_folder", lambda model: model)
    monkeypatch.setattr(jobs, "folder_checksum", str)


def planned(*inputs, **options):
    return plan("model", list(map(str, inputs)), Options(**options))


def read(job):
    """RETURNS (List[List]): Rows of each shard."""
    reader = FORMATS[job.format]
    return [list(reader.read(job.files, s, job.columns, VOCAB)) for s in job.shards]


def flat(job):
    return [row for shard in read(job) for row in shard]


# Line breaks of all kinds, quotes, commas, letters of several bytes.
HARD = [
    'He said "no", and left',
    "two\nlines",
    'a "b\nc" d',
    "naïve 東京 🙂",
    "tab\there",
    "x" * 300,
]


def write(format, path, rows):
    if format == "jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    elif format in ("csv", "tsv"):
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(
                stream, list(rows[0]), dialect="excel" if format == "csv" else "excel-tab"
            )
            writer.writeheader()
            writer.writerows(rows)
    else:
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=7)
    return path


@pytest.mark.parametrize("format", ["jsonl", "csv", "tsv", "parquet"])
@pytest.mark.parametrize("shard_docs", [1, 3, 10, 1000])
def test_each_row_is_read_once_and_in_order(tmp_path, format, shard_docs):
    rows = [{"id": f"r{i}", "text": HARD[i % len(HARD)], "n": f"{i}"} for i in range(25)]
    job = planned(write(format, tmp_path / f"a.{format}", rows), shard_docs=shard_docs)
    assert len(job.shards) > 1 or shard_docs == 1000
    found = flat(job)
    assert [(row.id, row.text, row.kept) for row in found] == [
        (row["id"], row["text"], {"n": row["n"]}) for row in rows
    ]
    assert sum(shard.weight for shard in job.shards) <= job.files[0].size


@pytest.mark.parametrize("size", range(1, 12))
def test_lines_are_cut_at_any_byte(tmp_path, size, monkeypatch):
    path = tmp_path / "a.txt"
    lines = ["one", "", "zwei drei", "  ", "四", "last without end"]
    path.write_bytes("\n".join(lines).encode())
    job = planned(path)
    total = path.stat().st_size
    parts = [
        job.shards[0]._replace(start=start, end=min(start + size, total))
        for start in range(0, total, size)
    ]
    found = [r for p in parts for r in FORMATS["txt"].read(job.files, p, job.columns, VOCAB)]
    assert [row.text for row in found] == [line for line in lines if line.strip()]
    assert len({row.id for row in found}) == 4 and found[0].id == "a.txt:0"


def test_rows_without_an_id_are_named_after_their_place(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write("parquet", tmp_path / name / "x.parquet", [{"text": "t"}] * 2)
    found = [row.id for row in flat(planned(tmp_path))]
    assert found == ["a/x.parquet:0", "a/x.parquet:1", "b/x.parquet:0", "b/x.parquet:1"]


@pytest.mark.parametrize(("suffix", "packed"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
@pytest.mark.parametrize("format", ["txt", "jsonl", "csv"])
def test_compressed_files_are_one_shard(tmp_path, suffix, packed, format):
    content = {
        "txt": "one\ntwo\n",
        "jsonl": '{"text": "one"}\n{"text": "two"}\n',
        "csv": "n,text\n1,one\n2,two\n",
    }
    path = tmp_path / f"a.{format}{suffix}"
    path.write_bytes(packed(content[format].encode()))
    job = planned(path, shard_docs=1)
    assert len(job.shards) == 1
    assert [row.text for row in flat(job)] == ["one", "two"]


def test_a_file_can_be_a_doc(tmp_path):
    for name, data in (("b.txt", b"two\nlines"), ("a.md", b"one"), ("c.txt", b"\xff")):
        (tmp_path / name).write_bytes(data)
    job = planned(tmp_path, format="files", shard_docs=2)
    assert len(job.shards) == 2
    one, two, bad = flat(job)
    assert [(one.id, one.text), (two.id, two.text)] == [("a.md", "one"), ("b.txt", "two\nlines")]
    assert isinstance(bad, Bad) and bad.id == "c.txt" and "not UTF-8" in bad.reason


def test_docs_of_spacy_keep_their_tokens_and_lose_annotation(tmp_path):
    doc = Doc(VOCAB, words=["New-York", "x"], spaces=[False, True], tags=["A", "B"])
    other = Doc(VOCAB, words=["y"])
    other.user_data["id"] = "given"
    DocBin(docs=[doc, other], store_user_data=True).to_disk(tmp_path / "a.spacy")
    first, second = flat(planned(tmp_path / "a.spacy"))
    assert [t.text for t in first.text] == ["New-York", "x"] and first.text.text == "New-Yorkx "
    assert not first.text.has_annotation("TAG")
    assert (first.id, second.id) == ("a.spacy:0", "given")


def test_globs_folders_and_addresses(tmp_path):
    for name in ("a.txt", "b.txt", "c.md", "_old/d.txt", ".hidden.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    names = [file.name for file in find_files([str(tmp_path)], (".txt",))]
    assert names == ["a.txt", "b.txt"]
    found = find_files([f"{tmp_path}/*.md", f"{tmp_path}/b.txt", f"{tmp_path}/*.txt"], (".txt",))
    assert [file.name for file in found] == ["c.md", "b.txt", "a.txt"]  # each once
    with fsspec.open("memory://texts/a.txt", "w") as stream:
        stream.write("from memory\n")
    assert [row.text for row in flat(planned("memory://texts/a.txt"))] == ["from memory"]
    with pytest.raises(ValueError, match=r"no files to read in .*nothing"):
        find_files([str(tmp_path / "nothing")], ())


def test_rows_that_cannot_be_read_are_bad_and_the_others_are_there(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(
        b'{"text": "good"}\n{"text": \n[1]\n{"text": 3}\n{"text": "\xff"}\n{"text": null}\n'
    )
    found = flat(planned(tmp_path / "a.jsonl"))
    assert [row.reason[:18] for row in found if isinstance(row, Bad)] == [
        "It is not JSON: Ex",
        "It is no JSON obje",
        "'text' is no strin",
        "It is not UTF-8: '",
    ]
    assert [row.text for row in found if not isinstance(row, Bad)] == ["good", None]
    (tmp_path / "a.csv").write_text("text,n\ngood,1\nbad\nfine,2\n")
    found = flat(planned(tmp_path / "a.csv"))
    assert [row.text for row in found if not isinstance(row, Bad)] == ["good", "fine"]
    assert found[1].reason == "It has 1 cells, and the header 2."


def test_columns_go_along(tmp_path):
    rows = [{"key": 1, "body": "t", "a": 1.5, "b": {"c": [1]}}, {"key": 2, "body": "u", "a": None}]
    write("jsonl", tmp_path / "a.jsonl", rows)
    job = planned(tmp_path / "a.jsonl", text="body", id="key")
    assert job.kept.field("a").type == pa.float64()
    assert job.kept.field("b").type == pa.struct({"c": pa.list_(pa.int64())})
    assert [(row.id, row.text) for row in flat(job)] == [("1", "t"), ("2", "u")]
    job = planned(tmp_path / "a.jsonl", text="body", keep=("a",))
    assert [row.kept for row in flat(job)] == [{"a": 1.5}, {"a": None}]


def test_fields_that_come_later_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr("spacy_multitask.annotation.lines.SAMPLED_LINES", 1)
    write("jsonl", tmp_path / "a.jsonl", [{"text": "t"}, {"text": "u", "late": 1}])
    (batch,) = batches(iter(flat(planned(tmp_path / "a.jsonl"))), 10)
    assert batch.left_out == {"late": 1}


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([{"body": "t"}], {}, "no column 'text'. It has: body"),
        ([{"text": "t"}], {"id": "key"}, "no column 'key'"),
        ([{"text": "t"}], {"keep": ("x",)}, "no column 'x'"),
        ([{"text": "t", "tags": 1}], {}, "names of ours: tags"),
        ([{"text": "t"}], {"to": "xml"}, "to = 'xml' is not one of parquet, jsonl, spacy"),
        ([{"text": "t"}], {"shard_docs": 0}, "shard_docs = 0 must be at least 1"),
    ],
)
def test_what_cannot_be_is_refused_before_the_work(tmp_path, rows, options, message):
    write("jsonl", tmp_path / "a.jsonl", rows)
    with pytest.raises(ValueError, match=message):
        planned(tmp_path / "a.jsonl", **options)


def test_formats_are_told_by_names(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "b.csv").write_text("text\nx\n")
    (tmp_path / "c.dat").write_text("x")
    with pytest.raises(ValueError, match=r"several formats: a\.txt, b\.csv"):
        planned(tmp_path / "a.txt", tmp_path / "b.csv")
    with pytest.raises(
        ValueError, match=r"name of c\.dat does not tell its format\. Give --format"
    ):
        planned(tmp_path / "c.dat")
    assert flat(planned(tmp_path / "c.dat", format="txt"))[0].text == "x"


@pytest.mark.parametrize("at", [0, 1 << 20, 200 << 20])
def test_a_checksum_sees_both_ends_and_what_is_between(at):
    place = at

    class Zeros(io.RawIOBase):
        """A large file of zeros but for a byte."""

        size, at, flipped = (200 << 20) + 1, place, False

        def seek(self, to, whence=0):
            self.position = to

        def read(self, n=-1):
            data = bytearray(n)
            if self.flipped and self.position <= self.at < self.position + n:
                data[self.at - self.position] = 1
            return bytes(data)

    class Large(File):
        def open(self, compression=None):
            return Zeros()

    file = Large("x", "x", Zeros.size)
    before = checksum(file)
    assert checksum(file) == before
    Zeros.flipped = True
    assert (checksum(file) != before) == (at != 1 << 20)
