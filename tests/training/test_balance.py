"""Loss weights that are learned."""

import io

import pytest
import spacy
import srsly
import torch
from spacy.util import fix_random_seed
from thinc.api import SGD

from spacy_multitask.training.balance import make_uncertainty_weight
from spacy_multitask.training.logger import make_logger
from spacy_multitask.training.optimizer import make_adamw
from tests.conftest import corpus, make_nlp

UNCERTAINTY = {"@misc": "spacy_multitask.uncertainty_weight.v1"}


@pytest.fixture
def balanced(encoder_path):
    """A tagger with a learned weight beside an entity recogniser without."""
    fix_random_seed(0)
    nlp = make_nlp(encoder_path, ["ner"])
    nlp.add_pipe("multitask_tagger", name="tagger", config={"balance": UNCERTAINTY})
    nlp.initialize(lambda: corpus(nlp))
    return nlp


def test_loss_and_gradients_are_those_of_the_formula():
    balance = make_uncertainty_weight(rate=2.0)
    balance.scaled_log_variance.data.fill_(0.5)  # a log variance of 1
    loss = torch.tensor(3.0, requires_grad=True)
    value = balance(loss)
    value.backward()
    e = 2.718281828
    assert value.item() == pytest.approx(3 / e + 0.5)
    assert loss.grad.item() == pytest.approx(1 / e)
    # By the chain rule, twice the derivative 1/2 - 3 exp(-1).
    assert balance.scaled_log_variance.grad.item() == pytest.approx(2 * (0.5 - 3 / e))


def test_the_weight_goes_to_the_inverse_of_twice_the_loss():
    balance = make_uncertainty_weight()
    optimizer = torch.optim.Adam(balance.parameters(), lr=0.01)
    for _ in range(300):
        optimizer.zero_grad()
        balance(torch.tensor(4.0)).backward()
        optimizer.step()
    assert balance.weight == pytest.approx(1 / 8, abs=0.01)


def test_a_rate_of_nothing_is_refused():
    with pytest.raises(ValueError, match="greater than 0"):
        make_uncertainty_weight(rate=0.0)


def test_the_gradients_of_a_head_are_weighted_and_its_loss_is_not(balanced):
    tagger = balanced.get_pipe("tagger")
    gradients, losses = [], []
    for state in (0.0, 0.1):  # at rate 10 log variances of 0 and 1
        tagger.balance.scaled_log_variance.data.fill_(state)
        losses.append(balanced.update(corpus(balanced), sgd=False)["tagger"])
        gradients.append(tagger.module.linear.weight.grad.clone())
        tagger.module.zero_grad()
    assert losses[0] == pytest.approx(losses[1])
    assert torch.allclose(gradients[1], gradients[0] / 2.718281828, atol=1e-6)
    assert tagger.weight == pytest.approx(1 / 2.718281828)


def test_a_fixed_factor_comes_on_top(encoder_path):
    nlp = make_nlp(encoder_path, [])
    config = {"balance": UNCERTAINTY, "loss_weight": 3.0}
    nlp.add_pipe("multitask_tagger", name="tagger", config=config)
    assert nlp.get_pipe("tagger").weight == 3.0


@pytest.mark.parametrize("sgd", [SGD(0.01), make_adamw()], ids=["thinc", "ours"])
def test_the_optimizer_trains_the_weight(balanced, sgd):
    tagger = balanced.get_pipe("tagger")
    loss = balanced.update(corpus(balanced), sgd=sgd)["tagger"]
    assert loss > 0.5
    assert tagger.weight < 1.0


def test_without_gold_the_weight_stays(balanced):
    sgd = make_adamw()
    balanced.update(corpus(balanced), sgd=sgd)
    tagger = balanced.get_pipe("tagger")
    before = tagger.weight
    untagged = [eg for eg in corpus(balanced) if not eg.reference.has_annotation("TAG")]
    balanced.update(untagged, sgd=sgd)
    assert tagger.weight == before


def test_each_head_has_a_weight_of_its_own(encoder_path):
    nlp = make_nlp(encoder_path, [])
    for name in ("tagger", "ner"):
        nlp.add_pipe(f"multitask_{name}", name=name, config={"balance": UNCERTAINTY})
    assert nlp.get_pipe("tagger").balance is not nlp.get_pipe("ner").balance


def test_the_weight_is_saved_and_starts_anew_with_a_training(balanced, tmp_path):
    balanced.update(corpus(balanced), sgd=make_adamw())
    weight = balanced.get_pipe("tagger").weight
    assert weight != 1.0
    balanced.to_disk(tmp_path)
    assert spacy.load(tmp_path).get_pipe("tagger").weight == weight
    balanced.initialize(lambda: corpus(balanced))
    assert balanced.get_pipe("tagger").weight == 1.0


def test_averages_cover_encoder_and_weight(balanced):
    sgd = make_adamw(use_averages=True)
    encoder = balanced.get_pipe("transformer")
    for _ in range(3):
        balanced.update(corpus(balanced), sgd=sgd)
    tagger = balanced.get_pipe("tagger")
    last = tagger.weight
    vectors = encoder.predict([balanced.make_doc("Mr Smith")]).doc_vectors
    with balanced.use_params(sgd.averages):
        assert last < tagger.weight < 1.0
        averaged = encoder.predict([balanced.make_doc("Mr Smith")]).doc_vectors
    assert tagger.weight == last
    assert not torch.allclose(vectors, averaged)
    assert torch.equal(vectors, encoder.predict([balanced.make_doc("Mr Smith")]).doc_vectors)


def test_the_log_shows_weights_that_are_learned(balanced, tmp_path):
    out = io.StringIO()
    path = tmp_path / "log.jsonl"
    balanced.config["training"]["score_weights"] = {"tag_acc": 1.0}
    log, close = make_logger(str(path), progress_bar=False, plan=False)(balanced, out)
    balanced.get_pipe("tagger").balance.scaled_log_variance.data.fill_(0.1)
    info = {"epoch": 0, "step": 1, "words": 10, "losses": {}, "score": 0.5}
    log({**info, "other_scores": {"tag_acc": 0.5}})
    close()
    (line,) = srsly.read_jsonl(path)
    assert line["weights"] == {"tagger": pytest.approx(0.3679, abs=1e-4)}
    header, _, row = out.getvalue().splitlines()
    place = header.split().index("w(tagger)")
    assert row.split()[place] == "0.368"
