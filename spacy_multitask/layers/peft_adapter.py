"""Adapters of the library peft in a transformer: small matrices that learn in place of its weights.

What is read comes from others. peft would do as an adapter_config.json says, which may name modules
to import or a change of the base's weights, so that only known options reach it.

Source: Hu et al. (2022), https://arxiv.org/abs/2106.09685, and https://huggingface.co/docs/peft
"""

from __future__ import annotations

import copy
import re
from importlib.util import find_spec
from typing import Any

from torch import Tensor, nn

Settings = dict[str, Any]

# Our name -> peft's kind of adapter, its option for the scale, and what is set besides.
METHODS: dict[str, tuple[str, str, Settings]] = {
    "lora": ("LORA", "lora_alpha", {}),
    "dora": ("LORA", "lora_alpha", {"use_dora": True}),
    "loha": ("LOHA", "alpha", {}),
    "lokr": ("LOKR", "alpha", {}),
    "ia3": ("IA3", "", {}),
}
# Options that bear on what an adapter gives, by kind.
_RANKS = ("r", "rank_pattern", "alpha_pattern")
_HEEDED: dict[str, tuple[str, ...]] = {
    "LORA": (*_RANKS, "lora_alpha", "use_rslora", "use_dora", "lora_bias", "fan_in_fan_out"),
    "LOHA": (*_RANKS, "alpha", "use_effective_conv2d"),
    "LOKR": (*_RANKS, "alpha", "use_effective_conv2d", "decompose_both", "decompose_factor"),
    "IA3": ("feedforward_modules", "fan_in_fan_out"),
}
# Options that do not, once there are weights.
_FREE = frozenset(
    """
    auto_mapping base_model_name_or_path ensure_weight_tying exclude_modules inference_mode
    init_ia3_weights init_weights layers_pattern layers_to_transform lora_dropout megatron_core
    module_dropout modules_to_save peft_type peft_version qalora_group_size rank_dropout
    rank_dropout_scale revision runtime_config target_modules task_type
    """.split()
)
# Beginnings of the base's weights that are like those of the pretrained one.
_STARTS = (None, True, False, "gaussian", "orthogonal")
_PREFIX = "base_model.model."  # of all names in an adapter's file
_NAME = "default"  # of the one adapter of a transformer
_PARAMETER = re.compile(r"^(.+?)\.(?:lora_|hada_|lokr_|ia3_)")
_ADVICE = "Merge it into its base with peft (merge_and_unload), and name the folder of that."


def require_peft(what: str) -> None:
    """RAISES (ValueError): If the library is not installed."""
    if find_spec("peft") is None:
        raise ValueError(f"{what} needs the library peft: pip install 'spacy_multitask[peft]'")


def is_adapted(transformer: Any) -> bool:
    """RETURNS (bool): Whether a transformer has an adapter."""
    return bool(getattr(transformer, "peft_config", None))


