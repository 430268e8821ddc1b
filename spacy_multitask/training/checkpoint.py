"""All that a training needs to go on: weights, optimizer, random numbers, notes. One file.

The file is safetensors, so that reading it runs no pickle. What is not an array is JSON, in the
tensor `notes`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from spacy.language import Language
from thinc.api import Model, Optimizer, get_torch_default_device, torch2xp, xp2torch
from thinc.shims.shim import Shim
from torch import Tensor, nn

from ..layers.shim import TorchShim
from ..plain import plain
from ..safe_files import new_file
from .optimizer import AdamW

FORMAT = "spacy_multitask.Checkpoint.v1"
NOTES = "notes"
# Arrays that thinc's optimizers keep per parameter, and counts.
MOMENTS = ("mom1", "mom2", "averages")
COUNTS = ("nr_update", "last_seen")


def write_checkpoint(path: Path, tensors: dict[str, Tensor], notes: dict[str, Any]) -> None:
    """Write a checkpoint, or leave the one that was there.

    tensors (Dict[str, Tensor]): Arrays by name.
    notes (Dict[str, Any]): What JSON can hold, and NumPy's numbers.
    RAISES (SavingError): If the file can't be written.
    """
    text = json.dumps(notes, default=plain).encode("utf8")
    tensors = {**tensors, NOTES: torch.frombuffer(bytearray(text), dtype=torch.uint8)}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        if tensor.numel() and tensor.data_ptr() in seen:
            tensor = tensor.clone()  # safetensors refuses tensors that share memory
        seen.add(tensor.data_ptr())
        tensors[name] = tensor
    metadata = {"format": FORMAT, "sha256": _checksum(tensors)}
    with new_file(path) as aside:
        try:
            save_file(tensors, aside, metadata=metadata)
        except SafetensorError as error:
            code = re.search(r"os error (\d+)", str(error))
            if code is None:
                raise OSError(str(error)) from error
            raise OSError(int(code[1]), os.strerror(int(code[1]))) from error


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """RETURNS (Tuple[Dict[str, Tensor], Dict[str, Any]]): What `write_checkpoint` was given.
    RAISES (ValueError): If the file is cut off, changed, or no checkpoint.
    """
    advice = "Copy it again from where it came from, or train from the beginning, without --resume."
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"Can't read the checkpoint {path}: {error}. {advice}") from error
    if metadata.get("format") != FORMAT or NOTES not in tensors:
        raise ValueError(
            f"{path} is not a checkpoint of the form {FORMAT}, but {metadata.get('format')!r}. "
            "Resume with the version of spacy_multitask that began the training."
        )
    if metadata.get("sha256") != _checksum(tensors):
        raise ValueError(
            f"The checkpoint {path} is not what it was when it was saved (its SHA-256 differs). "
            + advice
        )
    return tensors, json.loads(tensors.pop(NOTES).numpy().tobytes())


def capture(nlp: Language, optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Take down the weights of all components and the state of the optimizer.

    RETURNS (Tuple[Dict[str, Tensor], Dict[str, Any]]): Arrays, some of them the very ones in use;
        and notes, for `restore`.
    """
    tensors: dict[str, Tensor] = {}
    gradients: list[str] = []
    sets: dict[str, list] = {}
    moments: dict[str, dict[str, dict[str, Any]]] = {}
    sparse: dict[str, list[str]] = {}
    for part_name, part in _parts(nlp):
        if isinstance(part, Model):
            for name in part.param_names:
                if part.has_param(name):
                    tensors[f"weights/{part_name}/{name}"] = xp2torch(part.get_param(name))
                if part.has_grad(name):
                    gradients.append(f"{part_name}/{name}")
            for name, value in part.attrs.items():
                if isinstance(value, set):  # such as the parser's classes not seen so far
                    sets[f"{part_name}/{name}"] = sorted(value)
            continue
        module: nn.Module = part._model
        for name, tensor in module.state_dict().items():
            tensors[f"weights/{part_name}/{name}"] = tensor
        gradients += [
            f"{part_name}/{name}" for name, p in module.named_parameters() if p.grad is not None
        ]
        if isinstance(optimizer, AdamW):
            state = optimizer.module_state(part.id, module)
            if state is None:
                continue
            sparse[part_name] = optimizer.sparse_names(part.id, module)
            moments[part_name] = {name: {} for name in state}
            for name, entries in state.items():
                for entry, value in entries.items():
                    is_tensor = torch.is_tensor(value)
                    moments[part_name][name][entry] = None if is_tensor else value
                    if is_tensor:
                        tensors[f"moments/{part_name}/{name}/{entry}"] = value
    names = {key: name for name, key, _ in _keys(nlp)}
    for kind in MOMENTS:
        for key, array in (getattr(optimizer, kind) or {}).items():
            if key not in names:
                continue  # of a layer that has since been replaced
            tensors[f"{kind}/{names[key]}"] = array if torch.is_tensor(array) else xp2torch(array)
    counts = {
        kind: {names[key]: n for key, n in getattr(optimizer, kind).items() if key in names}
        for kind in COUNTS
    }
    return tensors, {
        "gradients": gradients,
        "sets": sets,
        "moments": moments,
        "sparse": sparse,
        "counts": counts,
        "radam": optimizer._radam_buffer,
    }


