"""From tasks and corpora to a config that trains."""

import io
import re
from math import ceil
from pathlib import Path

import pytest
import spacy
from spacy.tokens import Doc, DocBin
from spacy.training.initialize import init_nlp
from spacy.util import load_config
from thinc.api import Config
from typer.testing import CliRunner

import spacy_multitask
from spacy_multitask.cli import app
from spacy_multitask.composing import composition as composition_file
from spacy_multitask.composing.composition import Composition
from spacy_multitask.composing.config import compose, parse_task, write
from spacy_multitask.composing.estimate import describe, estimate
from spacy_multitask.corpus.survey import find_parts, survey
from spacy_multitask.heads.kinds import gold_counts
from spacy_multitask.training.forecast import describe_training
from spacy_multitask.training.logger import make_logger
from tests.conftest import example
from tests.integration.conftest import write_corpora

TASKS = {
    "pos": "tagger",
    "chunk": "chunker",
    "ner": "ner",
    "topic": "textcat",
    "relations": "relations",
}


@pytest.fixture
def corpora(tmp_path):
    write_corpora(tmp_path)
    return tmp_path


def specs(corpora, names=TASKS):
    return {name: (TASKS[name], corpora / name) for name in names}


def test_any_set_of_tasks_gives_a_complete_config_that_trains(corpora, encoder_path, tmp_path):
    config = compose(encoder_path, specs(corpora), epochs=2, batch_words=30)
    config["components"]["transformer"]["model"]["overlap"] = 8
    nlp = spacy.util.load_model_from_config(config, auto_fill=False)
    assert nlp.pipe_names == ["transformer", *TASKS]
    assert abs(sum(config["training"]["score_weights"].values()) - 1) < 1e-6
    nlp = spacy_multitask.train(config, tmp_path / "out")
    assert len(nlp("Mr Smith loves New York")) == 5
    assert (tmp_path / "out" / "model-last").is_dir()


def test_tasks_with_one_path_share_a_corpus(corpora, encoder_path):
    tasks = {"topic": ("textcat", corpora / "topic"), "ner": ("ner", corpora / "topic")}
    config = compose(encoder_path, tasks)
    assert list(config["corpora"]["train"]["corpora"]) == ["topic"]
    assert config["nlp"]["pipeline"] == ["transformer", "topic", "ner"]


def test_a_second_head_of_a_kind_has_its_own_place(corpora, encoder_path):
    tasks = {
        "pos": ("tagger", corpora / "pos"),
        "ud": ("tagger", corpora / "ud"),
        "ner": ("ner", corpora / "ner"),
        "topic": ("ner", corpora / "topic"),
    }
    config = compose(encoder_path, tasks)
    components = config["components"]
    assert components["ud"]["extension"] == "ud" and components["ud"]["corpora"] == ["ud"]
    assert components["topic"]["spans_key"] == "topic"
    assert set(config["training"]["score_weights"]) >= {"tag_acc", "ud_tag_acc", "spans_topic_f"}
    config["components"]["transformer"]["model"]["overlap"] = 8
    spacy.util.load_model_from_config(config, auto_fill=False)


