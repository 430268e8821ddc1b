"""An adapter learns in place of the encoder's weights, and parts of it can be frozen."""

import json
import sys

import pytest
import spacy
import torch
from safetensors.torch import load_file
from spacy.util import fix_random_seed
from transformers import AutoModel, AutoModelForTokenClassification

from spacy_multitask.encoder.files import from_files
from spacy_multitask.layers import peft_adapter
from spacy_multitask.training.optimizer import make_adamw
from spacy_multitask.training.state import capture, restore
from tests.conftest import TEXTS, corpus, make_nlp
from tests.encoder.families import FAMILIES

peft = pytest.importorskip("peft")

SOME = ("distilbert", "modernbert", "deberta_v3", "xlm_roberta", "qwen3", "t5")
LORA = {"rank": 4, "targets": ["query", "value", "dense"]}


def make(encoder_path, heads=("tagger", "ner"), **model):
    fix_random_seed(0)
    nlp = make_nlp(str(encoder_path), heads, model=model)
    nlp.initialize(lambda: corpus(nlp))
    return nlp


def learn(nlp, n_steps=3, sgd=None, **optimizer):
    sgd = sgd or make_adamw(learn_rate=0.01, **optimizer)
    for _ in range(n_steps):
        nlp.update(corpus(nlp), sgd=sgd)
    nlp.get_pipe("transformer").settle()
    return nlp


def network_of(nlp, name="transformer"):
    return nlp.get_pipe(name).shim.module


def weights(nlp):
    return {n: p.detach().clone() for n, p in network_of(nlp).named_parameters()}


def vectors(nlp, name="transformer"):
    docs = [nlp.make_doc(text) for text in TEXTS]
    return nlp.get_pipe(name).shim.encoder.encode(docs, is_train=False, precision="float32").words


def written(nlp):
    return [[(t.tag_, t.ent_iob_, t.ent_type_) for t in doc] for doc in nlp.pipe(TEXTS)]


@pytest.fixture(scope="module")
def adapted(encoder_path):
    """A pipeline whose adapter and heads have learned."""
    return learn(make(encoder_path, adapter=LORA), n_steps=20)


# Training


@pytest.mark.parametrize("method", peft_adapter.METHODS)
def test_only_the_adapter_and_what_is_new_learns(method, encoder_path):
    nlp = make(encoder_path, adapter={"method": method})
    assert torch.equal(vectors(nlp), vectors(make(encoder_path))), "untrained, it changes nothing"
    network, before = network_of(nlp), weights(nlp)
    learn(nlp)
    after = weights(nlp)
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved == network.adapter_names | {"shape_embedding.weight"}
    start = AutoModel.from_pretrained(encoder_path).state_dict()
    for name, value in peft_adapter.without(network.transformer).items():
        assert torch.equal(value, start[name]), name


@pytest.mark.parametrize("name", SOME)
def test_families_have_targets_of_their_own(name, tmp_path):
    if not FAMILIES[name].is_here:
        pytest.skip("not in this version of transformers")
    folder = FAMILIES[name].write(tmp_path / "encoder")
    nlp = learn(make(folder, adapter={}), 2)
    targets = {t.rpartition(".")[2] for t in peft_adapter.adapted_layers(network_of(nlp))}
    expected = {
        "distilbert": {"q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"},
        "modernbert": {"Wqkv", "Wo", "Wi"},
        "deberta_v3": {"query_proj", "value_proj"},
        "xlm_roberta": {"query", "value"},
        "qwen3": {"q_proj", "v_proj"},
        "t5": {"q", "v"},
    }
    assert targets == expected[name]
    nlp.to_disk(tmp_path / "saved")
    assert torch.equal(vectors(spacy.load(tmp_path / "saved")), vectors(nlp))


def test_rates_follow_the_layers_and_the_adapter_is_new(encoder_path):
    nlp = make(encoder_path, adapter={"targets": ["query"]})
    network = network_of(nlp)
    before = weights(nlp)
    for p in network.parameters():
        p.grad = torch.ones_like(p) if p.requires_grad else None
    sgd = make_adamw(
        learn_rate=0.001, weight_decay=0.0, grad_clip=0.0, layer_decay=0.5, new_lr_scale=4.0,
        use_averages=True,
    )  # fmt: skip
    sgd.step_module(1, network)
    after = weights(nlp)
    for layer, rate in ((0, 0.002), (1, 0.004)):
        name = f"transformer.encoder.layer.{layer}.attention.self.query.lora_A.default.weight"
        assert (before[name] - after[name]).mean().item() == pytest.approx(rate, rel=1e-2)
    learned = {n for n, p in network.named_parameters() if p.requires_grad}
    assert {name for _, name in sgd.averages} == learned, "averages of what learns alone"
    assert not any(torch.equal(before[name], after[name]) for name in learned)
    assert sgd.module_state(1, network).keys() == learned


