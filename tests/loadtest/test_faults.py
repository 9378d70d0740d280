"""The order in which things break, and breaking a process that can be broken."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from loadtest import faults
from loadtest.faults import Fault

KINDS = 3


@pytest.fixture
def victim() -> Iterator[psutil.Process]:
    """A process that does nothing, under a title of Ray's."""
    code = "import time; time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", code, "ServeReplica:opensesame:Ranker"])
    process = psutil.Process(child.pid)
    while not process.cmdline():  # empty for a moment after exec
        time.sleep(0.005)
    yield process
    child.kill()
    child.wait()


def test_the_same_seed_gives_the_same_faults_and_another_others() -> None:
    assert faults.schedule(1, 30) == faults.schedule(1, 30)
    assert faults.schedule(1, 30) != faults.schedule(2, 30)


def test_every_target_meets_every_kind_before_one_comes_again() -> None:
    every = len(faults.TARGETS) * KINDS
    drawn = {(fault.kind, fault.target) for fault in faults.schedule(3, every)}
    assert len(drawn) == every


def test_a_target_is_found_by_its_title_and_killed(victim: psutil.Process) -> None:
    found = faults.processes("ranker", [psutil.Process(), victim])
    assert found == [victim]
    faults.inflict(Fault("kill", "ranker"), found, random.Random(1))
    victim.wait(10)
    assert faults.processes("ranker", [victim]) == []


@pytest.mark.parametrize("kind", ["pause", "slow"])
def test_what_was_held_up_goes_on(victim: psutil.Process, kind: faults.Kind) -> None:
    seen: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            seen.add(victim.status())
            time.sleep(0.005)

    watcher = threading.Thread(target=look)
    watcher.start()
    faults.inflict(Fault(kind, "ranker", 0.8), [victim], random.Random(1))
    over.set()
    watcher.join()
    assert psutil.STATUS_STOPPED in seen
    until = time.monotonic() + 10
    while victim.status() == psutil.STATUS_STOPPED:
        assert time.monotonic() < until
        time.sleep(0.01)
