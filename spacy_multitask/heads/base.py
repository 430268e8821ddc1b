"""What all heads share: training on known gold only, prediction, labels, saving."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from spacy.attrs import ORTH
from spacy.language import Language
from spacy.pipeline import TrainablePipe
from spacy.tokens import Doc
from spacy.training import Example, validate_examples, validate_get_examples
from spacy.vocab import Vocab
from thinc.api import Config, Model, Optimizer, set_dropout_rate
from torch import Tensor, nn

from ..corpus.leaks import paths_of
from ..corpus.reader import corpus_of
from ..corpus.reading import reading_of
from ..encoder.adapter import listen_without_words, pack, touch
from ..encoder.batch import PackedBatch
from ..encoder.component import link
from ..encoder.listener import EncoderListener
from ..layers.classifier import Classifier
from ..layers.shim import TorchShim
from ..safe_files import MANIFEST_FILE, check_manifest, manifest, write_bytes

UNKNOWN = -1
# Names of our heads' models, and of what makes them.
ARCHITECTURES = {
    "token_classifier": "TokenClassifier",
    "doc_classifier": "DocClassifier",
    "relation_classifier": "RelationClassifier",
}

DEFAULT_TOKEN_MODEL = Config().from_str("""
[model]
@architectures = "spacy_multitask.TokenClassifier.v1"

