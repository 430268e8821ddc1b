"""What the spaces before words are worth: tags of a small ModernBERT, by how words are cut.

Its byte-level tokenizer and its weights are trained here, on running text of AG News: whatever is
learned there is about pieces with the spaces that text has. Then it learns the tags of some
documents of UD English EWT, and is scored on others. Words are cut

- split: each by itself, so that none has a space before it, as 0.1.0 did with tokenizers of the
  kind of Qwen's and Llama 3's;
- text: as in running text, with the spaces that the treebank has.

And where training docs come without spaces, as from corpora in columns, and the scored ones are
running text:

- every: a space before each training word;
- guessed: the spaces that the encoder guesses.

Example: python -m benchmarks.spaces --json benchmarks/results/spaces.json
"""

from __future__ import annotations

import csv
import gzip
import tempfile
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import fix_random_seed
from torch import nn

from spacy_multitask.converters.conllu import read_conllu
from spacy_multitask.converters.report import ConversionReport
from spacy_multitask.encoder.pieces import PieceCache
from spacy_multitask.training.optimizer import make_adamw
from tests.encoder import hub_tokenizers
from tests.encoder.families import FAMILIES
from tests.encoder.hub_models import modernbert_config

from .common import Runs, arguments

WAYS = ("split", "text", "every", "guessed")
SIZES = {"hidden_size": 96, "intermediate_size": 192, "num_attention_heads": 4}
N_PIECES = 4000
MASKED = 0.15


def pretrain(folder: Path, texts: list[str], n_steps: int) -> None:
    """Train tokenizer and weights on running text, by masked pieces, and save them.

    n_steps (int): Batches of 32 stretches of 64 pieces.
    """
    from transformers import AutoModel, AutoTokenizer

    hub_tokenizers.TRAINING.texts = texts
    hub_tokenizers.TRAINING.n_pieces = N_PIECES
    family = replace(FAMILIES["modernbert"], config=modernbert_config(**SIZES))
    family.write(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder)
    torch.manual_seed(0)
    model.apply(model._init_weights)  # those of the tests are too large to learn from
    head = nn.Linear(SIZES["hidden_size"], len(tokenizer))
    encodings = tokenizer(texts, add_special_tokens=False)["input_ids"]
    ids = torch.tensor([piece for encoding in encodings for piece in encoding])
    rows = ids[: len(ids) // 64 * 64].view(-1, 64)
    optimizer = torch.optim.AdamW([*model.parameters(), *head.parameters()], lr=1e-3)
    for step in range(n_steps):
        batch = rows[torch.randint(len(rows), (32,))]
        masked = torch.rand(batch.shape) < MASKED
        hidden = model(input_ids=batch.masked_fill(masked, tokenizer.mask_token_id))
        logits = head(hidden.last_hidden_state[masked])
        loss = nn.functional.cross_entropy(logits, batch[masked])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 25 == 0:
            print(f"pretraining, step {step}: loss {loss.item():.2f}", flush=True)
    model.save_pretrained(folder)


def read_docs(path: Path, nlp: Language, n_docs: int) -> list[Doc]:
    """RETURNS (List[Doc]): The first documents, whole, with their spaces."""
    return list(islice(read_conllu(path, nlp, ConversionReport(), n_sents=0), n_docs))


def training_doc(doc: Doc, way: str, vocab: Any) -> Doc:
    """RETURNS (Doc): Its words, with the spaces that a way gives it."""
    spaces: list[bool] | None = [bool(token.whitespace_) for token in doc]
    if way == "every":
        spaces = [True] * (len(doc) - 1) + [False]  # the last one says that they are known
    elif way == "guessed":
        spaces = None
    return Doc(vocab, words=[token.text for token in doc], spaces=spaces)


def run(way: str, seed: int, encoder: str, training: list[Doc], test: list[Doc], n_epochs: int):
    """RETURNS (Dict[str, float]): Accuracy of tags, and pieces per word of the training docs."""
    fix_random_seed(seed)
    nlp = spacy.blank("en", vocab=training[0].vocab)
    model = {"@architectures": "spacy_multitask.Encoder.v1", "name": encoder}
    nlp.add_pipe("multitask_transformer", name="transformer", config={"model": model})
    nlp.add_pipe("multitask_tagger", name="tagger")
    examples = [Example(training_doc(doc, way, nlp.vocab), doc) for doc in training]
    sgd = make_adamw(learn_rate=5e-4, head_learn_rate=2e-3)
    nlp.initialize(lambda: examples, sgd=sgd)
    inner = nlp.get_pipe("transformer").shim.encoder
    if way == "split":
        inner.cache = PieceCache(inner.tokenizer, style="split")
    counts = inner.cache.pieces_of([example.predicted for example in examples]).counts
    order = np.random.default_rng(seed)
    for _ in range(n_epochs):
        shuffled = order.permutation(len(examples))
        for start in range(0, len(examples), 4):
            nlp.update([examples[i] for i in shuffled[start : start + 4]], sgd=sgd)
    pairs = [Example(training_doc(doc, "text", nlp.vocab), doc) for doc in test]
    scores = nlp.evaluate(pairs)
    return {
        "tag_acc": round(scores["tag_acc"], 4),
        "pieces_per_word": round(float(counts.mean()), 3),
    }


def summarize(found: dict) -> dict:
    return {
        "tag_acc": {
            way: round(mean(run["tag_acc"] for run in by_seed.values()), 4)
            for way, by_seed in found.items()
        }
    }


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--docs", type=int, default=80, help="Documents to train and to score on.")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--steps", type=int, default=200, help="Of pretraining.")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    runs = Runs(options.json, summarize)
    treebank = options.data / "ud_english_ewt"
    nlp = spacy.blank("en")  # docs of one vocab
    training = read_docs(treebank / "en_ewt-ud-train.conllu.gz", nlp, options.docs)
    test = read_docs(treebank / "en_ewt-ud-dev.conllu.gz", nlp, options.docs)
    with gzip.open(options.data / "ag_news" / "train_5k.csv.gz", "rt", encoding="utf8") as file:
        texts = [row[-1] for row in csv.reader(file)]
    with tempfile.TemporaryDirectory() as folder:
        pretrain(Path(folder), texts, options.steps)
        for seed in options.seeds:
            for way in WAYS:
                keys = (way, str(seed))
                runs.once(keys, run, way, seed, folder, training, test, options.epochs)


if __name__ == "__main__":
    main()
