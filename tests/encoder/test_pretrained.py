"""What is wrong with a pretrained encoder is said in one line, before anything is trained on it."""

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import spacy
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoTokenizer, BertConfig, BertModel

from spacy_multitask.encoder import pretrained
from spacy_multitask.encoder.encode import Encoder
from spacy_multitask.encoder.pretrained import load_pretrained
from tests.conftest import corpus, make_nlp, make_tokenizer
from tests.encoder.families import FAMILIES

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 133\n"


@pytest.fixture
def folder(encoder_path, tmp_path) -> Path:
    return Path(shutil.copytree(encoder_path, tmp_path / "encoder"))


def load(name, **model) -> Encoder:
    """RETURNS (Encoder): A fresh one, as `nlp.initialize` loads it."""
    shim = make_nlp(str(name), (), model=model).get_pipe("transformer").shim
    return load_pretrained(shim.name, shim.options)


def refusal(name, **model) -> str:
    """RETURNS (str): What is said when an encoder is not loaded."""
    with pytest.raises(ValueError) as caught, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load(name, **model)
    text = str(caught.value)
    assert "\n" not in text
    return text


def edit(file: Path, **values) -> None:
    """Set values in a JSON file; None takes one out."""
    data = {**json.loads(file.read_text()), **values}
    file.write_text(json.dumps({name: v for name, v in data.items() if v is not None}))


def test_special_tokens_that_the_file_lacks_are_not_saved(folder, tmp_path):
    """Classes of transformers name some by default; the network has no vectors for them."""
    make_tokenizer("unigram").save_pretrained(folder)
    edit(folder / "tokenizer_config.json", mask_token="<absent>", eos_token="<gone>")
    n_pieces = len(json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"])
    edit(folder / "config.json", vocab_size=n_pieces)
    nlp = make_nlp(str(folder), ("tagger",))
    BertModel(BertConfig.from_pretrained(folder)).save_pretrained(folder)
    nlp.initialize(lambda: corpus(nlp))
    nlp.to_disk(tmp_path / "nlp")
    text = "Mr Smith loves York"
    again = spacy.load(tmp_path / "nlp")
    assert [t.tag_ for t in again(text)] == [t.tag_ for t in nlp(text)]


def without_tokenizer(folder: Path) -> None:
    for file in folder.iterdir():
        if "token" in file.name:
            file.unlink()


def with_a_piece_more(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["York"])
    tokenizer.save_pretrained(folder)


def cut_off(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:9999])