@pytest.mark.parametrize(
    "sizes", [{}, {"epochs": 1}, {"epochs": 2, "batch_words": 40}, {"epochs": 500}]
)
def test_evaluations_suit_the_number_of_steps(corpora, encoder_path, sizes):
    training = compose(encoder_path, specs(corpora), **sizes)["training"]
    words = 48 + 90 + 72 + 60 + 30
    steps = words * training["max_epochs"] / training["batcher"]["max_words"]
    assert 1 <= training["eval_frequency"] <= max(1, steps / 2)
    assert training["eval_frequency"] >= min(20, steps // 15)


def test_eval_frequency_may_be_given(corpora, encoder_path):
    config = compose(encoder_path, specs(corpora), epochs=1, eval_frequency=7)
    assert config["training"]["eval_frequency"] == 7


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("epochs", 0),
        ("epochs", -1),
        ("epochs", 2.5),
        ("batch_words", 0),
        ("learn_rate", -1.0),
        ("eval_frequency", 0),
        ("lang", "zz"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(corpora, encoder_path, option, value):
    with pytest.raises(ValueError, match=f"{option} = "):
        compose(encoder_path, specs(corpora, ["pos"]), **{option: value})


@pytest.fixture
def coarse(corpora):
    """RETURNS (Path): A corpus with token.pos_ and without token.tag_."""
    doc = Doc(spacy.blank("en").vocab, words=["Smith", "won"], pos=["PROPN", "VERB"])
    for part in ("train", "dev"):
        DocBin(docs=[doc]).to_disk(corpora / f"coarse-{part}.spacy")
    return corpora / "coarse"


def test_a_tagger_that_has_coarse_tags_alone_counts_by_them(corpora, coarse, encoder_path):
    config = compose(encoder_path, {"a": ("tagger", coarse), "ner": ("ner", corpora / "ner")})
    weights = config["training"]["score_weights"]
    assert (weights["pos_acc"], weights["tag_acc"], weights["ents_f"]) == (0.5, 0.0, 0.5)


def test_a_second_tagger_needs_fine_tags(corpora, coarse, encoder_path):
    tasks = {"a": ("tagger", corpora / "pos"), "b": ("tagger", coarse)}
    with pytest.raises(ValueError, match=r"'b'.*has no token\.tag_, which a second tagger"):
        compose(encoder_path, tasks)
    config = compose(encoder_path, dict(reversed(tasks.items())))
    assert config["components"]["a"]["extension"] == "a"


def test_labels_that_exclude_each_other_are_told_from_others(corpora, encoder_path, tmp_path):
    nlp = spacy.blank("en")
    docs = [example(nlp, ["a"], cats={"x": 1.0, "y": 1.0}).reference]
    for part in ("train", "dev"):
        DocBin(docs=docs).to_disk(tmp_path / f"many-{part}.spacy")
    config = compose(encoder_path, {"many": ("textcat", tmp_path / "many")})
    assert config["components"]["many"]["exclusive_classes"] is False
    config = compose(encoder_path, specs(corpora, ["topic"]))
    assert config["components"]["topic"]["exclusive_classes"] is True


def test_topics_are_learned_from_words_besides_unless_they_are_many(
    corpora, encoder_path, tmp_path
):
    config = compose(encoder_path, specs(corpora, ["topic"]))
    shipped = load_config(Path(__file__).parents[2] / "configs" / "multitask.cfg")
    assert config["components"]["topic"]["model"] == shipped["components"]["textcat"]["model"]
    nlp = spacy.blank("en")
    docs = [example(nlp, ["a"], cats={f"t{i}": 1.0}).reference for i in range(51)]
    for part in ("train", "dev"):
        DocBin(docs=docs).to_disk(tmp_path / f"many-{part}.spacy")
    config = compose(encoder_path, {"many": ("textcat", tmp_path / "many")})
    assert "model" not in config["components"]["many"]


def test_entities_weigh_more_and_topics_less_beside_other_tasks(corpora, encoder_path):
    config = compose(encoder_path, specs(corpora))
    weights = {name: head.get("loss_weight", 1.0) for name, head in config["components"].items()}
    assert weights["ner"] > weights["pos"] == weights["chunk"] > weights["topic"] > 0
    alone = compose(encoder_path, specs(corpora, ["ner"]))
    assert "loss_weight" not in alone["components"]["ner"]


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({"pos": ("tagger", "topic")}, "has no gold for a tagger.*token.tag_.*for textcat, ner"),
        ({"pos": ("parser", "pos")}, "'parser' is not tagger, textcat, ner, span_classifier"),
        ({"pos": ("tagger", "nowhere")}, "no training and development part"),
        ({"r": ("relations", "relations")}, "add a task of the kind ner"),
        ({}, "at least one task"),
        (
            {"c": ("chunker", "chunk"), "n": ("ner", "ner"), "np": ("ner", "ner")},
            "'np' another name: np is taken",
        ),
        ({"pos": ("tagger", "do$l")}, r"must not have a \$"),
        ({"conll-03": ("ner", "ner")}, "'conll-03': a name is made of letters"),
        (
            {"a": ("chunker", "chunk"), "b": ("chunker", "chunk")},
            "can have one chunker only. Leave out 'b'",
        ),
    ],
)
def test_what_can_not_train_is_refused(corpora, encoder_path, tasks, message):
    with pytest.raises(ValueError, match=message):
        compose(encoder_path, {k: (kind, corpora / path) for k, (kind, path) in tasks.items()})


