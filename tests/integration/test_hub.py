"""`spacy huggingface-hub push` takes the wheel of one of our pipelines. Nothing is uploaded."""

import importlib
import zipfile
from pathlib import Path

import pytest
import yaml
from spacy.cli.package import package


@pytest.fixture
def wheel(trained, tmp_path):
    """RETURNS (Path): An archive with a wheel's files, made without a build."""
    nlp = trained
    nlp.meta["performance"] = {"tag_acc": 0.9, "ents_p": 0.8, "ents_r": 0.7, "ents_f": 0.75}
    nlp.to_disk(tmp_path / "model")
    (tmp_path / "packages").mkdir()
    package(
        tmp_path / "model",
        tmp_path / "packages",
        name="multitask",
        version="1.0.0",
        create_sdist=False,
        create_wheel=False,
    )
    root = tmp_path / "packages" / "en_multitask-1.0.0"
    path = tmp_path / "en_multitask-1.0.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted((root / "en_multitask").rglob("*")):
            archive.write(file, file.relative_to(root))
    return path


def test_push_makes_a_model_card_and_uploads_every_file(wheel, monkeypatch):
    pytest.importorskip("spacy_huggingface_hub", reason="spacy-huggingface-hub is not installed")
    hub = importlib.import_module("spacy_huggingface_hub.push")
    uploaded = {}

    class Api:
        def create_repo(self, **options):
            uploaded["repo"] = options["repo_id"]

    def upload_folder(*, repo_id, folder_path, **options):
        folder = Path(folder_path)
        uploaded["card"] = (folder / "README.md").read_text(encoding="utf8")
        uploaded["files"] = {str(f.relative_to(folder)) for f in folder.rglob("*")}
        return f"https://huggingface.co/{repo_id}/tree/main/"

    monkeypatch.setattr(hub, "HfApi", Api)
    monkeypatch.setattr(hub, "upload_folder", upload_folder)
    pushed = hub.push(wheel, "someone", silent=True)
    assert uploaded["repo"] == "someone/en_multitask"
    assert pushed["whl_url"].endswith(
        "/someone/en_multitask/resolve/main/en_multitask-any-py3-none-any.whl"
    )
    assert {
        "config.cfg",
        "meta.json",
        "transformer/model/model.safetensors",
        "transformer/model/tokenizer.json",
        "en_multitask-any-py3-none-any.whl",
    } <= uploaded["files"]
    _, head, body = uploaded["card"].split("---\n", 2)
    card = yaml.safe_load(head)
    assert card["tags"] == ["spacy", "token-classification", "text-classification"]
    assert card["language"] == ["en"]
    (index,) = card["model-index"]
    assert [result["task"]["name"] for result in index["results"]] == ["NER", "TAG"]
    assert "`multitask`" in body or "`en_multitask`" in body
    assert "`ner`" in body and "`PER`" in body, "the label scheme"
