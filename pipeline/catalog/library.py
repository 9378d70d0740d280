"""Compiled catalogs: found, made once, kept.

`Library.obtain` turns a query's source into a compiled catalog: from this process, else the store,
else the source itself, fetched and parsed. It is answered as soon as words and relations can be;
vectors follow in the background. Reading specs, matching and shortlisting are its neighbours' work.
Held by deployment Catalogs.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, Protocol, TypeVar

import msgspec

from pipeline import settings
from pipeline.catalog.compile import Compiled, compile_catalog, compiler_version, content_digest, with_vectors
from pipeline.catalog.fetch import Fetched, canonical_url
from pipeline.catalog.flights import Flights, end
from pipeline.catalog.shelf import Shelf
from pipeline.catalog.vectors import CardEncoder, Vectors, VectorStore
from pipeline.errors import CatalogPreparing, OpenSesameError, StateUnavailable, UnknownCatalog
from pipeline.types import Catalog, Source, SpecRecord

__all__ = ["Compiled", "Library", "compile_catalog", "lineage", "with_vectors"]

P = ParamSpec("P")
T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")

_log = logging.getLogger(__name__)

_FAILURE_KEPT_S = 5.0  # a URL that failed is not asked again within
_RETRY_AFTER_S = 2.0  # told to those who gave up waiting; within the time a failure is kept
_NAME_KEPT_S = 1.0  # every replica knows within a second what a name means now
_REVALIDATE_RETRY_S = 60.0  # after a revalidation that failed
_HASH_INLINE_BYTES = 262_144  # sha256 of more takes over half a millisecond: not on the event loop
_RECENT_MAX = 4096  # names and URLs remembered
_EDITIONS = 4  # catalogs looked at for cards that are encoded already


def lineage(source: Source, digest: str) -> str:
    """What is learnt about a catalog is kept under this: its name, else its canonical URL, else its digest."""
    return source.name or (_canonical(source.url) if source.url else digest)


class Named(Protocol):
    """What a name stands for."""

    @property
    def digest(self) -> str: ...


class Store(VectorStore, Protocol):
    """What all replicas share; every method may raise StateUnavailable."""

    async def get_catalog(self, compiler: str, digest: str) -> bytes | None: ...

    async def put_catalog(self, compiler: str, digest: str, data: bytes) -> None: ...

    async def get_spec(self, tenant: str, url: str) -> SpecRecord | None: ...

    async def put_spec(self, tenant: str, url: str, record: SpecRecord, public: bool) -> None: ...

    async def get_upload(self, tenant: str, name: str) -> Named | None: ...

    async def get_upload_data(self, tenant: str, digest: str) -> bytes | None: ...

    async def put_upload(
        self, tenant: str, name: str, digest: str, data: bytes, title: str = "", operations: int = 0
    ) -> Any: ...

    async def delete_upload(self, tenant: str, name: str) -> bool: ...


class Parser(Protocol):
    async def parse(self, data: bytes) -> Catalog: ...

    def close(self) -> None: ...


class SpecFetcher(Protocol):
    fresh_s: float

    async def fetch(self, url: str, etag: str = "", tenant: str = "") -> Fetched: ...

    async def close(self) -> None: ...


@dataclasses.dataclass(frozen=True, slots=True)
class _Page:
    """What this process knows of a URL."""

    record: SpecRecord
    checked: float  # monotonic, when its freshness was last looked into


class _Recent(OrderedDict[K, V]):
    """The entries set last, at most `_RECENT_MAX`."""

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        if len(self) > _RECENT_MAX:
            self.popitem(last=False)


class Library:
    """The compiled catalogs of one replica; all in one event loop."""

    def __init__(
        self,
        limits: settings.Catalogs,
        *,
        store: Store,
        parser: Parser,
        fetcher: SpecFetcher,
        encoder: CardEncoder | None = None,
    ) -> None:
        """`parser` and `fetcher` are closed with the library; without `encoder` no vectors are made."""
        self.hits = self.misses = self.parses = self.fetches = self.stored = self.unstored = 0
        self._limits = limits
        self._store = store
        self._parser = parser
        self._fetcher = fetcher
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="compile")
        self._flights = Flights(_FAILURE_KEPT_S, slow_s=limits.first_wait_s)
        self._shelf = Shelf(limits.cache_bytes, self._let_go)
        self._pages: _Recent[str, _Page] = _Recent()  # canonical URL -> what is known of it
        self._names: _Recent[tuple[str, str], tuple[str, float]] = _Recent()  # tenant, name -> digest, good until
        self._former: _Recent[str, str] = _Recent()  # digest -> digest of the edition before it
        self._embedding: dict[str, asyncio.Task[None]] = {}
        self._vectors: Vectors | None = None
        if encoder is not None:
            self._vectors = Vectors(store, encoder, self._thread, chunk=limits.embed_chunk, lease_s=limits.lease_s)

    async def obtain(self, source: Source, tenant: str) -> Compiled:
        """The compiled catalog of a source, waiting at most `catalogs.first_wait_s`.

        A source of nothing but a digest is taken from a caller who knows that it may be used.

        Raises:
            BadRequest, SpecError, TooLarge: the source cannot be used.
            UnknownCatalog: no such name for this tenant.
            CatalogPreparing: it takes longer; the work goes on.
            StateUnavailable: only the state knows what the name means.
        """
        url = _canonical(source.url) if source.url else ""
        digest = source.digest
        if source.data and not digest:
            digest = await self._digest(source.data)
        elif url and not digest:
            page = self._pages.get(url)
            digest = page.record.digest if page else ""
        elif source.name and not digest:
            digest, until = self._names.get((tenant, source.name), ("", 0.0))
            digest = digest if time.monotonic() < until else ""
        compiled = self._shelf.get(digest)
        if compiled is not None:
            self.hits += 1
            if url:
                self._revalidate(tenant, url, digest)
            return compiled
        self.misses += 1
        if source.data:
            key: Hashable = ("data", digest)
            work = functools.partial(self._from_data, digest, source.data)
        elif url:
            key = ("url", url)
            work = functools.partial(self._from_url, tenant, url, digest)
        elif source.name:
            key = ("name", tenant, source.name, digest)
            work = functools.partial(self._from_name, tenant, source.name, digest)
        else:
            key = ("digest", tenant, digest)
            work = functools.partial(self._from_digest, tenant, digest)
        try:
            return await self._flights.join(key, work, self._limits.first_wait_s, keep_failure=bool(url))
        except TimeoutError:
            detail = "The catalog is being prepared: ask again in a moment."
            raise CatalogPreparing(detail, retry_after_s=_RETRY_AFTER_S) from None

    async def upload(self, tenant: str, name: str, data: bytes) -> Compiled:
        """The compiled catalog of a spec that from now on has this name; returns once the state has it.

        Raises:
            BadRequest: not a name, or too many of them.
            SpecError, TooLarge: not a usable spec.
            StateUnavailable: it could not be kept.
        """
        former = await self._store.get_upload(tenant, name)
        digest = await self._digest(data)
        self._follow(digest, former.digest if former else "")
        compiled = await self._flights.join(("data", digest), functools.partial(self._from_data, digest, data))
        catalog = compiled.catalog
        await self._store.put_upload(tenant, name, digest, data, catalog.title, len(catalog.operations))
        self._name(tenant, name, digest)
        return compiled

    async def remove(self, tenant: str, name: str) -> None:
        """Forget what was uploaded under a name.

        Raises:
            UnknownCatalog: nothing was.
            StateUnavailable: it could not be removed.
        """
        self._names.pop((tenant, name), None)
        if not await self._store.delete_upload(tenant, name):
            raise UnknownCatalog(f"There is no uploaded catalog named '{name[:64]}'.")

    def counters(self) -> dict[str, int]:
        """What happened since the start, and what is held now."""
        return {
            "catalogs": len(self._shelf),
            "bytes": self._shelf.size_bytes,
            "embedding": len(self._embedding),
            "hits": self.hits,
            "misses": self.misses,
            "stored": self.stored,
            "unstored": self.unstored,
            "evictions": self._shelf.evictions,
            "parses": self.parses,
            "fetches": self.fetches,
        }

    async def close(self) -> None:
        """End all work in the background, the parser's child and the fetcher's connections."""
        await end(list(self._embedding.values()))
        await self._flights.close()
        await self._fetcher.close()
        self._parser.close()
        self._thread.shutdown(wait=False, cancel_futures=True)

    # Where a catalog comes from; each runs in a flight

    async def _from_data(self, digest: str, data: bytes) -> Compiled:
        compiled = await self._at_hand(digest)
        if compiled is None:
            compiled = await self._flights.join(("parse", digest), functools.partial(self._parse, digest, data))
        return compiled

    async def _from_url(self, tenant: str, url: str, digest: str) -> Compiled:
        page = self._pages.get(url)
        record = page.record if page else await self._or(self._store.get_spec(tenant, url), None)
        if record is not None and page is None:
            self._pages[url] = _Page(record, 0.0)
        for known in dict.fromkeys((digest, record.digest if record else "")):
            compiled = await self._at_hand(known)
            if compiled is not None:
                self._revalidate(tenant, url, known)
                return compiled
        self.fetches += 1
        return await self._take(tenant, url, await self._fetcher.fetch(url, tenant=tenant))

    async def _from_name(self, tenant: str, name: str, digest: str) -> Compiled:
        if not digest:
            digest = await self._meaning(tenant, name)
        if digest:
            with contextlib.suppress(UnknownCatalog):
                compiled = await self._from_digest(tenant, digest)
                self._name(tenant, name, digest)
                return compiled
        packaged = settings.packaged_spec(name)
        if packaged is None:
            there = "GET /catalogs lists those there are, PUT /catalogs/NAME adds one"
            raise UnknownCatalog(f"There is no catalog named '{name[:64]}': {there}.")
        data = await self._aside(packaged.read_bytes)
        digest = await self._digest(data)
        self._name(tenant, name, digest)
        return await self._from_data(digest, data)

    async def _from_digest(self, tenant: str, digest: str) -> Compiled:
        compiled = await self._at_hand(digest)
        if compiled is not None:
            return compiled
        data = await self._store.get_upload_data(tenant, digest) if digest else None
        if data is None:
            raise UnknownCatalog("The catalog is not known any more: send its spec again.")
        return await self._from_data(digest, data)

    async def _meaning(self, tenant: str, name: str) -> str:
        """The digest a name stands for, "" when it is none that was uploaded."""
        try:
            upload = await self._store.get_upload(tenant, name)
        except StateUnavailable:
            known, _ = self._names.get((tenant, name), ("", 0.0))
            if not known and settings.packaged_spec(name) is None:
                raise
            return known
        return upload.digest if upload else ""

    # Making and keeping

    async def _at_hand(self, digest: str) -> Compiled | None:
        """The compiled catalog of a digest, from this process or the store."""
        if not digest:
            return None
        compiled = self._shelf.get(digest)
        if compiled is None:
            compiled = await self._flights.join(("stored", digest), functools.partial(self._stored, digest))
        return compiled

    async def _stored(self, digest: str) -> Compiled | None:
        compiler = await self._aside(compiler_version)
        data = await self._or(self._store.get_catalog(compiler, digest), None)
        if data is None:
            self.unstored += 1
            return None
        try:
            compiled = self._keep(await self._aside(_compile_stored, data))
        except msgspec.DecodeError as error:
            _log.warning("stored catalog is not readable and made anew: %s", error)
            return None
        self.stored += 1
        return compiled

    async def _parse(self, digest: str, data: bytes) -> Compiled:
        compiled = self._shelf.get(digest)
        if compiled is not None:  # another flight ended while this one was asking the store
            return compiled
        self.parses += 1
        catalog = await self._parser.parse(data)
        compiled = self._keep(await self._aside(compile_catalog, catalog))
        self._flights.start(("put", catalog.digest), functools.partial(self._put, catalog))
        return compiled

    async def _put(self, catalog: Catalog) -> None:
        encoded = await self._aside(msgspec.msgpack.encode, catalog)
        compiler = await self._aside(compiler_version)
        await self._or(self._store.put_catalog(compiler, catalog.digest, encoded), None)

    def _keep(self, compiled: Compiled) -> Compiled:
        """Keep it as the latest used one and see that it gets vectors."""
        digest = compiled.catalog.digest
        self._shelf.put(compiled)
        if compiled.vectors is None and self._vectors is not None and digest not in self._embedding:
            task = self._embedding[digest] = asyncio.create_task(self._embed(self._vectors, compiled.catalog))
            task.add_done_callback(functools.partial(self._embedded, digest))
        return compiled

    def _let_go(self, digest: str) -> None:
        if task := self._embedding.pop(digest, None):
            task.cancel()

    async def _embed(self, vectors: Vectors, catalog: Catalog) -> None:
        editions = [self._former.get(catalog.digest, ""), *self._shelf.of_title(catalog.title)]
        editions = [digest for digest in dict.fromkeys(editions) if digest and digest != catalog.digest]
        encoder, made = await vectors.obtain(catalog, editions[:_EDITIONS])
        self._shelf.change(catalog.digest, lambda compiled: with_vectors(compiled, made, encoder))

    def _embedded(self, digest: str, task: asyncio.Task[None]) -> None:
        if self._embedding.get(digest) is task:
            del self._embedding[digest]

    # URLs

    def _revalidate(self, tenant: str, url: str, digest: str) -> None:
        """Look into a URL's freshness in the background when it is due; `digest` is what is served for it now."""
        now = time.monotonic()
        page = self._pages.get(url)
        if page is None:  # the state knew the digest, this process knows nothing yet
            page = _Page(SpecRecord(digest, 0.0), -_REVALIDATE_RETRY_S)
        is_fresh = page.record.digest == digest and time.time() - page.record.fetched <= self._fetcher.fresh_s
        if not is_fresh and now - page.checked >= min(_REVALIDATE_RETRY_S, self._fetcher.fresh_s):
            self._pages[url] = _Page(page.record, now)
            self._flights.start(("fresh", url), functools.partial(self._freshen, tenant, url))

    async def _freshen(self, tenant: str, url: str) -> None:
        """Take over what another replica found at a stale URL, else ask it; what there is serves meanwhile."""
        page = self._pages.get(url)
        try:
            shared = await self._or(self._store.get_spec(tenant, url), None)
            record = shared or (page.record if page else None)
            if page and shared and shared.fetched < page.record.fetched:
                record = page.record
            if record is not None and time.time() - record.fetched <= self._fetcher.fresh_s:
                if await self._at_hand(record.digest) is not None:
                    self._turn(url, record)
                    return
                record = None
            self.fetches += 1
            fetched = await self._fetcher.fetch(url, record.etag if record else "", tenant)
            if not fetched.not_modified:
                await self._take(tenant, url, fetched)
            elif record is not None:
                record = msgspec.structs.replace(record, fetched=time.time())
                await self._at_hand(record.digest)
                self._turn(url, record)
                await self._or(self._store.put_spec(tenant, url, record, fetched.is_public), None)
        except OpenSesameError as error:
            _log.info("stale spec serves on, its URL did not give another: %s", error.slug)

    async def _take(self, tenant: str, url: str, fetched: Fetched) -> Compiled:
        """Compile what a URL gave, then let it be what the URL means."""
        digest = await self._digest(fetched.data)
        page = self._pages.get(url)
        self._follow(digest, page.record.digest if page else "")
        compiled = await self._from_data(digest, fetched.data)
        record = SpecRecord(digest, time.time(), fetched.etag)
        self._turn(url, record)
        await self._or(self._store.put_spec(tenant, url, record, fetched.is_public), None)
        return compiled

    def _turn(self, url: str, record: SpecRecord) -> None:
        self._pages[url] = _Page(record, time.monotonic())

    def _follow(self, digest: str, former: str) -> None:
        if former and former != digest:
            self._former[digest] = former

    def _name(self, tenant: str, name: str, digest: str) -> None:
        self._names[tenant, name] = (digest, time.monotonic() + _NAME_KEPT_S)

    @staticmethod
    async def _or(asked: Awaitable[T], otherwise: T) -> T:
        """What the store says, `otherwise` when it is away."""
        try:
            return await asked
        except StateUnavailable:
            return otherwise

    async def _digest(self, data: bytes) -> str:
        return content_digest(data) if len(data) < _HASH_INLINE_BYTES else await self._aside(content_digest, data)

    async def _aside(self, work: Callable[P, T], *args: P.args, **_: P.kwargs) -> T:
        """Done by the one thread that may compute for long."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *args)


_canonical = functools.lru_cache(maxsize=4096)(canonical_url)


def _compile_stored(data: bytes) -> Compiled:
    return compile_catalog(msgspec.msgpack.decode(data, type=Catalog))