def test_survey_counts_what_is_known(corpora):
    found = survey(find_parts(corpora / "ner")[0], gold_counts())
    # Three docs, six times each: two with entities, one that has none.
    assert (found.docs, found.known["ner"], found.items["ner"]) == (18, 18, 18)
    assert found.known["tagger"] == 0 and found.known["chunker"] == 6
    related = survey(find_parts(corpora / "relations")[0], gold_counts())
    assert related.items["relations"] == 6


@pytest.mark.parametrize("text", ["pos=corpus", "pos:tagger", ":tagger=x"])
def test_a_task_of_another_form_is_refused(text):
    with pytest.raises(ValueError, match="NAME:KIND=PATH"):
        parse_task(text)


def test_more_data_means_fewer_passes_and_larger_batches(corpora, encoder_path):
    composition = Composition(encoder_path, [parse_task(f"pos:tagger={corpora / 'pos'}")], gpu=True)
    small = composition.sizes()
    composition.surveys["pos"].words = 3_000_000
    large = composition.sizes()
    assert small.epochs > large.epochs and small.batch_words < large.batch_words
    composition.surveys["pos"].words = 1000
    few = estimate(composition, small)
    composition.surveys["pos"].words = 4000
    more = estimate(composition, small)
    assert more.seconds > 2 * few.seconds and more.steps > few.steps
    rows, text = describe(composition, small)
    assert rows[0][:3] == ("pos", "tagger", "pos") and "steps of at most" in text


def test_a_development_part_without_gold_is_refused(corpora, encoder_path):
    (corpora / "pos-dev.spacy").write_bytes((corpora / "topic-dev.spacy").read_bytes())
    with pytest.raises(ValueError, match=r"development part .* has no gold for a tagger"):
        compose(encoder_path, specs(corpora, ["pos"]))


def test_sizes_for_a_gpu_are_another_config(corpora, encoder_path):
    cpu, gpu = (compose(encoder_path, specs(corpora, ["pos"]), gpu=gpu) for gpu in (False, True))
    found = [
        (
            config["components"]["transformer"]["precision"],
            config["system"]["gpu_allocator"],
            config["training"]["batcher"]["max_words"],
        )
        for config in (cpu, gpu)
    ]
    assert found == [("float32", None, 60), ("bfloat16", "pytorch", 200)]


def test_a_path_that_is_changed_is_changed_everywhere(corpora, encoder_path):
    config = compose(encoder_path, specs(corpora, ["pos"]))
    config["paths"]["log"] = "log.jsonl"
    assert config.interpolate()["training"]["logger"]["output_file"] == "log.jsonl"


def training_of(config):
    """RETURNS (Language): Initialised, as when spaCy asks for the logger."""
    config["components"]["transformer"]["model"]["overlap"] = 8
    return init_nlp(config)


def test_the_plan_of_a_training_counts_gold_of_each_head_in_each_corpus(corpora, encoder_path):
    config = compose(encoder_path, specs(corpora), epochs=2, batch_words=30)
    rows, text = describe_training(training_of(config))
    # write_corpora: every part six times; chunks: two docs, with 3 and 1, the second has no
    # entities; "Mr Smith" has 5 words, "IBM" 7, "The old town" 3.
    assert ("chunk", "chunker", "chunk", "12", "48", "24 chunks", "2") in rows
    assert ("ner", "ner", "ner", "18", "90", "18 entities", "2") in rows
    assert ("ner", "ner", "chunk", "6", "48", "0 entities", "2") in rows, "known to have none"
    assert ("pos", "tagger", "pos", "12", "72", "72 tagged words", "2") in rows
    assert ("topic", "textcat", "topic", "12", "60", "12 labelled docs", "2") in rows
    assert not [row for row in rows if row[:3] == ("pos", "tagger", "topic")]
    words = 48 + 90 + 72 + 60 + 30  # relations: Smith, six times
    steps = int(re.match(r"(\d+) steps of at most 30 words, about ", text)[1])
    # A batch leaves less than the longest doc empty.
    assert 2 * ceil(words / 30) <= steps <= 2 * ceil(words / 24)
    assert "GiB" in text


