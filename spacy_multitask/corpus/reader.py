"""Several corpora as one: each annotates something else, together they train one pipeline."""

import warnings
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.training.corpus import FILE_TYPE, walk_corpus
from spacy.util import logger, registry
from spacy.vocab import Vocab

from ..gone import NO_ROUND_ROBIN, refuse_gone
from ..plan import join
from ..registering import refuse_quoted_numbers
from .files import load_doc_bin
from .leaks import check_leaks, held_out_parts, paths_of
from .mixing import Epoch
from .reading import CORPUS_KEY, Mark, Reading

READER = "spacy_multitask.MultiCorpus.v1"
MIXINGS = ("proportional", "uniform", "temperature")
LEAKS = ("ignore", "warn", "drop")
# Options of one corpus, with their defaults.
OPTIONS: dict[str, Any] = {
    "path": None,
    "limit": 0,
    "max_length": 0,
    "gold_tokens": True,
    "sample": 0,
}


@registry.readers(READER)
@refuse_quoted_numbers
def make_multi_corpus(
    corpora: dict[str, dict[str, Any]],
    mixing: str = "proportional",
    temperature: float = 0.5,
    seed: int = 0,
    shuffle_buffer: int = 1000,
    leaks: str = "ignore",
    held_out: dict[str, str] | None = None,
    shares: dict[str, int] | None = None,
) -> "MultiCorpus":
    """Read several corpora, for training or for evaluation.

    corpora (Dict[str, Dict]): Options per corpus name: `path` (a .spacy file or a folder of them),
        `limit` (most docs to read, 0 for all), `max_length` (longer docs are left out, in tokens,
        0 for none), `gold_tokens` (True: the pipeline sees the gold tokenization; False: it
        tokenizes the text itself and gold is aligned), `sample` (docs to draw for an epoch: a
        number 1, 2..., or a share up to 1.0; 0 for all. None is drawn again before all have been).
    mixing (str): How many examples of each corpus an epoch has. "proportional": each example once.
        "uniform": equal shares. "temperature": shares by size ** temperature. All but the first
        keep the total number of examples. Sizes are those after `sample`.
    temperature (float): Exponent for "temperature", from 0 (uniform) to 1 (proportional).
    seed (int): For the choice and order of examples.
    shuffle_buffer (int): With [training] max_epochs = -1 spaCy takes a stream of examples as it
        comes, so it is shuffled here, within so many examples that are held; 0 leaves the order.
    leaks (str): For a training corpus: what to do about sentences that stand in the corpora of
        [training] dev_corpus, too. "ignore"; "warn": say how many; "drop": leave docs out that
        consist of them, see `check_leaks`.
    held_out (Optional[Dict[str, str]]): Paths of further parts to look for leaks in, by name: test
        sets.
    shares (Optional[Dict[str, int]]): How many examples of each corpus an epoch has, in place of
        what `mixing` and `sample` give.
    RETURNS (MultiCorpus): Maps the pipeline to examples.
    RAISES (ValueError): If an option has no such value.
    """
    return MultiCorpus(
        corpora,
        mixing=mixing,
        temperature=temperature,
        seed=seed,
        shuffle_buffer=shuffle_buffer,
        leaks=leaks,
        held_out=held_out,
        shares=shares,
    )


