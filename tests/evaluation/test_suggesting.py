"""Texts for annotation: the least sure first, each once, in forms that `convert` reads."""

import json

import numpy as np
import pytest
import spacy
import srsly
from spacy.tokens import Span
from typer.testing import CliRunner

from spacy_multitask.cli import app
from spacy_multitask.converters import convert
from spacy_multitask.converters.exports import TOOLS, label_studio_config, write_suggestions
from spacy_multitask.corpus.minhash import Distinct
from spacy_multitask.corpus.plain_texts import read_plain_texts
from spacy_multitask.evaluation import suggesting
from spacy_multitask.evaluation.suggesting import least_confidence, margin, suggest
from spacy_multitask.relations import set_relations
from tests.conftest import TEXTS, corpus, example, make_nlp

KNOWN = "Mr Smith loves New York"


def test_uncertainty_by_hand():
    probs = np.array([[0.9, 0.1, 0.0], [0.4, 0.3, 0.3]])
    assert least_confidence(probs) == pytest.approx(1 - (0.9 * 0.4) ** 0.5)
    assert margin(probs) == pytest.approx(1 - (0.8 + 0.1) / 2)
    assert margin(np.array([[1.0]])) == 0.0


def test_near_duplicates_come_once():
    distinct = Distinct(0.8)
    text = "theoldtownneartheriverhasabridgethatmanypeoplecrosseachday"
    assert distinct.add(text)
    assert not distinct.add(text) and not distinct.add(text + "s")
    assert distinct.add(text[::-1])
    assert distinct.add("ok") and not distinct.add("ok")


@pytest.mark.parametrize("order", suggesting.ORDERS)
def test_the_least_sure_come_first(trained, order):
    texts = [KNOWN, KNOWN, *TEXTS, "", "Zürich 7 qq xx zz"]
    found = suggest(trained, texts, order=order, n=10, layer="tagger")
    assert len(found) == len({s.doc.text for s in found}) == len(TEXTS) + 2
    values = [suggestion.uncertainty for suggestion in found]
    assert values == sorted(values, reverse=True) and values[0] > values[-1]
    assert found[-1].doc.text == KNOWN, "it was learned by heart"
    measure = suggesting.ORDERS[order]
    layers = trained.get_pipe("tagger").probs([found[0].doc])
    expected = np.mean([measure(probs) for (probs,) in layers.values()])
    assert values[0] == pytest.approx(expected, abs=1e-5)
    assert len(suggest(trained, texts, order=order, n=2)) == 2


def test_every_kind_of_head_counts(encoder_path):
    """Of overlapping spans, of labels of spans and of relations, too."""
    nlp = make_nlp(encoder_path, heads=("ner",))
    nlp.add_pipe("multitask_spans", name="spans")
    labels = {"attribute": "known", "probs": True}
    nlp.add_pipe("multitask_span_classifier", name="known", config=labels)
    nlp.add_pipe("multitask_relations", name="relations")

    def examples():
        eg = example(nlp, KNOWN.split(), ents=[(0, 2, "PER"), (3, 5, "LOC")])
        doc = eg.reference
        doc.spans["sc"] = [Span(doc, 0, 2, "NP"), Span(doc, 1, 2, "NAME")]
        for span, value in zip(doc.ents, ("well", "little")):
            span._.known = value
        set_relations(doc, [(doc.ents[0], doc.ents[1], "lives_in", 1.0)])
        return [eg]

    sgd = nlp.initialize(examples)
    for _ in range(60):
        nlp.update(examples(), sgd=sgd)
    for layer in ("spans", "known", "relations"):
        found = suggest(nlp, [KNOWN, "qq xx zz"], order="uncertain", n=2, layer=layer)
        values = {suggestion.doc.text: suggestion.uncertainty for suggestion in found}
        assert 0 < values[KNOWN] < 1, layer
    (best,) = suggest(nlp, [KNOWN], order="margin", n=1, layer="spans")
    assert {(span.text, span.label_) for span in best.spans} == {
        ("Mr Smith", "NP"),
        ("Smith", "NAME"),
    }
    doc = nlp(KNOWN)
    (probs,) = nlp.get_pipe("known").probs([doc])
    (found,) = suggest(nlp, [KNOWN], order="uncertain", n=1, layer="known")
    assert found.uncertainty == pytest.approx(least_confidence(probs), abs=1e-4)


def test_options_are_checked(trained):
    for options, said in (
        ({"order": "best", "n": 1}, "not one of uncertain, margin"),
        ({"order": "margin", "n": 0}, "at least 1"),
        ({"order": "margin", "n": 1, "layer": "parser"}, "not one of the heads tagger"),
    ):
        with pytest.raises(ValueError, match=said):
            suggest(trained, TEXTS, **options)
    with pytest.raises(ValueError, match="no head"):
        suggest(spacy.blank("en"), TEXTS, order="margin", n=1)


