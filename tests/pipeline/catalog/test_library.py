"""The library over a real Redis, a real parser and a real HTTP server."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import msgspec
import numpy as np
import pytest
import redis

from pipeline import settings
from pipeline.catalog.compile import compiler_version, content_digest
from pipeline.catalog.embed import operation_card
from pipeline.catalog.fetch import Fetcher
from pipeline.catalog.library import Compiled, Library, compile_catalog, lineage, with_vectors
from pipeline.catalog.parse import parse_spec
from pipeline.errors import (
    BadRequest,
    CatalogPreparing,
    SpecInvalid,
    SpecUnavailable,
    StateUnavailable,
    UnknownCatalog,
)
from pipeline.stores.embedded import EmbeddedRedis
from pipeline.stores.state import State
from pipeline.types import Catalog, Source
from tests.fakes import HashingEncoder

pytestmark = pytest.mark.redis

SETTINGS = settings.load("local")
LIMITS = SETTINGS.catalogs.model_copy(update={"lease_s": 1.0, "embed_chunk": 2, "first_wait_s": 5.0})


def spec(title: str, *paths: str) -> bytes:
    lines = [f'openapi: 3.1.0\ninfo: {{title: {title}, version: "1"}}\npaths:']
    lines += [
        f'  /{path}: {{get: {{summary: Get {path}, responses: {{"200": {{description: ok}}}}}}}}' for path in paths
    ]
    return "\n".join(lines).encode()


class Parser:
    """`parse_spec` in a thread, counted; held back while `may_end` is not set."""

    def __init__(self) -> None:
        self.parsed: list[bytes] = []
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.is_closed = False

    async def parse(self, data: bytes) -> Catalog:
        self.parsed.append(data)
        await self.may_end.wait()
        return await asyncio.to_thread(parse_spec, data, SETTINGS.parse)

    def close(self) -> None:
        self.is_closed = True


class Encoder:
    """The hashing encoder behind the library's interface."""

    def __init__(self) -> None:
        self.hashing = HashingEncoder()
        self.chunks: list[list[str]] = []
        self.failures = 0  # calls that fail before one succeeds
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.at_once = self.most_at_once = 0

    @property
    def texts(self) -> list[str]:
        return self.hashing.texts

    async def identity(self) -> tuple[str, int]:
        return self.hashing.name, self.hashing.dims

    async def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.may_end.wait()
            await asyncio.sleep(0.001)
            if self.failures:
                self.failures -= 1
                raise ConnectionError("the embedder died")
            self.chunks.append(list(texts))
            return self.hashing.encode(texts)
        finally:
            self.at_once -= 1


class Site:
    """An HTTP server of one page."""

    def __init__(self) -> None:
        self.body = b""
        self.status = 200
        self.requests = 0
        self.conditional = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.requests += 1
            await self.may_answer.wait()
            etag = b'"' + hashlib.sha256(self.body).hexdigest()[:8].encode() + b'"'
            asked = b"if-none-match" in head.lower()
            self.conditional += asked
            if self.status == 200 and asked and etag in head:
                writer.write(b"HTTP/1.1 304 X\r\n\r\n")
            else:
                answer = b"HTTP/1.1 %d X\r\nETag: %b\r\nContent-Length: %d\r\n\r\n"
                writer.write(answer % (self.status, etag, len(self.body)) + self.body)
            await writer.drain()
        writer.close()


@dataclasses.dataclass
class Replica:
    """A library with the parts a test wants to look into."""

    library: Library
    parser: Parser
    encoder: Encoder
    state: State


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with EmbeddedRedis.throwaway() as embedded:
        yield embedded.url


@pytest.fixture
def raw(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        yield client


@pytest.fixture
async def replica(redis_url: str, raw: redis.Redis) -> AsyncIterator[Callable[..., Replica]]:
    made: list[Replica] = []

    def make(url: str = redis_url, embeds: bool = False, fresh_s: float = 3600.0, **limits: object) -> Replica:
        state = State(SETTINGS.state.model_copy(update={"timeout_s": 5.0}), url)
        parser, encoder = Parser(), Encoder()
        fetch = SETTINGS.fetch.model_copy(update={"allow_hosts": ("127.0.0.1",), "fresh_s": fresh_s})
        library = Library(
            LIMITS.model_copy(update=limits),
            store=state.catalogs,
            parser=parser,
            fetcher=Fetcher(fetch),
            encoder=encoder if embeds else None,
        )
        made.append(Replica(library, parser, encoder, state))
        return made[-1]

    yield make
    for one in made:
        await one.library.close()
        await one.state.close()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0)
    site.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/spec"
    yield site
    server.close()


