"""The file that a training goes on from: tensors and notes.

It is safetensors, so that reading it runs no pickle. What is not an array is JSON, in the
tensor `notes`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..plain import plain
from ..safe_files import new_file

FORMAT = "spacy_multitask.Checkpoint.v2"
NOTES = "notes"


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


def _checksum(tensors: dict[str, Tensor]) -> str:
    """RETURNS (str): SHA-256 of names, types, shapes and contents."""
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
