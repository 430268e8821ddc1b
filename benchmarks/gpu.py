"""Speed on a GPU: ours in bfloat16 with four heads, the bare encoder, the stock stack, training.

Needs no files: the encoder has the size of distilbert-base and random weights, the tokenizer and
the text are made here. The stock stack is measured where spacy-transformers is installed. Runs on
any CUDA machine with the extra "cuda12x", for some minutes; the median of three rounds counts, the
stock stack predicts a tenth of the docs. `--device cpu --tiny --docs 200` is for trying the script.

Example: python -m benchmarks.gpu --json benchmarks/results/gpu.json
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from thinc.api import set_gpu_allocator

from .common import HEADS, machine, pipeline, save

ROUNDS = 3
TAGS = ("NN", "NNP", "VBZ", "DT", "IN", "JJ", ".")


def make_words(n: int, rng: random.Random) -> list[str]:
    letters = "etaoinshrdlucmfwypvbgk"
    return ["".join(rng.choices(letters, k=rng.randint(2, 9))) for _ in range(n)]


def write_encoder(folder: Path, words: list[str], *, tiny: bool) -> str:
    """Save a distilbert-base-sized model with random weights and a WordPiece tokenizer."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import DistilBertConfig, DistilBertModel, PreTrainedTokenizerFast

    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=8000, special_tokens=specials)
    tokenizer.train_from_iterator([" ".join(words)], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(s, tokenizer.token_to_id(s)) for s in ("[CLS]", "[SEP]")],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=512,
        model_input_names=["input_ids", "attention_mask"],  # DistilBERT takes no more
    ).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2} if tiny else {}
    DistilBertModel(DistilBertConfig(vocab_size=30522, **sizes)).save_pretrained(folder)
    return str(folder)


def make_texts(words: list[str], n: int, rng: random.Random) -> list[list[str]]:
    return [[*rng.choices(words, k=rng.randint(5, 40)), "."] for _ in range(n)]


def examples_of(nlp, texts: list[list[str]]) -> list[Example]:
    made = []
    for i, words in enumerate(texts):
        doc = Doc(nlp.vocab, words=words, tags=[TAGS[len(w) % len(TAGS)] for w in words])
        doc.set_ents([Span(doc, 0, 1, label=("PER", "LOC", "ORG", "MISC")[i % 4])])
        doc.spans["np"] = [Span(doc, k, k + 2, label="NP") for k in range(0, len(words) - 2, 3)]
        doc.cats = {label: float(k == i % 4) for k, label in enumerate("ABCD")}
        made.append(Example(Doc(nlp.vocab, words=words), doc))
    return made


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def timed(function: Callable[[], object], rounds: int = 1) -> float:
    """RETURNS (float): Seconds until the device is done, the median of rounds."""
    seconds = []
    for _ in range(rounds):
        synchronize()
        started = time.perf_counter()
        function()
        synchronize()
        seconds.append(time.perf_counter() - started)
    return median(seconds)


def exhaust(docs) -> None:
    for _ in docs:
        pass


def bare_seconds(encoder: str, texts: list[list[str]], device: str, budget: int) -> float:
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(encoder).to(device).eval()
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    pieces = sorted(
        tokenizer(texts, is_split_into_words=True, truncation=True)["input_ids"], key=len
    )

    batches: list[list[list[int]]] = [[]]
    for ids in pieces:
        if batches[-1] and len(ids) * (len(batches[-1]) + 1) > budget:
            batches.append([])
        batches[-1].append(ids)

    def run() -> None:
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16):
            for batch in batches:
                rows = [torch.tensor(ids) for ids in batch]
                ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
                mask = torch.arange(ids.shape[1]) < torch.tensor([[len(row)] for row in batch])
                model(input_ids=ids.to(device), attention_mask=mask.long().to(device))

    run()
    return timed(run, ROUNDS)


def stock_pipeline(encoder: str, examples):
    listener = {
        "@architectures": "spacy-transformers.TransformerListener.v1",
        "grad_factor": 1.0,
        "pooling": {"@layers": "reduce_mean.v1"},
    }
    nlp = spacy.blank("en")
    model = {
        "@architectures": "spacy-transformers.TransformerModel.v3",
        "name": encoder,
        "get_spans": {
            "@span_getters": "spacy-transformers.strided_spans.v1",
            "window": 128,
            "stride": 96,
        },
    }
    nlp.add_pipe("transformer", config={"model": model})
    for factory in ("tagger", "ner", "textcat", "spancat_singlelabel"):
        default = nlp.get_factory_meta(factory).default_config["model"]
        if factory == "textcat":
            default = {"@architectures": "spacy.TextCatCNN.v2", "exclusive_classes": True}
        config = {"model": {**default, "tok2vec": listener}}
        if factory.startswith("spancat"):
            config["spans_key"] = "np"
        nlp.add_pipe(factory, config=config)
    return nlp, nlp.initialize(lambda: examples(nlp)[:200])