def test_a_training_goes_on_from_a_checkpoint(encoder_path):
    whole, sgd = make(encoder_path, adapter=LORA), make_adamw(learn_rate=0.01, use_averages=True)
    learn(whole, 2, sgd)
    tensors, notes = capture(whole, sgd)
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    learn(whole, 2, sgd)
    again, other = make(encoder_path, adapter=LORA), make_adamw(learn_rate=0.01, use_averages=True)
    restore(again, other, tensors, notes)
    learn(again, 2, other)
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(again)[name]), name
    with whole.use_params(sgd.averages), again.use_params(other.averages):
        assert torch.equal(vectors(whole), vectors(again))


# Saving and loading


def test_it_is_saved_beside_the_base_and_peft_reads_it(adapted, encoder_path, tmp_path):
    adapted.to_disk(tmp_path)
    folder = tmp_path / "transformer" / "model"
    base = AutoModel.from_pretrained(encoder_path)
    saved = load_file(folder / "model.safetensors")
    for name, value in base.state_dict().items():
        if "pooler" not in name:
            assert torch.equal(saved.pop(f"transformer.{name}"), value)
    assert saved.keys() == {"shape_embedding.weight"}
    values = json.loads((folder / "adapter_config.json").read_text())
    assert values["base_model_name_or_path"] is None and values["r"] == 4
    theirs = peft.PeftModel.from_pretrained(base, folder).eval()
    ids = torch.tensor([[2, 20, 31, 42, 3]])
    ours = network_of(spacy.load(tmp_path)).transformer(input_ids=ids).last_hidden_state
    assert torch.equal(theirs(input_ids=ids).last_hidden_state, ours)


def test_pipelines_load_as_they_were(adapted, tmp_path):
    expected = written(adapted)
    adapted.to_disk(tmp_path)
    for nlp in (
        spacy.load(tmp_path),
        spacy.blank("en").from_config(adapted.config).from_bytes(adapted.to_bytes()),
    ):
        assert torch.equal(vectors(nlp), vectors(adapted))
        assert written(nlp) == expected
        learns = {n for n, p in network_of(nlp).named_parameters() if p.requires_grad}
        assert learns == network_of(nlp).adapter_names | {"shape_embedding.weight"}


def test_merged_it_loads_without_peft(adapted, tmp_path, monkeypatch):
    expected = vectors(adapted)
    adapted.to_disk(tmp_path / "beside")
    merge = {"components.transformer.model.adapter.merge": True}
    spacy.load(tmp_path / "beside", config=merge).to_disk(tmp_path / "merged")
    names = {file.name for file in (tmp_path / "merged/transformer/model").iterdir()}
    assert not any("adapter" in name for name in names)
    monkeypatch.setitem(sys.modules, "peft", None)
    monkeypatch.setattr(peft_adapter, "find_spec", lambda name: None)
    nlp = spacy.load(tmp_path / "merged")
    assert torch.allclose(vectors(nlp), expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"pip install 'spacy_multitask\[peft\]'"):
        spacy.load(tmp_path / "beside")


def test_int8_holds_what_the_adapter_has_learned(adapted):
    pytest.importorskip("onnxscript")
    shim = adapted.get_pipe("transformer").shim
    plain = make(adapted.config["components"]["transformer"]["model"]["name"])
    expected, before = vectors(adapted), vectors(plain)
    copied = shim.copy()
    copied.quantize()
    docs = [adapted.make_doc(text) for text in TEXTS]
    found = copied.encoder.encode(docs, is_train=False, precision="int8").words
    assert (found - expected).norm() < 0.3 * (before - expected).norm()
    assert torch.equal(vectors(adapted), expected), "and the pipeline is as it was"


def tampered(nlp, **changes):
    """Load the encoder with another adapter_config.json."""
    shim = nlp.get_pipe("transformer").shim
    files = shim.to_files()
    values = json.loads(files["adapter_config.json"])
    files["adapter_config.json"] = json.dumps({**values, **changes}).encode()
    return from_files(files, "folder", shim.options)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"peft_type": "PROMPT_TUNING"}, "PROMPT_TUNING"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights"),
        ({"megatron_config": {"a": 1}}, "megatron_config"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"bias": "all"}, "bias"),
        ({"r": 10**9}, "should have"),
        ({"r": "x"}, "damaged"),
        ({"rank_pattern": {"(a+)+b": 3}}, "pattern"),
    ],
)
def test_what_an_adapter_may_ask_for_is_known(adapted, changes, said):
    with pytest.raises(ValueError, match=said) as error:
        tampered(adapted, **changes)
    assert "folder" in str(error.value)


