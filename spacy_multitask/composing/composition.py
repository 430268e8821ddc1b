"""Tasks with their corpora looked into, and the sizes of a training that suit them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from pathlib import Path

from spacy.language import Language

from ..corpus.survey import Survey, find_parts, survey
from ..heads.kinds import HeadKind, Recipe, all_kinds, gold_counts
from ..training.forecast import EncoderSize

# Words that a training on little data should see in all; see docs/training.md.
WORDS_TO_SEE = 600_000


@dataclass(frozen=True)
class Task:
    """A head and the corpus that it learns from.

    name (str): Names the component, and the corpus unless another task has named it.
    kind (str): Name of a kind of head that has a recipe.
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


@dataclass(frozen=True)
class Component:
    """A head of the pipeline that is composed, and what its corpus holds.

    corpus (str): Name of its corpus.
    train, dev (Survey): What the parts of that corpus hold.
    is_second (bool): Whether there is a head of its kind before it.
    """

    task: Task
    kind: HeadKind
    recipe: Recipe
    corpus: str
    train: Survey
    dev: Survey
    is_second: bool

    @property
    def name(self) -> str:
        return self.task.name


class Composition:
    """Tasks with their corpora looked into.

    tasks (List[Task]): In the order of the pipeline.
    surveys, dev_surveys (Dict[str, Survey]): What the training and the development part of each
        corpus hold, by corpus.
    paths (Dict[str, Tuple[Path, Path]]): Training and development part, by corpus.
    components (List[Component]): One per task; tasks with the same path share a corpus.
    beside (Mapping[str, Optional[HeadKind]]): Components that are there already, and what kind of
        head each is, if it is one.
    RAISES (ValueError): If a task can't be in a config, or its corpus is not there or has no gold
        for its head.
    """

    def __init__(
        self,
        encoder: str,
        tasks: list[Task],
        *,
        gpu: bool,
        beside: Mapping[str, HeadKind | None] | None = None,
    ):
        if not tasks:
            raise ValueError("Name at least one task, such as pos:tagger=corpus/ud.")
        _check_encoder(encoder)
        _check_tasks(tasks)
        self.encoder, self.tasks, self.gpu = encoder, tasks, gpu
        self.beside = beside or {}
        self.surveys: dict[str, Survey] = {}
        self.dev_surveys: dict[str, Survey] = {}
        self.paths: dict[str, tuple[Path, Path]] = {}
        self.components: list[Component] = []
        for task in tasks:
            component = self._component(task, self._look_into(task))
            _check_gold(component)
            self.components.append(component)
        _check_needs(self.components, [kind for kind in self.beside.values() if kind])

    def _look_into(self, task: Task) -> str:
        """RETURNS (str): Name of the task's corpus, which is counted unless another one has."""
        for other in self.components:
            if Path(other.task.path) == Path(task.path):
                return other.corpus
        # A training may be started in another folder than this one.
        train, dev = self.paths[task.name] = find_parts(Path(task.path).absolute())
        self.surveys[task.name] = survey(train, gold_counts())
        self.dev_surveys[task.name] = survey(dev, gold_counts())
        return task.name

    def _component(self, task: Task, corpus: str) -> Component:
        kinds = composed_kinds()
        kind, recipe = kinds[task.kind]
        heads = [*self.beside.values(), *(other.kind for other in self.components)]
        is_second = kind in heads
        if is_second and recipe.second is None:
            raise ValueError(
                f"A composed pipeline can have one {kind.name} only. Leave out {task.name!r}."
            )
        groups = {own.spans_key for _, own in kinds.values()} if is_second else set()
        if task.name in {"transformer", *groups, *self.beside}:
            raise ValueError(f"Give the task {task.name!r} another name: {task.name} is taken.")
        surveys = self.surveys[corpus], self.dev_surveys[corpus]
        return Component(task, kind, recipe, corpus, *surveys, is_second)

    @cached_property
    def encoder_size(self) -> EncoderSize:
        """RETURNS (EncoderSize): Looked up when it is first asked for: a hub that can't be reached
        takes its time."""
        return look_up(self.encoder)

    @property
    def words(self) -> int:
        """RETURNS (int): Words in one pass over all training corpora."""
        return sum(found.words for found in self.surveys.values())

    def sizes(self) -> Sizes:
        """RETURNS (Sizes): What suits the data, the encoder and the device."""
        words = self.words
        epochs = passes(words)
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


