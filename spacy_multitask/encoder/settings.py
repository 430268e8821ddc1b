"""config.json of an encoder: what in it is heeded, and what is refused.

It comes from others, and transformers would do as it says: fetch an attention kernel or a backbone
from the hub and import it, or make a model of any size.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import srsly
import torch
from torch.nn.modules.module import register_module_module_registration_hook

# Kinds of models that read text: those of `docs/encoders.md`, and others of the same make. MRA and
# YOSO are not: beside a GPU transformers 5 fetches code for them from the hub, unasked.
TEXT_MODELS = frozenset(
    """
    albert bart bert big_bird blenderbot blenderbot-small camembert canine convbert data2vec-text
    deberta deberta-v2 distilbert electra ernie ernie_m esm eurobert flaubert fnet funnel gemma
    gemma2 gemma3_text gpt2 gpt_neo gpt_neox gte ibert jina_embeddings_v3 layoutlm led llama
    longformer luke m2m_100 marian mbart megatron-bert ministral mistral mobilebert modernbert
    modernbert-decoder mpnet mt5 nezha nomic_bert nystromformer olmo olmo2 opt pegasus phi phi3
    qwen2 qwen3 rembert roberta roberta-prelayernorm roc_bert roformer smollm3 squeezebert t5
    t5gemma umt5 xglm xlm xlm-roberta xlm-roberta-xl xlnet xmod
    """.split()
)
# Options that name code or files elsewhere; the values are those that do no harm.
_CODE: dict[str, tuple[Any, ...]] = {
    "_attn_implementation": (None, "eager", "sdpa"),
    "attn_implementation": (None, "eager", "sdpa"),
    "_attn_implementation_internal": (None, "eager", "sdpa"),
    "_experts_implementation": (None,),
    "experts_implementation": (None,),
    "auto_map": (None,),
    "backbone": (None,),
    "backbone_config": (None,),
    "custom_pipelines": (None,),
    "quantization_config": (None,),
    "use_timm_backbone": (None, False),
    "use_kernels": (None, False),
}
_SINES = frozenset(("distilbert", "flaubert", "marian", "pegasus", "roformer", "xlm"))
# Of the options that all models have, these bear on what one gives.
_COMMON = """
    architectures bos_token_id chunk_size_feed_forward decoder_start_token_id eos_token_id
    is_decoder is_encoder_decoder model_type pad_token_id sep_token_id tie_word_embeddings
""".split()
# Options that models heed though their configs do not declare them, in some version or all.
_UNDECLARED = """
    attention_head_size conv_act conv_groups conv_kernel_size embedding_size
    global_attn_every_n_layers global_rope_theta head_dim hidden_dropout layer_types
    local_rope_theta norm_rel_ebd partial_rotary_factor position_buckets position_embedding_type
    rope_local_base_freq rope_parameters rope_scaling rope_theta rotary_emb_base rotary_pct
    share_att_key sliding_window sliding_window_pattern talking_head use_bidirectional_attention
""".split()
# Words in the names of options that say how many parts there are.
_COUNTS = ("layer", "block", "group", "network", "expert", "hash", "depth", "num_h")
_SIZES = ("_size", "_window", "_width", "_length", "_buckets")  # unless they end so
_MOST_PARTS = 1000


def check(settings: dict[str, Any], source: str, *, n_tensors: int = 0) -> None:
    """Look for what must not be heeded, before anything is made of it.

    settings (Dict[str, Any]): What config.json holds.
    source (str): Where it comes from, for error messages.
    n_tensors (int): Tensors that the weights have, if they are known.
    RAISES (ValueError): If it is no text encoder, names code to be run, or is out of proportion.
    """
    kind = settings.get("model_type")
    if kind not in TEXT_MODELS:
        raise ValueError(
            f"{source}: model_type = {kind!r} is no kind of text encoder that is known here. "
            "docs/encoders.md lists those that are."
        )
    most = max(_MOST_PARTS, n_tensors)
    for name, value in _walk(settings):
        if name in _CODE and value not in _CODE[name]:
            raise ValueError(
                f"{source}: {name} = {srsly.json_dumps(value)[:100]} names code, which is not run. "
                "Take it out if you trust the rest."
            )
        counts = [n for n in (value if isinstance(value, list) else [value]) if type(n) is int]
        if any(word in name for word in _COUNTS) and max(counts, default=0) > most:
            if not name.endswith(_SIZES):
                raise ValueError(
                    f"{source}: {name} = {max(counts)} is more than the weights have tensors."
                )


def _walk(settings: dict[str, Any]) -> list[tuple[str, Any]]:
    """RETURNS (List[Tuple[str, Any]]): Options, those of inner configs too."""
    found: list[tuple[str, Any]] = []
    waiting: list[Any] = [settings]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            found += part.items()
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
    return found


def to_config(settings: dict[str, Any], source: str) -> Any:
    """Make a config of what config.json holds.

    RETURNS (PretrainedConfig): With the options that bear on what the encoder gives.
    RAISES (ValueError): If its options do not go together.
    """
    from transformers import CONFIG_MAPPING

    check_known(settings, source)
    config_class = CONFIG_MAPPING[settings["model_type"]]
    try:
        known = config_class()
        kept = _kept(settings, known)
        kept.pop("model_type")
        config = config_class(**_translated(kept, known))
    except Exception as error:  # of many kinds: each class has checks of its own
        raise ValueError(f"{source} is damaged: {' '.join(str(error).split())[:300]}") from error
    config.architectures = config.architectures or []  # which some look into without asking
    return config


def from_config(config: Any) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): What config.json of a saved pipeline holds."""
    return _kept(config.to_dict(), type(config)())


