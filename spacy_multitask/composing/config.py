"""A training config for any set of tasks and corpora, with sizes that suit the data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from spacy.util import get_lang_class
from thinc.api import Config

from ..corpus.survey import ITEMS, LAYERS, TAGS, Survey, find_parts, survey
from ..training.forecast import EncoderSize

KINDS = tuple(LAYERS)
# The chunker's group of `doc.spans`.
CHUNKS = "np"
# Where a second head of a kind writes to, since the first has taken the usual place.
SECOND = {"tagger": "extension", "ner": "spans_key"}
SCORES = {
    "tagger": ("tag_acc", "pos_acc"),
    "chunker": ("spans_np_f",),
    "ner": ("ents_f",),
    "textcat": ("cats_acc", "cats_score"),
    "relations": ("rels_f",),
}
# Factors on the loss where there are heads of other kinds; see docs/training.md.
WEIGHTS = {"ner": 2.0, "textcat": 0.5}
# From so many labels on a bag of words takes more memory and time than it is worth.
MANY_TOPICS = 50
# A second head of these kinds has scores of the same names, which need a prefix.
SCORERS = {"tagger": "tagger_scorer", "textcat": "textcat_scorer"}
# Words that a training on little data should see in all; see docs/training.md.
WORDS_TO_SEE = 600_000


@dataclass(frozen=True)
class Task:
    """A head and the corpus that it learns from.

    name (str): Names the corpus, and the component if it is the second of its kind.
    kind (str): tagger, chunker, ner, textcat or relations.
    path (str): See `find_parts`.
    """

    name: str
    kind: str
    path: str


@dataclass(frozen=True)
class Sizes:
    """What is derived from the data: passes over it, words in a batch, learning rates."""

    epochs: int
    batch_words: int
    learn_rate: float
    head_learn_rate: float
    eval_frequency: int


class Composition:
    """Tasks with their corpora looked into.

    tasks (List[Task]): In the order of the pipeline.
    surveys, dev_surveys (Dict[str, Survey]): What the training and the development part of each
        corpus hold, by corpus.
    paths (Dict[str, Tuple[Path, Path]]): Training and development part, by corpus.
    corpus (Dict[str, str]): The corpus of each task; tasks with the same path share one.
    """

    def __init__(self, encoder: str, tasks: list[Task], *, gpu: bool):
        if "$" in encoder:
            raise ValueError(f"The encoder's path {encoder} must not hold a $.")
        if not tasks:
            raise ValueError("Name at least one task, such as pos:tagger=corpus/ud.")
        self.encoder, self.tasks, self.gpu = encoder, tasks, gpu
        self.encoder_size = look_up(encoder)
        self.surveys: dict[str, Survey] = {}
        self.dev_surveys: dict[str, Survey] = {}
        self.paths: dict[str, tuple[Path, Path]] = {}
        self.corpus: dict[str, str] = {}
        by_path: dict[Path, str] = {}
        has_tagger = False
        for task in tasks:
            if task.kind not in KINDS:
                raise ValueError(f"Task {task.name!r}: {task.kind!r} is not {_or(KINDS)}.")
            if not task.name.isidentifier():
                raise ValueError(
                    f"Task {task.name!r}: a name is made of letters, digits and _, and does not "
                    "begin with a digit; it names sections of the config."
                )
            if task.name in self.corpus:
                raise ValueError(f"Two tasks are named {task.name!r}.")
            if "$" in task.path:  # a config would take what follows for a variable
                raise ValueError(f"Task {task.name!r}: the path {task.path} must not hold a $.")
            path = Path(task.path)
            if path not in by_path:
                by_path[path] = task.name
                self.paths[task.name] = find_parts(path)
                self.surveys[task.name] = survey(self.paths[task.name][0])
                self.dev_surveys[task.name] = survey(self.paths[task.name][1])
            self.corpus[task.name] = by_path[path]
            for part, found in (
                ("training", self.surveys[by_path[path]]),
                ("development", self.dev_surveys[by_path[path]]),
            ):
                if not found.known[task.kind]:
                    there = [kind for kind in KINDS if found.known[kind]]
                    raise ValueError(
                        f"Task {task.name!r}: the {part} part of {path} has no gold for a "
                        f"{task.kind}, which learns from {LAYERS[task.kind]}. "
                        f"It has gold for {', '.join(there) or 'no kind of head'}."
                    )
                if task.kind == "tagger" and has_tagger and not found.known[TAGS]:
                    raise ValueError(
                        f"Task {task.name!r}: the {part} part of {path} has token.pos_, but no "
                        "token.tag_, which a second tagger learns from. Name this one first."
                    )
            has_tagger = has_tagger or task.kind == "tagger"
        if "relations" in {t.kind for t in tasks} and "ner" not in {t.kind for t in tasks}:
            raise ValueError("Relations are between entities: add a task of the kind ner.")

    @property
    def words(self) -> int:
        """RETURNS (int): Words in one pass over all training corpora."""
        return sum(found.words for found in self.surveys.values())

    def components(self) -> dict[str, Task]:
        """RETURNS (Dict[str, Task]): Tasks by component: the first of a kind is named after it."""
        found: dict[str, Task] = {}
        for task in self.tasks:
            name = task.kind if task.kind not in found else task.name
            taken = (*KINDS, "transformer", CHUNKS)
            if name in found or (name != task.kind and name in taken):
                raise ValueError(f"Give the task {task.name!r} another name: {name} is taken.")
            found[name] = task
        return found

    def sizes(self) -> Sizes:
        """RETURNS (Sizes): What suits the data, the encoder and the device."""
        words = self.words
        epochs = self._epochs()
        if self.gpu:
            batch_words = min(2000, max(200, words // 200))
        else:
            # Small batches, hence many steps, gave the best scores on little data.
            batch_words = min(400, max(60, words // 1500))
        small = self.encoder_size.known and self.encoder_size.width <= 384
        return Sizes(
            epochs=epochs,
            batch_words=batch_words,
            learn_rate=2e-4 if small else (1e-4 if self.gpu else 5e-5),
            head_learn_rate=3e-3 if small else 1e-3,
            eval_frequency=self.eval_frequency(epochs, batch_words),
        )

    def eval_frequency(self, epochs: float, batch_words: float) -> int:
        """RETURNS (int): Steps between evaluations, such that there are about 15, and at least the
        last steps are looked at."""
        steps = int(self.words * epochs / batch_words)
        return max(1, min(max(20, steps // 15), steps // 2))

    def _epochs(self) -> int:
        return min(20, max(3, ceil(WORDS_TO_SEE / self.words)))


def look_up(encoder: str) -> EncoderSize:
    """RETURNS (EncoderSize): From the encoder's config, if it is at hand."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(encoder, trust_remote_code=False)
    except (OSError, ValueError):
        return EncoderSize()
    return EncoderSize(
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        vocab=config.vocab_size,
        known=True,
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
            f"KIND is {_or(KINDS)}."
        )
    return Task(name, kind, path)


