"""Speed on a GPU: ours in bfloat16 with four heads, the bare encoder, the stock stack, training.

Needs no files: the encoder has the size of distilbert-base and random weights, the tokenizer and
the text are made here. The stock stack is measured where spacy-transformers is installed. Runs on
any CUDA machine; `--device cpu` is for trying the script.

Example: python -m benchmarks.gpu --json benchmarks/results/gpu.json
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

import spacy
import torch
from spacy.tokens import Doc, Span
from spacy.training import Example

from .common import HEADS, machine, pipeline, save

TAGS = ("NN", "NNP", "VBZ", "DT", "IN", "JJ", ".")


def make_words(n: int, rng: random.Random) -> list[str]:
    letters = "etaoinshrdlucmfwypvbgk"
    return ["".join(rng.choices(letters, k=rng.randint(2, 9))) for _ in range(n)]


def write_encoder(folder: Path, words: list[str]) -> str:
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
    ).save_pretrained(folder)
    torch.manual_seed(0)
    DistilBertModel(DistilBertConfig(vocab_size=30522)).save_pretrained(folder)
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


def timed(function) -> float:
    synchronize()
    started = time.perf_counter()
    function()
    synchronize()
    return time.perf_counter() - started


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

    def run() -> None:
        start = 0
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16):
            while start < len(pieces):
                n = max(1, budget // max(1, len(pieces[min(start + 256, len(pieces) - 1)])))
                rows = [torch.tensor(ids) for ids in pieces[start : start + n]]
                ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
                mask = torch.nn.utils.rnn.pad_sequence(
                    [torch.ones_like(row) for row in rows], batch_first=True
                )
                model(input_ids=ids.to(device), attention_mask=mask.to(device))
                start += n

    timed(run)
    return timed(run)


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--docs", type=int, default=20_000)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    args = parser.parse_args()
    if args.device == "cuda":
        spacy.require_gpu()
    rng = random.Random(0)
    vocabulary = make_words(20_000, rng)
    texts = make_texts(vocabulary, args.docs, rng)
    n_words = sum(map(len, texts))
    train_texts = texts[: min(2_000, args.docs)]
    n_train = sum(map(len, train_texts))
    predict, train = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        encoder = write_encoder(Path(folder), vocabulary)
        budget = 65536 if args.device == "cuda" else 2048
        predict["bare_bf16"] = n_words / bare_seconds(encoder, texts, args.device, budget)

        nlp, sgd = pipeline(
            encoder, lambda nlp: examples_of(nlp, train_texts), precision="bfloat16"
        )
        train["ours_bf16"] = n_train / train_seconds(nlp, sgd, examples_of(nlp, train_texts), 64)
        raw = [" ".join(words) for words in texts]
        exhaust(nlp.pipe(raw[:1000], batch_size=1000))
        predict["ours_bf16_text"] = n_words / timed(lambda: exhaust(nlp.pipe(raw, batch_size=2000)))
        docs = [Doc(nlp.vocab, words=words) for words in texts]
        predict["ours_bf16_docs"] = n_words / timed(
            lambda: exhaust(nlp.pipe(docs, batch_size=2000))
        )
        try:
            import spacy_transformers  # noqa: F401
        except ImportError:
            print("spacy-transformers is not installed: the stock stack is left out")
        else:
            few = texts[: max(1, args.docs // 10)]
            stock, stock_sgd = stock_pipeline(encoder, lambda nlp: examples_of(nlp, train_texts))
            docs = [Doc(stock.vocab, words=words) for words in few]
            exhaust(stock.pipe([doc.copy() for doc in docs[:200]], batch_size=128))
            seconds = timed(lambda: exhaust(stock.pipe(docs, batch_size=128)))
            predict["stock_docs"] = sum(map(len, few)) / seconds
            seconds = train_seconds(stock, stock_sgd, examples_of(stock, train_texts[:500]), 64)
            train["stock"] = sum(map(len, train_texts[:500])) / seconds
    save(
        {
            "machine": machine(),
            "device": torch.cuda.get_device_name() if args.device == "cuda" else "cpu",
            "unit": "words per second",
            "heads": list(HEADS),
            "predict": {name: round(value) for name, value in predict.items()},
            "train": {name: round(value) for name, value in train.items()},
        },
        args.json,
    )


if __name__ == "__main__":
    main()
