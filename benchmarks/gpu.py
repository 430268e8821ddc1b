"""A verdict on a GPU, in minutes: is it right, how fast is it, what does it take.

Parts, the first ones first, each saved as soon as it is done:
right: predictions and gradients on CPU and GPU, and a training of the bundled samples that is
killed once; speed: the bare encoder, ours from text and from Docs, the share of the host, worker
processes, training, and spaCy's own heads on spacy-transformers, where there is a Python with it;
shapes: encoders of other sizes; memory: of prediction and training.

It needs no network: encoders have random weights, texts are the bundled samples or the lines of
`--texts`. On a bare machine with PyTorch, CuPy and transformers, `python -m benchmarks.carry`
brings the rest. `--device cpu --tiny` tries the script.

Example: python -m benchmarks.gpu --json benchmarks/results/gpu.json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc
from thinc.api import set_gpu_allocator

from .common import HEADS, machine, peer, pipeline, save
from .gpu_checks import check_heads, check_training, use
from .gpu_encoders import examples_of, flops_per_piece, read_texts, write_encoder

ROUNDS = 3
BATCH = 2000  # docs
SHAPES = ("deberta-v3-base", "xlm-roberta-large")
WANTED = {
    "text_words_per_s": 250_000,
    "docs_words_per_s": 500_000,
    "train_words_per_s": 70_000,
    "share_of_peak": 0.4,
    "text_times_as_fast": 10,
    "docs_times_as_fast": 10,
}
# Dense bfloat16 of cards, in 1e12 operations a second.
PEAKS = {"H100": 989, "H200": 989, "A100": 312, "L40": 181, "L4": 121, "A10": 125}


class Verdict:
    """Runs parts until the time is over, and saves after each.

    results (Dict): What they gave, by name; an error's text if they failed.
    """

    def __init__(self, args: argparse.Namespace):
        self.args = args
        self.started = time.perf_counter()
        name = torch.cuda.get_device_name() if args.device == "cuda" else "cpu"
        self.results: dict[str, Any] = {"machine": machine(), "device": name, "heads": list(HEADS)}

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started

    def part(self, name: str, run: Callable[[], dict[str, Any]]) -> None:
        if self.args.parts and name not in self.args.parts:
            return
        if self.seconds > 60 * self.args.minutes:
            self.results[name] = {"left_out": "the time was over"}
        else:
            started = self.seconds
            try:
                self.results[name] = run()
            except Exception:
                self.results[name] = {"error": traceback.format_exc()[-1500:]}
            self.results[name]["seconds"] = round(self.seconds - started, 1)
        self.results["verdict"] = verdict(self.results)
        save(self.results, self.args.json)


def verdict(results: dict[str, Any]) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): What was reached of what is wanted, where it was measured."""
    found: dict[str, Any] = {}
    for part in ("heads_are_right", "training_is_right"):
        if "is_right" in results.get(part, {}):
            found[part] = results[part]["is_right"]
    for name, wanted in WANTED.items():
        for part in ("predict", "train", "stock"):
            if name in results.get(part, {}):
                found[name] = {"reached": results[part][name], "wanted": wanted}
    return found


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def timed(function: Callable[[], object], rounds: int = ROUNDS) -> float:
    """RETURNS (float): Seconds until the device is done, the median of rounds after a first."""
    function()
    seconds = []
    for _ in range(rounds):
        synchronize()
        started = time.perf_counter()
        function()
        synchronize()
        seconds.append(time.perf_counter() - started)
    return median(seconds)


def peak_mib() -> int:
    """RETURNS (int): Most memory of the device since the last time it was asked."""
    if not torch.cuda.is_available():
        return 0
    found = torch.cuda.max_memory_allocated() / 2**20
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return round(found)


def predict(nlp: Language, texts: list, size: int = BATCH) -> None:
    docs = (t if isinstance(t, str) else Doc(nlp.vocab, words=t) for t in texts)
    for _ in nlp.pipe(docs, batch_size=size):
        pass


def encode_alone(nlp: Language, docs: list[Doc]) -> None:
    """Let the encoder work without heads."""
    encoder = nlp.get_pipe("transformer").shim.encoder
    for i in range(0, len(docs), BATCH):
        encoder.encode(docs[i : i + BATCH], is_train=False, precision="bfloat16")


