"""What a verdict counts, and what it holds against the limits."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import yaml

from loadtest import verdict
from loadtest.verdict import Footprint, Phase, Record, Run
from pipeline import settings

LIMITS = yaml.safe_load((settings.resource("configs") / "slo.yaml").read_text())["hold"]


def asked(at: float, *statuses: int, seconds: float = 0.1, retry_after_s: float | None = 1.0) -> list[Record]:
    """A request and its attempts, a second apart."""
    last = len(statuses) - 1
    return [
        Record(at + i, "predict", status, seconds, i, i == last, i + seconds, retry_after_s if status == 503 else None)
        for i, status in enumerate(statuses)
    ]


def phase(kind: str = "kill", began: float = 0.0, ended: float = 100.0) -> Phase:
    return Phase(kind, kind, began, ended)


def test_a_request_that_a_second_attempt_saved_failed_raw_only() -> None:
    found = verdict.figures([*asked(1, 200), *asked(2, 500, 200), *asked(3, 0, 503, 500)], phase())
    assert (found.requests, found.failed_raw, found.failed) == (3, 2, 1)
    assert (found.refused, found.refused_bare, found.faults, found.unanswered) == (1, 0, 2, 1)


def test_a_refusal_without_retry_after_is_told_apart() -> None:
    found = verdict.figures(asked(1, 503, retry_after_s=None), phase())
    assert (found.refused, found.refused_bare) == (0, 1)


def test_a_request_belongs_to_the_phase_it_began_in() -> None:
    records = asked(99.5, 503, 503, 200)
    assert verdict.figures(records, phase(ended=100.0)).failed_raw == 1
    assert verdict.figures(records, phase(began=100.0, ended=200.0)).requests == 0


def test_latencies_are_of_first_attempts_that_were_answered() -> None:
    records = [*asked(1, 200, seconds=0.2), *asked(2, 500, 200, seconds=9.0), *asked(3, 200, seconds=0.4)]
    found = verdict.figures(records, phase())
    assert (found.p50_s, found.worst_s) == (0.2, 0.4)


def test_limits_are_kept_or_missed() -> None:
    kept = verdict.judge("x", {"failed": 0, "requests": 5000}, {"failed_max": 0, "requests_min": 5000})
    assert [check.is_kept for check in kept] == [True, True]
    missed = verdict.judge("x", {"failed": 1, "requests": 4999}, {"failed_max": 0, "requests_min": 5000})
    assert [check.is_kept for check in missed] == [False, False]
    assert not verdict.judge("x", {"p99_s": float("nan")}, {"p99_s_max": 1.0})[0].is_kept


def test_overload_is_held_against_the_sustainable_rate_of_the_same_run() -> None:
    calm, much = phase("sustainable"), phase("overload", 100.0, 200.0)
    shed = [*asked(150, 200, seconds=0.5), *asked(151, 503, 200)]
    _, checks = verdict.verdict(Run("r", [calm, much]), [*asked(1, 200, seconds=0.2), *shed], LIMITS)
    ratio = next(check for check in checks if "p99_ratio" in check.what)
    assert (ratio.value, ratio.is_kept) == (pytest.approx(2.5), False)


def test_the_slope_of_a_process_that_grows_is_its_growth_a_minute() -> None:
    grows = [Footprint(t, 1, "ingress", 100 + 50 * t // 60) for t in range(0, 1200, 60)]
    rests = [Footprint(t, 2, "ranker", 100) for t in range(0, 1200, 60)]
    born_late = [Footprint(t, 3, "parser", t) for t in range(1100, 1200, 20)]
    found = verdict.slopes(sorted([*grows, *rests, *born_late], key=lambda one: one.at))
    assert found == {"ingress (1)": pytest.approx(50.0), "ranker (2)": pytest.approx(0.0)}


def test_a_missed_limit_ends_with_status_1_and_is_named_in_the_report(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(msgspec.json.encode(Run("A run", [phase("calm")])))
    lines = b"".join(msgspec.json.encode(record) + b"\n" for record in [*asked(1, 200), *asked(2, 500, 200)])
    (tmp_path / "records.jsonl").write_bytes(lines + b'[3.0,"predict",2')  # its writer was stopped
    with pytest.raises(SystemExit) as ended:
        verdict.main(tmp_path)
    assert ended.value.code == 1
    assert "**missed**" in (tmp_path / "report.md").read_text()
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")


def test_every_limit_names_a_figure() -> None:
    records = asked(1, 200)
    for kind in LIMITS:
        if kind != "processes":
            verdict.verdict(Run("r", [phase("sustainable"), phase(kind)]), records, LIMITS)
