"""The pipeline component that owns the shared encoder."""

from __future__ import annotations

import threading
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, cast

import srsly
from spacy.language import Language
from spacy.pipeline import TrainablePipe
from spacy.tokens import Doc
from spacy.training import Example, validate_examples
from spacy.vocab import Vocab
from thinc.api import Config, Model, Optimizer, torch2xp
from torch import Tensor

from ..corpus.reader import corpus_of
from ..gone import NO_SURGERY, refuse_gone
from ..layers.network import PRECISIONS
from ..plan import PLAN
from ..registering import with_types
from ..safe_files import MANIFEST_FILE, check_manifest, last_good, manifest, new_folder
from .batch import PackedBatch, Projection, columns_of
from .listener import EncoderListener
from .shim import EncoderShim

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
@with_types
def make_transformer(
    nlp: Language,
    name: str,
    model: Model,
    precision: str,
    max_batch_pieces: int | None,
    keep_vectors: bool,
    scorer: Callable | None,
    surgery: Any = None,
) -> MultitaskTransformer:
    """Create the shared encoder.

    model (Model): The encoder, see `spacy_multitask.Encoder.v1`.
    precision (str): "float32" or "bfloat16", for training and for prediction; "int8" for prediction
        with a quantized encoder.
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


class MultitaskTransformer(TrainablePipe):
    """Encodes each batch of docs once, and keeps the result until the last head has read it.

    The result is kept per thread, outside the docs, and is matched by the docs' identity: a head
    that sees other docs than the encoder saw last gets them encoded anew.

    In training the heads' gradients add up on the batch's vectors and go back through the encoder
    in one pass. `nlp.update(sgd=...)` calls `finish_update` on the encoder before any head has
    run. That step is then put off until the heads are done: it is taken when the last head
    finishes, or before the encoder is next used, looked at or saved.
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
        self.vocab: Vocab = nlp.vocab
        self._nlp: Callable[[], Language | None] = weakref.ref(nlp)
        self._model = model
        self.name = name
        self.precision = precision
        self.max_batch_pieces = max_batch_pieces
        self.keep_vectors = keep_vectors
        self.scorer = scorer
        # The components that listen, or did, for scoring.
        self._heads: dict[str, Any] = {}
        self.cfg: dict[str, Any] = {}
        self.listener_map: dict[str, list[EncoderListener]] = {}
        self._version = 0
        self._local = threading.local()

    def __reduce__(self) -> tuple:
        # The base class, made by Cython, would pickle threads' state and the pipeline, too.
        self._settle(force=True)
        state = self.__dict__.copy()
        del state["_local"], state["_nlp"], state["_heads"]
        state.update(vocab=self.vocab, name=self.name, cfg=self.cfg, scorer=self.scorer)
        return _bare, (type(self),), state

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        self._local = threading.local()
        self._nlp = lambda: None
        self._heads = {}

    @property
    def model(self) -> Model:
        """RETURNS (Model): The encoder, with every step taken that the heads call for."""
        self._settle()
        return self._model

    @property
    def shim(self) -> EncoderShim:
        return cast(EncoderShim, self._model.shims[0])

    # Listeners

    @property
    def listeners(self) -> list[EncoderListener]:
        return [m for listeners in self.listener_map.values() for m in listeners]

    @property
    def listening_components(self) -> list[str]:
        return list(self.listener_map)

    def add_listener(self, listener: EncoderListener, component_name: str) -> None:
        listeners = self.listener_map.setdefault(component_name, [])
        if not any(listener is other for other in listeners):
            listeners.append(listener)
        listener.encoder = self
        if self.shim.has_module:
            listener.set_dim("nO", self.shim.width, force=True)

    def _fit_listeners(self) -> None:
        """Tell the listeners how wide the vectors are, now that there is a network.

        RAISES (ValueError): If it does not have the layer that one of them reads.
        """
        for name, listeners in self.listener_map.items():
            for listener in listeners:
                listener.set_dim("nO", self.shim.width, force=True)
                self._place(listener, name)

    @property
    def layers(self) -> tuple[int, ...]:
        """RETURNS (Tuple[int, ...]): Places of the layers that listeners read, besides the last.
        RAISES (ValueError): If the encoder does not have one.
        """
        found = {
            self._place(listener, name)
            for name, listeners in self.listener_map.items()
            for listener in listeners
        }
        return tuple(sorted(place for place in found if place is not None))

    def _place(self, listener: EncoderListener, component_name: str) -> int | None:
        """RETURNS (Optional[int]): Place of the layer that a listener reads; None for the last."""
        if listener.layer is None:
            return None
        try:
            return self.shim.module.place_of(listener.layer)
        except ValueError as error:
            raise ValueError(f"The component {component_name!r}: {error}") from error

    def _link_enabled(self) -> None:
        """Find the listeners of components that were disabled when spaCy looked for them."""
        for name, pipe in self._pipeline() or ():
            if name not in self.listener_map and self._heads.get(name) is pipe:
                for listener in listeners_in(pipe):
                    if listener.encoder is self:
                        self.add_listener(listener, name)

    def remove_listener(self, listener: EncoderListener, component_name: str) -> bool:
        listeners = self.listener_map.get(component_name, [])
        if not any(listener is other for other in listeners):
            return False
        listeners[:] = [other for other in listeners if other is not listener]
        if not listeners:
            del self.listener_map[component_name]
        listener.encoder = None
        return True

    def find_listeners(self, component: Any) -> None:
        """Connect the listeners in a component after this one. A listener for "*" goes to the
        nearest encoder before it."""
        if component is self:
            return
        nearest = self._nearest(component)
        for node in listeners_in(component):
            if node.upstream_name == self.name or (
                node.upstream_name == "*" and nearest in (self, None)
            ):
                if node.encoder is not None and node.encoder is not self:
                    node.encoder.remove_listener(node, component.name)
                self.add_listener(node, component.name)
                self._heads[component.name] = component

    def _nearest(self, component: Any) -> MultitaskTransformer | None:
        """RETURNS (Optional[MultitaskTransformer]): The last encoder before a component, disabled
        or not; None if the pipeline is not known: then the last to look for it has it."""
        nlp = self._nlp()
        pipes = [] if nlp is None else [pipe for _, pipe in nlp.components]
        if not any(pipe is self for pipe in pipes):
            return None
        nearest = None
        for pipe in pipes:
            if pipe is component:
                return nearest
            if isinstance(pipe, MultitaskTransformer):
                nearest = pipe
        return None

    def check_heads(self) -> None:
        """Warn of heads that come from an encoder with other weights, and of those that stand
        before this one: once saved and loaded they would not find it."""
        nlp = self._nlp()
        names = [] if nlp is None else nlp.component_names
        for name, listeners in self.listener_map.items():
            for listener in listeners:
                self._warn_of_move(listener, name)
            if name in names and self.name in names[names.index(name) :]:
                warnings.warn(
                    f"The component {name!r} comes before the encoder {self.name!r} that it "
                    "listens to. The pipeline can't be used once it is saved and loaded: put the "
                    "head after the encoder.",
                    stacklevel=2,
                )

    def _warn_of_move(self, listener: EncoderListener, component_name: str) -> None:
        """Say once that a head comes from another encoder, if it does."""
        home, listener.home = listener.home, self
        if home is not None and home is not self and self.shim.differs_from(home.shim):
            warnings.warn(
                f"The component {component_name!r} comes from a pipeline whose encoder has other "
                f"weights than {self.name!r} here: what it has learned does not hold for these. "
                "Combine heads that were trained on one frozen encoder, give this one its own "
                '(replace_listeners = ["model.tok2vec"]), or train it on.',
                stacklevel=2,
            )

    def _component_of(self, listener: EncoderListener) -> str:
        """RETURNS (str): Name of the component that a listener is in."""
        for name, listeners in self.listener_map.items():
            if any(listener is other for other in listeners):
                return name
        # It was disabled when spaCy had listeners looked for.
        names = (name for name, head in self._heads.items() if listener in listeners_in(head))
        name = next(names, "")
        self.add_listener(listener, name)
        return name

    def set_pipeline(self, nlp: Language) -> None:
        """Say which pipeline the encoder is in: if it is sourced, not the one that made it."""
        self._nlp = weakref.ref(nlp)

    def _pipeline(self) -> list[tuple[str, Any]] | None:
        """RETURNS (Optional[List[Tuple[str, Callable]]]): Components that are not disabled, of the
        pipeline that this one is in, if it is known."""
        nlp = self._nlp()
        if nlp is None or not any(pipe is self for _, pipe in nlp.components):
            return None
        return nlp.pipeline

    def _active(self, first: EncoderListener | None = None) -> list[EncoderListener]:
        """RETURNS (List[EncoderListener]): Those that are not disabled, in order, from `first`
        on."""
        pipeline = self._pipeline()
        names = list(self.listener_map) if pipeline is None else [name for name, _ in pipeline]
        found = [m for name in names for m in self.listener_map.get(name, ())]
        places = [i for i, listener in enumerate(found) if listener is first]
        return found[places[0] :] if places else found

    def score(self, examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
        """RETURNS (Dict[str, Any]): What the scorer says of the pipeline's heads, or of those that
        listen if the pipeline is not known."""
        if self.scorer is None:
            return {}
        pipeline = self._pipeline()
        nlp = self._nlp()
        weights: Any = PLAN.score_weights
        frozen: list[str] = []
        if pipeline is not None and nlp is not None:
            training = nlp.config.get("training", {})
            weights = training.get("score_weights", {})
            frozen = training.get("frozen_components", [])
        if pipeline is None:
            heads = {n: self._heads[n] for n in self.listening_components if n in self._heads}
        else:
            # Those that do not listen are tasks, too, unless they can't get any better.
            heads = {
                name: pipe
                for name, pipe in pipeline
                if isinstance(pipe, TrainablePipe)
                and not isinstance(pipe, MultitaskTransformer)
                and (name not in frozen or listeners_in(pipe))
            }
        return self.scorer(
            examples,
            heads={name: head for name, head in heads.items() if hasattr(head, "score")},
            worst_task=bool(weights.get("worst_task")),
            corpus_of=corpus_of,
            **kwargs,
        )

    # Prediction

    def predict(self, docs: Iterable[Doc]) -> PackedBatch:
        """Encode docs without changing them.

        RETURNS (PackedBatch): Vectors, and the logits of the heads that listen.
        """
        docs = list(docs)
        if self._held("frozen", docs) is None:
            self._local.frozen = None
        return self._encode(docs, self._active())

    def _encode(
        self, docs: list[Doc], listeners: list[EncoderListener], *, keep_words: bool = False
    ) -> PackedBatch:
        training = self._training
        part = None if training is None else training.part(docs)
        if part is not None:
            return part  # annotating in mid-update: the heads have yet to learn from it
        self._settle(force=True)
        layers = self.layers
        # While a pipeline is initialised, spaCy's heads predict before later heads have weights.
        projections = {
            id(m): self._of_layer(m, m.projection, layers)
            for m in listeners
            if m.projection is not None and m.projection.is_ready
        }
        batch = self.shim.encode(
            docs,
            is_train=False,
            precision=self.precision,
            budget=self._budget(),
            layers=layers,
            projections=projections,
            # With neither listener nor tensor the vectors are what the caller came for.
            keep_words=keep_words
            or self.keep_vectors
            or any(m.needs_words for m in listeners)
            or not listeners,
        )
        batch.version = self._version
        return batch

    def _of_layer(
        self, listener: EncoderListener, projection: Projection, layers: tuple[int, ...]
    ) -> Callable[[Tensor], Tensor]:
        """RETURNS (Callable): The projection, of vectors with the columns of all layers."""
        layers = self.shim.layers_given(layers)
        if not layers:
            return projection
        place = self._place(listener, self._component_of(listener))
        at = columns_of(place, layers, self.shim.width * (1 + len(layers)))
        return lambda X: projection(X[:, at])

    def _budget(self, *, is_train: bool = False) -> int:
        return self.max_batch_pieces or self.shim.budget(is_train=is_train)

    def set_annotations(self, docs: Iterable[Doc], batch: PackedBatch) -> None:
        """Hold the batch for the heads; put vectors on the docs only if asked to."""
        docs = list(docs)
        if batch.whole is self._training:
            return
        batch.waiting = {id(listener): len(docs) for listener in self._active()}
        self._local.predicted = batch if batch.waiting else None
        if self.keep_vectors:
            array: Any = torch2xp(batch.of_layer(None).word_vectors)
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
        RETURNS (PackedBatch): The batch held for these docs, or a new one; with the vectors of the
            layer that the head reads.
        """
        name = self._component_of(listener)
        if listener.home is not self:
            self._warn_of_move(listener, name)
        layer = self._place(listener, name)
        return self._batch_for(docs, listener, name, layer, is_train=is_train).of_layer(layer)

    def _batch_for(
        self,
        docs: list[Doc],
        listener: EncoderListener,
        name: str,
        layer: int | None,
        *,
        is_train: bool,
    ) -> PackedBatch:
        training = self._training
        part = None if training is None else training.part(docs)
        if training is not None and part is not None:
            # A head that annotates while others learn reads the same vectors that they read.
            training.touched = training.touched or is_train
            return part
        if is_train:
            part = self._held("frozen", docs)
            if part is None:
                part = self._local.frozen = self._encode(docs, [], keep_words=True)
            return part
        part = self._held("predicted", docs)
        if part is None or not part.serves(listener, layer):
            frozen = self._held("frozen", docs)
            if frozen is not None:
                return frozen
            listeners = self._active(listener)
            if not any(other is listener for other in listeners):  # a head that is disabled
                listeners = [listener]
            part = self._encode(docs, listeners)
            part.waiting = {id(m): len(docs) for m in listeners}
            self._local.predicted = part
        waiting = part.whole.waiting
        left = waiting.pop(id(listener), 0) - len(docs)
        if left > 0:
            waiting[id(listener)] = left
        if not waiting:
            self._local.predicted = None
        return part

    def _held(self, name: str, docs: list[Doc]) -> PackedBatch | None:
        batch = getattr(self._local, name, None)
        if batch is None or batch.version != self._version:
            return None
        part: PackedBatch | None = batch.part(docs)
        return part

    # Training

    @property
    def _training(self) -> PackedBatch | None:
        return getattr(self._local, "training", None)

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
        self._settle(force=True)
        self._local.predicted = self._local.frozen = None
        docs = [eg.predicted for eg in examples]
        if not any(map(len, docs)):
            return losses
        self._link_enabled()
        batch = self.shim.encode(
            docs,
            is_train=True,
            precision=self.precision,
            budget=self._budget(is_train=True),
            layers=self.layers,
        )
        batch.losses = losses
        self._local.training = batch
        if sgd is not None and sgd is not False:
            self.finish_update(sgd)
        return losses

    def touch(self, docs: list[Doc]) -> None:
        """A head is done with this batch, and had nothing to learn from it."""
        batch = self._training
        if batch is not None and batch.part(docs) is not None:
            batch.touched = True

    def finish_update(self, sgd: Optimizer) -> None:
        """Take a step with the gradients so far, or once the heads have run."""
        batch = self._training
        if batch is not None and not batch.touched:
            batch.deferred = (sgd, sgd.learn_rate)
            return
        self._settle()
        self._step(sgd)

    def head_finished(self, name: str) -> None:
        """The component `name` has taken its own step. After the last one, take a put-off step."""
        batch = self._training
        if batch is not None and batch.deferred is not None:
            pipeline = self._pipeline()
            names = self.listening_components
            if pipeline is not None:
                # Some may not be in the map yet, see `_component_of`.
                names = [name for name, pipe in pipeline if self._hears(pipe)]
            if names and names[-1] == name:
                self._settle()

    def _hears(self, component: Any) -> bool:
        return any(listener.encoder is self for listener in listeners_in(component))

    def _settle(self, *, force: bool = False) -> None:
        """Backpropagate what the heads have left, and take a step that was put off for it.

        force (bool): Also when no head has come yet. Otherwise the batch waits on: it was encoded
            just now, and the heads are about to learn from it.
        """
        batch = self._training
        if batch is None or not (batch.touched or force):
            return
        self._local.training = None
        with self.shim.learning():
            norm = batch.backprop()
        if batch.losses is not None:
            batch.losses[self.name] = batch.losses.get(self.name, 0.0) + norm
        if batch.deferred is not None:
            sgd, rate = batch.deferred
            # The schedule may have moved on since the step was due.
            current, sgd.learn_rate = sgd.learn_rate, rate
            self._step(sgd)
            sgd.learn_rate = current

    def _step(self, sgd: Optimizer) -> None:
        with self.shim.gate.training():
            self._model.finish_update(sgd)
        self._version += 1

    def initialize(
        self, get_examples: Callable[[], Iterable[Example]], *, nlp: Language | None = None
    ) -> None:
        """Load the pretrained weights, and tell the heads how wide the vectors are."""
        self._settle(force=True)
        self._model.initialize()
        self._version += 1
        if nlp is not None:
            link(nlp)
        self._fit_listeners()

    def use_params(self, params: dict) -> Iterator[None]:
        """Swap in other weights until the iterator goes on: spaCy takes no context manager here."""
        self._settle(force=True)
        self._version += 1  # what was encoded before is stale now, and again afterwards
        with self._model.use_params(params):
            yield
        self._version += 1

    # Saving and loading

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Write weights (safetensors), config and tokenizer as files into a folder.

        RAISES (SavingError): If they can't be written; what was there before stays.
        """
        self._settle(force=True)
        self.check_heads()  # no one could know later
        path = Path(path)
        path.mkdir(parents=True, exist_ok=True)
        srsly.write_json(path / "cfg", self.cfg)
        if "model" not in exclude:
            files = self.shim.to_files()
            with new_folder(path / "model") as folder:
                for name, data in {**files, MANIFEST_FILE: manifest(files)}.items():
                    file = folder / name
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(data)

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> MultitaskTransformer:
        """Load what `to_disk` wrote.

        RAISES (ValueError): If a file is missing or damaged; it is named.
        """
        path = Path(path)
        if "model" not in exclude:
            folder = last_good(path / "model")
            if not folder.is_dir():
                raise ValueError(
                    f"{folder} is missing: the weights of {self.name!r} should be there. Copy or "
                    "train the pipeline again."
                )
            files = {
                file.relative_to(folder).as_posix(): file.read_bytes()
                for file in sorted(folder.rglob("*"))
                if file.is_file()
            }
            check_manifest(files, str(folder))
            files.pop(MANIFEST_FILE, None)
            self._load(files, str(folder))
        return self

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        self._settle(force=True)
        files = {} if "model" in exclude else self.shim.to_files()
        return srsly.msgpack_dumps({"cfg": self.cfg, "model": files})

    def from_bytes(self, bytes_data: bytes, *, exclude: Iterable[str] = ()) -> MultitaskTransformer:
        data = srsly.msgpack_loads(bytes_data)
        if "model" not in exclude:
            self._load(data["model"], f"component {self.name}")
        return self

    def _load(self, files: dict[str, bytes], source: str) -> None:
        self.shim.from_files(files, source)
        self.shim.check_precision(self.precision)
        if self.shim.has_module:
            self._model.set_dim("nO", self.shim.width, force=True)
        self._local = threading.local()
        self._version += 1
        self._fit_listeners()


def link(nlp: Language) -> None:
    """Connect all heads of a pipeline with their encoders, also those that are disabled: spaCy
    passes over these."""
    components = nlp.components
    for _, pipe in components:
        if isinstance(pipe, MultitaskTransformer):
            pipe.set_pipeline(nlp)
    nlp._link_components()
    for i, (_, pipe) in enumerate(components):
        if isinstance(pipe, MultitaskTransformer):
            for _, later in components[i + 1 :]:
                pipe.find_listeners(later)


def listeners_in(component: Any) -> list[EncoderListener]:
    """RETURNS (List[EncoderListener]): By which a component reads an encoder of ours."""
    if isinstance(component, MultitaskTransformer):  # whose model is not to be asked for lightly
        return []
    model = getattr(component, "model", None)
    if not isinstance(model, Model):
        return []
    return [node for node in model.walk() if isinstance(node, EncoderListener)]


def _bare(cls: type[MultitaskTransformer]) -> MultitaskTransformer:
    return cls.__new__(cls)
