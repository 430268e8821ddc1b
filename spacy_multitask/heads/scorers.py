"""Scores over examples of many corpora: docs without gold for a task do not count.

Counting is spaCy's; these scorers choose what it may count.
"""

import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from spacy.scorer import PRFScore, Scorer, get_ner_prf
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import registry

from ..registering import refuse_quoted_numbers
from .gold import trimmed
from .items import Items, known_group, known_spans
from .kinds import in_order, is_task_score, score_named

# Examples that are looked at in one go for gold; the first that have some are enough.
SAMPLE = 50


@registry.scorers("spacy_multitask.task_scorer.v1")
@refuse_quoted_numbers
def make_task_scorer() -> Callable:
    return score_tasks


def score_tasks(
    examples: Iterable[Example],
    *,
    heads: Mapping[str, Any],
    worst_task: bool,
    corpus_of: Callable[[Example], str],
    **kwargs: Any,
) -> dict[str, Any]:
    """Score what concerns several heads or corpora.

    heads (Mapping[str, Any]): Components with a `score`, by name.
    worst_task (bool): Whether to look for the worst one: that scores everything once more.
    corpus_of (Callable): Gives the name of an example's corpus.
    RETURNS (Dict[str, Any]): Where a head has gold in several corpora its scores in each, as
        CORPUS/SCORE; and worst_task, the least of the heads' main scores, None without gold.
    """
    examples = list(examples)
    _warn_of_shared_names(heads, examples)
    corpora: dict[str, list[Example]] = {}
    for example in examples:
        corpora.setdefault(corpus_of(example), []).append(example)
    scores: dict[str, Any] = {}
    for head in heads.values():
        known = [name for name, part in corpora.items() if name and _has_gold(head, part)]
        for name in known if len(known) > 1 else ():
            found = head.score(corpora[name])
            scores.update({f"{name}/{k}": v for k, v in found.items() if is_task_score(k)})
    if worst_task:
        tasks = [_task_score(head, examples) for head in heads.values()]
        scores["worst_task"] = min((s for s in tasks if s is not None), default=None)
    return scores


def _warn_of_shared_names(heads: Mapping[str, Any], examples: list[Example]) -> None:
    """Among the scores of a pipeline a name stands once: with the value of the last head."""
    owners: dict[str, tuple[str, Any]] = {}
    for name, head in heads.items():
        if not hasattr(head, "score_options"):  # spaCy's own; it is scored on what it writes
            continue
        for score in filter(is_task_score, head.score(examples[:1])):
            first, owner = owners.setdefault(score, (name, head))
            # Heads that are scored on the same have the same value.
            if (owner.corpora, owner.score_options()) != (head.corpora, head.score_options()):
                head.warn_once(
                    "score",
                    f"{first!r} and {name!r} both have the score {score}; only the latter is kept. "
                    f'Tell them apart: [components.{name}.scorer] prefix = "{name}_".',
                )


def _has_gold(head: Any, examples: list[Example]) -> bool:
    parts = (examples[i : i + SAMPLE] for i in range(0, len(examples), SAMPLE))
    if hasattr(head, "has_gold"):
        return any(map(head.has_gold, parts))
    return any(_task_score(head, part) is not None for part in parts)


def main_score(scores: Mapping[str, Any]) -> str | None:
    """RETURNS (Optional[str]): Name of the score that sums up a head best, the first one that has a
    value, as tables order them; None if there is none."""
    return next(
        (k for k in in_order(scores) if is_task_score(k) and isinstance(scores[k], int | float)),
        None,
    )


