"""The command `spacy multitask split`."""

from pathlib import Path
from typing import Annotated

import typer

from . import Overwrite, check_is_free, command, say_next


@command("split", example="corpus/all.spacy corpus/train.spacy corpus/dev.spacy")
def split_cli(
    input_path: Annotated[Path, typer.Argument(metavar="IN", help=".spacy file to split.")],
    train_path: Annotated[Path, typer.Argument(metavar="TRAIN", help=".spacy file to write.")],
    dev_path: Annotated[Path, typer.Argument(metavar="DEV", help=".spacy file to write.")],
    fraction: Annotated[float, typer.Option("--fraction", help="Share of the docs for DEV.")] = 0.1,
    sample: Annotated[
        float, typer.Option("--sample", help="Share of the other docs to keep for TRAIN.")
    ] = 1.0,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the draw.")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Hold out a random development part of a corpus that has none.

    Each topic, and each type of entity and chunk, has its share in both parts. Docs with the same
    words stay together, and so do docs with the same doc.user_data["group"].
    """
    import random

    from spacy.tokens import DocBin
    from spacy.vocab import Vocab

    from ..converters.formats import check_output
    from ..corpus.files import load_doc_bin
    from ..corpus.hold_out import hold_out, labels_of
    from ..progress import progress
    from ..safe_files import write_bytes

    if not input_path.is_file():
        raise ValueError(f"There is no file {input_path}. Check the path.")
    if not 0 < fraction < 1:
        raise ValueError(f"--fraction {fraction} must be between 0 and 1.")
    if not 0 < sample <= 1:
        raise ValueError(f"--sample {sample} must be more than 0 and at most 1.")
    outputs = [check_output(path, [input_path]) for path in (train_path, dev_path)]
    if outputs[0] == outputs[1]:
        raise ValueError(f"TRAIN and DEV are both {outputs[0]}. Give them different names.")
    check_is_free(*outputs, overwrite=overwrite)
    doc_bin = load_doc_bin(input_path)
    docs = list(progress(doc_bin.get_docs(Vocab()), "Splitting", total=len(doc_bin)))
    if len(docs) < 2:
        raise ValueError(f"{input_path} has {len(docs)} docs; a split needs at least 2 docs.")
    held_out = hold_out(docs, fraction, seed)
    rest = [i for i in range(len(docs)) if i not in held_out]
    kept = set(random.Random(seed).sample(rest, max(1, round(sample * len(rest)))))
    for path, chosen in zip(outputs, (kept, held_out)):
        part = [doc for i, doc in enumerate(docs) if i in chosen]
        write_bytes(path, DocBin(docs=part, store_user_data=True).to_bytes())
    left_out = len(docs) - len(kept) - len(held_out)
    typer.echo(
        f"{input_path}: {len(kept)} docs -> {train_path}, {len(held_out)} docs -> {dev_path}, "
        f"{left_out} left out by --sample"
    )
    parts = [{label for i in part for label in labels_of(docs[i])} for part in (kept, held_out)]
    for path, labels in zip((train_path, dev_path), parts):
        if lacking := sorted(set.union(*parts) - labels):
            typer.echo(f"{path} has no example of: {', '.join(lacking)}")
    say_next("multitask", "look", train_path, dev_path)
