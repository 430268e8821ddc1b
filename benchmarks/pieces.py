"""How many words get the pieces that they have in running text.

Tokenizers shaped like those of the hub are trained on the raw text of the treebank's training part
and asked about the words of its development part: how many get the same pieces as when the
tokenizer is given the whole text, by its offsets? "split" is how 0.1.0 asked, each word by itself;
"spaced" puts a space before each; "text" heeds the spaces that are there. "guessed" is given the
words alone, as from a corpus in columns, and guesses the spaces.

Example: python -m benchmarks.pieces --json benchmarks/results/pieces.json
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import spacy
import transformers
from spacy.tokens import Doc

from spacy_multitask.converters.conllu import read_conllu
from spacy_multitask.converters.report import ConversionReport
from spacy_multitask.encoder.contexts import STYLES
from spacy_multitask.encoder.pieces import PieceCache
from spacy_multitask.encoder.tokenizer import load_tokenizer
from tests.encoder import hub_tokenizers
from tests.encoder.families import FAMILIES
from tests.encoder.hub_models import write_tokenizer

from .common import Runs, about, arguments

WAYS = ("split", "spaced", "guessed", "text")
# One family for each kind of tokenizer.
KINDS = (
    "bert",
    "bert_cased",
    "roberta",
    "modernbert",
    "eurobert",
    "qwen3",
    "gemma3",
    "llama2",
    "xlm_roberta",
    "albert",
    "deberta_v3",
    "t5",
)


def read_docs(path: Path) -> list[Doc]:
    """RETURNS (List[Doc]): Whole documents with their spaces."""
    report = ConversionReport()
    return list(read_conllu(path, spacy.blank("en"), report, n_sents=0))


def pieces_in_text(tokenizer: Any, doc: Doc) -> list[list[int]]:
    """Give each word the pieces whose last character is in it, or is the space before it.

    RETURNS (List[List[int]]): Ids for each word.
    """
    encoding = tokenizer(doc.text, add_special_tokens=False, return_offsets_mapping=True)
    ends = np.array([token.idx + len(token) for token in doc])
    found: list[list[int]] = [[] for _ in doc]
    for piece, (start, end) in zip(encoding["input_ids"], encoding["offset_mapping"]):
        word = int(np.searchsorted(ends, max(start, end - 1), side="right"))
        if word < len(found):
            found[word].append(piece)
    return found


def share_right(cache: PieceCache, docs: list[Doc], right: list[list[list[int]]]) -> float:
    """RETURNS (float): Share of words that get the right pieces."""
    n_right = 0
    for doc, expected in zip(docs, right):
        pieces = cache.pieces_of([doc])
        ends = pieces.starts + pieces.counts
        n_right += sum(
            pieces.ids[start:end].tolist() == ids
            for start, end, ids in zip(pieces.starts, ends, expected)
        )
    return round(n_right / sum(map(len, docs)), 4)


def run(kind: str, docs: list[Doc]) -> dict[str, float]:
    """RETURNS (Dict[str, float]): Share of words that are right, by style."""
    with tempfile.TemporaryDirectory() as folder:
        write_tokenizer(Path(folder), FAMILIES[kind])
        tokenizer = load_tokenizer(folder)
        is_byte_level = "ByteLevel" in str(tokenizer.backend_tokenizer.pre_tokenizer)
        options = {"add_prefix_space": True} if is_byte_level else {}  # as 0.1.0 did
        old = transformers.AutoTokenizer.from_pretrained(folder, **options)
    right = [pieces_in_text(tokenizer, doc) for doc in docs]
    found = {
        style: share_right(
            PieceCache(old if style == "split" else tokenizer, style=style), docs, right
        )
        for style in reversed(STYLES)
    }
    bare = [Doc(doc.vocab, words=[token.text for token in doc]) for doc in docs]
    return {**found, "guessed": share_right(PieceCache(tokenizer), bare, right)}


def as_markdown(results: dict) -> str:
    rows = [
        f"| {FAMILIES[kind].title} | "
        + " | ".join(f"{100 * shares[way]:.1f}" for way in WAYS)
        + " |"
        for kind, shares in results["runs"].items()
    ]
    return "\n".join(
        [
            "Words of the development part of UD English EWT that get the pieces of running text, "
            f"in per cent. {about(results['machine'])}",
            "",
            "| tokenizer | by themselves, as in 0.1.0 | all with a space | spaces guessed | as "
            "they stand |",
            "|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/ud_english_ewt"))
    parser.add_argument("--pieces", type=int, default=8000, help="Size of the vocabularies.")
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    options = parser.parse_args()
    training = read_docs(options.data / "en_ewt-ud-train.conllu.gz")
    hub_tokenizers.TRAINING.texts = [doc.text for doc in training]
    hub_tokenizers.TRAINING.n_pieces = options.pieces
    docs = read_docs(options.data / "en_ewt-ud-dev.conllu.gz")
    runs = Runs(options.json, lambda found: {}, as_markdown)
    for kind in options.kinds:
        runs.once((kind,), run, kind, docs)


if __name__ == "__main__":
    main()