async def until(condition: Callable[[], object], within_s: float = 10.0) -> None:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < within_s, "waited too long"
        await asyncio.sleep(0.005)


def inline(data: bytes) -> Source:
    return Source(data=data)


def paths(compiled: Compiled) -> list[str]:
    return [operation.path for operation in compiled.catalog.operations]


class TestSingleFlight:
    async def test_hundred_first_requests_parse_once(self, replica: Callable[..., Replica], notes_spec: bytes) -> None:
        one = replica()
        got = await asyncio.gather(*(one.library.obtain(inline(notes_spec), f"t{i}") for i in range(100)))
        assert len({id(compiled) for compiled in got}) == 1
        assert len(one.parser.parsed) == one.library.parses == 1

    async def test_hundred_first_requests_fetch_once(
        self, replica: Callable[..., Replica], site: Site, notes_spec: bytes
    ) -> None:
        one, site.body = replica(), notes_spec
        await asyncio.gather(*(one.library.obtain(Source(url=site.url), "t") for _ in range(100)))
        assert site.requests == one.library.fetches == one.library.parses == 1

    async def test_same_bytes_by_url_upload_and_inline_parse_once(
        self, replica: Callable[..., Replica], site: Site, notes_spec: bytes
    ) -> None:
        one, site.body = replica(), notes_spec
        await asyncio.gather(
            one.library.obtain(Source(url=site.url), "t"),
            one.library.obtain(inline(notes_spec), "t"),
            one.library.upload("t", "notes", notes_spec),
        )
        assert one.library.parses == 1

    async def test_cancelled_waiter_does_not_end_the_work(
        self, replica: Callable[..., Replica], notes_spec: bytes
    ) -> None:
        one = replica()
        one.parser.may_end.clear()
        waiter = asyncio.create_task(one.library.obtain(inline(notes_spec), "t"))
        await until(lambda: one.parser.parsed)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        one.parser.may_end.set()
        await one.library.obtain(inline(notes_spec), "t")
        assert len(one.parser.parsed) == 1

    async def test_slow_catalog_is_preparing_while_the_work_goes_on(
        self, replica: Callable[..., Replica], notes_spec: bytes
    ) -> None:
        one = replica(first_wait_s=0.02)
        one.parser.may_end.clear()
        with pytest.raises(CatalogPreparing) as preparing:
            await one.library.obtain(inline(notes_spec), "t")
        assert preparing.value.retry_after_s > 0
        one.parser.may_end.set()
        digest = content_digest(notes_spec)
        await until(lambda: one.library.counters()["catalogs"])
        assert (await one.library.obtain(Source(digest=digest), "t")).catalog.digest == digest
        assert len(one.parser.parsed) == 1

    async def test_failure_is_shared_and_not_kept(self, replica: Callable[..., Replica]) -> None:
        one = replica()
        bad = [one.library.obtain(inline(b"[1, 2]"), "t") for _ in range(5)]
        assert all(isinstance(e, SpecInvalid) for e in await asyncio.gather(*bad, return_exceptions=True))
        assert len(one.parser.parsed) == 1
        with pytest.raises(SpecInvalid):
            await one.library.obtain(inline(b"[1, 2]"), "t")
        assert len(one.parser.parsed) == 2

    async def test_url_that_failed_is_not_asked_again_at_once(
        self, replica: Callable[..., Replica], site: Site
    ) -> None:
        one, site.status = replica(), 404
        for _ in range(3):
            with pytest.raises(SpecUnavailable):
                await one.library.obtain(Source(url=site.url), "t")
        assert site.requests == 1

    async def test_malformed_url_is_a_bad_request(self, replica: Callable[..., Replica]) -> None:
        with pytest.raises(BadRequest):
            await replica().library.obtain(Source(url="ftp://x"), "t")


