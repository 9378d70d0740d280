from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import redis
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipeline import feedback as story
from pipeline import settings
from pipeline.errors import BadRequest, Conflict, Gone, Overloaded, StateUnavailable, UnknownPrediction
from pipeline.feedback import Receipt, label
from pipeline.stores.embedded import EmbeddedRedis
from pipeline.stores.encoding import unpack_group
from pipeline.stores.state import State, new_id
from pipeline.types import Call, Feedback, Impression, Query, QueryGroup, Source

pytestmark = pytest.mark.redis

LIST, CREATE, GET, DELETE = "GET /notes", "POST /notes", "GET /notes/{note_id}", "DELETE /notes/{note_id}"


async def match(impression: Impression, method: str, path: str) -> str | None:
    """A catalog of four operations."""
    if path == "/notes":
        return f"{method} /notes" if method in ("GET", "POST") else None
    if path.startswith("/notes/") and path.count("/") == 2:
        return f"{method} /notes/{{note_id}}" if method in ("GET", "DELETE") else None
    return None


def impression(user: str = "ann", tenant: str = "local", shown: tuple[str, ...] = (LIST, CREATE)) -> Impression:
    return Impression(
        id=new_id(),
        tenant=tenant,
        user=user,
        lineage="notes",
        digest="sha256:1",
        ts=time.time(),
        shown=shown,
        others=(GET,),
        history=(LIST,),
    )


async def shown_to(state: State, user: str = "ann", **changes: object) -> Impression:
    shown = impression(user, **changes)  # type: ignore[arg-type]
    await state.remember(shown)
    return shown


async def give(state: State, outcome: str, chosen: str = "", prediction_id: str = "", **changes: object) -> Receipt:
    changes = {"user": "ann"} | changes
    return await story.record(Feedback(outcome, chosen, prediction_id, **changes), state, match)  # type: ignore[arg-type]


def inbox(server: redis.Redis, tenant: str = "local") -> list[QueryGroup]:
    return [unpack_group(fields[b"group"]) for _, fields in server.xrange(f"t:{tenant}:inbox")]


# --- what it means


@pytest.mark.parametrize(
    ("outcome", "chosen", "labels", "operation"),
    [
        ("accept", "", (2, 0, 0), LIST),
        ("accept", LIST, (2, 0, 0), LIST),
        ("accept", "POST /notes", (0, 2, 0), CREATE),
        ("accept", "post /notes?draft=1", (0, 2, 0), CREATE),
        ("override", "POST /notes", (0, 3, 0), CREATE),
        ("override", "GET /notes", (3, 0, 0), LIST),
        ("override", "GET /notes/n_1", (0, 0, 3), GET),
        ("override", "GET /notes/{note_id}", (0, 0, 3), GET),
        ("override", "DELETE /notes/n_1", (0, 0, 0), DELETE),
        ("reject", "", (0, 0, 0), ""),
    ],
)
async def test_outcome_and_choice_give_the_labels_of_the_table(
    state: State, server: redis.Redis, outcome: str, chosen: str, labels: tuple[int, ...], operation: str
):
    shown = await shown_to(state)
    receipt = await give(state, outcome, chosen, shown.id)
    assert (receipt.prediction_id, receipt.status) == (shown.id, "recorded")
    [group] = inbox(server)
    assert group == receipt.group
    assert (group.impression, group.labels, group.outcome, group.chosen) == (shown, labels, outcome, operation)
    assert len(group.labels) == len(shown.shown + shown.others)


@pytest.mark.parametrize(
    ("outcome", "chosen", "says"),
    [
        ("override", "", "needs 'chosen'"),
        ("override", "PUT /notes", "no operation of the catalog"),
        ("override", "GET /elsewhere/x", "no operation of the catalog"),
        ("override", "/notes", "METHOD /path"),
        ("override", "GET", "METHOD /path"),
        ("override", "FETCH /notes", "METHOD /path"),
        ("override", "GET notes", "METHOD /path"),
        ("override", "GET /notes\ud800", "cannot be printed"),
        ("override", "GET /" + "x" * 9000, "characters"),
        ("accept", "DELETE /notes/n_1", "say override"),
        ("accept", "GET /notes/n_1", "say override"),
        ("reject", "GET /notes", "say override"),
    ],
)
async def test_what_cannot_be_understood_is_refused_and_not_kept(
    state: State, server: redis.Redis, outcome: str, chosen: str, says: str
):
    shown = await shown_to(state)
    with pytest.raises(BadRequest, match=says):
        await give(state, outcome, chosen, shown.id)
    assert inbox(server) == []
    assert (await give(state, "accept", "", shown.id)).status == "recorded"


async def test_accepting_where_nothing_was_shown_is_refused(state: State):
    shown = await shown_to(state, shown=())
    with pytest.raises(BadRequest, match="Nothing was shown"):
        await give(state, "accept", "", shown.id)


def test_labels_come_in_the_order_of_shown_and_others():
    assert label(impression(shown=(DELETE, LIST)), {LIST: "click,override"}) == (0, 3, 0)


# --- whose it is


