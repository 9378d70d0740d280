"""Inner calls whose replicas die, are silent, or are too many."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, ObjectLostError, RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, RequestCancelledError

from pipeline import settings
from pipeline.errors import CatalogPreparing, Overloaded
from pipeline.settings import Settings
from pipeline.types import GroundedQuery, Query, Source
from serve import remote
from serve.remote import RemoteStages, budget
from tests.fakes import ScriptedHandle, SilentMetrics

GROUNDED = GroundedQuery(
    digest="d",
    lineage="l",
    title="",
    operations=1,
    previous=(),
    unmatched=(),
    candidates=(),
    block=np.zeros((0, 1), np.float16),
    intents=(),
    prompt_vector=None,
)
QUERY = Query(source=Source(name="billing"))


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(remote, "_SILENT_S", 0.05)
    return settings.load("local")


def stages(loaded: Settings, catalogs: Any = None, ranker: Any = None) -> RemoteStages:
    nobody = ScriptedHandle("silence")
    return RemoteStages(loaded, catalogs or nobody, nobody, ranker or nobody, None, SilentMetrics())


async def score(made: RemoteStages) -> Any:
    return await made.score(np.zeros((1, 1), np.float32), "prompt_only")


@pytest.mark.parametrize(
    "death",
    [
        ActorDiedError(),
        ActorUnavailableError("gone", b"0" * 16),
        RayActorError(),
        ObjectLostError("0" * 56, None, ""),
        RequestCancelledError(),
        RuntimeError("Unexpected error (StatusCode.UNAVAILABLE): Socket closed."),  # as Serve says it
    ],
)
async def test_a_call_whose_replica_died_is_asked_again(loaded: Settings, death: Exception) -> None:
    handle = ScriptedHandle(death, death, death, "scores")
    assert await score(stages(loaded, ranker=handle)) == "scores"
    assert len(handle.sessions) == 4


async def test_a_fault_of_a_deployment_is_not_asked_again(loaded: Settings) -> None:
    class Raised(RayTaskError, RuntimeError):
        def __init__(self) -> None: ...

        def __str__(self) -> str:
            return "Unexpected error (in the code of a deployment)"

    for fault in (RuntimeError("ours"), Raised()):
        handle = ScriptedHandle(fault, "scores")
        with pytest.raises(type(fault)):
            await score(stages(loaded, ranker=handle))
        assert len(handle.sessions) == 1


async def test_a_connection_that_breaks_as_a_cancellation_is_a_death_too(loaded: Settings) -> None:
    assert await score(stages(loaded, ranker=ScriptedHandle(asyncio.CancelledError(), "scores"))) == "scores"


async def test_a_request_whose_client_left_ends_at_once(loaded: Settings) -> None:
    handle = ScriptedHandle("silence")
    asking = asyncio.create_task(score(stages(loaded, ranker=handle)))
    await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert len(handle.sessions) == 1


async def test_retries_end_with_the_budget_of_the_request(loaded: Settings) -> None:
    handle = ScriptedHandle(ActorDiedError())
    with budget(0.2), pytest.raises(Overloaded) as refused:
        await score(stages(loaded, ranker=handle))
    assert 2 <= len(handle.sessions) <= 8  # the pauses grow
    assert refused.value.retry_after_s >= 1


async def test_one_budget_is_spent_by_all_calls_of_a_request(loaded: Settings) -> None:
    made = stages(loaded, ranker=ScriptedHandle("silence"))
    with budget(0.1):
        with pytest.raises(Overloaded):
            await score(made)
        with pytest.raises(Overloaded):
            await asyncio.wait_for(score(made), 0.05)  # nothing is left: it is not even begun


async def test_an_error_of_ours_and_a_full_queue_are_not_asked_again(loaded: Settings) -> None:
    preparing = ScriptedHandle(CatalogPreparing("soon", 3.0))
    with pytest.raises(CatalogPreparing):
        await stages(loaded, catalogs=preparing).ground(QUERY, {})
    full = ScriptedHandle(BackPressureError(1, 1))
    with pytest.raises(Overloaded):
        await score(stages(loaded, ranker=full))
    assert (len(preparing.sessions), len(full.sessions)) == (1, 1)


async def test_a_silent_replica_of_a_known_catalog_is_passed_by(loaded: Settings) -> None:
    handle = ScriptedHandle(GROUNDED, "silence", GROUNDED)
    made = stages(loaded, catalogs=handle)
    for _ in range(3):
        assert await made.ground(QUERY, {}) is GROUNDED
    # The second query meets silence and is asked of another replica; the third goes there at once.
    assert handle.sessions == ["billing", "billing", "billing~1", "billing~1"]


async def test_a_catalog_never_seen_is_waited_for_where_it_belongs(loaded: Settings) -> None:
    handle = ScriptedHandle("silence")
    with budget(0.3), pytest.raises(Overloaded):
        await stages(loaded, catalogs=handle).ground(QUERY, {})
    assert handle.sessions == ["billing"]


async def test_queries_beyond_the_limit_are_refused_at_once_and_new_catalogs_do_not_count(loaded: Settings) -> None:
    at_once = loaded.ingress.model_copy(update={"ground_at_once": 2})
    handle = ScriptedHandle(GROUNDED, "silence")
    made = stages(loaded.model_copy(update={"ingress": at_once}), catalogs=handle)
    await made.ground(QUERY, {})
    unseen = [asyncio.create_task(made.ground(Query(source=Source(name=name)), {})) for name in ("a", "b", "c")]
    known = [asyncio.create_task(made.ground(QUERY, {})) for _ in range(2)]
    await asyncio.sleep(0.01)
    with pytest.raises(Overloaded):
        await made.ground(QUERY, {})
    assert handle.sessions.count("billing") == 3
    for task in (*unseen, *known):
        task.cancel()
    await asyncio.gather(*unseen, *known, return_exceptions=True)
