"""The HTTP application in this process: real catalogs, ranker and Redis; deployment handles are local.

Every answer that a test gets from it is held against the application's own OpenAPI document.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest
import redis

from pipeline import settings
from pipeline.stores.embedded import EmbeddedRedis
from pipeline.stores.state import State
from serve.catalogs import CatalogsDeployment
from serve.ingress import build_app
from serve.ranker import RankerDeployment
from serve.remote import RemoteStages
from tests.fakes import HashingEmbedder, LocalHandle, SilentMetrics
from tests.told import Document


@dataclasses.dataclass
class App:
    """The application and the parts a test turns on and off."""

    asgi: Any
    client: httpx2.AsyncClient
    embedder: HashingEmbedder
    generator: Any
    metrics: SilentMetrics
    state: State

    async def predict(self, **body: Any) -> httpx2.Response:
        return await self.client.post("/predict", json=body)


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    server = EmbeddedRedis.throwaway()
    yield server.start()
    server.stop()


class Switched:
    """Deployment Generator, played by whatever a test puts into `propose`."""

    propose: Any = None

    async def state(self) -> dict[str, str]:
        return {"status": "ok"}


@pytest.fixture
async def app(redis_url: str) -> AsyncIterator[App]:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()  # what another test taught, or promoted, orders nothing here
    async with make_app(redis_url) as made:
        yield made


class make_app:
    """`async with make_app(url) as app`; `generator` puts a Generator into the graph, `models` a Models."""

    def __init__(self, redis_url: str, *, generator: bool = False, models: Any = None) -> None:
        self.models = models
        loaded = settings.load("local")
        state = loaded.state.model_copy(update={"url": redis_url})
        part = loaded.generator.model_copy(update={"enabled": generator, "model": "played"})
        self.settings = loaded.model_copy(update={"state": state, "generator": part})

    async def __aenter__(self) -> App:
        loaded, metrics, embedder, switched = self.settings, SilentMetrics(), HashingEmbedder(), Switched()
        self.catalogs = CatalogsDeployment.func_or_class(loaded, LocalHandle(embedder), metrics)
        self.ranker = RankerDeployment.func_or_class(loaded, metrics)
        state = State(loaded.state, loaded.state.url)
        stages = RemoteStages(
            loaded,
            LocalHandle(self.catalogs),
            LocalHandle(embedder),
            LocalHandle(self.ranker),
            LocalHandle(switched) if loaded.generator.enabled else None,
            metrics,
            LocalHandle(self.models) if self.models else None,
            state.spend,
        )
        asgi = build_app(loaded, stages, state, metrics)
        told = Document(asgi._app.openapi())

        async def check(answer: httpx2.Response) -> None:
            await answer.aread()
            told.check(answer)

        client = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(asgi),
            base_url="http://localhost",
            timeout=60,
            event_hooks={"response": [check]},
        )
        self.app = App(asgi, client, embedder, switched, metrics, state)
        return self.app

    async def __aexit__(self, *_: object) -> None:
        await self.app.client.aclose()
        await self.app.state.close()
        self.ranker.close()
        await self.catalogs.library.close()
