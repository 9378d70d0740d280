"""How often a key, and each user of it, may ask: GCRA in Redis, one round trip; in this process while Redis is away.

GCRA (ITU-T I.371; brandur.org/rate-limiting) is a leaky bucket that keeps one moment: when it will be empty. A
request is let in when the bucket has room for it, and takes `60 / per_minute` seconds to leak out. A user who goes on
after `block_after` refusals within a minute is answered nothing at all for `block_s`; a key is not, as many share it.
While Redis is away each replica counts by itself, so that as many times the rate may pass as there are replicas.
Asked by `serve/identity.py`.
"""

from __future__ import annotations

import dataclasses
import time
from collections import OrderedDict

from pipeline import settings
from pipeline.errors import StateUnavailable
from pipeline.stores import lua
from pipeline.stores.connection import Connection
from pipeline.stores.counts import ANONYMOUS
from pipeline.stores.keys import key

_LOCAL_MAX = 10_000  # buckets of a replica that counts by itself
_NEVER = 1 << 50  # refusals
_REFUSALS_S = 60.0  # within so long refusals are counted


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """What the buckets say to one request; the numbers are those of the bucket that has the least room."""

    wait_s: float  # 0: it is let in; else it would be after so long
    is_blocked: bool
    name: str  # of the bucket: user, key
    remaining: int  # further requests that would be let in now
    reset_s: float  # until the bucket is empty


@dataclasses.dataclass(frozen=True, slots=True)
class _Bucket:
    name: str
    leak_us: int  # microseconds that a request takes to leak
    size: int
    block_after: int  # refusals within a minute
    keys: tuple[str, str, str]  # when it is empty, refusals, the block


@dataclasses.dataclass(slots=True)
class _Level:
    """A bucket in this process; moments in microseconds."""

    empty: int = 0
    refusals: int = 0
    refused_first: int = 0
    blocked_until: int = 0


class Limiter:
    """The buckets of all keys and users."""

    def __init__(self, quick: Connection, limits: settings.Limits) -> None:
        self._quick = quick
        self._limits = limits
        self._local: OrderedDict[str, _Level] = OrderedDict()

    async def ask(self, tenant: str, key_id: str, user: str, now_us: int | None = None) -> Verdict:
        """Count a request of a user (anonymous: of the key alone), unless it is refused; `now_us` is for tests."""
        limits = self._limits
        buckets = [_bucket("key", limits.key_per_minute, limits.key_burst, _NEVER, tenant, key_id)]
        if user != ANONYMOUS:
            buckets.append(
                _bucket("user", limits.user_per_minute, limits.user_burst, limits.block_after, tenant, key_id, user)
            )
        block_us = round(limits.block_s * 1e6)
        arguments = ["" if now_us is None else now_us, block_us]
        for bucket in buckets:
            arguments += [bucket.leak_us, bucket.size, bucket.block_after]
        try:
            told = await self._quick.script(lua.RATE, [k for bucket in buckets for k in bucket.keys], arguments)
        except StateUnavailable:
            told = self._ask_here(buckets, time.time_ns() // 1000 if now_us is None else now_us, block_us)
        wait_us, which, blocked, *levels = told
        least = which - 1 if which else min(range(len(buckets)), key=lambda i: levels[2 * i])
        return Verdict(
            wait_us / 1e6, bool(blocked), buckets[least].name, levels[2 * least], levels[2 * least + 1] / 1e6
        )

    def _ask_here(self, buckets: list[_Bucket], now: int, block_us: int) -> list[int]:
        """What the script RATE does, line by line, with the levels of this process."""
        levels = [self._level(bucket.keys[0]) for bucket in buckets]
        wait, which, blocked = 0, 0, 0
        for i, level in enumerate(levels, 1):
            if level.blocked_until - now > wait:
                wait, which, blocked = level.blocked_until - now, i, 1
        for i, (bucket, level) in enumerate(zip(buckets, levels, strict=True), 1):
            level.empty = max(now, level.empty)
            over = level.empty + bucket.leak_us - bucket.size * bucket.leak_us - now
            if not blocked and over > wait:
                wait, which = over, i
        told = []
        for bucket, level in zip(buckets, levels, strict=True):
            if not wait:
                level.empty += bucket.leak_us
            told += [max(0, (now + bucket.size * bucket.leak_us - level.empty) // bucket.leak_us), level.empty - now]
        if wait and not blocked:
            level = levels[which - 1]
            if not level.refusals or now - level.refused_first >= _REFUSALS_S * 1e6:
                level.refusals, level.refused_first = 0, now
            level.refusals += 1
            if level.refusals >= buckets[which - 1].block_after:
                blocked, wait = 1, block_us
                level.blocked_until, level.refusals = now + block_us, 0
        return [wait, which, blocked, *told]

    def _level(self, name: str) -> _Level:
        level = self._local.setdefault(name, _Level())
        self._local.move_to_end(name)
        if len(self._local) > _LOCAL_MAX:
            self._local.popitem(last=False)
        return level


def policy(limits: settings.Limits) -> str:
    """The header RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10, section 3)."""
    return f'"user";q={limits.user_per_minute:g};w=60, "key";q={limits.key_per_minute:g};w=60'


def _bucket(name: str, per_minute: float, size: int, block_after: int, tenant: str, *who: str) -> _Bucket:
    whose, asks = key("t", tenant), key(*who)
    names = (f"{whose}:rate:{asks}", f"{whose}:refusals:{asks}", f"{whose}:block:{asks}")
    return _Bucket(name, max(1, round(60e6 / per_minute)), size, block_after, names)