def known_scores(head: Any, examples: list[Example]) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): Scores of a component that have a value. Some of spaCy's own heads
    count docs without gold as wrong; where all docs are, they have none."""
    scores = {name: v for name, v in head.score(examples).items() if v is not None}
    first = next(filter(None, map(score_named, scores)), None)
    if first is None or not first.kind.scores_unknown or hasattr(head, "has_gold"):
        return scores
    is_known = any(first.kind.count(eg.reference) is not None for eg in examples)
    return scores if is_known else {}


def _task_score(head: Any, examples: list[Example]) -> float | None:
    scores = known_scores(head, examples)
    name = main_score(scores)
    return None if name is None else scores[name]


def register_scorer(name: str, score: Callable) -> Callable:
    """Register a scorer for configs.

    name (str): What stands before "_scorer.v1".
    RETURNS (Callable): Makes the scorer; an option `prefix` stands before the name of each score,
        which tells several heads of one kind apart.
    """

    @registry.scorers(f"spacy_multitask.{name}_scorer.v1")
    @refuse_quoted_numbers
    def make_scorer(prefix: str = "") -> Callable:
        return partial(_score_with_prefix, score, prefix) if prefix else score

    return make_scorer


def _score_with_prefix(
    score: Callable, prefix: str, examples: Iterable[Example], **kwargs: Any
) -> dict[str, Any]:
    return {prefix + name: value for name, value in score(examples, **kwargs).items()}


def score_tags(
    examples: Iterable[Example], *, extension: str | None = None, **kwargs: Any
) -> dict[str, Any]:
    """Score tags over the tokens that have a gold tag.

    extension (Optional[str]): Where the predicted tags are, if not in `token.tag_`. Gold is in
        `token.tag_` all the same, as for learning.
    RETURNS (Dict[str, Any]): tag_acc and, without extension, pos_acc; None where there is no gold.
    """
    examples = list(examples)
    if extension is not None:
        known = [eg for eg in examples if eg.reference.has_annotation("TAG")]
        # What a predicted doc has in `token.tag_` is another tagger's.
        gold = {id(eg.reference) for eg in known}
        return Scorer.score_token_attr(
            known,
            "tag",
            getter=lambda token, _: token.tag_ if id(token.doc) in gold else token._.get(extension),
        )
    scores: dict[str, Any] = {}
    for attr, name in (("TAG", "tag"), ("POS", "pos")):
        known = [eg for eg in examples if eg.reference.has_annotation(attr)]
        scores.update(Scorer.score_token_attr(known, name))
    return scores


def score_groups(examples: Iterable[Example], *, spans_key: str, **kwargs: Any) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): Precision, recall and F of labelled spans as `spans_KEY_p` and so
    on, over docs that have the key; None where there is none."""
    known = [eg for eg in examples if spans_key in eg.reference.spans]
    own = {id(eg.predicted): known_group(eg, spans_key) for eg in known}
    return Scorer.score_spans(
        known,
        attr=f"spans_{spans_key}",
        getter=lambda doc, _: trimmed(own[id(doc)] if id(doc) in own else doc.spans[spans_key]),
        allow_overlap=True,
        labeled=True,
    )


def score_ents(
    examples: Iterable[Example], *, spans_key: str | None = None, **kwargs: Any
) -> dict[str, Any]:
    """Score entities over docs with gold entities or with none.

    spans_key (Optional[str]): Where the predicted entities are, if not in `doc.ents`. Gold is
        there, too, or in `doc.ents`.
    RETURNS (Dict[str, Any]): ents_p, ents_r, ents_f and ents_per_type, or with a key spans_KEY_p
        and so on; None where nothing is known.
    """
    if spans_key is not None:
        examples = list(examples)
        known = {
            id(eg.predicted): known_ents(eg, eg.predicted.spans.get(spans_key, []))
            for eg in examples
            if spans_key not in eg.reference.spans
        }

        def spans_of(doc: Doc, _: str) -> Iterable[Span]:
            if id(doc) in known:
                return trimmed(known[id(doc)])
            return trimmed(doc.spans[spans_key] if spans_key in doc.spans else doc.ents)

        return Scorer.score_spans(
            examples,
            attr=f"spans_{spans_key}",
            getter=spans_of,
            has_annotation=lambda doc: spans_key in doc.spans or doc.has_annotation("ENT_IOB"),
            allow_overlap=True,
            labeled=True,
        )
    known_examples = (eg for eg in examples if eg.reference.has_annotation("ENT_IOB"))
    return get_ner_prf(list(map(_with_trimmed_ents, known_examples)))


def _with_trimmed_ents(example: Example) -> Example:
    """RETURNS (Example): The same, or one whose gold entities have no blanks at their edges."""
    if not any(ent[0].is_space or ent[-1].is_space for ent in example.reference.ents):
        return example
    gold = example.reference.copy()
    unknown = [gold[token.i : token.i + 1] for token in gold if token.ent_iob == 0]
    gold.set_ents(trimmed(gold.ents), missing=unknown, default="outside")
    return Example(example.predicted, gold)


def known_ents(example: Example, ents: Iterable[Span]) -> list[Span]:
    """RETURNS (List[Span]): Predicted entities without those on tokens of which the gold doc does
    not say whether they are of an entity; as spaCy leaves them out."""
    return known_spans(example, ents, [token.ent_iob == 0 for token in example.reference])