async def test_without_an_id_it_means_the_users_last_prediction(state: State, server: redis.Redis):
    await shown_to(state, "ann")
    last = await shown_to(state, "ann")
    await shown_to(state, "bob")
    assert (await give(state, "accept")).prediction_id == last.id
    with pytest.raises(UnknownPrediction):
        await give(state, "accept", user="eve")
    with pytest.raises(BadRequest, match="user_id"):
        await give(state, "accept", user="anonymous")


async def test_predictions_of_others_are_as_unknown_as_those_that_never_were(state: State, server: redis.Redis):
    anns = await shown_to(state, "ann")
    foreign = await shown_to(state, "ann", tenant="elsewhere")
    texts = set()
    for prediction_id, user in ((anns.id, "bob"), (foreign.id, "ann"), (new_id(), "ann"), ("nonsense", "ann")):
        with pytest.raises(UnknownPrediction) as unknown:
            await give(state, "accept", "", prediction_id, user=user)
        texts.add(unknown.value.detail)
    assert len(texts) == 1
    assert inbox(server) == []


async def test_an_id_is_enough_for_those_who_name_no_user(state: State):
    anns = await shown_to(state, "ann")
    anybodys = await shown_to(state, "anonymous")
    assert (await give(state, "accept", "", anns.id, user="anonymous")).status == "recorded"
    assert (await give(state, "accept", "", anybodys.id, user="ann")).status == "recorded"


async def test_past_the_join_window_a_prediction_is_gone(redis_url: str, server: redis.Redis, limits: settings.State):
    brief = State(limits.model_copy(update={"join_window_s": 1}), redis_url)
    shown = await shown_to(brief)
    await asyncio.sleep(1.2)
    with pytest.raises(Gone):
        await give(brief, "accept", "", shown.id)
    with pytest.raises(UnknownPrediction):
        await give(brief, "accept")
    await brief.close()


# --- once


async def test_the_same_again_is_a_duplicate_however_it_is_written(state: State, server: redis.Redis):
    shown = await shown_to(state)
    said = [
        await give(state, "accept", "", shown.id),
        await give(state, "accept", "", shown.id),
        await give(state, "accept", "GET /notes?page=2", shown.id),
        await give(state, "accept"),
        await give(state, "accept", "", shown.id, idempotency_key="k"),
        await give(state, "accept", "", shown.id, idempotency_key="k"),
    ]
    assert [receipt.status for receipt in said] == ["recorded"] + ["duplicate"] * 5
    assert {receipt.prediction_id for receipt in said} == {shown.id}
    assert len(inbox(server)) == 1


@pytest.mark.parametrize(("outcome", "chosen"), [("reject", ""), ("accept", CREATE), ("override", LIST)])
async def test_something_else_of_the_same_prediction_is_a_conflict(
    state: State, server: redis.Redis, outcome: str, chosen: str
):
    shown = await shown_to(state)
    await give(state, "accept", "", shown.id)
    with pytest.raises(Conflict):
        await give(state, outcome, chosen, shown.id)
    assert len(inbox(server)) == 1


async def test_a_key_stands_for_one_request_of_one_user(state: State, server: redis.Redis):
    first, second, bobs = await shown_to(state), await shown_to(state), await shown_to(state, "bob")
    await give(state, "accept", "", first.id, idempotency_key="k")
    with pytest.raises(Conflict, match="Idempotency-Key"):
        await give(state, "accept", "", second.id, idempotency_key="k")
    assert (await give(state, "accept", "", bobs.id, user="bob", idempotency_key="k")).status == "recorded"
    assert (await give(state, "accept", "", second.id, idempotency_key="k2")).status == "recorded"


async def test_a_retry_by_key_means_the_prediction_it_meant_at_first(state: State, server: redis.Redis):
    first = await shown_to(state)
    assert (await give(state, "accept", idempotency_key="k")).prediction_id == first.id
    await shown_to(state)
    assert await give(state, "accept", idempotency_key="k") == Receipt(first.id, "duplicate")
    server.delete(f"t:local:impression:{first.id}")  # even when its time is over
    assert await give(state, "accept", idempotency_key="k") == Receipt(first.id, "duplicate")
    assert len(inbox(server)) == 1


async def test_what_was_refused_can_be_said_again(redis_url: str, server: redis.Redis, limits: settings.State):
    full = State(limits.model_copy(update={"inbox_max": 1}), redis_url)
    shown, next_one = await shown_to(full), await shown_to(full)
    await give(full, "accept", "", shown.id)
    with pytest.raises(Overloaded):
        await give(full, "accept", "", next_one.id, idempotency_key="k")
    server.delete("t:local:inbox")
    assert (await give(full, "accept", "", next_one.id, idempotency_key="k")).status == "recorded"
    await full.close()


async def test_an_accepted_operation_and_what_followed_what_are_known_to_the_next_prediction(state: State):
    await shown_to(state, shown=(DELETE,))
    await give(state, "accept")
    recall = await state.recall(Query(Source(name="notes"), calls=(Call("GET", "/notes"),), user="ann"))
    assert recall.accepted == {DELETE}
    assert recall.habit == {DELETE: 2.0}


