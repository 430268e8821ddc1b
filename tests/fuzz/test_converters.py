"""Damaged corpus files: an error that names file and line, or docs that account for every line."""

import gzip
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st

from spacy_multitask.converters import FORMATS, ConversionError, ConversionReport
from tests.fuzz.cases import cases

ROOT = Path(__file__).parents[2]
ASSETS = ROOT / "assets"
FORMATS_OF_OURS = ASSETS / "formats"
DATA = ROOT.parent / "shared" / "data"
SAMPLES = ROOT.parent / "shared" / "samples"

NASTY = [
    b"\t", b" ", b"  ", b"\n", b"\n\n", b"\r", b"\r\n", b"\x00", b'"', b'""', b"'", b",", b"\\",
    b"#", b"# newdoc\n", b"# text = a\n", b"-DOCSTART- -X- O O\n", b"#doc 1\n", b"_", b"0", b"-1",
    b"1-2", b"1.1", b"9" * 30, b"9" * 5000, b"[" + b"1" * 60, b"['" + b"a" * 60, b"=", b"|", b"B-",
    b"I-X", b"O", b"__label__", b"\xff", b"\xc3", b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"\xc2\x85",
    b"\xed\xa0\x80", b"\x1f\x8b", b"<b>", b"&#9999999999;", b"a" * 1000,
]  # fmt: skip


class Corpus(NamedTuple):
    """A format with a file of it.

    path (Path): A real file, or one of our own in its format.
    made (str): What stands in for it where it is not there.
    token (str): Pattern of a line that is a token, or a text, of a file that was accepted.
    """

    path: Path
    options: dict
    token: str
    made: str = ""

    def lines(self) -> list[bytes]:
        if not self.path.exists():
            return self.made.encode("utf8").split(b"\n")
        data = self.path.read_bytes()
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        return data.split(b"\n")


BLANK = r"[ \t\r]*"
COLUMNS = rf"(?!{BLANK}$)(?![ \t]*-DOCSTART-(?:[ \t\r]|$)).*"
TEXT = r"(?=.*\S).*"
# Records of several lines are not counted.
ANYTHING = ""
CONLL04 = """#doc 1
0\tAnna\tB-Peop\t['N']\t[0]
1\tBrown\tI-Peop\t['Live_In', 'Work_For']\t[3, 5]
2\tin\tO\t['N']\t[2]
3\tLyon\tB-Loc\t['N']\t[3]
4\tfor\tO\t['N']\t[4]
5\tIBM\tB-Org\t['N']\t[5]
#doc 2
0\tRain\tO\t['N']\t[0]
"""
CORPORA = {
    "conllu": Corpus(ASSETS / "pos/train.conllu", {}, r"[0-9]+\t.*"),
    "conll2000": Corpus(ASSETS / "chunk/train.txt", {"keep_tags": True}, COLUMNS),
    "conll03": Corpus(ASSETS / "ner/train.txt", {"n_sents": 2}, COLUMNS),
    "ag_news": Corpus(ASSETS / "topic/train.csv", {"clean": True}, TEXT),
    "conll04": Corpus(DATA / "conll04/test.txt.gz", {}, r"(?=.*\S)(?!#doc).*", CONLL04),
    "columns": Corpus(SAMPLES / "ud/dev.txt", {"label": "tag"}, COLUMNS, "It PRP\nfell VBD\n"),
    "labels": Corpus(SAMPLES / "topic/dev.txt", {}, TEXT, "__label__A a b\n__label__B c d"),
    "conllup": Corpus(FORMATS_OF_OURS / "harbour.conllup", {"ner": "NE"}, r"[0-9]+\t.*"),
    "prodigy": Corpus(FORMATS_OF_OURS / "prodigy.jsonl", {}, TEXT),
    "doccano": Corpus(FORMATS_OF_OURS / "doccano_relations.jsonl", {}, TEXT),
    "argilla": Corpus(FORMATS_OF_OURS / "argilla.jsonl", {"annotators": "majority"}, TEXT),
    "label_studio": Corpus(
        FORMATS_OF_OURS / "label_studio.json", {"annotators": "majority"}, ANYTHING
    ),
    "texts": Corpus(FORMATS_OF_OURS / "texts.csv", {}, ANYTHING),
}
# Causes for which a record gives no doc.
LOST = re.compile(
    "answer (reject|ignore): left out.*|(example|text) without gold: left out|empty text: skipped"
    "|record without a submitted answer: left out|header line: skipped"
)
# Errors about the whole file have no line.
WHOLE = "none of the columns|the file is empty|no word has an entity tag|there is no question"


@cache
def blank():
    return spacy.blank("en")


