"""Words per second of ours, the bare encoder, the stock stack and Flair, in one run.

All predict the same sentences with the same weights: pre-split words, four heads (Flair's
tutorial has two). Ours and the bare encoder take turns in one process, and the median counts, as
the machine may be busy otherwise. The stock stack is spacy-transformers with spaCy's own heads.

Example: python -m benchmarks.speed --json benchmarks/results/speed.json
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import spacy
import torch
from spacy.tokens import Doc
from transformers import AutoModel, AutoTokenizer

from .common import (
    HEADS,
    about,
    arguments,
    flair_python,
    machine,
    packaged_encoder,
    peer,
    pipeline,
    save,
    test_words,
    training_examples,
)

BUDGET = 2048


def bare_forward(model, pieces: list[list[int]], autocast: bool) -> float:
    """RETURNS (float): Seconds for the encoder alone on padded, length-sorted batches."""
    started = time.perf_counter()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        batch: list[list[int]] = []
        for ids in [*sorted(pieces, key=len), None]:
            if batch and (ids is None or len(ids) * (len(batch) + 1) > BUDGET):
                width = len(batch[-1])
                padded = torch.zeros(len(batch), width, dtype=torch.long)
                mask = torch.zeros_like(padded)
                for row, sequence in enumerate(batch):
                    padded[row, : len(sequence)] = torch.tensor(sequence)
                    mask[row, : len(sequence)] = 1
                model(input_ids=padded, attention_mask=mask)
                batch = []
            if ids is not None:
                batch.append(ids)
    return time.perf_counter() - started


def predict_seconds(nlp, words: list[list[str]]) -> float:
    docs = [Doc(nlp.vocab, words=sentence) for sentence in words]
    started = time.perf_counter()
    # The bare encoder sorts all sentences by length, too.
    for _ in nlp.pipe(docs, batch_size=4096):
        pass
    return time.perf_counter() - started


def train_speed(encoder: str, samples: Path, precision: str, n_sents: int, max_steps: int):
    """RETURNS (Tuple[float, Language]): Words per second of `nlp.update`, and the pipeline."""
    nlp, sgd = pipeline(encoder, lambda nlp: training_examples(nlp, samples), precision=precision)
    examples = training_examples(nlp, samples)
    batches = [examples[i : i + n_sents] for i in range(0, len(examples), n_sents)][:max_steps]
    nlp.update(batches[0], sgd=sgd)
    started = time.perf_counter()
    for batch in batches[1:]:
        nlp.update(batch, sgd=sgd)
    n_words = sum(len(eg.x) for batch in batches[1:] for eg in batch)
    return n_words / (time.perf_counter() - started), nlp


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", type=Path, default=Path("../shared/peers"))
    parser.add_argument("--skip-peers", action="store_true")
    parser.add_argument("--flair-venv", type=Path, default=Path(".venv-flair"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    encoder = args.encoder or packaged_encoder()
    words = test_words(args.samples)
    n_words = sum(map(len, words))

    train = {}
    train["ours_fp32"], _ = train_speed(encoder, args.samples, "float32", 4, 60)
    train["ours_bf16"], _ = train_speed(encoder, args.samples, "bfloat16", 4, 120)
    train["ours_best"], nlp = train_speed(encoder, args.samples, "bfloat16", 32, 40)

    tokenizer = AutoTokenizer.from_pretrained(encoder)
    pieces = tokenizer(words, is_split_into_words=True, truncation=True)["input_ids"]
    model = AutoModel.from_pretrained(encoder).eval()
    seconds: dict[str, list[float]] = {}
    one_head, _ = pipeline(
        encoder, lambda nlp: training_examples(nlp, args.samples), heads=("tagger",)
    )
    with tempfile.TemporaryDirectory() as folder:
        nlp.to_disk(Path(folder) / "model")
        ours = {
            "ours_fp32": spacy.load(
                Path(folder) / "model", config={"components.transformer.precision": "float32"}
            ),
            "ours_bf16": nlp,
            "ours_fp32_one_head": one_head,
        }
        quantized = quantize(Path(folder))
        if quantized is not None:
            ours["ours_int8"] = quantized
        for round_ in range(args.rounds + 1):
            runs = {name: predict_seconds(pipe, words) for name, pipe in ours.items()}
            runs["bare_fp32"] = bare_forward(model, pieces, False)
            runs["bare_bf16"] = bare_forward(model, pieces, True)
            if round_:  # the first one warms up
                for name, value in runs.items():
                    seconds.setdefault(name, []).append(value)
    predict = {name: n_words / median(values) for name, values in seconds.items()}

    def save_so_far() -> None:
        """After each part, since the peers take minutes and may fail."""
        results = {
            "machine": machine(),
            "unit": "words per second",
            "words": n_words,
            "heads": list(HEADS),
            "predict": {name: round(value) for name, value in predict.items()},
            "train": {name: round(value) for name, value in train.items()},
            "ratios": ratios(predict, train),
        }
        save(results, args.json, as_markdown(results))

    save_so_far()
    if args.skip_peers:
        return
    options = ("--encoder", encoder, "--samples", args.samples)
    stock = peer(sys.executable, args.peers / "stock_spacy_speed.py", *options)
    predict["stock"] = stock["predict_words_per_s"]
    train["stock"] = stock["train_words_per_s"]
    save_so_far()
    flair = peer(
        flair_python(args.flair_venv),
        args.peers / "flair_multitask.py",
        "syntax",
        *options,
        "--epochs",
        1,
    )
    predict["flair"] = flair["predict_words_per_s"]
    train["flair"] = flair["train_words"] * flair["epochs"] / flair["fit_seconds"]
    save_so_far()


def quantize(folder: Path):
    """RETURNS (Optional[Language]): The pipeline in int8, where ONNX Runtime is installed."""
    try:
        import onnxruntime  # noqa: F401

        from spacy_multitask.encoder.quantize import quantize
    except ImportError:
        return None
    quantize(folder / "model", folder / "int8")
    return spacy.load(folder / "int8")


WANTED = {
    "predict.ours_fp32 / predict.bare_fp32": 0.93,
    "predict.ours_bf16 / predict.bare_bf16": 0.85,
    "predict.ours_fp32 / predict.flair": 3.4,
    "predict.ours_fp32 / predict.stock": 3.5,
    "predict.ours_int8 / predict.flair": 10,
    "train.ours_bf16 / train.flair": 1.7,
    "train.ours_best / train.flair": 3.5,
    "train.ours_best / train.stock": 3.0,
    "predict.ours_fp32 / predict.ours_fp32_one_head": 0.93,
}


def ratios(predict: dict[str, float], train: dict[str, float]) -> dict[str, dict[str, float]]:
    values = {f"predict.{k}": v for k, v in predict.items()}
    values |= {f"train.{k}": v for k, v in train.items()}
    found = {}
    for ratio, wanted in WANTED.items():
        above, below = ratio.split(" / ")
        if above in values and below in values:
            found[ratio] = {"reached": round(values[above] / values[below], 2), "wanted": wanted}
    return found


def as_markdown(results: dict) -> str:
    """RETURNS (str): Speeds and ratios as tables."""
    lines = [
        f"Words per second. {about(results['machine'])}",
        "",
        "| | predict | train |",
        "|---|---|---|",
    ]
    predict, train = results["predict"], results["train"]
    for name in dict.fromkeys([*predict, *train]):
        lines.append(f"| {name} | {predict.get(name, '')} | {train.get(name, '')} |")
    lines += ["", "| ratio | reached | wanted |", "|---|---|---|"]
    for name, ratio in results["ratios"].items():
        lines.append(f"| {name} | {ratio['reached']} | {ratio['wanted']} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
