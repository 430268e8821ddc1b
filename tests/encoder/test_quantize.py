"""Pipelines in int8: small, close to the original, prediction only."""

import pytest
import spacy

from tests.conftest import TEXTS, corpus, predictions

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from spacy_multitask.encoder import shim
from spacy_multitask.encoder.quantize import quantize
from spacy_multitask.layers.onnx import OnnxNetwork, export


@pytest.fixture(scope="module")
def folders(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("quantized")
    trained.to_disk(folder / "float")
    before, after = quantize(folder / "float", folder / "int8")
    assert after < before
    return folder


def test_the_exported_graph_is_the_network(trained):
    import torch

    network = trained.get_pipe("transformer").shim.module.eval()
    graph = OnnxNetwork(export(network), width=32, longest_input=64)
    ids = torch.randint(4, 100, (5, 13))
    shapes = torch.randint(0, 5, (5, 13))
    mask = torch.ones_like(ids)
    mask[2:, 7:] = 0
    with torch.no_grad():
        for rows, columns, m in ((5, 13, mask), (1, 13, None), (2, 4, None), (5, 1, None)):
            inputs = (ids[:rows, :columns], shapes[:rows, :columns], m)
            real = slice(None) if m is None else slice(0, 7)
            theirs, ours = network(*inputs), graph(*inputs)
            assert torch.allclose(ours[:, real], theirs[:, real], atol=1e-4)


def test_int8_loads_as_any_other_and_holds_the_graph_alone(folders, trained):
    files = {path.name for path in (folders / "int8").rglob("*") if path.is_file()}
    assert "model.int8.onnx" in files and "model.safetensors" not in files
    nlp = spacy.load(folders / "int8")
    assert nlp.get_pipe("transformer").precision == "int8"
    ours, theirs = predictions(nlp.pipe(TEXTS)), predictions(trained.pipe(TEXTS))
    tags = [
        a == b for x, y in zip(ours, theirs, strict=True) for a, b in zip(x[0], y[0], strict=True)
    ]
    # Of words that were not learned some are near a tie.
    assert sum(tags) > 0.8 * len(tags)
    again = make_int8_copy(nlp)
    assert predictions(again.pipe(TEXTS)) == ours


def test_sums_of_two_products_do_not_overflow(folders):
    """Processors without VNNI add up two products of activations (to 255) and weights in 16 bits.
    With weights to 127 a base-sized encoder gave noise there."""
    onnx = pytest.importorskip("onnx")
    graph = spacy.load(folders / "int8").get_pipe("transformer").shim.encoder.network.graph
    tensors = onnx.load_from_string(graph).graph.initializer
    weights = [
        onnx.numpy_helper.to_array(t) for t in tensors if t.data_type == onnx.TensorProto.INT8
    ]
    widest = max(int(abs(w.astype(int)).max()) for w in weights if w.ndim == 2)
    assert 32 < widest and 2 * 255 * widest <= 2**15


def make_int8_copy(nlp):
    copy = spacy.blank("en").from_config(nlp.config)
    return copy.from_bytes(nlp.to_bytes())


@pytest.fixture
def threads():
    import torch

    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_threads_that_share_the_work_change_nothing(folders, threads):
    import torch

    nlp = spacy.load(folders / "int8")
    shim = nlp.get_pipe("transformer").shim
    docs = [nlp.make_doc(" ".join(text.split()[:n])) for text in TEXTS * 3 for n in (1, 5, 9)]
    found = []
    for n in (1, 3):
        threads(n)
        found.append(shim.encoder.encode(docs, is_train=False, precision="int8", budget=24))
    one, three = found
    assert one.words.shape == (sum(map(len, docs)), shim.encoder.width)
    assert torch.equal(one.words, three.words)
    assert torch.equal(one.doc_vectors, three.doc_vectors)


def test_int8_predicts_in_processes_forked_after_it_has_predicted(folders, threads):
    threads(2)
    nlp = spacy.load(folders / "int8", config={"components.transformer.max_batch_pieces": 24})
    expected = predictions(nlp.pipe(TEXTS * 4, batch_size=6))
    assert predictions(nlp.pipe(TEXTS * 4, batch_size=6, n_process=2)) == expected


def test_a_replaced_listener_changes_no_prediction_in_int8(folders, tmp_path):
    nlp = spacy.load(folders / "int8")
    expected = predictions(nlp.pipe(TEXTS))
    for head in ("tagger", "textcat"):
        nlp.replace_listeners("transformer", head, ["model.tok2vec"])
    assert predictions(nlp.pipe(TEXTS)) == expected
    nlp.to_disk(tmp_path)
    assert predictions(spacy.load(tmp_path).pipe(TEXTS)) == expected
    with pytest.raises(ValueError, match="can't be trained"):
        nlp.update(corpus(nlp), exclude=["transformer"])


def test_int8_does_not_train(folders):
    nlp = spacy.load(folders / "int8")
    with pytest.raises(ValueError, match="can't be trained"):
        nlp.update(corpus(nlp), sgd=nlp.resume_training())


def test_precision_must_fit_what_is_stored(folders):
    config = {"components": {"transformer": {"precision": "float32"}}}
    with pytest.raises(ValueError, match="made from"):
        spacy.load(folders / "int8", config=config)
    config = {"components": {"transformer": {"precision": "int8"}}}
    with pytest.raises(ValueError, match="multitask quantize"):
        spacy.load(folders / "float", config=config)


def test_a_damaged_graph_is_named(folders, tmp_path):
    import shutil

    shutil.copytree(folders / "int8", tmp_path / "m")
    file = next((tmp_path / "m").rglob("model.int8.onnx"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"model\.int8\.onnx"):
        spacy.load(tmp_path / "m")


def test_nothing_to_quantize(tmp_path):
    spacy.blank("en").to_disk(tmp_path / "blank")
    with pytest.raises(ValueError, match="multitask_transformer"):
        quantize(tmp_path / "blank", tmp_path / "out")


def test_a_graph_for_one_size_alone_is_refused_before_anything_is_saved(
    folders, tmp_path, monkeypatch
):
    import torch

    def export_fixed(network):
        """A graph of the traced size, as exporters make of sizes that they take for constants."""
        monkeypatch.setattr(torch.export, "Dim", lambda name: None)
        return export(network)

    monkeypatch.setattr(shim, "export", export_fixed)
    with pytest.raises(
        ValueError, match=r"'transformer' of .* can't be quantized: .* a bert\. "
    ) as e:
        quantize(folders / "float", tmp_path / "out")
    assert "\n" not in str(e.value) and list(tmp_path.iterdir()) == []


def test_an_encoder_that_the_exporter_can_not_take_is_refused(folders, tmp_path, monkeypatch):
    def fail(network):
        raise RuntimeError("Unsupported operator\nand forty lines more")

    monkeypatch.setattr(shim, "export", fail)
    with pytest.raises(ValueError, match=r"a bert\. RuntimeError: Unsupported operator$"):
        quantize(folders / "float", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