@contextmanager
def sketching(n_parts: int) -> Iterator[None]:
    """Make modules that take no memory, whatever their sizes, and not too many of them, as layers
    within layers may be.

    n_parts (int): Modules that this thread may make.
    """
    left, thread = n_parts, threading.get_ident()

    def count(module: Any, name: str, part: Any) -> None:
        nonlocal left
        if threading.get_ident() == thread:
            left -= 1
            if left < 0:
                raise ValueError(f"it would have more than {n_parts:,} parts")

    handle = register_module_module_registration_hook(count)
    try:
        with torch.device("meta"):
            yield
    finally:
        handle.remove()


def to_model(config: Any, source: str) -> Any:
    """RETURNS (PreTrainedModel): One with random weights.
    RAISES (ValueError): If the config makes none."""
    from transformers import MODEL_MAPPING, AutoModel

    try:
        # AutoModel does the same, but imports the configs of all kinds first, for a second.
        kind: Any = MODEL_MAPPING.get(type(config), None)
        if kind is not None and not isinstance(kind, tuple):  # as Funnel's: it has two
            return kind._from_config(config)
        return AutoModel.from_config(config, trust_remote_code=False)
    except Exception as error:  # of many kinds: each class has checks of its own
        text = " ".join(str(error).split())[:300]
        raise ValueError(f"{source} makes no model: {text}") from error


def check_table(config: Any, source: str, n_numbers: int) -> None:
    """Some kinds compute a table of their positions number by number, which is saved, too.

    n_numbers (int): Numbers in the weights.
    RAISES (ValueError): If the table would have more.
    """
    if config.model_type in _SINES:
        size = config.max_position_embeddings * config.hidden_size
        if size > n_numbers:
            raise ValueError(
                f"{source} calls for a table of {size:,} numbers; the weights have {n_numbers:,}."
            )


def _kept(settings: dict[str, Any], known: Any) -> dict[str, Any]:
    own = known.to_dict().keys() | set(_UNDECLARED) | set(known.attribute_map)
    own -= _common_of(known)
    own |= set(_COMMON)
    return {name: settings[name] for name in sorted(own & settings.keys() - _CODE.keys())}


def _common_of(known: Any) -> set[str]:
    """RETURNS (Set[str]): Options that all models have."""
    from transformers import PretrainedConfig

    return set(PretrainedConfig().to_dict())


def _translated(settings: dict[str, Any], known: Any) -> dict[str, Any]:
    """Say in the words of transformers 4 what 5 says of rotary positions."""
    rope = settings.get("rope_parameters")
    if hasattr(known, "rope_parameters") or not rope:
        return settings
    settings = {name: value for name, value in settings.items() if name != "rope_parameters"}
    full = dict(rope.get("full_attention", rope))
    names = ("rope_theta", "rope_local_base_freq")
    if hasattr(known, "global_rope_theta"):
        names = ("global_rope_theta", "local_rope_theta")
    settings[names[0]] = full.pop("rope_theta")
    if "sliding_attention" in rope:
        settings[names[1]] = rope["sliding_attention"]["rope_theta"]
    if full.get("rope_type", "default") != "default":
        settings["rope_scaling"] = full
    types = settings.get("layer_types")
    if types and hasattr(known, "global_attn_every_n_layers"):
        later = [i for i, kind in enumerate(types) if kind == "full_attention" and i]
        settings["global_attn_every_n_layers"] = later[0] if later else len(types)
    return settings


def check_known(settings: dict[str, Any], source: str) -> None:
    """RAISES (ValueError): If this version of transformers has no models of such a kind."""
    from transformers import CONFIG_MAPPING

    kind = settings["model_type"]
    if kind not in CONFIG_MAPPING:
        raise ValueError(
            f"{source}: this version of transformers has no models of the kind {kind!r}. "
            "Update it: pip install -U transformers"
        )