def adapted_layers(module: Any) -> dict[str, Any]:
    """RETURNS (Dict[str, BaseTunerLayer]): Layers with an adapter, by name."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return {name: part for name, part in module.named_modules() if isinstance(part, BaseTunerLayer)}


# New ones


def add_new(
    transformer: Any, method: str, rank: int, alpha: float | None, targets: list[str]
) -> None:
    """Put an adapter into a transformer, which gives what it gave until the adapter has learned.
    Its own weights learn no more.

    method (str): One of METHODS.
    rank (int): Of the matrices; "ia3" has none.
    alpha (Optional[float]): The scale is alpha / rank; None: twice the rank.
    targets (List[str]): Full names of the layers that get one.
    """
    kind, scale, options = METHODS[method]
    values: Settings = dict(options)
    if scale:
        values.update({"r": rank, scale: 2 * rank if alpha is None else alpha})
    else:
        values["feedforward_modules"] = _named(targets, _feedforward(transformer))
    _inject(transformer, kind, values, targets)


def default_targets(transformer: Any, method: str) -> list[str]:
    """RETURNS (List[str]): Full names of the layers that peft adapts in a model of this kind; all
    linear layers where it does not say."""
    from peft import utils

    tables = {
        "ia3": utils.TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING,
    }
    table = tables.get(method, utils.TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING)
    names = table.get(transformer.config.model_type)
    linear = [name for name, part in transformer.named_modules() if isinstance(part, nn.Linear)]
    if not isinstance(names, list):
        return linear
    return _named([name for name, _ in transformer.named_modules()], names) or linear


def _feedforward(transformer: Any) -> list[str]:
    from peft import utils

    table = utils.TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING
    return table.get(transformer.config.model_type, [])


def _named(names: list[str], wanted: list[str]) -> list[str]:
    """RETURNS (List[str]): Names that are, or end with, wanted ones."""
    return [n for n in names if any(n == w or n.endswith("." + w) for w in wanted)]


def targets_of(transformer: Any, wanted: list[str]) -> list[str]:
    """RETURNS (List[str]): Full names of the layers whose names end so.
    RAISES (ValueError): If there is no such layer.
    """
    linear = [name for name, part in transformer.named_modules() if isinstance(part, nn.Linear)]
    for name in wanted:
        if not _named(linear, [name]):
            known = sorted({name.rpartition(".")[2] for name in linear})
            raise ValueError(
                f"adapter.targets: no linear layer of the encoder is called {name!r}. There are "
                f"{', '.join(known)}."
            )
    return _named(linear, wanted)


def _inject(
    transformer: Any, kind: str, values: Settings, targets: list[str], *, empty: bool = False
) -> None:
    import peft

    config = peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType(kind)]
    made = config(target_modules=list(targets), **values)
    peft.inject_adapter_in_model(made, transformer, _NAME, low_cpu_mem_usage=empty)
    assert adapted_layers(transformer).keys() == set(targets), "peft has adapted other layers"


# To files and back


def settings_of(transformer: Any) -> Settings:
    """RETURNS (Dict[str, Any]): What adapter_config.json holds; no base is named in it."""
    values = transformer.peft_config[_NAME].to_dict()
    values.update(target_modules=list(adapted_layers(transformer)), base_model_name_or_path=None)
    return {
        name: sorted(value) if isinstance(value, set) else getattr(value, "value", value)
        for name, value in sorted(values.items())
    }


def state_of(transformer: Any) -> dict[str, Tensor]:
    """RETURNS (Dict[str, Tensor]): An adapter's weights, under the names that peft gives them."""
    from peft import get_peft_model_state_dict

    # It would ask the hub otherwise if the base has been resized.
    state = get_peft_model_state_dict(transformer, save_embedding_layers=False)
    return {_PREFIX + name: value for name, value in state.items()}


