"""Docs are packed as before, and packages are asked for packers once."""

import catalogue
import pytest
import spacy
import srsly
from spacy.tokens import Doc, DocBin, Span
from spacy.vocab import Vocab

from spacy_multitask.packing import remember_packers

DECODERS = srsly.msgpack.msgpack_decoders


@pytest.fixture
def searches(monkeypatch) -> list:
    """RETURNS (List): Grows with each search of all packages for packers."""
    found: list = []
    search = catalogue.Registry._get_entry_points

    def counted(self):
        found.extend([self.namespace] if "srsly" in self.namespace else [])
        return search(self)

    monkeypatch.setattr(catalogue.Registry, "_get_entry_points", counted)
    return found


def packed() -> bytes:
    doc = Doc(Vocab(), words=["Anna", "Brown", "won"])
    doc.spans["np"] = [Span(doc, 0, 2, "NP")]
    doc.user_data["kept"] = [1, "two"]
    return DocBin(docs=[doc] * 20, store_user_data=True).to_bytes()


def test_all_packages_are_searched_once_not_for_each_doc(searches):
    before = packed()
    remember_packers()
    remember_packers()
    assert packed() == before, "what is packed is the same"
    searches.clear()
    docs = list(DocBin().from_bytes(packed()).get_docs(Vocab()))
    assert [(span.text, span.label_) for span in docs[7].spans["np"]] == [("Anna Brown", "NP")]
    assert list(docs[7].user_data["kept"]) == [1, "two"]
    assert len(searches) < 2, "one at most, for the first of all docs"


def test_what_is_registered_later_is_found():
    remember_packers()
    data = srsly.msgpack_dumps({"a": 1})
    assert srsly.msgpack_loads(data) == {"a": 1}

    def decode(value, chain=None):
        return {**value, "seen": True}

    DECODERS.register("late", func=decode)
    try:
        assert srsly.msgpack_loads(data) == {"a": 1, "seen": True}
    finally:
        catalogue.REGISTRY.pop((*DECODERS.namespace, "late"))
    assert srsly.msgpack_loads(data) == {"a": 1}


def test_an_encoder_in_the_pipeline_is_enough(searches):
    spacy.blank("en").add_pipe("multitask_transformer")
    packed()
    searches.clear()
    packed()
    assert searches == []
