"""Docs in batches, where one that fails is lost alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

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

    def _annotated(self, docs: list[Doc]) -> list[Doc]:
        """RETURNS (List[Doc]): Those that did not fail."""
        handle = self.get_error_handler()
        try:
            self.set_annotations(docs, self.predict(docs))
        except Exception as error:
            if handle is raise_error or len(docs) == 1:
                handle(self.name, self, docs, error)
                return []
            return [found for doc in docs for found in self._annotated([doc])]
        return docs
