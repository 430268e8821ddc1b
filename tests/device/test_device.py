"""On a device all is as on a CPU, and the host hardly ever waits for it."""

import json

import numpy as np
import pytest
import torch
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import fix_random_seed

from spacy_multitask.encoder import budget
from spacy_multitask.layers.network import TransformerNetwork
from spacy_multitask.relations import get_relations
from spacy_multitask.training.checkpoint import read_checkpoint, write_checkpoint
from spacy_multitask.training.optimizer import make_adamw
from spacy_multitask.training.state import capture, restore
from tests.conftest import ALL_HEADS, PARSER_MODEL, corpus, example, make_nlp, predictions
from tests.device import pretend
from tests.heads.test_nested import corpus as nested_corpus
from tests.heads.test_relations import corpus as relation_corpus
from tests.heads.test_span_classifier import corpus as labelled_corpus

pytestmark = pytest.mark.skipif(pretend.DEVICE is None, reason="this torch can't pretend a device")

STEPS = 2
LISTENER = {"@architectures": "spacy_multitask.EncoderListener.v1"}
LINEAR = {
    "@architectures": "spacy_multitask.DocClassifier.v1",
    "tok2vec": LISTENER,
    "linear_model": {
        "@architectures": "spacy.TextCatBOW.v3",
        "exclusive_classes": True,
        "ngram_size": 1,
        "no_output_layer": True,
        "length": 64,
        "nO": None,
    },
}
STOCK = {"@architectures": "spacy.Tagger.v2", "tok2vec": LISTENER}
BALANCE = {"@misc": "spacy_multitask.uncertainty_weight.v1"}
SPANS = ("chunker", "ner")
# What is set: of the encoder's component, of heads, of the optimizer.
OPTIONS: dict[str, dict] = {
    "as it is": {},
    "crf": {"heads": {key: {"crf": True} for key in SPANS}},
    "crf and abstain": {"heads": {key: {"crf": True, "abstain": 0.3} for key in SPANS}},
    "abstain": {"heads": {key: {"abstain": 0.3} for key in ALL_HEADS}},
    "smoothing and weights": {
        "heads": {
            **{key: {"label_smoothing": 0.1, "class_weights": {"O": 0.5}} for key in SPANS},
            "textcat": {"class_weights": {"Sports": 2.0}},
        }
    },
    "balance": {"heads": {key: {"balance": BALANCE} for key in ALL_HEADS}},
    "several topics": {
        "heads": {"textcat": {"exclusive_classes": False, "class_weights": {"Sports": 2.0}}}
    },
    "linear model": {"heads": {"textcat": {"model": LINEAR}}},
    "mean": {"encoder": {"model": {"pooling": "mean", "doc_pooling": "cls"}}},
    "last": {"encoder": {"model": {"pooling": "last", "layers": [0, 2]}}},
    "checkpointing": {"encoder": {"model": {"gradient_checkpointing": True}}},
    "vectors stay": {"encoder": {"keep_vectors": True}},
    "small parts": {"encoder": {"max_batch_pieces": 40}},
    "averages and decays": {"optimizer": {"use_averages": True, "layer_decay": 0.9}},
}


def build(encoder_path: str, options: dict) -> tuple[Language, object]:
    fix_random_seed(0)
    nlp = make_nlp(encoder_path, heads=(), **options.get("encoder", {}))
    for head in ALL_HEADS:
        nlp.add_pipe(f"multitask_{head}", name=head, config=options.get("heads", {}).get(head, {}))
    sgd = make_adamw(learn_rate=5e-3, head_learn_rate=5e-3, **options.get("optimizer", {}))
    return nlp, nlp.initialize(lambda: corpus(nlp), sgd=sgd)


