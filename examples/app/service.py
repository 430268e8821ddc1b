"""A service around a pipeline, with FastAPI.

Texts of requests that wait together are predicted together, so that many small requests cost little
more than one large one. Too much at once is refused, not kept waiting for ever.

    pip install "spacy_multitask[serve]"
    MODEL=en_multitask uvicorn service:app

Settings are variables of the environment; see `Settings`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import spacy
from fastapi import FastAPI, HTTPException, Request, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from spacy.language import Language
from spacy.tokens import Doc


def _number(name: str, default: int) -> Any:
    return field(default_factory=lambda: int(os.environ.get(name, default)))


@dataclass(frozen=True)
class Settings:
    """What a service takes.

    max_texts (int): Texts in a request.
    max_chars (int): Characters in a request.
    max_waiting (int): Texts that may wait; a request that would make them more gets 503.
    batch_texts (int): Texts that are predicted together.
    """

    max_texts: int = _number("MAX_TEXTS", 256)
    max_chars: int = _number("MAX_CHARS", 200_000)
    max_waiting: int = _number("MAX_WAITING", 2048)
    batch_texts: int = _number("BATCH_TEXTS", 256)


class Texts(BaseModel):
    texts: list[str]


def plain(doc: Doc) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): What a doc has, as plain data: its strings outlive the zone."""
    return {
        "tokens": [
            {"text": token.text, "start": token.idx, "tag": token.tag_, "pos": token.pos_}
            for token in doc
        ],
        "entities": [_span(span) for span in doc.ents],
        "chunks": [_span(span) for span in doc.spans.get("np", [])],
        "topics": dict(doc.cats),
    }


def _span(span: Any) -> dict[str, Any]:
    return {"start": span.start_char, "end": span.end_char, "label": span.label_}


class Batcher:
    """Predicts the texts of all requests that wait, in one thread."""

    def __init__(self, nlp: Language, settings: Settings, metrics: Metrics):
        self.nlp = nlp
        self.settings = settings
        self.metrics = metrics
        self.queue: asyncio.Queue[tuple[list[str], asyncio.Future]] = asyncio.Queue()
        self.waiting = 0
        # One thread: a memory zone frees the strings of all threads at its end.
        self.pool = ThreadPoolExecutor(1)

    async def annotate(self, texts: list[str]) -> list[dict[str, Any]]:
        """RETURNS (List[Dict[str, Any]]): What the pipeline says of each text.
        RAISES (HTTPException): 503, if too many texts wait already.
        """
        if self.waiting + len(texts) > self.settings.max_waiting:
            raise HTTPException(503, "Too many texts wait.", {"Retry-After": "1"})
        self.waiting += len(texts)
        self.metrics.waiting.set(self.waiting)
        answer = asyncio.get_running_loop().create_future()
        try:
            await self.queue.put((texts, answer))
            return await answer
        finally:
            self.waiting -= len(texts)
            self.metrics.waiting.set(self.waiting)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            requests = [await self.queue.get()]
            n_texts = len(requests[0][0])
            # What has come while the batch before was predicted.
            while not self.queue.empty() and n_texts < self.settings.batch_texts:
                requests.append(self.queue.get_nowait())
                n_texts += len(requests[-1][0])
            self.metrics.batches.observe(n_texts)
            texts = [text for request, _ in requests for text in request]
            try:
                found = await loop.run_in_executor(self.pool, self._predict, texts)
            except Exception as error:
                for _, answer in requests:
                    if not answer.done():
                        answer.set_exception(error)
                continue
            for request, answer in requests:
                part, found = found[: len(request)], found[len(request) :]
                if not answer.done():  # the client may have left
                    answer.set_result(part)

    def _predict(self, texts: list[str]) -> list[dict[str, Any]]:
        with self.nlp.memory_zone():
            return [plain(doc) for doc in self.nlp.pipe(texts)]


class Metrics:
    """What Prometheus reads."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        own: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("requests", "Requests by answer", ["code"], **own)
        self.texts = Counter("texts", "Texts that were annotated", **own)
        self.seconds = Histogram("request_seconds", "From request to answer", **own)
        sizes = [2**k for k in range(11)]
        self.batches = Histogram("batch_texts", "Texts predicted together", buckets=sizes, **own)
        self.waiting = Gauge("waiting_texts", "Texts that wait or are predicted", **own)


def create_app(nlp: Language | None = None, settings: Settings | None = None) -> FastAPI:
    """Make the service.

    nlp (Optional[Language]): The pipeline; None loads the one that MODEL names when it starts.
    settings (Optional[Settings]): None takes them from the environment.
    """
    settings = settings or Settings()
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        name = os.environ.get("MODEL", "en_multitask")
        app.state.batcher = Batcher(nlp or spacy.load(name), settings, metrics)
        app.state.batcher._predict(["The first text takes longer."])
        task = asyncio.create_task(app.state.batcher.run())
        yield
        task.cancel()

    app = FastAPI(title="spacy_multitask", lifespan=lifespan)

    @app.middleware("http")
    async def count(request: Request, call_next: Any) -> Response:
        started = time.perf_counter()
        response = await call_next(request)
        if request.url.path == "/annotate":
            metrics.requests.labels(str(response.status_code)).inc()
            metrics.seconds.observe(time.perf_counter() - started)
        return response

    @app.post("/annotate")
    async def annotate(body: Texts) -> list[dict[str, Any]]:
        if len(body.texts) > settings.max_texts:
            raise HTTPException(413, f"Give at most {settings.max_texts} texts.")
        if sum(map(len, body.texts)) > settings.max_chars:
            raise HTTPException(413, f"Give at most {settings.max_chars} characters.")
        found = await app.state.batcher.annotate(body.texts) if body.texts else []
        metrics.texts.inc(len(found))
        return found

    @app.get("/health")
    async def health() -> dict[str, Any]:
        meta = app.state.batcher.nlp.meta
        return {"status": "ok", "pipeline": f"{meta['lang']}_{meta['name']} {meta['version']}"}

    @app.get("/metrics")
    async def show_metrics() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return app


app = create_app()