def test_no_base_that_a_saved_adapter_names_is_asked_for(adapted, monkeypatch):
    import huggingface_hub

    def ask(*args, **kwargs):
        raise AssertionError("the hub was asked")

    for name in ("hf_hub_download", "snapshot_download", "file_exists"):
        monkeypatch.setattr(huggingface_hub, name, ask)
    monkeypatch.setattr(peft.utils.save_and_load, "check_file_exists_on_hf_hub", ask)
    encoder = tampered(
        adapted, base_model_name_or_path="owner/no-such", revision="main", megatron_core="os"
    )
    assert peft_adapter.is_adapted(encoder.network.transformer)


def test_files_of_the_adapter_belong_to_the_pipeline(adapted, tmp_path):
    adapted.to_disk(tmp_path)
    (tmp_path / "transformer/model/adapter_config.json").unlink()
    with pytest.raises(ValueError, match=r"adapter_config\.json"):
        spacy.load(tmp_path)
    files = adapted.get_pipe("transformer").shim.to_files()
    del files["adapter_model.safetensors"]
    with pytest.raises(ValueError, match="vectors differ"):
        from_files(files, "folder", adapted.get_pipe("transformer").shim.options)


# Adapters from elsewhere


@pytest.fixture(params=["AutoModel", "AutoModelForTokenClassification"])
def hub_adapter(request, encoder_path, tmp_path):
    """A folder as from the hub, and the model that it comes from."""
    fix_random_seed(1)
    auto = {c.__name__: c for c in (AutoModel, AutoModelForTokenClassification)}[request.param]
    config = peft.LoraConfig(
        r=4,
        target_modules=["query", "value"],
        init_lora_weights=False,
        alpha_pattern={"encoder.layer.1.attention.self.query": 3},
        modules_to_save=["classifier"] if "Token" in request.param else None,
    )
    model = peft.get_peft_model(auto.from_pretrained(encoder_path), config).eval()
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter", model


def expected_of(model):
    ids = torch.tensor([[2, 20, 31, 42, 3]])
    inner = model.base_model.model
    return getattr(inner, "bert", inner)(input_ids=ids).last_hidden_state


def found_of(nlp):
    return network_of(nlp).transformer(input_ids=torch.tensor([[2, 20, 31, 42, 3]]))[0]


def test_an_adapter_as_name_is_merged_into_its_base(hub_adapter):
    folder, model = hub_adapter
    nlp = make(folder)
    assert torch.allclose(found_of(nlp), expected_of(model), atol=1e-5)
    network = network_of(nlp)
    assert not peft_adapter.is_adapted(network.transformer)
    assert all(p.requires_grad for p in network.parameters())


def test_a_trained_adapter_is_gone_on_with(hub_adapter, encoder_path):
    folder, model = hub_adapter
    nlp = make(encoder_path, adapter={"path": str(folder)})
    assert torch.equal(found_of(nlp), expected_of(model))
    before = weights(nlp)
    learn(nlp)
    assert any(not torch.equal(weights(nlp)[n], before[n]) for n in network_of(nlp).adapter_names)


def test_an_adapter_with_its_base_in_one_folder(encoder_path, tmp_path):
    base = AutoModel.from_pretrained(encoder_path)
    base.save_pretrained(tmp_path)
    config = peft.LoraConfig(r=2, target_modules=["query"], init_lora_weights=False)
    model = peft.get_peft_model(base, config).eval()
    model.peft_config["default"].base_model_name_or_path = "owner/no-such"
    model.save_pretrained(tmp_path)
    make_tokenizer_files(encoder_path, tmp_path)
    assert torch.allclose(found_of(make(tmp_path)), expected_of(model), atol=1e-5)


def make_tokenizer_files(source, target):
    from pathlib import Path
    from shutil import copy

    for file in Path(source).glob("*token*"):
        copy(file, target)


def test_an_adapter_on_the_hub_is_found(hub_adapter, monkeypatch):
    import huggingface_hub

    folder, model = hub_adapter
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(folder))
    assert torch.allclose(found_of(make("owner/adapter")), expected_of(model), atol=1e-5)


def spoil(folder, **changes):
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_what_is_wrong_with_an_adapter_is_said(hub_adapter, encoder_path, tmp_path):
    folder, _ = hub_adapter
    spoil(folder, base_model_name_or_path=None)
    with pytest.raises(ValueError, match=r"does not say which encoder.*adapter\.path"):
        make(folder)
    spoil(folder, base_model_name_or_path=str(tmp_path / "gone"))
    with pytest.raises(ValueError, match="there is no such folder"):
        make(folder)
    t5 = FAMILIES["t5"].write(tmp_path / "t5")
    with pytest.raises(ValueError, match="for another kind of encoder"):
        make(t5, adapter={"path": str(folder)})


