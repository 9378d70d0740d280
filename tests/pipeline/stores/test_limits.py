"""Rate limits: the script and its double in this process both are the bucket that the documentation draws."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from pipeline import settings
from pipeline.stores.embedded import EmbeddedRedis
from pipeline.stores.limits import Limiter, Verdict
from pipeline.stores.state import State

pytestmark = pytest.mark.redis

PATIENT = settings.load().state.model_copy(update={"timeout_s": 10.0})
HOUR_US = 3_600_000_000


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = EmbeddedRedis.throwaway()
    yield server.start()
    server.stop()


def limits(**changes: Any) -> settings.Limits:
    # Slow rates: what is kept lives by Redis's own clock, while the tests tell the time.
    slow = {"user_per_minute": 0.1, "user_burst": 3, "key_per_minute": 0.2, "key_burst": 5}
    return settings.load().limits.model_copy(update={**slow, "block_after": 4, "block_s": 7200.0, **changes})


class Tokens:
    """The reference: a token bucket in exact arithmetic, and the block as the settings describe it."""

    def __init__(self, per_minute: float, burst: int, block_after: int, block_us: int) -> None:
        self.rate, self.burst = 1 / Fraction(round(60e6 / per_minute)), burst
        self.tokens, self.at = Fraction(burst), 0
        self.refused: list[int] = []
        self.blocked_until = 0
        self.block_after, self.block_us = block_after, block_us

    def level(self, now: int) -> Fraction:
        return min(Fraction(self.burst), self.tokens + (now - self.at) * self.rate)

    def take(self, now: int) -> None:
        self.tokens, self.at = self.level(now) - 1, now

    def wait_us(self, now: int) -> Fraction:
        return max(Fraction(0), (1 - self.level(now)) / self.rate)

    def refuse(self, now: int) -> bool:
        """Count a refusal; is it blocked now?"""
        if self.refused and now - self.refused[0] >= 60_000_000:
            self.refused = []
        self.refused.append(now)
        if len(self.refused) < self.block_after:
            return False
        self.blocked_until, self.refused = now + self.block_us, []
        return True


def reference(buckets: list[Tokens], now: int) -> tuple[Fraction, bool]:
    """How long one has to wait (0: let in), and is it a block."""
    blocks = [b for b in buckets if b.blocked_until > now]
    if blocks:
        return Fraction(max(b.blocked_until for b in blocks) - now), True
    worst = max(buckets, key=lambda b: b.wait_us(now))
    if not worst.wait_us(now):
        for bucket in buckets:
            bucket.take(now)
        return Fraction(0), False
    wait = worst.wait_us(now)
    return (Fraction(worst.block_us), True) if worst.refuse(now) else (wait, False)


async def _ask(limiter: Limiter, user: str, now: int) -> Verdict:
    return await limiter.ask("acme", "key-1", user, now)


# Steps of microseconds up to half an hour; refusals within a minute count together, so short ones are frequent. A
# refusal's count lives a minute of Redis's own clock: steps beyond a minute would need a wait, and are left to the
# double, whose clock is the test's.
SHORT = st.lists(st.tuples(st.integers(0, 500_000), st.sampled_from(["ana", "bo", "anonymous"])), max_size=60)
LONG = st.lists(st.tuples(st.integers(0, HOUR_US // 2), st.sampled_from(["ana", "bo", "anonymous"])), max_size=60)


def _same(told: list[tuple[int, str]], url: str, *, away: bool) -> int:
    """How many were refused; fails where limiter and reference differ."""
    chosen = limits()
    block_us = round(chosen.block_s * 1e6)
    whole = Tokens(chosen.key_per_minute, chosen.key_burst, 10**9, block_us)  # never blocked
    users = {
        name: Tokens(chosen.user_per_minute, chosen.user_burst, chosen.block_after, block_us) for name in ("ana", "bo")
    }

    async def run() -> int:
        state = State(PATIENT, "redis://127.0.0.1:1/0" if away else url)
        limiter, now, refused = state.limiter(chosen), 10 * HOUR_US, 0
        for step, user in told:
            now += step
            buckets = [whole, users[user]] if user in users else [whole]
            wait, blocked = reference(buckets, now)
            verdict = await _ask(limiter, user, now)
            assert abs(Fraction(verdict.wait_s) * 1_000_000 - wait) <= 1, (wait, verdict)
            assert verdict.is_blocked == blocked
            if not wait:
                assert verdict.remaining == min(int(b.level(now)) for b in buckets)
            refused += bool(wait)
        await state.close()
        return refused

    return asyncio.run(run())


@given(SHORT)
@examples(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_redis_counts_as_a_token_bucket_does(url: str, told: list[tuple[int, str]]):
    with redis.Redis.from_url(url) as client:
        client.flushall()
    _same(told, url, away=False)


@given(LONG)
@examples(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_replica_that_counts_alone_does_too(url: str, told: list[tuple[int, str]]):
    _same(told, url, away=True)


def test_the_wait_is_exact_and_a_block_holds_until_its_end(url: str):
    with redis.Redis.from_url(url) as client:
        client.flushall()

    async def run(address: str) -> None:
        state = State(PATIENT, address)
        limiter, now = state.limiter(limits()), 10 * HOUR_US
        for _ in range(3):
            assert (await _ask(limiter, "ana", now)).wait_s == 0
        wait_us = round((await _ask(limiter, "ana", now)).wait_s * 1e6)
        assert (await _ask(limiter, "ana", now + wait_us - 1)).wait_s > 0
        assert (await _ask(limiter, "ana", now + wait_us)).wait_s == 0
        now += wait_us
        refused = [await _ask(limiter, "ana", now) for _ in range(4)]
        last = refused[-1]
        assert (last.is_blocked, last.name, last.wait_s) == (True, "user", 7200.0)
        assert (await _ask(limiter, "bo", now)).wait_s == 0  # nobody else's
        assert (await _ask(limiter, "ana", now + round(7200e6) - 1)).is_blocked
        assert (await _ask(limiter, "ana", now + round(7200e6))).wait_s == 0
        await state.close()

    asyncio.run(run(url))
    asyncio.run(run("redis://127.0.0.1:1/0"))


def test_what_is_kept_goes_by_itself(url: str):
    with redis.Redis.from_url(url) as client:
        client.flushall()

        async def run() -> None:
            state = State(PATIENT, url)
            limiter = state.limiter(limits())
            for _ in range(8):
                await limiter.ask("acme", "key-1", "ana")
            await state.close()

        asyncio.run(run())
        names = list(client.scan_iter("*"))
        assert len(names) >= 3
        assert all(name.startswith(b"t:acme:") and client.ttl(name) > 0 for name in names)


def test_no_rate_is_too_high(url: str):
    async def run(address: str) -> None:
        state = State(PATIENT, address)
        limiter = state.limiter(limits(user_per_minute=1e12, key_per_minute=1e12))
        assert (await limiter.ask("fresh", "key-1", "zoe")).wait_s == 0
        await state.close()

    asyncio.run(run(url))
    asyncio.run(run("redis://127.0.0.1:1/0"))
