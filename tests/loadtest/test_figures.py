"""Statistics of the bench."""

from __future__ import annotations

import math

import msgspec
import pytest

from loadtest import figures
from loadtest.clients import Outcome
from loadtest.figures import Row, Sample


def _sample(**changes: float) -> Sample:
    return msgspec.structs.replace(Sample(10.0, 20.0, 100.0, 4.0, 50, 0, 0.0), **changes)


def test_quantile_is_a_value_that_was_seen() -> None:
    values = [float(v) for v in range(100, 0, -1)]
    assert figures.quantile(values, 0.5) == 50
    assert figures.quantile(values, 0.99) == 99
    assert figures.quantile([7.0], 0.99) == 7
    assert figures.quantile([2.0, 1.0], 0.0) == 1
    assert math.isnan(figures.quantile([], 0.5))


def test_idle_burn_is_not_charged_to_requests() -> None:
    outcome = Outcome([0.01] * 50, {200: 50}, elapsed_s=2.0, timings=[], last=b"")
    taken = figures.sample(outcome, spent_s={"a": 0.6, "b": 0.1}, idle_cores={"a": 0.05, "b": 0.05}, others_cores=0)
    assert taken.cpu_ms == pytest.approx(10.0)
    assert taken.cpu_by_ms == pytest.approx({"a": 10.0, "b": 0.0})
    assert taken.throughput == 25.0
    assert taken.p50_ms == 10.0


def test_failed_requests_count_as_errors_and_have_no_latency() -> None:
    outcome = Outcome([0.01], {200: 1, 503: 2, 0: 1}, elapsed_s=1.0, timings=[], last=b"")
    taken = figures.sample(outcome, spent_s={}, idle_cores={}, others_cores=0)
    assert (taken.requests, taken.errors, taken.throughput) == (4, 3, 1.0)


def test_stages_are_medians_of_server_timing() -> None:
    timings = ["ground;dur=1.0, total;dur=9.5", "ground;dur=3.0, total;dur=10.5", "ground;dur=2.0", ""]
    assert figures.stages(timings) == {"ground": 2.0, "total": 10.0}


def test_a_ratio_is_the_median_of_the_ratios_of_each_round() -> None:
    rows = [
        Row("no-op graph", "any", 1, [_sample(p50_ms=2.0), _sample(p50_ms=10.0), _sample(p50_ms=4.0)]),
        Row("ours", "warm", 1, [_sample(p50_ms=6.0), _sample(p50_ms=20.0), _sample(p50_ms=16.0)]),
        Row("ours", "warm", 16, [_sample()] * 3),
    ]
    (found,) = figures.ratios(rows, "ours", "no-op graph")
    assert (found.concurrency, found.p50, found.throughput) == (1, 3.0, 1.0)
    assert rows[1].median("p50_ms") == 16.0


def test_limits_are_judged_on_the_warm_ratios() -> None:
    limits = {"p50_ratio_max": 4.0, "p99_ratio_max": 2.5, "throughput_ratio_min": 0.3}
    found = [
        figures.Ratio("warm", 1, p50=4.0, p99=2.6, throughput=0.1, cpu=3),
        figures.Ratio("unseen", 1, p50=9.0, p99=9.0, throughput=0.1, cpu=9),
        figures.Ratio("warm", 16, p50=5.0, p99=3.0, throughput=0.31, cpu=3),
    ]
    assert [kept for *_, kept in figures.judge(found, limits)] == [True, False, True]