def in_parts(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def rename(folder: Path, old: str, new: str) -> None:
    (folder / old).rename(folder / new)


# name -> what is done to a folder, and what is then said, besides the folder's name.
SPOILED = {
    "weights by git-lfs": (
        lambda p: (p / "model.safetensors").write_text(LFS),
        ("model.safetensors", "git lfs pull"),
    ),
    "tokenizer by git-lfs": (
        lambda p: (p / "tokenizer.json").write_text(LFS),
        ("tokenizer.json", "git lfs pull"),
    ),
    "weights cut off": (cut_off, ("model.safetensors", "9999 bytes", "cut off")),
    "weights of random bytes": (
        lambda p: (p / "model.safetensors").write_bytes(bytes(range(256))),
        ("model.safetensors", "damaged"),
    ),
    "no weights": (lambda p: (p / "model.safetensors").unlink(), ("model.safetensors is missing",)),
    "a part of the weights missing": (in_parts, ("model-2.safetensors is missing",)),
    "weights for TensorFlow": (
        lambda p: rename(p, "model.safetensors", "tf_model.h5"),
        ("TensorFlow alone", "tf_model.h5"),
    ),
    "weights for Flax": (
        lambda p: rename(p, "model.safetensors", "flax_model.msgpack"),
        ("Flax alone", "from_flax=True"),
    ),
    "no config": (lambda p: (p / "config.json").unlink(), ("config.json is missing",)),
    "damaged config": (
        lambda p: (p / "config.json").write_text("{"),
        ("config.json is damaged",),
    ),
    "an adapter alone": (
        lambda p: (
            rename(p, "config.json", "adapter_config.json"),
            rename(p, "model.safetensors", "adapter_model.safetensors"),
        ),
        ("does not say which encoder", "adapter.path"),
    ),
    "no tokenizer": (without_tokenizer, ("tokenizer.json is missing",)),
    "a tokenizer of a later version": (
        lambda p: (p / "tokenizer.json").write_text(
            (p / "tokenizer.json").read_text().replace("WordPiece", "Next")
        ),
        (),
    ),
    "a piece that the model lacks": (with_a_piece_more, ("160 pieces, the model 159",)),
    "no text model": (
        lambda p: edit(p / "config.json", model_type="vit"),
        ("model_type = 'vit'", "text encoder"),
    ),
    "no kind of model": (
        lambda p: edit(p / "config.json", model_type=None),
        ("model_type = None",),
    ),
    "a model with code of its own": (
        lambda p: edit(
            p / "config.json", model_type="neobert", auto_map={"AutoModel": "model.NeoBERT"}
        ),
        ("code of their own", "not run"),
    ),
    "an attention kernel": (
        lambda p: edit(p / "config.json", attn_implementation="owner/kernel"),
        ("attn_implementation", "owner/kernel", "not run"),
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_folder_that_is_not_whole_is_refused_by_name(name, folder):
    spoil, said = SPOILED[name]
    spoil(folder)
    text = refusal(folder)
    assert str(folder) in text
    assert "trust_remote_code" not in text
    for part in said:
        assert part in text


def test_names_that_lead_nowhere(tmp_path):
    assert "there is no such folder" in refusal(tmp_path / "none")
    assert "there is no such folder" in refusal("./none")
    (tmp_path / "file").write_text("")
    assert "it is a file" in refusal(tmp_path / "file")
    assert "hub" in refusal("owner/no-such-encoder")
    assert "No encoder is named" in refusal("")


def test_the_folder_that_sentence_transformers_puts_it_in_is_found(folder, tmp_path):
    outer = tmp_path / "outer"
    outer.mkdir()
    folder.rename(outer / "0_Transformer")
    (outer / "modules.json").write_text("[]")
    assert load(outer).width == 32


@pytest.mark.parametrize(
    "prefix, auto_map, cause",
    [
        ("", {"AutoModel": "jina--model.JinaBert"}, "auto_map"),
        ("inner.model.", None, "'inner.model.' before their names"),
        (None, None, "only a part of one"),
        ("lora_", None, "adapter"),
    ],
)
def test_weights_that_are_missing_are_not_made_up(folder, prefix, auto_map, cause):
    file = folder / "model.safetensors"
    weights = load_file(file)
    # Under other names, as in models with code of their own or inside of others.
    # With None they are not there at all.
    moved = {
        f"{prefix or 'mlp.'}{name}" if "intermediate" in name else name: value
        for name, value in weights.items()
        if prefix is not None or "intermediate" not in name
    }
    save_file(moved, file, {"format": "pt"})
    edit(folder / "config.json", auto_map=auto_map)
    text = refusal(folder)
    n_all = sum("pooler" not in name for name in weights)
    assert f"4 of {n_all} weights are missing" in text or f"4 of {n_all + 2} weights" in text
    assert "encoder.layer.0.intermediate.dense.bias" in text
    assert cause in text


def test_the_pooler_may_be_missing(folder):
    file = folder / "model.safetensors"
    weights = {name: value for name, value in load_file(file).items() if "pooler" not in name}
    save_file(weights, file, {"format": "pt"})
    assert load(folder).width == 32


def test_sentencepiece_is_asked_for_by_the_name_of_the_extra(folder, monkeypatch):
    without_tokenizer(folder)
    (folder / "spm.model").write_bytes(b"")
    monkeypatch.setattr(pretrained, "_is_installed", lambda name: False)
    text = refusal(folder)
    assert "SentencePiece model" in text
    assert "pip install 'spacy_multitask[sentencepiece]'" in text


# Options


def write(family: str, folder: Path) -> str:
    return str(FAMILIES[family].write(folder))


def test_a_window_may_be_smaller_than_the_limit_and_not_larger(encoder_path):
    assert load(encoder_path).capacity == 62  # what the encoder takes, less [CLS] and [SEP]
    assert load(encoder_path, window=20, overlap=4).capacity == 18
    assert "window = 65" in (text := refusal(encoder_path, window=65))
    assert "takes 64 pieces" in text


def test_the_limit_is_the_models_where_the_tokenizer_names_none(tmp_path):
    edit(Path(write("modernbert", tmp_path), "tokenizer_config.json"), model_max_length=10**30)
    assert load(tmp_path).capacity == 510
    assert load(tmp_path, window=8192).capacity == 8190


def test_a_model_without_positions_has_no_limit(tmp_path):
    edit(Path(write("t5", tmp_path), "tokenizer_config.json"), model_max_length=None)
    assert load(tmp_path).capacity == 511
    assert load(tmp_path, window=5000).capacity == 4999


@pytest.mark.parametrize("family", ["modernbert", "bge_m3"])
def test_a_window_of_8192_gives_what_the_model_gives(family, tmp_path):
    encoder = load(write(family, tmp_path), window=8192)
    nlp = make_nlp(str(tmp_path), ())
    doc = nlp.make_doc("Anna won. " * 2500)
    pieces = encoder.cache.pieces_of([doc])
    n_words = int(np.searchsorted(pieces.starts + pieces.counts, 8190, side="right"))
    doc = doc[:n_words].as_doc()
    pieces = encoder.cache.pieces_of([doc])
    assert 8180 < len(pieces.ids) <= 8190
    ids = torch.tensor([[*encoder.prefix, *pieces.ids, *encoder.suffix]])
    with torch.no_grad():
        expected = encoder.network.transformer(input_ids=ids).last_hidden_state[0]
    found = encoder.encode([doc], is_train=False, precision="float32").words
    rows = expected[pieces.starts + len(encoder.prefix)]
    torch.testing.assert_close(found, rows, atol=1e-4, rtol=1e-4)


def test_an_encoder_that_can_not_recompute_says_so(tmp_path):
    text = refusal(write("squeezebert", tmp_path), gradient_checkpointing=True)
    assert "gradient_checkpointing = true: SqueezeBertModel can't" in text


def test_dropout_that_reaches_nothing_is_an_error(encoder_path, tmp_path):
    assert (
        load(encoder_path, dropout=0.3).network.transformer.encoder.layer[0].output.dropout.p == 0.3
    )
    attention = load(write("llama2", tmp_path), dropout=0.3).network.transformer.layers[0].self_attn
    assert attention.attention_dropout == 0.3
    assert not pretrained._set_dropout(nn.Linear(2, 2), 0.3)


def test_a_decoder_is_warned_of(tmp_path):
    with pytest.warns(UserWarning, match='left to right.*pooling = "last"'):
        load(write("qwen3", tmp_path))


def test_padding_that_shows_is_warned_of_with_its_size(tmp_path):
    with pytest.warns(UserWarning, match=r"vectors of a text \(by 0\.\d+ of \d\.\d+\)"):
        load(write("convbert", tmp_path))


@pytest.mark.parametrize(
    "family, column", [("bert", 0), ("xlnet", -1), ("qwen3_embedding", -1), ("mmbert", 0)]
)
def test_cls_is_where_the_tokenizer_puts_it(family, column, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        encoder = load(write(family, tmp_path), doc_pooling="cls")
    nlp = make_nlp(str(tmp_path), ())
    docs = [nlp.make_doc(text) for text in ("Anna Smith won in New York", "Won")]
    found = encoder.encode(docs, is_train=False, precision="float32").doc_vectors
    for doc, vector in zip(docs, found):
        ids = torch.tensor([encoder.tokenizer(doc.text)["input_ids"]])
        with torch.no_grad():
            expected = encoder.network.transformer(input_ids=ids).last_hidden_state[0, column]
        torch.testing.assert_close(vector, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["t5", "qwen3"])
def test_cls_is_refused_where_there_is_none(family, tmp_path):
    assert 'doc_pooling = "cls"' in refusal(write(family, tmp_path), doc_pooling="cls")


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_of_an_encoder_and_a_decoder_the_encoder_is_kept(family, tmp_path):
    encoder = load(write(family, tmp_path))
    assert not any("decoder" in name for name, _ in encoder.network.named_parameters())


def test_a_short_doc_changes_nothing_for_a_long_one_after_it(tmp_path):
    """BigBird's sparse attention would, and draws what it looks at."""
    encoder = load(write("big_bird", tmp_path), window=1000)
    nlp = make_nlp(str(tmp_path), ())
    docs = [nlp.make_doc(text) for text in ("Anna won. " * 300, "Won")]
    assert len(encoder.cache.pieces_of(docs[:1]).ids) > 704, "from here on it would be sparse"
    first, _, again = (
        encoder.encode([docs[i]], is_train=False, precision="float32").words for i in (0, 1, 0)
    )
    assert torch.equal(again, first)


def test_the_last_of_the_layers_has_its_norm(tmp_path):
    path = write("modernbert", tmp_path)
    mixed, last = load(path, layers=[-1]), load(path)
    doc = make_nlp(path, ()).make_doc("Anna Smith won")
    found, expected = (
        e.encode([doc], is_train=False, precision="float32").words for e in (mixed, last)
    )
    torch.testing.assert_close(found, expected)


def test_layers_of_other_lengths_are_refused(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = refusal(write("funnel", tmp_path), layers=[1, 2])
    assert "for each of its layers" in text
