"""What an example knows of the reader that gave it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator

from spacy.language import Language
from spacy.training import Example

# Where an example's reference says which corpus it is from.
CORPUS_KEY = "spacy_multitask_corpus"


class Reading:
    """A pass of a reader that gives not all examples, or will give others in the next epoch.

    It does not keep the pipeline alive: examples may be kept longer.

    nlp (Language): The pipeline that the examples are for.
    all (Optional[Callable]): Gives each example that there is once; None if this pass does.
    again (Optional[Callable]): Draws the next epoch; None if all epochs have the same examples.
    """

    def __init__(
        self,
        nlp: Language,
        all: Callable[[Language], Iterator[Example]] | None,
        again: Callable[[Language], list[Example]] | None,
    ):
        self._nlp = weakref.ref(nlp)
        self._all, self._again = all, again

    @property
    def lacks_some(self) -> bool:
        return self._all is not None

    @property
    def is_drawn(self) -> bool:
        return self._again is not None

    def all(self) -> Iterator[Example]:
        """RETURNS (Iterator[Example]): Each example that there is once."""
        assert self._all is not None
        return self._all(self._pipeline())

    def again(self) -> list[Example]:
        """RETURNS (List[Example]): Those of the next epoch."""
        assert self._again is not None
        return self._again(self._pipeline())

    def _pipeline(self) -> Language:
        nlp = self._nlp()
        if nlp is None:
            raise ValueError(
                "The pipeline that these examples were read for is gone, so that no others can be "
                "read. Keep it, or read them anew for another one."
            )
        return nlp


class Mark(str):
    """The name of a corpus, on the first example of a pass. Copies of it, pickled or in a file, are
    plain strings."""

    reading: Reading

    def __new__(cls, name: str, reading: Reading) -> Mark:
        mark = super().__new__(cls, name)
        mark.reading = reading
        return mark

    def __reduce__(self) -> tuple:
        return str, (str(self),)


def reading_of(examples: Iterable[Example]) -> Reading | None:
    """RETURNS (Optional[Reading]): The one that begins with one of the examples."""
    names = (example.reference.user_data.get(CORPUS_KEY) for example in examples)
    return next((name.reading for name in names if isinstance(name, Mark)), None)