_says = st.tuples(
    st.integers(0, 2),  # user
    st.integers(0, 2),  # which of the user's predictions
    st.sampled_from([("accept", ""), ("accept", CREATE), ("override", DELETE), ("override", CREATE), ("reject", "")]),
    st.sampled_from(["", "", "k1", "k2"]),
    st.integers(1, 3),  # how often it is sent
)


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(says=st.lists(_says, min_size=1, max_size=14), seed=st.integers(0, 2**16))
def test_many_users_at_once_are_each_heard_once_and_of_their_own_prediction(
    redis_url: str, server: redis.Redis, limits: settings.State, says: list[tuple], seed: int
):
    """Any interleaving of duplicated and retried feedback, sent all at once."""
    server.flushall()

    async def run() -> tuple[dict[str, Impression], list[tuple[Feedback, Receipt | Exception]]]:
        state = State(limits, redis_url)
        shown = {(user, n): await shown_to(state, f"user{user}") for user in range(3) for n in range(3)}
        sent = [
            Feedback(outcome, chosen, shown[user, n].id, f"user{user}", idempotency_key=once)
            for user, n, (outcome, chosen), once, times in says
            for _ in range(times)
        ]
        random.Random(seed).shuffle(sent)
        answers = await asyncio.gather(*(story.record(one, state, match) for one in sent), return_exceptions=True)
        await state.close()
        return {one.id: one for one in shown.values()}, list(zip(sent, answers, strict=True))

    impressions, answered = asyncio.run(run())
    groups = inbox(server)
    kept = {group.impression.id: group for group in groups}
    assert len(kept) == len(groups)
    assert all(group.impression == impressions[group.impression.id] for group in groups)
    recorded = [answer.prediction_id for _, answer in answered if getattr(answer, "status", "") == "recorded"]
    assert sorted(recorded) == sorted(kept)
    for one, answer in answered:
        assert isinstance(answer, Receipt | Conflict)
        if isinstance(answer, Receipt):
            group = kept[one.prediction_id]
            assert answer.prediction_id == one.prediction_id
            assert group.impression.user == one.user
            assert (group.outcome, group.chosen) == (
                one.outcome,
                one.chosen or ("" if one.outcome == "reject" else LIST),
            )
    sets = [server.zrange(name, 0, -1, withscores=True) for name in server.scan_iter("t:local:follow:*")]
    followed = sum(count for members in sets for member, count in members if member.decode() == f"{LIST}\x1f")
    assert followed == sum(bool(group.chosen) for group in groups)


# --- durable


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    embedded = EmbeddedRedis(tmp_path)
    embedded.start()
    yield embedded
    embedded.stop()


async def test_no_acknowledged_feedback_is_lost_when_the_server_is_killed_again_and_again(
    embedded: EmbeddedRedis, limits: settings.State
):
    state = State(limits.model_copy(update={"timeout_s": 1.0, "breaker_open_s": 0.05}), embedded.url)
    acknowledged: set[str] = set()
    refused = 0
    stop = threading.Event()

    async def client(name: str) -> None:
        nonlocal refused
        while not stop.is_set():
            try:
                shown = await shown_to(state, name)
            except StateUnavailable:
                refused += 1
                await asyncio.sleep(0.01)
                continue
            for _ in range(100):  # retried until it is acknowledged, as a client does
                try:
                    acknowledged.add((await give(state, "accept", "", shown.id, user=name)).prediction_id)
                    break
                except StateUnavailable:
                    refused += 1
                    await asyncio.sleep(0.05)

    clients = [asyncio.create_task(client(f"user{i}")) for i in range(8)]
    for _ in range(3):
        before = len(acknowledged)
        while len(acknowledged) < before + 100:
            await asyncio.sleep(0.01)
        pid = embedded.server_pid
        os.kill(pid, signal.SIGKILL)
    before = len(acknowledged)
    while len(acknowledged) < before + 50:
        await asyncio.sleep(0.01)
    stop.set()
    await asyncio.gather(*clients)
    await state.close()
    assert refused > 0
    with redis.Redis.from_url(embedded.url) as client_:
        ids = [group.impression.id for group in inbox(client_)]
    assert len(ids) == len(set(ids))
    assert acknowledged <= set(ids)


async def test_without_the_state_feedback_is_refused(limits: settings.State):
    embedded = EmbeddedRedis.throwaway()
    embedded.start()
    state = State(limits, embedded.url)
    shown = await shown_to(state)
    embedded.stop()
    with pytest.raises(StateUnavailable):
        await give(state, "accept", "", shown.id)
    await state.close()


async def test_feedback_of_an_older_process_is_still_read(state: State, server: redis.Redis):
    """Fields that this version does not know are skipped, those it misses take defaults."""
    shown = await shown_to(state)
    plain = msgspec.to_builtins(shown) | {"from_the_future": 1}
    del plain["others"]
    server.set(f"t:local:impression:{shown.id}", zlib.compress(msgspec.msgpack.encode(plain)))
    receipt = await give(state, "accept", "", shown.id)
    assert receipt.group is not None
    assert receipt.group.labels == (2, 0)
