"""The state of a training in memory: weights of all components, and what the optimizer keeps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from spacy.language import Language
from thinc.api import Model, Optimizer, get_torch_default_device, torch2xp, xp2torch
from thinc.shims.shim import Shim
from torch import Tensor, is_tensor, nn, zeros_like

from ..encoder.component import MultitaskTransformer
from ..layers.shim import TorchShim
from .optimizer import AdamW

# Arrays that thinc's optimizers keep per parameter, and counts.
MOMENTS = ("mom1", "mom2", "averages")
COUNTS = ("nr_update", "last_seen")

REMEDY = "Lower the learning rate and start anew."

Tensors = dict[str, Tensor]
Notes = dict[str, Any]


class Diverged(ValueError):
    """A loss or a weight is no longer a number."""


def check_weights(nlp: Language) -> None:
    """RAISES (Diverged): If a component has weights that are no longer numbers."""
    for name, part in parts_of(nlp):
        if isinstance(part, Model):
            arrays = [part.get_param(n) for n in part.param_names if part.has_param(n)]
            is_bad = any(bool((array != array).any()) for array in arrays)
        else:
            is_bad = any(bool(p.isnan().any()) for p in part._model.parameters())
        if is_bad:
            raise Diverged(
                f"Weights of {name.split('/')[0]!r} are no longer numbers: the training has "
                f"diverged. {REMEDY}"
            )


def capture(nlp: Language, optimizer: Optimizer) -> tuple[Tensors, Notes]:
    """Take down the weights of all components and the state of the optimizer.

    RETURNS (Tuple[Dict[str, Tensor], Dict[str, Any]]): Arrays, some of them the very ones in use;
        and notes, for `restore`.
    """
    for _, pipe in nlp.components:
        if isinstance(pipe, MultitaskTransformer):
            pipe.settle()  # a step that was put off belongs to the weights
    tensors: Tensors = {}
    notes: Notes = {"gradients": [], "sets": {}, "moments": {}, "sparse": {}}
    for name, part in parts_of(nlp):
        if isinstance(part, Model):
            _capture_layer(name, part, tensors, notes)
        else:
            _capture_module(name, part._model, tensors, notes)
            if isinstance(optimizer, AdamW):
                _capture_moments(name, part, optimizer, tensors, notes)
    _capture_arrays(nlp, optimizer, tensors, notes)
    return tensors, notes


def restore(nlp: Language, optimizer: Optimizer, tensors: Tensors, notes: Notes) -> None:
    """Put weights and optimizer into the state in which `capture` found them.

    nlp (Language): The pipeline, initialised anew from the same config and corpora.
    optimizer (Optimizer): A new one, of the same config.
    RAISES (ValueError): If they do not fit.
    """
    gradients = set(notes["gradients"])
    for name, part in parts_of(nlp):
        prefix = f"weights/{name}/"
        own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        with_gradient = {n for n in own if f"{name}/{n}" in gradients}
        if isinstance(part, Model):
            _restore_layer(name, part, own, with_gradient, notes["sets"])
        else:
            _restore_module(name, part._model, own, with_gradient)
            if isinstance(part, TorchShim):
                part.weights_changed()
            if isinstance(optimizer, AdamW) and name in notes["moments"]:
                _restore_moments(name, part, optimizer, tensors, notes)
    _restore_arrays(nlp, optimizer, tensors, notes)


# Layers of thinc


def _capture_layer(name: str, layer: Model, tensors: Tensors, notes: Notes) -> None:
    for parameter in layer.param_names:
        if layer.has_param(parameter):
            tensors[f"weights/{name}/{parameter}"] = xp2torch(layer.get_param(parameter))
        if layer.has_grad(parameter):
            notes["gradients"].append(f"{name}/{parameter}")
    for attribute, value in layer.attrs.items():
        if isinstance(value, set):  # such as the parser's classes not seen so far
            notes["sets"][f"{name}/{attribute}"] = sorted(value)


def _restore_layer(
    name: str, layer: Model, own: Tensors, with_gradient: set[str], sets: dict[str, list]
) -> None:
    shapes = {n: layer.get_param(n).shape for n in layer.param_names if layer.has_param(n)}
    _check_shapes(name, own, shapes)
    for parameter, tensor in own.items():
        layer.set_param(parameter, _to_array(tensor, layer))
        if parameter in with_gradient:
            # Zero, as after any step. Without one the next step would pass the parameter over,
            # where its momentum should move it on.
            layer.set_grad(parameter, layer.ops.alloc(tensor.shape))
    for attribute in layer.attrs:
        if f"{name}/{attribute}" in sets:
            layer.attrs[attribute] = set(sets[f"{name}/{attribute}"])


# Modules of torch


def _capture_module(name: str, module: nn.Module, tensors: Tensors, notes: Notes) -> None:
    for parameter, tensor in module.state_dict().items():
        tensors[f"weights/{name}/{parameter}"] = tensor
    notes["gradients"] += [
        f"{name}/{parameter}" for parameter, p in module.named_parameters() if p.grad is not None
    ]


def _restore_module(name: str, module: nn.Module, own: Tensors, with_gradient: set[str]) -> None:
    _check_shapes(name, own, {n: t.shape for n, t in module.state_dict().items()})
    module.load_state_dict(own)
    for parameter_name, parameter in module.named_parameters():
        if parameter_name in with_gradient:
            parameter.grad = zeros_like(parameter)


def _capture_moments(
    name: str, part: Shim, optimizer: AdamW, tensors: Tensors, notes: Notes
) -> None:
    state = optimizer.module_state(part.id, part._model)
    if state is None:
        return
    notes["sparse"][name] = optimizer.sparse_names(part.id, part._model)
    notes["moments"][name] = {
        parameter: {entry: None if is_tensor(v) else v for entry, v in entries.items()}
        for parameter, entries in state.items()
    }
    for parameter, entries in state.items():
        for entry, value in entries.items():
            if is_tensor(value):
                tensors[f"moments/{name}/{parameter}/{entry}"] = value


def _restore_moments(
    name: str, part: Shim, optimizer: AdamW, tensors: Tensors, notes: Notes
) -> None:
    state = {
        parameter: {
            entry: _copy(tensors[f"moments/{name}/{parameter}/{entry}"]) if value is None else value
            for entry, value in entries.items()
        }
        for parameter, entries in notes["moments"][name].items()
    }
    optimizer.load_module_state(part.id, part._model, state, notes["sparse"][name])


# What thinc's optimizers keep, and ours of thinc's layers


def _capture_arrays(nlp: Language, optimizer: Optimizer, tensors: Tensors, notes: Notes) -> None:
    # Of layers that have since been replaced there is no name.
    names = {key: name for name, key, _ in _keys(nlp)}
    for kind in MOMENTS:
        for key, array in (getattr(optimizer, kind) or {}).items():
            if key in names:
                tensors[f"{kind}/{names[key]}"] = array if is_tensor(array) else xp2torch(array)
    notes["counts"] = {
        kind: {names[key]: n for key, n in getattr(optimizer, kind).items() if key in names}
        for kind in COUNTS
    }
    notes["radam"] = optimizer._radam_buffer


def _restore_arrays(nlp: Language, optimizer: Optimizer, tensors: Tensors, notes: Notes) -> None:
    for name, key, part in _keys(nlp):
        stays_torch = isinstance(optimizer, AdamW) and isinstance(part, TorchShim)
        for kind in MOMENTS:
            tensor = tensors.get(f"{kind}/{name}")
            if tensor is not None:
                value = _copy(tensor) if stays_torch else _to_array(tensor, part)
                getattr(optimizer, kind)[key] = value
        for kind in COUNTS:
            if name in notes["counts"][kind]:
                getattr(optimizer, kind)[key] = notes["counts"][kind][name]
    optimizer._radam_buffer = notes["radam"]


def parts_of(nlp: Language) -> Iterator[tuple[str, Model | Shim]]:
    """YIELDS (Tuple[str, Model | Shim]): Whatever holds weights, under a name that is the same in
    the next process, which thinc's ids are not."""
    for name, pipe in nlp.components:
        model = getattr(pipe, "model", None)
        if not isinstance(model, Model):
            continue
        for i, node in enumerate(model.walk()):
            yield f"{name}/{i}", node
            for k, shim in enumerate(node.shims):
                if isinstance(getattr(shim, "_model", None), nn.Module):
                    yield f"{name}/{i}.{k}", shim