def compose(
    encoder: str | Path,
    tasks: Mapping[str, tuple[str, str]],
    *,
    gpu: bool = False,
    lang: str = "en",
    seed: int = 0,
    **sizes: float,
) -> Config:
    """Make a training config for tasks that each have a corpus.

    encoder (str or Path): Folder or hub name of a pretrained encoder.
    tasks (Mapping[str, Tuple[str, str]]): Kind of head and path of its corpus, by name. Kinds are
        "tagger", "chunker", "ner", "textcat" and "relations". A path is a folder with train.spacy
        and dev.spacy, or the beginning of PATH-train.spacy and PATH-dev.spacy. Tasks may share
        one.
    gpu (bool): Whether to choose sizes for a GPU.
    lang (str): Language code of the tokenizer.
    sizes: `epochs`, `batch_words`, `learn_rate`, `head_learn_rate`, `eval_frequency`, where the
        derived ones do not suit.
    RETURNS (Config): For `train`, or `to_disk` and `spacy train`.
    RAISES (ValueError): If a corpus is not there, or has no gold for its head, or a size makes no
        sense.
    """
    composition = Composition(
        str(encoder), [Task(name, kind, str(path)) for name, (kind, path) in tasks.items()], gpu=gpu
    )
    # With its variables, so that a change of [paths] is a change everywhere.
    return Config().from_str(write(composition, lang=lang, seed=seed, **sizes), interpolate=False)