class TestKeeping:
    async def test_least_recently_used_goes_first(self, replica: Callable[..., Replica]) -> None:
        specs = [spec(f"s{i}", "a", "b", "c") for i in range(3)]
        size_bytes = compile_catalog(parse_spec(specs[0], SETTINGS.parse)).size_bytes
        one = replica(cache_bytes=int(2.5 * size_bytes))
        for data in specs[:2]:
            await one.library.obtain(inline(data), "t")
        await one.library.obtain(inline(specs[0]), "t")
        await one.library.obtain(inline(specs[2]), "t")
        assert one.library.counters()["evictions"] == 1
        hits = one.library.hits
        await one.library.obtain(inline(specs[0]), "t")
        assert one.library.hits == hits + 1, "the one used last stayed"
        await one.library.obtain(inline(specs[1]), "t")
        assert one.library.hits == hits + 1, "the one used longest ago went"
        assert one.library.parses == 3, "and came back from the store"

    async def test_catalog_larger_than_the_cache_is_served(
        self, replica: Callable[..., Replica], notes_spec: bytes
    ) -> None:
        one = replica(cache_bytes=1)
        assert (await one.library.obtain(inline(notes_spec), "t")).catalog.title == "Notes"
        await one.library.obtain(inline(spec("other", "a")), "t")
        counters = one.library.counters()
        assert counters["catalogs"] == counters["evictions"] == 1

    async def test_counted_bytes_are_those_of_what_is_held(self, replica: Callable[..., Replica]) -> None:
        size_bytes = compile_catalog(parse_spec(spec("s0", *"abcde"), SETTINGS.parse)).size_bytes
        one = replica(embeds=True, cache_bytes=3 * size_bytes)
        held: dict[str, int] = {}
        for i in range(8):
            compiled = await one.library.obtain(inline(spec(f"s{i}", *"abcdef"[: i % 5 + 1])), "t")
            await until(lambda: not one.library.counters()["embedding"])
            compiled = await one.library.obtain(Source(digest=compiled.catalog.digest), "t")
            held[compiled.catalog.digest] = compiled.size_bytes
        counters = one.library.counters()
        assert counters["evictions"] > 0
        assert counters["bytes"] == sum(list(held.values())[-counters["catalogs"] :])

    async def test_store_spares_the_second_replica_the_parse(
        self, replica: Callable[..., Replica], notes_spec: bytes
    ) -> None:
        first, second = replica(), replica()
        made = await first.library.obtain(inline(notes_spec), "t")
        await until(lambda: not first.library._flights._tasks)
        got = await second.library.obtain(inline(notes_spec), "t")
        assert got.catalog == made.catalog
        assert second.library.parses == 0

    async def test_unreadable_entry_of_the_store_is_made_anew(
        self, replica: Callable[..., Replica], notes_spec: bytes
    ) -> None:
        one = replica()
        digest = content_digest(notes_spec)
        await one.state.catalogs.put_catalog(compiler_version(), digest, b"\xc1garbage")
        assert (await one.library.obtain(inline(notes_spec), "t")).catalog.digest == digest
        assert one.library.parses == 1

    async def test_what_other_code_compiled_is_not_read(
        self, replica: Callable[..., Replica], notes_spec: bytes
    ) -> None:
        one = replica()
        digest = content_digest(notes_spec)
        foreign = msgspec.msgpack.encode(Catalog(digest=digest, title="of another version"))
        await one.state.catalogs.put_catalog("another-version", digest, foreign)
        assert (await one.library.obtain(inline(notes_spec), "t")).catalog.title == "Notes"
        assert one.library.parses == 1


