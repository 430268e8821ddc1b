"""What the encoder hands to the heads: the vectors of a whole batch, pooled once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import is_

import numpy as np
import torch
from spacy.attrs import IS_SPACE, ORTH
from spacy.tokens import Doc
from torch import Tensor

from ..layers.transfer import to_device

# Heads applied after the fact work through so many words at once.
BLOCK = 1 << 16


def words_of(doc: Doc) -> bytes:
    """RETURNS (bytes): What two docs have in common if their words are the same."""
    return doc.to_array(ORTH).tobytes() if len(doc) else b""


def blank_tokens(doc: Doc) -> np.ndarray:
    """RETURNS (ndarray): Whether each token of a doc is a blank, shape (n_tokens,)."""
    return doc.to_array(IS_SPACE).astype(bool)


class PackedBatch:
    """Word and document vectors of a batch of docs, all words end to end.

    docs (List[Doc]): The docs, in order.
    lengths (ndarray): Words per doc, int64, shape (n_docs,).
    words (Optional[Tensor]): Word vectors, shape (n_words, width). In training a leaf of the
        autograd graph that collects the heads' gradients. None in prediction when every head had
        its projection computed inside the encoder's micro-batches.
    doc_vectors (Tensor): Document vectors, shape (n_docs, width); a leaf, likewise.
    projected (Dict[int, Tensor]): Logits per listener id, shape (n_words, n_labels) each.
    graph (Optional[Tuple[Tensor, Tensor]]): Outputs still attached to the encoder's graph, with
        the shapes of words and doc_vectors; None if the encoder does not learn from this batch.
    of_docs (Dict[int, Tensor]): Logits of doc vectors per listener id, (n_docs, n_labels) each.
    orths (Optional[ndarray]): Ids of all words when they were encoded, uint64 (n_words,), to tell
        later whether a doc has changed; only batches that are held have them.
    blank (Optional[ndarray]): Whether each token is a blank (a line break, a second space), shape
        (n_words,); by default the docs are asked.
    """

    def __init__(
        self,
        docs: list[Doc],
        lengths: np.ndarray,
        words: Tensor | None,
        doc_vectors: Tensor,
        *,
        projected: Mapping[int, Tensor] | None = None,
        of_docs: Mapping[int, Tensor] | None = None,
        graph: tuple[Tensor, Tensor] | None = None,
        orths: np.ndarray | None = None,
        blank: np.ndarray | None = None,
    ):
        self.docs = docs
        self.lengths = lengths
        self.words = words
        self.doc_vectors = doc_vectors
        self.projected = projected or {}
        self.of_docs = of_docs or {}
        self.graph = graph
        self.orths = orths
        self._blank = blank
        self.ends = np.cumsum(lengths)

    @property
    def starts(self) -> np.ndarray:
        """RETURNS (ndarray): First row of each doc, shape (n_docs,)."""
        return self.ends - self.lengths

    @property
    def blank(self) -> np.ndarray | None:
        """RETURNS (Optional[ndarray]): Whether each token is a blank, shape (n_words,); None if
        none is."""
        if self._blank is None:
            parts = [blank_tokens(doc) for doc in self.docs]
            self._blank = np.concatenate(parts or [np.zeros(0, bool)])
        return self._blank if self._blank.any() else None

    @property
    def is_learned_from(self) -> bool:
        """RETURNS (bool): Whether its vectors collect gradients."""
        return self.doc_vectors.requires_grad

    @property
    def word_vectors(self) -> Tensor:
        """RETURNS (Tensor): `words`, where they are known to be there."""
        assert self.words is not None, "the batch was made without word vectors"
        return self.words

    def part(self, docs: list[Doc], *, trusted: bool = False) -> PackedBatch | None:
        """Find docs in the batch: components may take them in smaller batches, and in an order of
        their own, as spaCy's parser does.

        trusted (bool): Whether no one can have changed tokens, so that lengths are enough to see.
        RETURNS (Optional[PackedBatch]): The batch itself if these are its docs; the rows of some of
            them; None if it does not have all, or one is no longer as it was: a component in
            between may have merged or split tokens.
        """
        if len(docs) == len(self.docs) and all(map(is_, docs, self.docs)):
            found: Sequence[int] = range(len(docs))
        else:
            index = {id(doc): i for i, doc in enumerate(self.docs)}
            if not all(id(doc) in index for doc in docs):
                return None
            found = [index[id(doc)] for doc in docs]
        own = self.lengths if isinstance(found, range) else self.lengths[found]
        if list(map(len, docs)) != own.tolist():
            return None
        if not trusted and not self._has_words_of(docs, found):
            return None
        return self if isinstance(found, range) else self._rows(list(found))

    def _has_words_of(self, docs: list[Doc], places: Sequence[int]) -> bool:
        assert self.orths is not None, "only batches that are held can be asked for parts"
        starts, ends = self.starts, self.ends
        return all(
            words_of(doc) == self.orths[starts[i] : ends[i]].tobytes()
            for doc, i in zip(docs, places)
        )

    def _rows(self, docs: list[int]) -> PackedBatch:
        starts, ends, device = self.starts, self.ends, self.doc_vectors.device
        rows = np.concatenate([np.arange(starts[i], ends[i]) for i in docs] or [np.zeros(0, int)])
        index, doc_index = to_device(device, rows, np.array(docs, np.int64))
        # What is done with the rows of a leaf is done with the leaf.
        with torch.set_grad_enabled(self.is_learned_from):
            return PackedBatch(
                [self.docs[i] for i in docs],
                self.lengths[docs],
                None if self.words is None else self.words[index],
                self.doc_vectors[doc_index],
                projected={key: logits[rows] for key, logits in self.projected.items()},
                of_docs={key: logits[docs] for key, logits in self.of_docs.items()},
                graph=self.graph,
                orths=None if self.orths is None else self.orths[rows],
                blank=None if self._blank is None else self._blank[rows],
            )

    def project(self, key: int, projection: Callable[[Tensor], Tensor]) -> Tensor:
        """RETURNS (Tensor): A head's logits for all words, shape (n_words, n_labels)."""
        if key in self.projected:
            return self.projected[key]
        return torch.cat([projection(block) for block in self.word_vectors.split(BLOCK)])

    def project_docs(self, key: int, projection: Callable[[Tensor], Tensor]) -> Tensor:
        """RETURNS (Tensor): A head's logits for all docs, shape (n_docs, n_labels)."""
        return self.of_docs[key] if key in self.of_docs else projection(self.doc_vectors)
