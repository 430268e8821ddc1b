"""Words without gold are learned from a teacher, if there is one."""

import pickle

import numpy as np
import pytest
import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training.initialize import init_nlp
from spacy.util import fix_random_seed
from thinc.api import Config

from spacy_multitask.heads.tokens import TokenHead
from tests.conftest import corpus, example, learn, make_nlp

STOCK = """
[model]
@architectures = "spacy_multitask.TokenClassifier.v1"

[model.tok2vec]
@architectures = "spacy.Tok2VecListener.v1"
width = 96
"""
WORDS = ["Anna", "loves", "IBM", "in", "York"]
SMITH = ["Mr", "Smith", "loves", "New", "York"]
HEADS = ("tagger", "chunker", "ner")


@pytest.fixture(scope="module")
def teacher(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    trained.to_disk(folder)
    return str(folder)


def said_by(teacher, docs) -> torch.Tensor:
    """RETURNS (Tensor): Probabilities (n_words, nO)."""
    return torch.from_numpy(np.concatenate(teacher.say(docs))).float()


def make(encoder_path, *heads, teacher=None, options=None, **settings) -> Language:
    fix_random_seed(0)
    nlp = make_nlp(encoder_path, heads=())
    for head in heads:
        nlp.add_pipe(f"multitask_{head}", name=head, config=options or {})
    if teacher is not None:
        settings["teacher"] = teacher
    nlp.config["initialize"]["components"] = dict.fromkeys(heads, settings)
    nlp.initialize(lambda: corpus(nlp))
    return nlp


def vectors_of(nlp, doc) -> torch.Tensor:
    (vectors,) = nlp.get_pipe("transformer").model.predict([doc])
    return torch.from_numpy(np.array(vectors))


def gradient_of(nlp, examples) -> dict[str, torch.Tensor]:
    """RETURNS (Dict[str, Tensor]): Gradients of head and encoder after one update."""
    nlp.update(examples, sgd=False)
    modules = [(name, pipe.model.shims[0].module) for name, pipe in nlp.components]
    return {
        f"{name} {part}": p.grad
        for name, module in modules
        for part, p in module.named_parameters()
        if p.grad is not None
    }


@pytest.mark.parametrize("head", HEADS)
def test_words_without_gold_are_learned_from_its_probabilities(encoder_path, teacher, head):
    nlp = make(encoder_path, head, teacher=teacher, teacher_weight=0.5)
    component = nlp.get_pipe(head)
    eg = example(nlp, WORDS)
    probs = spacy.load(teacher).get_pipe(head).word_probs([eg.predicted])[0].half().float()
    vectors = vectors_of(nlp, eg.predicted)
    module = component.module
    loss = torch.nn.functional.cross_entropy(module.linear(vectors), probs)
    (0.5 * loss).backward()
    wanted = module.linear.weight.grad.clone()
    module.zero_grad(set_to_none=True)
    losses = {}
    nlp.update([eg], sgd=False, losses=losses)
    torch.testing.assert_close(module.linear.weight.grad, wanted)
    assert wanted.abs().sum() > 0.01
    nlp.get_pipe("transformer").settle()  # what the head has left goes back
    encoder = nlp.get_pipe("transformer").shim.module
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())
    assert losses[head] == 0.0  # which is of gold alone


@pytest.mark.parametrize("head", HEADS)
def test_words_with_gold_are_not(encoder_path, teacher, head):
    gold = {"tags": ["NNP", "VBZ", "NNP", "IN", "NNP"], "ents": [(2, 3, "ORG")]}
    gold["chunks"] = [(0, 1, "NP")]
    found = []
    for path in (None, teacher):
        nlp = make(encoder_path, head, teacher=path)
        found.append(gradient_of(nlp, [example(nlp, WORDS, **gold)]))
    alone, taught = found
    assert alone.keys() == taught.keys() and alone
    for name in alone:
        torch.testing.assert_close(taught[name], alone[name], rtol=0, atol=0)


def test_gold_and_teacher_share_a_batch(encoder_path, teacher):
    """The gradient is that of the gold plus that of the words without."""
    gold = {"ents": [(0, 1, "PER"), (4, 5, "LOC")]}

    def gradient(path, *, both):
        nlp = make(encoder_path, "ner", teacher=path)
        town = example(nlp, ["The", "old", "town"])
        return gradient_of(nlp, [example(nlp, WORDS, **gold), *([town] if both else [])])

    nlp = make(encoder_path, "ner", teacher=teacher)
    unlabelled = gradient_of(nlp, [example(nlp, ["The", "old", "town"])])
    labelled, all_of_them = gradient(None, both=False), gradient(teacher, both=True)
    name = "ner linear.weight"
    assert labelled[name].any() and unlabelled[name].any()
    torch.testing.assert_close(
        all_of_them[name], labelled[name] + unlabelled[name], rtol=1e-3, atol=1e-5
    )