def test_the_plan_knows_mixing_limits_steps_and_what_is_frozen(corpora, encoder_path):
    config = compose(encoder_path, specs(corpora, ["pos", "topic"]), epochs=4, batch_words=30)
    train = config["corpora"]["train"]
    train["mixing"] = "uniform"
    train["corpora"]["pos"]["limit"] = 4
    train["corpora"]["spare"] = {"path": str(corpora / "chunk-train.spacy"), "limit": 8}
    nlp = training_of(config)
    nlp.config["training"].update(frozen_components=["topic"], patience=70)
    with nlp.select_pipes(disable=["topic"]):
        rows, text = describe_training(nlp)
    # 4 + 12 + 8 docs in even shares of 8, four times.
    assert rows == [("pos", "tagger", "pos", "4", "24", "24 tagged words", "8")]
    assert "No head learns from topic, spare." in text and "70 steps bring no better" in text
    config["training"]["max_steps"] = 3
    rows, text = describe_training(training_of(config))
    # spaCy counts from 0. An epoch has 48 + 40 + 32 words, hence four steps or more.
    assert text.startswith("4 steps") and 1.0 < float(rows[0][-1]) <= 2.0
    config["training"]["batcher"] = {"@batchers": "spacy.batch_by_sequence.v1", "size": 4}
    assert "not known beforehand" in describe_training(training_of(config))[1]
    config["training"]["max_epochs"] = -1
    assert describe_training(training_of(config)) is None, "a stream is not read beforehand"


def test_a_second_recogniser_and_stock_heads_are_in_the_plan(corpora, encoder_path):
    tasks = {"ner": ("ner", corpora / "ner"), "topic": ("ner", corpora / "topic")}
    config = compose(encoder_path, tasks, epochs=1)
    config["corpora"]["train"]["corpora"]["ud"] = {"path": str(corpora / "ud-train.spacy")}
    config["nlp"]["pipeline"] += ["morphologizer", "parser", "trainable_lemmatizer", "senter"]
    listener = {"@architectures": "spacy_multitask.EncoderListener.v1"}
    for name in ("morphologizer", "parser", "trainable_lemmatizer", "senter"):
        factory = f"partial_{name}" if name == "senter" else name
        config["components"][name] = {"factory": factory, "model": {"tok2vec": listener}}
    nlp = spacy.util.load_model_from_config(config, auto_fill=True)
    rows, _ = describe_training(training_of(nlp.config))
    gold = {row[:3]: row[3:6] for row in rows}
    assert ("ner", "ner", "topic") not in gold and ("topic", "ner", "topic") in gold
    # `parsed` of write_corpora has 7 words in 2 sentences, five of them with features other than
    # an empty set, and is there six times.
    assert gold["parser", "parser", "ud"] == ("6", "42", "42 words with a relation")
    assert gold["trainable_lemmatizer", "trainable_lemmatizer", "ud"][2] == "42 lemmas"
    assert gold["senter", "senter", "ud"][2] == "12 sentences"
    assert gold["morphologizer", "morphologizer", "ud"][2] == "42 words with features"


def test_the_logger_prints_the_plan_before_the_first_step(corpora, encoder_path):
    nlp = training_of(compose(encoder_path, specs(corpora, ["pos"]), epochs=1))
    printed = io.StringIO()
    make_logger()(nlp, printed, printed)[1]()
    text = printed.getvalue()
    assert text.index("72 tagged words") < text.index("2 steps") < text.index("epoch")
    printed = io.StringIO()
    make_logger(plan=False)(nlp, printed, printed)[1]()
    assert "tagged words" not in printed.getvalue() and "epoch" in printed.getvalue()


def test_quotes_and_dollars_in_paths_survive(corpora, encoder_path):
    composition = Composition(
        encoder_path, [parse_task(f"pos:tagger={corpora / 'pos'}")], gpu=False
    )
    composition.encoder = 'C:\\a "b" é'
    assert Config().from_str(write(composition))["paths"]["encoder"] == composition.encoder


