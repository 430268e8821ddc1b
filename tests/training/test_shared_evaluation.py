"""An evaluation by several processes: the scores are those of one, and each predicts a part."""

import json
import os
import signal
from pathlib import Path

import pytest
import spacy
from spacy.language import Language
from spacy.training import Corpus
from spacy.training.loop import create_evaluation_callback

from spacy_multitask.training.evaluation import SharedEvaluation
from spacy_multitask.training.ranks import Ranks
from spacy_multitask.training.stopping import Stop, StoppedEvaluation
from tests.conftest import write_encoder
from tests.integration.conftest import write_corpora
from tests.training.test_ranks import in_ranks
from tests.training.test_ranks_train import ROOT

WEIGHTS = {"tag_acc": 0.5, "ents_f": 0.5, "spans_np_f": 0.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """RETURNS (Path): A pipeline with weights that predict something, and its corpora."""
    folder = tmp_path_factory.mktemp("shared_evaluation")
    write_corpora(folder / "corpus")
    write_encoder(folder / "encoder")
    config = spacy.util.load_config(ROOT / "configs" / "demo.cfg")
    config["paths"].update(encoder=str(folder / "encoder"), corpus=str(folder / "corpus"))
    config["components"]["transformer"]["model"]["overlap"] = 8
    nlp = spacy.training.initialize.init_nlp(config)
    nlp.to_disk(folder / "pipeline")
    return folder


def dev_corpus(folder: Path, skipped: int = 0):
    """Docs with gold of several kinds, seven of them, so that one rank has more to do."""
    names = ("pos-dev", "ner-dev", "topic-dev")

    def read(nlp: Language):
        found = [eg for name in names for eg in Corpus(folder / f"corpus/{name}.spacy")(nlp)]
        return found[skipped:7]

    return read


def evaluate_in_rank(folder: Path) -> None:
    ranks = Ranks()
    nlp = spacy.load(folder / "pipeline")
    pipe, piped = nlp.pipe, []

    def counting(docs, **options):
        piped.append(len(docs))
        return pipe(docs, **options)

    nlp.pipe = counting
    score, scores = SharedEvaluation(nlp, ranks, Stop(), dev_corpus(folder), WEIGHTS)()
    found = {"piped": piped, "score": score, "scores": scores}
    (folder / f"{ranks.rank}.json").write_text(json.dumps(found, default=str))
    ranks.leave()


def stop_in_rank(folder: Path) -> None:
    """A signal comes to rank 1 while it predicts."""
    ranks = Ranks()
    nlp = spacy.load(folder / "pipeline")
    with Stop() as stop:
        stop.has_begun = True
        if not ranks.is_first:
            nlp.pipe = lambda docs, **options: os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(StoppedEvaluation):
            SharedEvaluation(nlp, ranks, stop, dev_corpus(folder), WEIGHTS)()
    assert stop.asked == signal.SIGTERM
    ranks.leave()


def read_other_docs(folder: Path) -> None:
    ranks = Ranks()
    nlp = spacy.load(folder / "pipeline")
    corpus = dev_corpus(folder, skipped=ranks.rank)
    evaluate = SharedEvaluation(nlp, ranks, Stop(), corpus, WEIGHTS)
    if not ranks.is_first:
        evaluate.pipe(eg.predicted for eg in corpus(nlp))
        return
    with pytest.raises(ValueError, match="other development docs"):
        evaluate()


def test_scores_are_those_of_one_process_and_each_predicts_a_part(folder):
    assert in_ranks(2, evaluate_in_rank, folder) == [0, 0]
    first, second = (json.loads((folder / f"{rank}.json").read_text()) for rank in range(2))
    assert (first["piped"], second["piped"]) == ([4], [3])
    assert first["score"] == second["score"] and first["scores"] == second["scores"]
    nlp = spacy.load(folder / "pipeline")
    score, scores = create_evaluation_callback(nlp, dev_corpus(folder), WEIGHTS)()
    assert first["score"] == pytest.approx(score)
    assert first["scores"].keys() == scores.keys()
    for name in WEIGHTS:
        assert first["scores"].get(name) == pytest.approx(scores.get(name)), name
    assert scores["tag_acc"] is not None and scores["ents_f"] is not None


def test_a_signal_to_one_ends_the_evaluation_of_all(folder):
    assert in_ranks(2, stop_in_rank, folder) == [0, 0]


def test_ranks_with_other_docs_are_noticed(folder):
    assert in_ranks(2, read_other_docs, folder) == [0, 0]
