import pytest

from spacy_multitask.converters import ConversionError, convert
from spacy_multitask.converters.cleanconll import apply_patch, read_cleanconll

CONLL03 = """-DOCSTART- -X- O O

Oslo-based NNP I-NP I-MISC
firm NN I-NP O

of IN I-PP O
Ann NNP I-NP I-PER

"""
# Line 3 is parted, and the blank line 5 goes.
PATCH = "3c3,5\n< Oslo-based\n---\n> Oslo\n> -\n> based\n5d6\n< \n"
ANNOTATIONS = """[TOKEN]\t-X-\tO\tO\tO

[TOKEN]\tNNP\tB-Oslo\tB-LOC\tB-LOC
[TOKEN]\t:\tO\tO\tO
[TOKEN]\tVBN\tO\tO\tO
[TOKEN]\tNN\tO\tO\tO
[TOKEN]\tIN\tO\tO\tO
[TOKEN]\tNNP\tB-Ann\tB-ORG\tB-PER
"""


@pytest.fixture
def files(write):
    def write_files(annotations=ANNOTATIONS, conll03=CONLL03, patch=PATCH):
        return (
            write(annotations, "annotations.txt"),
            {"conll03": write(conll03, "conll03.txt"), "patch": write(patch, "tokens.patch")},
        )

    return write_files


def test_words_come_from_the_patched_conll03_file(files, nlp, report):
    path, sources = files()
    (doc,) = read_cleanconll(path, nlp, report, **sources)
    assert [token.text for token in doc] == ["Oslo", "-", "based", "firm", "of", "Ann"]
    assert [(e.start, e.end, e.label_) for e in doc.ents] == [(0, 1, "LOC"), (5, 6, "PER")]
    assert [sent.start for sent in doc.sents] == [0]
    assert report.causes["token without POS to compare"].count == 3


def test_the_label_column_is_an_option(files, nlp, report):
    path, sources = files()
    (doc,) = read_cleanconll(path, nlp, report, column="ner*", **sources)
    assert [ent.label_ for ent in doc.ents] == ["LOC", "ORG"]
    with pytest.raises(ConversionError, match=r"column is 'nel', but must be one of ner, ner\*"):
        list(read_cleanconll(path, nlp, report, column="nel", **sources))


def test_merged_annotations_need_no_other_file(files, nlp, report):
    words = iter(["-DOCSTART-", "Oslo", "-", "based", "firm", "of", "Ann"])
    lines = [
        line.replace("[TOKEN]", next(words)) if line else "" for line in ANNOTATIONS.split("\n")
    ]
    path, _ = files("\n".join(lines))
    (doc,) = read_cleanconll(path, nlp, report)
    assert [token.text for token in doc] == ["Oslo", "-", "based", "firm", "of", "Ann"]


def test_masked_annotations_without_the_words_are_an_error(files, nlp, report):
    path, sources = files()
    with pytest.raises(ConversionError, match=r"annotations.txt:1: the token is masked"):
        list(read_cleanconll(path, nlp, report))
    with pytest.raises(ConversionError, match="given without the other"):
        list(read_cleanconll(path, nlp, report, conll03=sources["conll03"]))


def test_docs_survive_the_file(files, tmp_path, load):
    path, sources = files()
    convert("cleanconll", path, tmp_path / "out.spacy", **sources)
    (doc,) = load(tmp_path / "out.spacy")
    assert [token.ent_iob_ for token in doc] == ["B", "O", "O", "O", "O", "B"]
    assert not doc.has_annotation("TAG")


@pytest.mark.parametrize(
    "patch, tokens",
    [
        ("", ["a", "b", "c"]),
        ("0a1\n> x\n", ["x", "a", "b", "c"]),
        ("1a2,3\n> x\n> y\n", ["a", "x", "y", "b", "c"]),
        ("3a4\n> x\n", ["a", "b", "c", "x"]),
        ("2,3d1\n< b\n< c\n", ["a"]),
        ("1c1\n< a\n---\n> x\n3c3\n< c\n---\n> y\n", ["x", "b", "y"]),
        ("2d1\n< b\n2a2\n> x\n", ["a", "x", "c"]),
        ("3c3\n< c\n---\n> x\n\\ No newline at end of file\n", ["a", "b", "x"]),
    ],
)
def test_patches_are_applied_as_by_diff(write, patch, tokens):
    source = write("a N O O\nb N O O\nc N O O\n", "conll03.txt")
    patched = apply_patch(source, write(patch, "tokens.patch"))
    assert [token for _, token, _ in patched] == tokens


