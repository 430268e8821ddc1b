"""The page about a pipeline, as it is without a browser."""

import base64
import hashlib
import json
import re

import pytest
import spacy
from spacy.tokens import Doc
from spacy.training import Example

from spacy_multitask.evaluation.mistakes import TaskPairs, find_pairs
from spacy_multitask.heads.kinds import score_named
from spacy_multitask.report.cards import changes_from
from spacy_multitask.report.curves import sparkline, training_curves
from spacy_multitask.report.mistakes import PASSAGE_WORDS, choose, matrix, passages_of
from spacy_multitask.report.page import PARTS
from spacy_multitask.report.rendering import _file, render
from spacy_multitask.report.weaknesses import weaknesses
from tests.report.conftest import EVIL, Tags, write_report


@pytest.fixture(scope="module")
def page(report_folder):
    return (report_folder / "report.html").read_text()


def data_of(page):
    return json.loads(page.partition('id="page-data">')[2].partition("</script>")[0])


def test_the_page_holds_every_part_and_needs_nothing_else(page):
    assert re.findall(r'<section id="(\w+)"', page) == list(PARTS)
    tags = Tags(page)
    assert tags.links == [] and "link" not in tags.found
    assert len(tags.ids) == len(set(tags.ids))
    for curve in ("Mean loss per step", "Scores on development docs", "Loss weights"):
        assert curve in tags.text
    assert "@import" not in page and "url(" not in page
    assert len(page.encode()) < 2_000_000


def test_the_header_answers_first(page):
    text = Tags(page).text
    cards, parts = text.index("% accuracy"), text.index("What to look at first")
    assert cards < text.index("In percent, each corpus")
    assert parts < text.index("In percent, each corpus")
    for fact in ("encoder", "heads", "scored on", "seed", "made", "report0/model", "95 % interval"):
        assert fact in text, fact
    assert "+0.0 points against report0/model: the same" in text
    assert re.search(r'aria-label="tags while it was trained: from 10.0 to 80.0 %"', page)


def test_only_its_own_scripts_may_run(page):
    policy = re.search(r"script-src ([^\"]*)", page)[1].split()
    scripts = re.findall(r"<script>(.*?)</script>", page, re.S)
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    assert policy == [f"'sha256-{digest}'" for digest in digests] and len(policy) == 2


def test_strings_from_data_are_escaped(page):
    assert Tags(page).found.count("script") == 3, "its data, uPlot and its own"
    assert "&lt;script&gt;" in page
    data = data_of(page)
    assert any(EVIL in "".join(passage["w"]) for passage in data["passages"])
    assert any(EVIL in mistake[1:3] for passage in data["passages"] for mistake in passage["m"])


def test_without_a_log_it_says_how_to_get_curves(report_folder):
    text = Tags(write_report(report_folder, "bare.html").read_text()).text
    assert "No log was given" in text and "--log training/log.jsonl" in text


def test_colours_have_contrast():
    """4.5 to 1 for text, in the light and in the dark, on all that it stands on."""
    light, dark = (
        dict(re.findall(r"--(\w+): (#\w{6})", part))
        for part in re.findall(r"\{ (?:color-scheme[^;]*; )?(--ink.*?)\}", _file("page.css"), re.S)
    )
    n = 0
    for colors in (light, dark):
        texts = ["ink", "soft", "accent", "good", "bad", *(f"c{k}" for k in range(8))]
        for ground in ("card", "ground"):
            for name in texts:
                assert contrast(colors[name], colors[ground]) >= 4.5, (name, ground, colors)
                n += 1
        assert contrast(colors["ink"], colors["mark"]) >= 4.5
        for tint in ("cell", "right"):
            assert contrast(colors["ink"], mixed(colors[tint], colors["card"], 0.4)) >= 4.5, tint
    assert n == 52


def channels(color):
    return [int(color[i : i + 2], 16) for i in (1, 3, 5)]


def mixed(first, second, part):
    pairs = zip(channels(first), channels(second))
    return "#" + "".join(f"{round(part * a + (1 - part) * b):02x}" for a, b in pairs)


