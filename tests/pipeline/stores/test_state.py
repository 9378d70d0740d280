"""One suite over the embedded and a shared Redis."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import numpy as np
import pytest
import redis

from pipeline import settings
from pipeline.errors import BadRequest, Overloaded, SettingsError, StateUnavailable
from pipeline.stores.embedded import EmbeddedRedis
from pipeline.stores.encoding import pack_impression, unpack_group, unpack_impression
from pipeline.stores.keys import key, may_be, shape, shapes_of_call
from pipeline.stores.state import State, id_time, new_id
from pipeline.types import Call, Feedback, Impression, Query, QueryGroup, Source, SpecRecord

pytestmark = pytest.mark.redis

LIST, GET, DELETE = "GET /notes", "GET /notes/{note_id}", "DELETE /notes/{note_id}"


def impression(user: str = "ann", tenant: str = "local", **changes: object) -> Impression:
    fields = {
        "id": new_id(),
        "tenant": tenant,
        "user": user,
        "lineage": "notes",
        "digest": "sha256:" + "a" * 64,
        "ts": time.time(),
        "shown": (LIST, GET),
        "others": (DELETE,),
        "features": np.arange(12, dtype=np.float16).reshape(3, 4).tobytes(),
        "scores": (2.0, 1.0, 0.0),
        "history": (LIST,),
    }
    return Impression(**(fields | changes))  # type: ignore[arg-type]


async def say(state: State, shown: Impression, outcome: str, chosen: str = "", user: str | None = None) -> str:
    await state.remember(shown)
    feedback = Feedback(
        outcome,  # type: ignore[arg-type]
        prediction_id=shown.id,
        user=shown.user if user is None else user,
        tenant=shown.tenant,
    )
    return await state.record(
        feedback, QueryGroup(shown, (0, 0, 0), outcome, chosen), "r" * 32, f"{outcome} {chosen}".ljust(32, ".")
    )


# --- ids and keys


def test_ids_sort_by_time_tell_it_and_differ():
    before = time.time()
    ids = []
    for _ in range(5):
        ids.append(new_id())
        time.sleep(0.002)
    assert ids == sorted(ids)
    assert len({new_id() for _ in range(10_000)}) == 10_000
    made = id_time(ids[0])
    assert made is not None
    assert before - 0.001 <= made <= time.time()


@pytest.mark.parametrize("text", ["", "x", "0" * 25, "0" * 27, "01j" + "0" * 23, "U" * 26, "\ud800" * 26])
def test_what_is_no_id_has_no_time(text: str):
    assert id_time(text) is None


def test_no_two_lists_of_parts_give_the_same_key():
    assert key("t", "a:b", "c") != key("t", "a", "b:c") != key("t", "a", "b", "c")
    assert key("a%3Ab") != key("a:b")
    assert key("#" + "0" * 64) != key("x" * 300)
    assert len(key("t", "https://example.com/" + "x" * 5000)) < 100


@pytest.mark.parametrize(
    ("operation", "method", "path"),
    [
        (LIST, "GET", "/notes"),
        (GET, "GET", "/notes/n_1"),
        (GET, "GET", "/api/v3/notes/n_1?full=true"),
        ("GET /repos/{owner}/{repo}", "GET", "/repos/a/b"),
        ("POST /charges/{id}:capture", "POST", "/charges/ch_1:capture"),
        ("GET /", "GET", "/"),
    ],
)
def test_a_call_has_the_shape_of_its_operation(operation: str, method: str, path: str):
    assert shape(operation) in shapes_of_call(method, path)
    assert may_be(operation, method, path)


def test_a_call_is_told_from_other_operations():
    assert not may_be(GET, "GET", "/notes")
    assert not may_be(GET, "DELETE", "/notes/n_1")
    assert not may_be(GET, "GET", "/folders/n_1")


# --- impressions


def test_an_impression_over_its_budget_loses_features_first_then_others():
    rng = np.random.default_rng(1)
    paths = tuple(f"GET /{rng.bytes(24).hex()}" for _ in range(29))
    big = impression(shown=paths[:5], others=paths[5:], features=rng.bytes(29 * 200 * 2), scores=(1.0,) * 29)
    full = len(pack_impression(big, 100_000))
    assert unpack_impression(pack_impression(big, 100_000)) == big
    without_features = unpack_impression(pack_impression(big, full - 1))
    assert (without_features.features, without_features.others) == (b"", big.others)
    assert len(pack_impression(big, 4096)) <= 4096
    bare = unpack_impression(pack_impression(big, 600))
    assert (bare.shown, bare.others, len(bare.scores)) == (big.shown, (), 5)


async def test_an_impression_is_found_by_id_and_as_the_users_last(state: State):
    first, second, other = impression(), impression(), impression("bob")
    for shown in (first, second, other):
        await state.remember(shown)
    assert (await state.join(Feedback("accept", prediction_id=first.id, user="ann"))).impression == first
    assert (await state.join(Feedback("accept", user="ann"))).impression == second
    assert (await state.join(Feedback("accept", user="bob"))).impression == other
    assert (await state.join(Feedback("accept", user="eve"))).impression is None
    assert (await state.join(Feedback("accept", user="ann", tenant="elsewhere"))).impression is None


async def test_nothing_is_kept_about_the_anonymous_user(state: State, server: redis.Redis):
    shown = impression("anonymous")
    await state.remember(shown)
    assert await say(state, shown, "accept", LIST) == "recorded"
    assert not [name for name in server.scan_iter() if b"anonymous" in name]
    recall = await state.recall(Query(Source(name="notes"), calls=(Call("GET", "/notes"),)))
    assert (recall.accepted, recall.habit) == (frozenset(), {LIST: 1.0})


async def test_every_key_but_the_inbox_and_uploads_ends_by_itself(state: State, server: redis.Redis):
    shown = impression()
    await state.remember(shown)
    await say(state, shown, "accept", GET)
    await state.catalogs.put_catalog("c1", "sha256:1", b"x")
    await state.catalogs.put_spec("local", "https://a/b", SpecRecord("sha256:1", 1.0), public=True)
    await state.catalogs.acquire_lease("embed:1", "me", 30)
    forever = sorted(name for name in server.scan_iter() if server.ttl(name) == -1)
    assert forever == [b"inboxes", b"t:local:inbox"]


# --- recall


async def test_recall_knows_what_names_and_urls_stand_for(state: State):
    await state.catalogs.put_upload("local", "notes", "sha256:1", b"spec")
    await state.catalogs.put_spec("local", "https://public/s", SpecRecord("sha256:2", 1.0, "e"), public=True)
    await state.catalogs.put_spec("local", "http://intern/s", SpecRecord("sha256:3", 2.0), public=False)

    async def digest(source: Source, tenant: str = "local") -> str:
        return (await state.recall(Query(source, tenant=tenant))).digest

    assert await digest(Source(name="notes")) == "sha256:1"
    assert await digest(Source(url="https://public/s")) == "sha256:2"
    assert await digest(Source(url="http://intern/s")) == "sha256:3"
    assert await digest(Source(name="other")) == ""
    assert await digest(Source(data=b"x", digest="sha256:4")) == "sha256:4"
    assert await digest(Source(name="notes"), "elsewhere") == ""
    assert await digest(Source(url="http://intern/s"), "elsewhere") == ""
    assert await digest(Source(url="https://public/s"), "elsewhere") == "sha256:2"


async def test_recall_tells_what_followed_the_last_call_here(state: State):
    async def follow(user: str, history: tuple[str, ...], chosen: str, lineage: str = "notes") -> None:
        shown = impression(user, history=history, lineage=lineage)
        await say(state, shown, "override", chosen)

    await follow("ann", (LIST,), GET)
    await follow("ann", (LIST,), GET)
    await follow("bob", (LIST,), DELETE)
    await follow("ann", (GET,), DELETE)
    await follow("ann", (), LIST)
    await follow("ann", (LIST,), "GET /elsewhere", lineage="other")

    async def habit(user: str, *calls: Call) -> dict[str, float]:
        return dict((await state.recall(Query(Source(name="notes"), calls=calls, user=user))).habit)

    assert await habit("ann", Call("GET", "/notes")) == {GET: 4.0, DELETE: 1.0}  # hers count twice
    assert await habit("bob", Call("GET", "/notes")) == {GET: 2.0, DELETE: 2.0}
    assert await habit("eve", Call("GET", "/notes")) == {GET: 2.0, DELETE: 1.0}
    assert await habit("ann", Call("POST", "/notes"), Call("GET", "/api/notes/n_7")) == {DELETE: 2.0}
    assert await habit("ann") == {LIST: 2.0}
    assert await habit("ann", Call("POST", "/unknown")) == {}


async def test_only_the_user_who_accepted_an_operation_has_it_accepted(state: State):
    await say(state, impression(), "accept", DELETE)
    await say(state, impression(), "override", GET)
    query = Query(Source(name="notes"), user="ann")
    assert (await state.recall(query)).accepted == {DELETE}
    for other in (
        Query(Source(name="notes"), user="bob"),
        Query(Source(name="other"), user="ann"),
        Query(Source(name="notes"), user="ann", tenant="t2"),
    ):
        assert (await state.recall(other)).accepted == frozenset()


async def test_counts_keep_the_most_frequent_and_stay_bounded(state: State, server: redis.Redis):
    for _ in range(3):
        await say(state, impression(), "override", GET)
    for i in range(300):
        await say(state, impression(), "override", f"GET /rare/{i}")
    sizes = [server.zcard(name) for name in server.keys("*follow*")]
    assert all(500 < size <= 512 for size in sizes)
    recall = await state.recall(Query(Source(name="notes"), calls=(Call("GET", "/notes"),), user="ann"))
    assert recall.habit[GET] == 6.0


# --- recording


async def test_a_group_lies_in_the_inbox_as_it_was_given(state: State, server: redis.Redis):
    shown = impression()
    group = QueryGroup(shown, (2, 0, 0), "accept", LIST, ts=5.0)
    await state.remember(shown)
    await state.record(Feedback("accept", user="ann"), group, "r" * 32, "s")
    [(_, fields)] = server.xrange(key("t", "local", "inbox"))
    assert unpack_group(fields[b"group"]) == group
    assert await state.inbox.length("local") == 1


async def test_same_statement_is_a_duplicate_and_another_one_a_conflict(state: State):
    shown = impression()
    said = [await say(state, shown, *what) for what in (("accept", LIST), ("accept", LIST), ("reject", ""))]
    assert said == ["recorded", "duplicate", "conflict"]
    assert await state.inbox.length("local") == 1
    assert (await state.recall(Query(Source(name="notes"), calls=(Call("GET", "/notes"),), user="bob"))).habit == {
        LIST: 1.0
    }


async def test_a_full_inbox_refuses_and_keeps_nothing(
    redis_url: str, server: redis.Redis, limits: settings.State, state: State
):
    small = State(limits.model_copy(update={"inbox_max": 2}), redis_url)
    for _ in range(2):
        assert await say(small, impression(), "reject") == "recorded"
    third = impression()
    with pytest.raises(Overloaded) as refused:
        await say(small, third, "accept", LIST)
    assert refused.value.retry_after_s > 1
    assert not server.keys("*follow*")
    await small.close()
    assert await say(state, third, "accept", LIST) == "recorded"  # it was not marked as said


# --- catalogs


async def test_uploads_are_put_listed_replaced_and_removed(state: State, server: redis.Redis):
    catalogs = state.catalogs
    spec = b"openapi: 3.1.0\n" * 20_000
    upload = await catalogs.put_upload("local", "notes", "sha256:1", spec, "Notes", 5)
    assert (upload.size_bytes, upload.title, upload.operations) == (len(spec), "Notes", 5)
    assert await catalogs.get_upload("local", "notes") == upload
    assert await catalogs.get_upload_data("local", "sha256:1") == spec
    await catalogs.put_upload("local", "also", "sha256:1", spec)
    assert [found.name for found in await catalogs.list_uploads("local")] == ["also", "notes"]
    await catalogs.put_upload("local", "notes", "sha256:2", b"next")
    assert await catalogs.get_upload_data("local", "sha256:1") == spec  # 'also' still names it
    assert await catalogs.delete_upload("local", "also")
    assert await catalogs.get_upload_data("local", "sha256:1") is None
    await catalogs.put_upload("local", "notes", "sha256:2", b"next", title="same bytes, other title")
    assert await catalogs.delete_upload("local", "notes")
    assert not await catalogs.delete_upload("local", "notes")
    assert await catalogs.list_uploads("local") == ()
    assert not list(server.scan_iter())


async def test_a_tenant_sees_no_upload_of_another(state: State):
    await state.catalogs.put_upload("one", "notes", "sha256:1", b"x")
    assert await state.catalogs.get_upload("two", "notes") is None
    assert await state.catalogs.get_upload_data("two", "sha256:1") is None
    assert await state.catalogs.list_uploads("two") == ()
    assert not await state.catalogs.delete_upload("two", "notes")


async def test_names_have_a_quota_that_replacing_does_not_touch(
    redis_url: str, server: redis.Redis, limits: settings.State
):
    small = State(limits.model_copy(update={"name_quota": 3}), redis_url)
    catalogs = small.catalogs
    answers = await asyncio.gather(
        *(catalogs.put_upload("local", f"n{i}", f"sha256:{i}", b"x") for i in range(8)), return_exceptions=True
    )
    assert sum(not isinstance(answer, Exception) for answer in answers) == 3
    assert {type(answer).__name__ for answer in answers if isinstance(answer, Exception)} == {"BadRequest"}
    kept = (await catalogs.list_uploads("local"))[0].name
    await catalogs.put_upload("local", kept, "sha256:new", b"y")
    assert len(server.keys("t:local:upload:*")) == 3
    await small.close()


@pytest.mark.parametrize("name", ["", ".hidden", "a b", "a/b", "a:b", "x" * 65, "ü", "\ud800", "a\n"])
async def test_what_is_no_name_is_refused(state: State, name: str):
    with pytest.raises(BadRequest):
        await state.catalogs.put_upload("local", name, "sha256:1", b"x")
    assert await state.catalogs.get_upload("local", name) is None
    assert not await state.catalogs.delete_upload("local", name)


async def test_compiled_catalogs_and_vectors_are_kept_by_what_made_them(state: State, server: redis.Redis):
    catalogs = state.catalogs
    vectors = np.random.default_rng(0).random((1223, 384)).astype(np.float16).tobytes()
    await catalogs.put_catalog("compiler-1", "sha256:1", b"structure")
    await catalogs.put_vectors("mini:lm#1", "sha256:1", vectors)
    assert await catalogs.get_catalog("compiler-1", "sha256:1") == b"structure"
    assert await catalogs.get_catalog("compiler-2", "sha256:1") is None
    assert await catalogs.get_vectors("mini:lm#1", "sha256:1") == vectors
    server.expire(server.keys("catalog:*")[0], 10)
    await catalogs.get_catalog("compiler-1", "sha256:1")
    assert server.ttl(server.keys("catalog:*")[0]) > 1000  # reading keeps it


async def test_a_lease_is_one_tokens_until_it_ends(state: State):
    catalogs = state.catalogs
    assert await catalogs.acquire_lease("embed:1", "me", 0.2)
    assert await catalogs.acquire_lease("embed:1", "me", 0.2)
    assert not await catalogs.acquire_lease("embed:1", "you", 30)
    assert not await catalogs.renew_lease("embed:1", "you", 30)
    assert not await catalogs.release_lease("embed:1", "you")
    assert await catalogs.renew_lease("embed:1", "me", 0.2)
    await asyncio.sleep(0.3)
    assert not await catalogs.renew_lease("embed:1", "me", 30)
    assert await catalogs.acquire_lease("embed:1", "you", 30)
    assert not await catalogs.release_lease("embed:1", "me")
    assert await catalogs.release_lease("embed:1", "you")
    assert await catalogs.acquire_lease("embed:1", "me", 30)


async def test_a_lease_is_won_once_by_many_at_once(state: State):
    won = await asyncio.gather(*(state.catalogs.acquire_lease("embed:1", f"t{i}", 30) for i in range(40)))
    assert sum(won) == 1


# --- a Redis that is not fit, away, or late


async def test_a_server_that_would_evict_feedback_is_refused(state: State, server: redis.Redis):
    await state.verify()
    server.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(SettingsError, match="allkeys-lru"):
            await state.verify()
    finally:
        server.config_set("maxmemory-policy", "noeviction")


@pytest.mark.parametrize(
    ("persistence", "told"),
    [
        ({"appendonly": "no"}, "appendonly no"),
        ({"appendonly": "yes", "appendfsync": "everysec"}, "appendfsync everysec"),
        ({"appendonly": "yes", "appendfsync": "no"}, "appendfsync no"),
        ({"appendonly": "yes", "appendfsync": "always"}, ""),
    ],
)
async def test_a_shared_server_that_may_lose_what_was_acknowledged_is_warned_of_once(
    state: State,
    server: redis.Redis,
    redis_url: str,
    caplog: pytest.LogCaptureFixture,
    persistence: dict[str, str],
    told: str,
):
    before = {name: server.config_get(name)[name] for name in ("appendonly", "appendfsync")}
    try:
        for name, value in persistence.items():
            server.config_set(name, value)
        await state.verify()
    finally:
        for name, value in before.items():
            server.config_set(name, value)
    said = [record.getMessage() for record in caplog.records if record.name == "opensesame.state"]
    if not told or redis_url.startswith("unix:"):  # the embedded one flushes by itself
        assert said == []
        return
    (line,) = said
    assert told in line
    assert "set appendonly yes and appendfsync always" in line


async def test_a_server_that_does_not_tell_its_configuration_is_let_through(
    redis_url: str, server: redis.Redis, limits: settings.State, caplog: pytest.LogCaptureFixture
):
    if redis_url.startswith("unix:"):
        pytest.skip("the embedded one has no users")
    server.acl_setuser("guest", enabled=True, passwords=["+secret"], keys=["*"], commands=["+@all", "-config"])
    guest = State(limits, redis_url.replace("redis://", "redis://guest:secret@"))
    try:
        await guest.verify()
    finally:
        await guest.close()
        server.acl_deluser("guest")
    assert not [record for record in caplog.records if record.name == "opensesame.state"]


async def test_a_full_server_refuses_feedback_and_recall_goes_on(state: State, server: redis.Redis):
    server.config_set("maxmemory", 1)
    try:
        for _ in range(5):
            with pytest.raises(StateUnavailable, match="refuses"):
                await say(state, impression(), "accept", LIST)
            await state.recall(Query(Source(name="notes")))
    finally:
        server.config_set("maxmemory", 0)
    assert await say(state, impression(), "accept", LIST) == "recorded"


async def test_a_server_that_is_away_is_unavailable_and_costs_nothing_after_three_tries(limits: settings.State):
    brisk = limits.model_copy(update={"timeout_s": 0.1, "breaker_open_s": 1.0})
    with EmbeddedRedis.throwaway() as embedded:
        state = State(brisk, embedded.url)
        await state.ping()
        os.kill(embedded.server_pid, signal.SIGSTOP)
        try:
            for _ in range(3):
                with pytest.raises(StateUnavailable):
                    await state.recall(Query(Source(name="notes")))
            for _ in range(20):
                with pytest.raises(StateUnavailable) as refused:
                    await state.recall(Query(Source(name="notes")))
                assert refused.value.retry_after_s < brisk.breaker_open_s  # told by the breaker, nothing was waited for
        finally:
            os.kill(embedded.server_pid, signal.SIGCONT)
        await asyncio.sleep(brisk.breaker_open_s)
        await state.recall(Query(Source(name="notes")))  # by itself
        await state.close()


async def test_requests_that_meet_the_same_bad_moment_count_once(limits: settings.State):
    brisk = limits.model_copy(update={"timeout_s": 0.2})
    with EmbeddedRedis.throwaway() as embedded:
        state = State(brisk, embedded.url)
        await state.ping()
        os.kill(embedded.server_pid, signal.SIGSTOP)
        answers = await asyncio.gather(*(state.ping() for _ in range(20)), return_exceptions=True)
        os.kill(embedded.server_pid, signal.SIGCONT)
        assert {type(answer) for answer in answers} == {StateUnavailable}
        await state.ping()  # the breaker is not open
        await state.close()


async def test_a_server_that_comes_back_is_used_again(limits: settings.State):
    embedded = EmbeddedRedis.throwaway()
    embedded.start()
    state = State(limits.model_copy(update={"breaker_open_s": 0.05}), embedded.url)
    await asyncio.gather(*(state.ping() for _ in range(10)))  # ten open sockets
    os.kill(embedded.server_pid, signal.SIGKILL)
    until = time.monotonic() + 15
    while time.monotonic() < until:
        try:
            await state.ping()
            break
        except StateUnavailable:
            await asyncio.sleep(0.05)
    await asyncio.gather(*(state.ping() for _ in range(10)))
    embedded.stop()
    with pytest.raises(StateUnavailable):
        await state.ping()
    await state.close()


async def test_an_address_where_nobody_listens_is_unavailable(limits: settings.State):
    state = State(limits, "redis://127.0.0.1:1/0")
    with pytest.raises(StateUnavailable):
        await state.verify()
    await state.close()
