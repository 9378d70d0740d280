"""A replica follows the champion, refuses what must not serve, and starts with the best there is."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

from pipeline import settings
from pipeline.ranking.ranker import packaged
from pipeline.ranking.table import FINGERPRINT, NAMES
from pipeline.settings import Settings
from pipeline.stores.mirror import Identity, Mirror, Role, identity
from serve.champion import Champion
from serve.ranker import RankerDeployment
from tests.artefacts import saved_ranker
from tests.fakes import SilentMetrics

pytestmark = pytest.mark.redis

ONE, TWO = saved_ranker("made-1", 1.0), saved_ranker("made-2", -1.0)
MATRIX = np.random.default_rng(3).random((20, len(NAMES))).astype(np.float32)


@pytest.fixture
def loaded(redis_url: str, tmp_path: Path) -> Iterator[Settings]:
    base = settings.load("local")
    ranker = base.ranker.model_copy(
        update={"folder": str(tmp_path), "poll_s": 0.02, "first_look_s": 20.0, "score_limit_s": 10.0}
    )
    state = base.state.model_copy(update={"url": redis_url, "timeout_s": 5.0})
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        yield base.model_copy(update={"ranker": ranker, "state": state})
        client.flushall()  # the session's Redis: a champion left there would serve in other files' tests


@pytest.fixture
async def mirror(loaded: Settings) -> AsyncIterator[Mirror]:
    made = Mirror(loaded.state, loaded.state.url)
    yield made
    await made.close()


async def show(mirror: Mirror, version: str, text: str, role: Role = "champion", **changes: str) -> None:
    who = identity(version, FINGERPRINT, text)
    await mirror.write(role, Identity(**{name: changes.get(name, getattr(who, name)) for name in IDENTITY}), text)


IDENTITY = ("version", "sha256", "fingerprint")


class following:
    """`with following(settings) as champion`: closed afterwards."""

    def __init__(self, loaded: Settings) -> None:
        self.metrics = SilentMetrics()
        self.champion = Champion(loaded, self.metrics)  # type: ignore[arg-type]

    def __enter__(self) -> following:
        return self

    def __exit__(self, *_: object) -> None:
        self.champion.close()

    @property
    def version(self) -> str:
        return self.champion.ranker.version

    async def until(self, said: Any) -> None:
        until = time.monotonic() + 20
        while not said():
            assert time.monotonic() < until, (self.version, self.metrics.counted)
            await asyncio.sleep(0.01)


async def test_a_replica_starts_with_the_champion_and_follows_it(loaded: Settings, mirror: Mirror) -> None:
    await show(mirror, "1", ONE)
    with following(loaded) as replica:
        assert replica.version == "1"
        first = replica.champion.ranker.score(MATRIX, "prompt_only").raw
        await show(mirror, "2", TWO)
        await replica.until(lambda: replica.version == "2")
        second = replica.champion.ranker.score(MATRIX, "prompt_only").raw
        assert first.argmax() == second.argmin()
        await show(mirror, "1", ONE)
        await replica.until(lambda: replica.version == "1")
        assert replica.champion.is_current
        assert replica.metrics.counted["opensesame_ranker_swaps role=champion"] == 3


async def test_a_challenger_comes_and_goes(loaded: Settings, mirror: Mirror) -> None:
    await show(mirror, "1", ONE)
    with following(loaded) as replica:
        assert replica.champion.challenger is None
        await show(mirror, "2", TWO, "challenger")
        await replica.until(lambda: replica.champion.challenger is not None)
        assert (replica.version, replica.champion.challenger.version) == ("1", "2")
        await mirror.clear("challenger")
        await replica.until(lambda: replica.champion.challenger is None)


def _shaken(text: str) -> str:
    saved = json.loads(text)
    saved["heads"]["prompt_only"]["weights"][0] += 0.01
    return json.dumps(saved)


@pytest.mark.parametrize(
    ("text", "changes", "reason"),
    [
        (TWO[: len(TWO) // 2], {"sha256": identity("", "", TWO).sha256}, "hash"),
        (TWO[: len(TWO) // 2], {}, "artefact"),
        ("\x00" * 1000, {}, "artefact"),
        (_shaken(TWO), {}, "artefact"),
        (TWO, {"fingerprint": "0" * 16}, "fingerprint"),
    ],
)
async def test_what_must_not_serve_is_refused_once_and_the_old_one_goes_on(
    loaded: Settings, mirror: Mirror, caplog: pytest.LogCaptureFixture, text: str, changes: dict, reason: str
) -> None:
    await show(mirror, "1", ONE)
    with following(loaded) as replica:
        await show(mirror, "2", text, **changes)
        counted = f"opensesame_ranker_refused reason={reason}"
        await replica.until(lambda: counted in replica.metrics.counted)
        assert not replica.champion.is_current
        await asyncio.sleep(0.2)  # ten further looks
        assert replica.version == "1"
        assert replica.metrics.counted[counted] == 1
        assert len([r for r in caplog.records if "is refused" in r.message]) == 1
        await show(mirror, "3", TWO)
        await replica.until(lambda: replica.version == "3" and replica.champion.is_current)


async def test_a_slow_one_is_refused(loaded: Settings, mirror: Mirror) -> None:
    hasty = loaded.model_copy(update={"ranker": loaded.ranker.model_copy(update={"score_limit_s": 1e-9})})
    await show(mirror, "1", ONE)
    with following(hasty) as replica:
        assert replica.metrics.counted["opensesame_ranker_refused reason=slow"] == 1
        assert replica.version == packaged().version


async def test_a_restart_without_redis_begins_with_the_last_good_copy(
    loaded: Settings, mirror: Mirror, tmp_path: Path
) -> None:
    away = loaded.model_copy(update={"state": loaded.state.model_copy(update={"url": "unix:///nowhere.sock"})})
    with following(away) as replica:
        assert replica.version == packaged().version
    await show(mirror, "1", ONE)
    with following(loaded) as replica:
        assert replica.version == "1"
    with following(away) as replica:
        assert replica.version == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["champion.json"]
    (tmp_path / "champion.json").write_text(ONE[:500])
    with following(away) as replica:
        assert replica.version == packaged().version
    nothing = away.model_copy(update={"ranker": away.ranker.model_copy(update={"artifact": "nowhere.json"})})
    with following(nothing) as replica:
        assert replica.version == "cold-start"


async def test_a_registry_not_heard_of_for_long_is_told(loaded: Settings, mirror: Mirror) -> None:
    hasty = loaded.model_copy(update={"registry": loaded.registry.model_copy(update={"away_s": 0.3})})
    await show(mirror, "1", ONE)
    with following(hasty) as replica:
        await replica.until(lambda: not replica.champion.is_current)
        await mirror.beat()
        await replica.until(lambda: replica.champion.is_current)
        assert replica.version == "1"


async def test_the_deployment_says_which_ranker_scored(loaded: Settings, mirror: Mirror) -> None:
    await show(mirror, "7", ONE)
    deployment = RankerDeployment.func_or_class(loaded)
    scores = await deployment.score(MATRIX, "prompt_history")
    assert (scores.version, scores.is_current) == ("7", True)
    assert await deployment.state() == {"status": "ok", "model_version": "7", "is_current": True}


async def test_the_thread_ends_with_who_held_it(loaded: Settings) -> None:
    before = set(threading.enumerate())
    replica = following(loaded)
    (thread,) = (t for t in set(threading.enumerate()) - before if t.name == "champion")
    del replica
    for _ in range(500):
        if not thread.is_alive():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it still runs")


async def test_answers_never_mix_two_rankers_while_they_are_swapped(loaded: Settings, mirror: Mirror) -> None:
    await show(mirror, "1", ONE)
    with following(loaded) as replica:
        expected = {}
        for version, text in (("1", ONE), ("2", TWO)):
            await show(mirror, version, text)
            await replica.until(lambda version=version: replica.version == version)
            expected[version] = replica.champion.ranker.score(MATRIX, "prompt_only").raw
        seen = set()
        for i in range(10):
            await show(mirror, *(("1", ONE), ("2", TWO))[i % 2])
            until = time.monotonic() + 0.15
            while time.monotonic() < until:
                scores = replica.champion.ranker.score(MATRIX, "prompt_only")
                assert np.array_equal(scores.raw, expected[scores.version])
                seen.add(scores.version)
                await asyncio.sleep(0)
        assert seen == {"1", "2"}
