"""The same pipeline after it was saved and loaded, in whatever way."""

import copy
import pickle
from pathlib import Path

import pytest
import spacy
from spacy.tokens import DocBin

from spacy_multitask.safe_files import SavingError
from tests.conftest import ALL_HEADS, TEXTS, make_nlp, predictions


def test_disk(trained, tmp_path):
    trained.to_disk(tmp_path)
    assert predictions(spacy.load(tmp_path).pipe(TEXTS)) == predictions(trained.pipe(TEXTS))


def test_bytes(trained, encoder_path):
    data = trained.to_bytes()
    other = make_nlp(encoder_path).from_bytes(data)
    assert predictions(other.pipe(TEXTS)) == predictions(trained.pipe(TEXTS))
    assert predictions(pickle.loads(pickle.dumps(trained)).pipe(TEXTS)) == predictions(
        trained.pipe(TEXTS)
    )


def test_disk_holds_one_encoder_and_no_pickle(trained, tmp_path):
    trained.to_disk(tmp_path)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1
    sizes = {head: (tmp_path / head / "model").stat().st_size for head in ALL_HEADS}
    assert max(sizes.values()) < 10_000, "a head holds its own layer only"
    files = {p.name for p in tmp_path.rglob("*") if p.is_file()}
    assert not [name for name in files if name.endswith((".pt", ".pkl", ".pickle", ".py"))]
    assert not [p for p in tmp_path.rglob("model") if p.is_file() and p.read_bytes()[:1] == b"\x80"]


def test_copies_share_nothing(trained):
    other = copy.deepcopy(trained.get_pipe("tagger"))
    assert other.module is not trained.get_pipe("tagger").module


def test_predictions_survive_a_docbin(trained):
    docs = list(trained.pipe(TEXTS))
    data = DocBin(docs=docs, attrs=["TAG", "POS", "ENT_IOB", "ENT_TYPE"], store_user_data=True)
    again = list(DocBin().from_bytes(data.to_bytes()).get_docs(trained.vocab))
    assert predictions(again) == predictions(docs)


def test_no_file_of_a_pipeline_can_be_cut_off_unseen(trained, tmp_path):
    trained.to_disk(tmp_path)
    expected = predictions(trained.pipe(TEXTS))
    files = [path for path in sorted(tmp_path.rglob("*")) if path.is_file()]
    # spaCy refuses its own files too, but does not say which one it read.
    ours = {tmp_path / name for name in ("transformer", *ALL_HEADS)}
    n_refused = 0
    for file in files:
        data = file.read_bytes()
        file.write_bytes(data[: len(data) // 2])
        try:
            nlp = spacy.load(tmp_path)
        except (ValueError, EOFError) as error:
            n_refused += 1
            if ours & set(file.parents):
                assert file.name in str(error)
                assert str(file.parent) in str(error)
        else:
            # What a component without settings of its own keeps is not read.
            assert file == tmp_path / "transformer" / "cfg"
            assert predictions(nlp.pipe(TEXTS)) == expected
        file.write_bytes(data)
    assert n_refused == len(files) - 1


def test_a_missing_weights_file_is_named(trained, tmp_path):
    trained.to_disk(tmp_path)
    next(tmp_path.rglob("model.safetensors")).unlink()
    with pytest.raises((ValueError, OSError), match=r"model\.safetensors"):
        spacy.load(tmp_path)


def test_heads_can_be_left_out_when_loading(trained, tmp_path):
    trained.to_disk(tmp_path)
    nlp = spacy.load(tmp_path, exclude=["chunker", "textcat"])
    doc = nlp(TEXTS[0])
    assert "np" not in doc.spans and doc.cats == {}
    assert [t.tag_ for t in doc] == [t.tag_ for t in trained(TEXTS[0])]
    spacy.load(tmp_path, exclude=["tagger", "chunker", "ner", "textcat"])(TEXTS[0])


def test_precision_can_be_chosen_when_loading(trained, tmp_path):
    trained.to_disk(tmp_path)
    config = {"components": {"transformer": {"precision": "bfloat16"}}}
    nlp = spacy.load(tmp_path, config=config)
    assert nlp.get_pipe("transformer").precision == "bfloat16"
    same = [
        a.tag_ == b.tag_ for text in TEXTS for a, b in zip(nlp(text), trained(text), strict=True)
    ]
    assert sum(same) > 0.9 * len(same)


def test_vectors_are_not_kept(trained):
    doc = trained(TEXTS[0])
    assert doc.tensor.size == 0
    assert not doc.user_data


def test_chunks_without_a_parse(trained):
    doc = trained(" ".join(["Mr", "Smith", "loves", "New", "York"]))
    assert [c.text for c in doc._.chunks] == ["Mr Smith", "loves", "New York"]
    assert [c.text for c in doc._.noun_chunks] == ["Mr Smith", "New York"]


def test_a_changed_weights_file_is_named(trained, tmp_path):
    trained.to_disk(tmp_path)
    file = next(tmp_path.rglob("model.safetensors"))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1  # a bit of a weight: the file is still good safetensors
    file.write_bytes(data)
    with pytest.raises(ValueError, match=r"model\.safetensors is not what it was"):
        spacy.load(tmp_path)


@pytest.mark.parametrize("name", ["model", "cfg"])
@pytest.mark.parametrize("head", ALL_HEADS)
def test_a_changed_file_of_a_head_is_named(trained, tmp_path, head, name):
    trained.to_disk(tmp_path)
    file = tmp_path / head / name
    data = file.read_bytes()
    # The last byte of the weights; a space after the labels.
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]) if name == "model" else data + b" ")
    with pytest.raises(ValueError, match=rf"{head}.*: {name} "):
        spacy.load(tmp_path)


def test_a_pipeline_without_manifests_loads(trained, tmp_path):
    trained.to_disk(tmp_path)
    manifests = list(tmp_path.rglob("manifest.json"))
    assert len(manifests) == 1 + len(ALL_HEADS)
    for file in manifests:
        file.unlink()
    assert predictions(spacy.load(tmp_path).pipe(TEXTS)) == predictions(trained.pipe(TEXTS))


def test_a_crash_while_two_encoders_change_places_leaves_the_last_good_one(trained, tmp_path):
    trained.to_disk(tmp_path)
    folder = tmp_path / "transformer" / "model"
    folder.rename(folder.with_name(".model.old"))
    assert predictions(spacy.load(tmp_path).pipe(TEXTS)) == predictions(trained.pipe(TEXTS))


def test_an_encoder_that_can_not_be_saved_leaves_the_last_good_one(trained, tmp_path, monkeypatch):
    trained.to_disk(tmp_path)
    write_bytes = Path.write_bytes

    def fill_up(path, data):
        if path.name == "model.safetensors":
            write_bytes(path, data[: len(data) // 2])
            raise OSError(28, "No space left on device")
        return write_bytes(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fill_up)
        with pytest.raises(SavingError, match=r"transformer/model: No space left on device"):
            trained.to_disk(tmp_path)
    assert predictions(spacy.load(tmp_path).pipe(TEXTS)) == predictions(trained.pipe(TEXTS))
