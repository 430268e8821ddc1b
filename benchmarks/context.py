"""What document context is worth for entities: training on whole documents, on sentences, on both.

Some training documents of CoNLL-03 are kept whole and cut into sentences. "both" draws half of the
docs of either kind for each epoch, so that all settings see as many words. The last weights are
scored on the development part, whole and by sentences: who trains on documents alone may do worse
on sentences that come alone.

Example: python -m benchmarks.context --json benchmarks/results/context.json
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

import spacy
import torch
from spacy.tokens import DocBin

from spacy_multitask.converters import convert
from spacy_multitask.evaluation.evaluate import evaluate

from .accuracy import train_last
from .common import Runs, about, arguments, packaged_encoder
from .craft import make_config

CUTS = ("documents", "sentences")
# Setting -> what it trains on.
SETTINGS: dict[str, tuple[str, ...]] = {**{cut: (cut,) for cut in CUTS}, "both": CUTS}


def convert_corpus(source: Path, folder: Path, fraction: float) -> None:
    """Write documents-train.spacy, sentences-train.spacy and so on."""
    for part, name, sample in (("train", "eng.train.gz", fraction), ("dev", "eng.testa.gz", 1.0)):
        convert("conll03", source / name, folder / f"documents-{part}.spacy", sample=sample)
        docs = DocBin().from_disk(folder / f"documents-{part}.spacy")
        docs = docs.get_docs(spacy.blank("en").vocab)
        cut = [sentence.as_doc() for doc in docs for sentence in doc.sents]
        DocBin(docs=cut, store_user_data=True).to_disk(folder / f"sentences-{part}.spacy")


def run(encoder: str, folder: Path, setting: str, seed: int, epochs: int) -> dict[str, float]:
    """RETURNS (Dict[str, float]): Entity F1 on the development part, by how it was cut."""
    config = make_config(encoder, folder, seed, epochs, ("ner",), {})
    config["training"]["batcher"]["max_words"] = 200
    cuts = SETTINGS[setting]
    config["corpora"]["train"]["corpora"] = {
        cut: {"path": str(folder / f"{cut}-train.spacy"), "sample": 1 / len(cuts) % 1}
        for cut in cuts
    }
    dev = {cut: str(folder / f"{cut}-dev.spacy") for cut in CUTS}
    config["corpora"]["dev"]["corpora"] = {cut: {"path": path} for cut, path in dev.items()}
    with tempfile.TemporaryDirectory() as out:
        nlp, seconds = train_last(config, Path(out))
        scores = evaluate(nlp, dev)
    return {"seconds": seconds, **{cut: round(scores[cut]["ents_f"], 4) for cut in CUTS}}


def summarize(runs: dict[str, dict[str, dict]]) -> dict:
    """RETURNS (Dict): Mean scores by setting and by how the development part was cut."""
    return {
        "means": {
            setting: {cut: round(mean(r[cut] for r in by_seed.values()), 4) for cut in CUTS}
            for setting, by_seed in runs.items()
        }
    }


def as_markdown(results: dict) -> str:
    """RETURNS (str): The means as a table, in percent."""
    lines = [
        f"Entity F1 on the development part of CoNLL-03. {about(results['machine'])}",
        "",
        "| trained on | seeds | predicts documents | predicts sentences |",
        "|---|---|---|---|",
    ]
    for setting, means in results["means"].items():
        cells = " | ".join(f"{100 * means[cut]:.2f}" for cut in CUTS)
        lines.append(f"| {setting} | {len(results['runs'][setting])} | {cells} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/conll03"))
    parser.add_argument("--fraction", type=float, default=0.2, help="Of the training documents.")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    encoder = args.encoder or packaged_encoder()
    runs = Runs(args.json, summarize, as_markdown)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        convert_corpus(args.data, folder, args.fraction)
        for seed in args.seeds:
            for setting in SETTINGS:
                values: tuple[Any, ...] = (encoder, folder, setting, seed, args.epochs)
                runs.once((setting, str(seed)), run, *values)


if __name__ == "__main__":
    main()
