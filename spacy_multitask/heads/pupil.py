"""What heads share that learn from a teacher where there is no gold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from torch import Tensor

from ..corpus.reader import corpus_of
from ..encoder.batch import PackedBatch
from .gold import all_examples
from .labelled import Labelled
from .teaching import Teacher, is_stream, make_teacher


class Pupil(Labelled):
    """A head that may have a teacher. Subclasses whose kind can learn from one say how."""

    corpora: frozenset[str] | None
    new_labels: str
    teacher: Teacher | None = None
    teacher_weight = 1.0
    # Whether `lessons` gives what other heads of the class learn from.
    has_probs_as_lessons = False

    @property
    def learns_from(self) -> str:
        """RETURNS (str): Where its gold is, in words."""
        raise NotImplementedError

    def gold(self, examples: list[Example]) -> Any | None:
        """RETURNS (Optional[Any]): The known gold of a batch in the form that `loss` takes; None
        if there is none."""
        raise NotImplementedError

    def add_label(self, label: str, entry: str | None = None) -> int:
        n_added = super().add_label(label, entry)
        if n_added and self.teacher is not None:
            self.teacher.heed_new_labels()
        return n_added

    def check_teachable(self) -> None:
        """RAISES (ValueError): If it can't learn from a teacher."""
        raise ValueError(
            f"{self.name!r} can't learn from a teacher: heads of its kind learn from gold alone. "
            "Take the teacher out."
        )

    def lesson(self, example: Example, is_complete: bool) -> Any | None:
        """Read what a teacher has written to a doc.

        example (Example): Its doc is the reference.
        is_complete (bool): Whether it knows all labels of this head, so that what it does not say
            is false.
        RETURNS (Optional[Any]): As `taught` takes it; None if it says nothing.
        """
        raise NotImplementedError

    def lessons(self, docs: list[Doc]) -> list[Any]:
        """RETURNS (List[Any]): What this head teaches others of its class, for each doc."""
        raise NotImplementedError

    def taught(self, docs: list[Doc], gold: Any | None, lessons: dict[int, Any]) -> dict[str, Any]:
        """Find out what there is to learn from what a teacher says of docs that are not all known.

        lessons (Dict[int, Any]): From `lesson` or `lessons`, by place of the doc; none is None.
        RETURNS (Dict[str, Any]): Items without gold, as `loss_of_taught` takes them, by part of the
            task; parts without are left out.
        """
        raise NotImplementedError

    def n_taught(self, items: Any) -> float:
        """RETURNS (float): What `loss_of_taught` is a mean over."""
        raise NotImplementedError

    def loss_of_taught(self, module: Any, batch: PackedBatch, part: str, items: Any) -> Tensor:
        """RETURNS (Tensor): Mean loss per item that `taught` has found, a scalar."""
        raise NotImplementedError

    def find_teacher(self, source: str | None, weight: float) -> Teacher | None:
        """RETURNS (Optional[Teacher]): What `initialize` is told of; None if it is told of none.
        RAISES (ValueError): If it can't be one, or the weight is negative."""
        if weight < 0:
            raise ValueError(f"teacher_weight = {weight} of {self.name!r} must not be negative.")
        self.teacher, self.teacher_weight = None, weight
        if source is None:
            return None
        self.check_teachable()
        return make_teacher(source, self)

    def learn_from(
        self,
        teacher: Teacher | None,
        get_examples: Callable[[], Iterable[Example]],
        nlp: Language | None,
    ) -> None:
        """Take a teacher, who looks at all docs without gold now, unless they are a stream."""
        self.teacher = teacher
        if teacher is not None:
            teacher.check_labels()
            if not is_stream(nlp):
                # Beforehand, so that what it says of a doc does not depend on the others in a
                # batch.
                examples = all_examples(get_examples)
                # Whoever takes up new labels needs no warning of them.
                adds = self.new_labels == "add"
                with self.noting_new_labels() if adds else nullcontext():
                    docs = [eg.predicted for eg in examples if not self.is_all_known(eg)]
                teacher.look(docs)

    def is_all_known(self, example: Example) -> bool:
        """RETURNS (bool): Whether there is nothing to learn from a teacher."""
        own = self._hide_foreign_gold(example)
        return not len(example.predicted) or self.gold([own]) is not None

    def ask_teacher(self, examples: list[Example], gold: Any | None) -> dict[str, Any]:
        """RETURNS (Dict[str, Any]): As `taught`; nothing without a teacher."""
        if self.teacher is None:
            return {}
        unknown = [i for i, eg in enumerate(examples) if not self.is_all_known(eg)]
        if not unknown:
            return {}
        docs = [eg.predicted for eg in examples]
        said = zip(unknown, self.teacher.say([docs[i] for i in unknown]))
        lessons = {i: lesson for i, lesson in said if lesson is not None}
        return self.taught(docs, gold, lessons) if lessons else {}

    def _is_own(self, example: Example) -> bool:
        """RETURNS (bool): Whether this head may look at the example's gold."""
        return self.corpora is None or corpus_of(example) in self.corpora

    def _hide_foreign_gold(self, example: Example) -> Example:
        """RETURNS (Example): The same, if need be without gold."""
        if self._is_own(example):
            return example
        x = example.predicted
        return Example(x, Doc(x.vocab, words=[token.text for token in x]))
