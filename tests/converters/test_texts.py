import gzip
import sys

import pytest

from spacy_multitask.converters import ConversionError, convert
from spacy_multitask.converters.texts import read_texts
from tests.converters.conftest import ASSETS

SPORTS = {"Politics": 0.0, "Sports": 1.0}


@pytest.fixture
def read(write, nlp, report):
    def read_file(text, name="texts.csv", **options):
        return list(read_texts(write(text, name), nlp, report, **options))

    return read_file


def causes(report):
    return {cause: entry.count for cause, entry in report.causes.items()}


def test_the_csv_sample_is_read_whole(tmp_path, load):
    report = convert("texts", ASSETS / "texts.csv", tmp_path / "out.spacy")
    first, second = load(tmp_path / "out.spacy")
    assert first.text == "Elding beat Torvik, in the rain." and first.cats == SPORTS
    assert second.text == 'The council met until midnight; the mayor said "no".'
    assert second.cats == {"Politics": 1.0, "Sports": 0.0}
    assert not first.has_annotation("ENT_IOB") and not first.has_annotation("TAG")
    cause = report.causes["text without a label: left out"]
    assert cause.count == 1 and cause.first.endswith("texts.csv:4")


def test_the_tsv_sample_is_read_whole(nlp, report):
    first, second = read_texts(
        ASSETS / "texts.tsv", nlp, report, columns="topic=topics", separator="|"
    )
    assert first.cats == {"Politics": 0.0, "Sports": 1.0, "Weather": 1.0}
    assert second.text == 'The "council" met until midnight.'


def test_the_jsonl_sample_is_read_whole(nlp, report):
    docs = list(read_texts(ASSETS / "texts.jsonl", nlp, report))
    assert [sorted(label for label, value in doc.cats.items() if value) for doc in docs] == [
        ["Sports", "Weather"], ["Politics"], []
    ]  # fmt: skip
    assert len(docs[2].cats) == 3, "an empty list says that there are none"


def test_parquet_files_are_read_in_batches(tmp_path, nlp, report):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = {"text": [f"text {i}" for i in range(2500)], "label": [i % 2 for i in range(2500)]}
    parquet.write_table(pyarrow.table(rows), tmp_path / "a.parquet")
    docs = list(read_texts(tmp_path / "a.parquet", nlp, report))
    assert len(docs) == 2500 and docs[2499].text == "text 2499"
    assert docs[2499].cats == {"0": 0.0, "1": 1.0}


def test_parquet_without_its_package_names_the_extra(tmp_path, nlp, report, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and so on")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConversionError) as error:
        list(read_texts(tmp_path / "a.parquet", nlp, report))
    assert 'pyarrow. Install it: pip install "spacy_multitask[formats]".' in str(error.value)
    assert "\n" not in str(error.value)


def test_a_damaged_parquet_file_is_an_error(tmp_path, nlp, report):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"text": ["a"] * 999, "label": [1] * 999}), path)
    data = path.read_bytes()
    for damaged in (data[:-20], data[:20] + bytes(len(data) - 500) + data[-480:]):
        path.write_bytes(damaged)
        with pytest.raises(ConversionError, match=r"a\.parquet.*(damaged|cut short)"):
            list(read_texts(path, nlp, report))


@pytest.mark.parametrize("delimiter", [",", ";", "|", "\t"])
def test_the_first_line_tells_the_delimiter(read, delimiter):
    docs = read("Text,Label\na b,X\n\nc,Y\n".replace(",", delimiter))
    assert [(doc.text, doc.cats) for doc in docs] == [
        ("a b", {"X": 1.0, "Y": 0.0}), ("c", {"X": 0.0, "Y": 1.0})
    ]  # fmt: skip


def test_columns_are_named_by_option_or_number(read):
    docs = read("body,kind,x\na,X,1\nb,Y,2\n", columns="text=body,topic=kind")
    assert [doc.text for doc in docs] == ["a", "b"]
    docs = read("X,a\nY,b\n", columns="text=2,topic=1")
    assert [(doc.text, doc.cats) for doc in docs] == [
        ("a", {"X": 1.0, "Y": 0.0}), ("b", {"X": 0.0, "Y": 1.0})
    ]  # fmt: skip


