"""Deployment `Catalogs`: holds compiled catalogs and grounds queries in them.

Specs are parsed in a process of its own, whose death costs no replica. Requests of one catalog come
to the same replicas (consistent hash of the digest). Errors of ours go back as values.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from ray import serve
from ray.exceptions import RayTaskError
from ray.serve.handle import DeploymentHandle

from pipeline.candidates import travel
from pipeline.catalog.fetch import Fetcher
from pipeline.catalog.library import Library, lineage
from pipeline.catalog.parse import ParseProcess
from pipeline.errors import Overloaded
from pipeline.predict import prepare
from pipeline.settings import Settings, packaged_specs
from pipeline.stores.state import State
from pipeline.types import Candidate, Catalog, GroundedQuery, Query, Source
from serve import documents, logs, tracing
from serve.handles import as_values, ask
from serve.metrics import Metrics

_WARM_UP_S = 10.0  # for the vectors of the default catalog; after that it is ready without them


class RemoteEncoder:
    """The library's encoder: operation cards go to deployment Embedder."""

    def __init__(self, embedder: DeploymentHandle) -> None:
        self._embedder = embedder

    async def identity(self) -> tuple[str, int]:
        return await self._embedder.identity.remote()

    async def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of operation cards: float32 [n_texts, n_dims], unit length."""
        return await self._embedder.cards.remote(list(texts))


@serve.deployment(name="Catalogs")
class CatalogsDeployment:
    def __init__(self, settings: Settings, embedder: DeploymentHandle, metrics: Metrics | None = None) -> None:
        logs.configure(settings.log)
        self._settings = settings
        self._embedder = embedder
        self._state = State(settings.state, settings.state.url)
        self.library = Library(
            settings.catalogs,
            store=self._state.catalogs,
            parser=ParseProcess(settings.parse),
            fetcher=Fetcher(settings.fetch),
            encoder=RemoteEncoder(embedder),
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ground")
        self._warm: asyncio.Task[None] | None = None
        self._ongoing = 0
        self._embed = tracing.spanned(settings.tracing, "embed", self._vector_of)
        metrics = metrics or Metrics()
        metrics.follow("opensesame_ongoing", lambda: self._ongoing)
        for counter, name, tags in _COUNTERS:
            metrics.follow(name, _reader(self.library, counter), **tags)
        # Argument schemas travel for the generator only.
        schemas = settings.shortlist.schemas if settings.generator.enabled else 0
        self._shortlist = settings.shortlist.model_copy(update={"schemas": schemas})

    @as_values
    async def ground(self, query: Query, habit: dict[str, float], vector: np.ndarray | None) -> GroundedQuery:
        """The query grounded in its catalog; `vector` is its prompt's, where the caller remembers it."""
        self._ongoing += 1
        try:
            embedding = asyncio.ensure_future(self._embed(query)) if query.prompt and vector is None else None
            compiled = await self.library.obtain(query.source, query.tenant)
            if embedding is not None:
                vector = await embedding
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, prepare, query, compiled, vector, habit, self._shortlist)
        finally:
            self._ongoing -= 1

    @as_values
    async def match(self, tenant: str, digest: str, method: str, path: str) -> str | None:
        """The key of the operation a call belongs to, None when it is in none."""
        compiled = await self.library.obtain(Source(digest=digest), tenant)
        match = compiled.matcher.match(method, path)
        return None if match is None else compiled.catalog.operations[match.index].key

    @as_values
    async def identify(
        self, tenant: str, source: Source, calls: Sequence[tuple[str, str, dict[str, Any]]]
    ) -> tuple[str, list[str]]:
        """The lineage of a source, and the key of the operation each call (method, path, params) is one of, else ""."""
        compiled = await self.library.obtain(source, tenant)

        def match() -> list[str]:
            found = [compiled.matcher.match(*call) for call in calls]
            return ["" if one is None else compiled.catalog.operations[one.index].key for one in found]

        loop = asyncio.get_running_loop()
        return lineage(source, compiled.catalog.digest), await loop.run_in_executor(self._thread, match)

    @as_values
    async def cards(self, tenant: str, digest: str, limit: int) -> tuple[Candidate, ...]:
        """The operations of a catalog with their argument schemas, for the generator's overview of it."""
        compiled = await self.library.obtain(Source(digest=digest), tenant)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, travel.cards, compiled.catalog.operations, limit)

    @as_values
    async def upload(self, tenant: str, name: str, data: bytes) -> documents.CatalogSummary:
        """Parse a spec and keep it under a name; what GET /catalogs/{name} says of it, without operations."""
        compiled = await self.library.upload(tenant, name, data)
        return _summary(name, compiled.catalog)

    @as_values
    async def names(self, tenant: str) -> documents.CatalogsResponse:
        """The catalogs that this tenant can name; an upload stands in for a packaged one of its name."""
        uploads: list[documents.Upload] = [
            {"name": upload.name, "catalog": upload.digest, "title": upload.title, "operations": upload.operations}
            for upload in await self._state.catalogs.list_uploads(tenant)
        ]
        taken = {upload["name"] for upload in uploads}
        return {"catalogs": uploads, "packaged": [name for name in packaged_specs() if name not in taken]}

    @as_values
    async def describe(self, tenant: str, source: Source) -> documents.CatalogResponse:
        compiled = await self.library.obtain(source, tenant)
        operations: list[documents.OperationOut] = [
            {
                "endpoint": operation.endpoint,
                "operation_id": None if operation.is_proposition else operation.operation_id or None,
                "summary": operation.summary,
                "tags": list(operation.tags),
                "is_destructive": bool(operation.destructive),
            }
            for operation in compiled.catalog.operations
        ]
        embedded = compiled.vectors is not None
        return {**_summary(source.name, compiled.catalog), "embedded": embedded, "endpoints": operations}

    @as_values
    async def remove(self, tenant: str, name: str) -> None:
        await self.library.remove(tenant, name)

    async def state(self) -> dict[str, Any]:
        """Ready is who has grounded: the first call has the default catalog prepared, and what it needs warmed up."""
        if self._warm is None:
            self._warm = asyncio.create_task(self._warm_up())
        status = "ok" if self._warm.done() else "starting"
        return {"status": status, **self.library.counters()}

    async def _warm_up(self) -> None:
        query = Query(source=Source(name=self._settings.server.default_catalog), prompt="warm up")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_WARM_UP_S):
                while getattr(await self.ground(query, {}, None), "degraded", ()):  # an error ends it too
                    await asyncio.sleep(0.1)

    async def _vector_of(self, query: Query) -> np.ndarray | None:
        try:
            wait_s = min(self._settings.embedder.prompt_wait_s, query.deadline_s / 2)
            return await ask(lambda: self._embedder.prompt.remote(query.prompt), wait_s)
        except (TimeoutError, Overloaded, RayTaskError):
            return None  # prepare says so: degraded ["embedding"]


# What each counter of the library is told as.
_COUNTERS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("catalogs", "opensesame_catalogs", {}),
    ("bytes", "opensesame_catalogs_bytes", {}),
    ("parses", "opensesame_catalog_work", {"work": "parse"}),
    ("fetches", "opensesame_catalog_work", {"work": "fetch"}),
    ("evictions", "opensesame_catalog_work", {"work": "evict"}),
    ("hits", "opensesame_cache", {"layer": "catalog_memory", "result": "hit"}),
    ("misses", "opensesame_cache", {"layer": "catalog_memory", "result": "miss"}),
    ("stored", "opensesame_cache", {"layer": "catalog_store", "result": "hit"}),
    ("unstored", "opensesame_cache", {"layer": "catalog_store", "result": "miss"}),
)


def _reader(library: Library, counter: str) -> Callable[[], float]:
    return lambda: library.counters()[counter]


def _summary(name: str, catalog: Catalog) -> documents.CatalogSummary:
    return {
        "name": name,
        "catalog": catalog.digest,
        "title": catalog.title,
        "version": catalog.version,
        "operations": len(catalog.operations),
        "warnings": list(catalog.warnings),
    }