def test_with_gold_missing_for_some_words_only_these_are_taught(encoder_path, teacher):
    tags = ["NNP", "", "NNP", "IN", "NNP"]
    nlp = make(encoder_path, "tagger", teacher=teacher)
    head = nlp.get_pipe("tagger")
    eg = example(nlp, WORDS, tags=tags)
    probs = said_by(head.teacher, [eg.predicted])
    vectors = vectors_of(nlp, eg.predicted)
    targets = torch.tensor([head.cfg["tags"].index(tag) if tag else -100 for tag in tags])
    logits = head.module.linear(vectors)
    loss = torch.nn.functional.cross_entropy(logits, targets)
    (loss + torch.nn.functional.cross_entropy(logits[1:2], probs[1:2])).backward()
    wanted = head.module.linear.weight.grad.clone()
    head.module.zero_grad(set_to_none=True)
    nlp.update([eg], sgd=False)
    torch.testing.assert_close(head.module.linear.weight.grad, wanted)


def test_a_pupil_without_gold_comes_to_say_the_same(encoder_path, teacher):
    nlp = make(encoder_path, *HEADS, teacher=teacher)
    sgd = nlp.create_optimizer()
    sgd.learn_rate = 0.005
    examples = [example(nlp, [t.text for t in eg.predicted]) for eg in corpus(nlp)]
    for _ in range(60):
        nlp.update(examples, sgd=sgd)
    wise = spacy.load(teacher)
    for eg in examples:
        words = [t.text for t in eg.predicted]
        said = [pipe(Doc(pipe.vocab, words=words)) for pipe in (nlp, wise)]
        pupil, master = ([(t.tag_, t.ent_iob_, t.ent_type_) for t in doc] for doc in said)
        assert pupil == master


@pytest.fixture
def seen(monkeypatch) -> list[int]:
    """RETURNS (List[int]): Words of the docs that a teacher looks at, by call."""
    seen: list[int] = []
    look = TokenHead.word_probs

    def counting(head, docs):
        seen.append(sum(map(len, docs)))
        return look(head, docs)

    monkeypatch.setattr(TokenHead, "word_probs", counting)
    return seen


def test_it_looks_at_docs_once_before_the_training(encoder_path, teacher, seen):
    nlp = make(encoder_path, "ner", teacher=teacher)
    # Entities are unknown in five docs of the corpus, of three texts.
    assert seen == [5 + 7 + 3]
    for _ in range(2):
        nlp.update([*corpus(nlp), example(nlp, ["Lyon"], ents=[])], sgd=False)
    assert len(seen) == 1


def test_only_docs_with_unknown_words_are_looked_at(encoder_path, teacher, seen):
    nlp = make(encoder_path, "ner", teacher=teacher)
    known = example(nlp, ["Lyon"], ents=[])
    nlp.update([known], sgd=False)
    assert len(seen) == 1
    others = [example(nlp, words) for words in ([], ["York", "town"], [], ["Anna"])]
    nlp.get_pipe("ner").module.zero_grad(set_to_none=True)
    found = gradient_of(nlp, [known, *others])
    assert seen[1:] == [3]
    # The gradient tells that what it says is of the right words.
    gold, taught = (gradient_of(make(encoder_path, "ner", teacher=teacher), part) for part in
                    ([known], others))  # fmt: skip
    name = "ner linear.weight"
    torch.testing.assert_close(found[name], gold[name] + taught[name], rtol=1e-3, atol=1e-5)


def test_of_docs_that_it_has_not_seen_before_it_keeps_nothing(encoder_path, teacher, seen):
    wise = make(encoder_path, "ner", teacher=teacher).get_pipe("ner").teacher
    nlp = spacy.blank("en")
    one, other = (example(nlp, words).predicted for words in (WORDS, ["town"]))
    both = said_by(wise, [one, other, one])
    assert seen[1:] == [11]
    np.testing.assert_array_equal(both[6:], both[:5])
    np.testing.assert_allclose(said_by(wise, [other]), both[5:6], atol=1e-3)
    assert seen[1:] == [11, 1]