class TestNames:
    async def test_upload_is_found_by_every_replica(self, replica: Callable[..., Replica], notes_spec: bytes) -> None:
        first, second = replica(), replica()
        await first.library.upload("t", "notes", notes_spec)
        assert (await second.library.obtain(Source(name="notes"), "t")).catalog.title == "Notes"

    async def test_upload_of_another_tenant_is_unknown(
        self, replica: Callable[..., Replica], notes_spec: bytes
    ) -> None:
        one = replica()
        await one.library.upload("t", "notes", notes_spec)
        with pytest.raises(UnknownCatalog):
            await one.library.obtain(Source(name="notes"), "other")

    async def test_next_edition_is_known_everywhere_within_a_second(self, replica: Callable[..., Replica]) -> None:
        first, second = replica(), replica()
        await first.library.upload("t", "n", spec("n", "a"))
        assert paths(await second.library.obtain(Source(name="n"), "t")) == ["/a"]
        await first.library.upload("t", "n", spec("n", "b"))
        assert paths(await first.library.obtain(Source(name="n"), "t")) == ["/b"]
        await asyncio.sleep(1.05)
        assert paths(await second.library.obtain(Source(name="n"), "t")) == ["/b"]

    async def test_digest_told_by_the_state_is_taken_at_once(self, replica: Callable[..., Replica]) -> None:
        one = replica()
        await one.library.upload("t", "n", spec("n", "a"))
        later = content_digest(spec("n", "b"))
        other = replica()
        await other.library.upload("t", "n", spec("n", "b"))
        assert paths(await one.library.obtain(Source(name="n", digest=later), "t")) == ["/b"]

    async def test_upload_is_compiled_again_from_its_bytes(
        self, replica: Callable[..., Replica], raw: redis.Redis, notes_spec: bytes
    ) -> None:
        first = replica()
        await first.library.upload("t", "notes", notes_spec)
        await until(lambda: not first.library._flights._tasks)
        for key in raw.scan_iter("catalog:*"):
            raw.delete(key)
        second = replica()
        assert (await second.library.obtain(Source(name="notes"), "t")).catalog.title == "Notes"
        assert second.library.parses == 1

    async def test_removed_name_is_unknown(self, replica: Callable[..., Replica], notes_spec: bytes) -> None:
        one = replica()
        await one.library.upload("t", "notes", notes_spec)
        await one.library.remove("t", "notes")
        with pytest.raises(UnknownCatalog):
            await one.library.obtain(Source(name="notes"), "t")
        with pytest.raises(UnknownCatalog):
            await one.library.remove("t", "notes")

    async def test_spec_that_is_none_takes_no_name(self, replica: Callable[..., Replica]) -> None:
        one = replica()
        with pytest.raises(SpecInvalid):
            await one.library.upload("t", "notes", b"[]")
        with pytest.raises(UnknownCatalog):
            await one.library.obtain(Source(name="notes"), "t")

    async def test_packaged_catalog_needs_no_state(self, replica: Callable[..., Replica]) -> None:
        away = replica("unix:///nowhere/redis.sock")
        compiled = await away.library.obtain(Source(name="billing"), "t")
        assert compiled.catalog.operations
        with pytest.raises(StateUnavailable):
            await away.library.obtain(Source(name="something"), "t")

    async def test_unknown_digest_is_unknown(self, replica: Callable[..., Replica]) -> None:
        with pytest.raises(UnknownCatalog):
            await replica().library.obtain(Source(digest="sha256:" + "0" * 64), "t")
        with pytest.raises(UnknownCatalog):
            await replica().library.obtain(Source(), "t")


async def test_without_state_urls_and_inline_specs_serve(
    replica: Callable[..., Replica], site: Site, notes_spec: bytes
) -> None:
    away, site.body = replica("unix:///nowhere/redis.sock", embeds=True), notes_spec
    assert (await away.library.obtain(Source(url=site.url), "t")).catalog.title == "Notes"
    await away.library.obtain(inline(spec("x", "a")), "t")
    await until(lambda: not away.library.counters()["embedding"])
    compiled = await away.library.obtain(Source(url=site.url), "t")
    assert compiled.vectors is not None, "vectors are then made for this replica alone"
    with pytest.raises(StateUnavailable):
        await away.library.upload("t", "notes", notes_spec)