def restore(
    nlp: Language, optimizer: Optimizer, tensors: dict[str, Tensor], notes: dict[str, Any]
) -> None:
    """Put weights and optimizer into the state in which `capture` found them.

    nlp (Language): The pipeline, initialised anew from the same config and corpora.
    optimizer (Optimizer): A new one, of the same config.
    RAISES (ValueError): If they do not fit.
    """
    gradients = set(notes["gradients"])
    for part_name, part in _parts(nlp):
        prefix = f"weights/{part_name}/"
        own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        if isinstance(part, Model):
            shapes = {n: part.get_param(n).shape for n in part.param_names if part.has_param(n)}
            _check_shapes(part_name, own, shapes)
            for name, tensor in own.items():
                part.set_param(name, _to_array(tensor, part))
                if f"{part_name}/{name}" in gradients:
                    # Zero, as after any step. Without one the next step would pass the parameter
                    # over, where its momentum should move it on.
                    part.set_grad(name, part.ops.alloc(tensor.shape))
            for name in part.attrs:
                if f"{part_name}/{name}" in notes["sets"]:
                    part.attrs[name] = set(notes["sets"][f"{part_name}/{name}"])
            continue
        module: nn.Module = part._model
        _check_shapes(part_name, own, {n: t.shape for n, t in module.state_dict().items()})
        module.load_state_dict(own)
        for name, parameter in module.named_parameters():
            if f"{part_name}/{name}" in gradients:
                parameter.grad = torch.zeros_like(parameter)
        if isinstance(optimizer, AdamW) and part_name in notes["moments"]:
            state = {
                name: {
                    entry: _copy(tensors[f"moments/{part_name}/{name}/{entry}"])
                    if value is None
                    else value
                    for entry, value in entries.items()
                }
                for name, entries in notes["moments"][part_name].items()
            }
            optimizer.load_module_state(part.id, module, state, notes["sparse"][part_name])
    for name, key, part in _keys(nlp):
        for kind in MOMENTS:
            if f"{kind}/{name}" in tensors:
                tensor = tensors[f"{kind}/{name}"]
                stays_torch = isinstance(optimizer, AdamW) and isinstance(part, TorchShim)
                value = _copy(tensor) if stays_torch else _to_array(tensor, part)
                getattr(optimizer, kind)[key] = value
        for kind in COUNTS:
            if name in notes["counts"][kind]:
                getattr(optimizer, kind)[key] = notes["counts"][kind][name]
    optimizer._radam_buffer = notes["radam"]


def _parts(nlp: Language) -> Iterator[tuple[str, Model | Shim]]:
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
    for part_name, part in _parts(nlp):
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


def _checksum(tensors: dict[str, Tensor]) -> str:
    """RETURNS (str): SHA-256 of names, types, shapes and contents."""
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
