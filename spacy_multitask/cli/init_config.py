"""The command `spacy multitask init-config`."""

from pathlib import Path
from typing import Annotated

import typer

from . import Overwrite, check_is_free, command, say_next


@command(
    "init-config",
    example="config.cfg --encoder distilbert-base-uncased "
    "--task pos:tagger=corpus/ud --task chunk:chunker=corpus/conll2000",
    takes_code=True,
)
def init_config_cli(
    output_path: Annotated[Path, typer.Argument(metavar="OUT", help="Config file to write.")],
    encoder: Annotated[
        str, typer.Option("--encoder", "-e", help="Folder or hub name of a pretrained encoder.")
    ],
    task: Annotated[
        list[str],
        typer.Option(
            "--task",
            "-t",
            metavar="NAME:KIND=PATH",
            help="Task and its corpus. Repeat it for more. KIND is tagger, chunker, ner, textcat, "
            "relations, spans, span_classifier, or one that another package registers. PATH is a "
            "folder with train.spacy and dev.spacy, or the beginning of PATH-train.spacy and "
            "PATH-dev.spacy.",
        ),
    ],
    gpu: Annotated[bool, typer.Option("--gpu", help="Choose sizes for a GPU.")] = False,
    lang: Annotated[str, typer.Option("--lang", "-l", help="Language of the tokenizer.")] = "en",
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs", help="Passes over the data; chosen by the size of the corpora if left out."
        ),
    ] = None,
    batch_words: Annotated[
        int | None,
        typer.Option("--batch-words", help="The most words in a batch, of all devices together."),
    ] = None,
    learn_rate: Annotated[
        float | None, typer.Option("--learn-rate", help="The highest learning rate of the encoder.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the training.")] = 0,
    force: Annotated[
        bool, typer.Option("--force", "-F", help="The same as --overwrite.", hidden=True)
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Write a training config for your tasks and corpora, with a plan of steps, time and memory."""
    from wasabi import msg, table

    from ..composing.composition import Composition, Sizes
    from ..composing.config import parse_task, write
    from ..composing.estimate import describe
    from ..safe_files import write_text
    from ..training.forecast import ALIGNS, HEADER

    check_is_free(output_path, overwrite=overwrite or force)
    composition = Composition(encoder, [parse_task(text) for text in task], gpu=gpu)
    chosen = {"epochs": epochs, "batch_words": batch_words, "learn_rate": learn_rate}
    text = write(composition, lang=lang, seed=seed, **chosen)
    given = {k: v for k, v in chosen.items() if v is not None}
    sizes = Sizes(**{**vars(composition.sizes()), **given})
    write_text(output_path, text)
    rows, summary = describe(composition, sizes)
    print(table(rows, header=HEADER, divider=True, aligns=ALIGNS))
    print(summary)
    msg.good(f"Saved to {output_path}")
    gpu_id = ("--gpu-id", "0") if gpu else ()
    say_next("multitask", "train", output_path, "--output", "training", *gpu_id)
