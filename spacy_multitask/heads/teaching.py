"""Teachers: what labels docs where there is no gold, such as another pipeline or a file."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from spacy.vocab import Vocab

from ..corpus.reader import unannotated
from ..encoder.batch import words_of
from ..encoder.listener import EncoderListener
from ..loading import load_pipeline
from ..progress import progress
from ..relations import KEY as RELATIONS_KEY
from ..relations import kept_relations
from .labelfile import LabelFile

# What `Recipe.initialize` is for heads that can learn from a teacher.
TAUGHT = {"teacher": None}
TOGETHER = 256  # docs that a teacher looks at
TO_ASK: Any = object()  # in place of a lesson


class Teacher:
    """Labels docs for a head, and remembers what it has said of the training docs.

    title (str): What it is called in messages.
    pupil (Head): The head that is to learn from it.
    """

    def __init__(self, title: str, pupil: Any):
        self.title = title
        self.pupil = pupil
        self._said: dict[bytes, Any] = {}

    def __reduce__(self) -> tuple[Callable, tuple]:
        return _nobody, ()  # a pipeline in another process only predicts

    def ask(self, docs: list[Doc]) -> list[Any]:
        """RETURNS (List[Any]): For each doc a lesson of the form that the pupil takes; None where
        nothing is said."""
        raise NotImplementedError

    def check_labels(self) -> None:
        """RAISES (ValueError): If it can't teach the labels that the pupil has."""

    def labels(self, docs: Iterable[Doc]) -> dict[str, list[str]]:
        """RETURNS (Dict[str, List[str]]): What the pupil is to learn if it has no gold at all, by
        entry of its `cfg`.

        docs (Iterable[Doc]): All training docs.
        """
        raise NotImplementedError

    def look(self, docs: Iterable[Doc]) -> None:
        """Keep what it says of docs.

        RAISES (ValueError): If it says nothing of any.
        """
        new = {words_of(doc): doc for doc in docs if len(doc)}
        for part in _parts(list(new.values()), self.pupil.name):
            self._said.update(zip(map(words_of, part), self.ask(part)))
        if new and all(lesson is None for lesson in self._said.values()):
            raise ValueError(
                f"{self.title} says nothing of any training doc: {self.pupil.name!r} learns from "
                f"{self.pupil.learns_from}. {self.advice}"
            )

    advice = "Name a teacher that says something of it."

    def say(self, docs: list[Doc]) -> list[Any]:
        """RETURNS (List[Any]): As `ask`."""
        keys = list(map(words_of, docs))
        said = [self._said.get(key, TO_ASK) for key in keys]
        new = [i for i, found in enumerate(said) if found is TO_ASK]
        if new:
            for i, found in zip(new, self.ask([docs[i] for i in new])):
                said[i] = found
                # Not docs of a stream, or changed ones: they may be too many to be kept.
                if keys[i] in self._said:
                    self._said[keys[i]] = found
        return said

    def heed_new_labels(self) -> None:
        """The pupil has got more labels: what was said in terms of the old ones is out of date."""
        self._said = dict.fromkeys(self._said, TO_ASK)


class HeadTeacher(Teacher):
    """A head of the same kind and labels, whose probabilities are the lessons. Of labels that the
    pupil takes up later it says nothing.

    nlp (Language): Its pipeline.
    name (str): Its name there.
    RAISES (ValueError): If it has other labels.
    """

    def __init__(self, title: str, pupil: Any, nlp: Language, name: str):
        super().__init__(title, pupil)
        self.nlp, self.name = nlp, name
        self.head: Any = nlp.get_pipe(name)

    def check_labels(self) -> None:
        """RAISES (ValueError): If it has other labels than the pupil."""
        own, others = (
            {layer: labels for layer, labels in head.label_data.items() if labels}
            for head in (self.pupil, self.head)
        )
        if own != others:
            pairs = [{(layer, x) for layer in data for x in data[layer]} for data in (own, others)]
            found = sorted(f"{label} ({layer})" for layer, label in pairs[0] ^ pairs[1])
            raise ValueError(
                f"{self.title} was trained on other labels. Only one of them has: "
                f"{', '.join(found)}. Train it on the same corpus."
            )

    def labels(self, docs: Iterable[Doc]) -> dict[str, list[str]]:
        return {layer: list(labels) for layer, labels in self.head.label_data.items()}

    def ask(self, docs: list[Doc]) -> list[Any]:
        return self.head.lessons(self._prepared(docs))

    def say(self, docs: list[Doc]) -> list[Any]:
        return [self.pupil.widened(lesson, self.head.choices) for lesson in super().say(docs)]

    def heed_new_labels(self) -> None:
        """What it says of the old ones holds."""

    def _prepared(self, docs: list[Doc]) -> list[Doc]:
        """RETURNS (List[Doc]): Docs with all that the head looks at."""
        if isinstance(self.head.tok2vec, EncoderListener):
            return docs
        # The listeners of spaCy and spacy-transformers read what components before have left on
        # the docs, where those of the pupil have other things.
        copies = [unannotated(doc, self.nlp.vocab) for doc in docs]
        names = self.nlp.component_names
        behind = names[names.index(self.name) :]
        prepared = list(self.nlp.pipe(copies, disable=behind))
        if list(map(len, prepared)) != list(map(len, docs)):
            raise ValueError(
                f"{self.title} has components before {self.name!r} that change tokens, so it "
                "can't label those of another pipeline."
            )
        return prepared


