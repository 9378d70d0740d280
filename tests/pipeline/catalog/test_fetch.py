"""Fetching from real servers on loopback, and every way to be refused."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import gzip
import ipaddress
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from pipeline.catalog.fetch import Fetched, Fetcher, canonical_url, require_public
from pipeline.errors import BadRequest, Overloaded, SpecUnavailable
from pipeline.settings import Fetch

LIMITS = Fetch(
    connect_s=1.0,
    read_s=1.0,
    total_s=2.0,
    wire_limit_bytes=100_000,
    expanded_limit_bytes=1_000_000,
    redirects=3,
    ports=(80, 443),
    allow_hosts=(),
    fresh_s=3600,
    tenant_per_minute=1000,
    host_per_minute=1000,
)

Route = Callable[[dict[str, str], asyncio.StreamWriter], Awaitable[None]]


class Server:
    """An HTTP server whose routes write what they like to the wire."""

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.port = 0

    @contextlib.asynccontextmanager
    async def running(self, context: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def answer(self, path: str, status: int = 200, body: bytes = b"", **headers: str) -> None:
        head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())

        async def route(_: dict[str, str], writer: asyncio.StreamWriter) -> None:
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body)

        self.routes[path] = route

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            path = lines[0].split(" ")[1]
            headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
            self.seen.append((path, headers))
            if path in self.routes:
                await self.routes[path](headers, writer)
            else:
                writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            writer.close()
            await writer.wait_closed()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server().running() as running:
        yield running


def allowing(*hosts: str, **changes: object) -> Fetcher:
    return Fetcher(LIMITS.model_copy(update={"allow_hosts": hosts, **changes}))


async def fetched(url: str, etag: str = "", **changes: object) -> Fetched:
    fetcher = allowing("127.0.0.1", **changes)
    try:
        return await fetcher.fetch(url, etag)
    finally:
        await fetcher.close()


async def test_document_comes_with_its_etag(server: Server) -> None:
    server.answer("/spec.json?v=1", body=b"{}", ETag='"a"', Content_Type="application/json")
    answer = await fetched(server.url("/spec.json?v=1#fragment"))
    assert answer == Fetched(b"{}", '"a"', not_modified=False, is_public=False)
    path, headers = server.seen[0]
    assert path == "/spec.json?v=1"
    assert headers["host"] == f"127.0.0.1:{server.port}"
    assert headers["accept-encoding"] == "gzip, identity"
    assert not headers.keys() & {"cookie", "authorization", "referer", "if-none-match"}


async def test_etag_that_still_holds_is_not_modified(server: Server) -> None:
    server.answer("/s", status=304)
    assert (await fetched(server.url("/s"), '"a"')).not_modified
    assert server.seen[0][1]["if-none-match"] == '"a"'


async def test_not_modified_without_a_question_is_no_answer(server: Server) -> None:
    server.answer("/s", status=304)
    with pytest.raises(SpecUnavailable):
        await fetched(server.url("/s"))


async def test_web_page_is_data(server: Server) -> None:
    server.answer("/s", body=b"<html>", Content_Type="text/html")
    assert (await fetched(server.url("/s"))).data == b"<html>"


@pytest.mark.parametrize("kind", ["image/png", "Video/mp4; x=y", "audio/ogg", "font/woff2"])
async def test_what_is_never_a_spec_is_not_read(server: Server, kind: str) -> None:
    server.answer("/s", body=b"{}", Content_Type=kind)
    with pytest.raises(SpecUnavailable):
        await fetched(server.url("/s"))


@pytest.mark.parametrize("status", [201, 204, 300, 400, 401, 404, 500, 503])
async def test_other_statuses_are_unavailable(server: Server, status: int) -> None:
    server.answer("/s", status=status, body=b"" if status == 204 else b"{}")
    with pytest.raises(SpecUnavailable):
        await fetched(server.url("/s"))


class TestRedirects:
    async def test_are_followed_as_far_as_allowed(self, server: Server) -> None:
        for hop in range(3):
            server.answer(f"/{hop}", status=(301, 302, 307)[hop], Location=f"/{hop + 1}")
        server.answer("/3", body=b"{}")
        assert (await fetched(server.url("/0"))).data == b"{}"

    async def test_one_more_is_too_many(self, server: Server) -> None:
        for hop in range(4):
            server.answer(f"/{hop}", status=302, Location=f"/{hop + 1}")
        server.answer("/4", body=b"{}")
        with pytest.raises(SpecUnavailable):
            await fetched(server.url("/0"))
        assert len(server.seen) == 4

    @pytest.mark.parametrize(
        "location",
        [
            "http://169.254.169.254/latest/meta-data/",
            "http://localhost:{port}/secret",
            "http://[::ffff:127.0.0.1]:{port}/secret",
            "//127.0.0.2:{port}/secret",
            "http://user:pw@127.0.0.1:{port}/secret",
            "file:///etc/passwd",
            "ftp://127.0.0.1:{port}/secret",
            "gopher://127.0.0.1:{port}/",
            "http://[::1",
            "http://\xff\xfe/",
        ],
    )
    async def test_each_hop_is_checked(self, server: Server, location: str) -> None:
        server.answer("/secret", body=b"{}")
        server.answer("/s", status=302, Location=location.format(port=server.port))
        with pytest.raises(SpecUnavailable):
            await fetched(server.url("/s"))
        assert [path for path, _ in server.seen] == ["/s"]

    async def test_loop_ends(self, server: Server) -> None:
        server.answer("/s", status=302, Location="/s")
        with pytest.raises(SpecUnavailable):
            await fetched(server.url("/s"))


class TestSizes:
    async def test_gzip_is_expanded(self, server: Server) -> None:
        body = b'{"a": 1}' * 20_000
        server.answer("/s", body=gzip.compress(body), Content_Encoding="gzip")
        assert (await fetched(server.url("/s"))).data == body

    async def test_gzip_of_several_members_is_expanded(self, server: Server) -> None:
        server.answer("/s", body=gzip.compress(b"a" * 700_000) + gzip.compress(b"b"), Content_Encoding="gzip")
        assert (await fetched(server.url("/s"))).data == b"a" * 700_000 + b"b"

    @pytest.mark.parametrize(
        ("body", "encoding"),
        [
            (gzip.compress(bytes(1_000_001)), "gzip"),
            (gzip.compress(bytes(50_000_000)), "gzip"),  # 48 KB on the wire
            (gzip.compress(b"{}")[:-1], "gzip"),
            (b"not gzip", "gzip"),
            (b"{}", "br"),
            (gzip.compress(gzip.compress(b"{}")), "gzip, gzip"),
            (bytes(100_001), "identity"),
        ],
        ids=["over the limit", "bomb", "cut short", "no gzip", "brotli", "twice", "too large"],
    )
    async def test_bombs_and_garbage_are_refused(self, server: Server, body: bytes, encoding: str) -> None:
        server.answer("/s", body=body, Content_Encoding=encoding)
        with pytest.raises(SpecUnavailable):
            await fetched(server.url("/s"))

    async def test_endless_body_is_cut(self, server: Server) -> None:
        async def endless(_: dict[str, str], writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                writer.write(bytes(10_000))
                await writer.drain()

        server.routes["/s"] = endless
        with pytest.raises(SpecUnavailable):
            await fetched(server.url("/s"))

    async def test_body_shorter_than_promised_is_refused(self, server: Server) -> None:
        async def short(_: dict[str, str], writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}")

        server.routes["/s"] = short
        with pytest.raises(SpecUnavailable):
            await fetched(server.url("/s"))


class TestSlowness:
    async def test_drip_ends_with_the_total(self, server: Server) -> None:
        async def drip(_: dict[str, str], writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            for _tick in range(200):
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.05)

        server.routes["/s"] = drip
        started = time.monotonic()
        with pytest.raises(SpecUnavailable):
            await fetched(server.url("/s"), total_s=0.4)
        assert time.monotonic() - started < 5

    async def test_silence_ends_with_the_read_limit(self, server: Server) -> None:
        async def silent(_: dict[str, str], writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(5)

        server.routes["/s"] = silent
        started = time.monotonic()
        with pytest.raises(SpecUnavailable):
            await fetched(server.url("/s"), read_s=0.2, total_s=60.0)
        assert time.monotonic() - started < 4

    async def test_cancelled_fetch_leaves_no_connection(self, server: Server) -> None:
        arrived = asyncio.Event()
        gone = asyncio.Event()

        async def hold(_: dict[str, str], writer: asyncio.StreamWriter) -> None:
            arrived.set()
            while not writer.is_closing():
                writer.write(b" ")
                with contextlib.suppress(ConnectionError):
                    await writer.drain()
                await asyncio.sleep(0.01)
            gone.set()

        server.routes["/s"] = hold
        task = asyncio.create_task(fetched(server.url("/s")))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(gone.wait(), 5)


REFUSED = [
    "127.0.0.1",
    "127.1",
    "127.255.255.254",
    "localhost",
    "LOCALHOST.",
    "0x7f000001",
    "0x7f.1",
    "2130706433",
    "017700000001",
    "0",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "100.100.100.200",
    "169.254.169.254",
    "168.63.129.16",
    "192.0.0.192",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "[::]",
    "[::1]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:a9fe:a9fe]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b:1::1]",
    "[2002:7f00:1::]",
    "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
    "[fd00::1]",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[ff02::1]",
    "[2001:db8::1]",
    "[3fff::1]",
    "[100::1]",
    "[fe80::1%25lo]",
    "127。0。0。1",
    "no-such-host.invalid",
    "a..b",
    "a" * 70 + ".test",
    "a%20b",
]


@pytest.mark.parametrize("host", REFUSED)
async def test_address_that_is_not_public_is_refused(server: Server, host: str) -> None:
    server.answer("/", body=b"{}")
    fetcher = allowing(ports=(80, 443, server.port))
    with pytest.raises(SpecUnavailable) as refusal:
        await fetcher.fetch(server.url("/", host))
    assert str(refusal.value) == str(SpecUnavailable()), "one text for all"
    assert not server.seen
    await fetcher.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:0/",
        "http://127.0.0.1:22/",
        "http://8.8.8.8:6379/",
        "http://u@127.0.0.1/",
        "http://u:p@8.8.8.8/",
    ],
)
async def test_port_and_userinfo_are_refused_before_any_lookup(url: str) -> None:
    with pytest.raises(SpecUnavailable):
        await allowing().fetch(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "spec.yaml",
        "//example.test/s",
        "http:",
        "http://",
        "http:///x",
        "http:example.test",
        "ftp://example.test/s",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://[::1",
        "http://h:port/",
        "http://h/\n",
        "http://0177.0.0.1/",
        "http://\ud800/",
        "http://h/\ud800",
        "http://h/" + "x" * 5000,
    ],
)
async def test_what_is_no_url_is_a_bad_request(url: str) -> None:
    with pytest.raises(BadRequest):
        await allowing().fetch(url)
    with pytest.raises(BadRequest):
        canonical_url(url)


class TestAllowedHosts:
    async def test_name_with_its_port_only(self, server: Server) -> None:
        server.answer("/", body=b"{}")
        allowed = allowing(f"LocalHost:{server.port}")
        assert (await allowed.fetch(server.url("/", "localhost"))).data == b"{}"
        with pytest.raises(SpecUnavailable):
            await allowed.fetch(server.url("/"))
        with pytest.raises(SpecUnavailable):
            await allowing(f"localhost:{server.port + 1}").fetch(server.url("/", "localhost"))
        await allowed.close()

    async def test_public_host_on_an_allowed_port_alone_stays_vetted(self, server: Server) -> None:
        with pytest.raises(SpecUnavailable):
            await allowing("example.test", ports=(server.port,)).fetch(server.url("/"))

    @pytest.mark.parametrize("entry", ["::1", "[::1]", "[::1]:{port}"])
    async def test_ipv6_entries(self, entry: str) -> None:
        try:
            listener = await asyncio.start_server(Server()._serve, "::1", 0)
        except OSError:  # no IPv6 on this machine: what is tested is that the entry is read
            port = 8080
        else:
            port = listener.sockets[0].getsockname()[1]
            listener.close()
        from pipeline.catalog.fetch import _Allowed

        assert _Allowed([entry.format(port=port)]).covers("::1", port)
        assert not _Allowed([entry.format(port=port)]).covers("::2", port)


async def test_name_with_one_private_address_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """All answers of the resolver count, also those that would not have been tried first."""

    async def both(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, server.port)) for address in ("8.8.8.8", "127.0.0.1")
        ]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both)
    with pytest.raises(SpecUnavailable):
        await allowing(ports=(server.port,)).fetch(server.url("/", "two.test"))


async def test_name_is_looked_up_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second lookup could answer otherwise (DNS rebinding): the connection goes to the address that was vetted."""
    lookups = []
    loop = asyncio.get_running_loop()
    genuine = loop.getaddrinfo

    async def counted(host: str, *args: object, **kwargs: object) -> object:
        lookups.append(host)
        return await genuine("127.0.0.1" if host == "rebind.test" else host, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "getaddrinfo", counted)
    server.answer("/", body=b"{}")
    await allowing("rebind.test").fetch(server.url("/", "rebind.test"))
    assert lookups.count("rebind.test") == 1
    assert set(lookups) <= {"rebind.test", "127.0.0.1"}
    assert server.seen[0][1]["host"] == f"rebind.test:{server.port}"


