"""What all heads share: training on known gold only, prediction, labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, cast

import numpy as np
import torch
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example, validate_examples
from spacy.vocab import Vocab
from thinc.api import Model, Optimizer, set_dropout_rate
from torch import Tensor, nn

from ..corpus.leaks import paths_of
from ..corpus.reader import corpus_of
from ..encoder.adapter import pack, touch
from ..encoder.batch import PackedBatch
from ..encoder.listener import EncoderListener
from ..encoder.wiring import link
from ..layers.classifier import Classifier
from ..layers.losses import add_loss, settle_losses
from ..layers.shim import TorchShim
from ..together import is_one_of_several, shares
from .architectures import check_model, init_tok2vec
from .gold import all_examples, check_examples
from .kinds import HeadKind
from .learning import Learning
from .options import HeadOptions


class Head(Learning):
    """A component with one trained layer on top of vectors that it shares with others.

    A doc without gold for the head's task is unknown, not negative: it costs no work, gives no
    gradient, and does not count in the score.

    Subclasses say how many outputs there are, where the gold is, what the loss is, and how
    predictions are written.
    """

    kind: HeadKind  # what the rest of the package must know of it
    model_name = "token_classifier"  # of the model that it takes

    def __init__(self, vocab: Vocab, model: Model, name: str, options: HeadOptions):
        check_model(model, name, self.model_name)
        options.check(name)
        if options.balance is not None:
            # A shim of its own, so that the optimizer steps and clips it apart, and it is saved.
            model.shims.append(TorchShim(options.balance))
        self.vocab, self.model, self.name = vocab, model, name
        self.loss_weight = options.loss_weight
        self.label_smoothing = options.label_smoothing
        self.class_weights = options.class_weights or {}
        self.abstain = options.abstain
        # Not `probs`, which asks heads of words for all of them.
        self.writes_probs = options.probs
        self.corpora = None if options.corpora is None else frozenset(options.corpora)
        self.new_labels = options.new_labels
        self.scorer = options.scorer
        self.cfg: dict[str, Any] = {}
        self._warned: set[str] = set()
        self._losses: dict[str, float] = {}  # of the last update
        # Made once for each device and list of classes.
        self._factors: dict[tuple[str, tuple[str, ...]], Tensor] = {}

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
    def learns_from(self) -> str:
        """RETURNS (str): Where its gold is, in words."""
        return self.kind.learns_from

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

    # Training

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: dict[str, list[str]] | None = None,
        teacher: str | None = None,
        teacher_weight: float = 1.0,
    ) -> None:
        """Set the labels and make the trained layer.

        get_examples (Callable): Returns training examples; those without gold are passed over.
            Where a `MultiCorpus` gives some of its examples only, labels are those of all.
        labels (Optional[Dict[str, List[str]]]): What `spacy init labels` wrote, to save the pass.
        teacher (Optional[str]): What labels docs without gold for this head, such as those of the
            other corpora: a trained pipeline, or a Parquet file with what another model said of the
            texts. If there is no gold at all, the labels are the teacher's, too. It is needed in
            training only, and not saved.
        teacher_weight (float): Factor on the mean loss of what the teacher labels, where that of
            gold has 1.
        RAISES (ValueError): If no example has gold for this head, it is at odds with another
            component, or the teacher can't teach it.

        Source: Hinton et al. (2015), https://arxiv.org/abs/1503.02531; from models of one task to
            one of many: Clark et al. (2019), https://arxiv.org/abs/1907.04829
        """
        method = f"{type(self).__name__}.initialize"

        check_examples(get_examples, method)
        corpora: set[str] = set()

        def own() -> Iterator[Example]:
            for eg in all_examples(get_examples):
                validate_examples([eg], method)
                corpora.add(corpus_of(eg))
                if self._is_own(eg):
                    yield eg

        self.cfg.update(self.collect_labels(own()) if labels is None else labels)
        self._drop_calibration()
        found = self.find_teacher(teacher, teacher_weight)
        if found is not None and not any(self.label_data.values()):
            self.cfg.update(found.labels(eg.predicted for eg in all_examples(get_examples)))
        if not any(self.label_data.values()):
            of = f" of the corpora {', '.join(sorted(self.corpora))}" if self.corpora else ""
            raise ValueError(
                f"No training example{of} has gold for the component {self.name!r}: it learns from "
                f"{self.learns_from}. Add a corpus that annotates it, or take the component out "
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
        width = init_tok2vec(self.tok2vec, get_examples, nlp, self.name)
        self.model.set_dim("nO", self.n_out, force=True)
        self.shim.set_module(self.make_module(width))
        self.learn_from(found, get_examples, nlp)

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

    def has_gold(self, examples: list[Example]) -> bool:
        """RETURNS (bool): Whether there is anything to learn from the examples, or to be scored."""
        own = list(filter(self._is_own, examples))
        return bool(own) and self.gold(own) is not None

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
        has_words = any(map(len, docs))
        gold = self._gold_to_learn(examples) if has_words else None
        taught = self.ask_teacher(examples, gold)
        share = shares(lambda: self.counts(gold, taught))
        if gold is None and not taught:
            touch(self.tok2vec, docs)
        else:
            set_dropout_rate(self.model, drop)
            module = self.module.train()
            module.set_dropout(drop)
            batch, backprop = pack(self.tok2vec, docs, is_train=True)
            with torch.enable_grad():
                reported, parts = self.losses_of(module, batch, docs, gold, taught, share)
                if reported is not None:
                    add_loss(losses, self.name, reported)
                    self._losses = losses
                (torch.stack(parts).sum() * self.loss_weight).backward()
            backprop()
        if sgd is not None and sgd is not False:
            self.finish_update(sgd)
        return losses

    def update_without_docs(self) -> None:
        """Take part in an update in which other processes have all docs, and this one has none."""
        shares(lambda: self.counts(None, {}))

    def _gold_to_learn(self, examples: list[Example]) -> Any | None:
        """RETURNS (Optional[Any]): As `gold`; with new labels, if they are to be added.
        RAISES (ValueError): If there are some and other processes, which may not have met them.
        """
        own = list(map(self._hide_foreign_gold, examples))
        if self.new_labels != "add":
            return self.gold(own)
        while True:
            with self.noting_new_labels() as met:
                gold = self.gold(own)
            if met and is_one_of_several():
                raise ValueError(
                    f"{self.name!r} has met new labels in one of several processes: "
                    f"{', '.join(label for _, label in met)}. Add them before the training, with "
                    "add_label, or train in one process."
                )
            if not sum(self.add_label(label, entry) for entry, label in met):
                return gold

    def _drop_calibration(self) -> bool:
        """RETURNS (bool): Whether there was any."""
        fitted = [self.cfg.pop(name, None) for name in ("temperatures", "thresholds")]
        return any(fitted)

    def finish_update(self, sgd: Optimizer) -> None:
        # Layers of thinc keep a gradient of zeros after a step, with which the optimizer would move
        # them on in batches from which this head had nothing to learn.
        if self.shim.has_module and any(p.grad is not None for p in self.module.parameters()):
            if self._drop_calibration():
                self.warn_once(
                    "calibration",
                    f"{self.name!r} was calibrated and now learns on, so what was fitted no longer "
                    "holds and is dropped. Run `spacy multitask calibrate` after the training.",
                )
            self.model.finish_update(sgd)
        if isinstance(self.tok2vec, EncoderListener) and self.tok2vec.encoder is not None:
            self.tok2vec.encoder.head_finished(self.name)

    # Prediction

    def packed(self, docs: list[Doc]) -> PackedBatch:
        settle_losses(self._losses)  # some may still be on the device; training is over, for now
        self._losses = {}
        with torch.no_grad():
            return pack(self.tok2vec, docs, is_train=False)[0]

    def word_logits(self, docs: list[Doc]) -> tuple[Tensor, np.ndarray]:
        """RETURNS (Tuple[Tensor, ndarray]): Logits (n_words, nO), and words per doc (n_docs,)."""
        logits, batch = self.logits_and_batch(docs)
        return logits, batch.lengths

    def logits_and_batch(self, docs: list[Doc]) -> tuple[Tensor, PackedBatch]:
        """RETURNS (Tuple[Tensor, PackedBatch]): Logits (n_words, nO), and what they come from."""
        module = self.module  # says so if there are no weights
        batch = self.packed(docs)
        with torch.no_grad():
            return batch.project(id(self.tok2vec), module.project), batch

    def gold_logits(self, examples: list[Example]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Get what says how sure and how right the head is.

        examples (List[Example]): Without gold for this head they count for nothing.
        RETURNS (Dict[str, Tuple[ndarray, ndarray]]): Logits (n, n_classes) and classes (n,) of the
            items with gold, by part of the head's task. Where several labels may be true of one
            item, each of them is an item of two classes: false and true.
        """
        gold = self.gold(list(map(self._hide_foreign_gold, examples)))
        return {} if gold is None else self.logits_at([eg.predicted for eg in examples], gold)

    def logits_at(self, docs: list[Doc], gold: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """RETURNS (Dict): As `gold_logits`; empty for a head that has no probabilities."""
        return {}

    def gold_values(self, examples: list[Example]) -> tuple[np.ndarray, np.ndarray] | None:
        """RETURNS (Optional[tuple]): Logits of docs with gold for labels of which several may be
        true, and their values, NaN where unknown, both float32 (n, n_labels); None without any."""
        return None

    # Loading and scoring

    def _settle_in(self) -> None:
        n_out = getattr(self.shim.module, "n_out", None) if self.shim.has_module else None
        if n_out not in (None, self.n_out):
            raise ValueError(
                f"the weights have {n_out} outputs, the labels in cfg call for {self.n_out}"
            )
        if isinstance(self.tok2vec, EncoderListener):
            self.tok2vec.home = self.tok2vec.encoder

    def score(self, examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
        if self.scorer is None:
            return {}
        # Examples that no MultiCorpus has read have no corpus to go by.
        own = [eg for eg in examples if self._is_own(eg) or not corpus_of(eg)]
        return self.scorer(own, **self.score_options(), **kwargs)

    def score_options(self) -> dict[str, Any]:
        """RETURNS (Dict[str, Any]): What the scorer must know of this head."""
        return {}