[model.tok2vec]
@architectures = "spacy_multitask.EncoderListener.v1"
""")["model"]


class Head(TrainablePipe):
    """A component with one trained layer on top of vectors that it shares with others.

    A doc without gold for the head's task is unknown, not negative: it costs no work, gives no
    gradient, and does not count in the score.

    Subclasses say how many outputs there are, where the gold is, what the loss is, and how
    predictions are written.
    """

    labels_doc = "labels"  # what `initialize` looks for, in error messages
    model_name = "token_classifier"  # of the model that it takes

    def __init__(
        self,
        vocab: Vocab,
        model: Model,
        name: str,
        *,
        loss_weight: float,
        balance: nn.Module | None,
        label_smoothing: float,
        class_weights: dict[str, float] | None,
        abstain: float,
        corpora: list[str] | None,
        scorer: Callable | None,
    ):
        _check_model(model, name, self.model_name)
        if loss_weight < 0:
            raise ValueError(f"loss_weight = {loss_weight} of {name!r} must not be negative.")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing = {label_smoothing} of {name!r} must be in [0, 1).")
        for label, weight in (class_weights or {}).items():
            if weight <= 0:
                raise ValueError(
                    f"class_weights of {name!r}: {weight} for {label!r} must be greater than 0."
                )
        if not 0 <= abstain < 1:
            raise ValueError(f"abstain = {abstain} of {name!r} must be in [0, 1).")
        if balance is not None:
            # A shim of its own, so that the optimizer steps and clips it apart, and it is saved.
            model.shims.append(TorchShim(balance))
        self.vocab = vocab
        self.model = model
        self.name = name
        self.loss_weight = loss_weight
        self.label_smoothing = label_smoothing
        self.class_weights = class_weights or {}
        self.abstain = abstain
        self.corpora = None if corpora is None else frozenset(corpora)
        self.scorer = scorer
        self.cfg: dict[str, Any] = {}
        self._warned: set[str] = set()

    @property
    def tok2vec(self) -> Model:
        return self.model.get_ref("tok2vec")

    @property
    def shim(self) -> TorchShim:
        return cast(TorchShim, self.model.shims[0])

    @property
    def module(self) -> Any:
        """RETURNS (nn.Module): The trained layer, of the type that `make_module` makes."""
        return self.shim.module

    @property
    def balance(self) -> Any:
        """RETURNS (Optional[Module]): What learns a factor on the loss, such as
        `UncertaintyWeight`."""
        shims = self.model.shims
        return cast(TorchShim, shims[1]).module if len(shims) > 1 else None

    # What a head is

    @property
    def n_out(self) -> int:
        """RETURNS (int): Number of outputs."""
        raise NotImplementedError

    @property
    def classes(self) -> list[str]:
        """RETURNS (List[str]): Names of the outputs, as `class_weights` has them."""
        return list(self.labels)

    @property
    def weight(self) -> float:
        """RETURNS (float): Factor on this head's loss by now."""
        return self.loss_weight * (1.0 if self.balance is None else self.balance.weight)

    def temperature(self, part: str = "") -> float:
        """RETURNS (float): What the logits of a part of the head's task are divided by, so that
        probabilities are as often right as they say; 1 before `spacy multitask calibrate`."""
        return self.cfg.get("temperatures", {}).get(part, 1.0)

    def make_module(self, width: int) -> nn.Module:
        """RETURNS (nn.Module): The trained layer, for vectors so wide."""
        return Classifier(width, self.n_out)

    def collect_labels(self, examples: Iterable[Example]) -> dict[str, list[str]]:
        """RETURNS (Dict[str, List[str]]): Sorted labels found in gold, by entry of `cfg`."""
        raise NotImplementedError

    def gold(self, examples: list[Example]) -> Any | None:
        """RETURNS (Optional[Any]): The known gold of a batch in the form that `loss` takes; None
        if there is none."""
        raise NotImplementedError

    def loss(self, module: Any, batch: PackedBatch, gold: Any) -> Tensor:
        """RETURNS (Tensor): Mean loss per gold item, a scalar; if there are several layers, the sum
        of theirs."""
        raise NotImplementedError

    def loss_apart(self, docs: list[Doc], gold: Any) -> Tensor | None:
        """RETURNS (Optional[Tensor]): Mean loss per gold item of layers that read no vectors, a
        scalar; None without such layers. It is not reported."""
        return None

    @property
    def is_taught(self) -> bool:
        """RETURNS (bool): Whether it learns from docs without gold, too."""
        return False

    def loss_of_teacher(
        self, module: Any, batch: PackedBatch, docs: list[Doc], gold: Any | None
    ) -> Tensor | None:
        """RETURNS (Optional[Tensor]): Mean loss per item without gold that a teacher labels, a
        scalar; None if there is none. It is not reported."""
        return None

    # Training

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: dict[str, list[str]] | None = None,
    ) -> None:
        """Set the labels and make the trained layer.

        get_examples (Callable): Returns training examples; those without gold are passed over.
            Where a `MultiCorpus` gives some of its examples only, labels are those of all.
        labels (Optional[Dict[str, List[str]]]): What `spacy init labels` wrote, to save the pass.
        RAISES (ValueError): If no example has gold for this head, or it is at odds with another
            component.
        """
        method = f"{type(self).__name__}.initialize"

        def beginning() -> Any:
            """All that a reader gives would be one more pass over the corpora."""
            examples = get_examples()
            return islice(examples, 1) if isinstance(examples, Iterator) else examples

        validate_get_examples(beginning if callable(get_examples) else get_examples, method)
        corpora: set[str] = set()

        def own() -> Iterator[Example]:
            for eg in all_examples(get_examples):
                validate_examples([eg], method)
                corpora.add(corpus_of(eg))
                if self._is_own(eg):
                    yield eg

        self.cfg.update(self.collect_labels(own()) if labels is None else labels)
        self._drop_calibration()
        if not any(self.label_data.values()):
            of = f" of the corpora {', '.join(sorted(self.corpora))}" if self.corpora else ""
            raise ValueError(
                f"No training example{of} has gold for the component {self.name!r}: it learns from "
                f"{self.labels_doc}. Add a corpus that annotates it, or take the component out "
                "of [nlp] pipeline."
            )
        self._warn_of_corpora(corpora, nlp)
        unknown = sorted(self.class_weights.keys() - set(self.classes))
        if unknown:
            raise ValueError(
                f"class_weights of {self.name!r} names {', '.join(map(repr, unknown))}, which the "
                f"training data does not have. There are: {', '.join(dict.fromkeys(self.classes))}."
            )
        if self.balance is not None:
            self.balance.reset()
        if nlp is not None:
            self.check_pipeline(nlp)
            if isinstance(self.tok2vec, EncoderListener):
                link(nlp)
        width = self._init_tok2vec(get_examples, nlp)
        self.model.set_dim("nO", self.n_out, force=True)
        self.shim.set_module(self.make_module(width))

    def check_pipeline(self, nlp: Language) -> None:
        """RAISES (ValueError): If the head is at odds with another component."""

    def _warn_of_corpora(self, found: set[str], nlp: Language | None) -> None:
        """Tell of corpora that the head is to learn from, and that are not there."""
        if not any(found) or self.corpora is None:
            return
        # Some may be for its scores alone.
        dev = {} if nlp is None else paths_of(nlp.config.interpolate(), "dev_corpus")
        unknown = sorted(self.corpora - found - dev.keys())
        if unknown:
            self.warn_once(
                "corpora",
                f"corpora of {self.name!r} names {', '.join(unknown)}, which no training example "
                f"is from. There are: {', '.join(sorted(filter(None, found)))}.",
            )

    def _is_own(self, example: Example) -> bool:
        """RETURNS (bool): Whether this head may look at the example's gold."""
        return self.corpora is None or corpus_of(example) in self.corpora

    def has_gold(self, examples: list[Example]) -> bool:
        """RETURNS (bool): Whether there is anything to learn from the examples, or to be scored."""
        own = list(filter(self._is_own, examples))
        return bool(own) and self.gold(own) is not None

    def _hide_foreign_gold(self, example: Example) -> Example:
        """RETURNS (Example): The same, if need be without gold."""
        if self._is_own(example):
            return example
        x = example.predicted
        return Example(x, Doc(x.vocab, words=[token.text for token in x]))

    def _init_tok2vec(
        self, get_examples: Callable[[], Iterable[Example]], nlp: Language | None
    ) -> int:
        """RETURNS (int): Width of the token vectors."""
        tok2vec = self.tok2vec
        if isinstance(tok2vec, EncoderListener):
            tok2vec.home = None  # it begins anew, on whatever encoder
            encoder = tok2vec.encoder
            if encoder is None:
                tok2vec.packed([], False)  # says what is missing
                raise AssertionError
            if not tok2vec.has_dim("nO") and nlp is not None and encoder.name in nlp.disabled:
                # It is frozen, so spaCy does not initialise it: heads learn on it as it is.
                encoder.initialize(get_examples, nlp=nlp)
            if not tok2vec.has_dim("nO"):
                raise ValueError(
                    f"The encoder {tok2vec.upstream_name!r} that {self.name!r} listens to has no "
                    "weights yet; it must come before the head in [nlp] pipeline."
                )
            return tok2vec.get_dim("nO")
        sample = []
        for example in get_examples():
            if len(example.x):
                sample.append(example.x)
            if len(sample) == 10:
                break
        tok2vec.initialize(X=sample)
        if tok2vec.has_dim("nO"):
            return tok2vec.get_dim("nO")
        return tok2vec.predict(sample)[0].shape[1]

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | Literal[False] | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Learn from the examples that have gold for this head.

        drop (float): Dropout rate on the vectors.
        losses (Optional[Dict[str, float]]): Gets the mean loss per gold item added, unweighted.
        """
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        examples = list(examples)
        validate_examples(examples, f"{type(self).__name__}.update")
        docs = [eg.predicted for eg in examples]
        known = list(map(self._hide_foreign_gold, examples))
        has_words = any(map(len, docs))
        gold = self.gold(known) if has_words else None
        if gold is None and not (has_words and self.is_taught):
            touch(self.tok2vec, docs)
        else:
            if self._drop_calibration():
                self.warn_once(
                    "calibration",
                    f"{self.name!r} was calibrated and now learns on, so what was fitted no longer "
                    "holds and is dropped. Run `spacy multitask calibrate` after the training.",
                )
            set_dropout_rate(self.model, drop)
            module = self.module
            module.train()
            module.set_dropout(drop)
            batch, backprop = pack(self.tok2vec, docs, is_train=True)
            with torch.enable_grad():
                parts = []
                if gold is not None:
                    loss = self.loss(module, batch, gold)
                    losses[self.name] += float(loss.detach())
                    parts.append(loss if self.balance is None else self.balance(loss))
                    parts.append(self.loss_apart(docs, gold))
                taught = self.loss_of_teacher(module, batch, docs, gold)
                if taught is not None:
                    parts.append(taught if self.balance is None else taught * self.balance.weight)
                total: Any = sum(part for part in parts if part is not None)
                (total * self.loss_weight).backward()
            backprop()
        if sgd is not None and sgd is not False:
            self.finish_update(sgd)
        return losses

    def _drop_calibration(self) -> bool:
        """RETURNS (bool): Whether there was any."""
        fitted = [self.cfg.pop(name, None) for name in ("temperatures", "thresholds")]
        return any(fitted)

    def finish_update(self, sgd: Optimizer) -> None:
        # Layers of thinc keep a gradient of zeros after a step, with which the optimizer would move
        # them on in batches from which this head had nothing to learn.
        if self.shim.has_module and any(p.grad is not None for p in self.module.parameters()):
            self.model.finish_update(sgd)
        if isinstance(self.tok2vec, EncoderListener) and self.tok2vec.encoder is not None:
            self.tok2vec.encoder.head_finished(self.name)

    def class_factors(self, classes: list[str], device: torch.device) -> Tensor | None:
        """RETURNS (Optional[Tensor]): Factor on the loss of each class, shape (n_classes,); None
        if none differs from 1."""
        if not self.class_weights:
            return None
        factors = [float(self.class_weights.get(name, 1.0)) for name in classes]
        return torch.tensor(factors, device=device)

    def cross_entropy(self, logits: Tensor, targets: np.ndarray, classes: list[str]) -> Tensor:
        """Compare logits with gold.

        logits (Tensor): Shape (n, n_classes).
        targets (ndarray): Class indices, shape (n,).
        classes (List[str]): Names of the classes, for their weights.
        RETURNS (Tensor): Mean cross entropy, weighted by the targets' classes; a scalar.
        """
        return nn.functional.cross_entropy(
            logits,
            torch.from_numpy(targets).to(logits.device),
            weight=self.class_factors(classes, logits.device),
            label_smoothing=self.label_smoothing,
        )

    def warn_once(self, kind: str, message: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            warnings.warn(message, stacklevel=3)

    def warn_of_label(self, label: str) -> None:
        """Say once that there is gold which the head can't take."""
        self.warn_once(
            "label",
            f"There is gold with a label that {self.name!r} did not see when it was initialised: "
            f"{label!r}. Gold with this label, or with others of that kind, is left out.",
        )

    # Prediction

    def packed(self, docs: list[Doc]) -> PackedBatch:
        with torch.no_grad():
            return pack(self.tok2vec, docs, is_train=False)[0]

    def word_logits(self, docs: list[Doc]) -> tuple[Tensor, np.ndarray]:
        """RETURNS (Tuple[Tensor, ndarray]): Logits (n_words, nO), and words per doc (n_docs,)."""
        module = self.module  # says so if there are no weights
        batch = self.packed(docs)
        with torch.no_grad():
            return batch.project(id(self.tok2vec), module.project), batch.lengths

    def gold_logits(self, examples: list[Example]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Get what says how sure and how right the head is.

        examples (List[Example]): Without gold for this head they count for nothing.
        RETURNS (Dict[str, Tuple[ndarray, ndarray]]): Logits (n, n_classes) and classes (n,) of the
            items with gold, by part of the head's task. Where several labels may be true of one
            item, each of them is an item of two classes: false and true.
        """
        raise NotImplementedError

    # Labels and saving

    @property
    def label_data(self) -> dict[str, list[str]]:
        """RETURNS (Dict[str, List[str]]): What `initialize` takes as `labels`."""
        raise NotImplementedError

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(label for labels in self.label_data.values() for label in labels)

    def add_label(self, label: str) -> int:
        raise NotImplementedError(
            f"Labels of {self.name!r} come from the training data. To fix them beforehand, run "
            "`spacy init labels` or set [initialize.components] labels."
        )

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Write labels and weights into a folder, with a manifest that tells if they belong
        together: spaCy writes one file after the other over the old ones."""
        super().to_disk(path, exclude=exclude)
        write_bytes(Path(path, MANIFEST_FILE), manifest(self._own_files(path, exclude)))

    def _own_files(self, path: str | Path, exclude: Iterable[str]) -> dict[str, bytes]:
        files = {name: Path(path, name) for name in ("cfg", "model") if name not in exclude}
        return {name: file.read_bytes() for name, file in files.items() if file.is_file()}

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> Head:
        """Load what `to_disk` wrote.

        RAISES (ValueError): If the folder is incomplete or damaged.
        """
        try:
            file = Path(path, MANIFEST_FILE)
            if file.is_file() and not {"cfg", "model"} & set(exclude):
                files = self._own_files(path, exclude)
                check_manifest({**files, MANIFEST_FILE: file.read_bytes()}, str(path))
            super().from_disk(path, exclude=exclude)
        except (ValueError, EOFError, KeyError, TypeError, FileNotFoundError) as error:
            raise ValueError(
                f"Can't load the component {self.name!r} from {path}: {str(error).rstrip('.')}. "
                "The folder is "
                "incomplete or damaged; copy or train it again."
            ) from error
        self._settle_in()
        return self

    def from_bytes(self, bytes_data: bytes, *, exclude: Iterable[str] = ()) -> Head:
        super().from_bytes(bytes_data, exclude=exclude)
        self._settle_in()
        return self

    def _settle_in(self) -> None:
        if isinstance(self.tok2vec, EncoderListener):
            self.tok2vec.home = self.tok2vec.encoder

    def score(self, examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
        if self.scorer is None:
            return {}
        # Examples that no MultiCorpus has read, such as a user's own, have no corpus to go by.
        own = [eg for eg in examples if self._is_own(eg) or not corpus_of(eg)]
        return self.scorer(own, **self.score_options(), **kwargs)

    def score_options(self) -> dict[str, Any]:
        """RETURNS (Dict[str, Any]): What the scorer must know of this head."""
        return {}


def _check_model(model: Model, name: str, wanted: str) -> None:
    """RAISES (ValueError): If the model is not what a head needs."""
    is_ours = model.shims and isinstance(model.shims[0], TorchShim) and model.has_ref("tok2vec")
    is_of_another = model.name in ARCHITECTURES and model.name != wanted
    if is_of_another or not is_ours:
        architecture = f"spacy_multitask.{ARCHITECTURES[wanted]}.v1"
        raise ValueError(
            f"The model of {name!r} is a {model.name!r}, which it can't use. Set "
            f'[components.{name}.model] @architectures = "{architecture}".'
        )


def link_word_projection(model: Model) -> None:
    """Let the encoder compute a token head's logits while it has a micro-batch in hand."""
    shim = cast(TorchShim, model.shims[0])
    listen_without_words(model.get_ref("tok2vec"), _Projection(shim))


class _Projection:
    """Looks the module up at each call: it is replaced when a pipeline is loaded."""

    def __init__(self, shim: TorchShim):
        self.shim = shim

    @property
    def is_ready(self) -> bool:
        return self.shim.has_module

    def __call__(self, X: Tensor) -> Tensor:
        return cast(Classifier, self.shim.module).project(X)


def all_examples(get_examples: Callable[[], Iterable[Example]]) -> Iterable[Example]:
    """RETURNS (Iterable[Example]): Those that it gives; but if a `MultiCorpus` has drawn them, or
    they are the beginning of its stream, each example that there is."""
    examples = iter(get_examples())
    beginning = list(islice(examples, 1))
    reading = reading_of(beginning)
    if reading is not None and reading.lacks_some:
        return reading.all()
    return chain(beginning, examples)


def same_tokens(example: Example) -> bool:
    """RETURNS (bool): Whether predicted and reference doc have the same tokens."""
    x, y = example.predicted, example.reference
    return len(x) == len(y) and bool(np.array_equal(x.to_array(ORTH), y.to_array(ORTH)))


def pack_targets(parts: Iterator[np.ndarray]) -> tuple[np.ndarray, np.ndarray] | None:
    """Join the docs' targets.

    parts (Iterator[ndarray]): Class index or UNKNOWN per token of each doc.
    RETURNS (Optional[Tuple[ndarray, ndarray]]): Rows with gold and their classes, both int64
        (n_gold,); None if there are none.
    """
    targets = np.concatenate(list(parts))
    rows = np.flatnonzero(targets != UNKNOWN)
    return (rows, targets[rows]) if len(rows) else None
