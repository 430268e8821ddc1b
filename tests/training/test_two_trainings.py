"""Two trainings in one process know nothing of each other."""

import gc
import io
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import spacy
from spacy.training.initialize import init_nlp
from spacy.training.loop import train as spacy_train
from spacy.util import load_config, registry

from spacy_multitask.corpus.reader import make_multi_corpus
from spacy_multitask.plan import join
from spacy_multitask.training import loop
from spacy_multitask.training.batching import make_batcher
from spacy_multitask.training.schedules import warmup_linear
from tests.integration.conftest import project  # noqa: F401  a fixture

TRAIN = {"stock": spacy_train, "own": loop.train}
# Of epochs that have five steps each: the corpora below have 20 docs, and a batch has four.
PER_EPOCH = 5


def expected_rates(n_steps: int) -> list[float]:
    """RETURNS (List[float]): From 0 in the first step up to 1, down to 0 in the step after the
    last; over a warm-up of half of the steps."""
    rising = n_steps / 2
    return [
        step / rising if step < rising else (n_steps - step) / (n_steps - rising)
        for step in range(n_steps + 1)
    ]


class Training:
    """A training whose rates and steps are noted.

    before_step (Callable): Called before each step.
    """

    def __init__(self, project, folder, name: str, kind: str, n_epochs: int, patience: int = 0):  # noqa: F811
        self.name, self.kind, self.n_epochs = name, kind, n_epochs
        self.rates: list[float] = []
        self.steps = 0
        self.before_step: Callable[[], object] = lambda: None
        registry.schedules(f"test_two_trainings.{name}", func=self.schedule)
        registry.callbacks(f"test_two_trainings.{name}", func=lambda: self.take_note)
        config = load_config(project / "config.cfg")
        for corpus in config["corpora"]["train"]["corpora"].values():
            corpus["sample"] = 5
        training = config["training"]
        training.update(max_epochs=n_epochs, max_steps=0, eval_frequency=2)
        training["before_update"] = {"@callbacks": f"test_two_trainings.{name}"}
        training["batcher"].update(max_words=1000, max_docs=4)
        schedule = {"@schedules": f"test_two_trainings.{name}"}
        training["optimizer"].update(learn_rate=schedule, head_learn_rate=0.0)
        training["logger"].update(progress_bar=False, plan=False, patience=patience)
        self.folder = folder / name
        self.folder.mkdir()
        self.nlp = init_nlp(config)
        self.rates.clear()

    def schedule(self):
        rates = warmup_linear(1e-9, warmup=0.5)
        self.rates.clear()

        def noted():
            for rate in rates:
                self.rates.append(rate * 1e9)
                yield rate

        return noted()

    def take_note(self, nlp, info) -> None:
        assert nlp is self.nlp
        self.before_step()
        self.steps += 1

    def run(self) -> None:
        TRAIN[self.kind](self.nlp, self.folder, stdout=io.StringIO(), stderr=io.StringIO())

    def assert_undisturbed(self) -> None:
        assert self.steps == self.n_epochs * PER_EPOCH, self.name
        assert self.rates == pytest.approx(expected_rates(self.steps)), self.name


@pytest.mark.parametrize("kinds", ["stock stock", "stock own", "own stock", "own own"])
def test_one_after_the_other_each_has_its_own_rates(project, tmp_path, kinds):  # noqa: F811
    a, b = kinds.split()
    # Both are initialised before either is trained.
    trainings = [
        Training(project, tmp_path, "long", a, n_epochs=3),
        Training(project, tmp_path, "short", b, n_epochs=1),
    ]
    for training in trainings:
        training.run()
    for training in trainings:
        training.assert_undisturbed()


@pytest.mark.parametrize("kinds", ["stock stock", "stock own"])
def test_at_the_same_time_each_has_its_own_rates_and_end(project, tmp_path, kinds):  # noqa: F811
    a, b = kinds.split()
    long = Training(project, tmp_path, "long", a, n_epochs=3)
    # Nothing gains from such rates, so that it ends at the second evaluation after the first.
    short = Training(project, tmp_path, "short", b, n_epochs=20, patience=2)
    # They take turns for as long as both are there.
    turn = threading.Barrier(2)
    for training in (long, short):
        training.before_step = lambda: turn.broken or _wait(turn)

    def run(training):
        try:
            training.run()
        finally:
            turn.abort()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, (long, short)))
    long.assert_undisturbed()
    assert short.steps == 5
    assert short.rates == pytest.approx(expected_rates(20 * PER_EPOCH)[:6])


def _wait(turn: threading.Barrier) -> None:
    try:
        turn.wait(120)
    except threading.BrokenBarrierError:
        pass  # the other has come to its end


def test_a_training_that_fails_leaves_nothing_to_the_next(project, tmp_path):  # noqa: F811
    broken = Training(project, tmp_path, "broken", "stock", n_epochs=9)

    def fail():
        if broken.steps == 7:
            raise RuntimeError("in mid-training")

    broken.before_step = fail
    with pytest.raises(RuntimeError):
        broken.run()
    after = Training(project, tmp_path, "after", "stock", n_epochs=2)
    after.run()
    after.assert_undisturbed()


def test_a_training_within_a_step_of_another_has_its_own_rates(project, tmp_path):  # noqa: F811
    outer = Training(project, tmp_path, "outer", "own", n_epochs=2)
    inner = Training(project, tmp_path, "inner", "stock", n_epochs=1)
    outer.before_step = lambda: outer.steps == 3 and inner.run()
    outer.run()
    for training in (outer, inner):
        training.assert_undisturbed()


def test_parts_that_are_built_after_a_first_step_are_of_another_training():
    rates, batches = warmup_linear(1.0, warmup=0.5), make_batcher(max_docs=1)
    plan = join()
    assert join() is plan
    plan.max_epochs = 1
    examples = [*make_examples(8)]
    list(batches(examples))
    assert join() is not plan
    later = warmup_linear(1.0)
    assert [next(later), next(rates), next(rates)] == [0.0, 0.0, 0.25]
    with pytest.raises(ValueError, match="not known"):
        next(later)


def make_examples(n: int):
    from spacy.tokens import Doc
    from spacy.training import Example

    vocab = spacy.blank("en").vocab
    for _ in range(n):
        yield Example(Doc(vocab, words=["w"]), Doc(vocab, words=["w"]))


def test_a_training_holds_on_to_no_pipeline(project, tmp_path):  # noqa: F811
    training = Training(project, tmp_path, "dropped", "own", n_epochs=1)
    training.run()
    nlp = weakref.ref(training.nlp)
    corpora = training.nlp.config.interpolate()["corpora"]["train"]["corpora"]
    # Examples that a user keeps, of a reader that can draw others.
    examples = list(make_multi_corpus(corpora)(training.nlp))
    training.nlp = None
    gc.collect()
    assert nlp() is None
    assert len(examples) == 20


def test_parts_do_not_join_a_training_that_has_stopped():
    """Such as one whose logger was told of steps that no batcher gave."""
    join().stopped = True
    assert not join().stopped
