"""Draining and training without being asked, over a real Redis and a real journal; only Ray's job API is played."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

from pipeline import settings
from pipeline.errors import Conflict, JournalError, Unavailable
from pipeline.ranking.table import FINGERPRINT
from pipeline.settings import Settings
from pipeline.stores.journal import Journal
from pipeline.stores.state import State, new_id
from pipeline.types import Feedback, Impression, QueryGroup
from serve.jobs import TrainingJobs
from serve.schedule import Schedule
from tests.artefacts import saved_ranker
from tests.fakes import ShelfRegistry

pytestmark = pytest.mark.redis


class PlayedJobs:
    def __init__(self) -> None:
        self.started = 0
        self.away = False

    def submit(self, force: bool) -> dict[str, Any]:
        assert not force  # the gate of its own: a training that is not due says so
        if self.away:
            raise Unavailable("no job API")
        self.started += 1
        return {"job_id": f"raysubmit_{self.started}"}


@pytest.fixture
def loaded(redis_url: str, tmp_path: Path) -> Settings:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    changed = settings.load(
        "local",
        state={"url": redis_url, "timeout_s": 5.0},
        models={"schedule_s": 0, "rest_s": 0},
        journal={"batch": 7},
        train={"groups": 30, "hours": 24},
    )
    return settings.under(changed, tmp_path)


@pytest.fixture
async def state(loaded: Settings) -> AsyncIterator[State]:
    made = State(loaded.state, loaded.state.url)
    yield made
    await made.close()


def schedule(loaded: Settings, jobs: PlayedJobs | None = None, registry: Any = None) -> Schedule:
    return Schedule(loaded, jobs or PlayedJobs(), registry or ShelfRegistry())


async def tell(state: State, count: int, ts: float | None = None) -> list[str]:
    """Feedback on so many new predictions, as it is recorded; their ids."""
    ids = []
    for i in range(count):
        shown = Impression(
            id=new_id(),
            tenant=("local", "other")[i % 2],
            user="ann",
            lineage="notes",
            digest="sha256:1",
            ts=ts or time.time(),
            shown=("GET /notes", "GET /notes/{note_id}"),
            features=np.zeros(4, dtype=np.float16).tobytes(),
            fingerprint=FINGERPRINT,
            head="history_only",
        )
        await state.remember(shown)
        group = QueryGroup(shown, (3, 0), "override", "GET /notes", ts or time.time(), 0.9)
        feedback = Feedback("override", prediction_id=shown.id, user="ann", tenant=shown.tenant)
        assert await state.record(feedback, group, "r" * 32, "s" * 32) == "recorded"
        ids.append(shown.id)
    return ids


def kept(loaded: Settings, folder: Path) -> Counter[str]:
    journal = Journal.at(loaded.journal, folder)
    return Counter(id_ for batch in journal.groups(columns=["id"]) for id_ in batch["id"].to_pylist())


async def test_of_several_replicas_one_works_and_each_group_comes_once(
    loaded: Settings, state: State, tmp_path: Path
) -> None:
    told = await tell(state, 60)
    jobs = PlayedJobs()
    made = [schedule(loaded, jobs) for _ in range(4)]
    stopped = threading.Event()

    def replica(one: Schedule) -> None:
        async def go_on() -> None:
            own = State(loaded.state, loaded.state.url)
            while not stopped.is_set():
                await one.look(own)
            await own.close()

        asyncio.run(go_on())

    threads = [threading.Thread(target=replica, args=(one,)) for one in made]
    for thread in threads:
        thread.start()
    told += await tell(state, 40)
    while sum([await state.inbox.length(tenant) for tenant in ("local", "other")]):
        await asyncio.sleep(0.02)
    stopped.set()
    for thread in threads:
        thread.join()
    for one in made:
        await one.look(state)
    assert kept(loaded, tmp_path) == Counter(told)
    assert 1 <= jobs.started <= 3  # 100 labels, and 30 new ones make a training due


async def test_a_holder_that_died_lets_others_work_when_its_lease_ends(
    loaded: Settings, state: State, tmp_path: Path
) -> None:
    told = await tell(state, 5)
    assert await state.catalogs.acquire_lease("training", "somebody who was killed", 0.3)
    made = schedule(loaded)
    await made.look(state)
    assert not kept(loaded, tmp_path)
    await asyncio.sleep(0.4)
    await made.look(state)
    assert kept(loaded, tmp_path) == Counter(told)


@pytest.mark.parametrize(
    ("count", "hours", "started"), [(29, 1, 0), (30, 1, 1), (1, 25, 1), (0, 0, 0)], ids=["few", "many", "old", "none"]
)
async def test_a_training_is_started_when_one_is_due(
    loaded: Settings, state: State, count: int, hours: float, started: int
) -> None:
    jobs = PlayedJobs()
    await tell(state, count, time.time() - hours * 3600)
    made = schedule(loaded, jobs)
    await made.look(state)
    assert jobs.started == started
    await made.look(state)  # the same groups start no other, even if that one failed
    assert jobs.started == started


async def test_trainings_rest_in_between(loaded: Settings, state: State) -> None:
    rested = loaded.model_copy(update={"models": loaded.models.model_copy(update={"rest_s": 0.5})})
    jobs = PlayedJobs()
    made = schedule(rested, jobs)
    await tell(state, 30)
    await made.look(state)
    began = time.monotonic()
    await tell(state, 30)
    while jobs.started < 2:
        await made.look(state)
        assert time.monotonic() < began + 30
    assert time.monotonic() - began > 0.4


async def test_what_a_training_has_seen_makes_none_due(loaded: Settings, state: State) -> None:
    jobs, registry = PlayedJobs(), ShelfRegistry()
    await tell(state, 40, time.time() - 1000)
    registry.register(saved_ranker("trained-1", 1.0), params={"until": time.time() - 500})
    made = schedule(loaded, jobs, registry)
    await made.look(state)
    assert jobs.started == 0
    await tell(state, 30)
    await made.look(state)
    assert jobs.started == 1


async def test_a_job_api_that_is_away_is_asked_again_later(
    loaded: Settings, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.schedule._NO_JOBS_S", 0.2)
    jobs = PlayedJobs()
    jobs.away = True
    await tell(state, 30)
    made = schedule(loaded, jobs)
    with pytest.raises(Unavailable):
        await made.look(state)
    jobs.away = False
    await made.look(state)
    assert jobs.started == 0
    await asyncio.sleep(0.25)
    await made.look(state)
    assert jobs.started == 1


async def test_without_a_folder_that_outlives_a_pod_nothing_is_drained(
    loaded: Settings, state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    nowhere = loaded.model_copy(update={"models": loaded.models.model_copy(update={"var": "var"})})
    await tell(state, 40)
    made = schedule(nowhere)
    await made.look(state)
    assert sum([await state.inbox.length(tenant) for tenant in ("local", "other")]) == 40
    assert not Path("var").joinpath("journal").exists()
    with pytest.raises(Conflict, match=r"models\.var"):
        TrainingJobs(nowhere).submit(True)


async def test_it_runs_by_itself(loaded: Settings, state: State, tmp_path: Path) -> None:
    often = loaded.model_copy(update={"models": loaded.models.model_copy(update={"schedule_s": 0.05})})
    made = schedule(often)
    try:
        told = await tell(state, 10)
        await until(lambda: kept(loaded, tmp_path) == Counter(told))
        told += await tell(state, 10)
        await until(lambda: kept(loaded, tmp_path) == Counter(told))
    finally:
        made.close()


async def until(said: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with contextlib.suppress(JournalError):  # its files are merged meanwhile: who reads starts again
            if said():
                return
        await asyncio.sleep(0.05)
    pytest.fail("it never came")
