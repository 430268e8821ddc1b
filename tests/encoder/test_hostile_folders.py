"""A pipeline from others is loaded, or refused in a line; nothing else comes of it.

`tests/encoder/hostile.py` has what was done to each.
"""

import os
import resource
import shutil
import signal
import subprocess
import sys

import pytest
from spacy.tokens import Doc
from spacy.training import Example

from spacy_multitask.encoder.files import from_files, read_folder
from spacy_multitask.encoder.pretrained import load_pretrained
from spacy_multitask.relations import set_relations
from tests.conftest import TEXTS, corpus, make_nlp
from tests.encoder.hostile import (
    HEADS,
    SPOILED,
    SPOILED_ENCODERS,
    marker,
    spoil,
)
from tests.encoder.hub_models import MAJOR

SECONDS = 20  # of processor time; most take a hundredth of one
MEGABYTES = 500
# What must not happen, by the names of https://docs.python.org/3/library/audit_events.html
FORBIDDEN = ("socket.connect", "socket.getaddrinfo", "pickle.find_class", "os.system")
FORBIDDEN += ("subprocess.Popen", "os.exec", "os.posix_spawn")
events: list[str] = []
is_watching = False


def _watch(event: str, arguments: tuple) -> None:
    if is_watching and (event in FORBIDDEN or (event == "import" and arguments[0] == "evil")):
        events.append(f"{event} {arguments}")


sys.addaudithook(_watch)


@pytest.fixture
def watched():
    """See that no code of a folder is run, and no network asked, in bounded time and memory."""
    global is_watching

    def stop(*_: object) -> None:
        raise RuntimeError("it takes too long")

    before = signal.signal(signal.SIGPROF, stop), signal.signal(signal.SIGALRM, stop)
    n_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(5 * SECONDS)  # what waits for a pipe takes no processor time
    events.clear()
    is_watching = True
    yield
    is_watching = False
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.alarm(0)
    signal.signal(signal.SIGPROF, before[0])
    signal.signal(signal.SIGALRM, before[1])
    assert not events
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - n_bytes
    assert more < MEGABYTES * 1000


@pytest.fixture(scope="module")
def pipeline(encoder_path, tmp_path_factory):
    nlp = make_nlp(encoder_path)
    nlp.add_pipe("multitask_relations", name="relations")
    nlp.initialize(lambda: [*corpus(nlp), *related(nlp)])
    path = tmp_path_factory.mktemp("pipeline") / "model"
    nlp.to_disk(path)
    return nlp, path


def related(nlp):
    doc = Doc(nlp.vocab, words=["Mr", "Smith", "loves", "York"], ents=["O", "B-PER", "O", "B-LOC"])
    set_relations(doc, [(doc.ents[0], doc.ents[1], "loves", 1.0)])
    return [Example(Doc(nlp.vocab, words=[t.text for t in doc]), doc)]


def check_line(message: str, said: tuple[str, ...]) -> None:
    assert "\n" not in message
    assert len(message) < 1000
    for part in said:
        assert part in message


@pytest.mark.parametrize("vouched", [False, True], ids=["", "vouched"])
@pytest.mark.parametrize("name", SPOILED)
def test_an_encoder_from_others(name, vouched, pipeline, tmp_path, watched):
    nlp, saved = pipeline
    shutil.copytree(saved, tmp_path / "model")
    said = spoil(name, tmp_path / "model", vouched=vouched)
    folder = tmp_path / "model" / "transformer" / "model"
    if vouched and "a link in place" in name:
        said = None  # as in a cache of the hub
    options = nlp.get_pipe("transformer").shim.options
    if said is None:
        encoder = from_files(*read_folder(folder, "transformer"), options)
        rows = encoder.encode([nlp.make_doc(TEXTS[0])], is_train=False, precision="float32").words
        assert rows.isfinite().all()
    else:
        with pytest.raises(ValueError) as caught:
            from_files(*read_folder(folder, "transformer"), options)
        check_line(str(caught.value), (str(folder), *said))
    assert not marker(folder).exists()


