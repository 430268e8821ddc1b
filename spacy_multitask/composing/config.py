"""A training config for any set of tasks and corpora, with sizes that suit the data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language
from spacy.util import get_lang_class
from thinc.api import Config

from .composition import (
    Component,
    Composition,
    Sizes,
    Task,
    absolute,
    composed_kinds,
    either,
    kind_of_corpus,
)


def parse_task(text: str) -> Task:
    """Read NAME:KIND=PATH.

    RAISES (ValueError): If it has another form.
    """
    head, _, path = text.partition("=")
    name, _, kind = head.partition(":")
    if not (name and kind and path):
        raise ValueError(
            f"{text!r} is not of the form NAME:KIND=PATH, such as pos:tagger=corpus/ud. "
            f"KIND is {either(composed_kinds())}."
        )
    return Task(name, kind, path)


_TASKS_ARE = 'Give a kind of head and a path by name, such as {"pos": ("tagger", "corpus/pos")}.'


def _task(name: str, value: Any) -> Task:
    """RETURNS (Task): What `compose` is given, with its kind."""
    if isinstance(value, str | Path):
        return Task(name, kind_of_corpus(name, str(value)), str(value))
    if isinstance(value, tuple | list) and len(value) == 2:
        kind, path = value
        return Task(name, kind, str(path))
    raise ValueError(f"Task {name!r} is {value!r}. {_TASKS_ARE}")


def compose(
    encoder: str | Path,
    tasks: Mapping[str, tuple[str, str | Path] | str | Path],
    *,
    gpu: bool = False,
    lang: str = "en",
    seed: int = 0,
    **sizes: float,
) -> Config:
    """Make a training config for tasks that each have a corpus.

    encoder (str or Path): Folder or hub name of a pretrained encoder.
    tasks (Mapping[str, Tuple[str, str]]): Kind of head and path of its corpus, by name. Kinds are
        "tagger", "chunker", "ner", "textcat", "relations", "spans", "span_classifier", and those
        that other packages register with a recipe. A path is a folder with train.spacy and
        dev.spacy, or the beginning of PATH-train.spacy and PATH-dev.spacy. Tasks may share one. A
        path alone will do where it has gold for one kind.
    gpu (bool): Whether to choose sizes for a GPU.
    lang (str): Language code of the tokenizer.
    sizes: `epochs`, `batch_words`, `learn_rate`, `head_learn_rate`, `eval_frequency`, where the
        derived ones do not suit.
    RETURNS (Config): For `train`, or `to_disk` and `spacy train`.
    RAISES (ValueError): If a corpus is not there, or has no gold for its head, or a size makes no
        sense.
    """
    if not isinstance(tasks, Mapping):
        raise ValueError(f"tasks is {tasks!r}. {_TASKS_ARE}")
    given = [_task(name, value) for name, value in tasks.items()]
    composition = Composition(str(encoder), given, gpu=gpu)
    # With its variables, so that a change of [paths] is a change everywhere.
    return Config().from_str(write(composition, lang=lang, seed=seed, **sizes), interpolate=False)


def write(
    composition: Composition, *, lang: str = "en", seed: int = 0, **sizes: float | None
) -> str:
    """RETURNS (str): A complete config with comments."""
    tokenizer, tokenizer_setup = _tokenizer(lang)
    components = composition.components
    pipeline = ["transformer", *(component.name for component in components)]
    return _TEMPLATE.format(
        summary=", ".join(f"{t.name} ({t.kind})" for t in composition.tasks),
        device="a GPU" if composition.gpu else "a CPU",
        encoder=_quote(absolute(composition.encoder)),
        seed=seed,
        lang=_quote(lang),
        tokenizer=_quote(tokenizer),
        tokenizer_setup=_quote(tokenizer_setup),
        pipeline=", ".join(map(_quote, pipeline)),
        allocator='"pytorch"' if composition.gpu else "null",
        precision='"bfloat16"' if composition.gpu else '"float32"',
        batch_size=1000 if composition.gpu else 256,
        max_docs="max_docs = 256\n" if composition.gpu else "",
        heads="\n".join(_head(component, components) for component in components),
        train=_corpora(composition, "train", 0),
        dev=_corpora(composition, "dev", 1),
        score_weights=_score_weights(components),
        initialize="\n".join(map(_initialize, components)),
        **_checked_sizes(composition, sizes),
    )


def _tokenizer(lang: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """RETURNS (Tuple[Dict, Dict]): What [nlp] and [initialize] say of the language's tokenizer.
    RAISES (ValueError): If spaCy does not know the language, or it needs another package.
    """
    try:
        get_lang_class(lang)
    except ImportError as error:
        raise ValueError(f"lang = {lang!r} is not a language that spaCy knows.") from error
    try:
        config = spacy.blank(lang).config
    except ImportError as error:
        raise ValueError(
            f"lang = {lang!r} needs a package that is not installed: {error}"
        ) from error
    return config["nlp"]["tokenizer"], config["initialize"]["tokenizer"]


def _checked_sizes(composition: Composition, sizes: Mapping[str, float | None]) -> dict[str, float]:
    """RETURNS (Dict[str, float]): The given sizes, and derived ones for those that are None."""
    given = {name: value for name, value in sizes.items() if value is not None}
    unknown = set(given) - set(Sizes.__dataclass_fields__)
    if unknown:
        raise ValueError(
            f"{', '.join(sorted(unknown))} is not one of {', '.join(Sizes.__dataclass_fields__)}."
        )
    for name, value in given.items():
        is_rate = name.endswith("learn_rate")
        if not value > 0 or not (is_rate or value == int(value)):
            wanted = "more than 0" if is_rate else "a whole number from 1"
            raise ValueError(f"{name} = {value} must be {wanted}.")
    size = {**vars(composition.sizes()), **given}
    if "eval_frequency" not in given:
        size["eval_frequency"] = composition.eval_frequency(size["epochs"], size["batch_words"])
    return size


def _head(component: Component, components: list[Component]) -> str:
    """RETURNS (str): The sections of a head."""
    name, kind, recipe, found = component.name, component.kind, component.recipe, component.train
    factory = kind.factories[0]
    lines = [
        f"[components.{name}]",
        f"# {found.items[kind.name]} {kind.items} in {found.known[kind.name]} docs of "
        f"{component.corpus}.",
        f'factory = "{factory}"',
    ]
    lines += [f"{option} = {_quote(value)}" for option, value in recipe.options(found).items()]
    if recipe.name_option:
        lines.append(f"{recipe.name_option} = {_quote(name)}")
    if recipe.spans_key:
        lines.append(f"spans_key = {_quote(recipe.spans_key)}")
    if recipe.loss_weight is not None and any(other.kind is not kind for other in components):
        lines.append("# Of several tasks some learn faster than others; see docs/training.md.")
        lines.append(f"loss_weight = {recipe.loss_weight}")
    if component.is_second or sum(other.kind is kind for other in components) > 1:
        lines.append(f"corpora = {_quote([component.corpus])}")
    second = recipe.second if component.is_second else None
    if second and second.option:
        lines.append(f"{second.option} = {_quote(name)}")
    if second and second.score is None:
        scorer = (Language.get_factory_meta(factory).default_config or {})["scorer"]["@scorers"]
        lines += ["", f"[components.{name}.scorer]", f'@scorers = "{scorer}"']
        lines += [f'prefix = "{name}_"']
    return "\n".join([*lines, recipe.sections(name, found)]).rstrip() + "\n"


def _initialize(component: Component) -> str:
    """RETURNS (str): Options for the training alone, so that a command line can override them."""
    options = component.recipe.initialize
    lines = [f"{option} = {_quote(value)}\n" for option, value in options.items()]
    return f"[initialize.components.{component.name}]\n{''.join(lines)}" if lines else ""


def _corpora(composition: Composition, split: str, part: int) -> str:
    return "\n".join(
        f"[corpora.{split}.corpora.{name}]\npath = {_quote(str(paths[part]))}\n"
        for name, paths in composition.paths.items()
    )


def _score_weights(components: list[Component]) -> str:
    share = round(1 / len(components), 4)
    return "\n".join(
        f"{score} = {0.0 if i else share}"
        for component in components
        for i, score in enumerate(_scores(component))
    )


def _scores(component: Component) -> list[str]:
    """RETURNS (List[str]): Names of a head's scores, the one that counts first."""
    recipe = component.recipe
    scores = [score.name for score in component.kind.scores if score.is_main]
    if recipe.scores is not None:
        scores = list(recipe.scores(component.train, component.dev))
    if component.is_second and recipe.second is not None:
        if recipe.second.score is not None:
            return [recipe.second.score.name.replace("*", component.name)]
        return [f"{component.name}_{scores[0]}"]
    return [score.replace("*", recipe.spans_key) for score in scores]


