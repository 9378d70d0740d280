"""A spec from a URL that a stranger gave, without lending them our network.

`Fetcher.fetch` resolves each host once, demands that every answer be a public address and connects
to that very address, so that there is no second lookup to rebind; it follows redirects by hand and
checks each hop alike. Whatever is refused, missing or slow is one `SpecUnavailable`, so that nobody
scans networks through us; how often a tenant fetches and a host is asked is limited. What the bytes
mean is parse.py's; keeping them is library.py's.
"""

from __future__ import annotations

import asyncio
import dataclasses
import ipaddress
import logging
import socket
import ssl
import time
import zlib
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import httpcore2
import httpx2

from pipeline import settings
from pipeline.errors import BadRequest, Overloaded, SpecUnavailable

_log = logging.getLogger(__name__)

_URL_MAX = 4096  # characters
_ETAG_MAX = 256  # characters; a longer one is not kept
_KEYS_MAX = 4096  # tenants or hosts whose use is counted
_ADDRESSES_TRIED = 4  # of one host, in the order the resolver prefers
_INFLATE_STEP_BYTES = 262_144  # expanded at a time between two turns of the event loop: below 1 ms
_DEFAULT_PORTS = {"http": 80, "https": 443}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NEVER_A_SPEC = ("image/", "video/", "audio/", "font/")
_USELESS = (
    httpcore2.NetworkError,
    httpcore2.TimeoutException,
    httpcore2.ProtocolError,
    httpcore2.UnsupportedProtocol,
    httpcore2.ConnectionNotAvailable,
    httpx2.InvalidURL,
    OSError,  # with it TimeoutError, ssl.SSLError, socket.gaierror
    UnicodeError,
    zlib.error,
)

# Networks that Python 3.11 calls global and that lead, or may lead, somewhere private; from the IANA
# special-purpose address registries (2024-10) and the clouds' own pages.
_REFUSED_NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments; Oracle Cloud's metadata is 192.0.0.192
        "192.88.99.0/24",  # 6to4 relays, deprecated (RFC 7526)
        "168.63.129.16/32",  # Azure's host agent, reachable from inside only
        "3fff::/20",  # documentation (RFC 9637)
    )
)
_UNICAST = ipaddress.IPv6Network("2000::/3")  # all of IPv6 that is assigned for global unicast (RFC 4291)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052


@dataclasses.dataclass(frozen=True, slots=True)
class Fetched:
    """What a URL answered."""

    data: bytes
    etag: str = ""
    not_modified: bool = False  # the etag that was asked about still holds; data is empty
    is_public: bool = True  # no hop needed allow_hosts: what was learnt may be shared between tenants