class TestUrls:
    async def test_fresh_page_is_not_asked_again(
        self, replica: Callable[..., Replica], site: Site, notes_spec: bytes
    ) -> None:
        one, site.body = replica(), notes_spec
        for _ in range(5):
            await one.library.obtain(Source(url=site.url), "t")
        await asyncio.sleep(0.05)
        assert site.requests == 1

    async def test_stale_page_serves_while_it_is_asked_again(self, replica: Callable[..., Replica], site: Site) -> None:
        one, site.body = replica(fresh_s=0.1), spec("s", "a")
        assert paths(await one.library.obtain(Source(url=site.url), "t")) == ["/a"]
        await asyncio.sleep(0.15)
        site.body = spec("s", "b")
        site.may_answer.clear()
        assert paths(await one.library.obtain(Source(url=site.url), "t")) == ["/a"]
        await until(lambda: site.requests == 2)
        assert paths(await one.library.obtain(Source(url=site.url), "t")) == ["/a"]
        site.may_answer.set()
        await until(lambda: one.library.parses == 2)
        await until(lambda: not one.library._flights._tasks)
        assert paths(await one.library.obtain(Source(url=site.url), "t")) == ["/b"]

    async def test_unchanged_page_is_not_parsed_again(
        self, replica: Callable[..., Replica], site: Site, notes_spec: bytes
    ) -> None:
        one, site.body = replica(fresh_s=0.1), notes_spec
        await one.library.obtain(Source(url=site.url), "t")
        await asyncio.sleep(0.15)
        await one.library.obtain(Source(url=site.url), "t")
        await until(lambda: site.conditional == 1)
        await until(lambda: not one.library._flights._tasks)
        assert one.library.parses == 1
        await one.library.obtain(Source(url=site.url), "t")
        assert site.requests == 2, "and is fresh again"

    async def test_page_that_went_away_serves_on(
        self, replica: Callable[..., Replica], site: Site, notes_spec: bytes
    ) -> None:
        one, site.body = replica(fresh_s=0.1), notes_spec
        await one.library.obtain(Source(url=site.url), "t")
        site.status = 500
        await asyncio.sleep(0.15)
        for _ in range(5):
            await one.library.obtain(Source(url=site.url), "t")
        await until(lambda: not one.library._flights._tasks)
        assert (await one.library.obtain(Source(url=site.url), "t")).catalog.title == "Notes"
        assert site.requests == 2, "a failed revalidation is not repeated at once"

    async def test_page_that_became_nonsense_serves_on(self, replica: Callable[..., Replica], site: Site) -> None:
        one, site.body = replica(fresh_s=0.1), spec("s", "a")
        await one.library.obtain(Source(url=site.url), "t")
        site.body = b"<html>"
        await asyncio.sleep(0.15)
        await one.library.obtain(Source(url=site.url), "t")
        await until(lambda: len(one.parser.parsed) == 2)
        await until(lambda: not one.library._flights._tasks)
        assert paths(await one.library.obtain(Source(url=site.url), "t")) == ["/a"]

    async def test_second_replica_learns_from_the_state(
        self, replica: Callable[..., Replica], site: Site, notes_spec: bytes
    ) -> None:
        first, site.body = replica(), notes_spec
        await first.library.obtain(Source(url=site.url), "t")
        await until(lambda: not first.library._flights._tasks)
        second = replica()
        assert (await second.library.obtain(Source(url=site.url), "t")).catalog.title == "Notes"
        assert site.requests == 1
        assert second.library.parses == 0

    async def test_what_a_private_address_said_is_its_tenants_own(
        self, replica: Callable[..., Replica], site: Site, raw: redis.Redis, notes_spec: bytes
    ) -> None:
        one, site.body = replica(), notes_spec
        await one.library.obtain(Source(url=site.url), "t")
        assert not list(raw.scan_iter("spec:*"))
        assert len(list(raw.scan_iter("t:t:spec:*"))) == 1

    async def test_digest_told_by_the_state_is_served_and_looked_into(
        self, replica: Callable[..., Replica], site: Site
    ) -> None:
        one, site.body = replica(), spec("s", "a")
        digest = content_digest(site.body)
        await one.library.obtain(inline(site.body), "t")
        assert paths(await one.library.obtain(Source(url=site.url, digest=digest), "t")) == ["/a"]
        await until(lambda: site.requests == 1)
        await until(lambda: not one.library._flights._tasks)
        for _ in range(3):
            await one.library.obtain(Source(url=site.url), "t")
        assert site.requests == 1

    async def test_spellings_of_a_url_are_one(self, replica: Callable[..., Replica], site: Site) -> None:
        one, site.body = replica(), spec("s", "a")
        await one.library.obtain(Source(url=site.url), "t")
        await one.library.obtain(Source(url=site.url.replace("http", "HTTP") + "#top"), "t")
        assert site.requests == 1


