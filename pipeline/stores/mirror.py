"""Champion and challenger in Redis, where every Ranker replica finds them without asking the registry.

    model:champion, model:challenger    hash: version, sha256, fingerprint, text (<= 2 MB)
    model:beat                          counts up each time the registry has answered

Deployment Models writes, Ranker replicas read; what a text means is not known here. A hash is written and
read by one command each, so nobody sees half of one. Every method may raise StateUnavailable.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any, Literal

from redis.asyncio import Redis

from pipeline import settings
from pipeline.stores.connection import Connection

Role = Literal["champion", "challenger"]
ROLES: tuple[Role, ...] = ("champion", "challenger")

_BEAT = "model:beat"
_FIELDS = ("version", "sha256", "fingerprint")


@dataclasses.dataclass(frozen=True, slots=True)
class Identity:
    """Which ranker it is."""

    version: str  # as answers name it
    sha256: str  # of the text
    fingerprint: str  # of the feature table it was fitted on


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """What the mirror shows, without the texts."""

    champion: Identity | None
    challenger: Identity | None
    beat: int  # changes while the registry answers


def identity(version: str, fingerprint: str, text: str) -> Identity:
    return Identity(version, hashlib.sha256(text.encode()).hexdigest(), fingerprint)


class Mirror:
    """The mirror behind one Redis URL. Opens nothing before its first use."""

    def __init__(self, limits: settings.State, url: str) -> None:
        # Nobody waits for these reads: a busy machine must not look like a Redis that is away.
        self._redis = Connection(url, limits, limits.bulk_timeout_s)

    async def look(self) -> Look:
        """Who champion and challenger are; one round trip of some hundred bytes."""

        async def read(redis: Redis) -> list[Any]:
            pipe = redis.pipeline(transaction=False)
            for role in ROLES:
                pipe.hmget(_key(role), _FIELDS)
            pipe.get(_BEAT)
            return await pipe.execute()

        champion, challenger, beat = await self._redis.run(read)
        return Look(_identity(champion), _identity(challenger), int(beat or 0))

    async def read(self, role: Role) -> tuple[Identity, str] | None:
        """Who it is and its text, of one moment; None when there is none."""
        *fields, text = await self._redis.run(lambda redis: redis.hmget(_key(role), (*_FIELDS, "text")))
        known = _identity(fields)
        return None if known is None or text is None else (known, text.decode("utf-8", "replace"))

    async def write(self, role: Role, who: Identity, text: str) -> None:
        fields: dict[Any, Any] = {**dataclasses.asdict(who), "text": text}
        await self._redis.run(lambda redis: redis.hset(_key(role), mapping=fields))

    async def clear(self, role: Role) -> None:
        await self._redis.run(lambda redis: redis.delete(_key(role)))

    async def beat(self) -> None:
        """Say that the registry answers."""
        await self._redis.run(lambda redis: redis.incr(_BEAT))

    async def close(self) -> None:
        await self._redis.close()


def _key(role: Role) -> str:
    return f"model:{role}"


def _identity(fields: list[bytes | None]) -> Identity | None:
    if any(field is None for field in fields):
        return None
    return Identity(*(field.decode("utf-8", "replace") for field in fields if field is not None))