def train_seconds(nlp, sgd, examples: list[Example], size: int) -> float:
    batches = [examples[i : i + size] for i in range(0, len(examples), size)]
    nlp.update(batches[0], sgd=sgd)
    return timed(lambda: [nlp.update(batch, sgd=sgd) for batch in batches])


def ratios(results: dict) -> dict[str, float]:
    """RETURNS (Dict[str, float]): Ours over the others, of what has been measured."""
    pairs = (
        ("predict", "ours_bf16_docs", "bare_bf16"),
        ("predict", "ours_bf16_docs", "stock_docs"),
        ("train", "ours_bf16", "stock"),
    )
    return {
        f"{part}.{above} / {part}.{below}": round(results[part][above] / results[part][below], 2)
        for part, above, below in pairs
        if above in results[part] and below in results[part]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--docs", type=int, default=20_000)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--tiny", action="store_true", help="A tiny encoder, to try the script.")
    args = parser.parse_args()
    if args.device == "cuda":
        try:
            spacy.require_gpu()
        except ValueError as error:
            raise SystemExit(
                f"{error}. This needs a CUDA device and CuPy: "
                "pip install 'spacy_multitask[cuda12x]'"
            ) from error
        set_gpu_allocator("pytorch")  # as the configs do; else CuPy and PyTorch hold memory each
    rng = random.Random(0)
    vocabulary = make_words(20_000, rng)
    texts = make_texts(vocabulary, args.docs, rng)
    train_texts = texts[: min(2_000, args.docs)]
    stock_texts = texts[: max(1, args.docs // 10)]
    stock_train_texts = train_texts[:500]
    results: dict[str, Any] = {
        "machine": machine(),
        "device": torch.cuda.get_device_name() if args.device == "cuda" else "cpu",
        "unit": "words per second",
        "heads": list(HEADS),
        "predict": {},
        "train": {},
        "peak_gpu_mib": {},
    }

    def keep(part: str, system: str, texts: list[list[str]], seconds: float) -> None:
        results[part][system] = round(sum(map(len, texts)) / seconds)
        if args.device == "cuda":
            peak = torch.cuda.max_memory_allocated() / 2**20
            results["peak_gpu_mib"][f"{part}.{system}"] = round(peak)
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        results["ratios"] = ratios(results)
        save(results, args.json)

    def prediction(nlp: Language, batch_size: int, texts: list) -> float:
        """RETURNS (float): Seconds for raw texts, or for docs of pre-split words."""

        def run() -> None:
            docs = (t if isinstance(t, str) else Doc(nlp.vocab, words=t) for t in texts)
            exhaust(nlp.pipe(docs, batch_size=batch_size))

        run()  # warms up
        return timed(run, ROUNDS)

    with tempfile.TemporaryDirectory() as folder:
        encoder = write_encoder(Path(folder), vocabulary, tiny=args.tiny)
        budget = 65536 if args.device == "cuda" else 2048
        keep("predict", "bare_bf16", texts, bare_seconds(encoder, texts, args.device, budget))

        def examples(nlp: Language) -> list[Example]:
            return examples_of(nlp, train_texts)

        nlp, sgd = pipeline(encoder, examples, precision="bfloat16")
        keep("train", "ours_bf16", train_texts, train_seconds(nlp, sgd, examples(nlp), 64))
        raw = [" ".join(words) for words in texts]
        keep("predict", "ours_bf16_text", texts, prediction(nlp, 2000, raw))
        keep("predict", "ours_bf16_docs", texts, prediction(nlp, 2000, texts))
        try:
            import spacy_transformers  # noqa: F401
        except ImportError:
            print("spacy-transformers is not installed: the stock stack is left out")
            return
        del nlp, sgd
        stock, sgd = stock_pipeline(encoder, examples)
        keep("predict", "stock_docs", stock_texts, prediction(stock, 128, stock_texts))
        seconds = train_seconds(stock, sgd, examples_of(stock, stock_train_texts), 64)
        keep("train", "stock", stock_train_texts, seconds)


if __name__ == "__main__":
    main()