def docs_of(nlp: Language) -> list[Doc]:
    """RETURNS (List[Doc]): Short ones, empty ones, blanks, and one that is longer than a window."""
    smith, ibm = ["Mr", "Smith", "loves", "New", "York"], ["IBM", "made", "a", "lot", "of", "."]
    words = [smith, [], ibm, ["The", "old", "town"], (smith + ibm) * 7, ["\n", "IBM", " "], smith]
    return [Doc(nlp.vocab, words=w) for w in words]


def go(nlp: Language, sgd: object, examples) -> tuple[list[dict], list[Doc]]:
    losses: list[dict[str, float]] = []
    for _ in range(STEPS):
        losses.append({})
        nlp.update(examples(nlp), sgd=sgd, losses=losses[-1])
    averages = getattr(sgd, "averages", None) or {}
    with nlp.use_params(averages):
        docs = list(nlp.pipe(docs_of(nlp), batch_size=4))
    return [{name: float(loss) for name, loss in found.items()} for found in losses], docs


def said(docs: list[Doc]) -> list:
    """RETURNS (List): As `predictions`, but for probabilities."""
    return [found[:2] for found in predictions(docs)]


@pytest.fixture(autouse=True)
def as_a_device_does(monkeypatch):
    """The CPU takes the ways of a device: attention in one piece, no sparse gradients."""
    monkeypatch.setattr(TransformerNetwork, "takes_steps", lambda self, device: False)
    monkeypatch.setattr(TransformerNetwork, "prepare_for_training", lambda self, device: None)


def same(make, examples, monkeypatch) -> tuple[list[Doc], list[Doc]]:
    """RETURNS (Tuple[List[Doc], List[Doc]]): What a CPU and the device predict; losses agree."""
    losses, docs = go(*make(), examples)
    nlp, sgd = make()
    with pretend.pretended(monkeypatch):
        losses_there, docs_there = go(pretend.move(nlp), sgd, examples)
    for here, there in zip(losses, losses_there, strict=True):
        assert there == pytest.approx(here, rel=1e-5, abs=1e-5)
    return docs, docs_there


@pytest.mark.parametrize("name", OPTIONS)
def test_options_do_on_a_device_what_they_do_on_a_cpu(encoder_path, monkeypatch, name):
    options = OPTIONS[name]
    docs, there = same(lambda: build(encoder_path, options), corpus, monkeypatch)
    assert said(docs) == said(there)
    for a, b in zip(docs, there):
        assert b.cats == pytest.approx(a.cats, abs=1e-5)
    if name == "vectors stay":
        for a, b in zip(docs, there):
            assert len(a.tensor) == len(a)
            np.testing.assert_allclose(a.tensor, b.tensor, rtol=1e-4, atol=1e-4)
    if name == "as it is":
        assert any(doc.spans["np"] for doc in docs), "or nothing was learned"


def test_relations_are_the_same_on_a_device(encoder_path, monkeypatch):
    def make():
        fix_random_seed(0)
        nlp = make_nlp(encoder_path, heads=("ner", "relations"))
        sgd = make_adamw(learn_rate=5e-3, head_learn_rate=5e-3)
        return nlp, nlp.initialize(lambda: relation_corpus(nlp), sgd=sgd)

    docs, there = same(make, relation_corpus, monkeypatch)
    for a, b in zip(docs, there):
        assert [r.label for r in get_relations(a)] == [r.label for r in get_relations(b)]


def nested_spans(encoder_path, **options):
    nlp = make_nlp(encoder_path, heads=())
    nlp.add_pipe("multitask_spans", name="spans", config=options)
    return nlp


def spans_with_labels(encoder_path, **options):
    nlp = make_nlp(encoder_path, heads=())
    config = {"attribute": "negated", **options}
    nlp.add_pipe("multitask_span_classifier", name="attr", config=config)
    return nlp


KINDS = {
    "nested": (nested_spans, nested_corpus, lambda doc: doc.spans["sc"]),
    "labels of spans": (spans_with_labels, labelled_corpus, lambda doc: doc.ents),
}


