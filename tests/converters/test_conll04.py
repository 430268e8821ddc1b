import pytest

from spacy_multitask.converters import ConversionError
from spacy_multitask.converters.conll04 import read_conll04

WORDS = "0\tthe\tO\t['N']\t[0]\n1\tPeople\tI-Loc\t['N']\t[1]\n2\t's\tI-Loc\t['N']\t[2]\n"


def test_an_entity_without_a_begin_tag_is_kept_and_reported(write, nlp, report):
    text = "0\tRome\tB-Loc\t['N']\t[0]\n\n" + WORDS
    docs = list(read_conll04(write(text), nlp, report))
    assert [(e.start, e.end, e.label_) for e in docs[1].ents] == [(1, 3, "Loc")]
    assert "entity written as in iob1" in report.render()


@pytest.mark.parametrize(
    "name, n_docs, n_ents, n_relations",
    # What `grep -c` finds: lines with B-, two entities in train without it, labels that are not N.
    [("train", 910, 3393, 1273), ("dev", 243, 877, 353), ("test", 288, 1079, 422)],
)
def test_the_real_corpus_is_read_whole(corpus_file, nlp, report, name, n_docs, n_ents, n_relations):
    for doc in read_conll04(corpus_file(f"conll04/{name}.txt.gz"), nlp, report):
        report.add_doc(doc)
    gold = report.gold
    assert (report.docs, gold["ents"], gold["relations"]) == (n_docs, n_ents, n_relations)


@pytest.mark.parametrize("cells", ["['N']\t[" + "1" * 60, "['" + "a', '" * 60 + "\t[0]"])
def test_cells_that_do_not_end_are_an_error_and_take_no_time(cells, nlp, report, write):
    path = write(f"#doc 1\n0\tAnna\tO\t{cells}\n", "a.txt")
    with pytest.raises(ConversionError, match=r"a\.txt:2: "):
        list(read_conll04(path, nlp, report))