FORMATS = {"prodigy": "prodigy", "labelstudio": "label_studio", "doccano": "doccano"}


def as_accepted(tool, path):
    """Do what a tool does where an annotator agrees with all that is suggested."""
    if tool == "labelstudio":
        tasks = json.loads(path.read_text())
        for task in tasks:
            task["annotations"] = [{"result": p["result"]} for p in task.pop("predictions")]
        path.write_text(json.dumps(tasks))
    elif tool == "argilla":
        rows = list(srsly.read_jsonl(path))
        for row in rows:
            for name in [n for n in row if n.endswith(".suggestion")]:
                question = name.removesuffix(".suggestion")
                row[f"{question}.responses"] = [row.pop(name)]
                row[f"{question}.responses.status"] = ["submitted"]
        srsly.write_jsonl(path, rows)


@pytest.mark.parametrize("tool", TOOLS)
def test_what_is_suggested_comes_back(trained, tool, tmp_path):
    found = suggest(trained, [KNOWN, *TEXTS], order="uncertain", n=10)
    assert any(s.spans for s in found), "there are entities to bring back"
    write_suggestions(found, tmp_path / "tasks.jsonl", tool)
    as_accepted(tool, tmp_path / "tasks.jsonl")
    convert(FORMATS.get(tool, tool), tmp_path / "tasks.jsonl", tmp_path / "gold.spacy")
    gold = {
        doc.text: doc
        for doc in spacy.tokens.DocBin().from_disk(tmp_path / "gold.spacy").get_docs(trained.vocab)
    }
    assert len(gold) == len(found)
    for suggestion in found:
        doc = gold[suggestion.doc.text]
        expected = [(s.start_char, s.end_char, s.label_) for s in suggestion.spans]
        assert [(e.start_char, e.end_char, e.label_) for e in doc.ents] == expected
        assert doc.has_annotation("ENT_IOB") or tool == "argilla"
        (choice,) = suggestion.choices
        assert [label for label, value in doc.cats.items() if value] == choice.chosen


def test_relations_go_along(trained, tmp_path):
    from spacy_multitask.relations import get_relations, set_relations

    doc = trained(KNOWN)
    assert len(doc.ents) == 2
    set_relations(doc, [(doc.ents[0], doc.ents[1], "Live_In", 0.9)])
    found = suggest(trained, [KNOWN], order="uncertain", n=1)[0]
    found.doc, found.spans, found.relations = doc, list(doc.ents), get_relations(doc)
    for tool, format in FORMATS.items():
        path = tmp_path / f"{tool}.jsonl"
        write_suggestions([found], path, tool)
        as_accepted(tool, path)
        convert(format, path, tmp_path / f"{tool}.spacy")
        docs = spacy.tokens.DocBin().from_disk(tmp_path / f"{tool}.spacy")
        (back,) = docs.get_docs(trained.vocab)
        (relation,) = get_relations(back)
        assert (relation.head.text, relation.tail.text, relation.label) == (
            "Smith",
            "New York",
            "Live_In",
        )
    assert '<Relation value="Live_In"/>' in label_studio_config(found, ["Live_In"])


def test_chunks_are_suggested_if_they_are_asked_for(trained):
    (found,) = suggest(trained, [KNOWN], order="uncertain", n=1, layer="chunker")
    assert [span.label_ for span in found.spans] == ["NP", "VP", "NP"]


def test_texts_in_any_form(tmp_path):
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    (tmp_path / "a.csv").write_text("id,text\n1,one\n2,two\n")
    srsly.write_jsonl(tmp_path / "a.jsonl", [{"text": "one"}, {"text": "two"}])
    docs = spacy.tokens.DocBin(docs=[spacy.blank("en")(text) for text in ("one", "two")])
    docs.to_disk(tmp_path / "a.spacy")
    for name in ("a.txt", "a.csv", "a.jsonl", "a.spacy"):
        assert list(read_plain_texts(tmp_path / name)) == ["one", "two"], name
    (tmp_path / "b.csv").write_text("id,body\n1,one\n")
    with pytest.raises(ValueError, match="called 'text'"):
        list(read_plain_texts(tmp_path / "b.csv"))


def test_the_command(trained, tmp_path):
    trained.to_disk(tmp_path / "model")
    (tmp_path / "texts.txt").write_text("\n".join([KNOWN, *TEXTS]))
    arguments = ["suggest", str(tmp_path / "model"), str(tmp_path / "texts.txt")]
    arguments += [str(tmp_path / "tasks.json"), "--to", "labelstudio", "--n", "2"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert len(json.loads((tmp_path / "tasks.json").read_text())) == 2
    assert '<Labels name="label" toName="text">' in result.output
    assert len(corpus(trained)) and CliRunner().invoke(app, arguments).exit_code == 1
