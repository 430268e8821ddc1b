"""What looks at all tasks at once: the worst task, each corpus' score, the end of training."""

import io
import shutil

import pytest
import srsly
from spacy.training import Example
from spacy.training.initialize import init_nlp
from spacy.training.loop import train
from spacy.util import load_config

from spacy_multitask.corpus.reader import corpus_of
from spacy_multitask.heads.scorers import is_task_score, main_score, score_tasks
from spacy_multitask.plan import join
from spacy_multitask.training.batching import make_batcher
from spacy_multitask.training.logger import make_logger
from tests.conftest import corpus, make_nlp
from tests.integration.conftest import project  # noqa: F401  a fixture

TASKS = ("tag_acc", "spans_np_f", "ents_f", "cats_acc")


@pytest.mark.parametrize(
    "name", [*TASKS, "x_tag_acc", "wire/ents_f", "wire/x_spans_np_f", "dep_las"]
)
def test_scores_that_sum_up_a_task(name):
    assert is_task_score(name)


@pytest.mark.parametrize(
    "name", ["ents_p", "cats_micro_f", "spans_np_per_type", "worst_task", "token_acc", "speed"]
)
def test_other_scores(name):
    assert not is_task_score(name)


class Stub:
    """A head that knows what it scores on each corpus."""

    def __init__(self, name, values):
        self.name, self.values = name, values

    def score(self, examples):
        known = [self.values[eg] for eg in examples if eg in self.values]
        return {self.name: sum(known) / len(known) if known else None}


def test_the_worst_task_and_each_corpus():
    heads = {
        "tagger": Stub("tag_acc", {"ud": 0.9}),
        "ner": Stub("ents_f", {"news": 0.8, "wire": 0.4}),
        "other": Stub("cats_acc", {}),
    }
    options = {"heads": heads, "corpus_of": lambda eg: eg}
    scores = score_tasks(["ud", "news", "wire"], worst_task=True, **options)
    assert scores == {
        "news/ents_f": 0.8, "wire/ents_f": 0.4, "worst_task": pytest.approx(0.6)
    }  # fmt: skip
    assert score_tasks(["ud", "news"], worst_task=False, **options) == {}
    assert score_tasks([], worst_task=True, **options) == {"worst_task": None}


def test_gold_may_come_late_in_a_corpus(trained):
    known = [eg for eg in corpus(trained) if eg.reference.has_annotation("ENT_IOB")]
    unknown = [eg for eg in corpus(trained) if eg.reference.has_annotation("TAG")]
    for examples in (known, unknown):
        for eg in examples:
            eg.predicted = trained(eg.predicted)
    web = [Example(eg.predicted, eg.reference) for eg in [*unknown * 40, *known]]
    news = set(map(id, known))
    scores = score_tasks(
        known + web,
        heads={"ner": trained.get_pipe("ner")},
        worst_task=False,
        corpus_of=lambda eg: "news" if id(eg) in news else "web",
    )
    assert scores == {"news/ents_f": 1.0, "web/ents_f": 1.0}


def test_a_head_that_does_not_listen_is_a_task(encoder_path):
    nlp = make_nlp(encoder_path, ["ner"])
    nlp.add_pipe("tagger", name="own", last=True)
    nlp.initialize(lambda: corpus(nlp))
    nlp.config["training"]["score_weights"] = {"worst_task": 1.0}
    ner = nlp.get_pipe("ner")
    ner.score = lambda examples, **kwargs: {"ents_f": 0.9}
    scores = nlp.evaluate(corpus(nlp))
    assert scores["worst_task"] == scores["tag_acc"] < 0.9


def test_what_is_frozen_or_has_no_gold_is_no_task(encoder_path):
    nlp = make_nlp(encoder_path, ["ner"])
    for factory in ("tagger", "textcat"):
        nlp.add_pipe(factory, name=f"own_{factory}")
    nlp.initialize(lambda: corpus(nlp))
    nlp.config["training"]["score_weights"] = {"worst_task": 1.0}
    nlp.get_pipe("ner").score = lambda examples, **kwargs: {"ents_f": 0.9}
    without = [eg for eg in corpus(nlp) if not eg.reference.cats]
    scores = nlp.evaluate(without)
    assert scores["cats_score"] == 0.0 and scores["worst_task"] == scores["tag_acc"] < 0.9
    nlp.config["training"]["frozen_components"] = ["own_tagger"]
    assert nlp.evaluate(without)["worst_task"] == 0.9


