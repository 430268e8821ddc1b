r"""Words per second of a peer from raw text, and its peak memory. Run by benchmarks.speed.

Stands alone, since it runs in the peer's own virtual environment. The pipeline is the one of the
peer's script for pre-split words; its heads are not trained, which speed does not depend on.

Example: .venv-flair/bin/python benchmarks/peer_text.py flair ../shared/peers \
  --encoder DIR --samples ../shared/samples
"""

import argparse
import json
import resource
import sys
import time
import warnings
from importlib import metadata
from pathlib import Path

warnings.filterwarnings("ignore")


def flair_predict(args):
    """RETURNS (Callable): Predicts texts with the tutorial's two heads, tags and chunks."""
    import torch
    from flair.data import Sentence
    from flair.embeddings import TransformerWordEmbeddings
    from flair.nn.multitask import make_multitask_model_and_corpus
    from flair_multitask import tokens

    torch.set_num_threads(args.threads)
    embedding = TransformerWordEmbeddings(args.encoder, fine_tune=True)
    folders = (("ud", "pos"), ("chunk", "np"))
    pairs = [tokens(args.samples / name, label, embedding) for name, label in folders]
    model, _ = make_multitask_model_and_corpus(pairs)
    model.eval()
    return lambda texts: model.predict([Sentence(t) for t in texts], mini_batch_size=32)


def stock_predict(args):
    """RETURNS (Callable): Predicts texts with four of spaCy's heads."""
    import spacy
    import torch
    from stock_spacy_speed import HEADS, example, pipeline_config, sentences

    torch.set_num_threads(args.threads)
    config = spacy.Config(pipeline_config(args.encoder, list(HEADS)))
    nlp = spacy.util.load_model_from_config(config, auto_fill=True)
    train = [
        example(nlp, rows, i) for i, rows in enumerate(sentences(args.samples / "ud/train.txt"))
    ]
    nlp.initialize(lambda: train)
    return lambda texts: [None for _ in nlp.pipe(texts, batch_size=128)]


def peak_mib():
    """RETURNS (float): As in benchmarks.common; the peer's environment lacks what that imports."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.open() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


PREDICT = {"flair": flair_predict, "stock": stock_predict}
PACKAGES = {"flair": ("flair", "torch", "transformers"), "stock": ("spacy-transformers", "torch")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("system", choices=list(PREDICT))
    parser.add_argument("peers", type=Path)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--samples", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    sys.path.insert(0, str(args.peers))
    from bare_encoder_speed import sentences

    predict = PREDICT[args.system](args)
    words = [w for name in ("ud", "chunk") for w in sentences(args.samples / name / "test.txt.gz")]
    texts = [" ".join(sentence) for sentence in words]
    predict(texts[:200])
    started = time.perf_counter()
    predict(texts)
    seconds = time.perf_counter() - started
    report = {
        "predict_text_words_per_s": round(sum(map(len, words)) / seconds),
        "peak_mib": round(peak_mib()),
        "versions": {name: metadata.version(name) for name in PACKAGES[args.system]},
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