class MultiCorpus:
    """Maps a pipeline to the examples of all corpora. Each call is an epoch with its own order.

    A file is read when its turn comes, so that with a stream no more than a file of each corpus is
    in memory at once. The first pass counts docs, a file at a time.
    """

    def __init__(
        self,
        corpora: dict[str, dict[str, Any]],
        *,
        mixing: str,
        temperature: float,
        seed: int,
        shuffle_buffer: int,
        leaks: str,
        held_out: dict[str, str] | None,
        shares: dict[str, int] | None,
    ):
        _check_mixing(mixing, temperature, shuffle_buffer)
        if leaks not in LEAKS:
            raise ValueError(f"leaks = {leaks!r} is not one of {', '.join(LEAKS)}.")
        if not corpora:
            raise ValueError(
                "No corpora are named. Give each a section, such as [corpora.train.corpora.pos], "
                "with a path."
            )
        for name, options in corpora.items():
            _check_options(name, options)
        if shares is not None and (shares.keys() != corpora.keys() or min(shares.values()) < 1):
            raise ValueError(
                f"shares must give a number of examples, 1 or more, for each of "
                f"{', '.join(corpora)}; it is {shares}."
            )
        self.corpora = {name: {**OPTIONS, **options} for name, options in corpora.items()}
        _warn_of_twins(self.corpora)
        self.plan = join()
        self.mixing = mixing
        self.temperature = temperature
        self.seed = seed
        self.shuffle_buffer = shuffle_buffer
        self.leaks = leaks
        self.held_out = held_out or {}
        self.given_shares = shares
        self.epoch = 0
        # Indices of docs to leave out, by corpus.
        self.dropped: dict[str, frozenset[int]] = {}
        self._sizes: dict[str, int] | None = None

    def __call__(self, nlp: Language) -> Iterator[Example]:
        """YIELDS (Example): Examples in the order of the mixing.
        RAISES (ValueError): If a path does not exist or a corpus is empty.
        """
        self.plan.read(nlp)
        is_stream = self.plan.max_epochs < 0
        epoch = self._begin_epoch(nlp)
        reading = None
        # If there is nothing to say, it is not said.
        if is_stream or epoch.lacks_some or epoch.is_drawn:
            reading = Reading(
                nlp,
                self.all if is_stream or epoch.lacks_some else None,
                self._draw if epoch.is_drawn else None,
            )
        buffer = self.shuffle_buffer if is_stream else 0
        for example in epoch.items(lambda name: self._examples(name, nlp), buffer):
            if reading is not None:
                data = example.reference.user_data
                data[CORPUS_KEY], reading = Mark(data[CORPUS_KEY], reading), None
            yield example

    def epoch_of(self, sizes: dict[str, int], number: int) -> Epoch:
        """RETURNS (Epoch): What the reader gives in its pass of this number, of so many examples of
        each corpus."""
        return Epoch(sizes, self.shares(sizes), self.seed, number)

    def _begin_epoch(self, nlp: Language) -> Epoch:
        epoch = self.epoch_of(self.sizes(nlp), self.epoch)
        if not self.epoch and (len(self.corpora) > 1 or epoch.shares != epoch.sizes):
            described = ", ".join(
                f"{name} {epoch.shares[name]} of {size}" for name, size in epoch.sizes.items()
            )
            logger.info("Mixing %s (seed %s): examples %s", self.mixing, self.seed, described)
        self.epoch += 1
        return epoch

    def sizes(self, nlp: Language) -> dict[str, int]:
        """RETURNS (Dict[str, int]): Examples that there are of each corpus, less those that leak
        if these are dropped.
        RAISES (ValueError): If a path does not exist or a corpus is empty.
        """
        if self._sizes is None:
            self.find_leaks(nlp)
            self._sizes = {name: self._count(name) for name in self.corpora}
        return self._sizes

    def all(self, nlp: Language) -> Iterator[Example]:
        """YIELDS (Example): Each example that there is once, one corpus after the other."""
        for name in self.corpora:
            yield from self._examples(name, nlp)

    def _draw(self, nlp: Language) -> list[Example]:
        """RETURNS (List[Example]): The next epoch, shuffled."""
        return self._begin_epoch(nlp).drawn(lambda name: self._examples(name, nlp))

    def find_leaks(self, nlp: Language) -> None:
        """Do what `leaks` says, before the docs are counted.

        nlp (Language): With the config that names the development corpora.
        """
        if self.leaks == "ignore":
            return
        paths = {name: options["path"] for name, options in self.corpora.items()}
        dev = paths_of(nlp.config.interpolate(), "dev_corpus")
        found = check_leaks(paths, held_out_parts(dev, self.held_out))
        if self.leaks == "drop":
            self.dropped = found.leaking
        if found.leaks:
            what = (
                "The docs that consist of them are left out of training."
                if self.leaks == "drop"
                else 'Set leaks = "drop" in the section of the training corpora to leave them out; '
                "`spacy multitask leaks --help` shows them."
            )
            # From here, not from the caller: Python then shows it once, though spaCy makes the
            # readers twice, to initialise and to train.
            warnings.warn(
                f"Training data leaks into held-out data:\n{found.describe()}\n{what}", stacklevel=1
            )

    def skip(self) -> None:
        """Count a pass without reading it; the next one has the order that it would have had."""
        self.epoch += 1

    def _files(self, name: str) -> list[Path]:
        path = Path(self.corpora[name]["path"])
        if not path.exists():
            raise ValueError(
                f"Corpus {name!r}: there is no {path}. Convert it first "
                "(`spacy multitask convert --help`), or correct its path in the config."
            )
        return walk_corpus(path, FILE_TYPE)

    def _count(self, name: str) -> int:
        """RETURNS (int): Examples in one pass over a corpus."""
        options = self.corpora[name]
        lengths = [
            len(tokens) for path in self._files(name) for tokens in load_doc_bin(path).tokens
        ]
        if not any(lengths):
            raise ValueError(
                f"Corpus {name!r}: {options['path']} has no docs in files that end in {FILE_TYPE}. "
                "Convert it first, or correct its path in the config."
            )
        n = sum(self._is_read(name, i, length) for i, length in enumerate(lengths))
        if not n:
            raise ValueError(
                f"Corpus {name!r}: none of the docs in {options['path']} is left. max_length = "
                f"{options['max_length']}, and {len(self.dropped.get(name, ()))} of "
                f"{len(lengths)} docs are dropped for leaks. Raise max_length, or keep leaks."
            )
        return min(n, options["limit"]) if options["limit"] else n

    def _is_read(self, name: str, i: int, length: int) -> bool:
        """RETURNS (bool): Whether the i-th doc of a corpus, so many tokens long, is an example."""
        longest = self.corpora[name]["max_length"]
        is_dropped = i in self.dropped.get(name, ())
        return length > 0 and not 0 < longest < length and not is_dropped

    def docs(self, name: str) -> Iterator[Doc]:
        """YIELDS (Doc): The gold docs of one pass over a corpus.
        RAISES (ValueError): If its path does not exist.
        """
        return islice(self._docs(name, None), self.corpora[name]["limit"] or None)

    def _docs(self, name: str, nlp: Language | None) -> Iterator[Doc]:
        vocab = Vocab() if nlp is None else nlp.vocab
        files = map(load_doc_bin, self._files(name))
        for i, doc in enumerate(chain.from_iterable(file.get_docs(vocab) for file in files)):
            if self._is_read(name, i, len(doc)):
                yield doc

    def _examples(self, name: str, nlp: Language) -> Iterator[Example]:
        options = self.corpora[name]
        for i, reference in enumerate(self._docs(name, nlp)):
            if options["limit"] and i >= options["limit"]:
                return
            reference.user_data[CORPUS_KEY] = name
            if options["gold_tokens"] or reference.has_unknown_spaces:
                predicted = unannotated(reference, nlp.vocab)
            else:
                predicted = nlp.make_doc(reference.text)
            yield Example(predicted, reference)

    def shares(self, sizes: dict[str, int]) -> dict[str, int]:
        """RETURNS (Dict[str, int]): Examples of each corpus in an epoch, given all there are."""
        if self.given_shares is not None:
            return {name: self.given_shares[name] for name in sizes}
        sizes = {name: self._sampled(name, size) for name, size in sizes.items()}
        if self.mixing == "proportional":
            return sizes
        exponent = self.temperature if self.mixing == "temperature" else 0.0
        weights = {name: size**exponent for name, size in sizes.items()}
        total = sum(sizes.values())
        norm = sum(weights.values())
        return {name: max(1, round(total * w / norm)) for name, w in weights.items()}

    def _sampled(self, name: str, size: int) -> int:
        """RETURNS (int): Docs of a corpus of this size that an epoch draws."""
        sample = self.corpora[name]["sample"]
        if not sample:
            return size
        is_share = sample < 1 or (isinstance(sample, float) and sample == 1)
        return max(1, round(sample * size)) if is_share else min(int(sample), size)


