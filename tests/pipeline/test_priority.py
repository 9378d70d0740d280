"""What trainings are put behind so that they make way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.priority import giving_way, idle_group, leave_no_group, shared_by_session


@pytest.fixture(autouse=True)
def no_group_is_left() -> Iterator[None]:
    yield
    leave_no_group()


def told(idle: bool, question: str) -> int:
    """What a Python that gives way answers."""
    command = [*giving_way(idle), sys.executable, "-c", f"import os; print({question})"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such policy")
def test_an_idle_training_gets_what_nobody_else_wants() -> None:
    assert told(True, "os.sched_getscheduler(0)") == os.SCHED_IDLE


def test_it_is_niced_where_it_is_not_to_be_idle_or_cannot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    assert told(False, "os.getpriority(os.PRIO_PROCESS, 0)") == min(before + 10, 19)
    nice = shutil.which("nice")
    assert nice is not None
    (tmp_path / "nice").symlink_to(nice)
    monkeypatch.setenv("PATH", str(tmp_path))  # no chrt
    assert told(True, "os.getpriority(os.PRIO_PROCESS, 0)") == min(before + 10, 19)


@pytest.mark.parametrize(
    ("enabled", "groups", "weighted", "said"),
    [
        ("1", "0::/", [], True),
        ("0", "0::/", [], False),
        ("1", "0::/user.slice/me", [], True),
        ("1", "0::/user.slice/me", ["user.slice/me"], False),
        ("1", "4:cpu,cpuacct:/docker/c1\n0::/", [], False),
        ("1", "4:cpu,cpuacct:/\n3:memory:/job\n0::/", [], True),
        ("1", "2:cpu:/\n1:name=systemd:/my session\n0::/my session", ["my session"], False),
        ("1", None, [], False),
    ],
)
def test_it_says_where_a_session_comes_before_its_processes(
    tmp_path: Path, enabled: str, groups: str | None, weighted: list[str], said: bool
) -> None:
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/sched_autogroup_enabled").write_text(f"{enabled}\n")
    if groups is not None:
        (tmp_path / "proc/self").mkdir()
        (tmp_path / "proc/self/cgroup").write_text(f"{groups}\n")
    for path in weighted:
        folder = tmp_path / "sys/fs/cgroup" / path
        folder.mkdir(parents=True)
        (folder / "cpu.weight").write_text("100\n")
    assert shared_by_session(tmp_path) is said


def a_machine(root: Path, hierarchy: str, enabled: str = "1") -> Path:
    """One whose processes are in no group; the folder of its groups."""
    (root / "proc/sys/kernel").mkdir(parents=True)
    (root / "proc/sys/kernel/sched_autogroup_enabled").write_text(f"{enabled}\n")
    (root / "proc/self").mkdir()
    (root / "proc/self/cgroup").write_text("1:cpu:/\n0::/\n")
    groups = root / "sys/fs/cgroup" / hierarchy
    groups.mkdir(parents=True)
    (groups / "cgroup.procs").touch()
    return groups


@pytest.mark.parametrize("hierarchy", ["cpu", "cpu,cpuacct", ""])
def test_what_gives_way_is_of_one_idle_group_where_sessions_come_first(tmp_path: Path, hierarchy: str) -> None:
    groups = a_machine(tmp_path, hierarchy)
    group = idle_group(tmp_path)
    assert group is not None
    assert group.parent == groups
    assert (group / "cpu.idle").read_text() == "1"
    (tmp_path / "proc/self/cgroup").write_text(f"1:cpu:/{group.name}\n0::/\n")  # of who is in it, and starts others
    command = [
        *giving_way(True, tmp_path),
        sys.executable,
        "-c",
        "import os; print(os.getpid(), os.sched_getscheduler(0))",
    ]
    pid, policy = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert (group / "cgroup.procs").read_text().split() == [pid]
    assert int(policy) == os.SCHED_IDLE


def test_it_is_of_no_group_where_that_has_no_part_or_none_can_be_made(tmp_path: Path) -> None:
    groups = a_machine(tmp_path / "off", "cpu", enabled="0")
    assert idle_group(tmp_path / "off") is None
    assert giving_way(True, tmp_path / "off") == ["chrt", "--idle", "0"]
    assert [path.name for path in groups.iterdir()] == ["cgroup.procs"]
    groups = a_machine(tmp_path / "plain", "cpu")
    (groups / "cgroup.procs").unlink()  # a folder like any other
    assert idle_group(tmp_path / "plain") is None
    assert list(groups.iterdir()) == []


def test_an_empty_group_is_taken_away_and_no_other(tmp_path: Path) -> None:
    first, second = (tmp_path / "sys/fs/cgroup" / hierarchy / "opensesame-idle" for hierarchy in ("cpu", ""))
    first.mkdir(parents=True)
    (second / "somebody").mkdir(parents=True)
    leave_no_group(tmp_path)
    assert not first.exists()
    assert second.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell a process's children")
@pytest.mark.parametrize("idle", [True, False])
def test_workers_that_ray_starts_for_a_training_give_way_from_the_start(tmp_path: Path, idle: bool) -> None:
    marked = " ".join(giving_way(idle)[-3:])
    question = "os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)"
    worker = f"import os, time; time.sleep(0.5); print(*({question}), flush=True)"
    (tmp_path / "raylet").symlink_to(sys.executable)  # its name is what it is known by
    raylet = f"""
import os, subprocess, sys, time
job = f"{sys.executable} -P -m pipeline.priority {"idle" if idle else ""} & exec sleep 20"
training = subprocess.Popen(["sh", "-c", job])
time.sleep(1.0)
print({question})
for mark in ("", {marked!r}):
    print(subprocess.run([{sys.executable!r}, "-c", {worker!r}, mark], capture_output=True, text=True).stdout, end="")
training.kill()
training.wait()
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}  # by its name it finds no packages
    done = subprocess.run(
        [str(tmp_path / "raylet"), "-c", raylet],
        capture_output=True,  # it ends, and so does what watched: otherwise the pipe would stay open
        text=True,
        check=True,
        env=environment,
        timeout=60,
    )
    before, other, given = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert other == before
    assert given == ((os.SCHED_IDLE, before[1]) if idle else (before[0], max(10, before[1])))