@pytest.mark.parametrize(
    "patch, message",
    [
        (
            PATCH.replace("< Oslo-based", "< Rome-based"),
            r"tokens.patch:2: the patch takes out 'Rome-based', but line 3 of .* has 'Oslo-based'",
        ),
        (
            PATCH.replace("5d6", "6d6"),
            r"tokens.patch:7: the change follows 6 lines of the new file, but 7 were made",
        ),
        (
            PATCH.replace("5d6", "5d7"),
            r"tokens.patch:7: the change follows 7 lines of the new file, but 6 were made",
        ),
        (
            PATCH + "90d90\n< x\n",
            r"tokens.patch:9: the patch changes lines after the end of .* which has 8 lines",
        ),
        (
            PATCH.replace("> -\n", ""),
            r"tokens.patch:1: the change takes out 1 and puts in 3 lines, but lists 1 and 2",
        ),
        (PATCH + "4d6\n< firm\n", r"tokens.patch:9: the change '4d6' begins before the end of the"),
        ("--- a\n+++ b\n", r"tokens.patch:1: '--- a' is not a line of a plain diff"),
        ("5,3d2\n", r"tokens.patch:1: the line numbers of '5,3d2' run backwards"),
    ],
)
def test_patches_that_do_not_fit_are_errors(write, patch, message):
    with pytest.raises(ConversionError, match=message):
        list(apply_patch(write(CONLL03, "conll03.txt"), write(patch, "tokens.patch")))


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"annotations": ANNOTATIONS.replace("[TOKEN]\tIN", "[TOKEN]\tNN")},
            r"annotations.txt:7: POS 'NN' is not 'IN' as in line 6 of .*conll03.txt \('of'\)",
        ),
        (
            {"annotations": ANNOTATIONS.replace("[TOKEN]\tIN", "\n[TOKEN]\tIN")},
            r"annotations.txt:7: the line is blank .* line 6 of .*conll03.txt gives the token 'of'",
        ),
        (
            {"annotations": ANNOTATIONS + "[TOKEN]\tNN\tO\tO\tO\n"},
            r"annotations.txt:9: the line has annotations, but line 8 of .* gives no token",
        ),
        (
            {"annotations": ANNOTATIONS[: ANNOTATIONS.rindex("[TOKEN]")]},
            r"annotations.txt:8: the line is blank or after the end, but line 7 .* token 'Ann'",
        ),
        (
            {"annotations": ANNOTATIONS.replace("\tB-ORG", "")},
            r"annotations.txt:8: 4 tab columns instead of 5",
        ),
        (
            {"annotations": ANNOTATIONS.replace("[TOKEN]\tIN", "in\tIN")},
            r"annotations.txt:7: the token 'in' is neither \[TOKEN\] nor 'of'",
        ),
    ],
)
def test_files_that_do_not_fit_are_errors(files, nlp, report, change, message):
    path, sources = files(**change)
    with pytest.raises(ConversionError, match=message):
        list(read_cleanconll(path, nlp, report, **sources))


@pytest.mark.parametrize(
    "name, conll03, n_docs, n_tokens, n_ents",
    [("dev", "testa", 216, 51383, 5966), ("test", "testb", 231, 46504, 5725)],
)
def test_the_real_files_fit_together(
    corpus_file, nlp, report, name, conll03, n_docs, n_tokens, n_ents
):
    path = corpus_file(f"cleanconll/cleanconll_annotations.{name}.gz")
    docs = read_cleanconll(
        path,
        nlp,
        report,
        conll03=corpus_file(f"conll03/eng.{conll03}.gz"),
        patch=corpus_file(f"cleanconll/{name}_tokens.patch.gz"),
        scheme="bio",
    )
    for doc in docs:
        report.add_doc(doc)
    assert (report.docs, report.tokens, report.gold["ents"]) == (n_docs, n_tokens, n_ents)
    assert list(report.causes) == ["token without POS to compare"]


def test_the_train_patch_fits_the_train_file(corpus_file):
    tokens = apply_patch(
        corpus_file("conll03/eng.train.gz"), corpus_file("cleanconll/train_tokens.patch.gz")
    )
    assert sum(1 for _, token, _ in tokens if token == "-DOCSTART-") == 946
