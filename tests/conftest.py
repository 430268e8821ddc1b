"""A tiny encoder made on the spot, so that tests need no network and little time."""

import signal
import threading
from pathlib import Path

import pytest
import spacy
import torch
from spacy.lang.en import English
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import fix_random_seed
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from spacy_multitask.encoder import encode
from tests.vocabularies import unigram_pieces, word_pieces

# A shell that starts the tests in the background has them, and what they start, ignore Ctrl-C.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A fifth of the time of all tests went into tokenizers of English: each takes a tenth of a second
# to make, since it has 1,347 exceptions. These are the ones that tests look at. Commands run
# in processes of their own, with all of them.
EXCEPTIONS = ("don't", "cannot", "Mr.", "Dr.")
English.Defaults.tokenizer_exceptions = {
    word: English.Defaults.tokenizer_exceptions[word] for word in EXCEPTIONS
}

# Files that take minutes, of which each goes to one process: begun last, they would leave others
# idle. Those that start processes of their own do not follow each other.
LONG = [
    "training/test_ranks.py",
    "encoder/test_hostile_folders.py",
    "annotation/test_run.py",
    "training/test_ranks_train.py",
    "integration/test_resume.py",
    "training/test_stopping.py",
    "cli/test_all_commands.py",
    "test_benchmarks.py",
    "test_docs.py",
]

TEXTS = [
    "Mr Smith loves New York and the old town near the river .",
    "IBM made a lot of profit in 1996 , said Anna Brown of Reuters .",
    "The unaffable well-known players won 3-1 against Lyon-based rivals on Sunday .",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {str(Path(__file__).parent / name): place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(str(item.path), len(LONG)))


def make_tokenizer(kind: str):
    """RETURNS (PreTrainedTokenizerFast): A tiny one of the kind "wordpiece", "bpe" or "unigram"."""
    from transformers import PreTrainedTokenizerFast

    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    if kind == "wordpiece":
        vocabulary = word_pieces(TEXTS, 200, specials)
        tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.add_special_tokens(specials)
    elif kind == "bpe":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=specials,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )
        tokenizer.train_from_iterator(TEXTS, trainer)
    else:
        steps = {"normalizer": normalizers.NFKC(), "pre_tokenizer": pre_tokenizers.Metaspace()}
        tokenizer = Tokenizer(models.Unigram(unigram_pieces(TEXTS, 120, specials, **steps), 1))
        tokenizer.normalizer = steps["normalizer"]
        scheme = "first" if kind == "unigram_first" else "always"
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
        tokenizer.add_special_tokens(specials)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(s, tokenizer.token_to_id(s)) for s in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=64,
    )


def write_encoder(folder: Path, *, dropout: float = 0.0) -> Path:
    """Save a BERT of two layers, 32 wide, for at most 64 pieces, with random weights."""
    from transformers import BertConfig, BertModel

    tokenizer = make_tokenizer("wordpiece")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        initializer_range=0.2,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True, scope="session")
def bfloat16_is_bfloat16():
    """Also where this processor is slow in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encode, "computes_bfloat16", lambda device: True)
        yield


@pytest.fixture(scope="session")
def encoder_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_encoder(tmp_path_factory.mktemp("encoder")))


ALL_HEADS = ("tagger", "chunker", "ner", "textcat")


def make_nlp(encoder_path: str, heads=ALL_HEADS, **transformer) -> Language:
    nlp = spacy.blank("en")
    model = {"@architectures": "spacy_multitask.Encoder.v1", "name": encoder_path, "overlap": 8}
    model.update(transformer.pop("model", {}))
    config = {"model": model, **transformer}
    nlp.add_pipe("multitask_transformer", name="transformer", config=config)
    for head in heads:
        nlp.add_pipe(f"multitask_{head}", name=head)
    return nlp


# spaCy's parser, which reads docs in batches of its own.
PARSER_MODEL = {
    "@architectures": "spacy.TransitionBasedParser.v2",
    "state_type": "parser",
    "extra_state_tokens": False,
    "hidden_width": 8,
    "maxout_pieces": 2,
    "use_upper": True,
    "tok2vec": {"@architectures": "spacy_multitask.EncoderListener.v1"},
}


def example(nlp: Language, words: list[str], **gold) -> Example:
    """RETURNS (Example): One with just the layers given: tags, pos, chunks, ents, cats."""
    reference = Doc(nlp.vocab, words=words, tags=gold.get("tags"), pos=gold.get("pos"))
    if "ents" in gold:
        spans = [reference.char_span(*_chars(reference, e), label=e[2]) for e in gold["ents"]]
        reference.set_ents(spans, default="outside")
    if "chunks" in gold:
        reference.spans["np"] = [
            reference.char_span(*_chars(reference, c), label=c[2]) for c in gold["chunks"]
        ]
    reference.cats = gold.get("cats", {})
    return Example(Doc(nlp.vocab, words=words), reference)


def _chars(doc: Doc, span) -> tuple[int, int]:
    return doc[span[0]].idx, doc[span[1] - 1].idx + len(doc[span[1] - 1])


def corpus(nlp: Language) -> list[Example]:
    """RETURNS (List[Example]): Every layer is annotated somewhere, none everywhere."""
    smith = ["Mr", "Smith", "loves", "New", "York"]
    ibm = ["IBM", "made", "a", "lot", "of", "profit", "."]
    town = ["The", "old", "town"]
    return [
        example(nlp, smith, tags=["NNP", "NNP", "VBZ", "NNP", "NNP"]),
        example(nlp, smith, ents=[(1, 2, "PER"), (3, 5, "LOC")]),
        example(nlp, smith, chunks=[(0, 2, "NP"), (2, 3, "VP"), (3, 5, "NP")]),
        example(nlp, ibm, ents=[(0, 1, "ORG")], cats={"Business": 1.0, "Sports": 0.0}),
        example(nlp, ibm, tags=["NNP", "VBD", "DT", "NN", "IN", "NN", "."]),
        example(nlp, town, ents=[], chunks=[(0, 3, "NP")]),
        example(nlp, town, cats={"Business": 0.0, "Sports": 1.0}),
        example(nlp, town),
    ]


def learn(nlp: Language) -> Language:
    """RETURNS (Language): The same pipeline, which has learned the corpus by heart."""
    sgd = nlp.initialize(lambda: corpus(nlp))
    sgd.learn_rate = 0.005
    for _ in range(60):
        nlp.update(corpus(nlp), sgd=sgd)
    return nlp


@pytest.fixture
def nlp(encoder_path: str) -> Language:
    """An initialised pipeline of the encoder and four heads."""
    fix_random_seed(0)
    nlp = make_nlp(encoder_path)
    nlp.initialize(lambda: corpus(nlp))
    return nlp


@pytest.fixture(scope="session")
def trained(encoder_path: str) -> Language:
    """A pipeline that has learned its few sentences by heart."""
    fix_random_seed(0)
    return learn(make_nlp(encoder_path))


def predictions(docs) -> list:
    """RETURNS (List): Everything the four heads write."""
    return [
        (
            [(t.tag_, t.pos_, t.ent_iob_, t.ent_type_) for t in doc],
            [(s.start, s.end, s.label_) for s in doc.spans["np"]],
            {label: round(p, 4) for label, p in doc.cats.items()},
        )
        for doc in docs
    ]