def test_a_stream_is_looked_at_as_it_comes(encoder_path, teacher, seen):
    nlp = make_nlp(encoder_path, heads=("ner",))
    nlp.config["training"]["max_epochs"] = -1
    nlp.config["initialize"]["components"] = {"ner": {"teacher": teacher}}
    nlp.initialize(lambda: corpus(nlp))
    assert not seen
    nlp.update([example(nlp, WORDS)], sgd=False)
    nlp.update([example(nlp, ["Lyon"], ents=[])], sgd=False)
    assert seen == [5]


def test_the_weights_that_heads_begin_with_are_the_same_without_it(encoder_path, teacher):
    one, other = (make(encoder_path, *HEADS, teacher=path) for path in (None, teacher))
    for head in HEADS:
        weights = [nlp.get_pipe(head).module.linear.weight for nlp in (one, other)]
        torch.testing.assert_close(*weights, rtol=0, atol=0)


def test_it_does_not_go_along_into_another_process(encoder_path, teacher):
    head = make(encoder_path, "ner", teacher=teacher).get_pipe("ner")
    assert head.teacher is not None
    assert pickle.loads(pickle.dumps(head)).teacher is None


def test_it_may_stand_on_another_layer(encoder_path, tmp_path):
    wise = spacy.blank("en")
    wise.add_pipe("tok2vec")
    wise.add_pipe("multitask_ner", name="ner", config=Config().from_str(STOCK))
    learn(wise).to_disk(tmp_path)
    pupil = make(encoder_path, "ner", teacher=str(tmp_path))
    said = said_by(pupil.get_pipe("ner").teacher, [example(pupil, WORDS).predicted])
    doc = wise(Doc(wise.vocab, words=WORDS))
    torch.testing.assert_close(said, wise.get_pipe("ner").word_probs([doc])[0], atol=1e-3, rtol=0)
    assert len(set(map(tuple, said.tolist()))) > 1


def test_it_is_not_saved(encoder_path, teacher, tmp_path):
    nlp = make(encoder_path, "ner", teacher=teacher)
    nlp.config["initialize"]["components"]["ner"]["teacher"] = "gone"
    nlp.to_disk(tmp_path / "pupil")
    loaded = spacy.load(tmp_path / "pupil")
    assert loaded.get_pipe("ner").teacher is None
    assert loaded("Anna loves York").has_annotation("ENT_IOB")


def test_it_can_be_named_in_a_config(encoder_path, teacher, tmp_path):
    from spacy.tokens import DocBin

    nlp = make(encoder_path, "ner")
    DocBin(docs=[eg.reference for eg in corpus(nlp)]).to_disk(tmp_path / "train.spacy")
    config = Config().from_str(nlp.config.to_str())
    config["initialize"]["components"] = {"ner": {"teacher": teacher, "teacher_weight": 0.3}}
    path = {"path": str(tmp_path / "train.spacy")}
    reader = {"@readers": "spacy_multitask.MultiCorpus.v1", "corpora": {"a": path}}
    config["corpora"] = {"train": {**reader, "leaks": "ignore"}, "dev": {**reader}}
    config["training"].update(train_corpus="corpora.train", dev_corpus="corpora.dev")
    head = init_nlp(config).get_pipe("ner")
    assert head.teacher is not None and head.teacher_weight == 0.3


def test_what_is_no_teacher_is_refused(encoder_path, teacher, tmp_path):
    with pytest.raises(ValueError, match="'nowhere' of 'ner' is neither a folder"):
        make(encoder_path, "ner", teacher="nowhere")
    make(encoder_path, "tagger").to_disk(tmp_path / "tagger")
    with pytest.raises(ValueError, match=r"says nothing of any .* has: transformer, tagger"):
        make(encoder_path, "ner", teacher=str(tmp_path / "tagger"))
    other = make_nlp(encoder_path, heads=("ner",))
    other.initialize(lambda: [example(other, WORDS, ents=[(0, 1, "PER"), (2, 3, "FIRM")])])
    other.to_disk(tmp_path / "other")
    with pytest.raises(ValueError, match=r"trained on other labels.* has: FIRM .labels., LOC"):
        make(encoder_path, "ner", teacher=str(tmp_path / "other"))
    with pytest.raises(ValueError, match=r"teacher_weight = -1.0 of 'ner' must not be negative"):
        make(encoder_path, "ner", teacher_weight=-1.0)
    with pytest.raises(ValueError, match="can't have a teacher with crf = true"):
        make(encoder_path, "ner", teacher=teacher, options={"crf": True})


