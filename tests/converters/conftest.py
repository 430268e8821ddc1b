"""Helpers for the converters' tests; the real corpora are beside the repository, or not there."""

import gzip
from pathlib import Path

import pytest
import spacy
from spacy.tokens import DocBin

from spacy_multitask.converters import ConversionReport

ASSETS = Path(__file__).resolve().parents[2] / "assets" / "formats"
SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def nlp():
    return spacy.blank("en")


@pytest.fixture
def report():
    return ConversionReport()


@pytest.fixture
def write(tmp_path):
    """Write text or bytes to a file in the test's folder; names in .gz get compressed."""

    def write_file(data, name="corpus.txt"):
        data = data.encode("utf8") if isinstance(data, str) else data
        path = tmp_path / name
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write_file


@pytest.fixture
def corpus_file():
    """Find a file of the real corpora, or skip the test."""

    def find(name):
        path = SHARED_DATA / name
        if not path.exists():
            pytest.skip(f"the corpus file ../shared/data/{name} is not beside the repository")
        return path

    return find


@pytest.fixture
def load():
    """Load the docs of a .spacy file with a vocab that knows none of their strings."""

    def load_docs(path):
        return list(DocBin().from_disk(path).get_docs(spacy.blank("en").vocab))

    return load_docs
