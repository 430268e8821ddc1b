"""Private parts of other libraries that the package uses: where, why, and what would replace them.

There is no public way to do these things. Each has a test, so that a new version of the library
that changes one is noticed here, and not in a training.
"""

import inspect
from pathlib import Path

import pytest
import spacy
import torch
from spacy.pipeline.tok2vec import Tok2VecListener
from thinc.api import Adam, Model, PyTorchWrapper
from torch import nn

ROOT = Path(__file__).parents[1]


def parameters_of(function) -> list[str]:
    return list(inspect.signature(function).parameters)


def link_components():
    """Language._link_components connects listeners, but passes over disabled components."""
    assert parameters_of(spacy.Language._link_components) == ["self"]


def training_loop():
    """The parts of `spacy train`, so that resuming runs the very same loop."""
    from spacy.training import loop

    assert parameters_of(loop.create_train_batches) == ["nlp", "corpus", "batcher", "max_epochs"]
    assert parameters_of(loop.create_evaluation_callback) == ["nlp", "dev_corpus", "weights"]
    assert parameters_of(loop.update_meta) == ["training", "nlp", "info"]
    assert parameters_of(loop.clean_output_dir) == ["path"]
    assert parameters_of(loop.create_before_to_disk_callback) == ["callback"]
    found = parameters_of(loop.train_while_improving)
    assert found[:4] == ["nlp", "optimizer", "train_data", "evaluate"]
    assert {"patience", "max_steps", "exclude", "annotating_components"} <= set(found)


def command_line():
    """The app that our commands are added to, and how it reads overrides and code files."""
    from spacy.cli import _util

    assert callable(_util.app.add_typer)
    assert parameters_of(_util.parse_config_overrides)[:1] == ["args"]
    assert parameters_of(_util.import_code) == ["code_path"]
    assert parameters_of(_util.setup_gpu) == ["use_gpu", "silent"]
    assert parameters_of(_util.show_validation_error)[:1] == ["file_path"]


def bfloat16_of_a_cpu():
    """Whether oneDNN multiplies matrices in bfloat16 here. torch.compile asks the same."""
    assert torch.ops.mkldnn._is_mkldnn_bf16_supported() in (True, False)


def displacy_spans():
    """displaCy's renderer of overlapping spans: we give it templates of our own."""
    from spacy.displacy.render import DEFAULT_LABEL_COLORS, SpanRenderer

    assert "PERSON" in DEFAULT_LABEL_COLORS
    assert parameters_of(SpanRenderer.__init__) == ["self", "options"]
    assert parameters_of(SpanRenderer._render_markup) == ["self", "per_token_info"]


def stock_listeners():
    """What spaCy's listeners hold: whether a frozen layer waits for a gradient."""
    listener = Tok2VecListener("*", 8)
    assert listener._batch_id is None and callable(listener.get_batch_id)
    assert parameters_of(listener.receive) == ["batch_id", "outputs", "backprop"]


def shim_modules():
    """thinc keeps the torch module of a shim in `_model`; checkpoints walk over all of them."""
    shim = PyTorchWrapper(nn.Linear(2, 2)).shims[0]
    assert isinstance(shim._model, nn.Linear) and isinstance(shim.id, int)
    model: Model = Model("m", lambda model, X, is_train: (X, lambda d: d), shims=[shim])
    assert list(model.walk()) == [model]


def optimizer_state():
    """Moments, counts and schedules of thinc's optimizers, for checkpoints and two rates."""
    optimizer = Adam(0.001)
    for name in ("mom1", "mom2", "averages", "nr_update", "last_seen", "_radam_buffer"):
        assert hasattr(optimizer, name), name
    assert parameters_of(optimizer._set_attr_or_schedule) == ["name", "value"]


def compiled_modules():
    """Whether `torch.compile` has been applied to a module in place."""
    assert nn.Linear(2, 2)._compiled_call_impl is None


def many_tensors_at_once():
    """Functions over lists of tensors, which torch's own optimizers use, too."""
    ones = [torch.ones(2), torch.ones(3)]
    assert [float(n) ** 2 for n in torch._foreach_norm(ones)] == pytest.approx([2, 3])
    torch._foreach_mul_(ones, torch.tensor(0.5))
    assert ones[0].tolist() == [0.5, 0.5]


def models_from_configs():
    """A model with random weights, in the precision and with the attention that its config says."""
    from transformers import MODEL_MAPPING, BertConfig, PreTrainedModel

    assert parameters_of(PreTrainedModel._from_config)[:1] == ["config"]
    assert issubclass(MODEL_MAPPING[BertConfig], PreTrainedModel)


# Private part -> what would replace it, and the check.
USED = {
    "spacy.Language._link_components": ("a public hook for listeners", link_components),
    "spacy.training.loop": ("a loop of our own", training_loop),
    "spacy.cli._util": ("an app of our own, without `spacy multitask`", command_line),
    "spacy.displacy.render": ("our own HTML", displacy_spans),
    "Tok2VecListener._batch_id": ("no support for stock listeners", stock_listeners),
    "thinc Shim._model": ("a registry of our own modules", shim_modules),
    "thinc Optimizer": ("torch optimizers alone, without thinc's", optimizer_state),
    "PreTrainedModel._from_config": ("AutoModel.from_config, a second slower", models_from_configs),
    "torch.ops.mkldnn": ("measuring both precisions", bfloat16_of_a_cpu),
    "torch Module._compiled_call_impl": ("a flag of our own", compiled_modules),
    "torch._foreach_*": ("a loop over tensors, a tenth slower", many_tensors_at_once),
}


@pytest.mark.parametrize("name", USED)
def test_private_parts_are_as_they_were(name):
    instead, check = USED[name]
    assert instead and check.__doc__
    check()


def test_no_other_private_part_is_used():
    """Of modules whose names begin with a line below, but for those that are listed above."""
    imports = [
        (path.name, line.strip())
        for path in (ROOT / "spacy_multitask").rglob("*.py")
        for line in path.read_text(encoding="utf8").splitlines()
        if line.strip().startswith(("from ", "import ")) and "._" in line and "from ." not in line
    ]
    assert imports, "the package uses spacy.cli._util"
    assert not [found for found in imports if "spacy.cli._util" not in found[1]]
