"""Several processes that train one pipeline do what one does with the whole batch."""

import multiprocessing
import os
import random
import socket
import traceback
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pytest
import spacy
import torch
from spacy.language import Language
from spacy.ml import _precomputable_affine
from spacy.tokens import Doc
from spacy.training import Example
from spacy.training.loop import train_while_improving
from spacy.util import fix_random_seed, registry
from thinc.api import NumpyOps

from spacy_multitask.corpus.reader import unannotated
from spacy_multitask.encoder.budget import OVERHEADS
from spacy_multitask.relations import set_relations
from spacy_multitask.together import together
from spacy_multitask.training.optimizer import make_adamw
from spacy_multitask.training.ranks import joined
from spacy_multitask.training.run import Run
from spacy_multitask.training.spread import costs_of, parts_of_batch
from spacy_multitask.training.state import capture
from spacy_multitask.training.stopping import Stop
from tests.conftest import PARSER_MODEL, example, make_nlp
from tests.integration.conftest import parsed

# Children are forked from a process that has imported everything and run nothing.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "spacy_multitask.training.from_python",
        "spacy_multitask.training.ranks",
        "transformers.models.bert.modeling_bert",
        "spacy.lang.en",
        "tests.conftest",
    ]
)
affine = _precomputable_affine.forward
N_STEPS = 20
# Adam divides by the size of a gradient. Where one is nothing but rounding, that would count.
EPS = 1e-4
UNCERTAINTY = {"@misc": "spacy_multitask.uncertainty_weight.v1"}
LISTENER = {"@architectures": "spacy_multitask.EncoderListener.v1"}
HEADS = ("tagger", "chunker", "ner", "textcat")
HASHES = {
    "@architectures": "spacy.HashEmbedCNN.v2",
    "width": 16,
    "depth": 1,
    "embed_size": 20,
    "window_size": 1,
    "maxout_pieces": 2,
    "subword_features": False,
    "pretrained_vectors": None,
}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def in_ranks(n: int, function, *args, timeout: float = 900.0) -> list[int]:
    """Call a function in n processes that torchrun could have started.

    RETURNS (List[int]): How they ended.
    """
    port = free_port()
    children = [
        CONTEXT.Process(target=_as_rank, args=(rank, n, port, function, args)) for rank in range(n)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(timeout)
    left = [child for child in children if child.is_alive()]
    for child in left:
        child.kill()
    assert not left, f"{len(left)} of {n} ranks did not end"
    return [child.exitcode for child in children]


def _as_rank(rank: int, n: int, port: int, function, args) -> None:
    torch.set_num_threads(1)
    if n > 1:
        os.environ.update(
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=str(port),
            WORLD_SIZE=str(n),
            RANK=str(rank),
            LOCAL_RANK=str(rank),
        )
    try:
        function(*args)
    except Exception:
        traceback.print_exc()
        os._exit(1)


# Gold for one head in each example, or for none, and words without gold among others.


def known(nlp: Language) -> dict[str, list[Example]]:
    """RETURNS (Dict[str, List[Example]]): Examples of different lengths by the head that they have
    gold for; "" for none."""
    smith = "Mr Smith loves New York and the old town .".split()
    ibm = "IBM made a lot of profit in 1996 , said Anna Brown of Reuters .".split()
    town = "The old town".split()
    related = example(nlp, smith, ents=[(0, 2, "PER"), (3, 5, "LOC")])
    doc = related.reference
    set_relations(doc, [(doc.ents[0], doc.ents[1], "Live_In", 1.0)])
    tree = Doc(nlp.vocab, words=town, heads=[2, 2, 2], deps=["det", "amod", "ROOT"])
    tags = [["NNP", "", "VBZ", "NNP", "NNP", "CC", "DT", "JJ", "NN", "."], ["DT", "JJ", "NN"]]
    pos = [["PROPN"] * 2 + ["VERB"] + [""] * 7, ["DET", "ADJ", "NOUN"]]
    return {
        "": [example(nlp, town), example(nlp, ibm)],
        "tagger": [
            example(nlp, smith, tags=tags[0]),
            example(nlp, town, tags=tags[1], pos=pos[1]),
            example(nlp, smith, pos=pos[0]),
        ],
        "chunker": [
            example(nlp, smith, chunks=[(0, 2, "NP"), (2, 3, "VP"), (3, 5, "NP")]),
            example(nlp, town, chunks=[(0, 3, "NP")]),
        ],
        "ner": [
            example(nlp, ibm, ents=[(0, 1, "ORG"), (10, 12, "PER")]),
            example(nlp, town, ents=[]),
            related,
        ],
        "textcat": [
            example(nlp, ibm, cats={"Business": 1.0, "Sports": 0.0}),
            example(nlp, town, cats={"Business": 0.0, "Sports": 1.0}),
            example(nlp, smith, cats={"Sports": 1.0}),
        ],
        "parser": [Example(unannotated(doc, nlp.vocab), doc) for doc in (parsed(nlp), tree)],
    }


def batches(nlp: Language, names) -> list[list[Example]]:
    """RETURNS (List[List[Example]]): One for each subset of the heads with gold, from a single
    example to all of them."""
    found = known(nlp)
    names = list(names)
    rng = random.Random(1)
    made = []
    for step in range(N_STEPS):
        subset = [name for k, name in enumerate(names) if (step + 1) >> k & 1]
        batch = [
            eg
            for name in subset
            for eg in rng.sample(found[name], rng.randint(1, len(found[name])))
        ]
        batch += rng.sample(found[""], rng.randint(0, 2)) if batch else found[""][:1]
        rng.shuffle(batch)
        made.append(batch)
    return made


def plain(encoder: str) -> dict:
    return {"nlp": make_nlp(encoder, HEADS)}


def parts_of_steps(encoder: str) -> dict:
    """Gradients of several sub-batches, more of them than some batches have docs; averages."""
    optimizer = make_adamw(1e-3, 3e-3, use_averages=True, layer_decay=0.8, eps=EPS)
    return {"nlp": make_nlp(encoder, HEADS), "optimizer": optimizer, "accumulate_gradient": 3}


def weighted(encoder: str) -> dict:
    """Losses that are means over weights of classes, with learned factors; layers mixed."""
    nlp = make_nlp(encoder, [], model={"layers": [1, 2]})
    weights = {"NNP": 3.0, "PER": 2.0, "VERB": 0.5, "Sports": 4.0}
    options = {"balance": UNCERTAINTY, "loss_weight": 0.7}
    for name in HEADS:
        own = {"class_weights": weights, "label_smoothing": 0.1}
        if name == "chunker":
            own = {"crf": True}
        elif name == "textcat":
            own["class_weights"] = {"Sports": 4.0}
        elif name == "tagger":
            own["class_weights"] = {"NNP": 3.0, "VERB": 0.5}
        else:
            own["class_weights"] = {"PER": 2.0}
        nlp.add_pipe(f"multitask_{name}", name=name, config={**options, **own})
    nlp.add_pipe("multitask_relations", name="relations", config={"balance": UNCERTAINTY})
    return {"nlp": nlp}


def several_labels(encoder: str) -> dict:
    """Topics of which several may be true, beside a bag of words; spaCy's optimizer."""
    nlp = make_nlp(encoder, ["tagger"])
    model = {
        "@architectures": "spacy_multitask.DocClassifier.v1",
        "tok2vec": LISTENER,
        "linear_model": {
            "@architectures": "spacy.TextCatBOW.v3",
            "exclusive_classes": False,
            "ngram_size": 1,
            "no_output_layer": True,
            "length": 64,
        },
    }
    config = {"exclusive_classes": False, "model": model, "class_weights": {"Sports": 2.0}}
    nlp.add_pipe("multitask_textcat", name="textcat", config=config)
    nlp.add_pipe("multitask_ner", name="ner", config={"model": {"tok2vec": HASHES}})
    optimizer = registry.resolve(
        {"optimizer": {"@optimizers": "Adam.v1", "learn_rate": 0.001, "eps": EPS}}
    )["optimizer"]
    names = ["tagger", "ner", "textcat"]
    return {"nlp": nlp, "optimizer": optimizer, "accumulate_gradient": 2, "names": names}


def frozen_heads(encoder: str) -> dict:
    return {"nlp": make_nlp(encoder, HEADS), "frozen": ["ner", "tagger"]}


def frozen_encoder(encoder: str) -> dict:
    return {"nlp": make_nlp(encoder, HEADS), "frozen": ["transformer"]}


def without_missing_words(model, X, is_train: bool):
    Y, backprop = affine(model, model.ops.xp.vstack([X, 0 * X[-1:]]), is_train)
    return Y[:-1], backprop


def spacys_heads(encoder: str) -> dict:
    """Two of them draw from the generator that shuffles, where they have gold.

    Their gradients are not sums over docs in spaCy, but here: they leave out a tenth of their
    units whatever the rate of dropout, and take the last word of the batch for a missing one.
    """
    NumpyOps.get_dropout_mask = lambda self, shape, drop: self.alloc(shape) + 1
    _precomputable_affine.forward = without_missing_words
    nlp = make_nlp(encoder, ["tagger", "chunker"])
    parser = {"model": PARSER_MODEL, "update_with_oracle_cut_size": 10, "min_action_freq": 1}
    nlp.add_pipe("parser", config=parser)
    ner = {**PARSER_MODEL, "state_type": "ner"}
    nlp.add_pipe("ner", config={"model": ner, "update_with_oracle_cut_size": 10})
    tagger = {"@architectures": "spacy.Tagger.v2", "tok2vec": LISTENER}
    nlp.add_pipe("morphologizer", config={"model": tagger})
    cats = {"@architectures": "spacy.TextCatCNN.v2", "exclusive_classes": True, "tok2vec": LISTENER}
    nlp.add_pipe("partial_textcat", name="textcat", config={"model": cats})
    return {"nlp": nlp, "names": ["tagger", "parser", "ner", "textcat"]}


def taught(encoder: str) -> dict:
    """Each head learns, where it has no gold, from one that has seen some of it."""
    names = [*HEADS, "relations"]
    teacher, nlp = make_nlp(encoder, names), make_nlp(encoder, names)
    examples = [eg for found in known(teacher).values() for eg in found]
    sgd = teacher.initialize(lambda: examples)
    with together(lambda counts: counts):  # each rank makes one of its own
        for _ in range(3):
            teacher.update(examples, sgd=sgd)
    with TemporaryDirectory() as folder:
        teacher.to_disk(folder)
        own = {"teacher": folder, "teacher_weight": 0.5}
        nlp.config["initialize"]["components"] = dict.fromkeys(names, own)
        examples = [eg for found in known(nlp).values() for eg in found]
        nlp.initialize(lambda: examples)
    return {"nlp": nlp}


CASES = [
    plain,
    taught,
    parts_of_steps,
    weighted,
    several_labels,
    frozen_heads,
    frozen_encoder,
    spacys_heads,
]


def train_case(case, encoder: str):
    """RETURNS (tuple): Tensors and losses after the last step."""
    fix_random_seed(0)
    made = case(encoder)
    nlp: Language = made["nlp"]
    optimizer = made.get("optimizer") or make_adamw(1e-3, 3e-3, grad_clip=0.1, eps=EPS)
    if nlp.get_pipe("tagger").teacher is None:
        examples = [eg for found in known(nlp).values() for eg in found]
        nlp.initialize(lambda: examples)
    frozen = made.get("frozen", [])
    with joined() as ranks:
        # Other weights in each rank, until they have those of rank 0.
        run = Run(nlp, optimizer, {}, None, Stop(), ranks=ranks, frozen=frozen)
        if run.spread is not None:
            run.spread.begin()
        steps = train_while_improving(
            run,
            optimizer,
            run.batches((0, batch) for batch in batches(nlp, made.get("names", HEADS))),
            lambda: (0.0, {}),
            dropout=0.0,
            eval_frequency=1000,
            accumulate_gradient=made.get("accumulate_gradient", 1),
            patience=0,
            max_steps=0,
            exclude=frozen,
            annotating_components=[],
            before_update=None,
        )
        *_, (_, info, _) = steps
    tensors = {name: tensor.clone() for name, tensor in capture(nlp, optimizer)[0].items()}
    return tensors, {**info["losses"], "random": random.random()}


def train_cases(encoder: str, folder: Path) -> None:
    with joined() as ranks:
        for case in CASES:
            found = train_case(case, encoder)
            torch.save(found, folder / f"{case.__name__}-{ranks.rank}.pt")


@pytest.fixture(scope="module")
def trained_by(encoder_path, tmp_path_factory):
    """RETURNS (Callable): Takes a number of ranks; gives what each of them came to, by case."""
    folders: dict[int, Path] = {}

    def results(n: int, case: str) -> list:
        if n not in folders:
            folders[n] = tmp_path_factory.mktemp(f"ranks{n}")
            assert in_ranks(n, train_cases, encoder_path, folders[n]) == [0] * n
        paths = [folders[n] / f"{case}-{rank}.pt" for rank in range(n)]
        return [torch.load(path, weights_only=False) for path in paths]

    return results


def difference(a: dict, b: dict) -> tuple[float, str]:
    assert a.keys() == b.keys()
    return max((float((a[name].double() - b[name].double()).abs().max()), name) for name in a)


@pytest.mark.parametrize("case", [case.__name__ for case in CASES])
def test_ranks_do_what_one_process_does(trained_by, case):
    ((alone, losses),) = trained_by(1, case)
    found = trained_by(3, case)
    for tensors, others in found:
        weights = {k: v for k, v in alone.items() if not k.startswith(("mom", "moments"))}
        own = {k: v for k, v in tensors.items() if k in weights}
        worst, name = difference(own, weights)
        assert worst < 1e-5, name
        assert others["random"] == losses["random"]
    for tensors, _ in found[1:]:
        assert difference(tensors, found[0][0])[0] == 0


def test_parts_of_a_batch_cost_about_the_same_and_have_docs_of_like_length():
    nlp = spacy.blank("en")
    lengths = [1, 2, 13, 3, 5, 8]
    batch = [example(nlp, ["word"] * n) for n in lengths]
    costs = costs_of(nlp, [eg.predicted for eg in batch])
    assert costs.tolist() == [2, 3, 14, 4, 6, 9]
    assert parts_of_batch(costs, 3).tolist() == [2, 2, 0, 2, 2, 1]
    assert parts_of_batch(costs[:1], 3).tolist() == [1]
    assert parts_of_batch(costs[:0], 2).tolist() == []


def test_encoders_that_are_disabled_are_asked_for_no_costs():
    nlp = spacy.blank("en")
    nlp.add_pipe("multitask_transformer")  # without weights
    nlp.disable_pipe("multitask_transformer")
    assert costs_of(nlp, [nlp.make_doc("two words")]).tolist() == [3]


def test_costs_are_those_of_the_micro_batches_that_the_config_asks_for(trained):
    docs = [trained.make_doc(text) for text in ("Smith", "Smith loves New York and the old town")]
    encoder, transformer = (
        trained.get_pipe("transformer").shim.encoder,
        trained.get_pipe("transformer"),
    )
    with patch.dict(OVERHEADS, cpu=1_000), patch.object(transformer, "max_batch_pieces", 1):
        each_alone = 1 + encoder.costs(docs, 1)
        assert costs_of(trained, docs) == pytest.approx(each_alone)
        assert each_alone[1] > each_alone[0] > 1_000


def test_the_costs_of_docs_are_those_of_their_padded_pieces(trained):
    encoder = trained.get_pipe("transformer").shim.encoder
    texts = ["Smith", "Smith loves New York", "", "IBM made a lot of profit , said Anna Brown ."]
    docs = list(map(trained.make_doc, texts))
    with patch.dict(OVERHEADS, cpu=1_000_000):  # so that all are one micro-batch
        costs = encoder.costs(docs)
    longest = int(encoder.cache.pieces_of(docs[3:]).counts.sum()) + 2
    assert costs[2] == 0, "an empty doc goes through no network"
    assert costs[[0, 1, 3]] == pytest.approx(longest + 1_000_000 / 3)
    with patch.dict(OVERHEADS, cpu=1):  # so that each is alone
        costs = encoder.costs(docs)
    assert costs[3] == longest + 1 > costs[1] > costs[0] > costs[2]
