import pytest

from spacy_multitask.converters import ConversionError, convert
from spacy_multitask.converters.conllu import read_conllu
from tests.converters.conftest import ASSETS


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
        (
            "# global.columns = ID FORM\n1\ta\n",
            r"corpus.txt:1: the columns are .ID FORM., not .*conllup",
        ),
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


@pytest.mark.parametrize("name, n_sents", [("dev", 2001), ("test", 2077)])
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


def tagged(*words, key="name"):
    """Words with entity tags in MISC; None for a word without."""
    return "".join(
        row(i, word, misc=f"SpaceAfter=No|{key}={tag}" if tag else "_")
        for i, (word, tag) in enumerate(words, start=1)
    )


def ents(doc):
    return [(ent.start, ent.end, ent.label_) for ent in doc.ents]


NAMES = tagged(("Finn", "B-PER"), ("Eilertsen", "I-PER"), ("bor", "O"), ("her", "O"))


def test_entities_are_read_from_misc_on_demand(write, nlp, report):
    docs = list(read_conllu(write(NAMES + "\n" + NAMES), nlp, report, ner="name", n_sents=2))
    assert [ents(doc) for doc in docs] == [[(0, 2, "PER"), (4, 6, "PER")]]
    assert not any("entity" in cause for cause in report.causes)


def test_entity_tags_that_are_not_read_are_counted(write, nlp, report):
    (doc,) = read_conllu(write(NAMES), nlp, report)
    assert not doc.has_annotation("ENT_IOB")
    cause = report.causes["entity tag in MISC: not read; the option ner name reads it"]
    assert cause.count == 4 and cause.first.endswith("corpus.txt:1")


def test_words_without_a_tag_are_unknown_where_others_have_an_o(write, nlp, report):
    text = tagged(("Finn", "B-PER"), ("bor", None), ("her", "O")) + "\n" + tagged(("ja", None))
    first, second = read_conllu(write(text), nlp, report, ner="name")
    assert [token.ent_iob_ for token in first] == ["B", "", "O"]
    assert not second.has_annotation("ENT_IOB")
    # The Japanese GSD treebank has tags on the words of entities alone.
    text = tagged(("Finn", "B-PER"), ("bor", None), key="NE") + "\n" + tagged(("ja", None))
    first, second = read_conllu(write(text), nlp, report, ner="NE")
    assert [token.ent_iob_ for token in first] == ["B", "O"]
    assert [token.ent_iob_ for token in second] == ["O"]


def test_a_multiword_token_has_the_tag_for_its_words(write, nlp, report):
    # So Stanza writes them.
    text = row("1-2", "vámonos", misc="ner=S-X") + row(1, "vamos") + row(2, "nos")
    text += row(3, "mar", misc="ner=O")
    (doc,) = read_conllu(write(text), nlp, report, ner="ner")
    assert ents(doc) == [(0, 2, "X")]
    assert [token.ent_iob_ for token in doc] == ["B", "I", "O"]


def test_a_key_that_no_word_has_is_an_error(write, nlp, report):
    with pytest.raises(ConversionError, match="no word has an entity tag under 'ner'"):
        list(read_conllu(write(NAMES), nlp, report, ner="ner"))
    with pytest.raises(
        ConversionError, match=r"corpus.txt:2: entity tag 'X' is not O, B-<type> or"
    ):
        text = tagged(("a", "O"), ("b", "X"))
        list(read_conllu(write(text), nlp, report, ner="name"))


GERMAN = (
    "# text = Er ist im Haus.\n"
    + row(1, "Er", lemma="er", upos="PRON", xpos="PPER", head="5", deprel="nsubj")
    + row(2, "ist", lemma="sein", upos="AUX", xpos="VAFIN", head="5", deprel="cop")
    + row("3-4", "im", misc="name=O")
    + row(3, "in", lemma="in", upos="ADP", xpos="APPR", feats="A=x", head="5", deprel="case")
    + row(4, "dem", lemma="der", upos="DET", xpos="ART", feats="A=y|B=z", head="5", deprel="det")
    + row(5, "Haus", lemma="Haus", upos="NOUN", xpos="NN", head="0", deprel="root", misc=NO_SPACE)
    + row(6, ".", lemma=".", upos="PUNCT", xpos="$.", head="5", deprel="punct")
)


def test_multiword_tokens_are_kept_whole_on_demand(write, nlp, report):
    (doc,) = read_conllu(write(GERMAN), nlp, report, merge_multiword=True)
    assert doc.text == "Er ist im Haus."
    assert [token.tag_ for token in doc] == ["PPER", "VAFIN", "APPR_ART", "NN", "$."]
    assert [token.pos_ for token in doc] == ["PRON", "AUX", "ADP", "NOUN", "PUNCT"]
    assert [token.lemma_ for token in doc] == ["er", "sein", "in der", "Haus", "."]
    assert [str(token.morph) for token in doc] == ["", "", "A=x,y|B=z", "", ""]
    assert [token.head.i for token in doc] == [3, 3, 3, 3, 3]
    assert [token.dep_ for token in doc] == ["nsubj", "cop", "case", "ROOT", "punct"]
    assert not report.causes


def test_the_part_that_governs_the_others_gives_the_place_in_the_tree(write, nlp, report):
    # dámelo: "da" is the root, "me" and "lo" are its objects, and "ya" depends on "lo".
    text = row("1-3", "dámelo") + row(1, "da", upos="VERB", head="0", deprel="root")
    text += row(2, "me", upos="PRON", head="1", deprel="iobj")
    text += row(3, "lo", upos="PRON", head="1", deprel="obj")
    text += row(4, "ya", upos="ADV", head="3", deprel="advmod")
    (doc,) = read_conllu(write(text), nlp, report, merge_multiword=True)
    assert [(t.text, t.pos_, t.head.i, t.dep_) for t in doc] == [
        ("dámelo", "VERB", 0, "ROOT"), ("ya", "ADV", 0, "advmod")
    ]  # fmt: skip


def test_entities_follow_the_words_that_are_made_one(write, nlp, report):
    text = row(1, "Haus", misc="name=O") + row("2-3", "zur") + row(2, "zu", misc="name=O")
    text += row(3, "der", misc="name=B-LOC") + row(4, "Linde", misc="name=I-LOC")
    (doc,) = read_conllu(write(text), nlp, report, ner="name", merge_multiword=True)
    assert [ent.text for ent in doc.ents] == ["zur Linde"]


def test_a_comment_within_a_sentence_is_counted_and_no_word(write, nlp, report):
    (doc,) = read_conllu(write(row(1, "a") + "# late\n" + row(2, "b")), nlp, report)
    assert [token.text for token in doc] == ["a", "b"]
    assert report.causes["comment within a sentence: skipped"].first.endswith("corpus.txt:2")


def test_the_sample_is_read_whole(nlp, report):
    path = ASSETS / "harbour.conllu"
    (doc,) = read_conllu(path, nlp, report, ner="name", merge_multiword=True, n_sents=0)
    assert doc.text == "Nora Falk arbeitet im Hafen von Elding."
    assert ents(doc) == [(0, 2, "PER"), (6, 7, "LOC")]
    assert not report.causes