def write(
    composition: Composition, *, lang: str = "en", seed: int = 0, **sizes: float | None
) -> str:
    """RETURNS (str): A complete config with comments."""
    given = {name: value for name, value in sizes.items() if value is not None}
    size = {**vars(composition.sizes()), **given}
    unknown = set(size) - set(Sizes.__dataclass_fields__)
    if unknown:
        raise ValueError(
            f"{', '.join(sorted(unknown))} is not one of {', '.join(Sizes.__dataclass_fields__)}."
        )
    for name, value in given.items():
        is_rate = name.endswith("learn_rate")
        if not value > 0 or not (is_rate or value == int(value)):
            wanted = "more than 0" if is_rate else "a whole number from 1"
            raise ValueError(f"{name} = {value} must be {wanted}.")
    try:
        get_lang_class(lang)
    except ImportError as error:
        raise ValueError(f"lang = {lang!r} is not a language that spaCy knows.") from error
    if "eval_frequency" not in given:
        size["eval_frequency"] = composition.eval_frequency(size["epochs"], size["batch_words"])
    components = composition.components()
    pipeline = ", ".join(f'"{name}"' for name in ("transformer", *components))
    return _TEMPLATE.format(
        summary=", ".join(f"{t.name} ({t.kind})" for t in composition.tasks),
        device="a GPU" if composition.gpu else "a CPU",
        encoder=_quote(composition.encoder),
        seed=seed,
        lang=_quote(lang),
        pipeline=pipeline,
        allocator='"pytorch"' if composition.gpu else "null",
        precision='"bfloat16"' if composition.gpu else '"float32"',
        heads="\n".join(_component(composition, name, task) for name, task in components.items()),
        train=_corpora(composition, "train", 0),
        dev=_corpora(composition, "dev", 1),
        score_weights=_score_weights(composition, components),
        **size,
    )


# As in configs/multitask.cfg.
_LINEAR_MODEL = """
[components.{name}.model]
@architectures = "spacy_multitask.DocClassifier.v1"

[components.{name}.model.tok2vec]
@architectures = "spacy_multitask.EncoderListener.v1"

# Topics from the words alone, learned beside those from the encoder and added to them.
[components.{name}.model.linear_model]
@architectures = "spacy.TextCatBOW.v3"
exclusive_classes = true
ngram_size = 1
no_output_layer = true
length = 65536
nO = null"""


def _component(composition: Composition, name: str, task: Task) -> str:
    found = composition.surveys[composition.corpus[task.name]]
    n, corpus = found.items[task.kind], composition.corpus[task.name]
    lines = [
        f"[components.{name}]",
        f"# {n} {ITEMS[task.kind]} in {found.known[task.kind]} docs of {corpus}.",
        f'factory = "multitask_{task.kind}"',
    ]
    second = name != task.kind
    if task.kind == "textcat":
        lines.append(f"exclusive_classes = {str(found.exclusive).lower()}")
    if task.kind == "chunker" and not second:
        lines.append(f'spans_key = "{CHUNKS}"')
    if task.kind in WEIGHTS and any(t.kind != task.kind for t in composition.tasks):
        lines.append("# Of several tasks entities learn slowest and topics fastest.")
        lines.append(f"loss_weight = {WEIGHTS[task.kind]}")
    same_kind = [t for t in composition.tasks if t.kind == task.kind]
    if len(same_kind) > 1:
        lines.append(f'corpora = ["{composition.corpus[task.name]}"]')
    if second:
        if task.kind not in SECOND and task.kind not in SCORERS:
            raise ValueError(f"A composed pipeline takes one {task.kind}, not another {name!r}.")
        if task.kind in SECOND:
            lines.append(f'{SECOND[task.kind]} = "{name}"')
        if task.kind in SCORERS:
            lines += [
                "",
                f"[components.{name}.scorer]",
                f'@scorers = "spacy_multitask.{SCORERS[task.kind]}.v1"',
                f'prefix = "{name}_"',
            ]
    if task.kind == "textcat" and len(found.topics) <= MANY_TOPICS:
        lines.append(_LINEAR_MODEL.format(name=name))
    return "\n".join(lines) + "\n"


def _corpora(composition: Composition, split: str, part: int) -> str:
    return "\n".join(
        f"[corpora.{split}.corpora.{name}]\npath = {_quote(str(paths[part]))}\n"
        for name, paths in composition.paths.items()
    )


def _score_weights(composition: Composition, components: dict[str, Task]) -> str:
    lines = []
    share = round(1 / len(components), 4)
    for name, task in components.items():
        main, *others = SCORES[task.kind]
        second = name != task.kind
        prefix = ""
        dev = composition.dev_surveys[composition.corpus[task.name]]
        if task.kind == "tagger" and not dev.known[TAGS]:
            main, others = "pos_acc", ["tag_acc"]
        if second and task.kind == "ner":
            main, others = f"spans_{name}_f", []
        elif second:
            prefix, others = f"{name}_", []
        if task.kind == "textcat":
            if not composition.surveys[composition.corpus[task.name]].exclusive:
                main, others = "cats_score", []
        lines.append(f"{prefix}{main} = {share}")
        lines.extend(f"{prefix}{other} = 0.0" for other in others)
    return "\n".join(lines)


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _or(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


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
batch_size = 256
disabled = []
before_creation = null
after_creation = null
after_pipeline_creation = null
tokenizer = {{"@tokenizers":"spacy.Tokenizer.v1"}}
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
tokenizer = {{}}
components = {{}}

[pretraining]
"""
