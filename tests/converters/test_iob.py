import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_multitask.converters import ConversionError, ConversionReport
from spacy_multitask.converters.iob import IOBDecoder


def decode(tags, report, scheme="auto"):
    return IOBDecoder("f.txt", report, scheme, "entity")(tags, range(10, 10 + len(tags)))


def test_iob1_type_change_starts_a_new_entity(report):
    assert decode(["I-PER", "I-LOC", "O"], report) == [(0, 1, "PER"), (1, 2, "LOC")]


def test_iob1_begin_tag_parts_neighbours_of_one_type(report):
    assert decode(["I-PER", "I-PER", "B-PER"], report) == [(0, 2, "PER"), (2, 3, "PER")]


def test_bio_begin_tag_starts_every_entity(report):
    tags = ["B-PER", "I-PER", "B-PER", "O", "B-ORG"]
    assert decode(tags, report) == [(0, 2, "PER"), (2, 3, "PER"), (4, 5, "ORG")]
    assert not report.causes


def test_an_entity_of_one_sentence_does_not_go_on_in_the_next(report):
    decoder = IOBDecoder("f.txt", report, "auto", "entity")
    assert decoder(["O", "I-PER"], [1, 2]) == [(1, 2, "PER")]
    assert decoder(["I-PER"], [4]) == [(0, 1, "PER")]


def test_labels_may_hold_hyphens(report):
    assert decode(["B-A-B", "I-A-B"], report) == [(0, 2, "A-B")]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.sampled_from("AB"))))
def test_all_schemes_give_back_the_spans_they_were_made_from(pieces):
    spans, bio, iob1, bioes = [], [], [], []
    for gap, length, label in pieces:
        start = len(bio) + gap
        touches = bool(gap == 0 and spans and spans[-1][2] == label)
        spans.append((start, start + length, label))
        inside = [f"I-{label}"] * (length - 1)
        bio += ["O"] * gap + [f"B-{label}"] + inside
        iob1 += ["O"] * gap + [f"B-{label}" if touches else f"I-{label}"] + inside
        ends = ["S"] if length == 1 else ["B", *"I" * (length - 2), "E"]
        bioes += ["O"] * gap + [f"{prefix}-{label}" for prefix in ends]

    def renamed(letters):
        table = str.maketrans("IES", letters)
        return [tag[0].translate(table) + tag[1:] for tag in bioes]

    for tags, scheme in (
        (bio, "bio"),
        (iob1, "iob1"),
        (bioes, "bioes"),
        (renamed("ILU"), "bilou"),
        (renamed("MEW"), "bmewo"),
        (renamed("MES"), "bmewo"),
    ):
        report = ConversionReport()
        assert decode(tags, report, scheme) == decode(tags, report) == spans
        assert not report.causes


def test_no_tags_give_no_entities(report):
    assert decode([], report) == []


def test_a_file_that_mixes_the_schemes_is_read_and_reported(report):
    assert len(decode(["B-PER", "O", "I-PER"], report)) == 2
    (cause,) = report.causes.items()
    assert cause[0] == "entity written as in iob1 in a file that begins as bio: kept"
    assert cause[1].first == "f.txt:12"


@pytest.mark.parametrize(
    "scheme, tags, message",
    [
        ("bio", ["O", "I-PER"], r"f.txt:11: entity tag 'I-PER' cannot begin a span here: every"),
        ("bio", ["B-LOC", "I-PER"], r"f.txt:11: entity tag 'I-PER' cannot begin a span here"),
        ("iob1", ["O", "B-PER"], r"f.txt:11: entity tag 'B-PER' cannot begin a span here: B- onl"),
        ("bio", ["O", "E-PER"], r"f.txt:11: entity tag 'E-PER' is not O, B-<type> or I-<type>\."),
        ("bilou", ["S-X"], r"f.txt:10: entity tag 'S-X' is not O, B-<type>, .*, L-<type> or U-<ty"),
        (
            "bioes",
            ["B-X", "O"],
            r"f.txt:10: entity tag 'B-X' cannot .*: a span is S-, or goes from",
        ),
        ("bioes", ["I-X", "E-X"], r"f.txt:10: entity tag 'I-X' cannot begin a span here"),
        ("bmewo", ["B-X", "M-X"], r"f.txt:10: entity tag 'B-X' cannot .* from B- over M- to E-"),
        ("auto", ["B-"], r"f.txt:10: entity tag 'B-' is not O"),
        (
            "auto",
            ["PER"],
            r"f.txt:10: entity tag 'PER' is not O.*no prefixes, give the scheme 'io'",
        ),
        ("auto", ["O-PER"], r"f.txt:10: entity tag 'O-PER' is not O"),
        (
            "iob2",
            [],
            r"scheme is 'iob2', but must be one of auto, io, iob1, bio, bioes, bilou, bmewo",
        ),
    ],
)
def test_illegal_tags_are_errors_with_their_line(report, scheme, tags, message):
    with pytest.raises(ConversionError, match=message):
        decode(tags, report, scheme)


def test_legal_tags_pass_in_the_demanded_scheme(report):
    assert decode(["B-A", "I-A", "B-A"], report, "bio") == [(0, 2, "A"), (2, 3, "A")]
    assert decode(["I-A", "I-A", "B-A"], report, "iob1") == [(0, 2, "A"), (2, 3, "A")]


def test_tags_without_prefix_are_read_as_io(report):
    tags = ["PER", "PER", "LOC", "O", "LOC"]
    assert decode(tags, report, "io") == [(0, 2, "PER"), (2, 3, "LOC"), (4, 5, "LOC")]


@pytest.mark.parametrize(
    "tags, cause",
    [
        (["S-X", "O", "B-X", "O"], "entity written as in bio in a file that begins as bioes: kept"),
        (
            ["S-X", "O", "I-X", "I-X"],
            "entity written as in iob1 in a file that begins as bioes: kept",
        ),
        (["B-X", "O", "O", "U-X"], "entity written as in bilou in a file that begins as bio: kept"),
        (["I-X", "E-X", "O", "O"], "entity written as in none of the schemes: kept"),
    ],
)
def test_ends_that_do_not_fit_are_kept_and_reported(report, tags, cause):
    assert decode(tags, report)
    assert list(report.causes) == [cause]


def test_nothing_goes_on_behind_an_end(report):
    assert decode(["B-X", "E-X", "I-X", "S-X", "S-X"], report) == [
        (0, 2, "X"), (2, 3, "X"), (3, 4, "X"), (4, 5, "X")
    ]  # fmt: skip
