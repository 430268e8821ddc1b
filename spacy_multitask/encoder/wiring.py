"""Who listens to which encoder."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable
from typing import Any

from spacy.language import Language
from spacy.pipeline import TrainablePipe
from thinc.api import Model

from .listener import EncoderListener, Projection, Source

# Modules of components that say whether they change tokens.
QUIET = ("spacy.pipeline.", "spacy_multitask.")


class Listened:
    """What spaCy asks of a component that others listen to, answered by its `wiring`."""

    wiring: Wiring

    @property
    def listener_map(self) -> dict[str, list[EncoderListener]]:
        return self.wiring.listeners

    @listener_map.setter
    def listener_map(self, listeners: dict[str, list[EncoderListener]]) -> None:
        self.wiring.listeners = listeners

    @property
    def listeners(self) -> list[EncoderListener]:
        return [m for listeners in self.listener_map.values() for m in listeners]

    @property
    def listening_components(self) -> list[str]:
        return list(self.listener_map)

    def add_listener(self, listener: EncoderListener, component_name: str) -> None:
        self.wiring.add(listener, component_name)

    def remove_listener(self, listener: EncoderListener, component_name: str) -> bool:
        return self.wiring.remove(listener, component_name)

    def find_listeners(self, component: Any) -> None:
        self.wiring.find(component)


class Wiring:
    """The listeners of one encoder, and the pipeline that it stands in.

    spaCy looks for listeners when a pipeline is put together, and passes over components that are
    disabled at that moment. Those are remembered here, and found again when they are at work.

    owner (Source): The component with the encoder.
    nlp (Language): The pipeline. It is not kept alive.
    """

    def __init__(self, owner: Source, nlp: Language):
        self.owner: Any = owner
        # By name of the component that they are in; spaCy calls it a listener_map.
        self.listeners: dict[str, list[EncoderListener]] = {}
        # The components that listen, or did, by name.
        self.heads: dict[str, Any] = {}
        self._nlp: Callable[[], Language | None] = weakref.ref(nlp)

    def __getstate__(self) -> dict[str, Any]:
        # A copy, in this process or another, is in another pipeline.
        return {"owner": self.owner, "listeners": self.listeners}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, heads={}, _nlp=lambda: None)

    def set_pipeline(self, nlp: Language) -> None:
        """Say which pipeline the encoder is in: if it is sourced, not the one that made it."""
        self._nlp = weakref.ref(nlp)

    @property
    def nlp(self) -> Language | None:
        """RETURNS (Optional[Language]): The pipeline that the encoder is in, if it is known."""
        nlp = self._nlp()
        if nlp is None or not any(pipe is self.owner for _, pipe in nlp.components):
            return None
        return nlp

    # Connecting

    def add(self, listener: EncoderListener, component_name: str) -> None:
        listeners = self.listeners.setdefault(component_name, [])
        if not any(listener is other for other in listeners):
            listeners.append(listener)
        listener.encoder = self.owner
        if self.owner.shim.has_module:
            listener.set_dim("nO", self.owner.shim.encoder.width, force=True)

    def remove(self, listener: EncoderListener, component_name: str) -> bool:
        """RETURNS (bool): Whether it was there."""
        listeners = self.listeners.get(component_name, [])
        if not any(listener is other for other in listeners):
            return False
        listeners[:] = [other for other in listeners if other is not listener]
        if not listeners:
            del self.listeners[component_name]
        listener.encoder = None
        return True

    def find(self, component: Any) -> None:
        """Connect the listeners in a component after the encoder. A listener for "*" goes to the
        nearest encoder before it."""
        nearest = self._nearest(component)
        for node in listeners_in(component):
            if node.upstream_name == self.owner.name or (
                node.upstream_name == "*" and nearest in (self.owner, None)
            ):
                before = wiring_of(node.encoder)
                if before is not None and before is not self:
                    before.remove(node, component.name)
                self.add(node, component.name)
                self.heads[component.name] = component

    def _nearest(self, component: Any) -> Any:
        """RETURNS (Optional[Source]): The last encoder before a component, disabled or not; None if
        the pipeline is not known: then the last to look for it has it."""
        nearest = None
        for _, pipe in self.nlp.components if self.nlp is not None else ():
            if pipe is component:
                return nearest
            if wiring_of(pipe) is not None:
                nearest = pipe
        return None

    def find_enabled(self) -> None:
        """Connect the listeners of components that were disabled when spaCy looked for them."""
        for name, pipe in self.nlp.pipeline if self.nlp is not None else ():
            if name not in self.listeners and self.heads.get(name) is pipe:
                for listener in listeners_in(pipe):
                    if listener.encoder is self.owner:
                        self.add(listener, name)

    # Asking

    def active(self) -> list[EncoderListener]:
        """RETURNS (List[EncoderListener]): Those of components that are not disabled, in order."""
        nlp = self.nlp
        names = list(self.listeners) if nlp is None else nlp.pipe_names
        return [m for name in names for m in self.listeners.get(name, ())]

    def active_from(self, first: EncoderListener) -> list[EncoderListener]:
        """RETURNS (List[EncoderListener]): As `active`, from this one on; if it is disabled, just
        this one."""
        found = self.active()
        places = [i for i, listener in enumerate(found) if listener is first]
        return found[places[0] :] if places else [first]

    def tasks(self) -> dict[str, Any]:
        """RETURNS (Dict[str, Any]): Components to score, by name: the pipeline's that learn, or
        those that listen if the pipeline is not known."""
        nlp = self.nlp
        pipes = self.heads.items() if nlp is None else nlp.pipeline
        frozen = [] if nlp is None else nlp.config.get("training", {}).get("frozen_components", [])
        return {
            name: pipe
            for name, pipe in pipes
            if isinstance(pipe, TrainablePipe)
            and wiring_of(pipe) is None
            and hasattr(pipe, "score")
            # Those that do not listen are tasks, too, unless they can't get any better.
            and (name not in frozen or listeners_in(pipe))
        }

    def is_last(self, component_name: str) -> bool:
        """RETURNS (bool): Whether no component after this one listens."""
        nlp = self.nlp
        names = list(self.listeners)
        if nlp is not None:
            # Some may not be connected yet, see `find_enabled`.
            names = [name for name, pipe in nlp.pipeline if self._hears(pipe)]
        return bool(names) and names[-1] == component_name

    def _hears(self, component: Any) -> bool:
        return any(listener.encoder is self.owner for listener in listeners_in(component))

    def is_quiet_before(self, component_name: str) -> bool:
        """RETURNS (bool): Whether no component between the encoder and this one can have changed
        tokens: all are spaCy's or ours, which say so if they do."""
        nlp = self.nlp
        if nlp is None or component_name not in nlp.pipe_names:
            return False
        between = False
        for name, pipe in nlp.pipeline:
            if name == component_name:
                break
            is_known = type(pipe).__module__.startswith(QUIET)
            if between and (not is_known or nlp.get_pipe_meta(name).retokenizes):
                return False
            between = between or pipe is self.owner
        return between

    def component_of(self, listener: EncoderListener) -> str:
        """RETURNS (str): Name of the component that a listener is in."""
        for name, listeners in self.listeners.items():
            if any(listener is other for other in listeners):
                return name
        # It was disabled when spaCy had listeners looked for.
        names = (name for name, head in self.heads.items() if listener in listeners_in(head))
        name = next(names, "")
        self.add(listener, name)
        return name

    def fit(self) -> None:
        """Tell the listeners how wide the vectors are, now that there is a network."""
        for listeners in self.listeners.values():
            for listener in listeners:
                listener.set_dim("nO", self.owner.shim.encoder.width, force=True)

    def projections(
        self, listeners: list[EncoderListener], of: str = "projection"
    ) -> dict[int, Projection]:
        """RETURNS (Dict[int, Projection]): By listener id, what its head applies to words' vectors,
        or as its "doc_projection" to those of docs."""
        # While a pipeline is initialised, spaCy's heads predict before later heads have weights.
        found = ((listener, getattr(listener, of)) for listener in listeners)
        return {id(m): projection for m, projection in found if projection and projection.is_ready}

    # Warnings

    def check_heads(self) -> None:
        """Warn of heads that come from an encoder with other weights, and of those that stand
        before this one: once saved and loaded they would not find it."""
        nlp = self._nlp()
        names = [] if nlp is None else nlp.component_names
        own = self.owner.name
        for name, listeners in self.listeners.items():
            for listener in listeners:
                self.warn_of_move(listener, name)
            if name in names and own in names[names.index(name) :]:
                warnings.warn(
                    f"The component {name!r} comes before the encoder {own!r} that it "
                    "listens to. The pipeline can't be used once it is saved and loaded: put the "
                    "head after the encoder.",
                    stacklevel=2,
                )

    def warn_of_move(self, listener: EncoderListener, component_name: str) -> None:
        """Say once that a head comes from another encoder, if it does."""
        home, listener.home = listener.home, self.owner
        if home is None or home is self.owner or not self.owner.shim.differs_from(home.shim):
            return
        warnings.warn(
            f"The component {component_name!r} comes from a pipeline whose encoder has other "
            f"weights than {self.owner.name!r} here: what it has learned does not hold for these. "
            "Combine heads that were trained on one frozen encoder, give this one its own "
            '(replace_listeners = ["model.tok2vec"]), or train it on.',
            stacklevel=2,
        )


def wiring_of(component: Any) -> Wiring | None:
    """RETURNS (Optional[Wiring]): That of a component with an encoder of ours; None for others."""
    wiring = getattr(component, "wiring", None)
    return wiring if isinstance(wiring, Wiring) else None


def listeners_in(component: Any) -> list[EncoderListener]:
    """RETURNS (List[EncoderListener]): By which a component reads an encoder of ours."""
    model = getattr(component, "model", None)
    if not isinstance(model, Model):
        return []
    return [node for node in model.walk() if isinstance(node, EncoderListener)]


def link(nlp: Language) -> None:
    """Connect all heads of a pipeline with their encoders, also those that are disabled: spaCy
    passes over these."""
    found = [(i, wiring_of(pipe)) for i, (_, pipe) in enumerate(nlp.components)]
    encoders = [(i, wiring) for i, wiring in found if wiring is not None]
    for _, wiring in encoders:
        wiring.set_pipeline(nlp)
    nlp._link_components()
    for i, wiring in encoders:
        for _, later in nlp.components[i + 1 :]:
            wiring.find(later)
