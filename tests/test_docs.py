"""Every snippet of README.md and docs/ works: Python runs, commands parse, config sections load."""

import ast
import inspect
import itertools
import random
import re
import shlex
from concurrent.futures import ThreadPoolExecutor
from configparser import ConfigParser
from pathlib import Path

import pytest
import spacy
import srsly
import typer
from spacy.cli._util import app as spacy_app
from spacy.language import Language
from spacy.util import registry
from thinc.api import Config

import spacy_multitask
import spacy_multitask.cli  # adds its commands to spaCy's
from scripts import pictures, site
from spacy_multitask import compose
from spacy_multitask.cli import app
from spacy_multitask.composing.composition import WORDS_TO_SEE, passes
from tests.integration.conftest import write_corpora

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)( no-test)?\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[tuple[bool, str]]:
    """RETURNS (List[Tuple[bool, str]]): Whether it is to be run, and its text."""
    found = BLOCK.findall(page.read_text(encoding="utf8"))
    return [(not no_test, text) for name, no_test, text in found if name == language]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_python(page, trained, encoder_path, tmp_path, monkeypatch):
    snippets = blocks(page, "python")
    if not snippets:
        pytest.skip("no Python on this page")
    if any("fastapi" in text for _, text in snippets):
        pytest.importorskip("fastapi", reason="FastAPI is not installed")
    monkeypatch.chdir(tmp_path)
    write_corpora(tmp_path / "corpus")
    trained.to_disk(tmp_path / "en_multitask")
    # Or an installed package of that name would take its place, such as the demo's.
    monkeypatch.setattr(spacy.util, "is_package", lambda name: False)
    # Fit for a tiny encoder and few sentences.
    from spacy_multitask.composing import config

    monkeypatch.setattr(config, "_TEMPLATE", config._TEMPLATE.replace(
        "name = ${{paths.encoder}}", "name = ${{paths.encoder}}\noverlap = 8"
    ))  # fmt: skip
    namespace: dict = {}
    for runs, text in snippets:
        if runs:
            text = text.replace('"distilbert-base-uncased"', repr(encoder_path))
            exec(compile(text, str(page), "exec"), namespace)
        else:
            ast.parse(text)


def commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for _, text in blocks(page, "bash"):
            for line in text.replace("\\\n", " ").splitlines():
                line = line.partition("  #")[0].strip()
                if line.startswith("python -m spacy "):
                    found.append((page.name, line))
    for name, command in typer.main.get_command(app).commands.items():
        found.append((f"--help of {name}", command.epilog.removeprefix("Example: ")))
    return found


@pytest.mark.parametrize(("page", "line"), commands(), ids=lambda value: value[:60])
def test_commands_take_these_options(page, line):
    # What typer builds is read as it is: its classes are click's or its own, by version.
    command = typer.main.get_command(spacy_app)
    words = shlex.split(line)[3:]
    while hasattr(command, "commands"):
        name, *words = words
        if name == "huggingface-hub" and name not in command.commands:
            pytest.skip("comes with a package of its own")
        assert name in command.commands, f"{page}: no command {name}"
        command = command.commands[name]
    options = {
        flag: parameter
        for parameter in command.params
        for flag in (*parameter.opts, *parameter.secondary_opts)
        if flag.startswith("-")
    }
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    n_arguments = 0
    missing = {p.opts[0] for p in command.params if p.required}
    while words:
        word = words.pop(0)
        flag, equals, _ = word.partition("=")
        if not flag.startswith("-"):
            takes_more = arguments and arguments[-1].nargs == -1
            assert takes_more or n_arguments < len(arguments), f"{page}: too many arguments, {word}"
            missing.discard(arguments[min(n_arguments, len(arguments) - 1)].opts[0])
            n_arguments += 1
        elif flag in options:
            missing.discard(options[flag].opts[0])
            if not equals and not getattr(options[flag], "is_flag", False):
                words.pop(0)
        elif flag != "--help":
            # These take overrides of the config or of project variables besides.
            assert command.name in ("train", "run", "evaluate") and "." in flag, f"{page}: {flag}"
            if not equals:
                words.pop(0)
        else:
            return
    assert not missing, f"{page}: {line} lacks {', '.join(sorted(missing))}"


