"""Words per second of spacy-transformers with four of spaCy's own heads. Run by benchmarks.gpu.

Stands alone, since it runs where spacy-transformers is, which needs an older transformers. The
heads are not trained, which speed does not depend on.

Example: python benchmarks/gpu_stock.py --encoder DIR --texts texts.txt --device cuda
"""

import argparse
import json
import shutil
import tempfile
import time
import warnings
from importlib import metadata
from pathlib import Path

import spacy
from spacy.tokens import Doc, Span
from spacy.training import Example

warnings.filterwarnings("ignore")
BATCH = 1000  # docs; the transformer cuts its own batches
LABELS = ("A", "B", "C", "D")
SPANCAT = {
    "@architectures": "spacy.SpanCategorizer.v1",
    "reducer": {"@layers": "spacy.mean_max_reducer.v1", "hidden_size": 64},
    "scorer": {"@layers": "Softmax.v2"},
}
PARSER = {"@architectures": "spacy.TransitionBasedParser.v2", "state_type": "ner"}
HEADS = {
    "tagger": {"factory": "tagger", "model": {"@architectures": "spacy.Tagger.v2"}},
    "ner": {"factory": "ner", "model": {**PARSER, "hidden_width": 64, "use_upper": False}},
    "textcat": {
        "factory": "textcat",
        "model": {"@architectures": "spacy.TextCatCNN.v2", "exclusive_classes": True},
    },
    "spancat": {"factory": "spancat_singlelabel", "spans_key": "np", "model": SPANCAT},
}


def build(encoder, is_gpu):
    """RETURNS (Language): One encoder and four heads that listen to it."""
    listener = {
        "@architectures": "spacy-transformers.TransformerListener.v1",
        "grad_factor": 1.0,
        "pooling": {"@layers": "reduce_mean.v1"},
    }
    strides = {"@span_getters": "spacy-transformers.strided_spans.v1", "window": 128, "stride": 96}
    transformer = {
        "@architectures": "spacy-transformers.TransformerModel.v3",
        "name": str(encoder),
        "get_spans": strides,
        "mixed_precision": is_gpu,
    }
    components = {"transformer": {"factory": "transformer", "model": transformer}}
    for name, head in HEADS.items():
        components[name] = {**head, "model": {**head["model"], "tok2vec": listener}}
    config = {"nlp": {"lang": "en", "pipeline": list(components)}, "components": components}
    nlp = spacy.util.load_model_from_config(spacy.Config(config), auto_fill=True)
    nlp.initialize(lambda: [example(nlp, i) for i in range(40)])
    return nlp


def example(nlp, i):
    words = "The old town has two large schools .".split()
    label = LABELS[i % 4]
    doc = Doc(nlp.vocab, words=words, tags=[LABELS[(i + k) % 4] for k in range(len(words))])
    doc.set_ents([Span(doc, 0, 1, label=label)])
    doc.spans["np"] = [Span(doc, 0, 3, label=label)]
    doc.cats = {other: float(other == label) for other in LABELS}
    return Example(Doc(nlp.vocab, words=words), doc)


def readable(encoder, folder):
    """RETURNS (Path): A copy of the encoder whose tokenizer transformers 4 can read, too."""
    copied = Path(shutil.copytree(encoder, Path(folder) / "encoder"))
    path = copied / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf8"))
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    path.write_text(json.dumps(settings), encoding="utf8")
    return copied


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument(
        "--texts", type=Path, required=True, help="A sentence of words on each line."
    )
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    args = parser.parse_args()
    if args.device == "cuda":
        spacy.require_gpu()
    with tempfile.TemporaryDirectory() as folder:
        nlp = build(readable(args.encoder, folder), args.device == "cuda")
    words = [line.split() for line in args.texts.read_text(encoding="utf8").splitlines()]

    def speed(texts):
        best = float("inf")
        for _ in range(2):  # the first one warms up
            docs = [Doc(nlp.vocab, words=t) if isinstance(t, list) else t for t in texts]
            started = time.perf_counter()
            for _doc in nlp.pipe(docs, batch_size=BATCH):
                pass
            best = min(best, time.perf_counter() - started)
        return round(sum(map(len, words)) / best)

    found = {
        "text_words_per_s": speed([" ".join(sentence) for sentence in words]),
        "docs_words_per_s": speed(words),
        "versions": {x: metadata.version(x) for x in ("spacy-transformers", "transformers")},
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
