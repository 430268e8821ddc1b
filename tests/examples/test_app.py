"""The service of examples/app, without a network."""

import importlib.util
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import spacy
from spacy.language import Language

pytest.importorskip("fastapi", reason="FastAPI is not installed")
pytest.importorskip("prometheus_client", reason="prometheus-client is not installed")
testclient = pytest.importorskip("fastapi.testclient", reason="httpx is not installed")

FOLDER = Path(__file__).parents[2] / "examples" / "app"
spec = importlib.util.spec_from_file_location("service", FOLDER / "service.py")
service = importlib.util.module_from_spec(spec)
sys.modules["service"] = service  # pydantic looks types up there
spec.loader.exec_module(service)


class Slow:
    """Takes a moment for each batch, and remembers how many docs it had."""

    def __init__(self, seconds=0.0):
        self.seconds = seconds
        self.sizes = []

    def __call__(self, doc):
        return next(self.pipe([doc]))

    def pipe(self, docs, batch_size=0):
        docs = list(docs)
        self.sizes.append(len(docs))
        time.sleep(self.seconds)
        for doc in docs:
            if "fail" in doc.text:
                raise RuntimeError("It failed.")
            if len(doc):
                doc.ents = [spacy.tokens.Span(doc, 0, 1, label="FIRST")]
            yield doc


@pytest.fixture
def serve():
    clients = []

    def start(seconds=0.0, **settings):
        nlp = spacy.blank("en")
        slow = Slow(seconds)
        Language.component("slow_of_test", func=slow)
        nlp.add_pipe("slow_of_test")
        client = testclient.TestClient(
            service.create_app(nlp, service.Settings(**settings)), raise_server_exceptions=False
        )
        client.__enter__()
        clients.append(client)
        return client, slow

    yield start
    for client in clients:
        client.__exit__(None, None, None)


def ask(client, *texts):
    return client.post("/annotate", json={"texts": list(texts)})


def test_it_answers_in_order_with_plain_data(serve):
    client, _ = serve()
    answer = ask(client, "Anna won.", "", "Rain fell.")
    assert answer.status_code == 200
    first, empty, last = answer.json()
    assert first["entities"] == [{"start": 0, "end": 4, "label": "FIRST"}]
    assert empty["tokens"] == [] and [t["text"] for t in last["tokens"]] == ["Rain", "fell", "."]
    assert ask(client).json() == []
    assert client.get("/health").json()["status"] == "ok"


def test_requests_that_wait_are_predicted_together(serve):
    client, slow = serve(seconds=0.2)
    slow.sizes.clear()
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda i: ask(client, f"w{i} x"), range(12)))
    words = [answer.json()[0]["tokens"][0]["text"] for answer in answers]
    assert words == [f"w{i}" for i in range(12)], "each gets its own"
    assert sum(slow.sizes) == 12 and len(slow.sizes) <= 6 and max(slow.sizes) > 1


def test_too_much_is_refused(serve):
    client, _ = serve(seconds=0.3, max_texts=2, max_chars=10, max_waiting=2)
    assert ask(client, "a", "b", "c").status_code == 413
    assert ask(client, "a" * 11).status_code == 413
    assert client.post("/annotate", json={"text": "a"}).status_code == 422
    first = threading.Thread(target=ask, args=(client, "a", "b"))
    first.start()
    time.sleep(0.1)
    refused = ask(client, "c")
    assert refused.status_code == 503 and refused.headers["Retry-After"] == "1"
    first.join()
    assert ask(client, "c").status_code == 200, "nothing waits any more"


def test_an_error_ends_its_batch_only(serve):
    client, _ = serve()
    assert ask(client, "fail").status_code == 500
    assert ask(client, "go on").status_code == 200


def test_metrics_count_requests_texts_and_memory(serve):
    client, _ = serve()
    ask(client, "a", "b")
    ask(client, *["a"] * 300)
    text = client.get("/metrics").text
    counted = ['requests_total{code="200"} 1.0', 'requests_total{code="413"} 1.0']
    for line in (*counted, "texts_total 2.0", "waiting_texts 0.0", "process_resident_memory_bytes"):
        assert line in text, line
