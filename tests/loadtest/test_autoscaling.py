"""The arithmetic of the simulated day; what Serve decides is Serve's own code."""

from __future__ import annotations

import pytest

from loadtest import autoscaling
from loadtest.autoscaling import Plan, queue, simulate, traffic


def test_queue_with_room_for_one_is_erlangs_loss() -> None:
    """One in hand or none: the mean number is the share of time with one, which is the share refused."""
    mean, refused = queue(0.5, 1)
    assert mean == pytest.approx(1 / 3)
    assert refused == pytest.approx(1 / 3)


def test_queue_holds_little_when_idle_and_everything_when_flooded() -> None:
    assert queue(0.8, 1000)[0] == pytest.approx(4.0)  # M/M/1: load / (1 - load)
    mean, refused = queue(50.0, 16)
    assert mean == pytest.approx(16, abs=0.1)
    assert refused == pytest.approx(1 - 1 / 50)  # one of fifty is served


def test_queue_has_no_jump_where_the_load_is_one() -> None:
    for one, other in zip(queue(1.0, 16), queue(1.0 + 1e-6, 16), strict=True):
        assert one == pytest.approx(other, rel=1e-3)


def test_day_has_its_peak_at_ten_and_its_rise_at_twenty() -> None:
    assert traffic(10 * 3600.0, 100.0) == pytest.approx(100.0)
    assert traffic(3 * 3600.0, 100.0) == pytest.approx(5.0, abs=0.1)
    assert traffic(20 * 3600.0, 100.0) == pytest.approx(1.8 * traffic(20 * 3600.0 - 1, 100.0), rel=0.01)


def _plans(target: float) -> list[Plan]:
    return [Plan("Ingress", 0.005, 1, 8, target), Plan("Catalogs", 0.01, 1, 8, target)]


def test_serve_adds_replicas_after_its_delay_and_takes_them_away_after_the_longer_one() -> None:
    """One replica of Catalogs does 100 requests a second; 300 come for ten minutes, then none."""
    few = simulate(_plans(4.0), lambda now: 300.0 if now < 600 else 0.0, 16, 30.0, autoscaling.serves, 3600.0)
    assert few.highest["Catalogs"] >= 4
    assert few.bad_s >= 60.0  # 30 s until Serve decides, 30 s until the replica serves
    assert few.bad_s < 300.0
    assert few.replica_s["Catalogs"] < 8 * 3600.0 * 0.6  # gone again 600 s after the last request


def test_target_that_refusals_come_before_never_scales() -> None:
    """An ingress replica has 16 requests in hand at most: an average of 16 is never passed."""
    never = simulate(_plans(16.0), lambda now: 300.0, 16, 30.0, autoscaling.serves, 1800.0)
    assert never.highest == {"Ingress": 1, "Catalogs": 1}
    assert never.refused / never.asked == pytest.approx(2 / 3, rel=0.01)


def test_all_replicas_are_counted_from_the_moment_they_are_asked_for() -> None:
    still = simulate(_plans(4.0), lambda now: 0.0, 16, 30.0, autoscaling.serves, 3600.0)
    assert still.replica_s == {"Ingress": 3600.0, "Catalogs": 3600.0}
    assert still.refused == 0.0
