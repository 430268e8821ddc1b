"""Encoders of known shapes with random weights, and real words, for `benchmarks.gpu`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example

ASSETS = Path(__file__).parents[1] / "assets"
TAGS = ("NN", "NNP", "VBZ", "DT", "IN", "JJ", ".")
BIG_VOCABULARY = 250_002  # of XLM-R: a large embedding is part of the cost


def read_texts(path: Path | None, n: int) -> list[list[str]]:
    """RETURNS (List[List[str]]): Sentences as words: the lines of a file, or the bundled samples;
    over again if there are too few."""
    if path is not None:
        found = [line.split() for line in path.read_text(encoding="utf8").splitlines()]
    else:
        found = []
        for name in ("chunk", "ner"):
            blocks = (ASSETS / name / "train.txt").read_text(encoding="utf8").split("\n\n")
            found += [[row.split()[0] for row in b.splitlines() if row.strip()] for b in blocks]
    found = [words for words in found if words]
    return (found * (n // len(found) + 1))[:n]


def config_of(shape: str, n_pieces: int) -> Any:
    """RETURNS (PretrainedConfig): Of an encoder.

    shape (str): "tiny", or the name of the encoder that has this shape.
    n_pieces (int): Size of the vocabulary.
    """
    from transformers import DebertaV2Config, DistilBertConfig, XLMRobertaConfig

    if shape == "deberta-v3-base":
        return DebertaV2Config(
            vocab_size=128_100,
            relative_attention=True,
            position_buckets=256,
            norm_rel_ebd="layer_norm",
            share_att_key=True,
            pos_att_type=["p2c", "c2p"],
            layer_norm_eps=1e-7,
            max_relative_positions=-1,
            position_biased_input=False,
            type_vocab_size=0,
        )
    if shape == "xlm-roberta-large":
        return XLMRobertaConfig(
            vocab_size=BIG_VOCABULARY,
            hidden_size=1024,
            num_hidden_layers=24,
            num_attention_heads=16,
            intermediate_size=4096,
            max_position_embeddings=514,
            type_vocab_size=1,
        )
    tiny = {"dim": 64, "hidden_dim": 128, "n_layers": 2, "n_heads": 2}
    tiny |= {"dropout": 0.0, "attention_dropout": 0.0}  # gradients are compared
    sizes: dict[str, Any] = tiny if shape == "tiny" else {}
    return DistilBertConfig(vocab_size=max(n_pieces, 30522 if not sizes else 0), **sizes)


def write_encoder(folder: Path, shape: str, texts: list[list[str]]) -> str:
    """Save an encoder with random weights, and a WordPiece tokenizer of the texts."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import AutoModel, PreTrainedTokenizerFast

    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=8000, special_tokens=specials)
    tokenizer.train_from_iterator([" ".join(words) for words in texts[:5000]], trainer)
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
    AutoModel.from_config(config_of(shape, tokenizer.get_vocab_size())).save_pretrained(folder)
    return str(folder)


def examples_of(nlp: Language, texts: list[list[str]]) -> list[Example]:
    """RETURNS (List[Example]): Sentences with gold for all heads, which follows from the words."""
    made = []
    for words in texts:
        doc = Doc(nlp.vocab, words=words, tags=[TAGS[len(w) % len(TAGS)] for w in words])
        names = [i for i, word in enumerate(words) if word[0].isupper()][1:]
        doc.set_ents([Span(doc, i, i + 1, label=("PER", "LOC")[len(words[i]) % 2]) for i in names])
        doc.spans["np"] = [Span(doc, k, k + 2, label="NP") for k in range(0, len(words) - 2, 3)]
        doc.cats = {label: float(k == len(words) % 4) for k, label in enumerate("ABCD")}
        made.append(Example(Doc(nlp.vocab, words=words), doc))
    return made


def flops_per_piece(encoder: Any, n_pieces: float) -> float:
    """RETURNS (float): Floating point operations of a forward pass over a piece, in windows of so
    many: two for each weight but those of embeddings, and attention."""
    config = encoder.network.config
    weights = sum(
        p.numel() for n, p in encoder.network.named_parameters() if p.ndim > 1 and "embed" not in n
    )
    return 2.0 * weights + 4.0 * config.num_hidden_layers * config.hidden_size * n_pieces