def score_cats(
    examples: Iterable[Example],
    *,
    labels: Iterable[str],
    multi_label: bool,
    threshold: float,
    thresholds: Mapping[str, float] = MappingProxyType({}),
    absent: str = "unknown",
    **kwargs: Any,
) -> dict[str, Any]:
    """Score labels of docs. A doc of a label that no head knows counts as wrong, with a warning.

    threshold (float): Probability from which a label counts as true, where several may be.
    thresholds (Mapping[str, float]): Others in its place, by label.
    absent (str): "false" if labels that a gold doc with others lacks are not true of it.
    RETURNS (Dict[str, Any]): spaCy's `cats_*` scores over docs with gold labels; None where there
        are none. Macro averages are over labels that the gold docs can tell apart. With exclusive
        classes scores are over docs for which the head did not abstain, and there is cats_acc,
        over all, which sums them up.
    """
    examples, labels = list(examples), list(labels)
    unheard = [label for eg in examples if (label := unheard_cat(eg, labels))]
    if unheard:
        warnings.warn(
            f"{len(unheard)} docs are of labels that the head does not know: "
            f"{', '.join(sorted(set(unheard)))}. They count as wrong.",
            stacklevel=2,
        )
        labels += sorted(set(unheard))
    known = [eg for eg in examples if knows_cats(eg.reference, labels, multi_label)]
    if not known:
        return {"cats_score": None, "cats_micro_f": None, "cats_macro_f": None, "cats_acc": None}
    own = frozenset(labels)
    scores = Scorer.score_cats(
        # Where exclusive classes have no prediction, Scorer fails.
        [eg for eg in known if multi_label or own & eg.predicted.cats.keys()],
        "cats",
        # spaCy knows one threshold: each label's probability is moved so that its own lies there.
        getter=lambda doc, attr: {
            **(dict.fromkeys(labels, 0.0) if multi_label and absent == "false" else {}),
            **{
                label: _moved(p, thresholds.get(label, threshold), threshold)
                for label, p in doc.cats.items()
            },
        },
        labels=labels,
        multi_label=multi_label,
        threshold=threshold,
    )
    if not multi_label:
        right = sum(
            best_cat(eg.predicted, labels) == best_cat(eg.reference, labels) for eg in known
        )
        scores = {"cats_acc": right / len(known), **scores}
    return _over_present_labels(scores, known, multi_label)


def _over_present_labels(
    scores: dict[str, Any], known: list[Example], multi_label: bool
) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): The scores with macro averages over labels that some gold doc has;
    spaCy's take those that none has for failures. cats_macro_auc is None if no label is true of one
    doc and false of another."""
    present = {label for eg in known for label, value in eg.reference.cats.items() if value > 0}
    found = [prf for label, prf in scores["cats_f_per_type"].items() if label in present]
    means = {f"cats_macro_{k}": _mean([prf[k] for prf in found]) for k in "prf"}
    areas = scores["cats_auc_per_type"].values()
    means["cats_macro_auc"] = _mean([area for area in areas if area is not None])
    means["cats_score"] = means["cats_macro_auc" if multi_label else "cats_macro_f"]
    return {**scores, **means}


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _moved(p: float, own: float, common: float) -> float:
    """RETURNS (float): A probability stretched so that `own` becomes `common`; 0 and 1 stay."""
    if own == common:
        return p
    return p / own * common if p < own else 1 - (1 - p) / (1 - own) * (1 - common)


def knows_cats(doc: Doc, labels: list[str], multi_label: bool) -> bool:
    """RETURNS (bool): Whether a doc has gold for these labels."""
    if multi_label:
        return any(label in doc.cats for label in labels)
    return any(doc.cats.get(label, 0) > 0 for label in labels)


def unheard_cat(example: Example, labels: list[str]) -> str:
    """RETURNS (str): A label that is true of a doc, and that no head of the pipeline predicts; ""
    if there is none, or one of these labels is true, too."""
    true = [label for label, value in example.reference.cats.items() if value > 0]
    if not true or not set(true).isdisjoint(labels):
        return ""
    # Labels that another head has written are its affair.
    return min(set(true).difference(example.predicted.cats), default="")


def best_cat(doc: Doc, labels: list[str]) -> str:
    """RETURNS (str): The label that is most true; another head's labels do not count. "" if
    the doc has none of them."""
    own = [label for label in labels if label in doc.cats]
    return max(own, key=doc.cats.__getitem__) if own else ""


def score_attributes(
    examples: Iterable[Example],
    *,
    items: Callable[[Example], Items | None],
    exclusive: bool,
    **kwargs: Any,
) -> dict[str, Any]:
    """Score labels of spans that both docs have and of which the gold doc knows the label.

    items (Callable): What to count in an example.
    exclusive (bool): Whether one label is true of each span.
    RETURNS (Dict[str, Any]): attr_acc with exclusive classes, else attr_f, micro-averaged; and
        attr_per_type. None where nothing is known.
    """
    name = "attr_acc" if exclusive else "attr_f"
    known = [found for eg in examples if (found := items(eg)) is not None]
    if not known:
        return {name: None, "attr_per_type": None}
    right, own, gold = (sum(counts) for counts in zip(*(found.counts() for found in known)))
    total = PRFScore(tp=right, fp=own - right, fn=gold - right)
    by_label: defaultdict[str, Counter] = defaultdict(Counter)
    for found in known:
        for label, (tp, n_own, n_gold) in found.counts_by_label().items():
            by_label[label].update(tp=tp, fp=n_own - tp, fn=n_gold - tp)
    per_type: Mapping[str, Any] = {x: PRFScore(**by_label[x]).to_dict() for x in sorted(by_label)}
    return {name: total.recall if exclusive else total.fscore, "attr_per_type": per_type}


make_tagger_scorer = register_scorer("tagger", score_tags)
make_chunk_scorer = register_scorer("chunk", score_groups)
make_span_scorer = register_scorer("span", score_groups)
make_ner_scorer = register_scorer("ner", score_ents)
make_span_classifier_scorer = register_scorer("span_classifier", score_attributes)
make_textcat_scorer = register_scorer("textcat", score_cats)