def network_alone(nlp: Language, docs: list[Doc]) -> tuple[float, float]:
    """RETURNS (Tuple[float, float]): Seconds of the network for one batch whose inputs are there
    already, and operations that real pieces take."""
    encoder = nlp.get_pipe("transformer").shim.encoder
    network, inputs = encoder.network, []
    forward = network.forward

    def listen(*values: Any) -> torch.Tensor:
        inputs.append(values)
        return forward(*values)

    network.forward = listen
    encoder.encode(docs[:BATCH], is_train=False, precision="bfloat16")
    network.forward = forward

    def run() -> None:
        with torch.inference_mode(), torch.autocast(encoder.device.type, torch.bfloat16):
            for values in inputs:
                network(*values)

    real = sum(int(ids.numel() if mask is None else mask.sum()) for ids, _, mask, *_ in inputs)
    windows = sum(len(ids) for ids, *_ in inputs)
    return timed(run), real * flops_per_piece(encoder, real / max(1, windows))


def measure_prediction(nlp: Language, texts: list[list[str]]) -> dict[str, Any]:
    n_words = sum(map(len, texts))
    raw = [" ".join(words) for words in texts]
    peak_mib()
    found: dict[str, Any] = {}
    found["text_words_per_s"] = round(n_words / timed(lambda: predict(nlp, raw)))
    ours = timed(lambda: predict(nlp, texts))
    found["docs_words_per_s"] = round(n_words / ours)
    found["peak_mib"] = peak_mib()
    docs = [Doc(nlp.vocab, words=words) for words in texts]
    found["encoder_words_per_s"] = round(n_words / timed(lambda: encode_alone(nlp, docs)))
    seconds, flops = network_alone(nlp, docs)
    n_first = sum(map(len, texts[:BATCH]))
    found["network_words_per_s"] = round(n_first / seconds)
    found["host_share_of_time"] = round(max(0.0, 1 - seconds / n_first * n_words / ours), 3)
    found["tera_operations_per_s"] = round(flops / seconds / 1e12, 2)
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    peak = next((value for card, value in PEAKS.items() if card in name), None)
    if peak is not None:
        found["share_of_peak"] = round(flops / seconds / 1e12 / peak, 3)
    return found


def measure_training(
    nlp: Language, sgd: Any, texts: list[list[str]], sizes: tuple[int, ...]
) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): Words per second by words in a batch, and memory."""
    found: dict[str, Any] = {}
    for size in sizes:
        batches: list[list[list[str]]] = [[]]
        for words in texts:
            if sum(map(len, batches[-1])) + len(words) > size:
                batches.append([])
            batches[-1].append(words)
        examples = [examples_of(nlp, batch) for batch in batches[:20] if batch]
        losses: dict[str, float] = {}

        def run(examples=examples, losses=losses) -> None:
            for batch in examples:
                nlp.update(batch, sgd=sgd, losses=losses)
            nlp.get_pipe("transformer").settle()

        n_words = sum(len(eg.x) for batch in examples for eg in batch)
        peak_mib()
        found[f"batch_{size}"] = round(n_words / timed(run, 1))
        found[f"batch_{size}_peak_mib"] = peak_mib()
    found["train_words_per_s"] = found[f"batch_{sizes[-1]}"]
    return found


def measure_stock(encoder: str, texts: list[list[str]], folder: Path, ours: dict, args) -> dict:
    """RETURNS (Dict[str, Any]): Words per second of spaCy's own heads, and how many times as fast
    ours are."""
    python = args.stock
    if python is None and find_spec("spacy_transformers") is not None:
        python = sys.executable
    if python is None:
        return {"left_out": "no Python with spacy-transformers: --stock"}
    path = folder / "texts.txt"
    path.write_text("\n".join(map(" ".join, texts)), encoding="utf8")
    script = Path(__file__).with_name("gpu_stock.py")
    options = ("--encoder", encoder, "--texts", path, "--device", args.device)
    stock = peer(python, script, *options)
    found: dict[str, Any] = {"stock": stock}
    for kind in ("text", "docs"):
        if speed := ours.get(f"{kind}_words_per_s"):
            found[f"{kind}_times_as_fast"] = round(speed / stock[f"{kind}_words_per_s"], 2)
    return found


def measure_workers(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): Words per second of so many processes with one GPU."""
    found: dict[str, Any] = {}
    for n in (1, 2, 4, 8) if not args.tiny else (1, 2):
        go = folder / f"go-{n}"
        command = [sys.executable, "-m", "benchmarks.gpu", "--worker", folder / "model", go]
        command += ["--device", args.device, "--docs", args.docs]
        command += ["--texts", args.texts] if args.texts else []
        running = [
            subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
            for _ in range(n)
        ]
        for process in running:
            assert process.stdout is not None
            process.stdout.readline()  # it is ready
        go.touch()
        lines = [process.communicate()[0].splitlines()[-1] for process in running]
        found[str(n)] = sum(json.loads(line)["words_per_s"] for line in lines)
    return found