class Fetcher:
    """Fetches specs; one per event loop."""

    def __init__(self, fetch: settings.Fetch, trust: ssl.SSLContext | None = None) -> None:
        """`trust` says which certificates count; None: the usual authorities."""
        self.fresh_s = fetch.fresh_s  # how long an answer is taken as it is
        self._settings = fetch
        self._trust = trust
        self._allowed = _Allowed(fetch.allow_hosts)
        self._of_tenant = _Quota(fetch.tenant_per_minute)
        self._of_host = _Quota(fetch.host_per_minute)
        self._pool: httpcore2.AsyncConnectionPool | None = None

    async def fetch(self, url: str, etag: str = "", tenant: str = "") -> Fetched:
        """The bytes at `url`, or `not_modified` when `etag` is still theirs; waits at most `fetch.total_s`.

        Raises:
            BadRequest: not an http or https URL.
            SpecUnavailable: refused, missing, too large or slow.
            Overloaded: the tenant has asked for too many URLs.
        """
        target = _read_url(url)
        if wait_s := self._of_tenant.take(tenant):
            raise Overloaded("Too many spec URLs were asked for; try again later.", round(wait_s + 0.5, 1))
        try:
            async with asyncio.timeout(self._settings.total_s):
                return await self._follow(target, etag)
        except _USELESS as error:
            _log.info("spec not fetched: %s", type(error).__name__)
            raise SpecUnavailable() from None

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.aclose()
            self._pool = None

    async def _follow(self, target: httpx2.URL, etag: str) -> Fetched:
        is_public = True
        for _ in range(self._settings.redirects + 1):
            self._check(target)
            if self._of_host.take(target.raw_host.decode("ascii").lower()):
                raise _refusal("too many requests to its host")
            is_public = is_public and not self._allowed.covers(target.raw_host.decode("ascii"), _port(target))
            answer = await self._ask(target, etag)
            if isinstance(answer, Fetched):
                return dataclasses.replace(answer, is_public=is_public)
            onward = target.join(answer)
            if target.scheme == "https" and onward.scheme != "https":
                raise _refusal("redirect from https to http")
            target = onward
        raise _refusal("too many redirects")

    def _check(self, target: httpx2.URL) -> None:
        if target.scheme not in _DEFAULT_PORTS or not target.raw_host:
            raise _refusal("not http or https")
        if target.userinfo:
            raise _refusal("userinfo")
        port = _port(target)
        if port not in self._settings.ports and not self._allowed.covers(target.raw_host.decode("ascii"), port):
            raise _refusal("port")

    async def _ask(self, target: httpx2.URL, etag: str) -> Fetched | str:
        """The answer of one hop, or where it redirects to."""
        headers = [
            (b"Host", target.netloc),
            (b"Accept", b"application/json, application/yaml, text/yaml, */*;q=0.5"),
            (b"Accept-Encoding", b"gzip, identity"),
            (b"User-Agent", b"opensesame"),
        ]
        if etag:
            headers.append((b"If-None-Match", etag.encode("latin-1")))
        limits = self._settings
        timeouts = {
            "connect": limits.connect_s,
            "read": limits.read_s,
            "write": limits.read_s,
            "pool": limits.total_s,
        }
        address = httpcore2.URL(
            scheme=target.raw_scheme, host=target.raw_host, port=_port(target), target=target.raw_path
        )
        async with self._opened().stream("GET", address, headers=headers, extensions={"timeout": timeouts}) as response:
            found = {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in response.headers}
            if response.status in _REDIRECTS and "location" in found:
                return found["location"]
            if response.status == 304 and etag:
                return Fetched(b"", etag, not_modified=True)
            if response.status != 200:
                raise _refusal(f"status {response.status}")
            if found.get("content-type", "").strip().lower().startswith(_NEVER_A_SPEC):
                raise _refusal("content type")
            etag = found.get("etag", "")
            return Fetched(await self._read(response, found), etag if len(etag) <= _ETAG_MAX else "")

    async def _read(self, response: httpcore2.Response, headers: dict[str, str]) -> bytes:
        encoding = headers.get("content-encoding", "identity").strip().lower() or "identity"
        if encoding not in ("identity", "gzip", "x-gzip"):
            raise _refusal("content encoding")
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self._settings.wire_limit_bytes:
            raise _refusal("size")
        body = _Body(self._settings.expanded_limit_bytes, is_gzip=encoding != "identity")
        wire_bytes = 0
        async for chunk in response.aiter_stream():
            wire_bytes += len(chunk)
            if wire_bytes > self._settings.wire_limit_bytes:
                raise _refusal("size")
            await body.add(chunk)
        return body.finish()

    def _opened(self) -> httpcore2.AsyncConnectionPool:
        if self._pool is None:
            self._pool = httpcore2.AsyncConnectionPool(
                ssl_context=self._trust or httpx2.create_ssl_context(trust_env=False),
                network_backend=_Pinned(self._allowed),
                max_connections=32,
                max_keepalive_connections=0,  # a connection serves one request, so each request is vetted
            )
        return self._pool


def canonical_url(url: str) -> str:
    """The URL by which a catalog's lineage and record are known: lower-case host, no default port, no fragment.

    Raises:
        BadRequest: not an http or https URL.
    """
    target = _read_url(url)
    host = target.raw_host.decode("ascii").lower().rstrip(".")
    host = f"[{host}]" if ":" in host else host
    port = _port(target)
    shown = "" if port == _DEFAULT_PORTS[target.scheme] else f":{port}"
    return f"{target.scheme}://{host}{shown}{target.raw_path.decode('ascii')}"