@pytest.mark.parametrize("kind", KINDS)
def test_heads_of_spans_are_the_same_on_a_device(encoder_path, monkeypatch, kind):
    build_pipeline, examples, spans_of = KINDS[kind]

    def make():
        fix_random_seed(0)
        nlp = build_pipeline(encoder_path, probs=True)
        sgd = make_adamw(learn_rate=5e-3, head_learn_rate=5e-3)
        nlp.initialize(lambda: examples(nlp), sgd=sgd)
        for _ in range(30):  # or nothing is found
            nlp.update(examples(nlp), sgd=sgd)
        # Its first step goes by signs: where a gradient is next to nothing, it must be small.
        return nlp, make_adamw(learn_rate=1e-4, head_learn_rate=1e-4)

    def predicted(nlp) -> list:
        docs = list(nlp.pipe([eg.predicted for eg in examples(nlp)]))
        return [
            [(s.start, s.end, s.label_, s._.get("negated") if "attr" in nlp.pipe_names else None)]
            for doc in docs
            for s in spans_of(doc)
        ]

    nlp, sgd = make()
    losses = go(nlp, sgd, examples)[0]
    expected = predicted(nlp)
    nlp, sgd = make()
    with pretend.pretended(monkeypatch) as machine:
        pretend.move(nlp)
        there = go(nlp, sgd, examples)[0]
        assert predicted(nlp) == expected and expected
        docs = [eg.predicted for eg in examples(nlp)]
        machine.reset()
        list(nlp.pipe(docs))
        assert machine.waits.total() <= 4, machine.waits
        machine.reset()
        nlp.update(examples(nlp), sgd=sgd, losses={})
        assert machine.waits.total() <= 3, machine.waits
    for one, other in zip(losses, there, strict=True):
        assert other == pytest.approx(one, rel=1e-5, abs=1e-5)


def test_an_adapter_learns_on_a_device_what_it_learns_on_a_cpu(encoder_path, monkeypatch):
    pytest.importorskip("peft")
    options = {"encoder": {"model": {"adapter": {"method": "lora", "rank": 2}}}}
    docs, there = same(lambda: build(encoder_path, options), corpus, monkeypatch)
    assert said(docs) == said(there)


def test_a_teacher_teaches_on_a_device(encoder_path, trained, tmp_path, monkeypatch):
    trained.to_disk(tmp_path)

    def make():
        fix_random_seed(0)
        nlp = make_nlp(encoder_path)
        names = ("tagger", "chunker", "ner")
        nlp.config["initialize"]["components"] = {n: {"teacher": str(tmp_path)} for n in names}
        sgd = make_adamw(learn_rate=5e-3, head_learn_rate=5e-3)
        return nlp, nlp.initialize(lambda: corpus(nlp), sgd=sgd)

    docs, there = same(make, corpus, monkeypatch)
    assert said(docs) == said(there)


def test_spacys_own_heads_read_an_encoder_on_a_device(encoder_path, monkeypatch):
    def parsed(nlp):
        made = [example(nlp, ["Mr", "Smith", "won"], tags=["NNP", "NNP", "VBD"]) for _ in range(3)]
        for eg in made:
            for token, head, dep in zip(eg.reference, [1, 2, 2], ["nn", "subj", "ROOT"]):
                token.head, token.dep_ = eg.reference[head], dep
        return [*made, *corpus(nlp)]

    def make():
        fix_random_seed(0)
        nlp = make_nlp(encoder_path, heads=("ner",))
        nlp.add_pipe("tagger", config={"model": STOCK})
        nlp.add_pipe("parser", config={"model": PARSER_MODEL, "min_action_freq": 1})
        sgd = make_adamw(learn_rate=5e-3, head_learn_rate=5e-3)
        return nlp, nlp.initialize(lambda: parsed(nlp), sgd=sgd)

    docs, there = same(make, parsed, monkeypatch)
    for a, b in zip(docs, there):
        assert [(t.tag_, t.dep_, t.head.i) for t in a] == [(t.tag_, t.dep_, t.head.i) for t in b]