def test_config_sections_parse():
    n = 0
    for page in PAGES:
        for _, text in blocks(page, "ini"):
            parents = {
                name.rsplit(".", depth)[0]
                for name in re.findall(r"^\[(.+)\]$", text, re.MULTILINE)
                for depth in range(1, name.count(".") + 1)
            }
            sections = "".join(f"[{name}]\n" for name in sorted(parents) if f"[{name}]" not in text)
            assert Config().from_str(sections + text, interpolate=False)
            n += 1
    assert n


@pytest.mark.parametrize(("encoder", "row"), [("tiny", "width up to 384"), ("no/such", "wider")])
def test_rates_of_the_guide_are_those_of_composed_configs(encoder, row, encoder_path, tmp_path):
    write_corpora(tmp_path)
    encoder = encoder_path if encoder == "tiny" else encoder
    tasks = {"pos": ("tagger", tmp_path / "pos")}
    rates = []
    for gpu in (False, True):
        optimizer = compose(encoder, tasks, gpu=gpu)["training"]["optimizer"]
        rates.append(optimizer["learn_rate"]["learn_rate"])
    rates.append(optimizer["head_learn_rate"]["learn_rate"])
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf8")
    (line,) = (line for line in text.splitlines() if line.startswith(f"| {row}"))
    assert [float(cell) for cell in line.strip("| ").split(" | ")[1:]] == rates


def test_passes_of_the_guide_are_those_of_composed_configs():
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf8")
    assert f"some {WORDS_TO_SEE:,} words, with at least 3 passes and at most 20" in text
    for words, epochs in ((1, 20), (WORDS_TO_SEE / 10, 10), (10**9, 3)):
        assert passes(words) == epochs


def test_bullets_are_short():
    """Four lines at most: what is longer is a section."""
    n = 0
    for page in PAGES:
        text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf8"), flags=re.M | re.S)
        for bullet in re.findall(r"^ *- .*(?:\n +[^-\s].*)*", text, flags=re.MULTILINE):
            assert bullet.count("\n") < 4, f"{page.name}: {bullet}"
            n += 1
    assert n > 50


