"""API keys: how they look, and how they lie in Redis or in a file.

    os_{id: 12}{secret: 43}{check: 6}        letters and digits; the check is a CRC-32, so that a slip is seen at once

Of a key only its SHA-256 is kept: the secret has 256 bits of chance, so no slower hash would add anything. Made
once, shown once, by `opensesame keys`; looked up by the identity of `serve/identity.py`.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
import string
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import yaml

from pipeline.errors import SettingsError
from pipeline.stores.connection import Connection
from pipeline.stores.keys import key

_log = logging.getLogger(__name__)

SCOPES = ("predict", "feedback", "catalogs", "operator")
_ALPHABET = string.digits + string.ascii_letters
_ID, _SECRET, _CHECK = 12, 43, 6  # 43 of 62 letters: 256 bits
_KEY = re.compile(rf"os_([0-9A-Za-z]{{{_ID + _SECRET}}})([0-9A-Za-z]{{{_CHECK}}})")
_TENANT = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_TABLE = key("apikeys")  # hash: id -> ApiKey


class ApiKey(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of a key."""

    id: str
    sha256: str  # of the whole key, in hexadecimal digits
    tenant: str
    scopes: tuple[str, ...]
    name: str = ""  # whose it is or what for, in the words of who made it
    created: float = 0.0  # seconds since the epoch, UTC
    expires: float = 0.0  # 0: never

    def opens(self, presented: str) -> bool:
        """True when this is the key that was presented, and its time is not over."""
        same = hmac.compare_digest(self.sha256, digest(presented))
        return same and not 0 < self.expires <= time.time()


class ApiKeys:
    """The keys in Redis. Every method may raise StateUnavailable."""

    def __init__(self, quick: Connection) -> None:
        self._quick = quick

    async def get(self, id_: str) -> ApiKey | None:
        found = await self._quick.run(lambda redis: redis.hget(_TABLE, id_))
        return None if found is None else msgspec.msgpack.decode(found, type=ApiKey)

    async def put(self, record: ApiKey) -> None:
        await self._quick.run(lambda redis: redis.hset(_TABLE, record.id, msgspec.msgpack.encode(record)))

    async def remove(self, id_: str) -> bool:
        """True when there was such a key."""
        return bool(await self._quick.run(lambda redis: redis.hdel(_TABLE, id_)))

    async def list(self) -> list[ApiKey]:
        """Every key, the oldest first."""
        found = await self._quick.run(lambda redis: redis.hvals(_TABLE))
        return sorted((msgspec.msgpack.decode(data, type=ApiKey) for data in found), key=lambda record: record.created)


class KeyFile:
    """A YAML list of keys by their hash; read again when the file has changed, and kept when it is broken then."""

    def __init__(self, path: str) -> None:
        """Raises SettingsError when the file is not there or is not such a list."""
        self._path = Path(path)
        self._stamp = self._look()
        self._records = self._read()

    def get(self, id_: str) -> ApiKey | None:
        try:
            stamp = self._look()
            if stamp != self._stamp:
                self._stamp = stamp  # also of a broken file, which is told of once
                self._records = self._read()
        except SettingsError as error:
            _log.error("the keys of before go on being good: %s", error)
        return self._records.get(id_)

    def _look(self) -> tuple[int, int, int]:
        try:
            told = self._path.stat()
        except OSError as error:
            raise SettingsError(f"auth.keys_file {self._path} cannot be read: {error.strerror}.") from None
        return told.st_mtime_ns, told.st_size, told.st_ino

    def _read(self) -> dict[str, ApiKey]:
        try:
            return read_keys(self._path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"auth.keys_file {self._path} cannot be read: {type(error).__name__}.") from None


def read_keys(text: str) -> dict[str, ApiKey]:
    """Keys by their id; raises SettingsError for what is no list of keys."""
    try:
        records = msgspec.convert(yaml.safe_load(text) or [], list[ApiKey])
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise SettingsError(f"auth.keys_file is no list of keys: {str(error).splitlines()[0]}.") from None
    for record in records:
        check(record.tenant, record.scopes)
    return {record.id: record for record in records}


def mint(tenant: str, scopes: Sequence[str], name: str = "", lives_s: float = 0.0) -> tuple[str, ApiKey]:
    """A new key, and what is kept of it.

    Raises:
        SettingsError: no such scope, or not a tenant's name.
    """
    check(tenant, scopes)
    id_ = _letters(_ID)
    body = id_ + _letters(_SECRET)
    presented = f"os_{body}{_checksum(body)}"
    now = time.time()
    expires = now + lives_s if lives_s else 0.0
    return presented, ApiKey(id_, digest(presented), tenant, tuple(dict.fromkeys(scopes)), name, now, expires)


def check(tenant: str, scopes: Sequence[str]) -> None:
    """Return when these are a tenant's name and scopes; raises SettingsError."""
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise SettingsError(f"A key has scopes out of {', '.join(SCOPES)}; {', '.join(unknown) or 'none'} is not.")
    if not re.fullmatch(_TENANT, tenant):
        raise SettingsError("A tenant's name is 1 to 64 letters, digits, dots, dashes and underscores.")


def is_tenant(name: object) -> bool:
    """True for what can be a tenant's name."""
    return isinstance(name, str) and re.fullmatch(_TENANT, name) is not None


def id_of(presented: str) -> str:
    """The id in a key, "" for what cannot be one."""
    found = _KEY.fullmatch(presented)
    if found is None or _checksum(found[1]) != found[2]:
        return ""
    return found[1][:_ID]


def digest(presented: str) -> str:
    return hashlib.sha256(presented.encode()).hexdigest()


def _letters(count: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(count))


def _checksum(body: str) -> str:
    number, letters = zlib.crc32(body.encode()), ""
    for _ in range(_CHECK):
        number, rest = divmod(number, len(_ALPHABET))
        letters += _ALPHABET[rest]
    return letters