def _quote(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


_TEMPLATE = """\
# One encoder for {summary}. Sizes are for {device}.
# Written by `spacy multitask init-config`; docs/configs.md explains every option.

[paths]
# Folder or hub name of the pretrained encoder.
encoder = {encoder}
# JSONL file for losses and scores; null for none.
log = null

[system]
seed = {seed}
gpu_allocator = {allocator}

[nlp]
lang = {lang}
pipeline = [{pipeline}]
# Docs that are predicted at once: as many as memory allows.
batch_size = {batch_size}
disabled = []
before_creation = null
after_creation = null
after_pipeline_creation = null
tokenizer = {tokenizer}
vectors = {{"@vectors":"spacy.Vectors.v1"}}

[components]

[components.transformer]
factory = "multitask_transformer"
# "float32", or "bfloat16": faster where the hardware has it.
precision = {precision}

[components.transformer.model]
@architectures = "spacy_multitask.Encoder.v1"
name = ${{paths.encoder}}

{heads}
[corpora]

[corpora.train]
@readers = "spacy_multitask.MultiCorpus.v1"
# "proportional": each example once per epoch. Or "uniform", "temperature".
mixing = "proportional"
# "warn" of training docs that stand in a development part, too, or "drop" them.
leaks = "warn"
seed = ${{system.seed}}

[corpora.train.corpora]

{train}
[corpora.dev]
@readers = "spacy_multitask.MultiCorpus.v1"

[corpora.dev.corpora]

{dev}
[training]
train_corpus = "corpora.train"
dev_corpus = "corpora.dev"
seed = ${{system.seed}}
gpu_allocator = ${{system.gpu_allocator}}
max_epochs = {epochs}
max_steps = 0
# Steps between two evaluations.
eval_frequency = {eval_frequency}
# Steps without a better score before training stops; 0 for never.
patience = 0
dropout = 0.1
accumulate_gradient = 1
frozen_components = []
annotating_components = []
before_to_disk = null
before_update = null

[training.batcher]
@batchers = "spacy_multitask.batch_by_words.v1"
max_words = {batch_words}
{max_docs}
[training.optimizer]
@optimizers = "spacy_multitask.AdamW.v1"

# For the encoder.
[training.optimizer.learn_rate]
@schedules = "spacy_multitask.warmup_linear.v1"
learn_rate = {learn_rate}

# For the heads.
[training.optimizer.head_learn_rate]
@schedules = "spacy_multitask.warmup_linear.v1"
learn_rate = {head_learn_rate}

# What makes a model the best one: the sum of these scores, each times its weight.
[training.score_weights]
{score_weights}

[training.logger]
@loggers = "spacy_multitask.Logger.v1"
output_file = ${{paths.log}}

[initialize]
vectors = null
init_tok2vec = null
vocab_data = null
lookups = null
before_init = null
after_init = null
tokenizer = {tokenizer_setup}

[initialize.components]

{initialize}
[pretraining]
"""