def contrast(first, second):
    """Source: https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio"""

    def luminance(color):
        values = [v / 255 for v in channels(color)]
        linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_curves_leave_out_what_is_no_number(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text(
        '{"step": 0, "losses": {"ner": 3.0, "tagger": 1.0}, "scores": {"ents_f": null}}\n'
        '{"step": 5, "losses": {"ner": null, "tagger": NaN}, "scores": null}\n\n'
        '{"step": 9, "losses": {"ner": Infinity, "tagger": 0.5}}\n'
    )
    (losses,) = training_curves(log, {"ner": 0, "tagger": 1}.get)
    assert losses["title"] == "Mean loss per step"
    assert [x["name"] for x in losses["x"]] == ["step"], "time is not known"
    assert [line["values"] for line in losses["series"]] == [[3.0, None, None], [1.0, None, 0.5]]


def test_a_head_has_one_colour_and_its_second_score_is_dashed(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text(
        '{"step": 0, "seconds": 90, "scores": {"tag_acc": 0.5, "pos_acc": 0.25, "ents_f": 0}}\n'
    )
    (scores,) = training_curves(log, {"tag_acc": 0, "pos_acc": 0, "ents_f": 1}.get)
    lines = [(line["name"], line["color"], line["dash"]) for line in scores["series"]]
    assert lines == [("tag_acc", 0, False), ("pos_acc", 0, True), ("ents_f", 1, False)]
    assert scores["x"][1] == {"name": "minutes", "values": [1.5]}


def test_topics_of_which_several_may_be_true_have_a_curve(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 0, "scores": {"cats_score": 0.5, "cats_micro_f": 0.25}}\n')
    (scores,) = training_curves(log, {"cats_score": 0}.get)
    assert [(line["name"], line["values"]) for line in scores["series"]] == [("cats_score", [50.0])]


@pytest.mark.parametrize("line", ['{"losses": {}}', '{"step": null}', "[1]", '{"step": 7, "los'])
def test_a_line_that_is_not_of_a_log_is_named(tmp_path, line):
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 0, "losses": {"ner": 3.0}}\n' + line)
    with pytest.raises(ValueError, match=r"log\.jsonl:2: .* is not a line of a training log"):
        training_curves(log, {}.get)


def test_a_sparkline_needs_two_values():
    assert sparkline([0.5], "tags") == ""
    assert "from 50.0 to 75.0 %" in sparkline([0.5, 0.75], "<tags>")
    assert "<tags>" not in sparkline([0.5, 0.75], "<tags>")


def entities(vocab, words, *ents):
    doc = Doc(vocab, words=words)
    doc.ents = [doc.char_span(doc[s].idx, doc[e - 1].idx + len(doc[e - 1]), label=label)
                for s, e, label in ents]  # fmt: skip
    return doc


@pytest.fixture
def found():
    """Two entities of which one is right, one taken for another, and one found for nothing."""
    vocab = spacy.blank("en").vocab
    words = ["a"] * (PASSAGE_WORDS + 5)
    far = PASSAGE_WORDS + 1
    gold = entities(vocab, words, (0, 2, "PER"), (far, far + 2, "ORG"))
    own = entities(vocab, words, (0, 2, "PER"), (5, 6, "PER"), (far, far + 2, "LOC"))
    examples = [Example(own, gold)]
    return examples, find_pairs("news", examples, {"ents_f": None})


def test_a_long_doc_is_cut_into_passages_with_mistakes(found):
    examples, (task,) = found
    first, second = passages_of("news", examples, [(3, task)])
    by_start = {p["s"]: p for p in (first, second)}
    assert by_start[0]["m"] == [[3, "", "PER", None, [5, 6]]]
    assert by_start[PASSAGE_WORDS]["m"] == [[3, "ORG", "LOC", [1, 3], [1, 3]]]
    assert len(by_start[PASSAGE_WORDS]["w"]) == 5


def test_a_matrix_shows_what_is_taken_for_what_and_links_to_it(found):
    _, (task,) = found
    table = matrix(task)
    assert table["columns"] == ["LOC", "ORG", "PER"] and table["wrong"] == 2
    cells = {
        (row["label"], column): (cell["n"], cell["right"])
        for row in table["rows"]
        for column, cell in zip(table["columns"], row["cells"])
        if cell["n"]
    }
    assert cells == {
        ("ORG", "LOC"): (1, False),
        ("PER", "PER"): (1, True),
        ("nothing", "PER"): (1, False),
    }
    wrong = table["rows"][1]["cells"][0]["filter"]
    assert wrong == {"corpus": "news", "task": "entities", "gold": "ORG", "own": "LOC"}


def test_missed_items_and_other_limits_have_columns_of_their_own():
    vocab = spacy.blank("en").vocab
    gold = entities(vocab, ["a"] * 8, (0, 2, "PER"), (4, 5, "PER"))
    own = entities(vocab, ["a"] * 8, (1, 2, "PER"))
    (task,) = find_pairs("x", [Example(own, gold)], {"ents_f": None})
    table = matrix(task)
    assert table["columns"] == ["PER", "other limits", "nothing"]
    assert [cell["n"] for cell in table["rows"][0]["cells"]] == [0, 1, 1]


def test_each_confusion_has_passages_when_there_is_no_room_for_all():
    common = [{"c": "x", "n": i, "s": 0, "w": ["w" * 40], "m": [[0, "A", "B", None, None]] * 2}
              for i in range(50)]  # fmt: skip
    rare = {"c": "x", "n": 99, "s": 0, "w": ["w"], "m": [[0, "C", "D", None, None]]}
    chosen = choose([*common, rare], budget=1500)
    assert chosen[-1] is rare and 3 < len(chosen) < 20
    assert len(choose([*common, rare])) == 51


def test_a_change_that_may_be_chance_is_told_from_a_gain():
    vocab = spacy.blank("en").vocab
    words = ["a"] * 3
    gold = entities(vocab, words, (0, 1, "PER"))
    right = Example(entities(vocab, words, (0, 1, "PER")), gold)
    wrong = Example(entities(vocab, words, (1, 2, "PER")), gold)

    def scored(n_right):
        owners = {"ents_f": None}
        return [right] * n_right + [wrong] * (20 - n_right), owners, {"ents_f": n_right / 20}

    for n, kind, words in ((19, "up", "better"), (3, "down", "worse"), (12, "same", "chance")):
        found = changes_from(scored(n), scored(11), "old")["ents_f"]
        assert found["kind"] == kind and words in found["words"] and "old" in found["words"]
        assert found["value"] == f"{5 * (n - 11):+.1f}" and found["other"] == 11 / 20
    same = changes_from(scored(11), scored(11), "old")["ents_f"]
    assert same["words"] == "points against old: the same"


def pairs_of(**counts):
    """RETURNS (TaskPairs): Of entities, from GOLD_OWN=n."""
    from spacy_multitask.evaluation.mistakes import Pair

    docs = []
    for name, n in counts.items():
        gold, _, own = name.partition("_")
        docs += [(i, [Pair(gold, own, gold == own, (0, 1), (0, 1))]) for i in range(n)]
    return TaskPairs("news", "ents_f", score_named("ents_f"), None, docs)


def test_weaknesses_are_told_in_words_with_the_costliest_first():
    task = pairs_of(PER_PER=70, ORG_ORG=25, ORG_=15, _LOC=5, ORG_PER=10)
    first, second = weaknesses([task], [])
    assert first.what == "ORG is missed: 15 of 50 (30 %)."
    assert first.cost == "That is 15 of 30 mistakes in entities of news."
    assert first.filter == {"corpus": "news", "task": "entities", "gold": "ORG", "own": ""}
    assert second.what == "ORG is taken for PER: 10 of 50 (20 %)."


def test_probabilities_that_are_off_are_a_weakness():
    chart = {"title": "news: ner", "after": 0.2, "sureness": 0.9, "right": 0.7}
    (weak,) = weaknesses([], [chart])
    assert weak.what == "Probabilities of news: ner are too sure."
    assert "spacy multitask calibrate" in weak.advice and not weak.filter
    assert weaknesses([], [{**chart, "after": 0.01}]) == []


def test_a_page_without_mistakes_says_so():
    values = dict.fromkeys(
        ("title", "meta", "parts", "cards", "weaknesses", "scores", "labels", "baseline")
        + ("matrices", "passages", "left_out", "curves", "no_curves", "looks", "calibration")
        + ("fewest", "speed", "sizes", "machine", "passage_words"),
        (),
    )
    text = Tags(render("report.html", **values)).text
    assert "No mistake is in these corpora" in text
