"""The development data, looked at by all ranks: each predicts a part of the docs.

    docs  ->  every n-th to each rank  ->  predicted  ->  sent to rank 0, which scores all of them

The scores are those of one process, since none is put together from the ranks' scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from spacy.training.loop import create_evaluation_callback

from .randomness import Snapshot, set_random_state
from .ranks import OUT_OF_STEP, Ranks
from .stopping import Stop, StoppedEvaluation

Scores = tuple[float, dict[str, Any]]


class SharedEvaluation:
    """Evaluates in all ranks. It is the pipeline that spaCy's evaluation asks for predictions."""

    def __init__(
        self,
        nlp: Language,
        ranks: Ranks,
        stop: Stop,
        dev_corpus: Callable[[Language], Iterable[Example]],
        weights: dict[str, float],
    ):
        """
        dev_corpus (Callable): The same docs in each rank, in the same order.
        weights (Dict[str, float]): Of the scores, by their names.
        """
        self.nlp = nlp
        self.ranks = ranks
        self.stop = stop
        self.dev_corpus = dev_corpus
        self._scores = create_evaluation_callback(
            cast(Language, self), lambda _: dev_corpus(nlp), weights
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self.nlp, name)

    def __call__(self) -> Scores:
        """RETURNS (Tuple[float, Dict[str, Any]]): The same in all ranks.
        RAISES (StoppedEvaluation): In all of them, if a signal has come to one.
        """
        if not self.ranks.is_first:
            # Copies, as spaCy has them: a corpus may give the same docs each time.
            self.pipe(eg.predicted.copy() for eg in self.dev_corpus(self.nlp))
        scores, state = self.ranks.on_first(lambda: (self._scores(), Snapshot().tensors()))
        set_random_state(state)  # each has drawn what its part asked for
        return scores

    # What spaCy's evaluation calls in rank 0

    def evaluate(self, examples: Iterable[Example]) -> dict[str, Any]:
        return Language.evaluate(cast(Language, self), examples)

    def pipe(self, docs: Iterable[Doc], **options: Any) -> list[Doc]:
        """RETURNS (List[Doc]): The docs with predictions; in other ranks than 0 none.
        RAISES (ValueError): If the ranks have other docs.
        """
        docs, size = list(docs), self.ranks.size
        own = self._predict(docs[self.ranks.rank :: size], **options)
        sent = DocBin(docs=() if self.ranks.is_first else own, store_user_data=True)
        parts = self.ranks.collect_in_first(sent.to_bytes())
        for rank, part in enumerate(parts):
            found = list(DocBin().from_bytes(part).get_docs(self.nlp.vocab)) if rank else own
            if [doc.text for doc in found] != [doc.text for doc in docs[rank::size]]:
                raise ValueError(OUT_OF_STEP.format(what="development docs"))
            docs[rank::size] = found
        return docs if parts else []

    def _predict(self, docs: list[Doc], **options: Any) -> list[Doc]:
        predicted: list[Doc] = []
        try:
            with self.stop.evaluating():
                predicted.extend(self.nlp.pipe(docs, **options))
        except StoppedEvaluation:
            pass
        # Who is asked to stop in between says so after the evaluation.
        if asked := int(self.ranks.most([self.stop.asked or 0])[0]):
            self.stop.asked = asked
            raise StoppedEvaluation
        return predicted
