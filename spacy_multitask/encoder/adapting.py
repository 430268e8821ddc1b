"""The option `adapter` of an encoder, and adapters in folders or on the hub."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

from ..layers import peft_adapter
from ..layers.network import TransformerNetwork
from ..layers.shim import check_header, tensors_from_bytes
from ..plain import from_json
from .freezing import Frozen

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
_MOST_JSON = 10_000_000  # bytes
_MOST_RANK = 100_000


@dataclass(frozen=True)
class AdapterOptions:
    """The section `adapter` of an encoder; `spacy_multitask.Encoder.v1` says what they mean."""

    method: str = "lora"
    rank: int = 8
    alpha: float | None = None
    targets: list[str] | None = None
    path: str | None = None
    merge: bool = False


def parse_adapter(values: dict[str, Any] | None) -> AdapterOptions | None:
    """Read the section.

    RAISES (ValueError): If it has an option that is not known, or a value that can't be; or if peft
        is not installed.
    """
    if values is None:
        return None
    known = [field.name for field in fields(AdapterOptions)]
    for name, value in values.items():
        if isinstance(value, dict):
            raise ValueError(
                f"adapter.{name} is a section: an encoder has one adapter, which all of its heads "
                "share. With one for each head it would have to run once for each. Give a head "
                "that wants its own an encoder of its own; docs/encoders.md shows how."
            )
        if name not in known:
            raise ValueError(f"adapter.{name} is no option. There are {', '.join(known)}.")
    options = AdapterOptions(**values)
    _check(options)
    given = sorted(values.keys() & {"method", "rank", "alpha", "targets"})
    if options.path is not None and given:
        raise ValueError(
            f"adapter.path names a trained adapter, which has its own {given[0]}. Take "
            f"adapter.{given[0]} out."
        )
    return options


def _check(options: AdapterOptions) -> None:
    if options.method not in peft_adapter.METHODS:
        known = ", ".join(peft_adapter.METHODS)
        raise ValueError(f"adapter.method = {options.method!r} is not one of {known}.")
    rank, alpha, targets = options.rank, options.alpha, options.targets
    if type(rank) is not int or not 0 < rank <= _MOST_RANK:
        raise ValueError(f"adapter.rank = {rank!r} must be a whole number of at least 1.")
    if alpha is not None and (type(alpha) not in (int, float) or alpha <= 0):
        raise ValueError(f"adapter.alpha = {alpha!r} must be a number greater than 0.")
    if targets is not None and not (
        isinstance(targets, list) and targets and all(isinstance(name, str) for name in targets)
    ):
        raise ValueError(
            f'adapter.targets = {targets!r} must be a list of names, such as ["query", "value"].'
        )
    if options.path is not None and not isinstance(options.path, str):
        raise ValueError(f"adapter.path = {options.path!r} must be a folder.")
    if type(options.merge) is not bool:
        raise ValueError(f"adapter.merge = {options.merge!r} must be true or false.")


def adapt(network: TransformerNetwork, options: AdapterOptions | None, frozen: Frozen) -> None:
    """Put the adapter that the options ask for into a network.

    frozen (Frozen): Layers that get none.
    RAISES (ValueError): If there are no such layers, or a trained one does not fit.
    """
    if options is None:
        return
    peft_adapter.require_peft("adapter")
    transformer = network.transformer
    if options.path is not None:
        load(network, *read_folder(Path(options.path).expanduser()))
        return
    if options.targets is None:
        targets = peft_adapter.default_targets(transformer, options.method)
    else:
        targets = peft_adapter.targets_of(transformer, options.targets)
    targets = [n for n in targets if not frozen.has(network.layer_of(f"transformer.{n}."))]
    if not targets:
        raise ValueError(
            "adapter: all layers that would get one are frozen. Freeze less, or name others in "
            "adapter.targets."
        )
    with network.adding_adapter():
        peft_adapter.add_new(transformer, options.method, options.rank, options.alpha, targets)


def load(
    network: TransformerNetwork, values: dict[str, Any], state: dict[str, Tensor], source: str
) -> None:
    """Put a trained adapter into a network; arguments and errors as of `add_trained`."""
    with network.adding_adapter():
        peft_adapter.add_trained(network.transformer, values, state, source)


# Folders


def read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor], str]:
    """RETURNS (tuple): Config and weights of an adapter, and where they come from.
    RAISES (ValueError): If a file is missing or damaged.
    """
    if adapter_in(str(folder)) is None:
        raise ValueError(f"{folder / CONFIG_FILE} is missing. Copy the adapter again.")
    if not (folder / WEIGHTS_FILE).is_file():
        is_old = (folder / "adapter_model.bin").exists()
        advice = "Save the adapter as safetensors." if is_old else "Copy it again."
        raise ValueError(f"{folder} has an {CONFIG_FILE}, but no {WEIGHTS_FILE}. {advice}")
    check_header(folder / WEIGHTS_FILE)
    weights = (folder / WEIGHTS_FILE).read_bytes()
    state = tensors_from_bytes(weights, str(folder / WEIGHTS_FILE))
    return read_config(folder), state, str(folder)


def read_config(folder: Path) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): What a folder's adapter_config.json holds.
    RAISES (ValueError): If it is damaged.
    """
    file = folder / CONFIG_FILE
    if file.stat().st_size > _MOST_JSON:
        raise ValueError(f"{file} is damaged: it is too large.")
    return from_json(file.read_bytes(), str(file))


def adapter_in(name: str) -> Path | None:
    """RETURNS (Optional[Path]): A folder with an adapter; None if the name is something else."""
    folder = Path(name).expanduser()
    return folder if (folder / CONFIG_FILE).is_file() else None


def adapter_on_hub(name: str) -> Path | None:
    """RETURNS (Optional[Path]): A copy of an adapter from the hub; None if there is none."""
    from huggingface_hub import snapshot_download

    try:
        return adapter_in(
            snapshot_download(name, allow_patterns=["adapter_*", "*token*", "vocab*"])
        )
    except Exception:  # of many kinds; that the name is no encoder has been found already
        return None


@contextmanager
def bare(folder: Path) -> Iterator[str]:
    """Get a folder with an encoder alone: transformers would put an adapter in it on the base that
    adapter_config.json names, from the hub if need be.

    YIELDS (str): The folder, or a temporary one with links to its other files.
    """
    if not os.path.lexists(folder / CONFIG_FILE):
        yield str(folder)
        return
    with TemporaryDirectory() as place:
        for file in folder.iterdir():
            if not file.name.startswith("adapter_"):
                Path(place, file.name).symlink_to(file.resolve())
        yield place


@contextmanager
def base_of(folder: Path) -> Iterator[str]:
    """Find the encoder that an adapter is for.

    folder (Path): Has the adapter, and the base too if there is a config.json.
    YIELDS (str): Folder or hub name of the base.
    RAISES (ValueError): If it is not known.
    """
    if (folder / "config.json").is_file():
        with bare(folder) as place:
            yield place
        return
    base = read_config(folder).get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise ValueError(
            f"{folder / CONFIG_FILE} does not say which encoder the adapter is for. Set "
            "components.transformer.model.name to that one, and adapter.path to this folder."
        )
    yield base
