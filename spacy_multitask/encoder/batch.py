"""What the encoder hands to the heads: the vectors of a whole batch, pooled once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from operator import is_

import numpy as np
import torch
from spacy.attrs import IS_SPACE, ORTH
from spacy.tokens import Doc
from torch import Tensor

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
    texts (Sequence[bytes]): Ids of each doc's words when it was encoded, to tell later whether it
        has changed; only batches that are held have them.
    """

    def __init__(
        self,
        docs: list[Doc],
        lengths: np.ndarray,
        words: Tensor | None,
        doc_vectors: Tensor,
        *,
        projected: dict[int, Tensor] | None = None,
        graph: tuple[Tensor, Tensor] | None = None,
        texts: Sequence[bytes] = (),
    ):
        self.docs = docs
        self.lengths = lengths
        self.words = words
        self.doc_vectors = doc_vectors
        self.projected = projected or {}
        self.graph = graph
        self.texts = texts
        self.ends = np.cumsum(lengths)

    @property
    def starts(self) -> np.ndarray:
        """RETURNS (ndarray): First row of each doc, shape (n_docs,)."""
        return self.ends - self.lengths

    @cached_property
    def blank(self) -> np.ndarray | None:
        """RETURNS (Optional[ndarray]): Whether each token is a blank (a line break, a second
        space), shape (n_words,); None if none is."""
        found = np.concatenate([blank_tokens(doc) for doc in self.docs] or [np.zeros(0, bool)])
        return found if found.any() else None

    @property
    def is_learned_from(self) -> bool:
        """RETURNS (bool): Whether its vectors collect gradients."""
        return self.doc_vectors.requires_grad

    @property
    def word_vectors(self) -> Tensor:
        """RETURNS (Tensor): `words`, where they are known to be there."""
        assert self.words is not None, "the batch was made without word vectors"
        return self.words

    def part(self, docs: list[Doc]) -> PackedBatch | None:
        """Find docs in the batch: components may take them in smaller batches, and in an order of
        their own, as spaCy's parser does.

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
        if not all(words_of(doc) == self.texts[i] for doc, i in zip(docs, found)):
            return None
        return self if isinstance(found, range) else self._rows(list(found))

    def _rows(self, docs: list[int]) -> PackedBatch:
        starts, ends, device = self.starts, self.ends, self.doc_vectors.device
        rows = [np.arange(starts[i], ends[i]) for i in docs]
        index = torch.from_numpy(np.concatenate(rows or [np.zeros(0, np.int64)])).to(device)
        # What is done with the rows of a leaf is done with the leaf.
        with torch.set_grad_enabled(self.is_learned_from):
            return PackedBatch(
                [self.docs[i] for i in docs],
                self.lengths[docs],
                None if self.words is None else self.words[index],
                self.doc_vectors[torch.tensor(docs, dtype=torch.int64, device=device)],
                projected={key: logits[index] for key, logits in self.projected.items()},
                graph=self.graph,
                texts=[self.texts[i] for i in docs],
            )

    def project(self, key: int, projection: Callable[[Tensor], Tensor]) -> Tensor:
        """RETURNS (Tensor): A head's logits for all words, shape (n_words, n_labels)."""
        if key in self.projected:
            return self.projected[key]
        return torch.cat([projection(block) for block in self.word_vectors.split(BLOCK)])
