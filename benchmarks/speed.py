"""Words per second of ours, the bare encoder, the stock stack and Flair, in one run.

All predict the same sentences with the same weights, as pre-split words and as raw text, with four
heads (Flair's tutorial has two). Ours and the bare encoder take turns in one process, and the
median counts, as the machine may be busy otherwise. The stock stack is spacy-transformers with
spaCy's own heads. Words of raw text are counted as the pre-split ones, so that tokenizers make no
difference. Peak memory is that of a process that loads a system and predicts, from raw text. Where
the processor is slow in bfloat16, nothing is measured in it.

Example: python -m benchmarks.speed --json benchmarks/results/speed.json
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc
from transformers import AutoModel, AutoTokenizer

from spacy_multitask.encoder.encode import computes_bfloat16

from .common import (
    HEADS,
    about,
    arguments,
    flair_python,
    machine,
    packaged_encoder,
    peak_mib,
    peer,
    pipeline,
    save,
    stock_python,
    test_words,
    training_examples,
)

BUDGET = 2048
# Without AVX-512 a CPU is many times slower in bfloat16 than in float32.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    HAS_HALF = computes_bfloat16("cpu")
PRECISION = {"ours_fp32": "float32"} | ({"ours_bf16": "bfloat16"} if HAS_HALF else {})
# Whether the bare encoder runs under autocast to bfloat16.
BARE = {"bare_fp32": False} | ({"bare_bf16": True} if HAS_HALF else {})


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


def predict_seconds(nlp: Language, texts: list) -> float:
    """RETURNS (float): Seconds for texts, or for docs of pre-split words."""
    docs = [t if isinstance(t, str) else Doc(nlp.vocab, words=t) for t in texts]
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


def bare_pieces(encoder: str, words: list[list[str]]) -> list[list[int]]:
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    return tokenizer(words, is_split_into_words=True, truncation=True)["input_ids"]


def predict_alone(system: str, folder: str, words: list[list[str]]) -> None:
    """Load one system and let it predict all there is, for the sake of its peak memory."""
    if system in BARE:
        model = AutoModel.from_pretrained(folder).eval()
        bare_forward(model, bare_pieces(folder, words), BARE[system])
        return
    config = {}
    if system != "ours_int8":
        config["components.transformer.precision"] = PRECISION[system]
    predict_seconds(spacy.load(folder, config=config), [" ".join(sentence) for sentence in words])


def memory(system: str, folder: object, args: argparse.Namespace) -> int:
    """RETURNS (int): Peak memory of a system in a process of its own, MiB."""
    options = ("--samples", args.samples, "--threads", args.threads)
    module = ("-m", "benchmarks.speed", "--memory", system, folder)
    return peer(sys.executable, *module, *options)["peak_mib"]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", type=Path, default=Path("../shared/peers"))
    parser.add_argument("--skip-peers", action="store_true")
    parser.add_argument("--flair-venv", type=Path, default=Path(".venv-flair"))
    parser.add_argument("--stock-venv", type=Path, default=Path(".venv-stock"))
    parser.add_argument("--memory", nargs=2, metavar=("SYSTEM", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    words = test_words(args.samples)
    if args.memory:
        predict_alone(*args.memory, words)
        print(json.dumps({"peak_mib": round(peak_mib())}))
        return
    encoder = args.encoder or packaged_encoder()
    n_words = sum(map(len, words))
    texts = [" ".join(sentence) for sentence in words]
    results: dict[str, Any] = {
        "machine": machine(),
        "unit": "words per second",
        "words": n_words,
        "heads": list(HEADS),
        **{part: {} for part in ("predict", "predict_text", "train", "peak_mib")},
        "peers": {},
    }
    predict, predict_text, train = (results[p] for p in ("predict", "predict_text", "train"))

    def save_so_far() -> None:
        """After each part, since the peers take minutes and may fail."""
        results["ratios"] = ratios(results)
        save(results, args.json, as_markdown(results))

    def speed(system: str, *options: Any) -> Language:
        words_per_s, nlp = train_speed(encoder, args.samples, *options)
        train[system] = round(words_per_s)
        return nlp

    speed("ours_fp32", "float32", 4, 60)
    if HAS_HALF:
        speed("ours_bf16", "bfloat16", 4, 120)
    nlp = speed("ours_best", "bfloat16" if HAS_HALF else "float32", 32, 40)
    save_so_far()

    pieces = bare_pieces(encoder, words)
    model = AutoModel.from_pretrained(encoder).eval()
    one_head, _ = pipeline(
        encoder, lambda nlp: training_examples(nlp, args.samples), heads=("tagger",)
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        nlp.to_disk(folder / "model")
        ours = {
            system: spacy.load(
                folder / "model", config={"components.transformer.precision": precision}
            )
            for system, precision in PRECISION.items()
        }
        ours["ours_fp32_one_head"] = one_head
        quantized = quantize(folder)
        if quantized is not None:
            ours["ours_int8"] = quantized
        bare = {
            system: partial(bare_forward, model, pieces, autocast)
            for system, autocast in BARE.items()
        }
        seconds = time_in_turn(ours, bare, words, texts, args.rounds)
        for (part, system), values in seconds.items():
            results[part][system] = round(n_words / median(values))
        save_so_far()
        folders = {**dict.fromkeys(PRECISION, folder / "model"), **dict.fromkeys(BARE, encoder)}
        if quantized is not None:
            folders["ours_int8"] = folder / "int8"
        for system, path in folders.items():
            results["peak_mib"][system] = memory(system, path, args)
    save_so_far()
    if args.skip_peers:
        return
    options = ("--encoder", encoder, "--samples", args.samples)
    here = Path(__file__).with_name("peer_text.py")

    def from_text(system: str, python: str) -> None:
        threads = ("--threads", args.threads)
        found = peer(python, here, system, args.peers.absolute(), *options, *threads)
        predict_text[system] = found["predict_text_words_per_s"]
        results["peak_mib"][system] = found["peak_mib"]
        results["peers"][system] = found["versions"]
        save_so_far()

    python = stock_python(args.stock_venv)
    stock = peer(python, args.peers / "stock_spacy_speed.py", *options)
    predict["stock"] = stock["predict_words_per_s"]
    train["stock"] = stock["train_words_per_s"]
    from_text("stock", python)
    python = flair_python(args.flair_venv)
    script = args.peers / "flair_multitask.py"
    flair = peer(python, script, "syntax", *options, "--epochs", 1)
    predict["flair"] = round(flair["predict_words_per_s"])
    train["flair"] = round(flair["train_words"] * flair["epochs"] / flair["fit_seconds"])
    from_text("flair", python)


def time_in_turn(
    ours: dict[str, Language],
    bare: dict[str, Callable[[], float]],
    words: list[list[str]],
    texts: list[str],
    rounds: int,
) -> dict[tuple[str, str], list[float]]:
    """RETURNS (Dict): Seconds of each round by part and system; one after the other, so that a busy
    machine is busy for all."""
    seconds: dict[tuple[str, str], list[float]] = {}
    for round_ in range(rounds + 1):
        runs = {}
        for system, pipe in ours.items():
            runs["predict", system] = predict_seconds(pipe, words)
            runs["predict_text", system] = predict_seconds(pipe, texts)
        for system, forward in bare.items():
            runs["predict", system] = forward()
        for key, value in runs.items() if round_ else ():  # the first one warms up
            seconds.setdefault(key, []).append(value)
    return seconds


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


def ratios(results: dict) -> dict[str, dict[str, float]]:
    """RETURNS (Dict[str, Dict[str, float]]): What was reached of WANTED, where it is measured."""
    found = {}
    for ratio, wanted in WANTED.items():
        above, below = (name.split(".") for name in ratio.split(" / "))
        if above[1] in results[above[0]] and below[1] in results[below[0]]:
            reached = results[above[0]][above[1]] / results[below[0]][below[1]]
            found[ratio] = {"reached": round(reached, 2), "wanted": wanted}
    return found


def as_markdown(results: dict) -> str:
    """RETURNS (str): Speeds, memory and ratios as tables."""
    peers = "; ".join(
        f"{system}: {', '.join(f'{name} {version}' for name, version in versions.items())}"
        for system, versions in results["peers"].items()
    )
    columns = ("predict", "predict_text", "train", "peak_mib")
    lines = [
        f"Words per second and MiB. {about(results['machine'])}{peers and f' Peers: {peers}.'}",
        "",
        "| | predict, pre-split words | predict, raw text | train | peak memory, MiB |",
        "|---|---|---|---|---|",
    ]
    for system in dict.fromkeys(name for column in columns for name in results[column]):
        cells = (str(results[column].get(system, "")) for column in columns)
        lines.append(f"| {system} | {' | '.join(cells)} |")
    lines += ["", "| ratio | reached | wanted |", "|---|---|---|"]
    for name, ratio in results["ratios"].items():
        lines.append(f"| {name} | {ratio['reached']} | {ratio['wanted']} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