def add_trained(transformer: Any, values: Settings, state: dict[str, Tensor], source: str) -> None:
    """Put a trained adapter into a transformer, whose own weights learn no more.

    values (Dict[str, Any]): What its adapter_config.json holds.
    state (Dict[str, Tensor]): Its weights, also of one that was trained with another head.
    source (str): Where it comes from, for error messages.
    RAISES (ValueError): If it is of a kind that is not known here, or does not fit.
    """
    require_peft(f"{source} holds an adapter, which")
    from peft import set_peft_model_state_dict

    kind, prefix, own = _check_kind(values, source), *_own_part(transformer, state, source)
    targets = sorted({_layer_of(name) for name in own})
    heeded = {n: values[n] for n in _HEEDED[kind] if values.get(n) is not None}
    for name in ("rank_pattern", "alpha_pattern"):
        if heeded.get(name):
            heeded[name] = _own_patterns(heeded[name], prefix, f"{source}: {name}")
    if "feedforward_modules" in heeded:
        heeded["feedforward_modules"] = _named(targets, list(heeded["feedforward_modules"]))
    largest = max(size for tensor in own.values() for size in tensor.shape)
    ranks = [heeded.get("r"), *heeded.get("rank_pattern", {}).values()]
    if any(type(rank) is int and rank > largest for rank in ranks):
        raise ValueError(
            f"{source}: the adapter's rank should have been at most {largest}, as its weights say. "
            "adapter_config.json is damaged; copy it again."
        )
    try:
        _inject(transformer, kind, heeded, targets, empty=True)
    except (TypeError, ValueError, KeyError) as error:
        text = " ".join(str(error).split())[:300]
        raise ValueError(f"{source}: adapter_config.json is damaged: {text}") from error
    expected = {n.removeprefix(_PREFIX): tuple(t.shape) for n, t in state_of(transformer).items()}
    found = {name: tuple(tensor.shape) for name, tensor in own.items()}
    wrong = sorted(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
    if wrong:
        raise ValueError(
            f"{source}: the adapter does not fit the encoder: {wrong[0]} has shape "
            f"{found.get(wrong[0])} and should have {expected.get(wrong[0])}. Use the base that it "
            "was trained on."
        )
    own = {name: tensor.float() for name, tensor in own.items()}
    set_peft_model_state_dict(transformer, own, _NAME, low_cpu_mem_usage=True)


def _check_kind(values: Settings, source: str) -> str:
    """RETURNS (str): peft's name for the kind of adapter.
    RAISES (ValueError): If what its config says is not heeded here.
    """
    kind = values.get("peft_type")
    if kind not in _HEEDED:
        raise ValueError(
            f"{source}: an adapter of the kind {kind!r} is not known here, only "
            f"{', '.join(_HEEDED)}. {_ADVICE}"
        )
    for name, value in values.items():
        plain = name in _FREE or name in _HEEDED[kind] or not value
        if name == "bias":
            plain = value == "none"
        elif name == "init_lora_weights":  # some change the base
            plain = value in _STARTS
        if not plain:
            raise ValueError(
                f"{source}: the adapter has {name} = {str(value)[:100]!r}, which is not known "
                f"here. {_ADVICE}"
            )
    return kind


def _own_part(
    transformer: Any, state: dict[str, Tensor], source: str
) -> tuple[str, dict[str, Tensor]]:
    """Find the weights for this transformer in an adapter of a model around it: one with a head to
    classify tokens, or with a decoder.

    RETURNS (Tuple[str, Dict[str, Tensor]]): What stands before its layers' names, and its weights.
    RAISES (ValueError): If there are none, or others that it would need.
    """
    modules = {name for name, _ in transformer.named_modules()}
    prefixes = {_prefix_of(name, modules) for name in state} - {None}
    if len(prefixes) != 1:
        raise ValueError(
            f"{source}: the adapter is for another kind of encoder: it has layers such as "
            f"{min(state, default='none')}. Use the base that it was trained on."
        )
    prefix = str(prefixes.pop())
    own = {}
    for name, tensor in state.items():
        inner = name.removeprefix(prefix)
        if inner == name or inner.startswith("pooler."):
            continue  # of the head, the decoder or what belongs to the pretraining
        layer = _layer_of(inner)
        if layer in modules:
            own[inner] = tensor
        elif layer or inner.rpartition(".")[0] in modules:
            raise ValueError(f"{source}: the adapter has learned {inner}, too. {_ADVICE}")
    return prefix, own


def _layer_of(name: str) -> str:
    """RETURNS (str): The layer that a weight of an adapter is for; none for other weights."""
    match = _PARAMETER.match(name)
    return match.group(1) if match else ""


def _prefix_of(name: str, modules: set[str]) -> str | None:
    layer = _layer_of(name)
    parts = layer.split(".")
    for i in range(len(parts)) if layer else ():
        if ".".join(parts[i:]) in modules and parts[i - 1 : i] != ["decoder"]:
            return "".join(f"{part}." for part in parts[:i])
    return None


def _own_patterns(patterns: Settings, prefix: str, source: str) -> Settings:
    outer = prefix.removeprefix(_PREFIX)
    found = {}
    for name, value in patterns.items():
        if not re.fullmatch(r"\^?[\w.]+", name):
            raise ValueError(f"{source}: {name!r} is a pattern, not a layer. {_ADVICE}")
        found[name.removeprefix("^").removeprefix(outer)] = value
    return found


# What is below


def without(module: nn.Module) -> dict[str, Tensor]:
    """RETURNS (Dict[str, Tensor]): State of a module as if it had no adapter."""
    layers = tuple(f"{name}." for name in adapted_layers(module))
    return {
        name.replace(".base_layer.", "."): value
        for name, value in module.state_dict().items()
        if ".base_layer." in name or not name.startswith(layers)
    }


def merged(module: nn.Module) -> dict[str, Tensor]:
    """RETURNS (Dict[str, Tensor]): State of a module without adapter that gives the same."""
    state = without(module)
    for name, layer in adapted_layers(module).items():
        copied = copy.deepcopy(layer)  # one at a time: the whole may be large
        copied.merge(safe_merge=True)
        for inner, value in copied.get_base_layer().state_dict().items():
            state[f"{name}.{inner}"] = value
    return state


def merge(transformer: Any) -> None:
    """Let a transformer's own weights take over what its adapter has learned, which is gone then.
    They learn again."""
    for name, layer in adapted_layers(transformer).items():
        layer.merge(safe_merge=True)
        parent, _, own = name.rpartition(".")
        setattr(transformer.get_submodule(parent), own, layer.get_base_layer())
    del transformer.peft_config
    transformer.requires_grad_(True)
