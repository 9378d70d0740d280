"""A tier's breaker, its pace, and how the time of an engine is divided."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.breaker import Breaker
from pipeline.candidates.health import Pace, Share


def failed(breaker: Breaker, *moments: float) -> None:
    for now in moments:
        breaker.begin(now)
        breaker.failed(now, now)


def test_the_breaker_opens_after_failures_in_a_row_and_lets_one_try_after_its_time():
    breaker = Breaker(3, 5.0)
    failed(breaker, 0.0, 1.0)
    breaker.succeeded()
    failed(breaker, 2.0, 3.0)
    assert breaker.state(3.0) == "closed"
    failed(breaker, 4.0)
    assert breaker.state(8.9) == "open"
    assert breaker.state(9.0) == "half_open"
    breaker.begin(9.0)
    assert breaker.state(9.1) == "open"  # for all but the one that tries
    breaker.succeeded()
    assert breaker.state(9.2) == "closed"


def test_a_probe_that_fails_opens_it_again_and_one_that_tells_nothing_leaves_it_half_open():
    breaker = Breaker(1, 5.0)
    failed(breaker, 0.0)
    breaker.begin(5.0)
    breaker.released()
    assert breaker.state(5.1) == "half_open"
    failed(breaker, 6.0)
    assert breaker.state(10.9) == "open"
    assert breaker.state(11.0) == "half_open"
    breaker.begin(11.0)
    assert breaker.state(16.0) == "half_open"  # a probe that never ends keeps nobody waiting for ever


def test_requests_that_fail_side_by_side_count_as_one_failure():
    breaker = Breaker(2, 5.0)
    for _ in range(10):
        breaker.begin(1.0)
    for _ in range(10):
        breaker.failed(1.0, 2.0)
    assert breaker.state(2.0) == "closed"


def test_what_is_in_time_is_told_by_the_last_minute():
    pace = Pace()
    assert pace.in_time(0.01, 0.0) == 1.0  # nothing is known: it is tried
    for second in range(10):
        pace.note(0.1 + second / 10, float(second))
    assert pace.in_time(0.55, 10.0) == pytest.approx(0.5)
    assert pace.usual_s(10.0) == pytest.approx(0.6)
    assert pace.in_time(0.01, 10.0) == 0.0
    assert pace.in_time(0.01, 80.0) == 1.0


def test_waiting_in_vain_tells_of_no_more_time_than_there_was():
    pace = Pace()
    pace.note_late(0.2, 0.0)
    assert [pace.in_time(seconds, 1.0) for seconds in (0.1, 0.2, 0.3)] == [0.0, 0.0, 1.0]
    assert pace.slowest_s == float("inf")
    pace.note(0.1, 1.0)
    assert [pace.in_time(seconds, 1.0) for seconds in (0.05, 0.1, 0.3)] == [0.0, 0.5, 1.0]
    assert pace.in_time(0.1, 60.5) == 1.0  # the minute of it is over
    assert (pace.usual_s(1.0), pace.slowest_s) == (0.1, 0.1)


seconds = st.lists(st.floats(0, 2), min_size=1, max_size=30)


@given(seconds, seconds, st.floats(0, 2), st.floats(0, 2))
def test_more_time_is_never_less_likely_enough(replies, late, one, other):
    pace = Pace()
    for taken in replies:
        pace.note(taken, 0.0)
    for had in late:
        pace.note_late(had, 0.0)
    assert pace.in_time(min(one, other), 1.0) <= pace.in_time(max(one, other), 1.0)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.001, 10)), min_size=1, max_size=20))
def test_the_shares_of_all_requests_add_up_to_the_time_the_engine_was_busy(requests):
    moments = sorted(
        [(start, 1, i) for i, (start, _) in enumerate(requests)]
        + [(start + length, 0, i) for i, (start, length) in enumerate(requests)],
        key=lambda moment: (moment[0], -moment[1]),
    )
    share, entered, total, busy, inside, since = Share(), {}, 0.0, 0.0, 0, 0.0
    for now, begins, i in moments:
        busy += (now - since) if inside else 0.0
        since = now
        if begins:
            entered[i] = share.enter(now)
            inside += 1
        else:
            taken = share.leave(entered[i], now)
            inside -= 1
            assert taken <= requests[i][1] + 1e-6
            total += taken
    assert total == pytest.approx(busy, abs=1e-6)
