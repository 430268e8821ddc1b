"""Docs in batches, where one that fails is lost alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from spacy.pipeline import TrainablePipe
from spacy.tokens import Doc
from spacy.util import minibatch, raise_error


class Piped(TrainablePipe):
    """A component that goes through a batch that fails again, doc by doc, if the errors of the
    pipeline are not raised: `nlp.set_error_handler`."""

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Annotate docs.

        batch_size (int): Docs that are predicted together.
        YIELDS (Doc): Each doc, in order; but those that the error handler was told of.
        """
        for docs in minibatch(stream, size=batch_size):
            yield from self._annotated(docs)

    def _annotated(self, docs: list[Doc], predictions: Any = None) -> list[Doc]:
        """
        predictions (Optional[Any]): What was predicted already.
        RETURNS (List[Doc]): Those that did not fail.
        """
        handle = self.get_error_handler()
        try:
            self.set_annotations(docs, self.predict(docs) if predictions is None else predictions)
        except Exception as error:
            if handle is raise_error or len(docs) == 1:
                handle(self.name, self, docs, error)
                return []
            return [found for doc in docs for found in self._annotated([doc])]
        return docs


class _Begun(NamedTuple):
    """A batch that a device has begun with, if it has, and the version of the weights then."""

    docs: list[Doc]
    predictions: Any
    version: int


class PipedAhead(Piped):
    """A component that lets a device begin with a batch before those behind have done with the one
    before, so that they write while it works."""

    @property
    def looks_ahead(self) -> bool:
        """RETURNS (bool): Whether there is a device that works while the host goes on."""
        raise NotImplementedError

    @property
    def version(self) -> int:
        """RETURNS (int): That of the weights."""
        raise NotImplementedError

    def passing_on(self, is_so: bool) -> None:
        """Be told whether docs are on their way to the components behind."""

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        n_ahead = int(self.looks_ahead)
        waiting: deque[_Begun] = deque()
        try:
            for docs in minibatch(stream, size=batch_size):
                waiting.append(self._begin(docs) if n_ahead else _Begun(docs, None, 0))
                if len(waiting) > n_ahead:
                    yield from self._passed_on(waiting.popleft())
            for begun in waiting:
                yield from self._passed_on(begun)
        finally:
            self.passing_on(False)

    def _begin(self, docs: list[Doc]) -> _Begun:
        version = self.version
        try:
            return _Begun(docs, self.predict(docs), version)
        except Exception:  # it is told of when it is this batch's turn
            return _Begun(docs, None, version)

    def _passed_on(self, begun: _Begun) -> list[Doc]:
        """RETURNS (List[Doc]): Those that did not fail."""
        docs, predictions, version = begun
        found = self._annotated(docs, predictions if version == self.version else None)
        self.passing_on(True)
        return found