@pytest.mark.parametrize(
    "values, said",
    [
        ({"method": "prefix"}, "not one of lora"),
        ({"rank": 0}, "adapter.rank = 0"),
        ({"rank": "8"}, "adapter.rank = '8'"),
        ({"alpha": -1.0}, "adapter.alpha"),
        ({"targets": []}, "adapter.targets"),
        ({"merge": 1}, "adapter.merge"),
        ({"r": 8}, "adapter.r is no option"),
        ({"path": "somewhere", "rank": 8}, "has its own rank"),
        ({"ner": {"rank": 8}}, "one adapter, which all of its heads share"),
    ],
)
def test_options_are_checked_at_once(values, said, encoder_path):
    with pytest.raises(ValueError, match=said):
        make_nlp(encoder_path, (), model={"adapter": values})


def test_targets_that_are_not_there(encoder_path):
    with pytest.raises(ValueError, match=r"called 'q_proj'\. There are dense, key, query, value"):
        make(encoder_path, adapter={"targets": ["query", "q_proj"]})


# Old heads


def test_old_heads_stay_as_they_are_beside_a_head_with_an_adapter(adapted, tmp_path):
    adapted.to_disk(tmp_path / "old")
    old = spacy.load(tmp_path / "old")
    expected, before = vectors(old), written(old)
    nlp = spacy.blank("en")
    for name in ("transformer", "tagger", "ner"):
        nlp.add_pipe(name, source=old)
    model = {
        "@architectures": "spacy_multitask.Encoder.v1",
        "name": str(tmp_path / "old/transformer/model"),
        "overlap": 8,
        "adapter": {"rank": 2},
    }
    nlp.add_pipe("multitask_transformer", name="second", config={"model": model})
    listener = {"@architectures": "spacy_multitask.EncoderListener.v1", "upstream": "second"}
    head = {"@architectures": "spacy_multitask.TokenClassifier.v1", "tok2vec": listener}
    nlp.add_pipe("multitask_chunker", name="chunker", config={"model": head})
    nlp.get_pipe("second").initialize(lambda: corpus(nlp), nlp=nlp)
    nlp.get_pipe("chunker").initialize(lambda: corpus(nlp), nlp=nlp)
    # It starts from what the old encoder has learned, its adapter included.
    assert torch.allclose(vectors(nlp, "second"), expected, atol=1e-5)
    sgd = make_adamw(learn_rate=0.01)
    with nlp.select_pipes(enable=["second", "chunker"]):
        for _ in range(3):
            nlp.update(corpus(nlp), sgd=sgd)
        nlp.get_pipe("second").settle()
    assert torch.equal(vectors(nlp), expected)
    assert not torch.allclose(vectors(nlp, "second"), expected, atol=1e-3)
    nlp.to_disk(tmp_path / "new")
    assert written(spacy.load(tmp_path / "new")) == before


# Frozen layers


def test_frozen_layers_stay_as_they_are(encoder_path):
    nlp = make(encoder_path, freeze="embeddings,0")
    before, sgd = weights(nlp), make_adamw(learn_rate=0.01, use_averages=True)
    learn(nlp, 3, sgd)
    after, shim = weights(nlp), nlp.get_pipe("transformer").shim
    frozen = {n for n in before if ".embeddings." in n or ".layer.0." in n}
    assert frozen and len(before) > len(frozen)
    for name, value in after.items():
        assert torch.equal(value, before[name]) == (name in frozen), name
    assert not frozen & sgd.module_state(shim.id, shim.module).keys(), "no moments"
    assert not frozen & {name for _, name in sgd.averages}


def test_frozen_layers_get_no_adapter_and_stay_frozen_when_loaded(encoder_path, tmp_path):
    nlp = make(encoder_path, freeze="0", adapter=LORA)
    assert all(".layer.1." in name for name in network_of(nlp).adapter_names)
    assert network_of(nlp).adapter_names
    make(encoder_path, freeze="1").to_disk(tmp_path)
    loaded = network_of(spacy.load(tmp_path))
    learns = {name: p.requires_grad for name, p in loaded.named_parameters()}
    assert all(learn == (".layer.1." not in name) for name, learn in learns.items())
    with pytest.raises(ValueError, match="all layers that would get one are frozen"):
        make(encoder_path, freeze="0-1", adapter=LORA)


@pytest.mark.parametrize(
    "freeze, said",
    [
        ("5-2", "lower one first"),
        ("top", "'top' is neither"),
        ("0-2", "no layer 2 that can be frozen. It has layers 0 to 1"),
        ("embeddings,0-1", "frozen_components"),
    ],
)
def test_what_can_not_be_frozen(freeze, said, encoder_path):
    with pytest.raises(ValueError, match=said):
        make(encoder_path, freeze=freeze)