def require_public(address: str) -> None:
    """Passes a globally reachable address; IPv4 inside IPv6 is taken out first.

    Raises:
        SpecUnavailable: private, local, reserved, multicast, metadata or not an address.
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        raise _refusal("no address") from None
    inside: Iterable[Any] = ()
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            inside = (ip.ipv4_mapped,)
        elif ip in _NAT64:
            inside = (ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF),)
        elif ip.sixtofour is not None:
            inside = (ip.sixtofour,)
        elif ip.teredo is not None:
            inside = ip.teredo  # server and client
        elif ip not in _UNICAST:
            raise _refusal("address")
    for candidate in inside or (ip,):
        if not candidate.is_global or candidate.is_multicast or candidate.is_reserved:
            raise _refusal("address")
        if any(candidate in network for network in _REFUSED_NETWORKS if network.version == candidate.version):
            raise _refusal("address")


class _Allowed:
    """The entries of `fetch.allow_hosts`: hosts that may be private, with all ports or one."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._any_port: set[str] = set()
        self._one_port: set[tuple[str, int]] = set()
        for entry in entries:
            host, port = _split_entry(entry.strip())
            if port is None:
                self._any_port.add(_plain(host))
            else:
                self._one_port.add((_plain(host), port))

    def covers(self, host: str, port: int) -> bool:
        host = _plain(host)
        return host in self._any_port or (host, port) in self._one_port


class _Quota:
    """So many a minute for each key, all at once if need be (GCRA: ITU-T I.371, annex A)."""

    def __init__(self, per_minute: int) -> None:
        self._apart_s = 60 / per_minute
        self._due: OrderedDict[str, float] = OrderedDict()  # key -> when it would have used up what it took

    def take(self, key: str) -> float:
        """0 when one was taken, else how long to wait for one, in seconds."""
        now = time.monotonic()
        due = max(self._due.get(key, now), now) + self._apart_s
        if due - now > 60 + 1e-6:
            return due - now - 60
        self._due[key] = due
        self._due.move_to_end(key)
        if len(self._due) > _KEYS_MAX:
            self._due.popitem(last=False)
        return 0.0


class _Pinned(httpcore2.AsyncNetworkBackend):
    """Resolves a host once, vets every answer and connects to one of them by its address."""

    def __init__(self, allowed: _Allowed) -> None:
        self._allowed = allowed
        self._backend = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout):
            infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(info[4][0]) for info in infos))
        if not self._allowed.covers(host, port):
            for address in addresses:
                require_public(address)
        failure: Exception = _refusal("no address")
        for address in addresses[:_ADDRESSES_TRIED]:
            try:
                return await self._backend.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore2.AsyncNetworkStream:
        raise _refusal("unix socket")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Body:
    """A body that grows to a limit, expanded in small steps."""

    def __init__(self, limit_bytes: int, *, is_gzip: bool) -> None:
        self._limit_bytes = limit_bytes
        self._grown = bytearray()
        self._inflate = zlib.decompressobj(31) if is_gzip else None  # 31: a gzip header, the largest window
        self._has_started = False

    async def add(self, chunk: bytes) -> None:
        if self._inflate is None:
            self._extend(chunk)
            return
        pending = chunk
        while True:
            if self._inflate.eof and pending:
                self._inflate = zlib.decompressobj(31)  # a further member (RFC 1952, 2.2)
            piece = self._inflate.decompress(pending, _INFLATE_STEP_BYTES)
            self._extend(piece)
            pending = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            if not pending and len(piece) < _INFLATE_STEP_BYTES:
                return
            await asyncio.sleep(0)

    def finish(self) -> bytes:
        if self._inflate is not None and not self._inflate.eof:
            raise _refusal("truncated gzip")
        return bytes(self._grown)

    def _extend(self, piece: bytes) -> None:
        self._grown += piece
        if len(self._grown) > self._limit_bytes:
            raise _refusal("size")


def _refusal(reason: str) -> SpecUnavailable:
    """The one error of all refusals; the reason is for the operator's log alone."""
    _log.info("spec not fetched: %s", reason)
    return SpecUnavailable()


def _read_url(url: str) -> httpx2.URL:
    if len(url) > _URL_MAX:
        raise BadRequest(f"The spec URL is longer than {_URL_MAX} characters.")
    try:
        target = httpx2.URL(url)
        if target.scheme in _DEFAULT_PORTS and target.raw_host and target.raw_path:
            return target
    except (httpx2.InvalidURL, ValueError):
        pass
    raise BadRequest("The spec URL must be a full http or https URL.")


def _port(target: httpx2.URL) -> int:
    return _DEFAULT_PORTS[target.scheme] if target.port is None else target.port


def _split_entry(entry: str) -> tuple[str, int | None]:
    """Host and port of `host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address."""
    if entry.startswith("["):
        host, _, rest = entry[1:].partition("]")
        port = rest.removeprefix(":")
    elif entry.count(":") == 1:
        host, _, port = entry.partition(":")
    else:
        host, port = entry, ""
    return host, int(port) if port.isdecimal() else None


def _plain(host: str) -> str:
    host = host.lower().rstrip(".")
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host
