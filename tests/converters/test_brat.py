import pytest

from spacy_multitask.converters import ConversionError, convert
from spacy_multitask.converters.brat import read_brat
from spacy_multitask.relations import get_relations
from tests.converters.conftest import ASSETS


def ents(doc):
    return [(ent.text, ent.label_) for ent in doc.ents]


def causes(report):
    return {cause: entry.count for cause, entry in report.causes.items()}


@pytest.fixture
def read(write, nlp, report):
    def read_text(text, annotations, **options):
        write(annotations, "a.ann")
        return list(read_brat(write(text, "a.txt"), nlp, report, **options))

    return read_text


def test_the_sample_folder_is_read_whole(nlp, report):
    gulls, port = read_brat(ASSETS / "brat", nlp, report)
    assert gulls.text == "Gulls slept on the quay.\n"
    assert ents(gulls) == [] and gulls.has_annotation("ENT_IOB")
    assert get_relations(gulls) == [] and gulls.user_data
    assert ents(port) == [
        ("Nora Falk", "Person"),
        ("Port of Elding", "Organization"),
        ("Ben Aas", "Person"),
        ("founded", "Founding"),
    ]
    assert [(r.head.text, r.label, r.tail.text) for r in get_relations(port)] == [
        ("Nora Falk", "Leads", "Port of Elding"),
        ("Ben Aas", "Founded", "Port of Elding"),
    ]
    assert [token.text for token in port if not token.ent_iob_] == ["in", "1998"]
    assert causes(report) == {
        "span in pieces: its tokens are unknown": 1,
        "event: left out": 1,
        "attribute: left out": 1,
        "normalization: left out": 1,
        "note: left out": 1,
        "equivalence: left out": 1,
    }


def test_everything_survives_the_file(tmp_path, load):
    report = convert("brat", ASSETS / "brat", tmp_path / "out.spacy")
    assert (report.docs, report.gold["ents"], report.gold["relations"]) == (2, 4, 2)
    assert len(get_relations(load(tmp_path / "out.spacy")[1])) == 2


def test_either_file_of_a_pair_may_be_given(nlp, report):
    for name in ("port.txt", "port.ann"):
        (doc,) = read_brat(ASSETS / "brat" / name, nlp, report)
        assert len(doc.ents) == 4


def test_line_ends_count_in_places(read):
    (doc,) = read(b"a\r\nOslo\r\n".decode(), "T1\tLOC 3 7\tOslo\r\n")
    assert ents(doc) == [("Oslo", "LOC")]


def test_a_text_without_annotations_beside_it_is_counted(tmp_path, nlp, report):
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.txt").write_text("b")
    (tmp_path / "b.ann").write_text("T1 X 0 1\tb".replace(" ", "\t", 1))
    (doc,) = read_brat(tmp_path, nlp, report)
    assert ents(doc) == [("b", "X")] and not doc.user_data
    assert causes(report) == {"text without .ann file: left out": 1}


def test_relations_of_events_are_left_out_and_counted(read, report):
    (doc,) = read("a b", "T1\tX 0 1\ta\nE1\tX:T1\nR1\tof Arg1:T1 Arg2:E1\n")
    assert get_relations(doc) == []
    assert "relation of what is no span, or none that was kept: left out" in report.causes


@pytest.mark.parametrize(
    "line, message",
    [
        (
            "X1\tY 0 1\ta",
            r"a.ann:2: 'X1\\tY 0 1\\ta' is no annotation of BRAT: it begins with none",
        ),
        ("T2 X 0 1 a", "a.ann:2: 'T2 X 0 1 a' is not 'T1<tab>Label 0 5<tab>words'"),
        ("T2\tX 0 9\ta", "a.ann:2: the span from character 0 to 9 is empty or .* has 3 characters"),
        ("T2\tX 1 1\t", "a.ann:2: the span from character 1 to 1 is empty"),
        ("T2\tX 0 1\tb", "a.ann:2: the words are 'b', but the text has 'a'. Check that"),
        ("T1\tX 0 1\ta", "a.ann:2: the name T1 is there twice"),
        ("R1\tX T1 T1", r"a.ann:2: 'R1\\tX T1 T1' is not 'R1<tab>Label Arg1:T1 Arg2:T2'"),
        ("R1\tX Arg1:T1 Arg2:T7", "a.ann:2: there is no annotation T7 in the file"),
    ],
)
def test_malformed_lines_are_errors(read, line, message):
    with pytest.raises(ConversionError, match=message):
        read("a b", f"T1\tX 0 1\ta\n{line}\n")


def test_files_that_lack_the_other_are_errors(tmp_path, nlp, report):
    with pytest.raises(ConversionError, match=r"there is no \.ann file in this folder"):
        list(read_brat(tmp_path, nlp, report))
    (tmp_path / "a.ann").write_text("")
    with pytest.raises(ConversionError, match=r"a\.ann: there is no \.txt file with its text"):
        list(read_brat(tmp_path, nlp, report))
    (tmp_path / "a.dat").write_text("")
    with pytest.raises(ConversionError, match=r"a\.dat: give a folder of \.txt and \.ann files"):
        list(read_brat(tmp_path / "a.dat", nlp, report))
    (tmp_path / "a.txt").write_bytes(b"a\xe9")
    with pytest.raises(ConversionError, match=r"a\.txt:1: byte 0xe9 at byte 2 of the line"):
        list(read_brat(tmp_path, nlp, report))
