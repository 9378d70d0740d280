"""The shared side of catalogs: compiled ones and their vectors by digest, URLs, uploads by name, leases.

It keeps bytes: what a compiled catalog or an array looks like is the business of
`catalog/library.py`, which declares the store it needs and is given this one as `State.catalogs`.
What is a pure function of public content is shared by all tenants; a digest opens nothing by
itself, because only names and URLs are asked for by clients.
"""

from __future__ import annotations

import asyncio
import re
import time
import zlib

import msgspec

from pipeline import settings
from pipeline.errors import BadRequest
from pipeline.stores import lua
from pipeline.stores.connection import Connection
from pipeline.stores.keys import digest_key, key
from pipeline.types import SpecRecord

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_THREAD_BYTES = 65536  # compressing more than that takes over a millisecond: not on the event loop


class Upload(msgspec.Struct, frozen=True, omit_defaults=True):
    """An uploaded catalog of a tenant."""

    name: str
    digest: str
    size_bytes: int
    created: float  # seconds since the epoch, UTC
    title: str = ""
    operations: int = 0


class CatalogStore:
    """Catalogs as every replica sees them. Every method may raise StateUnavailable."""

    def __init__(self, quick: Connection, bulk: Connection, limits: settings.State) -> None:
        self._quick = quick
        self._bulk = bulk
        self._limits = limits

    async def get_catalog(self, compiler: str, digest: str) -> bytes | None:
        """The compiled catalog; reading it keeps it for another `catalog_ttl_s`."""
        return await self._get(digest_key("catalog", compiler, digest))

    async def put_catalog(self, compiler: str, digest: str, data: bytes) -> None:
        await self._put(digest_key("catalog", compiler, digest), data)

    async def get_vectors(self, encoder: str, digest: str) -> bytes | None:
        """The vectors of a catalog's operations; reading them keeps them for another `catalog_ttl_s`."""
        return await self._get(digest_key("vectors", encoder, digest))

    async def put_vectors(self, encoder: str, digest: str, data: bytes) -> None:
        await self._put(digest_key("vectors", encoder, digest), data)

    async def get_spec(self, tenant: str, url: str) -> SpecRecord | None:
        """What was last found at `url`, by anyone if it is public, else by this tenant."""
        found = await self._quick.run(lambda redis: redis.mget(key("spec", url), key("t", tenant, "spec", url)))
        return decode_spec(found[0]) or decode_spec(found[1])

    async def put_spec(self, tenant: str, url: str, record: SpecRecord, public: bool) -> None:
        """Keep what was found at `url`; for all tenants only when its address is `public`."""
        name = key("spec", url) if public else key("t", tenant, "spec", url)
        data = msgspec.msgpack.encode(record)
        await self._quick.run(lambda redis: redis.set(name, data, ex=self._limits.catalog_ttl_s))

    async def put_upload(
        self, tenant: str, name: str, digest: str, data: bytes, title: str = "", operations: int = 0
    ) -> Upload:
        """Name the spec `data`, in place of what had that name before.

        Raises:
            BadRequest: not a name, or more names than `name_quota`.
        """
        if not _NAME.fullmatch(name):
            raise BadRequest(
                "A catalog's name is 1 to 64 letters, digits, dots, dashes and underscores, and starts with "
                "a letter or digit."
            )
        upload = Upload(name, digest, len(data), time.time(), title, operations)
        packed = await _aside(_compress, data)
        names, references = key("t", tenant, "name"), key("t", tenant, "references")
        prefix = key("t", tenant, "upload") + ":"
        record = msgspec.msgpack.encode(upload)
        kept = await self._bulk.script(
            lua.PUT_UPLOAD,
            [names, references, prefix + digest],
            [name, record, digest, packed, self._limits.name_quota, prefix],
        )
        if not kept:
            raise BadRequest(f"There are {self._limits.name_quota} catalogs already, which is the most: delete one.")
        return upload

    async def get_upload(self, tenant: str, name: str) -> Upload | None:
        if not _NAME.fullmatch(name):
            return None
        return decode_upload(await self._quick.run(lambda redis: redis.hget(key("t", tenant, "name"), name)))

    async def get_upload_data(self, tenant: str, digest: str) -> bytes | None:
        """The bytes of a spec this tenant uploaded, as they came."""
        packed = await self._bulk.run(lambda redis: redis.get(key("t", tenant, "upload") + ":" + digest))
        return None if packed is None else await _aside(zlib.decompress, packed)

    async def list_uploads(self, tenant: str) -> tuple[Upload, ...]:
        """Every uploaded catalog of the tenant, by name."""
        records = await self._quick.run(lambda redis: redis.hvals(key("t", tenant, "name")))
        uploads = (decode_upload(record) for record in records)
        return tuple(sorted((upload for upload in uploads if upload), key=lambda upload: upload.name))

    async def delete_upload(self, tenant: str, name: str) -> bool:
        """True when there was such a catalog."""
        if not _NAME.fullmatch(name):
            return False
        keys = [key("t", tenant, "name"), key("t", tenant, "references")]
        return bool(await self._quick.script(lua.DELETE_UPLOAD, keys, [name, key("t", tenant, "upload") + ":"]))

    async def acquire_lease(self, what: str, token: str, lease_s: float) -> bool:
        """True when `what` is this token's to do for `lease_s`: nobody else does it."""
        return bool(await self._quick.script(lua.ACQUIRE, [key("lease", what)], [token, round(lease_s * 1000)]))

    async def renew_lease(self, what: str, token: str, lease_s: float) -> bool:
        """True when the lease was still this token's; it then is for another `lease_s`."""
        return bool(await self._quick.script(lua.RENEW, [key("lease", what)], [token, round(lease_s * 1000)]))

    async def release_lease(self, what: str, token: str) -> bool:
        """True when the lease was this token's, and is no longer."""
        return bool(await self._quick.script(lua.RELEASE, [key("lease", what)], [token]))

    async def _get(self, name: str) -> bytes | None:
        return await self._bulk.run(lambda redis: redis.getex(name, ex=self._limits.catalog_ttl_s))

    async def _put(self, name: str, data: bytes) -> None:
        await self._bulk.run(lambda redis: redis.set(name, data, ex=self._limits.catalog_ttl_s))


def decode_upload(data: bytes | None) -> Upload | None:
    return None if data is None else msgspec.msgpack.decode(data, type=Upload)


def decode_spec(data: bytes | None) -> SpecRecord | None:
    return None if data is None else msgspec.msgpack.decode(data, type=SpecRecord)


def _compress(data: bytes) -> bytes:
    return zlib.compress(data, 1)


async def _aside(function, data: bytes) -> bytes:  # type: ignore[no-untyped-def]
    return await asyncio.to_thread(function, data) if len(data) > _THREAD_BYTES else function(data)