def composed_kinds() -> dict[str, tuple[HeadKind, Recipe]]:
    """RETURNS (Dict[str, Tuple[HeadKind, Recipe]]): Kinds that a config can be composed of."""
    return {kind.name: (kind, kind.recipe) for kind in all_kinds() if kind.recipe is not None}


def either(names: Iterable[str]) -> str:
    """RETURNS (str): Names in a sentence: "a, b or c"."""
    *names, last = names
    return f"{', '.join(names)} or {last}" if names else last


def absolute(encoder: str) -> str:
    """RETURNS (str): The same encoder for a training that is started in another folder."""
    return str(Path(encoder).absolute()) if Path(encoder).is_dir() else encoder


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


def kind_of_corpus(name: str, path: str) -> str:
    """RETURNS (str): The only kind of head that a corpus has gold for.

    name (str): The task's, for the error message.
    RAISES (ValueError): If there are several, or none.
    """
    found = survey(find_parts(path)[0], gold_counts())
    kinds = [kind for kind in composed_kinds() if found.known[kind]]
    if len(kinds) != 1:
        raise ValueError(
            f"Task {name!r}: say which head learns from {path}, such as "
            f'("{kinds[0] if kinds else "KIND"}", "{path}"). '
            f"It has gold for {', '.join(kinds) or 'no kind of head'}."
        )
    return kinds[0]


def _check_encoder(encoder: str) -> None:
    """RAISES (ValueError): If it can't be in a config, or is a folder that is not there."""
    if "$" in absolute(encoder):
        raise ValueError(
            f"The path of the encoder, {encoder}, must not have a $. Rename the folder."
        )
    # The hub has NAME and OWNER/NAME.
    is_path = encoder.startswith((".", "/", "~")) or encoder.count("/") > 1 or "\\" in encoder
    if is_path and not Path(encoder).is_dir():
        raise ValueError(
            f"There is no folder {encoder} with an encoder. Correct the path, or give a hub name "
            'such as "distilbert-base-uncased".'
        )


def _check_tasks(tasks: list[Task]) -> None:
    """RAISES (ValueError): If a task can't be in a config."""
    names: set[str] = set()
    for task in tasks:
        if task.kind not in composed_kinds():
            raise ValueError(
                f"Task {task.name!r}: {task.kind!r} is not {either(composed_kinds())}."
            )
        if not task.name.isidentifier():
            raise ValueError(
                f"Task {task.name!r}: a name is made of letters, digits and _, and does not "
                "begin with a digit; it names sections of the config."
            )
        if task.name in names:
            raise ValueError(f"Two tasks are named {task.name!r}. Give one of them another name.")
        if "$" in str(
            Path(task.path).absolute()
        ):  # a config would take what follows for a variable
            raise ValueError(
                f"Task {task.name!r}: the path {task.path} must not have a $. Rename it."
            )
        names.add(task.name)


def _check_gold(component: Component) -> None:
    """RAISES (ValueError): If a corpus has no gold for its head."""
    kind, task, second = component.kind, component.task, component.recipe.second
    for part, found in (("training", component.train), ("development", component.dev)):
        start = f"Task {task.name!r}: the {part} part of {task.path} has no"
        if not found.known[kind.name]:
            there = [name for name in composed_kinds() if found.known[name]]
            raise ValueError(
                f"{start} gold for a {kind.name}, which learns from {kind.learns_from}. "
                f"It has gold for {', '.join(there) or 'no kind of head'}."
            )
        if component.is_second and second and second.part and not found.known[second.part]:
            raise ValueError(
                f"{start} {second.part}, which a second {kind.name} learns from. Name this one "
                "first."
            )


def _check_needs(components: list[Component], beside: list[HeadKind]) -> None:
    """
    beside (List[HeadKind]): Those of other heads of the pipeline.
    RAISES (ValueError): If a head reads what no other one writes, such as `doc.ents`."""
    metas = {
        name: Language.get_factory_meta(k.factories[0]) for name, (k, _) in composed_kinds().items()
    }
    kinds = [*(one.kind for one in components), *beside]
    written = {layer for kind in kinds if kind.name in metas for layer in metas[kind.name].assigns}
    for one in components:
        for layer in set(metas[one.kind.name].requires) - written:
            if writers := [name for name, meta in metas.items() if layer in meta.assigns]:
                raise ValueError(
                    f"Task {one.task.name!r}: {one.kind.name} need {layer}, which another head has "
                    f"to write: add a task of the kind {either(writers)}."
                )


def passes(words: int) -> int:
    """RETURNS (int): Passes over so many words that are enough for a training on little data."""
    return min(20, max(3, ceil(WORDS_TO_SEE / words)))