def _keys(nlp: Language) -> Iterator[tuple[str, tuple[int, str], Model | Shim]]:
    """YIELDS (tuple): Each parameter's name, the optimizer's key for it, and whose it is."""
    for part_name, part in parts_of(nlp):
        names = (
            part.param_names
            if isinstance(part, Model)
            else [name for name, _ in part._model.named_parameters()]
        )
        for name in names:
            yield f"{part_name}/{name}", (part.id, name), part


def _check_shapes(part_name: str, saved: dict[str, Tensor], present: dict[str, Any]) -> None:
    ours = {name: tuple(shape) for name, shape in present.items()}
    theirs = {name: tuple(tensor.shape) for name, tensor in saved.items()}
    if ours == theirs:
        return
    name = next(n for n in sorted({*ours, *theirs}) if ours.get(n) != theirs.get(n))
    component = part_name.split("/")[0]
    raise ValueError(
        f"The checkpoint does not fit the component {component!r}: {name} had the shape "
        f"{theirs.get(name)} and has {ours.get(name)} now. Resume with the encoder and corpora "
        "that the training began with. If labels came up in mid-training, in a streamed corpus, "
        "name all of them in [initialize.components]."
    )


def _copy(tensor: Tensor) -> Tensor:
    """RETURNS (Tensor): One on the device in use, in memory that is not the file's."""
    return tensor.clone().to(get_torch_default_device())


def _to_array(tensor: Tensor, part: Model | Shim) -> Any:
    """RETURNS (ArrayXd): On the device of what it is for: thinc has layers that stay on a CPU."""
    if isinstance(part, Model):
        return part.ops.asarray(cast(Any, tensor.clone().numpy()))
    return torch2xp(_copy(tensor))
