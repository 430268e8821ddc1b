import pytest

from spacy_multitask.converters import ConversionError, convert
from spacy_multitask.converters.conllu import read_conllu


def row(index, form, **values):
    names = ("lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
    return "\t".join([str(index), form, *(values.get(name, "_") for name in names)]) + "\n"


NO_SPACE = "SpaceAfter=No"
FIRST = (
    "# newdoc id = a\n"
    "# text = I don't sing.\n"
    + row(1, "I", lemma="I", upos="PRON", xpos="PRP", feats="Number=Sing", head="4", deprel="nsubj")
    + row("2-3", "don't")
    + row(2, "do", lemma="do", upos="AUX", xpos="VBP", head="4", deprel="aux")
    + row(3, "n't", lemma="not", upos="PART", xpos="RB", head="4", deprel="advmod")
    + row(
        4,
        "sing",
        lemma="sing",
        upos="VERB",
        xpos="VB",
        head="0",
        deprel="root",
        misc="SpaceAfter=No",
    )
    + row(5, ".", lemma=".", upos="PUNCT", xpos=".", head="4", deprel="punct")
    + "\n"
)
SECOND = (
    "# text = Go!\n"
    + row(
        1,
        "Go",
        lemma="go",
        upos="VERB",
        xpos="VB",
        head="0",
        deprel="root",
        misc="SpaceAfter=No|X=1",
    )
    + row("1.1", "on", upos="ADV")
    + row(2, "!", lemma="!", upos="PUNCT", xpos=".", head="1", deprel="punct")
    + "\n"
)
THIRD = "# newdoc\n" + row(1, "Hm", upos="INTJ", xpos="UH", head="0", deprel="root") + "\n"


def test_all_layers_are_read(write, nlp, report):
    doc = next(read_conllu(write(FIRST), nlp, report))
    assert [token.text for token in doc] == ["I", "do", "n't", "sing", "."]
    assert [token.tag_ for token in doc] == ["PRP", "VBP", "RB", "VB", "."]
    assert [token.pos_ for token in doc] == ["PRON", "AUX", "PART", "VERB", "PUNCT"]
    assert [token.lemma_ for token in doc] == ["I", "do", "not", "sing", "."]
    assert [str(token.morph) for token in doc] == ["Number=Sing", "", "", "", ""]
    assert [token.head.i for token in doc] == [3, 3, 3, 3, 3]
    assert [token.dep_ for token in doc] == ["nsubj", "aux", "advmod", "ROOT", "punct"]
    assert doc.text == "I don't sing."
    assert not report.causes


def test_everything_survives_the_file(write, tmp_path, load):
    convert("conllu", write(FIRST + SECOND + THIRD), tmp_path / "out.spacy", n_sents=0)
    first, second = load(tmp_path / "out.spacy")
    assert first.text == "I don't sing. Go!"
    assert [sent.start for sent in first.sents] == [0, 5]
    assert [token.head.i for token in first] == [3, 3, 3, 3, 3, 5, 5]
    assert [token.lemma_ for token in first] == ["I", "do", "not", "sing", ".", "go", "!"]
    assert [token.tag_ for token in first] == ["PRP", "VBP", "RB", "VB", ".", "VB", "."]
    assert first.has_annotation("MORPH", require_complete=True)
    assert not first.has_annotation("ENT_IOB") and not first.spans and not first.cats
    assert not second.has_annotation("LEMMA")


def test_docs_end_at_newdoc_and_at_n_sents(write, nlp, report):
    path = write(FIRST + SECOND + THIRD)
    for n_sents, lengths in ((0, [7, 1]), (1, [5, 2, 1]), (2, [7, 1]), (10, [7, 1])):
        docs = list(read_conllu(path, nlp, report, n_sents=n_sents))
        assert [len(doc) for doc in docs] == lengths


def test_empty_nodes_are_counted_and_no_tokens(write, nlp, report):
    (doc,) = read_conllu(write(SECOND), nlp, report)
    assert [token.text for token in doc] == ["Go", "!"]
    cause = report.causes["empty node of the enhanced graph: not a token"]
    assert cause.count == 1 and cause.first.endswith("corpus.txt:3")


def test_missing_columns_stay_missing(write, nlp, report, tmp_path, load):
    path = write(row(1, "a") + row(2, "b") + "\n" + row(1, "c"))
    convert("conllu", path, tmp_path / "out.spacy", n_sents=2)
    (doc,) = load(tmp_path / "out.spacy")
    for layer in ("TAG", "POS", "LEMMA", "MORPH", "DEP", "HEAD", "ENT_IOB"):
        assert not doc.has_annotation(layer), layer
    assert [sent.start for sent in doc.sents] == [0, 2]


def test_single_missing_values_stay_missing(write, nlp, report):
    text = row(1, "a", xpos="X", lemma="a") + row(2, "_", upos="SYM") + row(3, "b")
    (doc,) = read_conllu(write(text), nlp, report)
    assert [token.tag_ for token in doc] == ["X", "", ""]
    assert [token.pos_ for token in doc] == ["", "SYM", ""]
    # "_" is the lemma of the form "_" and no lemma of any other.
    assert [token.lemma_ for token in doc] == ["a", "_", ""]


def test_features_count_as_annotated_if_the_file_has_some_anywhere(write, nlp, report):
    none, some = row(1, "a", upos="X") + "\n", row(1, "b", feats="Foreign=Yes")
    first, _ = read_conllu(write(none + some), nlp, report)
    assert first.has_annotation("MORPH") and str(first[0].morph) == ""
    (only,) = read_conllu(write(none), nlp, report)
    assert not only.has_annotation("MORPH")


def test_words_of_a_multiword_token_that_do_not_spell_it_are_set_apart(write, nlp, report):
    text = "# text = du pain.\n" + row("1-2", "du") + row(1, "de") + row(2, "le")
    text += row(3, "pain", misc="SpaceAfter=No") + row(4, ".")
    (doc,) = read_conllu(write(text), nlp, report)
    assert doc.text == "de le pain."
    causes = {cause: (entry.count, entry.first[-12:]) for cause, entry in report.causes.items()}
    assert causes == {
        "multiword token that its words do not spell: words set apart": (1, "corpus.txt:2"),
        "sentence whose words and spaces differ from its '# text'": (1, "corpus.txt:3"),
    }


def test_the_space_after_a_multiword_token_is_its_own(write, nlp, report):
    text = "# text = (don't)\n" + row(1, "(", misc="SpaceAfter=No")
    text += row("2-3", "don't", misc="SpaceAfter=No") + row(2, "do") + row(3, "n't") + row(4, ")")
    (doc,) = read_conllu(write(text), nlp, report)
    assert doc.text == "(don't)"
    assert not report.causes


def test_non_projective_trees_keep_their_sentence_bounds(write, tmp_path, load):
    # 1 <- 3, 2 <- 4, and 3 is the root: the arcs 3-1 and 4-2 cross.
    text = row(1, "a", head="3", deprel="x") + row(2, "b", head="4", deprel="x")
    text += row(3, "c", head="0", deprel="root") + row(4, "d", head="3", deprel="x") + "\n"
    convert("conllu", write(text * 2), tmp_path / "out.spacy", n_sents=2)
    (doc,) = load(tmp_path / "out.spacy")
    assert [token.head.i for token in doc] == [2, 3, 2, 2, 6, 7, 6, 6]
    assert [sent.start for sent in doc.sents] == [0, 4]


@pytest.mark.parametrize(
    "text, cause",
    [
        (
            row(1, "a", head="0", deprel="root") + row(2, "b", head="0", deprel="root"),
            "doc with a sentence that is not a tree with one root: all its heads left out",
        ),
        (
            row(1, "a", head="0", deprel="root")
            + row(2, "b", head="3", deprel="x")
            + row(3, "c", head="2", deprel="x"),
            "doc with a sentence that is not a tree with one root: all its heads left out",
        ),
        (
            row(1, "a", head="0", deprel="root") + row(2, "b"),
            "doc with a word that has no head or no relation: all its heads left out",
        ),
        (
            row(1, "a", head="0", deprel="root") + row(2, "b", head="1"),
            "doc with a word that has no head or no relation: all its heads left out",
        ),
    ],
)
def test_broken_trees_are_left_out_and_counted(write, tmp_path, load, text, cause):
    good = row(1, "x", head="0", deprel="root") + "\n"
    report = convert("conllu", write(good + text), tmp_path / "out.spacy", n_sents=2)
    (doc,) = load(tmp_path / "out.spacy")
    assert report.causes[cause].first.endswith("corpus.txt:3")
    assert not doc.has_annotation("DEP")
    assert [sent.start for sent in doc.sents] == [0, 1]


@pytest.mark.parametrize(
    "text, message",
    [
        ("1\ta\n", r"corpus.txt:1: 2 tab columns instead of 10"),
        (row(1, "a") + row(3, "b"), r"corpus.txt:2: ID '3' instead of 2"),
        (row(1, "a") + "# text = late\n", r"corpus.txt:2: 1 tab columns instead of 10"),
        (row(1, "a") + row("1-2", "ab"), r"corpus.txt:2: the multiword token 1-2 does not stand"),
        (row("1-3", "ab") + row(1, "a"), r"corpus.txt:1: the multiword token 1-3 goes past the en"),
        (row("1-2", "ab") + "\n", r"corpus.txt:1: the multiword token 1-2 goes past the end"),
        (row("1-2", "ab"), r"corpus.txt:1: the multiword token 1-2 goes past the end"),
        (
            row("1-2", "ab") + row(1, "a") + row("2-3", "bc"),
            r"corpus.txt:3: the multiword token 2-3 .* overlaps another",
        ),
        (row(1, "a", upos="NN"), r"corpus.txt:1: 'NN' is not a universal part of speech"),
        (row(1, "a", feats="Plur"), r"corpus.txt:1: feature 'Plur' is not Name=Value"),
        (row(1, "a", head="x"), r"corpus.txt:1: head 'x' is not a number"),
        (row(1, "a", head="2", deprel="x"), r"corpus.txt:1: head 2 is the word itself or no word"),
        (row(1, "a", head="1", deprel="x"), r"corpus.txt:1: head 1 is the word itself or no word"),
        (
            row(1, "a", feats="A=1|A=2"),
            r"corpus.txt:1: the features 'A=1\|A=2' have one name twice",
        ),
        (row(1, ""), r"corpus.txt:1: the form is empty"),
    ],
)
def test_malformed_lines_are_errors(write, nlp, report, text, message):
    with pytest.raises(ConversionError, match=message):
        list(read_conllu(write(text), nlp, report))


def test_comments_without_words_are_not_the_next_sentence(write, nlp, report):
    (doc,) = read_conllu(write("# newdoc\n# text = gone\n\n" + SECOND), nlp, report, n_sents=0)
    assert doc.text == "Go!"
    assert "sentence whose words and spaces differ from its '# text'" not in report.causes


def test_whole_documents_cannot_be_asked_of_a_file_without_newdoc(write, nlp, report):
    with pytest.raises(ConversionError, match=r"corpus.txt:2: n_sents is 0 .* no '# newdoc'"):
        list(read_conllu(write(SECOND), nlp, report, n_sents=0))


@pytest.mark.parametrize("name, n_sents", [("train", 12544), ("dev", 2001), ("test", 2077)])
def test_the_real_corpus_has_its_published_counts(corpus_file, nlp, report, name, n_sents):
    path = corpus_file(f"ud_english_ewt/en_ewt-ud-{name}.conllu.gz")
    for doc in read_conllu(path, nlp, report):
        report.add_doc(doc)
    assert (report.docs, report.sentences) == (n_sents, n_sents)
    assert report.gold["tag"] == report.gold["pos"] == report.gold["dep"] == report.tokens
    # One sentence of the test set has a no-break space between words, which a Doc cannot have.
    differ = report.causes.pop("sentence whose words and spaces differ from its '# text'", None)
    assert (differ.count if differ else 0) == (name == "test")
    assert list(report.causes) == ["empty node of the enhanced graph: not a token"]


@pytest.mark.parametrize("column", [0, 6])
def test_a_number_of_thousands_of_digits_is_an_error_at_its_line(column, nlp, report, write):
    fields = ["1", "a", "a", "X", "X", "_", "0", "root", "_", "_"]
    fields[column] = "9" * 5000
    path = write("\t".join(fields) + "\n\n", "a.conllu")
    with pytest.raises(ConversionError, match=r"a\.conllu:1: "):
        list(read_conllu(path, nlp, report))
