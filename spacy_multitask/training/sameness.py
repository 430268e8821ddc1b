"""Whether a training that goes on is the one that began."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import spacy
import torch
from spacy.attrs import DEP, ENT_IOB, ENT_TYPE, HEAD, LEMMA, MORPH, POS, SENT_START, TAG
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.training.corpus import FILE_TYPE, walk_corpus
from spacy.util import dict_to_dot
from thinc.api import get_torch_default_device

from ..corpus.leaks import paths_of
from ..encoder.component import MultitaskTransformer
from ..progress import progress
from ..relations import KEY as RELATIONS

# Settings that may change between two parts of a training: where things are, what is printed...
FREE_SETTINGS = ("paths.", "training.logger.")
# ...but for this one, which ends the training.
LOGGER_PATIENCE = "training.logger.patience"
# Settings that may grow on purpose. 0 is no limit.
LIMITS = ("training.max_epochs", "training.max_steps")

Facts = dict[str, Any]


def facts_of(nlp: Language) -> Facts:
    """RETURNS (Dict[str, Any]): All that the outcome of a training depends on, as plain data.

    nlp (Language): Initialised, and not trained yet.
    """
    return {
        "settings": _settings(nlp),
        "data": _data(nlp),
        "labels": _labels(nlp),
        "encoders": _encoders(nlp),
        "environment": environment(),
    }


def differences(path: Path, before: Facts, now: Facts, *, extend: bool) -> list[str]:
    """Compare what a training depends on with what it depended on when it began.

    path (Path): The checkpoint that it goes on from, for error messages.
    extend (bool): Whether it may have more epochs or steps now.
    RETURNS (List[str]): What may change results in the last bits.
    RAISES (ValueError): If it is another training, or on another kind of device.
    """
    _compare_settings(path, before["settings"], now["settings"], extend)
    _compare_data(path, before, now)
    return _compare_environments(path, before["environment"], now["environment"])


def _compare_settings(path: Path, before: Facts, now: Facts, extend: bool) -> None:
    changed = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    if extend:
        shrunk = [n for n in LIMITS if n in changed and _is_less(now[n], before[n])]
        if shrunk:
            raise ValueError(
                f"--extend goes on for longer, but {_list(shrunk, before, now)}. It can only grow."
            )
        changed = [name for name in changed if name not in LIMITS]
    if changed:
        grown = not extend and set(changed) <= set(LIMITS)
        advice = "--extend lets max_epochs and max_steps grow. " if grown else ""
        raise ValueError(
            f"{path} belongs to another config: {_list(changed, before, now)}. {advice}"
            "Resume with the config that it began with (only [paths] and [training.logger] may "
            "change), or train from the beginning, with --overwrite."
        )


def _list(names: list[str], before: Facts, now: Facts) -> str:
    found = [f"{name} was {before.get(name)!r} and is {now.get(name)!r}" for name in names[:5]]
    more = f", and {len(names) - 5} more" if len(names) > 5 else ""
    return "; ".join(found) + more


def _is_less(now: int, before: int) -> bool:
    """RETURNS (bool): Whether a limit is lower; a stream (-1) stays one."""
    if min(now, before) < 0:
        return now != before
    return now > 0 and (before == 0 or now < before)


def _compare_data(path: Path, before: Facts, now: Facts) -> None:
    changed = [
        name
        for kind in ("data", "labels", "encoders")
        for name in sorted({*before[kind], *now[kind]})
        if before[kind].get(name) != now[kind].get(name)
    ]
    if changed:
        raise ValueError(
            f"{path} was written with other data: {', '.join(changed)} "
            f"{'is' if len(changed) == 1 else 'are'} not what it was. Restore what the training "
            "began with, or train from the beginning, with --overwrite."
        )


def _compare_environments(path: Path, before: Facts, now: Facts) -> list[str]:
    if before["device"].split(":")[0] != now["device"].split(":")[0]:
        # On a CPU the optimizer keeps other moments, of the rows in use.
        raise ValueError(
            f"{path} was written on {before['device']}, and can't go on on {now['device']}. Resume "
            "on a device of that kind, or train from the beginning, with --overwrite."
        )
    # One process has no number of ranks.
    values = {name: (before.get(name, 1), now.get(name, 1)) for name in {**now, **before}}
    return [
        f"{name} was {was} and is {value}: the last bits of the weights may differ"
        for name, (was, value) in values.items()
        if was != value
    ]


def check_ranks(first: Facts, own: Facts) -> None:
    """Compare what a training depends on in two of its processes.

    RAISES (ValueError): If it is not the same.
    """
    changed = [
        name
        for kind in ("settings", "data", "labels", "encoders")
        for name in sorted({*first[kind], *own[kind]})
        if first[kind].get(name) != own[kind].get(name)
    ]
    if changed:
        raise ValueError(
            f"The ranks of this training have not the same: {', '.join(changed[:5])}. Start all of "
            "them with the same config, code, corpora and encoder."
        )


def _settings(nlp: Language) -> Facts:
    """RETURNS (Dict[str, Any]): The config by dotted name, but for what may change."""
    settings = {
        name: value
        for name, value in dict_to_dot(nlp.config).items()
        if not name.startswith(FREE_SETTINGS) or name == LOGGER_PATIENCE
    }
    # Once through JSON, so that they compare with those from a file.
    return json.loads(json.dumps(settings))


def _data(nlp: Language) -> dict[str, str]:
    """RETURNS (Dict[str, str]): SHA-256 of each corpus' files in the order in which they are read,
    by a name for messages."""
    config = nlp.config.interpolate()
    parts = {"train_corpus": "the training part of", "dev_corpus": "the development part of"}
    return {
        f"{kind} {name!r}": _checksum_of(Path(path))
        for part, kind in parts.items()
        for name, path in paths_of(config, part).items()
    }


def _checksum_of(path: Path) -> str:
    total = hashlib.sha256()
    files = walk_corpus(path, FILE_TYPE) if path.exists() else []
    for file in progress(files, "Checking corpora", unit="file"):
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def _labels(nlp: Language) -> dict[str, str]:
    """RETURNS (Dict[str, str]): SHA-256 of the labels of each component: what the outputs mean."""
    found = {}
    for name, pipe in nlp.components:
        labels = getattr(pipe, "label_data", None)
        if labels:
            text = json.dumps(labels, default=str, sort_keys=True)
            found[f"the labels of {name!r}"] = hashlib.sha256(text.encode()).hexdigest()
    return found


def _encoders(nlp: Language) -> dict[str, str]:
    """RETURNS (Dict[str, str]): SHA-256 of the weights and the pieces of each shared encoder."""
    found = {}
    for name, pipe in nlp.components:
        if isinstance(pipe, MultitaskTransformer) and pipe.shim.has_module:
            weights = hashlib.sha256()
            for key, tensor in sorted(pipe.shim.module.state_dict().items()):
                weights.update(key.encode())
                weights.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
            pieces = json.dumps(sorted(pipe.shim.encoder.tokenizer.get_vocab().items())).encode()
            found[f"the pretrained encoder of {name!r}"] = weights.hexdigest()
            found[f"the tokenizer of {name!r}"] = hashlib.sha256(pieces).hexdigest()
    return found


def environment() -> Facts:
    """RETURNS (Dict[str, Any]): What the last bits of sums depend on."""
    return {
        "spacy": spacy.__version__,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": str(get_torch_default_device()),
    }


def checksum_of_gold(examples: Iterable[Example]) -> int:
    """RETURNS (int): CRC of texts and gold, also of what no file of a known corpus has."""
    total = 0
    for example in examples:
        doc = example.reference
        gold = doc.to_array([TAG, POS, MORPH, LEMMA, HEAD, DEP, SENT_START, ENT_IOB, ENT_TYPE])
        total = zlib.crc32(doc.text.encode("utf8"), total)
        total = zlib.crc32(np.ascontiguousarray(gold).data, total)
        total = zlib.crc32(repr(_of_the_whole(doc)).encode("utf8"), total)
    return total


def _of_the_whole(doc: Doc) -> tuple[Any, ...]:
    spans = {
        key: [(span.start, span.end, span.label_) for span in group]
        for key, group in doc.spans.items()
    }
    return sorted(doc.cats.items()), sorted(spans.items()), doc.user_data.get(RELATIONS)