async def test_environment_names_no_proxy(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    server.answer("/", body=b"{}")
    assert (await fetched(server.url("/"))).data == b"{}"


def test_same_under_uvloop() -> None:
    async def all_of_it() -> None:
        async with Server().running() as server:
            server.answer("/", body=gzip.compress(b"{}"), Content_Encoding="gzip")
            assert (await fetched(server.url("/"))).data == b"{}"
            for host in REFUSED:
                fetcher = allowing(ports=(80, 443, server.port))
                with pytest.raises(SpecUnavailable):
                    await fetcher.fetch(server.url("/", host))
            assert len(server.seen) == 1

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(all_of_it())


class TestEncrypted:
    @pytest.fixture
    def contexts(self, tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        """A server's certificate for `localhost`, and a client that trusts its issuer."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (tmp_path / "both.pem").write_bytes(secret + pem)
        inward = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        inward.load_cert_chain(tmp_path / "both.pem")
        return inward, ssl.create_default_context(cadata=pem.decode())

    async def test_host_name_is_verified_although_the_address_is_pinned(
        self, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
    ) -> None:
        inward, outward = contexts
        async with Server().running(inward) as server:
            server.answer("/", body=b"{}")
            fetcher = Fetcher(LIMITS.model_copy(update={"allow_hosts": ("localhost", "127.0.0.1")}), outward)
            assert (await fetcher.fetch(f"https://localhost:{server.port}/")).data == b"{}"
            with pytest.raises(SpecUnavailable):
                await fetcher.fetch(f"https://127.0.0.1:{server.port}/")
            await fetcher.close()

    async def test_unknown_issuer_is_refused(self, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
        async with Server().running(contexts[0]) as server:
            server.answer("/", body=b"{}")
            with pytest.raises(SpecUnavailable):
                await allowing("localhost").fetch(f"https://localhost:{server.port}/")

    async def test_redirect_to_plain_http_is_refused(
        self, contexts: tuple[ssl.SSLContext, ssl.SSLContext], server: Server
    ) -> None:
        inward, outward = contexts
        server.answer("/", body=b"{}")
        async with Server().running(inward) as secure:
            secure.answer("/", status=302, Location=server.url("/"))
            fetcher = Fetcher(LIMITS.model_copy(update={"allow_hosts": ("localhost", "127.0.0.1")}), outward)
            with pytest.raises(SpecUnavailable):
                await fetcher.fetch(f"https://localhost:{secure.port}/")
            await fetcher.close()
        assert not server.seen


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
)
def test_public_addresses_pass(address: str) -> None:
    require_public(address)


@pytest.mark.parametrize("host", [host for host in REFUSED if "." in host or ":" in host])
def test_address_is_refused_for_what_it_is(host: str) -> None:
    """Not only because nothing answers there."""
    address = host.strip("[]")
    with contextlib.suppress(OSError, UnicodeError):
        address = str(socket.getaddrinfo(address, 80)[0][4][0])
    with pytest.raises(SpecUnavailable):
        require_public(address)


@given(st.one_of(st.ip_addresses(v=4, network="0.0.0.0/0"), st.ip_addresses(v=6)), st.integers(0, 3))
def test_private_ipv4_stays_private_in_every_wrapping(address: ipaddress.IPv4Address, way: int) -> None:
    if address.version == 6:
        try:
            require_public(str(address))
        except SpecUnavailable:
            return
        assert address.is_global
        return
    wrapped = [
        str(address),
        f"::ffff:{address}",
        f"64:ff9b::{address}",
        str(ipaddress.IPv6Address((0x2002 << 112) | (int(address) << 80))),
    ][way]
    if address.is_global and not address.is_multicast and not address.is_reserved:
        return
    with pytest.raises(SpecUnavailable):
        require_public(wrapped)


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("HTTPS://Example.Test:443/a?b=C#d", "https://example.test/a?b=C"),
        ("http://example.test", "http://example.test/"),
        ("http://example.test.:8080/", "http://example.test:8080/"),
        ("http://[2001:DB8::1]:80/x", "http://[2001:db8::1]/x"),
        ("http://bücher.test/ü", "http://xn--bcher-kva.test/%C3%BC"),
    ],
)
def test_canonical_url(url: str, canonical: str) -> None:
    assert canonical_url(url) == canonical == canonical_url(canonical)


class TestQuota:
    async def test_tenant_that_asks_too_often_waits_and_others_do_not(self, server: Server) -> None:
        server.answer("/", body=b"{}")
        fetcher = allowing("127.0.0.1", tenant_per_minute=2)
        for _ in range(2):
            await fetcher.fetch(server.url("/"), tenant="a")
        with pytest.raises(Overloaded) as refusal:
            await fetcher.fetch(server.url("/"), tenant="a")
        assert 0 < refusal.value.retry_after_s <= 31
        assert (await fetcher.fetch(server.url("/"), tenant="b")).data == b"{}"
        await fetcher.close()

    async def test_refused_addresses_count_too(self) -> None:
        fetcher = allowing(tenant_per_minute=1)
        with pytest.raises(SpecUnavailable):
            await fetcher.fetch("http://10.0.0.1/", tenant="a")
        with pytest.raises(Overloaded):
            await fetcher.fetch("http://10.0.0.2/", tenant="a")

    async def test_host_is_not_flooded_whoever_asks_and_however_it_is_reached(self, server: Server) -> None:
        server.answer("/", body=b"{}")
        server.answer("/again", status=302, Location=server.url("/again"))
        fetcher = allowing("127.0.0.1", host_per_minute=5)
        with pytest.raises(SpecUnavailable):
            await fetcher.fetch(server.url("/again"), tenant="a")  # four requests
        await fetcher.fetch(server.url("/"), tenant="b")
        with pytest.raises(SpecUnavailable):
            await fetcher.fetch(server.url("/"), tenant="c")
        assert len(server.seen) == 5
        await fetcher.close()


async def test_absurd_etag_is_not_kept(server: Server) -> None:
    server.answer("/", body=b"{}", ETag='"' + "x" * 1000 + '"')
    assert (await fetched(server.url("/"))).etag == ""


@pytest.mark.parametrize("location", ["http://[", "//", "file:///etc/passwd", "gopher://x/", "\xff\xfe", "http://a b/"])
async def test_redirect_to_nonsense_is_unavailable(server: Server, location: str) -> None:
    server.answer("/", status=302, Location=location)
    with pytest.raises(SpecUnavailable):
        await fetched(server.url("/"))