def test_a_training_goes_on_from_a_checkpoint_of_a_device(encoder_path, tmp_path, monkeypatch):
    with pretend.pretended(monkeypatch):
        nlp, sgd = build(encoder_path, {"optimizer": {"use_averages": True}})
        nlp.update(corpus(nlp), sgd=sgd)
        write_checkpoint(tmp_path / "c", *capture(nlp, sgd))
        expected = go(nlp, sgd, corpus)[0]
        again, new = build(encoder_path, {"optimizer": {"use_averages": True}})
        again.update(corpus(again)[:2], sgd=new)
        restore(again, new, *read_checkpoint(tmp_path / "c"))
        assert go(again, new, corpus)[0] == expected


def test_a_pipeline_of_a_device_loads_on_a_cpu(encoder_path, tmp_path, monkeypatch):
    nlp, sgd = build(encoder_path, {})
    with pretend.pretended(monkeypatch):
        docs = go(pretend.move(nlp), sgd, corpus)[1]
        scores = nlp.evaluate(corpus(nlp))
        nlp.to_disk(tmp_path)
        data = nlp.to_bytes()
    pretend.use_device(monkeypatch, torch.device("cpu"))
    loaded = make_nlp(encoder_path).from_disk(tmp_path)
    assert predictions(loaded.pipe(docs_of(loaded))) == predictions(docs)
    assert loaded.evaluate(corpus(loaded))["tag_acc"] == scores["tag_acc"]
    from_bytes = make_nlp(encoder_path).from_bytes(data)
    assert predictions(from_bytes.pipe(docs_of(loaded))) == predictions(docs)


def test_moments_follow_a_module_to_a_device(encoder_path, monkeypatch):
    options = OPTIONS["averages and decays"]
    expected = go(*build(encoder_path, options), corpus)
    nlp, sgd = build(encoder_path, options)
    first: dict[str, float] = {}
    nlp.update(corpus(nlp), sgd=sgd, losses=first)
    with pretend.pretended(monkeypatch):
        for _, pipe in nlp.components:
            for shim in pipe.model.shims:
                for part in shim.module.modules():
                    for name, buffer in part._buffers.items():
                        part._buffers[name] = pretend.Pretended(buffer.clone())
                for parameter in shim.module.parameters():
                    moved = torch.nn.Parameter(pretend.Pretended(parameter.detach().clone()))
                    torch.utils.swap_tensors(parameter, moved)
        second: dict[str, float] = {}
        nlp.update(corpus(nlp), sgd=sgd, losses=second)
    for found, wanted in zip((first, second), expected[0]):
        assert {n: float(v) for n, v in found.items()} == pytest.approx(wanted, rel=1e-5, abs=1e-5)


# What the host waits for


def test_predicting_a_batch_waits_once_however_many_parts_it_has(encoder_path, monkeypatch):
    nlp, _ = build(encoder_path, {"encoder": {"max_batch_pieces": 40}})
    waits = []
    with pretend.pretended(monkeypatch) as machine:
        pretend.move(nlp)
        for n in (1, 8):
            docs = docs_of(nlp) * n
            machine.reset()
            list(nlp.pipe(docs, batch_size=len(docs)))
            waits.append(machine.waits.copy())
    for found in waits:
        assert found.total() == 1, found


@pytest.mark.parametrize("name", ["crf", "abstain", "several topics", "mean", "last"])
def test_predicting_with_options_waits_no_more(encoder_path, monkeypatch, name):
    nlp, _ = build(encoder_path, OPTIONS[name])
    with pretend.pretended(monkeypatch) as machine:
        pretend.move(nlp)
        list(nlp.pipe(docs_of(nlp)))  # copies what a chain needs on the host
        machine.reset()
        list(nlp.pipe(docs_of(nlp) * 3, batch_size=30))
        assert machine.waits.total() <= 4, machine.waits


