"""A head that is added to a finished pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.util import get_package_path, is_package
from thinc.api import Config

from ..corpus.reader import READER
from ..heads.kinds import HeadKind, kind_of
from ..loading import load_pipeline
from .composition import Composition, Task
from .config import write

_ENCODER = "multitask_transformer"


def add_head(
    model: str | Path,
    task: Task,
    *,
    tune: bool = False,
    gpu: bool = False,
    seed: int = 0,
    **sizes: float | None,
) -> Config:
    """Make a training config that adds a head to a pipeline, whose components are sourced from it.

    model (str or Path): A trained pipeline with a shared encoder: a folder or a package's name.
    task (Task): The head and its corpus.
    tune (bool): Whether encoder and old heads learn on, too. Else they are frozen, and predict what
        they did, bit for bit. To remember what they know they need their corpora: those that the
        pipeline was trained on are kept where they are still there.
    gpu, seed, sizes: As in `compose`.
    RETURNS (Config): For `train`, or `to_disk` and `spacy train`.
    RAISES (ValueError): If the pipeline has no shared encoder, or a quantized one; if the task's
        name is taken, or its corpus has no gold; or if an old head would learn the new labels.
    """
    nlp, source = load_pipeline(model), _folder(model)
    old = {name: nlp.get_pipe_meta(name).factory for name in nlp.component_names}
    encoder = next((name for name, factory in old.items() if factory == _ENCODER), None)
    if encoder is None:
        raise ValueError(f"{model} has no component {_ENCODER} that a new head could listen to.")
    if nlp.get_pipe_config(encoder).get("precision") == "int8":
        raise ValueError(f"{model} is quantized. Add the head to the pipeline it was made from.")
    kinds = {name: kind_of(nlp.get_pipe(name), factory) for name, factory in old.items()}
    if tune:
        _check_tunable(nlp, kinds, task)
    folder = str(source / encoder / "model")
    composition = Composition(folder, [task], gpu=gpu, beside=kinds)
    text = write(composition, lang=str(nlp.lang), seed=seed, **sizes)
    config = Config().from_str(text, interpolate=False)
    del config["paths"]["encoder"]
    # A copy: whenever the pipeline's config is asked for, it writes its own components into it.
    names = [*nlp.component_names, task.name]
    config["nlp"] = {**nlp.config["nlp"], "pipeline": names, "disabled": nlp.disabled}
    sourced: dict[str, Any] = {name: {"source": str(source)} for name in old}
    config["components"] = {**sourced, task.name: config["components"][task.name]}
    # The tokenizer may have rules of its own.
    config["initialize"]["before_init"] = {
        "@callbacks": "spacy.copy_from_base_model.v1",
        "tokenizer": str(source),
        "vocab": str(source),
    }
    if tune:
        _keep_training(config, nlp.config.interpolate())
    else:
        config["training"]["frozen_components"] = list(old)
        # Scores that do not change choose no model; spaCy would add them.
        for name in old:
            for score in nlp.get_pipe_meta(name).default_score_weights or {}:
                config["training"]["score_weights"].setdefault(score, None)
    return config


def _folder(model: str | Path) -> Path:
    """RETURNS (Path): Where the pipeline is; in full, since a training may be started anywhere."""
    if is_package(str(model)):
        found = next(get_package_path(str(model)).glob("*/config.cfg"), None)
        if found is not None:
            return found.parent
    return Path(model).absolute()


def _check_tunable(nlp: Language, kinds: Mapping[str, HeadKind | None], task: Task) -> None:
    """RAISES (ValueError): If a head of the same kind takes the new corpus for its own."""
    for name, kind in kinds.items():
        if kind and kind.name == task.kind and not nlp.get_pipe_config(name).get("corpora"):
            raise ValueError(
                f"{name!r} is a {kind.name}, too, and would learn the labels of {task.name!r}. "
                "Add this head without --tune."
            )


def _keep_training(config: Config, old: Mapping[str, Any]) -> None:
    """Add corpora and scores that the old heads were trained with, where they are still there."""
    for part in ("train", "dev"):
        reader: Any = old
        for key in old.get("training", {}).get(f"{part}_corpus", "").split("."):
            reader = reader.get(key, {})
        corpora = reader.get("corpora", {}) if reader.get("@readers") == READER else {}
        own = config["corpora"][part]["corpora"]
        for name, options in corpora.items():
            if Path(options["path"]).exists():
                path = str(Path(options["path"]).absolute())
                own.setdefault(name, {**options, "path": path})
    if len(config["corpora"]["dev"]["corpora"]) > 1:
        weights = old["training"]["score_weights"]
        config["training"]["score_weights"].update({k: w for k, w in weights.items() if w})
