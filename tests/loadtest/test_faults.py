"""The order in which things break, and breaking a process that can be broken."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from loadtest import faults
from loadtest.faults import Fault


@pytest.fixture
def victims() -> Iterator[list[psutil.Process]]:
    """Two processes that do nothing, under a title of Ray's."""
    code = "import time; time.sleep(60)"
    title = "ServeReplica:opensesame:Ranker"
    children = [subprocess.Popen([sys.executable, "-c", code, title]) for _ in range(2)]
    found = [psutil.Process(child.pid) for child in children]
    while not all(process.cmdline() for process in found):  # empty for a moment after exec
        time.sleep(0.005)
    yield found
    for child in children:
        child.kill()
        child.wait()


@pytest.fixture
def victim(victims: list[psutil.Process]) -> psutil.Process:
    return victims[0]


def test_the_same_seed_gives_the_same_faults_and_another_others() -> None:
    assert faults.schedule(1, 30) == faults.schedule(1, 30)
    assert faults.schedule(1, 30) != faults.schedule(2, 30)


def test_every_target_meets_every_kind_before_one_comes_again() -> None:
    every = len(faults.TARGETS) * len(faults.KINDS)
    drawn = {(fault.kind, fault.target) for fault in faults.schedule(3, every)}
    assert len(drawn) == every


def test_a_second_machine_is_a_target_where_there_is_one() -> None:
    targets = [*faults.TARGETS, faults.NODE]
    drawn = set(faults.schedule(3, len(targets) * len(faults.KINDS), targets))
    assert {fault.kind for fault in drawn if fault.target == faults.NODE} == set(faults.KINDS)
    assert not [fault for fault in faults.schedule(3, 99) if fault.target == faults.NODE]


def test_what_happens_to_a_machine_happens_to_all_its_processes(victims: list[psutil.Process]) -> None:
    faults.inflict(Fault("kill", faults.NODE), victims)
    for process in victims:
        process.wait(10)


def test_a_target_is_found_by_its_title_and_killed(victim: psutil.Process) -> None:
    found = faults.processes("ranker", [psutil.Process(), victim])
    assert found == [victim]
    faults.inflict(Fault("kill", "ranker"), found)
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
    faults.inflict(Fault(kind, "ranker", 0.8), [victim])
    over.set()
    watcher.join()
    assert psutil.STATUS_STOPPED in seen
    until = time.monotonic() + 10
    while victim.status() == psutil.STATUS_STOPPED:
        assert time.monotonic() < until
        time.sleep(0.01)