class TestVectors:
    async def embedded(self, one: Replica, data: bytes) -> Compiled:
        compiled = await one.library.obtain(inline(data), "t")
        await until(lambda: not one.library.counters()["embedding"])
        return await one.library.obtain(Source(digest=compiled.catalog.digest), "t")

    async def test_are_made_behind_the_first_answer(self, replica: Callable[..., Replica], notes_spec: bytes) -> None:
        one = replica(embeds=True)
        one.encoder.may_end.clear()
        assert (await one.library.obtain(inline(notes_spec), "t")).vectors is None
        assert (await one.library.obtain(inline(notes_spec), "t")).vectors is None
        one.encoder.may_end.set()
        compiled = await self.embedded(one, notes_spec)
        cards = [operation_card(operation) for operation in compiled.catalog.operations]
        assert compiled.vectors is not None
        assert compiled.vectors.dtype == np.float32
        np.testing.assert_allclose(compiled.vectors, HashingEncoder().encode(cards), atol=1e-3)
        assert max(map(len, one.encoder.chunks)) == LIMITS.embed_chunk

    async def test_two_libraries_make_them_once(self, replica: Callable[..., Replica], notes_spec: bytes) -> None:
        first, second = replica(embeds=True), replica(embeds=True)
        await asyncio.gather(*(one.library.obtain(inline(notes_spec), "t") for one in (first, second)))
        got = await asyncio.gather(self.embedded(first, notes_spec), self.embedded(second, notes_spec))
        assert len(first.encoder.texts) + len(second.encoder.texts) == len(got[0].catalog.operations)
        np.testing.assert_array_equal(got[0].vectors, got[1].vectors)

    async def test_stored_ones_are_taken(self, replica: Callable[..., Replica], notes_spec: bytes) -> None:
        await self.embedded(replica(embeds=True), notes_spec)
        second = replica(embeds=True)
        assert (await self.embedded(second, notes_spec)).vectors is not None
        assert not second.encoder.texts

    async def test_next_edition_encodes_only_what_changed(
        self, replica: Callable[..., Replica], redis_url: str
    ) -> None:
        one = replica(embeds=True)
        await one.library.upload("t", "n", spec("first", "a", "b", "c"))
        await until(lambda: not one.library.counters()["embedding"])
        one.encoder.texts.clear()
        compiled = await one.library.upload("t", "n", spec("renamed", "a", "b", "d"))
        await until(lambda: not one.library.counters()["embedding"])
        assert [text for text in one.encoder.texts if "d" not in text.split()] == []
        assert len(one.encoder.texts) == 1
        compiled = await one.library.obtain(Source(digest=compiled.catalog.digest), "t")
        cards = [operation_card(operation) for operation in compiled.catalog.operations]
        np.testing.assert_allclose(compiled.vectors, HashingEncoder().encode(cards), atol=1e-3)

    async def test_catalog_of_the_same_title_lends_its_cards(self, replica: Callable[..., Replica]) -> None:
        one = replica(embeds=True)
        await self.embedded(one, spec("same", "a", "b", "c"))
        await self.embedded(one, spec("same", "b", "c", "d"))
        assert len(one.encoder.texts) == 4

    async def test_one_call_is_in_flight(self, replica: Callable[..., Replica]) -> None:
        one = replica(embeds=True)
        for i in range(4):
            await one.library.obtain(inline(spec(f"s{i}", *(f"p{i}{j}" for j in range(5)))), "t")
        await until(lambda: not one.library.counters()["embedding"])
        assert one.encoder.most_at_once == 1
        assert len(one.encoder.texts) == 20

    async def test_failure_of_the_embedder_is_retried_and_harms_nobody(
        self, replica: Callable[..., Replica], notes_spec: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("pipeline.catalog.vectors._RETRY_FIRST_S", 0.01)
        one = replica(embeds=True)
        one.encoder.failures = 3
        compiled = await self.embedded(one, notes_spec)
        assert compiled.vectors is not None
        assert len(one.encoder.texts) == len(compiled.catalog.operations), "what was encoded before is kept"

    async def test_lease_of_a_dead_replica_runs_out(self, replica: Callable[..., Replica], notes_spec: bytes) -> None:
        one = replica(embeds=True, lease_s=0.3)
        digest = content_digest(notes_spec)
        assert await one.state.catalogs.acquire_lease(f"embed:{digest}", "dead", 0.3)
        assert (await self.embedded(one, notes_spec)).vectors is not None

    async def test_lease_is_renewed_and_given_back(
        self, replica: Callable[..., Replica], raw: redis.Redis, notes_spec: bytes
    ) -> None:
        first, second = replica(embeds=True, lease_s=0.6), replica(embeds=True, lease_s=0.6)
        slow = first.encoder.encode

        async def slowly(texts: Sequence[str]) -> np.ndarray:
            await asyncio.sleep(0.36)
            return await slow(texts)

        first.encoder.encode = slowly  # type: ignore[method-assign]
        await first.library.obtain(inline(notes_spec), "t")
        await until(lambda: list(raw.scan_iter("lease:*")))
        await self.embedded(second, notes_spec)
        assert not second.encoder.texts
        await until(lambda: not first.library.counters()["embedding"])
        assert not list(raw.scan_iter("lease:*"))

    @pytest.mark.parametrize("data", [b"", b"\xc1", msgspec.msgpack.encode((64, b"x" * 16, b"y")), b"\x93\x01"])
    async def test_unreadable_ones_are_made_anew(
        self, replica: Callable[..., Replica], notes_spec: bytes, data: bytes
    ) -> None:
        one = replica(embeds=True)
        await one.state.catalogs.put_vectors(one.encoder.hashing.name, content_digest(notes_spec), data)
        assert (await self.embedded(one, notes_spec)).vectors is not None

    async def test_catalog_without_operations_has_none_to_wait_for(self, replica: Callable[..., Replica]) -> None:
        compiled = await self.embedded(replica(embeds=True), b'{"openapi": "3.1.0", "paths": {}}')
        assert compiled.vectors is not None
        assert compiled.vectors.shape == (0, 64)

    async def test_catalog_that_left_is_not_embedded_any_more(self, replica: Callable[..., Replica]) -> None:
        one = replica(embeds=True, cache_bytes=1)
        one.encoder.may_end.clear()
        for i in range(5):
            await one.library.obtain(inline(spec(f"s{i}", "a")), "t")
        await until(lambda: one.library.counters()["embedding"] == 1)
        one.encoder.may_end.set()
        await until(lambda: not one.library.counters()["embedding"])
        assert len(one.encoder.texts) == 1

    async def test_close_ends_it_and_frees_the_lease(
        self, replica: Callable[..., Replica], raw: redis.Redis, notes_spec: bytes
    ) -> None:
        one = replica(embeds=True)
        one.encoder.may_end.clear()
        await one.library.obtain(inline(notes_spec), "t")
        await until(lambda: list(raw.scan_iter("lease:*")))
        await one.library.close()
        assert one.parser.is_closed
        assert not list(raw.scan_iter("lease:*"))

    async def test_close_frees_a_lease_whose_answer_was_on_its_way(
        self, replica: Callable[..., Replica], raw: redis.Redis, notes_spec: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one = replica(embeds=True)
        acquire = one.state.catalogs.acquire_lease

        async def unanswered(what: str, token: str, lease_s: float) -> bool:
            await acquire(what, token, lease_s)
            return await asyncio.Future()

        monkeypatch.setattr(one.state.catalogs, "acquire_lease", unanswered)
        await one.library.obtain(inline(notes_spec), "t")
        await until(lambda: list(raw.scan_iter("lease:*")))
        await one.library.close()
        assert not list(raw.scan_iter("lease:*"))


def test_lineage_is_name_then_url_then_digest() -> None:
    assert lineage(Source(name="n", digest="sha256:0"), "sha256:0") == "n"
    assert lineage(Source(url="HTTP://Example.test:80/s#x"), "sha256:0") == "http://example.test/s"
    assert lineage(Source(data=b"{}"), "sha256:0") == "sha256:0"


def test_size_counts_the_vectors(notes_spec: bytes) -> None:
    compiled = compile_catalog(parse_spec(notes_spec, SETTINGS.parse))
    vectors = np.zeros((len(compiled.catalog.operations), 8), np.float32)
    assert with_vectors(compiled, vectors).size_bytes == compiled.size_bytes + vectors.nbytes
    assert with_vectors(with_vectors(compiled, vectors), vectors).size_bytes == compiled.size_bytes + vectors.nbytes