@st.composite
def damaged(draw: st.DrawFn, lines: list[bytes], whole: bool = False) -> bytes:
    """A file, or a piece of it, with some things wrong."""
    start = 0 if whole else draw(st.integers(0, len(lines) - 1))
    piece = lines[:] if whole else lines[start : start + draw(st.integers(1, 40))]
    for _ in range(draw(st.integers(0, 3))):
        i = draw(st.integers(0, len(piece) - 1))
        kind = draw(st.sampled_from(["drop", "double", "swap", "cut", "columns", "insert", "byte"]))
        if kind == "drop" and len(piece) > 1:
            del piece[i]
        elif kind == "double":
            piece.insert(i, piece[i])
        elif kind == "swap":
            piece[i], piece[-1] = piece[-1], piece[i]
        elif kind == "cut":
            piece[i] = piece[i][: draw(st.integers(0, len(piece[i])))]
        elif kind == "columns":
            separator = b"\t" if b"\t" in piece[i] else b" "
            piece[i] = separator.join(draw(st.permutations(piece[i].split(separator)[:12])))
        else:
            at = draw(st.integers(0, len(piece[i])))
            end = at + (kind == "byte")
            piece[i] = piece[i][:at] + draw(st.sampled_from(NASTY)) + piece[i][end:]
    return b"\n".join(piece)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise an error in code that hangs, a regular expression say. Seconds of processor time."""

    def fail(*_) -> None:
        raise AssertionError(f"not done after {seconds} s of work")

    before = signal.signal(signal.SIGVTALRM, fail)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def read(format: str, path: Path, options: dict) -> tuple[ConversionReport, list]:
    report = ConversionReport()
    docs = list(FORMATS[format](path, blank(), report, **options))
    for doc in docs:
        report.add_doc(doc)
    return report, docs


def check_counts(name: str, data: bytes, report: ConversionReport, docs: list) -> None:
    corpus = CORPORA[name]
    text = data.decode("utf8").removeprefix("\ufeff")
    text = text if "\n" in text else text.replace("\r", "\n")
    expected = sum(bool(re.fullmatch(corpus.token, line, re.DOTALL)) for line in text.split("\n"))
    assert report.tokens == sum(map(len, docs))
    if corpus.token in (TEXT, ANYTHING):
        lost = sum(entry.count for cause, entry in report.causes.items() if LOST.fullmatch(cause))
        assert corpus.token == ANYTHING or report.docs + lost == expected
        if name in ("ag_news", "labels"):
            assert report.gold["cats"] == report.docs
        return
    if name == "columns" and "comment line: skipped" in report.causes:
        expected -= report.causes["comment line: skipped"].count
    assert report.tokens == expected
    if name == "conllu":
        tags = [line.split("\t")[4] for line in text.split("\n") if re.match(corpus.token, line)]
        assert report.gold["tag"] == sum(tag != "_" for tag in tags)
    if name == "conll2000":
        assert report.gold["tag"] == expected
    for layer in ("ents", "spans[np]"):
        assert sum(report.labels.get(layer, {}).values()) == report.gold[layer]


@pytest.mark.parametrize("name", CORPORA)
def test_damage_is_an_error_with_its_place_or_every_line_is_accounted_for(name, tmp_path):
    corpus = CORPORA[name]
    path = tmp_path / "damaged.txt"

    @cases(40, 3000)
    @given(data=damaged(corpus.lines()), zipped=st.sampled_from([False, False, True, None]))
    def check(data: bytes, zipped: bool | None) -> None:
        stored = data if zipped is False else gzip.compress(data, 1)
        # None: cut short, too.
        path.write_bytes(stored[: len(stored) * 2 // 3] if zipped is None else stored)
        try:
            with time_limit(20):
                report, docs = read(name, path, corpus.options)
        except ConversionError as error:
            place = rf"(:[0-9]+|, record [0-9]+): |: ({WHOLE})"
            assert re.match(rf"{re.escape(str(path))}({place})", str(error)), error
            return
        assert zipped is not None or not data
        if data[:2] != b"\x1f\x8b":
            check_counts(name, data, report, docs)

    check()


CLEANCONLL = {
    "annotations": """[TOKEN]\t-X-\tO\tO\tO

[TOKEN]\tNNP\tB-Oslo\tB-LOC\tB-LOC
[TOKEN]\t:\tO\tO\tO
[TOKEN]\tVBN\tO\tO\tO
[TOKEN]\tNN\tO\tO\tO
[TOKEN]\tIN\tO\tO\tO
[TOKEN]\tNNP\tB-Ann\tB-ORG\tB-PER
[TOKEN]\tNNP\tI-Ann\tI-ORG\tI-PER

[TOKEN]\t-X-\tO\tO\tO

[TOKEN]\tNN\tO\tO\tO
""",
    "conll03": """-DOCSTART- -X- O O

Oslo-based NNP I-NP I-MISC
firm NN I-NP O

of IN I-PP O
Ann NNP I-NP I-PER
Lee NNP I-NP I-PER

-DOCSTART- -X- O O

Rain NN I-NP O
""",
    # Line 3 is parted, and the blank line 5 goes.
    "patch": "3c3,5\n< Oslo-based\n---\n> Oslo\n> -\n> based\n5d6\n< \n",
}


@pytest.mark.parametrize("broken", CLEANCONLL)
def test_of_three_files_that_belong_together_any_may_be_damaged(broken, tmp_path):
    paths = {name: tmp_path / f"{name}.txt" for name in CLEANCONLL}
    for name, text in CLEANCONLL.items():
        paths[name].write_bytes(text.encode("utf8"))
    options = {name: paths[name] for name in ("conll03", "patch")}
    _, docs = read("cleanconll", paths["annotations"], options)
    assert [len(doc) for doc in docs] == [7, 1]
    lines = CLEANCONLL[broken].encode("utf8").split(b"\n")

    @cases(40, 3000)
    @given(data=damaged(lines, whole=True))
    def check(data: bytes) -> None:
        paths[broken].write_bytes(data)
        try:
            with time_limit(20):
                report, docs = read("cleanconll", paths["annotations"], options)
        except ConversionError as error:
            places = "|".join(re.escape(str(path)) for path in paths.values())
            assert re.match(rf"({places}):[0-9]+: ", str(error)), error
            return
        # Who damages the words changes them in the docs, but none is lost.
        annotations = paths["annotations"].read_bytes().decode("utf8").removeprefix("\ufeff")
        rows = [line for line in annotations.split("\n") if line.strip(" \t\r")]
        assert report.tokens == sum(map(len, docs))
        # The others are -DOCSTART- lines, of which the first may be missing.
        assert len(rows) - report.tokens in (len(docs) - 1, len(docs))
        assert sum(report.labels.get("ents", {}).values()) == report.gold["ents"]

    check()