def anchors(page: Path) -> set[str]:
    """RETURNS (Set[str]): What links to headings of a page end with."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_files_that_are_named_are_there():
    n_names = n_links = n_anchors = 0
    for page in PAGES:
        text = page.read_text(encoding="utf8")
        for name in re.findall(r"`((?:configs|docs|benchmarks)/[\w./-]+)`", text):
            assert (ROOT / name).exists(), f"{page.name} names {name}"
            n_names += 1
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
            assert (page.parent / link).exists(), f"{page.name} links {link}"
            n_links += 1
        for link, anchor in re.findall(r"\]\(([\w/.-]*)#([^)]+)\)", text):
            target = page.parent / link if link else page
            assert anchor in anchors(target), f"{page.name} links {link}#{anchor}"
            n_anchors += 1
    assert n_names > 10 and n_links > 20 and n_anchors > 5


def test_every_page_is_in_the_menu_of_the_site():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf8")
    menu = re.findall(r"[\w/.-]+\.md", text.partition("\nnav:")[2])
    pages = {page.name for page in (ROOT / "docs").glob("*.md")}
    assert len(menu) == len(set(menu)) and set(menu) == pages | set(site.PAGES)


def test_the_site_has_pages_of_all_commands_and_functions():
    commands = site.commands_page()
    n = 0
    for name, command in typer.main.get_command(app).commands.items():
        assert f"\n## {name}\n" in commands
        for parameter in command.params:
            for flag in parameter.opts if parameter.param_type_name == "option" else ():
                assert f"`{flag}`" in commands, f"{name} {flag}"
                n += 1
    assert n > 60
    components, registered = site.components_page(), site.registered_page()
    spacy.blank("en")
    names = [n for n in registry.factories.get_all() if n.startswith(("multitask_", "partial_"))]
    assert len(names) > 8
    for name in names:
        assert f"\n## {name}\n" in components
        for option in Language.get_factory_meta(name).default_config:
            assert re.search(rf"^\[?[\w.]*\b{option}\b", components, re.MULTILINE), option
    for kind in ("architectures", "readers", "batchers", "loggers", "optimizers", "schedules"):
        for name in getattr(registry, kind).get_all():
            if name.startswith("spacy_multitask."):
                assert f"\n### {name}\n" in registered
    for name in spacy_multitask.__all__:
        assert f".{name}\n" in site.python_page()


def test_docstrings_of_the_house_become_tables():
    pytest.importorskip("griffe", reason="griffe comes with the extra docs")
    from scripts.griffe_spacy import to_google

    text = (
        "Do it.\n\na, b (int): Words\n    in two lines.\nc: Last.\nRETURNS (Dict[str, int]): All.\n"
    )
    assert to_google(text + "RAISES (ValueError): If not.\n\nSource: a book") == (
        "Do it.\n\n\nSource: a book\n\nArgs:\n    a, b (int): Words in two lines.\n    c: Last.\n\n"
        "Returns:\n    Dict[str, int]: All.\n\nRaises:\n    ValueError: If not."
    )
    assert to_google("One line: no entry.") == "One line: no entry."


def test_pictures_are_those_of_the_script():
    """If this fails, run `make pages`."""
    for name, text in (
        ("layers", pictures.draw_layers(pictures.example())),
        ("architecture", pictures.draw_architecture()),
    ):
        assert (ROOT / "docs" / "images" / f"{name}.svg").read_text(encoding="utf8") == text


def test_the_readme_is_short():
    assert len(PAGES[0].read_text(encoding="utf8").splitlines()) < 150


def test_the_version_is_one():
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf8")
    citation = srsly.read_yaml(ROOT / "CITATION.cff")
    versions = {setup["metadata"]["version"], citation["version"], spacy_multitask.__version__}
    assert len(versions) == 1, versions


def make_targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf8")
    return set(re.findall(r"^(\w+):", makefile, flags=re.MULTILINE))


def test_workflows_run_what_is_there():
    n_targets = n_scripts = 0
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        text = path.read_text(encoding="utf8")
        jobs = srsly.yaml_loads(text)["jobs"]
        assert all(job["steps"] for job in jobs.values())
        for targets in re.findall(r"- run: make ([a-z ]+)", text):
            assert set(targets.split()) <= make_targets(), path.name
            n_targets += 1
        for versions in re.findall(r"versions: \[(.*)\]", text):
            noxfile = (ROOT / "noxfile.py").read_text(encoding="utf8")
            assert all(f'"{name}": [' in noxfile for name in versions.split(", ")), path.name
            n_scripts += 1
    assert n_targets and n_scripts


def test_make_targets_that_pages_name_are_there():
    n = 0
    for page in PAGES:
        text = page.read_text(encoding="utf8")
        for targets in re.findall(r"(?:^|`)make ([a-z]+(?: [a-z]+)*)(?=`| +#|$)", text, re.M):
            assert set(targets.split()) <= make_targets(), f"{page.name}: make {targets}"
            n += 1
    assert n > 5


def test_the_server_of_the_page_answers(trained, tmp_path, monkeypatch):
    pytest.importorskip("fastapi", reason="FastAPI is not installed")
    monkeypatch.chdir(tmp_path)
    trained.to_disk("en_multitask")
    (snippet,) = (text for _, text in blocks(ROOT / "docs" / "serving.md", "python"))
    namespace: dict = {}
    exec(compile(snippet, "serving.md", "exec"), namespace)
    assert "/annotate" in {route.path for route in namespace["app"].routes}
    first, second = namespace["annotate"](["Mr Smith loves New York", ""])
    assert first["entities"] == [("Smith", "PER"), ("New York", "LOC")]
    assert second["tags"] == []
    # FastAPI calls it from a pool of threads.
    rng = random.Random(0)
    requests = [
        [" ".join(f"w{rng.randrange(10**9)}" for _ in range(20)) for _ in range(3)]
        for _ in range(40)
    ]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(namespace["annotate"], requests))
    for texts, answer in zip(requests, answers, strict=True):
        assert [" ".join(word for word, _ in doc["tags"]) for doc in answer] == texts


# Options that configs of 0.1.0 name, and that are refused.
GONE = {"homogeneous", "layer", "pretrained_decay"}


def test_every_option_is_documented():
    """Of what is registered under our name: factories, and functions for configs."""
    text = (ROOT / "docs" / "configs.md").read_text(encoding="utf8")
    spacy.blank("en")  # makes the factories of installed packages known
    own = [name for name in registry.factories.get_all() if name.startswith("multitask_")]
    assert len(own) >= 6
    options = {name: Language.get_factory_meta(name).default_config for name in own}
    for kind in ("architectures", "readers", "batchers", "loggers", "optimizers", "schedules"):
        for name, function in getattr(registry, kind).get_all().items():
            if name.startswith("spacy_multitask."):
                options[name] = inspect.signature(function).parameters
    missing = [name for name in options if f"`{name}`" not in text]
    for name, parameters in options.items():
        for option in set(parameters) - {"model", "tok2vec", *GONE}:
            if f"`{option}`" not in text and f"`model.{option}`" not in text:
                missing.append(f"{option} of {name}")
    assert not missing, f"docs/configs.md does not mention {missing}"


def defaults_in(text: str) -> dict[str, object]:
    """RETURNS (Dict[str, object]): What the first table of a text says are an option's defaults."""
    rows = itertools.takewhile(
        lambda line: line.startswith("|"),
        itertools.dropwhile(lambda line: not line.startswith("|"), text.splitlines()),
    )
    found: dict[str, object] = {}
    for row in list(rows)[2:]:
        names, defaults = (cell.strip() for cell in row.split("|")[1:3])
        names = re.findall(r"`(?:model\.)?(\w+)`", names)
        values = defaults.replace("`", "").split(", ") if defaults else [None] * len(names)
        for name, value in zip(names, values, strict=True):
            if value is not None and value != "by device" and not value.endswith(".v1"):
                found[name] = ast.literal_eval(
                    {"true": "True", "false": "False", "null": "None"}.get(value, value)
                )
    return found


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("architectures", "EncoderListener"),
        ("readers", "MultiCorpus"),
        ("batchers", "batch_by_words"),
        ("optimizers", "AdamW"),
        ("schedules", "warmup_linear"),
        ("loggers", "Logger"),
        ("architectures", "Encoder"),
    ],
)
def test_defaults_on_the_page_are_those_of_the_code(kind, name):
    text = (ROOT / "docs" / "configs.md").read_text(encoding="utf8")
    start = {
        "EncoderListener": "The listener has one option",
        "MultiCorpus": "## Corpora: `spacy_multitask.MultiCorpus",
        "Encoder": "Its `model` is a `spacy_multitask.Encoder",
    }.get(name, f"\n`spacy_multitask.{name}.v1`")
    found = defaults_in(text[text.index(start) :])
    parameters = inspect.signature(
        getattr(registry, kind).get(f"spacy_multitask.{name}.v1")
    ).parameters
    own = {
        option: found[option]
        for option in parameters
        # Without a default, one is the component's.
        if option in found and parameters[option].default is not inspect.Parameter.empty
    }
    assert len(own) >= (1 if name == "EncoderListener" else 2)
    assert own == {option: parameters[option].default for option in own}
    # Other rows are options of the factory.
    others = {} if name != "Encoder" else Language.get_factory_meta("multitask_transformer")
    assert set(found) - set(parameters) <= set(others.default_config if others else ())


def test_the_page_of_encoders_lists_the_kinds_that_are_loaded():
    from spacy_multitask.encoder.settings import TEXT_MODELS

    text = (ROOT / "docs" / "encoders.md").read_text(encoding="utf8")
    assert set(text.split("```text\n")[1].split("```")[0].split()) == TEXT_MODELS