def _check_mixing(mixing: str, temperature: float, shuffle_buffer: int) -> None:
    """RAISES (ValueError): If an option has no such value."""
    if mixing == "round_robin":
        refuse_gone("mixing", mixing, "uniform", NO_ROUND_ROBIN)
    if mixing not in MIXINGS:
        raise ValueError(f"mixing = {mixing!r} is not one of {', '.join(MIXINGS)}.")
    if not 0 <= temperature <= 1:
        raise ValueError(f"temperature = {temperature} must be from 0 to 1.")
    if shuffle_buffer < 0:
        raise ValueError(f"shuffle_buffer = {shuffle_buffer} must not be negative.")


def _check_options(name: str, options: dict[str, Any]) -> None:
    """RAISES (ValueError): If an option of a corpus is unknown or has no such value."""
    unknown = set(options) - set(OPTIONS)
    if unknown or not options.get("path"):
        raise ValueError(
            f"Corpus {name!r} needs a path and takes the options {', '.join(OPTIONS)}; "
            f"it was given {', '.join(sorted(options)) or 'nothing'}."
        )
    sample = options.get("sample", 0)
    if sample < 0 or (sample > 1 and sample != int(sample)):
        raise ValueError(
            f"sample = {sample} of corpus {name!r} must be a share up to 1.0, a number of "
            "docs 1, 2..., or 0 for all."
        )
    for option in ("limit", "max_length"):
        if options.get(option, 0) < 0:
            raise ValueError(
                f"{option} = {options[option]} of corpus {name!r} must not be negative; "
                "0 is no limit."
            )


def _warn_of_twins(corpora: dict[str, dict[str, Any]]) -> None:
    names: dict[Path, str] = {}
    for name, options in corpora.items():
        twin = names.setdefault(Path(options["path"]), name)
        if twin != name:
            warnings.warn(
                f"The corpora {twin!r} and {name!r} are both {options['path']}. A doc that is read "
                "once trains all heads that it has gold for, so name it once.",
                stacklevel=4,
            )


def unannotated(doc: Doc, vocab: Vocab) -> Doc:
    """RETURNS (Doc): One of the same tokens, and nothing else."""
    return Doc(
        vocab,
        words=[token.text for token in doc],
        spaces=[bool(token.whitespace_) for token in doc],
    )


def corpus_of(example: Example) -> str:
    """RETURNS (str): Name of the corpus that an example was read from; empty if not known."""
    return example.reference.user_data.get(CORPUS_KEY, "")