class DocTeacher(Teacher):
    """Whatever writes to docs where the pupil looks for gold. Its labels are those of the pupil
    that have the same names; where it has none that the pupil has, it says nothing.

    annotate (Callable): From docs to such docs with the same text, in the pupil's vocab; None for a
        doc of which nothing is said.
    all_labels (Callable): RETURNS (Set[str]): Labels that it can give.
    """

    def __init__(
        self,
        title: str,
        pupil: Any,
        annotate: Callable[[list[Doc]], list[Doc | None]],
        all_labels: Callable[[], set[str]],
        advice: str,
    ):
        super().__init__(title, pupil)
        self.annotate, self.all_labels, self.advice = annotate, all_labels, advice
        self._docs: dict[bytes, Doc | None] = {}

    def labels(self, docs: Iterable[Doc]) -> dict[str, list[str]]:
        new = {words_of(doc): doc for doc in docs if len(doc)}
        for part in _parts(list(new.values()), self.pupil.name):
            self._docs.update(zip(map(words_of, part), self.annotate(part)))
        pairs = ((new[key], said) for key, said in self._docs.items() if said is not None)
        with self._without_warnings():
            return self.pupil.collect_labels(Example(doc, said) for doc, said in pairs)

    def ask(self, docs: list[Doc]) -> list[Any]:
        new = [doc for doc in docs if words_of(doc) not in self._docs]
        fresh = dict(zip(map(words_of, new), self.annotate(new)))
        keys = [words_of(doc) for doc in docs]
        said = [fresh[key] if key in fresh else self._docs[key] for key in keys]
        for key in keys:
            self._docs.pop(key, None)  # what was kept for the labels is of no more use
        # Of labels that it lacks, "there is none here" would be no more than a guess.
        is_complete = set(self.pupil.labels) <= self.all_labels()
        with self._without_warnings():
            return [
                None if found is None else self.pupil.lesson(Example(doc, found), is_complete)
                for doc, found in zip(docs, said)
            ]

    @contextmanager
    def _without_warnings(self) -> Iterator[None]:
        """What the pupil would warn of in gold is no surprise here, such as other labels."""
        warned = set(self.pupil._warned)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
        self.pupil._warned = warned


def make_teacher(source: str, pupil: Any) -> Teacher:
    """
    source (str): A trained pipeline, as a folder or the name of a package; or a Parquet file.
    pupil (Head): The head that is to learn from it.
    RAISES (ValueError): If it is neither, or has several heads to choose from.
    """
    title = f"teacher = {source!r} of {pupil.name!r}"
    if source.endswith(".parquet"):
        file = LabelFile(source, title)
        key = pupil.score_options().get("spans_key")
        return DocTeacher(
            title,
            pupil,
            lambda docs: [file.annotated(doc, pupil.vocab, key) for doc in docs],
            lambda: file.labels,
            "Its texts must be those of the docs, letter by letter.",
        )
    try:
        # Loading draws random weights first; those of the heads to come stay what they are.
        with torch.random.fork_rng():
            nlp = load_pipeline(source)
    except OSError as error:
        raise ValueError(
            f"{title} is neither a folder with a trained pipeline, nor an installed one, nor a "
            "Parquet file. Train it first, or correct the path."
        ) from error
    heads = [name for name, pipe in nlp.components if type(pipe) is type(pupil)]
    if heads and pupil.has_probs_as_lessons:
        names = [pupil.name] if pupil.name in heads else heads
        if len(names) != 1:
            raise ValueError(
                f"{title} must have one {type(pupil).__name__} of spacy_multitask, or one of "
                f"that name. It has: {', '.join(heads)}."
            )
        return HeadTeacher(title, pupil, nlp, names[0])
    return DocTeacher(
        title,
        pupil,
        lambda docs: _annotated(nlp, docs, pupil.vocab),
        lambda: set().union(*nlp.pipe_labels.values()),
        f"It has: {', '.join(nlp.pipe_names) or 'no components'}.",
    )


def _annotated(nlp: Language, docs: list[Doc], vocab: Vocab) -> list[Doc | None]:
    said = list(nlp.pipe(unannotated(doc, nlp.vocab) for doc in docs))
    # In the vocab of the pupil: theirs has labels that it does not know as strings.
    copies: list[Doc | None] = list(DocBin(docs=said).get_docs(vocab))
    for copied, doc in zip(copies, said):
        if copied is not None and RELATIONS_KEY in doc.user_data:
            copied.user_data[RELATIONS_KEY] = kept_relations(doc)
    return copies


def _parts(docs: list[Doc], name: str) -> Iterator[list[Doc]]:
    starts = range(0, len(docs), TOGETHER)
    for start in progress(starts, f"Teacher: {name}", unit="part"):
        yield docs[start : start + TOGETHER]


def _nobody() -> None:
    return None


def is_stream(nlp: Language | None) -> bool:
    """RETURNS (bool): Whether the training takes examples as they come, without an end."""
    training: Mapping[str, Any] = (
        {} if nlp is None else nlp.config.interpolate().get("training", {})
    )
    return training.get("max_epochs", 0) < 0