def test_exclusive_topics_are_summed_up_by_their_accuracy(trained):
    """The macro F is over docs for which the head did not abstain, and labels that are gold."""
    head = trained.get_pipe("textcat")
    examples = [eg for eg in corpus(trained) if eg.reference.cats.get("Business")]
    for eg in examples:
        eg.predicted = trained(eg.predicted)
    scores = head.score(examples)
    assert (scores["cats_acc"], scores["cats_score"]) == (1.0, 1.0)
    assert main_score(scores) == "cats_acc"
    options = {"heads": {"textcat": head}, "corpus_of": corpus_of}
    assert score_tasks(examples, worst_task=True, **options) == {"worst_task": 1.0}


def test_the_main_score_is_the_first_with_a_value_and_trees_before_sentences():
    assert main_score({"tag_acc": None, "pos_acc": 0.5, "ents_f": 0.1}) == "pos_acc"
    assert main_score({"sents_f": 0.9, "dep_uas": 0.8, "dep_las": 0.7}) == "dep_las"
    assert main_score({"ents_p": 0.9, "ents_f": None}) is None


@pytest.fixture
def config(project, tmp_path):  # noqa: F811
    config = load_config(project / "config.cfg")
    corpora = config["corpora"]["dev"]["corpora"]
    shutil.copy(project / "corpus" / "ner-dev.spacy", tmp_path / "wire.spacy")
    corpora["wire"] = {"path": str(tmp_path / "wire.spacy")}
    config["training"]["max_epochs"] = 3
    config["training"]["eval_frequency"] = 5
    config["training"]["logger"]["output_file"] = str(tmp_path / "log.jsonl")
    return config


def run(config, tmp_path):
    """RETURNS (tuple): Lines of the log, and what was printed."""
    stdout = io.StringIO()
    (tmp_path / "out").mkdir()
    train(init_nlp(config), tmp_path / "out", stdout=stdout)
    return list(srsly.read_jsonl(tmp_path / "log.jsonl")), stdout.getvalue()


def test_the_best_model_is_that_of_the_best_worst_task(config, tmp_path):
    config["training"]["score_weights"] = {**dict.fromkeys(TASKS, 0.0), "worst_task": 1.0}
    config["training"]["score_weights"]["cats_score"] = 0.0
    lines, _ = run(config, tmp_path)
    assert len(lines) > 3
    for line in lines:
        scores = line["scores"]
        assert scores["worst_task"] == min(scores[task] for task in TASKS)
        # spaCy divides the weights by their sum, and multiplies.
        assert line["score"] == pytest.approx(scores["worst_task"], abs=1e-9)
    best = max(lines, key=lambda line: line["score"])
    meta = srsly.read_json(tmp_path / "out" / "model-best" / "meta.json")
    assert meta["performance"]["worst_task"] == pytest.approx(best["score"], abs=1e-9)
    assert best["score"] > 0


def test_the_worst_task_of_other_readers(config, tmp_path):
    path = config["corpora"]["train"]["corpora"]["ner"]["path"]
    reader = {"@readers": "spacy.Corpus.v1", "path": path, "max_length": 0, "gold_preproc": False}
    config["corpora"] = {
        part: {**reader, "limit": 0, "augmenter": None} for part in ("train", "dev")
    }
    config["nlp"]["pipeline"] = ["transformer", "ner"]
    config["components"] = {name: config["components"][name] for name in config["nlp"]["pipeline"]}
    config["training"]["score_weights"] = {"worst_task": 1.0, "ents_f": 0.0}
    config["training"]["max_epochs"] = 20
    lines, _ = run(config, tmp_path)
    assert max(line["score"] for line in lines) > 0
    for line in lines:
        assert line["score"] == pytest.approx(line["scores"]["ents_f"], abs=1e-9)


