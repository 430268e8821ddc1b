"""The command `spacy multitask leaks`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from . import Found, Overwrite, check_is_free, command, corpus_paths


@command(
    "leaks",
    example="config.cfg --test pos=corpus/pos-test.spacy",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    takes_code=True,
    json_options=("--json", "--output", "-o"),
)
def leaks_cli(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Argument(
            metavar="[CONFIG]",
            help="Training config that names training and development parts. Overrides may follow, "
            "such as --paths.corpus DIR.",
        ),
    ] = None,
    train: Annotated[
        list[str] | None,
        typer.Option("--train", metavar="NAME=PATH", help="Training part. Repeat it for more."),
    ] = None,
    test: Annotated[
        list[str] | None,
        typer.Option(
            "--test", metavar="NAME=PATH", help="Development or test part. Repeat it for more."
        ),
    ] = None,
    min_words: Annotated[
        int, typer.Option("--min-words", help="Compare sentences of so many words and more.")
    ] = 10,
    threshold: Annotated[
        float,
        typer.Option(
            "--threshold", help="How similar two sentences must be to count; 1: the same."
        ),
    ] = 0.8,
    share: Annotated[
        float,
        typer.Option("--share", help="A doc leaks if so large a part of it is in such sentences."),
    ] = 0.5,
    drop: Annotated[
        Path | None,
        typer.Option(
            "--drop",
            metavar="FOLDER",
            help="Write the training parts without leaking docs to this folder.",
        ),
    ] = None,
    fail: Annotated[
        bool, typer.Option("--fail", help="Exit with code 1 if there are leaks.")
    ] = False,
    overwrite: Overwrite = False,
) -> dict[str, Any]:
    """Find sentences of training parts that are in development or test parts, too.

    It also finds sentences that are nearly the same. Letter case, spacing and punctuation do not
    count. It passes over short sentences. --drop leaves out docs that leak.
    """
    from wasabi import msg, table

    from ..converters.formats import check_output
    from ..corpus.leaks import check_leaks, held_out_parts

    train_paths, dev_paths = _paths(config, context.args)
    for name, path in corpus_paths(train or [], "--train").items():
        if name in train_paths:
            raise ValueError(
                f"--train {name}: the config has a training part of that name, "
                f"{train_paths[name]}. Choose another name."
            )
        train_paths[name] = path
    held_out = held_out_parts(dev_paths, corpus_paths(test or [], "--test"))
    if not train_paths or not held_out:
        raise ValueError("Name a CONFIG, or training parts by --train and others by --test.")
    outputs = {}
    if drop is not None:
        inputs = [Path(path) for _, path in (*train_paths.items(), *held_out)]
        outputs = {name: check_output(drop / f"{name}.spacy", inputs) for name in train_paths}
    check_is_free(*outputs.values(), overwrite=overwrite)
    found = check_leaks(
        train_paths, held_out, min_words=min_words, threshold=threshold, share=share
    )
    summary = found.summary()
    header = ("train", "held out", "same", "similar", "train docs", "held-out docs")
    keys = ("train", "held_out", "same", "similar", "train_docs", "held_out_docs")
    if summary:
        rows = [tuple(str(pair[key]) for key in keys) for pair in summary]
        print(table(rows, header=header, divider=True, aligns=("l", "l", "r", "r", "r", "r")))
        for pair in summary:
            example = pair["examples"][0]
            print(f"{pair['train']}: {example['train']}\n{pair['held_out']}: {example['held_out']}")
    else:
        msg.good("No leaks.")
    leaking = {name: len(docs) for name, docs in found.leaking.items()}
    for name, target in outputs.items():
        _drop(Path(train_paths[name]), target, found.leaking[name])
        left_out = f"{leaking[name]} of {found.docs[name]} docs left out"
        msg.good(f"{name}: {left_out} -> {drop}/{name}.spacy")
    result = {"docs": found.docs, "leaking_docs": leaking, "leaks": summary}
    if fail and summary:
        raise Found(result)
    return result


def _paths(config: Path | None, overrides: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    from spacy.util import load_config

    from ..corpus.leaks import paths_of
    from .overrides import overrides_of

    if config is None:
        return {}, {}
    if str(config).startswith("-"):  # without CONFIG, an unknown option takes its place
        raise ValueError(f"There is no option {config}; --help lists them.")
    loaded = load_config(config, overrides=overrides_of(config, overrides), interpolate=True)
    return paths_of(loaded, "train_corpus"), paths_of(loaded, "dev_corpus")


def _drop(path: Path, output: Path, leaking: frozenset[int]) -> None:
    from spacy.tokens import DocBin
    from spacy.training.corpus import FILE_TYPE, walk_corpus
    from spacy.vocab import Vocab

    from ..corpus.files import load_doc_bin
    from ..safe_files import write_bytes

    vocab = Vocab()
    docs = (d for f in walk_corpus(path, FILE_TYPE) for d in load_doc_bin(f).get_docs(vocab))
    kept = [doc for i, doc in enumerate(docs) if i not in leaking]
    write_bytes(output, DocBin(docs=kept, store_user_data=True).to_bytes())
