"""Parts of the bench that need no service; the whole of it is run by `make bench`."""

from __future__ import annotations

import urllib.request
from pathlib import Path

from loadtest import bench


def test_compile_times_come_from_a_process_of_their_own(examples_folder: Path) -> None:
    times = bench.compile_times(examples_folder / "billing.yaml", repeats=1)
    assert 0 < times["parse_s"] < times["total_s"]
    assert times["cpu_s"] > 0


def test_a_cold_start_is_timed() -> None:
    assert bench.cold_start_s(repeats=1) > 0


def test_a_spec_is_served_under_a_url_while_it_is_needed(examples_folder: Path) -> None:
    spec = examples_folder / "issue-tracker.json"
    with bench.Served(spec) as url, urllib.request.urlopen(url, timeout=5) as answer:
        assert answer.read() == spec.read_bytes()
