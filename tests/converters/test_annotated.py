"""What all annotation tools share: spans of characters become spans of tokens."""

import pytest

from spacy_multitask.converters import ConversionError
from spacy_multitask.converters.annotated import Annotated, CharSpan, DocMaker
from spacy_multitask.relations import get_relations

TEXT = "A York-based  firm in Oslo\nand Bergen ."


def span(part, label="X", text=TEXT):
    start = text.index(part)
    return CharSpan(start, start + len(part), label)


@pytest.fixture
def make(nlp, report):
    def make_doc(*spans, text=TEXT, misaligned="unknown", spans_key=None, **layers):
        said = Annotated("a.jsonl", 3, text, spans=list(spans), **layers)
        return DocMaker(nlp, report, misaligned, spans_key)(said)

    return make_doc


def ents(doc):
    return [(ent.text, ent.label_) for ent in doc.ents]


def causes(report):
    return {cause: entry.count for cause, entry in report.causes.items()}


def test_what_is_outside_of_the_spans_is_known_to_be_outside(make, report):
    doc = make(span("Oslo", "LOC"))
    assert ents(doc) == [("Oslo", "LOC")]
    assert [token.ent_iob_ for token in doc if token.text != "Oslo"] == ["O"] * (len(doc) - 1)
    assert make().has_annotation("ENT_IOB")
    assert not report.causes


def test_nothing_is_known_outside_of_spans_that_are_partial(make):
    doc = make(span("Oslo", "LOC"), partial=True)
    assert [token.text for token in doc if token.ent_iob_] == ["Oslo"]


@pytest.mark.parametrize(
    "misaligned, entities, how",
    [
        ("unknown", [], "its tokens are unknown"),
        ("expand", [("York", "X")], "all of its tokens taken"),
        ("contract", [], "its whole tokens taken"),
    ],
)
def test_a_span_that_cuts_a_token(make, report, misaligned, entities, how):
    doc = make(span("Yor"), misaligned=misaligned)
    assert ents(doc) == entities
    assert [t.text for t in doc if not t.ent_iob_] == ([] if entities else ["York"])
    assert causes(report) == {f"span that cuts a token: {how}": 1}
    assert dict(report.misaligned) == {"'Yor' of 'York'": 1}


def test_a_longer_span_is_contracted_to_its_whole_tokens(make, report):
    doc = make(span("rk-based  firm in Os"), misaligned="contract")
    assert ents(doc) == [("-based  firm in", "X")]
    assert dict(report.misaligned) == {"'rk' of 'York'": 1, "'Os' of 'Oslo'": 1}


def test_blanks_at_the_edges_are_trimmed_and_counted(make, report):
    doc = make(span("  firm "), span(" Oslo\n"), span("\n"))
    assert ents(doc) == [("firm", "X"), ("Oslo", "X")]
    assert causes(report) == {
        "span with blanks at its edges: trimmed": 2,
        "span of blanks alone: left out": 1,
    }


def test_spans_that_overlap_are_unknown_in_ents_and_kept_in_spans(make, report):
    spans = (span("Oslo"), span("in Oslo"), span("Bergen"), span("Bergen"))
    doc = make(*spans)
    assert ents(doc) == [("Bergen", "X")]
    assert [token.text for token in doc if not token.ent_iob_] == ["in", "Oslo"]
    assert causes(report) == {
        "span that is there twice: kept once": 1,
        "span that overlaps another: its tokens are unknown in doc.ents": 2,
    }
    doc = make(*spans[:3], spans_key="sc")
    assert [s.text for s in doc.spans["sc"]] == ["Oslo", "in Oslo", "Bergen"]
    assert not doc.has_annotation("ENT_IOB")


def test_a_group_of_spans_says_which_tokens_are_unknown(make, report):
    doc = make(span("Os"), span("Bergen"), spans_key="sc", relations=[(1, 0, "R")])
    assert [s.text for s in doc.spans["sc"]] == ["Bergen"]
    assert [doc[i].text for i in doc.spans["sc"].attrs["unknown"]] == ["Oslo"]
    assert causes(report) == {
        "span that cuts a token: its tokens are unknown": 1,
        "relation of what is no span, or none that was kept: left out": 1,
    }
    none = make(spans_key="sc").spans["sc"]
    assert list(none) == [] and not none.attrs
    partial = make(span("in Oslo"), spans_key="sc", partial=True)
    known = set(range(len(partial))) - set(partial.spans["sc"].attrs["unknown"])
    assert [partial[i].text for i in sorted(known)] == ["in", "Oslo"]


def test_what_is_unknown_takes_entities_with_it(make, report):
    doc = make(span("in Oslo"), span("Bergen"), unknown=[span("Oslo")[:2]])
    assert ents(doc) == [("Bergen", "X")]
    assert [token.text for token in doc if not token.ent_iob_] == ["in", "Oslo"]
    assert causes(report) == {"span on tokens that are unknown: left out": 1}


def test_relations_follow_their_spans(make, report):
    spans = (span("Oslo", "LOC"), span("Bergen", "LOC"), span("fir"))
    doc = make(*spans, relations=[(1, 0, "NEAR"), (0, 2, "HAS"), (None, 1, "X")])
    assert [(r.head.text, r.tail.text, r.label) for r in get_relations(doc)] == [
        ("Bergen", "Oslo", "NEAR")
    ]
    assert causes(report) == {
        "span that cuts a token: its tokens are unknown": 1,
        "relation of what is no span, or none that was kept: left out": 2,
    }


def test_given_tokens_are_kept_if_they_spell_the_text(make, report):
    doc = make(span("York"), text="A York-based", words=[(0, 1), (2, 12)])
    assert [(token.text, token.ent_iob_) for token in doc] == [("A", "O"), ("York-based", "")]
    assert dict(report.misaligned) == {"'York' of 'York-based'": 1}
    for words in ([(0, 1), (2, 11)], [(2, 12)], [(0, 1), (1, 1), (2, 12)], [(0, 2), (2, 12)], []):
        report.causes.clear()
        assert len(make(text="A York-based.", words=words)) > 2
        assert causes(report) == {"text that its tokens do not spell: tokenized anew": 1}


@pytest.mark.parametrize(
    "place", [(-1, 2, "X"), (2, 2, "X"), (30, 99, "X"), (3, 1, "X"), (0, 1, "")]
)
def test_spans_outside_of_the_text_are_errors(make, place):
    with pytest.raises(
        ConversionError, match=r"a.jsonl:3: the span from character .* 39 characters"
    ):
        make(CharSpan(*place))


def test_another_way_with_misaligned_spans_is_refused(make):
    with pytest.raises(ConversionError, match="must be one of unknown, expand, contract"):
        make(misaligned="keep")