@pytest.mark.parametrize("name", HEADS)
def test_a_head_from_others(name, pipeline, tmp_path, watched):
    nlp, saved = pipeline
    head, do, said = HEADS[name]
    shutil.copytree(saved / head, tmp_path / head)
    do(tmp_path / head)
    pipe = nlp.create_pipe(f"multitask_{head}", head)
    with pytest.raises(ValueError) as caught:
        pipe.from_disk(tmp_path / head, exclude=["vocab"])
    check_line(str(caught.value), (str(tmp_path / head), *said))


# It takes tokenizer.json, and does not look for the class.
LOADED = {(5, "a tokenizer with code of its own")}


@pytest.mark.parametrize("name", SPOILED_ENCODERS)
def test_an_encoder_that_a_config_names(name, encoder_path, pipeline, tmp_path, watched):
    nlp, _ = pipeline
    folder = tmp_path / "a" / "b" / "encoder"
    shutil.copytree(encoder_path, folder)
    do, said = SPOILED_ENCODERS[name]
    do(folder)
    options = nlp.get_pipe("transformer").shim.options
    if said is None or (MAJOR, name) in LOADED:
        assert load_pretrained(str(folder), options).width == 32
    else:
        with pytest.raises(ValueError) as caught:
            load_pretrained(str(folder), options)
        check_line(str(caught.value), (str(folder), *said))
    assert not marker(folder).exists()


# A package that fetches code from the hub. What it is asked for is written down.
PRETENDED = """
import os

def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    def pretend(*args, **kwargs):
        if name == "get_kernel":
            with open(os.environ["ASKED_FOR"], "a") as file:
                print(name, *args, file=file)
        return lambda x, *_: x
    return pretend
"""
LOADING = """
import sys, warnings
warnings.simplefilter("ignore")
import spacy, torch
from transformers import AutoModel, BertConfig
torch.version.cuda = torch.version.cuda or "12.6"
for path in sys.argv[1:]:
    try:
        spacy.load(path)("Mr Smith loves New York")
        print("loaded")
    except ValueError as error:
        print(error)
size = {"hidden_size": 8, "num_attention_heads": 1, "num_hidden_layers": 1}
config = BertConfig(**size, attn_implementation="control/kernel:attention")
try:
    AutoModel.from_config(config)
except Exception as error:
    print("control", type(error).__name__)
"""


@pytest.mark.slow
def test_no_package_is_asked_for_code(pipeline, tmp_path):
    _, saved = pipeline
    metadata = "Metadata-Version: 2.1\nName: kernels\nVersion: 1.0\n"
    for name, file, text in (
        ("kernels", "__init__.py", PRETENDED),
        ("kernels-1.0.dist-info", "METADATA", metadata),
    ):
        (tmp_path / "site" / name).mkdir(parents=True)
        (tmp_path / "site" / name / file).write_text(text)
    names = [n for n in SPOILED if "kernel" in n or "code" in n]
    for i, name in enumerate(names):
        shutil.copytree(saved, tmp_path / f"model-{i}")
        spoil(name, tmp_path / f"model-{i}")
    asked = tmp_path / "asked"
    path = os.pathsep.join([str(tmp_path / "site"), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", LOADING, *(str(tmp_path / f"model-{i}") for i in range(len(names)))],
        env={**os.environ, "PYTHONPATH": path, "ASKED_FOR": str(asked)},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for name, line in zip(names, lines, strict=False):
        said = SPOILED[name][1]
        check_line(line, ("loaded",) if said is None else said)
    # The last is no pipeline: it shows that one would be noticed. Version 5 asks in another way.
    found = asked.read_text().splitlines() if asked.exists() else []
    assert len(found) == (MAJOR == 4) and all("control/kernel" in line for line in found)
    assert not list(tmp_path.glob("*/was_run"))