def work(args: argparse.Namespace) -> None:
    """Be a worker: load, say so, wait for the others, predict."""
    use(args.device)
    model, go = args.worker
    nlp = spacy.load(model, config={"components.transformer.precision": "bfloat16"})
    texts = read_texts(args.texts, args.docs)
    raw = [" ".join(words) for words in texts]
    predict(nlp, raw[:BATCH])
    print("ready", flush=True)
    while not Path(go).exists():
        time.sleep(0.01)
    started = time.perf_counter()
    predict(nlp, raw)
    seconds = time.perf_counter() - started
    print(json.dumps({"words_per_s": round(sum(map(len, texts)) / seconds)}))


def measure_shape(shape: str, texts: list[list[str]], folder: Path) -> dict[str, Any]:
    encoder = write_encoder(folder / shape, shape, texts)
    nlp, sgd = pipeline(encoder, lambda nlp: examples_of(nlp, texts[:200]), precision="bfloat16")
    seconds, flops = network_alone(nlp, [Doc(nlp.vocab, words=words) for words in texts])
    return {
        "docs_words_per_s": round(sum(map(len, texts)) / timed(lambda: predict(nlp, texts), 1)),
        "tera_operations_per_s": round(flops / seconds / 1e12, 2),
        **measure_training(nlp, sgd, texts[:1000], (2000,)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--docs", type=int, default=20_000)
    parser.add_argument("--texts", type=Path, help="File with a sentence of words on each line.")
    parser.add_argument("--minutes", type=float, default=6.0, help="Begin no part after these.")
    parser.add_argument("--parts", nargs="+", help="Names of parts; default: all.")
    parser.add_argument("--stock", help="Python with spacy-transformers; default: this, if it has.")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--tiny", action="store_true", help="A tiny encoder, to try the script.")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(args)
        return
    if args.device == "cuda":
        try:
            spacy.require_gpu()
        except ValueError as error:
            raise SystemExit(
                f"{error}. This needs a CUDA device and CuPy: "
                "pip install 'spacy_multitask[cuda12x]'"
            ) from error
        set_gpu_allocator("pytorch")  # as the configs do; else CuPy and PyTorch hold memory each
    texts = read_texts(args.texts, args.docs)
    devices = ("cpu", args.device)
    verdict_ = Verdict(args)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small = write_encoder(folder / "small", "tiny", texts)
        shape = "tiny" if args.tiny else "distilbert-base-uncased"
        encoder = write_encoder(folder / "encoder", shape, texts)
        verdict_.part("heads_are_right", lambda: check_heads(small, texts, folder, devices))
        use(args.device)
        nlp, sgd = pipeline(
            encoder, lambda nlp: examples_of(nlp, texts[:500]), precision="bfloat16"
        )
        nlp.to_disk(folder / "model")
        verdict_.part("predict", lambda: measure_prediction(nlp, texts))
        sizes = (500, 2000) if not args.tiny else (200,)
        verdict_.part("train", lambda: measure_training(nlp, sgd, texts[:4000], sizes))
        steps = 150 if not args.tiny else 12
        verdict_.part("training_is_right", lambda: check_training(small, folder, devices, steps))
        verdict_.part(
            "stock",
            lambda: measure_stock(
                encoder, texts, folder, verdict_.results.get("predict", {}), args
            ),
        )
        verdict_.part("workers", lambda: measure_workers(folder, args))
        for other in SHAPES if not args.tiny else ("tiny",):
            verdict_.part(
                f"shape {other}", lambda other=other: measure_shape(other, texts[:4000], folder)
            )


if __name__ == "__main__":
    main()