def test_a_tagger_of_an_extension_may_have_a_plain_one_as_teacher(encoder_path, tmp_path):
    tagger = make(encoder_path, "tagger")
    tagger.to_disk(tmp_path)
    config = {"options": {"extension": "taught_tag"}, "teacher": str(tmp_path)}
    pupil = make(encoder_path, "tagger", **config).get_pipe("tagger")
    assert pupil.teacher is not None and pupil.label_data != tagger.get_pipe("tagger").label_data


def test_a_teacher_that_changes_tokens_is_refused(encoder_path, tmp_path):
    wise = spacy.blank("en")
    wise.add_pipe("tok2vec")
    wise.add_pipe("token_splitter", config={"min_length": 2, "split_length": 1})
    wise.add_pipe("multitask_ner", name="ner", config=Config().from_str(STOCK))
    wise.initialize(lambda: corpus(wise))
    wise.to_disk(tmp_path)
    with pytest.raises(ValueError, match="components before 'ner' that change tokens"):
        make(encoder_path, "ner", teacher=str(tmp_path))


# New labels

GOLD_OF_NEW = {
    "tagger": {"tags": ["NEW"] * 5},
    "chunker": {"chunks": [(0, 5, "NEW")]},
    "ner": {"ents": [(0, 5, "NEW")]},
}


@pytest.mark.parametrize("head", HEADS)
def test_of_a_label_that_came_later_it_says_nothing(encoder_path, teacher, head):
    """The old labels are taught as they are to each other; the new one is left to its gold."""
    nlp = make(encoder_path, head, teacher=teacher, options={"new_labels": "add"})
    pipe = nlp.get_pipe(head)
    n_old, eg = pipe.n_out, example(nlp, WORDS)
    probs = said_by(pipe.teacher, [eg.predicted])
    sgd = nlp.create_optimizer()
    nlp.update([example(nlp, SMITH, **GOLD_OF_NEW[head]), eg], sgd=sgd)
    assert pipe.labels[-1] == "NEW" and pipe.n_out > n_old
    vectors = vectors_of(nlp, eg.predicted)
    torch.nn.functional.cross_entropy(pipe.module.linear(vectors)[:, :n_old], probs).backward()
    wanted = pipe.module.linear.weight.grad.clone()
    pipe.module.zero_grad(set_to_none=True)
    nlp.update([eg], sgd=False)
    found = pipe.module.linear.weight.grad
    torch.testing.assert_close(found, wanted)
    assert found[:n_old].abs().sum() > 0.01 and not found[n_old:].any()


def test_of_two_layers_each_keeps_what_is_said_of_it(encoder_path, tmp_path):
    """A new tag stands between the old ones and the parts of speech."""

    def examples(nlp):
        tags, pos = ["NNP", "VBZ", "NNP", "IN", "NNP"], ["PROPN", "VERB", "PROPN", "ADP", "PROPN"]
        return [example(nlp, SMITH, tags=tags, pos=pos), example(nlp, WORDS)]

    wise = make_nlp(encoder_path, heads=("tagger",))
    wise.initialize(lambda: examples(wise))
    wise.to_disk(tmp_path)
    nlp = make_nlp(encoder_path, heads=("tagger",))
    nlp.config["initialize"]["components"] = {"tagger": {"teacher": str(tmp_path)}}
    nlp.initialize(lambda: examples(nlp))
    pipe, docs = nlp.get_pipe("tagger"), [example(nlp, WORDS).predicted]
    (before,) = pipe.teacher.say(docs)
    pipe.add_label("NEW")
    (after,) = pipe.teacher.say(docs)
    np.testing.assert_array_equal(after[:, :3], before[:, :3])
    assert np.isnan(after[:, 3]).all()
    np.testing.assert_array_equal(after[:, 4:], before[:, 3:])


def test_labels_that_are_to_be_added_are_not_warned_of(encoder_path, teacher, recwarn):
    nlp = make_nlp(encoder_path, heads=())
    nlp.add_pipe("multitask_ner", name="ner", config={"new_labels": "add"})
    settings = {"teacher": teacher, "labels": {"labels": ["LOC", "ORG", "PER"]}}
    nlp.config["initialize"]["components"] = {"ner": settings}
    new = [example(nlp, WORDS, ents=[(0, 1, "NEW")]), example(nlp, WORDS)]
    nlp.initialize(lambda: new)
    nlp.update(new, sgd=False)
    assert nlp.get_pipe("ner").labels == ("LOC", "ORG", "PER", "NEW")
    assert not [w for w in recwarn if "NEW" in str(w.message)]
