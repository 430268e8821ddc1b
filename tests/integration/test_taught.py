"""From a model for one task to a teacher of a model for all, by the commands of the guide."""

import spacy
from spacy.tokens import Doc
from spacy.util import load_config
from typer.testing import CliRunner

from spacy_multitask.cli import app
from spacy_multitask.heads.teaching import Teacher


def run(*arguments: object) -> None:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output


def test_a_model_that_compare_keeps_teaches_that_of_all(project, tmp_path, monkeypatch):
    config = load_config(project / "config.cfg", interpolate=False)
    config["initialize"]["components"]["ner"] = {"teacher": None}
    path = tmp_path / "config.cfg"
    config.to_disk(path)
    run("compare", path, "--runs", "alone", "--task", "ner", "--models", tmp_path / "models")
    teacher = tmp_path / "models" / "alone-ner-0" / "model-last"
    asked = []
    say = Teacher.say
    monkeypatch.setattr(
        Teacher, "say", lambda self, docs: asked.append(self.nlp.path) or say(self, docs)
    )
    option = ("--initialize.components.ner.teacher", teacher)
    run("train", path, "--output", tmp_path / "all", *option)
    # By the batches of the other corpora.
    assert len(asked) > 10 and set(asked) == {teacher}
    nlp, wise = spacy.load(tmp_path / "all" / "model-last"), spacy.load(teacher)
    words = ["IBM", "made", "a", "lot", "of", "profit", "."]
    one, other = (pipe(Doc(pipe.vocab, words=words)) for pipe in (nlp, wise))
    assert [(e.text, e.label_) for e in one.ents] == [(e.text, e.label_) for e in other.ents]
    assert one[0].tag_ and "np" in one.spans
