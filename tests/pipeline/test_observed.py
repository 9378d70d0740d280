"""STORY 2, told by what users were seen to do: observed calls, and events of suggested propositions."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
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
from pipeline.feedback import SCALE, Receipt, Witnessed
from pipeline.stores.counts import Followed, contexts
from pipeline.stores.embedded import EmbeddedRedis
from pipeline.stores.encoding import unpack_group
from pipeline.stores.observed import Tail
from pipeline.stores.state import Recall, State, new_id
from pipeline.types import Call, Exposure, Feedback, Impression, Observation, Query, QueryGroup, Source

pytestmark = pytest.mark.redis

LIST, CREATE, GET, DELETE = "GET /notes", "POST /notes", "GET /notes/{note_id}", "DELETE /notes/{note_id}"
CALLS = {LIST: "GET /notes", CREATE: "POST /notes", GET: "GET /notes/n_1", DELETE: "DELETE /notes/n_1", "": "GET /x"}
TEA, CAKE, ICE = "SHOW /tea", "SHOW /cake", "SHOW /ice"


def seen(*calls: tuple[float, str]) -> list[Observation]:
    return [Observation(ts, CALLS[operation], operation) for ts, operation in calls]


async def shown_to(state: State, user: str = "ann", **changes: object) -> Impression:
    fields = {
        "id": new_id(),
        "tenant": "local",
        "user": user,
        "lineage": "notes",
        "digest": "sha256:1",
        "ts": time.time(),
        "shown": (LIST, CREATE),
        "others": (GET,),
        "history": (LIST,),
    }
    shown = Impression(**(fields | changes))  # type: ignore[arg-type]
    await state.remember(shown)
    return shown


async def watch(state: State, calls: list[Observation], user: str = "ann", lineage: str = "notes") -> Witnessed:
    return await story.observe("local", user, lineage, calls, state.observed, state.join_window_s)


async def log(state: State, event: str, proposition: str, suggestion_id: str = "", **changes: object) -> Receipt:
    exposure = Exposure(event, proposition, suggestion_id, **({"user": "ann"} | changes))  # type: ignore[arg-type]
    return await story.expose(exposure, state.observed, state.join_window_s)


async def say(state: State, outcome: str, chosen: str, prediction_id: str, user: str = "ann") -> Receipt:
    async def match(impression: Impression, method: str, path: str) -> str | None:
        return next((key for key, call in CALLS.items() if key and call == f"{method} {path}"), None)

    return await story.record(Feedback(outcome, chosen, prediction_id, user), state, match)  # type: ignore[arg-type]


async def recall(state: State, call: str, user: str = "ann", prompt: str = "") -> Recall:
    method, path = call.split(" ", 1)
    return await state.recall(Query(Source(name="notes"), calls=(Call(method, path),), user=user, prompt=prompt))


def inbox(server: redis.Redis) -> list[QueryGroup]:
    return [unpack_group(fields[b"group"]) for _, fields in server.xrange("t:local:inbox")]


# --- the scale


def test_the_scale_orders_outcomes_by_how_much_they_tell():
    strength = [(grade.label, grade.weight) for grade in SCALE.values()]
    assert list(SCALE) == ["observed", "override", "accept", "conversion", "click", "impression", "reject"]
    assert strength == sorted(strength, reverse=True)
    assert all(0 <= grade.label <= 3 and 0 < grade.weight <= 1 for grade in SCALE.values())
    assert SCALE["impression"].amount == SCALE["reject"].amount == 0


# --- observed calls


async def test_the_next_call_answers_the_predictions_before_it_and_no_later_ones(state: State, server: redis.Redis):
    now = time.time()
    first = await shown_to(state, last_ts=10.0)
    also = await shown_to(state, last_ts=10.0)
    later = await shown_to(state, last_ts=20.0, history=(LIST, GET))
    elsewhere = await shown_to(state, lineage="other", last_ts=10.0)
    bobs = await shown_to(state, "bob", last_ts=10.0)
    kept = await watch(state, seen((10.0, LIST), (20.0, GET), (30.0, DELETE)))
    assert kept == Witnessed(3, 0, (first.id, also.id, later.id))
    groups = {group.impression.id: group for group in inbox(server)}
    assert set(groups) == {first.id, also.id, later.id}
    assert (groups[first.id].labels, groups[first.id].outcome, groups[first.id].weight) == ((0, 0, 3), "observed", 1.0)
    assert (groups[later.id].labels, groups[later.id].chosen) == ((0, 0, 0), DELETE)  # neither shown nor scored
    assert groups[first.id].ts >= now
    assert {elsewhere.id, bobs.id}.isdisjoint(groups)
    followed = (await recall(state, "GET /notes/n_9")).own_followed
    assert followed.after(GET) == {DELETE: 1.0}  # it counts all the same
    assert followed.after(LIST, GET) == {DELETE: 1.0}


async def test_without_times_of_the_client_the_services_clock_decides(state: State):
    before = await shown_to(state, ts=time.time() - 10)
    after = await shown_to(state, ts=time.time() + 10)
    assert (await watch(state, seen((time.time() - 5, GET)))).closed == (before.id,)
    assert (await watch(state, [Observation(time.time(), CALLS[GET], GET, once="k 0")])).closed == (after.id,)


async def test_a_clock_that_is_ahead_answers_no_prediction_with_the_call_before_it(state: State):
    shown = await shown_to(state, ts=time.time() - 1)
    ahead_s = 3600
    calls = seen((time.time() - 2 + ahead_s, LIST), (time.time() + ahead_s, GET))
    assert (await watch(state, calls)).closed == (shown.id,)


async def test_a_call_from_the_future_ages_none_that_comes_after_it(state: State):
    now = time.time()
    await watch(state, seen((now - 4, LIST), (now + 10 * 365 * 86400, GET)))
    await watch(state, seen((time.time(), DELETE)))
    followed = (await recall(state, "GET /notes/n_1")).own_followed
    assert followed.after(GET) == followed.after(LIST, GET) == {DELETE: 1.0}
    assert (await recall(state, "GET /notes")).own_followed.after(LIST) == {GET: 1.0}


async def test_a_call_from_the_future_answers_nothing_and_the_call_made_now_does(state: State):
    shown = await shown_to(state, ts=time.time() - 1)
    now = time.time()
    kept = await watch(state, seen((now, GET), (now + 10 * 365 * 86400, DELETE)))
    assert [(group.impression.id, group.chosen) for group in kept.groups] == [(shown.id, GET)]


async def test_a_clock_that_is_ahead_is_followed_report_after_report(state: State):
    for call in (LIST, GET, DELETE):
        await watch(state, seen((time.time() + 3600, call)))
    assert (await recall(state, "GET /notes/n_1")).own_followed.after(LIST, GET) == {DELETE: 1.0}


async def test_a_tail_of_a_time_to_come_is_none(state: State, server: redis.Redis):
    await watch(state, seen((time.time(), LIST)))
    name = next(name for name in server.scan_iter() if name.endswith(b":tail"))
    server.set(name, msgspec.msgpack.encode(Tail(time.time() + 10 * 365 * 86400, (LIST,))))
    await watch(state, seen((time.time() - 2, GET), (time.time() - 1, DELETE)))
    assert (await recall(state, "GET /notes/n_1")).own_followed.after(GET) == {DELETE: 1.0}
    assert (await recall(state, "GET /notes")).own_followed.after(LIST) == {}  # nobody knows that GET followed it


async def test_calls_count_once_however_they_are_reported(state: State, server: redis.Redis):
    await shown_to(state, last_ts=1.0)
    calls = seen((1.0, LIST), (2.0, GET), (2.0, GET), (3.0, CREATE))
    assert (await watch(state, calls)).duplicates == 1
    assert await watch(state, calls) == Witnessed(0, 4, ())
    assert await watch(state, calls[::-1] + seen((4.0, LIST))) == Witnessed(1, 4, ())
    await shown_to(state, last_ts=2.5)
    assert (await watch(state, calls)).closed == ()  # known calls answer nothing new
    followed = (await recall(state, "GET /notes")).own_followed
    assert (followed.after(LIST), followed.total(LIST)) == ({GET: 1.0}, 1.0)
    assert len(inbox(server)) == 1


async def test_params_tell_calls_of_one_instant_apart_and_say_nothing_of_when_they_were_made(state: State):
    later = await shown_to(state, last_ts=5.0)
    calls = [Observation(2.0, CALLS[LIST], LIST, params=params) for params in ("", '{"page": "1"}', '{"page": "2"}')]
    assert await watch(state, [*calls, calls[1]]) == Witnessed(3, 1, ())
    assert (await watch(state, calls)).duplicates == 3
    assert (await watch(state, seen((6.0, GET)))).closed == (later.id,)


async def test_what_followed_goes_on_over_requests_and_begins_anew_after_a_pause(state: State):
    pause = state.join_window_s + 1
    await watch(state, seen((1.0, LIST)))
    await watch(state, seen((2.0, GET), (3.0, "")))
    await watch(state, seen((4.0, DELETE)))
    await watch(state, seen((4.0 + pause, LIST)))
    await watch(state, seen((0.5, CREATE)))  # late: nobody knows what was before it
    followed = (await recall(state, "GET /notes/n_1")).own_followed
    assert followed.after(GET) == followed.after(LIST, GET) == {DELETE: 1.0}
    start = (await state.recall(Query(Source(name="notes"), user="ann"))).own_followed
    assert start.after("") == {LIST: 2.0}
    assert (await recall(state, "DELETE /notes/n_1")).own_followed.after(DELETE) == {}
    assert (await recall(state, "GET /notes")).followed.after(LIST) == {GET: 1.0}


async def test_a_prediction_tells_what_came_before_where_nobody_reported_it(state: State):
    await shown_to(state, history=(LIST, GET), last_ts=1.0)
    await watch(state, seen((2.0, DELETE)))
    assert (await recall(state, "GET /notes/n_1")).own_followed.after(LIST, GET) == {DELETE: 1.0}


async def test_what_was_said_and_then_seen_counts_once(state: State, server: redis.Redis):
    said = await shown_to(state, last_ts=1.0)
    await say(state, "override", "GET /notes/n_1", said.id)
    assert (await watch(state, seen((2.0, GET)))).closed == ()
    other = await shown_to(state, last_ts=2.0, history=(GET,))
    await say(state, "accept", "", other.id)
    await watch(state, seen((3.0, DELETE)))  # not what was said: both are true
    groups = inbox(server)
    assert [group.outcome for group in groups] == ["override", "accept"]
    assert (await recall(state, "GET /notes")).own_followed.after(LIST) == {GET: 1.0}
    assert (await recall(state, "GET /notes/n_1")).own_followed.after(GET) == {LIST: 1.0, DELETE: 1.0}


async def test_what_was_seen_and_then_said_counts_once_and_is_accepted(state: State, server: redis.Redis):
    shown = await shown_to(state, last_ts=1.0)
    await watch(state, seen((2.0, LIST)))
    assert (await say(state, "accept", "", shown.id)).status == "duplicate"
    with pytest.raises(Conflict):
        await say(state, "reject", "", shown.id)
    assert (await recall(state, "GET /notes")).accepted == {LIST}
    assert (await recall(state, "GET /notes")).own_followed.after(LIST) == {LIST: 1.0}
    assert len(inbox(server)) == 1


async def test_nobody_in_particular_is_not_observed(state: State):
    with pytest.raises(BadRequest, match="user_id"):
        await watch(state, seen((1.0, LIST)), "anonymous")
    with pytest.raises(BadRequest, match="1000"):
        await watch(state, seen(*((float(i), LIST) for i in range(1001))))


async def test_a_full_inbox_keeps_neither_calls_nor_counts(redis_url: str, server: redis.Redis, limits: settings.State):
    full = State(limits.model_copy(update={"inbox_max": 1}), redis_url)
    for _ in range(2):
        await shown_to(full, last_ts=1.0)
    with pytest.raises(Overloaded):
        await watch(full, seen((2.0, GET)))
    assert (await recall(full, "GET /notes")).own_followed.after(LIST) == {}
    assert not inbox(server)
    await full.close()


@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    reports=st.lists(
        st.tuples(
            st.integers(0, 1),
            st.lists(st.tuples(st.integers(1, 12), st.sampled_from([LIST, GET, CREATE, ""])), max_size=6),
        ),
        max_size=6,
    ),
    seed=st.integers(0, 2**16),
)
def test_reports_at_once_are_kept_once_and_each_prediction_is_answered_once(
    redis_url: str, server: redis.Redis, limits: settings.State, reports: list, seed: int
):
    """Any interleaving of reports of two users, sent twice and all at once, with feedback in between."""
    server.flushall()

    async def run() -> tuple[list[Impression], list[Witnessed]]:
        state = State(limits, redis_url)
        shown = [await shown_to(state, f"user{user}", last_ts=float(ts)) for user in range(2) for ts in (0, 4, 8)]
        sent = [watch(state, seen(*calls), f"user{user}") for user, calls in reports for _ in range(2)]
        said = [say(state, "reject", "", shown[0].id, "user0"), say(state, "reject", "", shown[4].id, "user1")]
        both = [*sent, *said]
        random.Random(seed).shuffle(both)
        answers = await asyncio.gather(*both, return_exceptions=True)
        unexpected = [one for one in answers if not isinstance(one, Witnessed | Receipt | Conflict)]
        assert not unexpected
        await state.close()
        return shown, [one for one in answers if isinstance(one, Witnessed)]

    shown, kept = asyncio.run(run())
    calls = {(user, ts, CALLS[operation]) for user, told in reports for ts, operation in told}
    assert sum(one.recorded for one in kept) == len(calls)
    groups = inbox(server)
    ids = [group.impression.id for group in groups]
    assert len(ids) == len(set(ids))
    closed = [id_ for one in kept for id_ in one.closed]
    observed = [group for group in groups if group.outcome == "observed"]
    assert sorted(closed) == sorted(group.impression.id for group in observed)
    by_id = {one.id: one for one in shown}
    for group in observed:
        assert group.impression == by_id[group.impression.id]


# --- what is learnt, as a reader finds it


async def test_counts_back_off_from_the_last_two_calls_to_the_last_and_have_totals(state: State):
    for before, chosen, times in ((CREATE, GET, 3), (DELETE, CREATE, 1)):
        for _ in range(times):
            shown = await shown_to(state, "bob", history=(before, LIST))
            await say(state, "override", CALLS[chosen], shown.id, "bob")
    known = (await recall(state, "GET /notes", "eve")).followed
    assert (known.after(LIST), known.total(LIST)) == ({GET: 3.0, CREATE: 1.0}, 4.0)
    assert (known.after(CREATE, LIST), known.total(CREATE, LIST)) == ({GET: 3.0}, 3.0)
    assert (known.after(DELETE, LIST), known.total("x", LIST)) == ({CREATE: 1.0}, 0.0)
    assert not (await recall(state, "GET /notes", "eve")).own_followed
    assert contexts(()) == ("", "")
    assert contexts((LIST,)) == (LIST, f"\x1f{LIST}")


async def test_a_habit_given_up_is_outweighed_after_a_dozen_observations(
    redis_url: str, server: redis.Redis, limits: settings.State
):
    decay = settings.load("local").state.habit_decay
    state = State(limits.model_copy(update={"habit_decay": decay}), redis_url)

    async def choose(operation: str, times: int) -> Followed:
        for _ in range(times):
            await say(state, "override", CALLS[operation], (await shown_to(state)).id)
        return (await recall(state, "GET /notes")).own_followed

    known = await choose(GET, 40)
    assert known.total(LIST) == pytest.approx(sum(decay**i for i in range(40)))
    assert known.after(LIST)[GET] == pytest.approx(known.total(LIST))
    known = await choose(CREATE, 20)
    assert known.after(LIST)[CREATE] > known.after(LIST)[GET]
    assert known.total(LIST) == pytest.approx(sum(known.after(LIST).values()))
    await state.close()


async def test_prompts_are_remembered_with_what_was_chosen_and_bounded(
    redis_url: str, server: redis.Redis, limits: settings.State
):
    state = State(limits.model_copy(update={"prompts_max": 3, "prompts_user_max": 2}), redis_url)
    for i in range(4):
        shown = await shown_to(state, terms=(i, 100), last_ts=float(i))
        await say(state, "accept", "", shown.id)
    await shown_to(state, terms=(9,), last_ts=8.0, history=())
    await shown_to(state, terms=(9,), last_ts=8.0, history=())  # asked twice, answered by one call
    await watch(state, seen((9.0, DELETE)))
    known = await recall(state, "GET /notes", prompt="any")
    assert [entry.terms for entry in known.prompts] == [(9,), (3, 100), (2, 100)]
    assert [entry.terms for entry in known.own_prompts] == [(9,), (3, 100)]
    entry = known.prompts[1]
    assert (entry.last, entry.chosen, entry.weight) == (LIST, LIST, SCALE["accept"].weight)
    assert "ann" not in str(entry)
    assert (await recall(state, "GET /notes")).prompts == ()
    assert (await recall(state, "GET /notes", "bob", "any")).own_prompts == ()
    await state.close()


# --- suggestions


async def suggest(state: State, user: str = "ann", **changes: object) -> Impression:
    return await shown_to(state, user, **({"shown": (TEA, CAKE), "others": (ICE,), "history": ()} | changes))


async def test_each_group_of_a_suggestion_has_the_labels_of_all_that_happened(state: State, server: redis.Redis):
    shown = await suggest(state)
    steps = [("impression", "tea"), ("impression", "cake"), ("click", "cake"), ("click", "ice"), ("conversion", "cake")]
    for event, proposition in steps:
        assert (await log(state, event, proposition, shown.id)).status == "recorded"
    assert [(group.outcome, group.labels, group.weight) for group in inbox(server)] == [
        ("impression", (0, 0, 0), 0.2),
        ("click", (0, 1, 0), 0.4),
        ("click", (0, 1, 1), 0.4),
        ("conversion", (0, 2, 1), 0.6),
    ]
    start = await state.recall(Query(Source(name="notes"), user="ann"))
    assert start.own_followed.after("") == {CAKE: 1.0, ICE: 0.5}  # click and conversion are one choice
    for event, proposition in steps:
        assert (await log(state, event, proposition, shown.id)).status == "duplicate"
    assert len(inbox(server)) == 4
    assert await state.observed.tally("local", "notes") == {
        ("impression", TEA): 1, ("impression", CAKE): 1, ("click", CAKE): 1, ("click", ICE): 1, ("conversion", CAKE): 1,
    }  # fmt: skip


async def test_without_an_id_it_means_the_users_last_suggestion_whatever_else_was_predicted(state: State):
    await suggest(state)
    last = await suggest(state)
    await shown_to(state)
    await suggest(state, "bob")
    assert (await log(state, "click", "tea")).prediction_id == last.id
    with pytest.raises(UnknownPrediction):
        await log(state, "click", "tea", user="eve")
    with pytest.raises(BadRequest, match="user_id"):
        await log(state, "click", "tea", user="anonymous")


async def test_suggestions_that_cannot_be_meant_are_refused(state: State, server: redis.Redis):
    shown = await suggest(state)
    with pytest.raises(BadRequest, match="no part"):
        await log(state, "click", "beer", shown.id)
    for id_, user in ((shown.id, "bob"), (new_id(), "ann"), ("x", "ann")):
        with pytest.raises(UnknownPrediction):
            await log(state, "click", "tea", id_, user=user)
    old = f"0000000000{shown.id[10:]}"
    with pytest.raises(Gone):
        await log(state, "click", "tea", old)
    with pytest.raises(BadRequest, match="printed"):
        await log(state, "click", "te\na", shown.id)
    assert inbox(server) == []


async def test_a_key_stands_for_one_event(state: State):
    shown = await suggest(state)
    assert (await log(state, "click", "tea", shown.id, idempotency_key="k")).status == "recorded"
    assert await log(state, "click", "tea", shown.id, idempotency_key="k") == Receipt(shown.id, "duplicate")
    with pytest.raises(Conflict):
        await log(state, "click", "cake", shown.id, idempotency_key="k")


async def tell(state: State, id_: str, way: str, told: str) -> str:
    """What came of a proposition, told by one of the three routes; status, or `conflict`."""
    try:
        if way == "log_event":
            return (await log(state, told, "tea", id_)).status
        if way == "events":
            told_at = (await state.join(Feedback("accept", prediction_id=id_, user="ann"))).impression.ts + 1.0
            return "recorded" if (await watch(state, [Observation(told_at, "tea", TEA)])).recorded else "duplicate"
        return (await say(state, told, "SHOW /tea" if told != "reject" else "", id_)).status
    except Conflict:
        return "conflict"


@pytest.mark.parametrize(
    ("first", "second", "status", "count", "labels"),
    [
        (("log_event", "conversion"), ("feedback", "accept"), "recorded", 1.0, (2, 0, 0)),
        (("log_event", "click"), ("feedback", "accept"), "recorded", 1.0, (2, 0, 0)),
        (("log_event", "click"), ("feedback", "override"), "recorded", 1.0, (3, 0, 0)),
        (("log_event", "click"), ("feedback", "reject"), "conflict", 0.5, (1, 0, 0)),
        (("log_event", "conversion"), ("feedback", "reject"), "conflict", 1.0, (2, 0, 0)),
        (("log_event", "impression"), ("feedback", "reject"), "recorded", None, (0, 0, 0)),
        (("log_event", "click"), ("events", ""), "recorded", 1.0, (3, 0, 0)),
        (("log_event", "conversion"), ("events", ""), "recorded", 1.0, (3, 0, 0)),
        (("feedback", "accept"), ("log_event", "conversion"), "recorded", 1.0, (2, 0, 0)),
        (("feedback", "accept"), ("log_event", "click"), "recorded", 1.0, (2, 0, 0)),
        (("feedback", "accept"), ("log_event", "impression"), "recorded", 1.0, (2, 0, 0)),
        (("feedback", "reject"), ("log_event", "impression"), "recorded", None, (0, 0, 0)),
        (("feedback", "reject"), ("log_event", "click"), "conflict", None, (0, 0, 0)),
        (("events", ""), ("log_event", "conversion"), "recorded", 1.0, (3, 0, 0)),
        (("events", ""), ("log_event", "click"), "recorded", 1.0, (3, 0, 0)),
    ],
)
async def test_an_act_told_on_two_routes_counts_once_and_what_contradicts_is_refused(
    state: State,
    server: redis.Redis,
    first: tuple[str, str],
    second: tuple[str, str],
    status: str,
    count: float | None,
    labels: tuple[int, ...],
):
    shown = await suggest(state)
    assert await tell(state, shown.id, *first) == "recorded"
    assert await tell(state, shown.id, *second) == status
    start = await state.recall(Query(Source(name="notes"), user="ann"))
    assert start.own_followed.after("") == ({} if count is None else {TEA: count})
    assert start.followed.total("") == (count or 0.0)
    assert inbox(server)[-1].labels == labels
    for told in (second, first):  # and the same again changes nothing
        assert await tell(state, shown.id, *told) in ("duplicate", "conflict")
    again = await state.recall(Query(Source(name="notes"), user="ann"))
    assert again.own_followed.after("") == start.own_followed.after("")


@pytest.mark.parametrize("way", ["log_event", "events", "feedback"])
async def test_what_was_gone_through_with_teaches_no_expert_and_no_prompt_again(state: State, way: str):
    shown = await suggest(state, terms=(1, 2), losses=(b"tea", b"cake", b"ice"))
    await log(state, "conversion", "tea", shown.id)
    await tell(state, shown.id, way, "accept" if way == "feedback" else "click")
    found = await state.recall(Query(Source(name="notes"), user="ann", prompt="tea"))
    assert (found.losses, len(found.prompts), len(found.own_prompts)) == ([b"tea"], 1, 1)


async def test_what_else_was_clicked_stays_when_something_is_accepted(state: State, server: redis.Redis):
    shown = await suggest(state)
    await log(state, "click", "ice", shown.id)
    await say(state, "accept", TEA, shown.id)
    await log(state, "click", "cake", shown.id)
    assert [(group.outcome, group.labels, group.weight) for group in inbox(server)] == [
        ("click", (0, 0, 1), 0.4),
        ("accept", (2, 0, 1), 0.8),
        ("click", (2, 1, 1), 0.8),
    ]
    start = await state.recall(Query(Source(name="notes"), user="ann"))
    assert start.own_followed.after("") == {TEA: 1.0, CAKE: 0.5, ICE: 0.5}


TOLD = st.sampled_from(
    [("log_event", "impression"), ("log_event", "click"), ("log_event", "conversion"), ("events", "")]
    + [("feedback", outcome) for outcome in ("accept", "override", "reject")]
)


@given(st.lists(TOLD, min_size=2, max_size=6), st.booleans())
@hypothesis_settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_in_any_order_and_at_once_an_act_counts_once_and_never_with_a_reject(
    redis_url: str, server: redis.Redis, limits: settings.State, told: list[tuple[str, str]], at_once: bool
):
    async def run() -> None:
        server.flushall()
        state = State(limits, redis_url)
        try:
            shown = await suggest(state)
            if at_once:
                said = await asyncio.gather(*(tell(state, shown.id, *one) for one in told))
            else:
                said = [await tell(state, shown.id, *one) for one in told]
            kept = {one for one, status in zip(told, said, strict=True) if status == "recorded"}
            chosen = kept - {("log_event", "impression"), ("feedback", "reject")}
            is_rejected = ("feedback", "reject") in kept
            assert not is_rejected or chosen <= {("events", "")}  # what is called after all is a call all the same
            amount = 0.0 if not chosen else 0.5 if chosen == {("log_event", "click")} else 1.0
            found = await state.recall(Query(Source(name="notes"), user="ann"))
            assert found.own_followed.total("") == pytest.approx(amount)
            labels = {SCALE[outcome or "observed"].label for _, outcome in chosen} if not is_rejected else {0}
            was_said = kept & {("feedback", "accept"), ("feedback", "override")}  # before it was seen, perhaps
            assert inbox(server)[-1].labels[0] in (labels if was_said else {max(labels, default=0)})
        finally:
            await state.close()

    asyncio.run(run())


async def test_events_of_a_suggestion_at_once_are_each_kept_and_the_last_group_has_them_all(
    state: State, server: redis.Redis
):
    shown = await suggest(state)
    events = [(event, id_) for event in ("impression", "click") for id_ in ("tea", "cake", "ice")]
    receipts = await asyncio.gather(*(log(state, *event, shown.id) for event in events * 2))
    assert sorted(one.status for one in receipts) == ["duplicate"] * 6 + ["recorded"] * 6
    assert inbox(server)[-1].labels == (1, 1, 1)


# --- durable


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    embedded = EmbeddedRedis(tmp_path)
    embedded.start()
    yield embedded
    embedded.stop()


@pytest.mark.slow
async def test_of_10_000_acknowledged_nothing_is_lost_while_redis_is_killed(
    embedded: EmbeddedRedis, limits: settings.State, tmp_path: Path
):
    """Feedback, observed calls and clicks, retried until acknowledged; the server is killed after every 2,000."""
    from pipeline.stores.journal import Journal

    state = State(limits.model_copy(update={"timeout_s": 1.0, "breaker_open_s": 0.05}), embedded.url)
    acknowledged: set[str] = set()
    refused, goal = 0, 10_000

    async def keep_trying(step):  # type: ignore[no-untyped-def]
        nonlocal refused
        while True:
            try:
                return await step()
            except StateUnavailable:
                refused += 1
                await asyncio.sleep(0.02)

    async def client(user: str) -> None:
        for i in range(goal):
            if len(acknowledged) >= goal:
                return
            kind = i % 3
            changes = {"shown": (TEA, CAKE)} if kind == 2 else {"last_ts": float(i)}
            shown = await keep_trying(lambda changes=changes: shown_to(state, user, **changes))
            if kind == 0:
                await keep_trying(lambda id_=shown.id: say(state, "accept", "", id_, user))
            elif kind == 1:
                await keep_trying(lambda i=i: watch(state, seen((i + 0.5, GET)), user))
            else:
                await keep_trying(lambda id_=shown.id: log(state, "click", "cake", id_, user=user))
            acknowledged.add(shown.id)

    async def killer() -> None:
        for kill in range(1, 5):
            while len(acknowledged) < kill * 2000:
                await asyncio.sleep(0.01)
            os.kill(embedded.server_pid, signal.SIGKILL)

    await asyncio.gather(killer(), *(client(f"user{i}") for i in range(8)))
    assert refused > 0
    journal = Journal(tmp_path / "journal", settings.load("local").journal)
    await journal.drain(state)
    ids = [id_ for batch in journal.groups(columns=["id"]) for id_ in batch["id"].to_pylist()]
    await state.close()
    assert len(ids) == len(set(ids))
    assert acknowledged <= set(ids)
