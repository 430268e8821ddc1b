"""What the measurements are made with: sizes of the samples, of the real corpora, of the encoder.

The samples are parts of the real corpora, as Flair's multitask tutorial takes them: a tenth, and a
hundredth of AG News. Of the real corpora the training parts are counted as project.yml has them,
with the rows of AG News that are at hand.

Example: python -m benchmarks.data --json benchmarks/results/data.json
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from transformers import AutoConfig

from spacy_multitask.converters import convert
from spacy_multitask.corpus.files import load_doc_bin

from .accuracy import TASKS, convert_samples
from .common import arguments, packaged_encoder, save

PARTS = ("train", "dev", "test")
# Task -> file, format, its options, part that project.yml holds out for development.
CORPORA: dict[str, tuple[str, str, dict, float]] = {
    "pos": ("ud_english_ewt/en_ewt-ud-train.conllu.gz", "conllu", {}, 0.0),
    "chunk": ("conll2000/train.txt.gz", "conll2000", {}, 0.1),
    "ner": ("conll03/eng.train.gz", "conll03", {"n_sents": 1}, 0.0),
    "topic": ("ag_news/train_5k.csv.gz", "ag_news", {"clean": True}, 0.1),
}
# https://huggingface.co/datasets/fancyzhx/ag_news: the whole training part is not at hand.
AG_NEWS_ROWS = 120_000


def samples(folder: Path) -> dict[str, dict[str, int]]:
    """RETURNS (Dict[str, Dict[str, int]]): Docs of each part, by task."""
    with tempfile.TemporaryDirectory() as name:
        convert_samples(folder, Path(name))
        return {
            task: {part: len(load_doc_bin(Path(name, f"{task}-{part}.spacy"))) for part in PARTS}
            for task in TASKS
        }


def corpora(folder: Path) -> dict[str, dict[str, int]]:
    """RETURNS (Dict[str, Dict[str, int]]): Docs of each training part, by task, and all that the
    corpus has for it and for what is held out."""
    found = {}
    with tempfile.TemporaryDirectory() as name:
        for task, (file, format, options, held_out) in CORPORA.items():
            report = convert(format, folder / file, Path(name, "train.spacy"), **options)
            train = report.docs - round(held_out * report.docs)
            found[task] = {"train": train, "all": report.docs}
    found["topic"]["all"] = AG_NEWS_ROWS
    return found


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    args = parser.parse_args()
    encoder = args.encoder or packaged_encoder()
    config = AutoConfig.from_pretrained(encoder)
    results = {
        "encoder": {"layers": config.num_hidden_layers, "width": config.hidden_size},
        "samples": samples(args.samples),
        "corpora": corpora(args.data),
    }
    save(results, args.json)


if __name__ == "__main__":
    main()