def test_a_column_for_each_category(read):
    columns = "text=comment,topic=toxic,topic=rude"
    first, second = read("comment,toxic,rude\na,1,0\nb,,true\n", columns=columns)
    assert first.cats == {"toxic": 1.0, "rude": 0.0}
    assert second.cats == {"rude": 1.0}, "an empty cell is unknown"


def test_a_cell_may_hold_a_list(read):
    text = 'text,label\na,"[\'X\', \'Y\']"\nb,"[""X""]"\nc,[]\n'
    assert [sum(doc.cats.values()) for doc in read(text)] == [2, 1, 0]


def test_a_text_may_have_line_breaks_in_quotes(read):
    first, second = read('text,label\n"a\nb",X\nc,Y\n')
    assert first.text == "a\nb" and second.text == "c"
    with pytest.raises(ConversionError, match=r"texts.csv:4: 1 cells instead of 2"):
        read('text,label\n"a\nb",X\nc\n')


def test_all_labels_may_be_given(read, report):
    (doc,) = read("text,label\na,X\n", labels=["X", "Y"])
    assert doc.cats == {"X": 1.0, "Y": 0.0}
    with pytest.raises(ConversionError, match=r"texts.csv:2: label 'X' is not one of Y. Add it"):
        read("text,label\na,X\n", labels=["Y"])


def test_compressed_files_are_read(read, nlp):
    assert len(read(gzip.compress(b"text,label\na,X\n"))) == 1


@pytest.mark.parametrize(
    "text, options, message",
    [
        ("", {}, r"texts.csv: the file is empty"),
        ("a,b\n1,2\n", {}, r"none of the columns a, b is known as the text. Name them"),
        ("text,b\n1,2\n", {}, r"none of the columns text, b is known as the topic"),
        ("text,text\n1,2\n", {}, r"texts.csv:1: the columns text, text are not all different"),
        ("text,label\na,X,\n", {}, r"texts.csv:2: 3 cells instead of 2. A cell that holds ',' or"),
        ("text\tlabel\na\n", {}, r"texts.csv:2: 1 cells instead of 2. In TSV no cell holds a tab"),
        ('text,label\nb,X\n"a,X\n', {}, r"texts.csv:3: the row that begins here is not valid CSV"),
        ('text,label\na,"[X"]\n', {}, r"texts.csv:2: the row that begins here is not valid CSV"),
        ("text,label\na,[X]\n", {}, r"texts.csv:2: label is '\[X\]', which is no list that ca"),
        ('{"text": 3, "label": "X"}', {}, r"texts.csv:1: text is 3, but must be a text"),
        ('{"text": "a", "label": {}}', {}, r"texts.csv:1: label is {}, but must be a name"),
        ("text,a,b\nc,2,0\n", {"columns": "topic=a,topic=b"}, r"a is '2', but must be 0 or 1"),
        ("text,label\n", {"columns": "text=x"}, r"there is no column 'x'. The columns are text, "),
        ("text,label\n", {"columns": "body"}, r"'body' is not NAME=COLUMN, with one of the na"),
        ("text,label\n", {"columns": "text=a,text=b"}, r"there are two columns for 'text'"),
        ("text,a,b\n", {"columns": "topic=a,topic=b", "separator": ";"}, r"leave out labels"),
    ],
)  # fmt: skip
def test_malformed_rows_and_options_are_errors(read, text, options, message):
    with pytest.raises(ConversionError, match=message):
        read(text, **options)


def test_groups_are_kept_for_split(read):
    first, second = read("text,label,author\na,X,7\nb,X,8\n", columns="group=author")
    assert (first.user_data["group"], second.user_data["group"]) == ("7", "8")
    with pytest.raises(ConversionError, match="there is no column 'by'"):
        read("text,label,author\na,X,7\n", columns="group=by")