@pytest.mark.parametrize("name", ["as it is", "crf", "several topics", "averages and decays"])
def test_a_training_step_waits_for_nothing_but_its_losses(encoder_path, monkeypatch, name):
    nlp, sgd = build(encoder_path, OPTIONS[name])
    with pretend.pretended(monkeypatch) as machine:
        pretend.move(nlp)
        losses: dict[str, float] = {}
        nlp.update(corpus(nlp), sgd=sgd, losses=losses)
        machine.reset()
        for _ in range(3):
            nlp.update(corpus(nlp), sgd=sgd, losses=losses)
        assert machine.waits.total() == 0, machine.waits
        assert float(losses["ner"]) > 0
        assert machine.waits.total() == 1


def test_the_device_begins_with_a_batch_before_the_one_before_is_written(encoder_path, monkeypatch):
    nlp, _ = build(encoder_path, {})
    order = []
    encoder = nlp.get_pipe("transformer").shim.encoder
    encode, write = encoder.encode, nlp.get_pipe("textcat").set_annotations
    with pretend.pretended(monkeypatch):
        pretend.move(nlp)
        monkeypatch.setattr(encoder, "encode", lambda *a, **k: order.append("e") or encode(*a, **k))
        monkeypatch.setattr(
            nlp.get_pipe("textcat"), "set_annotations", lambda *a: order.append("w") or write(*a)
        )
        list(nlp.pipe(docs_of(nlp) * 2, batch_size=7))
    assert order == ["e", "e", "w", "w"]


def test_a_doc_that_fails_on_a_device_is_lost_alone(encoder_path, monkeypatch):
    nlp, _ = build(encoder_path, {})
    encoder = nlp.get_pipe("transformer").shim.encoder
    encode, told = encoder.encode, []

    def fails(docs, **options):
        if any(doc.text.startswith("IBM") for doc in docs):
            raise ValueError("no")
        return encode(docs, **options)

    with pretend.pretended(monkeypatch):
        pretend.move(nlp)
        monkeypatch.setattr(encoder, "encode", fails)
        nlp.set_error_handler(lambda name, pipe, docs, error: told.extend(docs))
        found = list(nlp.pipe(docs_of(nlp), batch_size=4))
    assert len(found) == len(docs_of(nlp)) - 1 and len(told) == 1


def test_a_device_that_runs_out_of_memory_is_given_less(encoder_path, monkeypatch, caplog):
    monkeypatch.setattr(budget, "OVERHEADS", {})  # as on a GPU, so that groups are large
    nlp, _ = build(encoder_path, {"encoder": {"max_batch_pieces": 4000}})
    docs = docs_of(nlp) * 4
    expected = predictions(nlp.pipe(docs_of(nlp) * 4))
    network = nlp.get_pipe("transformer").shim.encoder.network
    forward, sizes = network.forward, []

    def small(ids, *others):
        if ids.numel() > 1000:
            raise torch.OutOfMemoryError("too much")
        sizes.append(ids.numel())
        return forward(ids, *others)

    monkeypatch.setattr(network, "forward", small)
    assert predictions(nlp.pipe(docs, batch_size=100)) == expected
    assert max(sizes) > 400, "it was halved, not cut to pieces"
    assert "ran out of memory with 4000 pieces" in caplog.text
    n = len(caplog.records)
    list(nlp.pipe(docs_of(nlp) * 4, batch_size=100))
    assert len(caplog.records) == n, "it has learned"


def test_losses_of_a_device_are_numbers_when_they_are_asked_for():
    from spacy_multitask.layers.losses import DeviceLoss, settle_losses

    losses = {"ner": DeviceLoss(torch.tensor(0.5)), "textcat": 1.0}
    losses["ner"] += DeviceLoss(torch.tensor(0.25))
    assert f"{losses['ner']:.2f}" == "0.75" and losses["ner"] > 0.5 and 2 * float(losses["ner"])
    settle_losses(losses)
    assert json.dumps(losses) == '{"ner": 0.75, "textcat": 1.0}'
