import copy
import pickle
import threading

from spacy_multitask.encoder.gate import Gate


def enter(section, entered: threading.Event, leave: threading.Event) -> threading.Thread:
    """RETURNS (Thread): One that enters a section, says so, and stays until it is told to leave."""

    def run() -> None:
        with section():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_threads_predict_side_by_side():
    gate = Gate()
    events = [(threading.Event(), threading.Event()) for _ in range(3)]
    threads = [enter(gate.predicting, *pair) for pair in events]
    assert all(entered.wait(10) for entered, _ in events)
    for _, leave in events:
        leave.set()
    for thread in threads:
        thread.join(10)


def test_training_waits_for_those_who_predict_and_keeps_new_ones_out():
    gate = Gate()
    first, training, second = ((threading.Event(), threading.Event()) for _ in range(3))
    threads = [enter(gate.predicting, *first)]
    assert first[0].wait(10)
    threads.append(enter(gate.training, *training))
    assert not training[0].wait(0.05)
    threads.append(enter(gate.predicting, *second))
    assert not second[0].wait(0.05), "it would keep the one that trains waiting for ever"
    first[1].set()
    assert training[0].wait(10)
    assert not second[0].wait(0.05)
    training[1].set()
    assert second[0].wait(10)
    second[1].set()
    for thread in threads:
        thread.join(10)


def test_an_error_inside_opens_the_gate_again():
    gate = Gate()
    for section in (gate.training, gate.predicting):
        try:
            with section():
                raise ValueError
        except ValueError:
            pass
    with gate.training():
        pass


def test_copies_are_open():
    gate = Gate()
    with gate.training():
        for other in (copy.deepcopy(gate), pickle.loads(pickle.dumps(gate))):
            with other.predicting():
                pass