@pytest.mark.parametrize("sourced", [("transformer", "tagger", "ner"), None])
def test_the_worst_task_of_a_sourced_encoder(config, project, tmp_path, sourced):  # noqa: F811
    init_nlp(load_config(project / "config.cfg")).to_disk(tmp_path / "source")
    for name in sourced or config["nlp"]["pipeline"]:
        config["components"][name] = {"source": str(tmp_path / "source")}
    config["training"]["score_weights"] = {**dict.fromkeys(TASKS, 0.0), "worst_task": 1.0}
    config["training"]["score_weights"]["cats_score"] = 0.0
    lines, _ = run(config, tmp_path)
    assert all("worst_task" in line["scores"] for line in lines)
    assert lines[-1]["score"] == pytest.approx(lines[-1]["scores"]["worst_task"], abs=1e-9)
    assert lines[-1]["score"] > 0


def test_a_head_that_is_disabled_is_no_task(trained):
    trained.config["training"]["score_weights"]["worst_task"] = 1.0
    examples = corpus(trained) * 2
    try:
        with trained.select_pipes(disable=["ner"]):
            assert trained.evaluate(examples)["worst_task"] == 1.0
    finally:
        del trained.config["training"]["score_weights"]["worst_task"]


def test_each_corpus_of_a_head_is_in_the_log(config, tmp_path):
    config["training"]["max_steps"] = 5
    lines, _ = run(config, tmp_path)
    scores = lines[-1]["scores"]
    assert {"ner/ents_f", "wire/ents_f"} <= set(scores)
    assert not any(name.endswith("/tag_acc") for name in scores), "tags come from one corpus"
    # Both hold the same docs.
    assert scores["ner/ents_f"] == scores["wire/ents_f"] == scores["ents_f"]
    assert "worst_task" not in scores, "not asked for"


def test_training_ends_when_no_task_gains_any_more(config, tmp_path):
    config["training"]["max_epochs"] = 50
    config["training"]["logger"]["patience"] = 3
    for rate in ("learn_rate", "head_learn_rate"):
        config["training"]["optimizer"][rate]["learn_rate"] = 0.0
    lines, printed = run(config, tmp_path)
    assert [line["step"] for line in lines] == [0, 5, 10, 15]
    assert "No task has gained for 3 evaluations" in printed
    assert (tmp_path / "out" / "model-last" / "config.cfg").exists()


def log(patience, *evaluations):
    """RETURNS (List[bool]): Whether training was at its end after each evaluation."""
    nlp = make_nlp_stub()
    setup = make_logger(patience=patience, progress_bar=False, plan=False)
    training = join()
    printer, close = setup(nlp, io.StringIO(), io.StringIO())
    ended = []
    for step, scores in enumerate(evaluations):
        info = {"epoch": 0, "step": step, "losses": {}, "other_scores": scores, "score": 0.0}
        printer(info)
        ended.append(training.stopped)
    close()
    return ended


def make_nlp_stub():
    import spacy

    nlp = spacy.blank("en")
    nlp.config["training"]["max_epochs"] = 10
    nlp.config["training"]["batcher"] = {"@batchers": "spacy_multitask.batch_by_words.v1"}
    return nlp


def test_any_task_that_gains_keeps_it_going():
    a, b = {"tag_acc": 0.5, "ents_f": 0.5}, {"tag_acc": 0.4, "ents_f": 0.6}
    # ents_p is no task; tag_acc falls and does not get back to its best.
    worse = {"tag_acc": 0.45, "ents_f": 0.6, "ents_p": 0.9}
    assert log(2, a, b, worse, worse) == [False, False, False, True]
    assert log(2, a, worse, worse, {"tag_acc": 0.51}) == [False, False, False, False]
    assert log(0, a, a, a, a) == [False] * 4


def test_after_the_end_there_are_no_batches():
    batcher = make_batcher(max_words=1)
    join().stopped = True
    assert list(batcher(object())) == [], "the examples are not even looked at"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("max_epochs", 0, "max_epochs = 0. Set it to 100"),
        ("max_epochs", -1, "max_epochs = -1"),
        ("batcher", {"@batchers": "spacy.batch_by_padded.v1"}, "needs the batcher"),
    ],
)
def test_where_training_can_not_be_ended_patience_is_refused(key, value, message):
    nlp = make_nlp_stub()
    nlp.config["training"][key] = value
    with pytest.raises(ValueError, match=message):
        make_logger(patience=2)(nlp)


def test_negative_patience_is_refused():
    with pytest.raises(ValueError, match="must not be negative"):
        make_logger(patience=-1)
