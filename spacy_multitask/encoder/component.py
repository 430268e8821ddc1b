"""The pipeline component that owns the shared encoder."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example, validate_examples
from spacy.vocab import Vocab
from thinc.api import Config, Model, Optimizer, torch2xp

from ..corpus.reader import corpus_of
from ..gone import NO_SURGERY, refuse_gone
from ..layers.network import PRECISIONS
from ..layers.transfer import is_streaming
from ..packing import remember_packers
from ..registering import refuse_quoted_numbers
from .batch import PackedBatch
from .gradients import Round
from .heap import share_memory
from .kept import Kept
from .listener import EncoderListener
from .piping import PipedAhead
from .saving import Saved
from .wiring import Listened, Wiring, link

DEFAULT_TRANSFORMER_MODEL = Config().from_str("""
[model]
@architectures = "spacy_multitask.Encoder.v1"
name = "distilbert-base-uncased"
""")["model"]


@Language.factory(
    "multitask_transformer",
    default_config={
        "model": DEFAULT_TRANSFORMER_MODEL,
        "precision": "float32",
        "max_batch_pieces": None,
        "keep_vectors": False,
        "scorer": {"@scorers": "spacy_multitask.task_scorer.v1"},
    },
)
@refuse_quoted_numbers
def make_transformer(
    nlp: Language,
    name: str,
    model: Model,
    precision: str,
    max_batch_pieces: int | None,
    keep_vectors: bool,
    scorer: Callable | None,
    surgery: Any = None,
) -> "MultitaskTransformer":
    """Create the shared encoder.

    model (Model): The encoder, see `spacy_multitask.Encoder.v1`.
    precision (str): "float32" or "bfloat16", for training and for prediction; "int8" for prediction
        by a quantized pipeline on a CPU.
    max_batch_pieces (Optional[int]): Most padded pieces in a micro-batch; None chooses by device.
    keep_vectors (bool): Whether to leave each doc's token vectors in `doc.tensor`.
    scorer (Optional[Callable]): Scores what concerns all heads: each corpus where several feed a
        head, and worst_task if [training.score_weights] has it.
    surgery (None): Gone; configs of 0.1.0 have it.
    """
    refuse_gone(f"components.{name}.surgery", surgery, None, NO_SURGERY)
    return MultitaskTransformer(
        nlp,
        model,
        name,
        precision=precision,
        max_batch_pieces=max_batch_pieces,
        keep_vectors=keep_vectors,
        scorer=scorer,
    )


class MultitaskTransformer(Listened, Saved, PipedAhead):
    """Encodes each batch of docs once, and keeps the result until the last head has read it.

    Prediction: `predict` encodes, `set_annotations` keeps the batch for this thread's heads (see
    `Kept`), and each head asks for its docs by `batch_for`.

    Training: `update` opens a `Round`, the heads leave their gradients on its batch, and `settle`
    sends them through the encoder: when the last head finishes, or before the encoder is next used
    or saved. Whoever reads the weights in the middle of an update calls `settle` first.
    """

    def __init__(
        self,
        nlp: Language,
        model: Model,
        name: str,
        *,
        precision: str,
        max_batch_pieces: int | None,
        keep_vectors: bool,
        scorer: Callable | None,
    ):
        if precision not in PRECISIONS:
            raise ValueError(
                f"precision = {precision!r} is not one of {', '.join(PRECISIONS)}. "
                f"Set components.{name}.precision."
            )
        if max_batch_pieces is not None and max_batch_pieces < 1:
            raise ValueError(f"max_batch_pieces = {max_batch_pieces} must be at least 1.")
        remember_packers()  # processes of `nlp.pipe` send docs
        self.vocab: Vocab = nlp.vocab
        self.model = model
        self.name = name
        self.precision = precision
        self.max_batch_pieces = max_batch_pieces
        self.keep_vectors = keep_vectors
        self.scorer = scorer
        self.cfg: dict[str, Any] = {}
        self.wiring = Wiring(self, nlp)
        # Counts changes of the weights: what was encoded before one is stale.
        self._version = 0
        self._kept = Kept()
        self._shares_memory = False

    # Prediction

    def predict(self, docs: Iterable[Doc]) -> PackedBatch:
        """Encode docs without changing them.

        RETURNS (PackedBatch): Vectors, and the logits of the heads that listen.
        """
        docs = list(docs)
        if (part := self._of_round(docs, is_train=False)) is not None:
            return part  # annotating in mid-update: the heads have yet to learn from it
        self._kept.forget_others(docs, self._version)
        return self._encode(docs, self.wiring.active())

    @property
    def looks_ahead(self) -> bool:
        return self.shim.has_module and is_streaming(self.shim.encoder.device)

    @property
    def version(self) -> int:
        return self._version

    def passing_on(self, is_so: bool) -> None:
        self._kept.is_passing_on = is_so

    def set_annotations(self, docs: Iterable[Doc], batch: PackedBatch) -> None:
        """Keep the batch for the heads; put vectors on the docs only if asked to."""
        if batch.is_learned_from:
            return
        self._kept.keep(batch, self._version, self.wiring.active())
        if self.keep_vectors:
            array: Any = torch2xp(batch.word_vectors)
            for doc, start, end in zip(docs, batch.starts, batch.ends):
                # A copy, lest one kept doc keeps the vectors of its whole batch.
                doc.tensor = array[start:end].copy()

    def batch_for(
        self, docs: list[Doc], listener: EncoderListener, *, is_train: bool
    ) -> PackedBatch:
        """Get the encoder's output for a head.

        docs (List[Doc]): The docs that the head was given.
        listener (EncoderListener): The head's listener.
        is_train (bool): Whether the head is learning. If the encoder is not (it is frozen or left
            out of the update), the batch has vectors but no graph.
        RETURNS (PackedBatch): The batch held for these docs, or a new one.
        """
        name = self.wiring.component_of(listener)
        is_alone = len(docs) < 2  # with it, a caller may do things between one head and the next
        trusted = not is_alone and (is_train or self._kept.is_passing_on)
        trusted = trusted and self.wiring.is_quiet_before(name)
        if listener.home is not self:
            self.wiring.warn_of_move(listener, name)
        batch = self._of_round(docs, is_train=is_train, trusted=trusted)
        if batch is None and is_train:
            batch = self._kept.find_frozen(docs, self._version)
            if batch is None:
                batch = self._encode(docs, [])
                self._kept.keep_frozen(batch, self._version)
        elif batch is None:
            batch = self._kept.find(docs, listener, self._version, trusted=trusted)
            if batch is None:
                listeners = self.wiring.active_from(listener)
                self._kept.keep(self._encode(docs, listeners), self._version, listeners)
                batch = self._kept.find(docs, listener, self._version, trusted=True)
        assert batch is not None
        return batch

    def _of_round(
        self, docs: list[Doc], *, is_train: bool, trusted: bool = False
    ) -> PackedBatch | None:
        current = self._kept.round
        return None if current is None else current.part(docs, is_train=is_train, trusted=trusted)

    def _encode(self, docs: list[Doc], listeners: list[EncoderListener]) -> PackedBatch:
        self.settle()
        self._kept.settle_losses()
        if not self._shares_memory and self.looks_ahead:
            self._shares_memory = True
            share_memory(self.wiring.nlp)
        return self.shim.encoder.encode(
            docs,
            is_train=False,
            precision=self.precision,
            budget=self.max_batch_pieces,
            projections=self.wiring.projections(listeners),
            doc_projections=self.wiring.projections(listeners, of="doc_projection"),
            # With neither listener nor tensor the vectors are what the caller came for.
            keep_words=not listeners or self.keep_vectors or any(m.needs_words for m in listeners),
        )

    # Training

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | Literal[False] | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Encode a batch for the heads to learn from.

        drop (float): Not used: the encoder's dropout is an option of its model.
        losses (Optional[Dict[str, float]]): Gets the squared norm of the gradient on the vectors.
        """
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        examples = list(examples)
        validate_examples(examples, "MultitaskTransformer.update")
        self.settle()
        self._kept.forget()
        docs = [eg.predicted for eg in examples]
        if not any(map(len, docs)):
            return losses
        self.wiring.find_enabled()
        batch = self.shim.encoder.encode(
            docs,
            is_train=True,
            precision=self.precision,
            budget=self.max_batch_pieces,
        )
        self._kept.round, self._kept.losses = Round(batch, losses), losses
        if sgd is not None and sgd is not False:
            self.finish_update(sgd)
        return losses

    def touch(self, docs: list[Doc]) -> None:
        """A head is done with this batch, and had nothing to learn from it."""
        self._of_round(docs, is_train=True)

    def finish_update(self, sgd: Optimizer) -> None:
        """Take a step with the gradients so far, or once the heads have run."""
        current = self._kept.round
        if current is None or not current.put_off(sgd):
            self.settle()
            self._step(sgd)

    def head_finished(self, name: str) -> None:
        """The component `name` has taken its own step. After the last one, take a put-off step."""
        current = self._kept.round
        if current is not None and current.due is not None and self.wiring.is_last(name):
            self.settle()

    def drop_round(self) -> None:
        """Forget the round, if there is one, with all that heads have left."""
        self._kept.round = None

    def settle(self) -> None:
        """End the round, if there is one: backpropagate what the heads have left, and take the step
        that was put off for it."""
        current, self._kept.round = self._kept.round, None
        if current is not None:
            current.settle(self.name, self.shim.encoder, self._step)

    def _step(self, sgd: Optimizer) -> None:
        with self.shim.encoder.gate.training():
            self.model.finish_update(sgd)
        self._version += 1

    def initialize(
        self, get_examples: Callable[[], Iterable[Example]], *, nlp: Language | None = None
    ) -> None:
        """Load the pretrained weights, and tell the heads how wide the vectors are."""
        self.settle()
        self.model.initialize()
        self._version += 1
        if nlp is not None:
            link(nlp)
        self.wiring.fit()

    def use_params(self, params: dict) -> Iterator[None]:
        """Swap in other weights until the iterator goes on: spaCy takes no context manager here."""
        self.settle()
        self._kept.settle_losses()
        self._version += 1  # what was encoded before is stale now, and again afterwards
        with self.model.use_params(params):
            yield
        self._version += 1

    def score(self, examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
        """RETURNS (Dict[str, Any]): What the scorer says of the pipeline's heads, or of those that
        listen if the pipeline is not known."""
        if self.scorer is None:
            return {}
        nlp = self.wiring.nlp
        weights = {} if nlp is None else nlp.config.get("training", {}).get("score_weights", {})
        return self.scorer(
            examples,
            heads=self.wiring.tasks(),
            worst_task=bool(weights.get("worst_task")),
            corpus_of=corpus_of,
            **kwargs,
        )