def test_command(corpora, encoder_path, tmp_path):
    out = tmp_path / "config.cfg"
    arguments = ["init-config", str(out), "--encoder", encoder_path]
    arguments += ["--task", f"pos:tagger={corpora / 'pos'}", "--task", f"ner:ner={corpora / 'ner'}"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "tagged words" in done.output
    assert "Next: python -m spacy multitask train" in done.output
    assert "#" in out.read_text()
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 1 and "--overwrite" in again.output
    wrong = CliRunner().invoke(
        app, [*arguments[:4], "--overwrite", "--task", f"x:ner={corpora / 'pos'}"]
    )
    assert wrong.exit_code == 1 and "has no gold for a ner" in wrong.output


def test_docs_that_leak_are_not_in_the_plan(corpora, encoder_path, tmp_path):
    vocab = spacy.blank("en").vocab
    docs = [Doc(vocab, words=[f"w{k}{i}" for i in range(12)], tags=["N"] * 12) for k in range(5)]
    for part, found in (("train", docs), ("dev", docs[:2])):
        DocBin(docs=found).to_disk(tmp_path / f"pos-{part}.spacy")
    config = compose(encoder_path, specs(corpora, ["pos"]), epochs=1)
    for part in ("train", "dev"):
        config["corpora"][part]["corpora"]["pos"]["path"] = str(tmp_path / f"pos-{part}.spacy")
    config["corpora"]["train"]["leaks"] = "drop"
    with pytest.warns(UserWarning, match="leaks into held-out data"):
        rows, _ = describe_training(training_of(config))
    assert rows[0][3:5] == ("3", "36")


def test_the_kind_is_found_where_there_is_one_to_choose(corpora, encoder_path):
    config = compose(encoder_path, {"pos": corpora / "pos"})
    assert config["components"][config["nlp"]["pipeline"][1]]["factory"] == "multitask_tagger"
    with pytest.raises(
        ValueError, match=r"'both': say which .*\(\"textcat\", .*for textcat, ner\."
    ):
        compose(encoder_path, {"both": corpora / "topic"})


@pytest.mark.parametrize("tasks", [{"pos": ("tagger",)}, {"pos": 3}, ["pos"], "pos"])
def test_tasks_of_another_form_are_refused(tasks):
    with pytest.raises(ValueError, match=r"Give a kind of head and a path by name"):
        compose("some/encoder", tasks)


@pytest.mark.parametrize(
    ("encoder", "tasks", "rest", "message"),
    [
        ("some/encoder", {"pos": ("tagger", "nowhere")}, {}, "no training and development part"),
        ("some/encoder", {"pos": ("tagger", "pos")}, {"lang": "zz"}, "lang = 'zz'"),
        ("some/encoder", {"pos": ("tagger", "pos")}, {"epochs": -1}, "epochs = -1"),
        ("some/encoder", {"pos": ("tagger", "pos")}, {"epoch": 1}, "epoch is not one of"),
        ("./nothing", {"pos": ("tagger", "pos")}, {}, r"no folder \./nothing"),
        ("/a/b/c", {"pos": ("tagger", "pos")}, {}, "no folder /a/b/c"),
    ],
)
def test_wrong_arguments_are_found_before_the_hub_is_asked(
    corpora, monkeypatch, encoder, tasks, rest, message
):
    def ask(name):
        raise AssertionError(f"asked for {name}")

    monkeypatch.setattr(composition_file, "look_up", ask)
    with pytest.raises(ValueError, match=message):
        compose(encoder, {k: (kind, corpora / p) for k, (kind, p) in tasks.items()}, **rest)


def test_a_teacher_can_be_named_on_the_command_line(corpora, encoder_path, tmp_path):
    compose(encoder_path, specs(corpora)).to_disk(tmp_path / "config.cfg")
    override = {"initialize.components.ner.teacher": "training/model-last"}
    found = load_config(tmp_path / "config.cfg", overrides=override)["initialize"]["components"]
    assert found["ner"] == {"teacher": "training/model-last"}
    assert found["pos"] == found["chunk"] == found["topic"] == {"teacher": None}


def test_a_config_is_the_same_from_any_folder(corpora, encoder_path, tmp_path, monkeypatch):
    monkeypatch.chdir(corpora)
    (tmp_path / "enc").symlink_to(encoder_path)
    config = compose("enc", {"pos": ("tagger", "pos")}, epochs=1)
    config["components"]["transformer"]["model"]["overlap"] = 8
    config.to_disk(corpora / "config.cfg")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert init_nlp(load_config(corpora / "config.cfg")).pipe_names == ["transformer", "pos"]


def test_tasks_keep_their_names(corpora, encoder_path):
    config = compose(encoder_path, {"words": ("tagger", corpora / "pos")})
    assert config["nlp"]["pipeline"] == ["transformer", "words"]
    assert list(config["corpora"]["train"]["corpora"]) == ["words"]
    assert config["training"]["score_weights"]["tag_acc"] == 1.0
    with pytest.raises(ValueError, match="'transformer' another name"):
        compose(encoder_path, {"transformer": ("tagger", corpora / "pos")})
