"""Entities and relations of CoNLL-04: one model for both, and two models one after the other.

Entities are strict F over spans and types; relations strict F over both spans, both types and
label. Relations are read off predicted entities. Settings were chosen on the dev part; the test
part is scored once, by the last weights. Results are saved after every run, and runs that the file
already holds are not repeated.

Example: python -m benchmarks.relations --seeds 0 1 2 --json benchmarks/results/relations.json
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Any

import spacy
import torch
from spacy.language import Language
from spacy.scorer import Scorer
from spacy.tokens import Doc, Span
from spacy.training.initialize import init_nlp
from spacy.training.loop import train
from spacy.util import load_config

from spacy_multitask.converters import convert
from spacy_multitask.corpus.reader import make_multi_corpus

from .common import Runs, arguments, packaged_encoder

CONFIG = Path(__file__).parents[1] / "configs" / "relations.cfg"
SCORES = ("ents_f", "rels_f", "rels_boundaries_f")
# Heads of the pipelines that annotate a doc in turn.
KINDS = {"joint": [["ner", "relations"]], "separate": [["ner"], ["relations"]]}


def fit(encoder: str, folder: Path, args, seed: int, heads: list[str]) -> Language:
    """RETURNS (Language): The encoder with these heads, trained."""
    config = load_config(CONFIG)
    config["paths"].update(encoder=encoder, corpus=str(folder))
    config["system"]["seed"] = seed
    for name in ("ner", "relations"):
        if name not in heads:
            del config["components"][name]
    config["nlp"]["pipeline"] = ["transformer", *heads]
    training = config["training"]
    training.update(max_epochs=args.epochs, eval_frequency=10**6)
    if len(heads) == 1:
        training["score_weights"] = {"ents_f" if heads == ["ner"] else "rels_f": 1.0}
    training["batcher"]["max_words"] = args.max_words
    training["optimizer"]["learn_rate"]["learn_rate"] = args.learn_rate
    training["optimizer"]["head_learn_rate"]["learn_rate"] = args.head_learn_rate
    with tempfile.TemporaryDirectory() as out:
        nlp = init_nlp(config)
        train(nlp, Path(out), stdout=io.StringIO(), stderr=sys.stderr)
        return spacy.load(Path(out) / "model-last")


def score(pipelines: list[Language], path: Path) -> dict[str, float]:
    """RETURNS (Dict[str, float]): Scores of pipelines that annotate the same docs in turn."""
    reader = make_multi_corpus({"c": {"path": str(path)}})
    examples = list(reader(pipelines[0]))
    scores: dict[str, float] = {}
    for nlp in pipelines:
        for eg in examples:
            # The next pipeline has another vocab, but the same strings in its docs.
            doc = Doc(nlp.vocab, words=[t.text for t in eg.predicted])
            doc.set_ents([Span(doc, e.start, e.end, label=e.label_) for e in eg.predicted.ents])
            eg.predicted = nlp(doc)
        scores.update(Scorer(nlp).score(examples))
    return {name: scores[name] for name in SCORES}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--corpus", type=Path, default=Path("../shared/data/conll04"))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--max-words", type=int, default=100)
    parser.add_argument("--learn-rate", type=float, default=3e-4)
    parser.add_argument("--head-learn-rate", type=float, default=3e-3)
    parser.add_argument("--only", nargs="+", default=list(KINDS), choices=list(KINDS))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    encoder = args.encoder or packaged_encoder()
    settings = {k: getattr(args, k) for k in ("epochs", "max_words", "learn_rate")}
    runs = Runs(args.json, lambda found: {"settings": settings, **summarize(found)})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("train", "dev", "test"):
            convert("conll04", args.corpus / f"{part}.txt.gz", folder / f"relations-{part}.spacy")
        for kind in args.only:
            for seed in args.seeds:
                runs.once((kind, str(seed)), run, KINDS[kind], encoder, folder, args, seed)


def run(groups: list[list[str]], encoder: str, folder: Path, args: Any, seed: int) -> dict:
    """RETURNS (Dict[str, float]): Test scores, dev scores as "dev_" scores, and seconds."""
    started = time.perf_counter()
    pipelines = [fit(encoder, folder, args, seed, heads) for heads in groups]
    found: dict[str, float] = {"seconds": round(time.perf_counter() - started)}
    for part, prefix in (("dev", "dev_"), ("test", "")):
        for key, value in score(pipelines, folder / f"relations-{part}.spacy").items():
            found[prefix + key] = round(value, 4)
    return found


def summarize(runs: dict[str, dict[str, dict]]) -> dict:
    """RETURNS (Dict): Means and single scores by name; those of the joint model at the top."""
    summary: dict = {}
    for kind, found in runs.items():
        into = summary if kind == "joint" else summary.setdefault(kind, {})
        for scores in found.values():
            for name, value in scores.items():
                entry = into.setdefault(name, {"mean": 0.0, "seeds": []})
                entry["seeds"].append(value)
                entry["mean"] = round(mean(entry["seeds"]), 4)
    return summary


if __name__ == "__main__":
    main()
